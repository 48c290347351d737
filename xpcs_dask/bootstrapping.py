"""`bootstrap`: intervals of fitted parameters from refits of resampled data."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from xpcs_dask.api import Data, job_of
from xpcs_dask.config import BootstrapConfig, FitConfig
from xpcs_dask.engine.cache import with_cache
from xpcs_dask.engine.graph import Named, map_curves, map_grid
from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.blocks import Job
from xpcs_dask.fitting.bootstrap import bootstrap_block, bootstrap_dtype, combine_block, replicate_block
from xpcs_dask.fitting.models import Evaluate, Model, resolve
from xpcs_dask.physics.average import average
from xpcs_dask.prepare import coords_of, each_group, known, operands, prepare
from xpcs_dask.results import PackedFits, provenance
from xpcs_dask.results.provenance import fingerprint

__all__ = ["bootstrap"]

PIECE = 25_000
"""Refits of one curve that one task makes; more of them are spread over tasks."""
COMBINED_BYTES = 2**26
"""Refits that come together in one task."""


def bootstrap(
    data: Data,
    fit: xr.Dataset | None = None,
    *,
    model: str | Model | Evaluate | None = None,
    config: FitConfig | None = None,
    resamples: int | str = "auto",
    over: str = "auto",
    scheme: str = "auto",
    interval: str = "auto",
    level: float = 0.95,
    tolerance: float = 0.05,
    max_resamples: int = 10_000,
    seed: int = 0,
    keep_replicates: bool = False,
    sigma: Any = None,
    cache: bool = False,
    **settings: Any,
) -> xr.Dataset | xr.DataTree:
    r"""Fit every curve and say how far its parameters may be off, by refits of resampled data.

    Parameters
    ----------
    data : xarray.Dataset, xarray.DataArray or xarray.DataTree
        As for `fit`. With ``g2_cluster (..., cluster, delay)`` (from `average`, `regroup`) clusters are resampled.
    fit : xarray.Dataset, optional
        Results of `fit` of these data, whose model and settings are taken; what is given beside goes on top.
    model : str, Model or callable, optional
        As for `fit`; ``"single"`` unless `fit` says otherwise.
    config : FitConfig, optional
        How to fit; ``**settings`` are fields of it put on top.
    resamples : int or "auto"
        Refits of each curve. "auto" goes on in rounds of 250 until the Monte-Carlo error of both ends of every interval
        is below `tolerance`, or `max_resamples` are made.
    over : str
        "cluster", "delay", "auto" (clusters where a curve has at least 8, else delays), or a dimension of ``g2`` whose
        entries are repeats: these are averaged and become the clusters.
    scheme : {"auto", "cluster", "residual", "wild", "parametric", "pairs", "blocks"}
        "auto" draws clusters, or over delays gives residuals random signs (wild). All schemes over delays take delays
        for independent, which in bright data they are not: their intervals are then too short (docs/errors.md).
    interval : {"auto", "percentile", "basic", "bca", "studentised", "t"}
        "auto" is t below 30 clusters, else percentile.
    level : float
        Coverage of the intervals.
    tolerance : float
        In half widths of the interval.
    max_resamples : int
        Where "auto" stops at the latest.
    seed : int
        Of the random numbers, which are keyed by it, by ``curve_id`` and by the number of the replicate alone.
    keep_replicates : bool
        Return ``replicate (..., resample, parameter)`` too, NaN where a refit failed or was not needed.
    sigma, cache
        As for `fit`.

    Returns
    -------
    xarray.Dataset or xarray.DataTree
        As `fit`, with ``stderr`` and ``covariance`` from the refits, ``interval (..., parameter, bound)``,
        ``resamples``, ``failed`` (refits without a minimum, left out), ``clusters`` (0 where delays were resampled) and
        ``monte_carlo_error`` (of the worst end, in half widths). Lazy if and only if `data` is; blocks of curves become
        tasks, and so do pieces of many refits of one curve. The numbers depend neither on blocks nor on workers.

    Raises
    ------
    ConfigError
        As `fit`; for settings that contradict each other; if `fit` is not a fit of these curves.

    Notes
    -----
    Refits start from the fit, so they stay in its minimum. Intervals are made in ln tau and logit fraction, and carried
    back [1]_.

    References
    ----------
    .. [1] A. C. Davison and D. V. Hinkley, Bootstrap Methods and their Application (1997).
    """
    boot = BootstrapConfig.make(
        resamples=resamples, over=over, scheme=scheme, interval=interval, level=level, tolerance=tolerance,
        max_resamples=max_resamples, seed=seed, keep_replicates=keep_replicates,
    )  # fmt: skip
    if fit is not None:
        model, config = _as_fitted(fit, model, config)
    record, config = resolve("single" if model is None else model), FitConfig.make(config, **settings)
    packed = packed_bootstraps(data, record, config, boot, sigma, fit, cache=cache)
    if isinstance(packed, PackedFits):
        return packed.labelled()
    return xr.DataTree.from_dict({path: found.labelled() for path, found in packed.items()})


def packed_bootstraps(
    data: Data, model: str | Model | Evaluate, config: FitConfig, boot: BootstrapConfig, sigma: Any = None,
    fit: xr.Dataset | None = None, *, cache: bool = False,
) -> PackedFits | dict[str, PackedFits]:  # fmt: skip
    """`bootstrap` before its results are labelled; of a DataTree, by the path of the group."""
    record = resolve(model)
    if isinstance(data, xr.DataTree):
        return each_group(data, lambda group: _packed(group, None, record, config, boot, fit, cache))
    return _packed(data, sigma, record, config, boot, fit, cache)


def _packed(
    data: Any, sigma: Any, record: Model, config: FitConfig, boot: BootstrapConfig, fit: xr.Dataset | None, cache: bool
) -> PackedFits:
    if boot.over not in ("auto", "cluster", "delay"):
        data = _averaged(data, boot.over)
    if config.weights == "gls":
        raise ConfigError("weights: a bootstrap refits with diagonal weights; leave out weights='gls'")
    curves, config = prepare(data, sigma, config)
    if fit is not None:
        _same_curves(fit, curves)
    if "g2_cluster" not in curves and (boot.over not in ("auto", "delay") or boot.scheme == "cluster"):
        raise ConfigError(
            "over: there are no clusters to resample; the data need g2_cluster(..., cluster, delay), which "
            "xpcs_dask.average makes from repeats and xpcs_dask.regroup from pixels; or give over='delay'"
        )
    job = job_of(curves, config, record)
    dims = [str(dim) for dim in curves["g2"].dims]
    return PackedFits(
        records=_records(curves, job, boot, cache),
        dims=dims,
        coords=coords_of(curves, dims),
        model=record,
        attrs={**provenance(curves, record, config, job.lower, job.upper), "bootstrap": boot.model_dump_json()},
    )


def _records(curves: xr.Dataset, job: Job, boot: BootstrapConfig, cache: bool) -> Any:
    """Lazy records: one task a block of curves, or where one curve has many refits one for each piece of these."""
    g2, others = operands(curves, job.config, clusters=True)
    others.append(_identity(curves))
    dtype, name = bootstrap_dtype(job, boot), f"bootstrap-{job.model.name}"
    if boot.resamples == "auto" or boot.resamples <= PIECE or boot.interval == "studentised":
        plain = partial(bootstrap_block, job=job, boot=boot)
        block = with_cache(plain, state=fingerprint) if cache else plain
        return map_curves(block, g2, *others, core="delay", dtype=dtype, name=name, own=("cluster",))
    p = len(job.model.parameters)
    g2 = _small_blocks(g2, max(1, COMBINED_BYTES // (8 * p * boot.resamples)))
    sizes = tuple(min(PIECE, boot.resamples - first) for first in range(0, boot.resamples, PIECE))
    refits = map_grid(
        partial(replicate_block, job=job, boot=boot), g2, *others, core="delay", sizes=sizes, width=p,
        name=f"refits-{job.model.name}", own=("cluster",),
    )  # fmt: skip
    made = Named(refits, (*g2.dims[:-1], "resample", "parameter"))
    combine = partial(combine_block, job=job, boot=boot)
    return map_curves(
        combine, g2, *others, made, core="delay", dtype=dtype, name=name, own=("cluster", "resample", "parameter")
    )


def _small_blocks(g2: Named, curves: int) -> Named:
    """Blocks of at most so many curves."""
    if isinstance(g2.data, np.ndarray):
        return g2
    limit, sizes = curves, []
    for size in reversed(g2.data.chunksize[:-1]):
        sizes.append(min(size, max(1, limit)))
        limit //= sizes[-1]
    return Named(g2.data.rechunk((*reversed(sizes), -1)), g2.dims)


def _identity(curves: xr.Dataset) -> Named:
    variable = curves["curve_id"].variable
    dims = [dim for dim in curves["g2"].dims if dim in variable.dims]
    variable = variable.transpose(*dims)
    return Named(variable.data.astype(np.uint64), tuple(str(dim) for dim in dims))


def _averaged(data: Any, over: str) -> xr.Dataset:
    if not isinstance(data, xr.Dataset) or "g2" not in data or over not in data["g2"].dims[:-1]:
        there = ", ".join(map(str, getattr(data.get("g2"), "dims", ()))) if isinstance(data, xr.Dataset) else "none"
        raise ConfigError(f"over: '{over}' is neither cluster, delay nor auto, nor a dimension of g2 ({there})")
    return average(data, over)


def _as_fitted(
    fit: xr.Dataset, model: str | Model | Evaluate | None, config: FitConfig | None
) -> tuple[str | Model | Evaluate, FitConfig]:
    """Model and settings of results, unless others are given."""
    if not isinstance(fit, xr.Dataset) or "config" not in fit.attrs:
        raise ConfigError("fit must be what `fit` returned for these data: it has no record of its settings")
    settings = FitConfig.make(**json.loads(fit.attrs["config"]))
    return fit.attrs["model"] if model is None else model, settings if config is None else config


def _same_curves(fit: xr.Dataset, curves: xr.Dataset) -> None:
    if "curve_id" not in fit.coords or not np.array_equal(known(fit["curve_id"]), known(curves["curve_id"])):
        raise ConfigError("fit is not of these curves: their curve_id differ")
