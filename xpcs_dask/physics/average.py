"""Repeats of the same measurement into one curve a bin, with an error that their scatter shows."""

from __future__ import annotations

import json
from collections.abc import Hashable
from functools import partial
from typing import Any, get_args

import numpy as np
import xarray as xr

from xpcs_dask.errors import ConfigError
from xpcs_dask.physics.combined import CLUSTER, Counting, of_repeats, of_the_whole, with_coords
from xpcs_dask.physics.repeats import Reason, Rules, Weights, average_repeats

MOST_BYTES = 16 * 2**20
"""Size in float64 that a block of all repeats of some bins aims at."""

MEAN = "mean of the repeats that count"
VARIABLES: dict[str, tuple[tuple[str, ...], str]] = {
    "g2": (("delay",), f"intensity correlation g2, {MEAN}"),
    "g2_err": (("delay",), "standard error of g2 from the scatter of repeats; t has n_repeats - 1 degrees of freedom"),
    "g2_err_quoted": (("delay",), "error of g2 from the quoted errors of the repeats"),
    "g2_unweighted": (("delay",), f"plain {MEAN}"),
    "g2_unweighted_err": (("delay",), "standard error of g2_unweighted from the scatter of repeats"),
    "n_repeats": (("delay",), "repeats that count at each delay"),
    "rejected": ((CLUSTER,), "why a repeat does not count"),
    "judged_value": ((CLUSTER,), "mean at the last delays, or distance from the median curve, of each repeat"),
    "judged_limit": ((CLUSTER,), "limit that judged_value was held against"),
    "g2_cluster": ((CLUSTER, "delay"), "intensity correlation of each repeat that counts"),
}
"""What the average has, over which dimensions after those of the curves; all have the unit 1."""
DTYPES = [np.float32] * 5 + [np.int32, np.uint8, np.float64, np.float64, np.float32]


def average(
    data: xr.Dataset,
    over: str = "",
    *,
    weights: Weights = "none",
    baseline: tuple[float, float] | None = None,
    baseline_delays: int = 5,
    outliers: float | None = None,
) -> xr.Dataset:
    r"""Average repeats curve by curve.

    Parameters
    ----------
    data : Dataset
        ``g2`` with the dimensions `over`, ``delay`` and any others, as `open_g2` or `simulate.speckle` gives it;
        ``g2_err`` may be missing.
    over : str
        The dimension of the repeats; if not given ``"repeat"`` or, if there is none, ``"file"``.
    weights : "none", "error" or "counts"
        "none": all equal. "error": 1/g2_err\ :sup:`2` at each delay; a quoted error of 0 or NaN is taken as the
        largest one of the other repeats there. Where counts are few, quoted errors are small when g2 happens to be
        small, so that this mean is too low. "counts": expected coincidences (runs x rate x products), which are known
        before g2 is looked at.
    baseline : (float, float), optional
        Window for the mean of g2 at the last delays, such as (0.95, 1.05); curves outside are rejected.
    baseline_delays : int
        How many of the last delays with at least 4 products make that mean.
    outliers : float, optional
        Reject curves whose distance from the median curve is this many robust deviations above what is usual among
        the repeats of the bin (see `physics.repeats.distances`); 3.5 is a good choice. Needs 5 repeats to act.
        Copies of a curve that is there already, curves without a number and bins without photons never count.

    Returns
    -------
    Dataset
        Over the other dimensions: ``g2 (..., delay)`` and ``g2_err``, the standard error from the scatter between
        repeats (NaN where fewer than 2 count); ``g2_err_quoted``; ``n_repeats``; ``g2_unweighted`` and its error if
        weights were used. The log: ``rejected (..., cluster)`` with flag meanings, ``judged_value``,
        ``judged_limit``; `rejections` makes a table of it. The repeats: ``g2_cluster (..., cluster, delay)``, NaN where
        rejected; their own coordinates are ``cluster_<name>``. ``runs``, ``rate`` and ``n_products`` are those of the
        whole, so that its counting variance is 1 / (runs rate n_products 4^level). Lazy if and only if `data` is.

    Raises
    ------
    ConfigError
        For a value that means nothing, fewer than 2 repeats, or weights that the data lack.

    Notes
    -----
    The standard error is that of the mean of independent repeats, whatever correlates the delays of a curve; an
    interval takes Student's t with ``n_repeats - 1`` degrees of freedom (12.7 standard errors for 2 repeats at 95 %).
    Rejecting by the data makes it a little too small. Averages keep the bias of short runs.

    Examples
    --------
    >>> mean = average(data, baseline=(0.95, 1.05), outliers=3.5)  # doctest: +SKIP
    """
    if not isinstance(data, xr.Dataset):
        raise ConfigError(f"average takes a Dataset, not {type(data).__name__}; of a DataTree average each group")
    over = over or next((dim for dim in ("repeat", "file") if dim in data.get("g2", xr.DataArray()).dims), "")
    rules = Rules(weights=weights, baseline=baseline, baseline_delays=baseline_delays, outliers=outliers)
    _check(data, over, rules)
    data = with_coords(data)
    counting = Counting.of(data, over)
    if weights == "counts" and (unknown := np.argwhere(~np.isfinite(counting.counts.values))).size:
        lacking = _names(data, over, np.unique(unknown[:, counting.counts.get_axis_num(over)]))
        raise ConfigError(f"weights='counts' needs the rate of coincidences, which is not known for {lacking}")
    found = _apply(data, over, counting, rules)
    if weights == "none":
        del found["g2_unweighted"], found["g2_unweighted_err"]
    gone = [name for name in data.variables if over in data[name].dims]
    kept = xr.DataArray(found["rejected"] == Reason.KEPT)
    coords = of_repeats(data, over) | of_the_whole(data, over, counting, kept, weights)
    out = data.drop_vars(gone).assign(found).assign_coords(coords)
    settings = {"over": over, "weights": weights, "baseline": baseline, "outliers": outliers}
    return out.assign_attrs(average=json.dumps(settings | {"baseline_delays": baseline_delays}))


def rejections(averaged: xr.Dataset) -> list[dict[str, Any]]:
    """Table of what `average` rejected: one record a curve with its repeat, bin, reason, value and limit.

    Computes what is lazy. ``pandas.DataFrame(rejections(mean))`` shows it.
    """
    log = averaged[["rejected", "judged_value", "judged_limit"]].compute()
    dims = log["rejected"].dims
    records = []
    for place in np.argwhere(log["rejected"].values != Reason.KEPT):
        at = log.isel(dict(zip(dims, place.tolist(), strict=True)))
        record: dict[str, Any] = {}
        for dim, number in zip(dims, place.tolist(), strict=True):
            record["repeat" if dim == CLUSTER else str(dim)] = at[dim].item() if dim in at.coords else number
        for name in ("q", "phi"):
            if name in at.coords and np.isfinite(at[name].item()):
                record[name] = at[name].item()
        record["reason"] = Reason(int(at["rejected"])).name.lower()
        for name in ("value", "limit"):
            number = at[f"judged_{name}"].item()
            record[name] = number if np.isfinite(number) else None
        records.append(record)
    return records


def _check(data: xr.Dataset, over: str, rules: Rules) -> None:
    if "g2" not in data.data_vars or not {over, "delay"} <= set(data["g2"].dims):
        there = ", ".join(map(str, data["g2"].dims)) if "g2" in data.data_vars else "no g2"
        raise ConfigError(f"average needs g2 over {over or 'repeat or file'!r} and 'delay'; the data have {there}")
    if data.sizes[over] < 2:
        raise ConfigError(f"{over!r} has length {data.sizes[over]}: an average needs at least 2 repeats")
    if rules.weights not in get_args(Weights):
        raise ConfigError(f"weights: {rules.weights!r} is none of {', '.join(map(repr, get_args(Weights)))}")
    if rules.weights == "error" and "g2_err" not in data:
        raise ConfigError("weights='error' needs g2_err, which the data lack; take 'none' or 'counts'")
    if rules.baseline is not None and not rules.baseline[0] < rules.baseline[1]:
        raise ConfigError(f"baseline: {rules.baseline} is no window; give (low, high) with low < high")
    if rules.baseline_delays < 1:
        raise ConfigError(f"baseline_delays is {rules.baseline_delays}; it must be at least 1")
    if rules.outliers is not None and not rules.outliers > 0:
        raise ConfigError(f"outliers: {rules.outliers:g} is no threshold; it must be above 0, such as 3.5")


def _names(data: xr.Dataset, over: str, which: Any) -> str:
    values = data[over].values if over in data.coords else np.arange(data.sizes[over])
    chosen = [str(value) for value in values[which]]
    return ", ".join(chosen[:3]) + (f" and {len(chosen) - 3} more" if len(chosen) > 3 else "")


def _apply(data: xr.Dataset, over: str, counting: Counting, rules: Rules) -> dict[str, xr.Variable]:
    """Put all bins through `average_repeats`; a task holds all repeats of some of them."""
    err = data["g2_err"].broadcast_like(data["g2"]) if "g2_err" in data else np.nan * data["g2"]
    curves = data[["g2"]].assign(g2_err=err)
    if data["g2"].chunks is not None:
        curves = curves.chunk(_blocks(curves["g2"], over))
    core = [over, "delay"]
    results = xr.apply_ufunc(
        partial(average_repeats, rules=rules),
        curves["g2"].variable,
        curves["g2_err"].variable,
        counting.counts.variable,
        counting.products.variable,
        counting.copies.variable,
        input_core_dims=[core, core, [over], core, [over]],
        output_core_dims=[[over if dim == CLUSTER else dim for dim in dims] for dims, _ in VARIABLES.values()],
        dask="parallelized",
        output_dtypes=DTYPES,
    )
    found = {}
    for (name, (_, text)), variable in zip(VARIABLES.items(), results, strict=True):
        attrs: dict[str, Any] = {"units": "1", "long_name": text}
        if name == "rejected":
            attrs["flag_values"] = np.array(list(Reason), np.uint8)
            attrs["flag_meanings"] = " ".join(reason.name.lower() for reason in Reason)
        dims = [CLUSTER if dim == over else dim for dim in variable.dims]
        found[name] = xr.Variable(dims, variable.data, attrs)
    return found


def _blocks(g2: xr.DataArray, over: str) -> dict[Hashable, Any]:
    """Chunks with all repeats and delays of as many bins as a block should hold."""
    blocks: dict[Hashable, Any] = {over: -1, "delay": -1}
    if "qbin" in g2.dims:
        each = 8 * g2.sizes[over] * g2.sizes["delay"]
        blocks["qbin"] = max(1, min(g2.sizes["qbin"], MOST_BYTES // each))
    return blocks
