"""The verbs: open, fit, look at the quality of points, save, open results."""

from __future__ import annotations

from functools import partial
from typing import Any, TypeAlias, overload

import numpy as np
import xarray as xr

from xpcs_dask.config import FitConfig
from xpcs_dask.engine.cache import with_cache
from xpcs_dask.engine.graph import columns, map_curves
from xpcs_dask.fitting.blocks import Job, fit_block, fitted_points
from xpcs_dask.fitting.curves import check_output
from xpcs_dask.fitting.models import Evaluate, Model, resolve
from xpcs_dask.fitting.points import POINT
from xpcs_dask.io.open import open_g2
from xpcs_dask.prepare import coords_of, each_group, known, levels, operands, points, prepare, select
from xpcs_dask.results import PackedFits, label_points, open_results, provenance, save
from xpcs_dask.results.provenance import fingerprint

__all__ = ["fit", "open_g2", "open_results", "quality", "save", "select"]

Data: TypeAlias = xr.Dataset | xr.DataArray | xr.DataTree


@overload
def fit(
    data: xr.DataTree,
    model: str | Model | Evaluate = ...,
    *,
    config: FitConfig | None = ...,
    sigma: Any = ...,
    cache: bool = ...,
    **settings: Any,
) -> xr.DataTree: ...


@overload
def fit(
    data: xr.Dataset | xr.DataArray,
    model: str | Model | Evaluate = ...,
    *,
    config: FitConfig | None = ...,
    sigma: Any = ...,
    cache: bool = ...,
    **settings: Any,
) -> xr.Dataset: ...


def fit(
    data: Data,
    model: str | Model | Evaluate = "single",
    *,
    config: FitConfig | None = None,
    sigma: Any = None,
    cache: bool = False,
    **settings: Any,
) -> xr.Dataset | xr.DataTree:
    r"""Fit a correlation model to every curve.

    Parameters
    ----------
    data : xarray.Dataset, xarray.DataArray or xarray.DataTree
        A Dataset as `open_g2` returns it: ``g2`` and ``g2_err``, dimensions ``(..., delay)`` in any order, coordinate
        ``delay`` in s. What weights need is used if it is there: ``n_products(..., delay)``, ``level(delay)``, and
        along any other dimensions ``rate``, ``runs``, ``n_pixels``, ``frames``, ``frame_time``;
        ``g2_cluster(..., cluster, delay)``, curves of pixels, segments or repeats, for standard errors. Or ``g2`` alone
        as a DataArray. Or a DataTree of such Datasets, each group fitted by itself.
    model : str, Model or callable
        A key of `MODELS`, a record, or any function ``f(delay, *parameters)``.
    config : FitConfig, optional
        How to fit; ``**settings`` are fields of `FitConfig` put on top of it.
    sigma : DataArray, array or number, optional
        Errors of g2 if `data` is a DataArray, taken as they are unless ``errors=`` asks otherwise. Without them all its
        points weigh the same and the covariance is scaled by the reduced chi2.
    cache : bool
        Take fits of files from the cache of results where they are known, and keep them there (docs/cache.md).

    Returns
    -------
    xarray.Dataset or xarray.DataTree
        ``value`` and ``stderr`` ``(..., parameter)`` in the units that coordinate ``unit`` names; ``chi2``, ``dof``,
        ``n_used``, ``evaluations``, ``status``, ``rung``, ``flags``, ``errors_from`` (what the standard errors rest on)
        and ``errors_dof`` ``(...)``. With ``detail="full"`` (default) also ``covariance(..., pair)`` (see
        `covariance_matrix`), ``reduced_chi2``, ``aicc``, ``bic`` and the point flags ``quality(..., delay)``; with
        ``interval=`` also ``interval(..., parameter, bound)``; with ``diagnostics=`` what docs/diagnostics.md lists.
        Coordinates of the curves are carried over. Lazy if and only if `data` is: building
        runs no task, and blocks of curves (not delays) become tasks.

    Raises
    ------
    ConfigError
        For a setting, bound or parameter name that makes no sense, missing errors, delays that are negative or not
        finite (0 is allowed), or a function that does not return one number a delay; before anything runs.
    NoUsableInputError
        If no curve or no delay is left to fit.

    Notes
    -----
    The default model is :math:`g_2 = b + \beta \exp[-2(t/\tau)^p]` [1]_. A curve that cannot be fitted does not raise:
    its numbers are NaN and ``status`` says why. Default bounds depend on the delays alone, never on g2. Curves without
    a coordinate ``curve_id`` are numbered from 0, before any range is applied, along their dimensions in alphabetical
    order of the names: however the array is transposed, a curve keeps its number.

    References
    ----------
    .. [1] G. Williams and D. C. Watts, Trans. Faraday Soc. 66, 80 (1970).
    """
    packed = packed_fits(data, model, FitConfig.make(config, **settings), sigma, cache=cache)
    if isinstance(packed, PackedFits):
        return packed.labelled()
    return xr.DataTree.from_dict({path: fits.labelled() for path, fits in packed.items()})


def packed_fits(
    data: Data, model: str | Model | Evaluate, config: FitConfig, sigma: Any = None, *, cache: bool = False
) -> PackedFits | dict[str, PackedFits]:
    """`fit` before its results are labelled; of a DataTree, by the path of the group."""
    record = resolve(model)
    if isinstance(data, xr.DataTree):
        return each_group(data, lambda group: _packed(*prepare(group, None, config), record, cache))
    return _packed(*prepare(data, sigma, config), record, cache)


def _packed(curves: xr.Dataset, config: FitConfig, record: Model, cache: bool) -> PackedFits:
    job = job_of(curves, config, record)
    block = partial(fit_block, job=job)
    g2, others = operands(curves, config)
    records = map_curves(
        with_cache(block, state=fingerprint) if cache else block,
        g2,
        *others,
        core="delay",
        dtype=job.dtype,
        name=f"fit-{record.name}",
        own=("cluster",),
    )
    dims = [str(dim) for dim in curves["g2"].dims]
    return PackedFits(
        records=records,
        points=_points(curves, job) if config.detail == "full" else None,
        dims=dims,
        coords=coords_of(curves, dims),
        model=record,
        attrs=provenance(curves, record, config, job.lower, job.upper),
    )


def job_of(curves: xr.Dataset, config: FitConfig, record: Model) -> Job:
    """Gather what the blocks of prepared curves share; refuses bounds and models that cannot be right."""
    delay = known(curves["delay"]).astype(np.float64)
    lower, upper = record.box(delay, config.bounds, config.fixed)
    check_output(record, delay, delay.size, lower, upper, None)
    return Job(delay=delay, level=levels(curves), model=record, config=config, lower=lower, upper=upper)


def _points(curves: xr.Dataset, job: Job) -> Any:
    """Errors and flags of points; which are outliers only the fit can tell."""
    if job.config.robust != "clip":
        return points(curves, job.config)
    g2, others = operands(curves, job.config)
    return map_curves(
        partial(fitted_points, job=job), g2, *others, core="delay", dtype=POINT, name="quality", keep_core=True,
        own=("cluster",),
    )  # fmt: skip


def quality(
    data: Data, *, config: FitConfig | None = None, sigma: Any = None, **settings: Any
) -> xr.Dataset | xr.DataTree:
    """Errors that weigh the points, and what is wrong with points; arguments as in `fit`.

    Returns
    -------
    xarray.Dataset or xarray.DataTree
        ``quality(..., delay)`` uint8, bits of `fitting.quality.PointFlag` (also in a fit with ``detail="full"``), and
        ``sigma(..., delay)`` float64, the error that the fit takes; NaN where a point is not used. Lazy if and only if
        `data` is.
    """
    config = FitConfig.make(config, **settings)
    if isinstance(data, xr.DataTree):
        return xr.DataTree.from_dict(each_group(data, lambda group: _labelled_points(*prepare(group, None, config))))
    return _labelled_points(*prepare(data, sigma, config))


def _labelled_points(curves: xr.Dataset, config: FitConfig) -> xr.Dataset:
    dims = [str(dim) for dim in curves["g2"].dims]
    return label_points(columns(points(curves, config)), dims, coords_of(curves, dims))
