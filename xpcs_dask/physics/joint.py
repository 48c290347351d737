"""All bins of a file in one fit: decays that share a diffusion coefficient, and whatever else is asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, overload

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xpcs_dask.config import FitConfig
from xpcs_dask.engine.graph import columns
from xpcs_dask.errors import ConfigError, NoUsableInputError
from xpcs_dask.fitting.threads import one_thread
from xpcs_dask.physics.joint_fit import Sharing
from xpcs_dask.physics.joint_record import BIN, REPORTED, fit_file, joint_dtype, reported_names
from xpcs_dask.physics.law_record import Note
from xpcs_dask.prepare import known, points, prepare

SHARED = ("D", "n", "stretch", "contrast", "baseline")
"""What bins can share, in the order of the fit."""

VARIABLES: dict[str, tuple[tuple[str, ...], str, str]] = {
    "value": (("parameter",), "see unit(parameter)", "fitted value of the shared parameter"),
    "stderr": (("parameter",), "see unit(parameter)", "standard error: that of covariance_kind"),
    "stderr_weights": (("parameter",), "see unit(parameter)", "standard error if errors are as told and independent"),
    "stderr_cluster": (("parameter",), "see unit(parameter)", "standard error from what leaving out bins does"),
    "interval": (("parameter", "bound"), "see unit(parameter)", "confidence interval of the parameter"),
    "chi2": ((), "1", "sum of squared weighted residuals"),
    "dof": ((), "1", "degrees of freedom: points used less parameters"),
    "n_used": ((), "1", "points used"),
    "n_bins": ((), "1", "bins used"),
    "q_reference": ((), "1/angstrom", "q0 at which D is given: the rate is D q0^2 (q / q0)^n"),
    "flags": ((), "1", "what to distrust"),
    "tau": ((BIN,), "s", "relaxation time of the bin that the shared parameters make"),
    "contrast": ((BIN,), "1", "contrast of the bin"),
    "contrast_stderr": ((BIN,), "1", "standard error of the contrast, from the errors of the points"),
    "baseline": ((BIN,), "1", "baseline of the bin"),
    "baseline_stderr": ((BIN,), "1", "standard error of the baseline, from the errors of the points"),
    "chi2_bin": ((BIN,), "1", "part of chi2 in the bin"),
    "n_points": ((BIN,), "1", "points used in the bin; 0 where it was not used"),
}
"""What `joint` returns: dimensions after those of the files, unit and meaning."""


@overload
def joint(data: xr.Dataset, model: str = ..., shared: Sequence[str] = ..., **settings: Any) -> xr.Dataset: ...


@overload
def joint(data: xr.DataTree, model: str = ..., shared: Sequence[str] = ..., **settings: Any) -> xr.DataTree: ...


def joint(
    data: xr.Dataset | xr.DataTree,
    model: str = "simple",
    shared: Sequence[str] = ("contrast", "D"),
    *,
    over: str = "qbin",
    covariance: Literal["auto", "cluster", "weights"] = "auto",
    level: float = 0.95,
    config: FitConfig | None = None,
    **settings: Any,
) -> xr.Dataset | xr.DataTree:
    r"""Fit all bins of a file together, with relaxation times 1/(D q^2) or, with a shared n, a power of q.

    Parameters
    ----------
    data : xarray.Dataset or xarray.DataTree
        Curves as `open_g2` returns them, with ``q`` in 1/angstrom; of a DataTree every group by itself.
    model : {"simple", "single"}
        Shape of the decay. The stretch of ``single`` is shared by all bins.
    shared : sequence of str
        What the bins share: ``"D"`` always; ``"n"`` (exponent of q, else 2), ``"contrast"``, ``"baseline"``,
        ``"stretch"``. Contrasts and baselines that are not shared are each bin's own.
    over : str
        Dimension along which q changes.
    covariance : {"auto", "cluster", "weights"}
        Which standard error is ``stderr``: that with bins as clusters, which trusts neither the errors of the points
        nor their independence, or that from the errors as told, enlarged by the root of chi2/dof where that is above 1.
        auto takes clusters from 6 bins on.
    level : float
        Of the intervals.
    config, **settings
        As in `fit`: ``errors``, ``min_products``, ``q_range`` and ``delay_range`` count.

    Returns
    -------
    xarray.Dataset or xarray.DataTree
        Over the dimensions but `over` and delay: ``value``, ``stderr``, ``stderr_weights``, ``stderr_cluster``
        ``(..., parameter)`` and ``interval(..., parameter, bound)`` of the shared parameters, D in angstrom^2/s and in
        um^2/s; ``chi2``, ``dof``, ``n_used``, ``n_bins``, ``q_reference``, ``flags`` (bits of
        `physics.law_record.Note`); per bin ``tau``, ``contrast``, ``baseline`` and their errors, ``chi2_bin`` and
        ``n_points``. Lazy if and only if `data` is.

    Raises
    ------
    ConfigError
        For a model or shared parameter that cannot be, or data without q.

    Notes
    -----
    With n shared, the rate is :math:`D q_0^2 (q/q_0)^n` with q0 the geometric mean of the q used: D keeps its unit and
    is the diffusion coefficient at q0. Intervals of D are symmetric in its logarithm. Those with clusters take
    Student's t with as many degrees of freedom as bins less one.
    """
    options = {"over": over, "covariance": covariance, "level": level, "config": config}
    if isinstance(data, xr.DataTree):
        groups = {node.path: node.to_dataset() for node in data.subtree if "g2" in node.data_vars}
        if not groups:
            raise NoUsableInputError("no group of the DataTree has a variable g2")
        return xr.DataTree.from_dict(
            {path: joint(group, model, shared, **options, **settings) for path, group in groups.items()}
        )
    sharing = _sharing(model, shared)
    if covariance not in ("auto", "cluster", "weights"):
        raise ConfigError(f"covariance: {covariance!r} is none of 'auto', 'cluster', 'weights'")
    if not 0 < level < 1:
        raise ConfigError(f"level is {level:g}; it must lie between 0 and 1, such as 0.95")
    curves, chosen = prepare(data, None, FitConfig.make(config, **settings))
    _check(curves, over)
    found = _fitted(curves, chosen, sharing, options)
    return _labelled(found, curves, model, sharing, options)


def _sharing(model: str, shared: Sequence[str]) -> Sharing:
    asked = (shared,) if isinstance(shared, str) else tuple(shared)
    if model not in ("simple", "single"):
        raise ConfigError(f"model: joint fits take 'simple' or 'single', not {model!r}")
    if unknown := [name for name in asked if name not in SHARED]:
        raise ConfigError(f"shared: {unknown[0]!r} is none of {', '.join(map(repr, SHARED))}")
    if "D" not in asked:
        raise ConfigError("shared: without 'D' the bins have nothing to do with each other; use fit")
    if model == "simple" and "stretch" in asked:
        raise ConfigError("shared: the model 'simple' has no stretch; take model='single'")
    if model == "single":
        asked = (*asked, "stretch")
    return Sharing(tuple(name for name in SHARED if name in asked))


def _check(curves: xr.Dataset, over: str) -> None:
    if over not in curves["g2"].dims:
        raise ConfigError(f"over: g2 has no dimension {over!r}; it has {', '.join(map(str, curves['g2'].dims))}")
    if "q" not in curves.coords or over not in curves["q"].dims:
        raise ConfigError(f"the data have no coordinate q along {over!r}; assign it in 1/angstrom")
    if (unit := str(curves["q"].attrs.get("units", "1/angstrom"))) != "1/angstrom":
        raise ConfigError(f"q must be in 1/angstrom, but the coordinate says units='{unit}'; convert it first")


def _fitted(curves: xr.Dataset, config: FitConfig, sharing: Sharing, options: dict[str, Any]) -> xr.Variable:
    """Make the records of all files; a task holds all bins of some of them."""
    over = options["over"]
    g2 = curves["g2"].variable
    sigma = xr.Variable(g2.dims, columns(points(curves, config))["sigma"])
    if g2.chunks is not None:
        g2, sigma = (variable.chunk({over: -1, "delay": -1}) for variable in (g2, sigma))
    q = curves["q"].variable
    dtype = joint_dtype(sharing, g2.sizes[over])
    found = xr.apply_ufunc(
        partial(
            joint_block,
            delay=known(curves["delay"]).astype(np.float64),
            sharing=sharing,
            covariance=options["covariance"],
            level=options["level"],
            absolute=config.absolute_sigma,
            dtype=dtype,
        ),
        g2,
        sigma,
        q,
        input_core_dims=[[over, "delay"], [over, "delay"], [over]],
        dask="parallelized",
        output_dtypes=[dtype],
    )
    return xr.Variable(found.dims, found.data)


def joint_block(
    g2: Any,
    sigma: Any,
    q: Any,
    *,
    delay: NDArray[np.float64],
    sharing: Sharing,
    covariance: str,
    level: float,
    absolute: bool,
    dtype: np.dtype[np.void],
) -> NDArray[np.void]:
    """Fit every file of a block (..., bin, delay); runs in tasks."""
    g2 = np.asarray(g2)
    lead, (bins, m) = g2.shape[:-2], g2.shape[-2:]
    out = np.empty(int(np.prod(lead)), dtype=dtype)
    flat, errors = g2.reshape(-1, bins, m), np.asarray(sigma).reshape(-1, bins, m)
    rows = np.broadcast_to(np.asarray(q), (*lead, bins)).reshape(-1, bins)
    with one_thread():
        for k in range(len(out)):
            fit_file(
                out[k : k + 1],
                delay,
                flat[k].astype(np.float64),
                errors[k],
                rows[k],
                sharing,
                covariance,
                level,
                absolute,
            )
    return out.reshape(lead)


def _labelled(
    found: xr.Variable, curves: xr.Dataset, model: str, sharing: Sharing, options: dict[str, Any]
) -> xr.Dataset:
    over = options["over"]
    dims = tuple(str(dim) for dim in found.dims)
    variables = {}
    packed = columns(found.data)
    for name, (own, unit, text) in VARIABLES.items():
        last = tuple(over if dim == BIN else dim for dim in own)
        variables[name] = xr.Variable((*dims, *last), packed[name], {"long_name": text, "units": unit})
    variables["flags"].attrs["flag_masks"] = np.array([int(note) for note in Note], dtype=np.uint32)
    variables["flags"].attrs["flag_meanings"] = " ".join(str(note.name).lower() for note in Note)
    kept = {*dims, over}
    names = reported_names(sharing)
    coords = {name: array for name, array in curves.coords.items() if set(array.dims) <= kept}
    coords |= {
        "parameter": xr.DataArray(list(names), dims="parameter", attrs={"long_name": "shared parameter", "units": "1"}),
        "unit": xr.DataArray([REPORTED[name] for name in names], dims="parameter"),
        "bound": xr.DataArray(["lower", "upper"], dims="bound"),
    }
    told = {
        "model": model,
        "shared": list(sharing.names),
        "over": over,
        "covariance": options["covariance"],
        "level": options["level"],
    }
    carried = {name: curves.attrs[name] for name in ("source_format", "rejected") if name in curves.attrs}
    return xr.Dataset(variables, coords, {**carried, "joint": json.dumps(told)})
