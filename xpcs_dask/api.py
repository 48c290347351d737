"""The verbs: open, fit, look at the quality of points, save, open results."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any, TypeAlias, overload

import numpy as np
import xarray as xr

from xpcs_dask.config import FitConfig, Range
from xpcs_dask.engine.graph import Named, columns, map_curves
from xpcs_dask.errors import ConfigError, NoUsableInputError
from xpcs_dask.fitting.blocks import fit_block, quality_block
from xpcs_dask.fitting.curves import check_output
from xpcs_dask.fitting.layout import fit_dtype
from xpcs_dask.fitting.models import Evaluate, Model, resolve
from xpcs_dask.io.open import open_g2
from xpcs_dask.results import label, label_quality, open_results, provenance, save

__all__ = ["fit", "open_g2", "open_results", "quality", "save", "select"]

logger = logging.getLogger(__name__)

Data: TypeAlias = xr.Dataset | xr.DataArray | xr.DataTree


@overload
def fit(
    data: xr.DataTree,
    model: str | Model | Evaluate = ...,
    *,
    config: FitConfig | None = ...,
    sigma: Any = ...,
    **settings: Any,
) -> xr.DataTree: ...


@overload
def fit(
    data: xr.Dataset | xr.DataArray,
    model: str | Model | Evaluate = ...,
    *,
    config: FitConfig | None = ...,
    sigma: Any = ...,
    **settings: Any,
) -> xr.Dataset: ...


def fit(
    data: Data,
    model: str | Model | Evaluate = "single",
    *,
    config: FitConfig | None = None,
    sigma: Any = None,
    **settings: Any,
) -> xr.Dataset | xr.DataTree:
    r"""Fit a correlation model to every curve.

    Parameters
    ----------
    data : xarray.Dataset, xarray.DataArray or xarray.DataTree
        A Dataset as `open_g2` returns it: ``g2`` and ``g2_err``, dimensions ``(..., delay)`` in any order, coordinate
        ``delay`` in s; ``n_products(..., delay)`` is used if it is there. Or ``g2`` alone as a DataArray. Or a DataTree
        of such Datasets, each group fitted by itself.
    model : str, Model or callable
        A key of `MODELS`, a record, or any function ``f(delay, *parameters)``.
    config : FitConfig, optional
        How to fit; ``**settings`` are fields of `FitConfig` put on top of it.
    sigma : DataArray, array or number, optional
        Errors of g2 if `data` is a DataArray. Without them all its points weigh the same and the covariance is scaled
        by the reduced chi2.

    Returns
    -------
    xarray.Dataset or xarray.DataTree
        ``value`` and ``stderr`` ``(..., parameter)`` in the units that coordinate ``unit`` names; ``chi2``, ``dof``,
        ``n_used``, ``evaluations``, ``status``, ``rung`` and ``flags`` ``(...)``. With ``detail="full"`` (default) also
        ``covariance(..., pair)`` (see `covariance_matrix`), ``reduced_chi2``, ``aicc``, ``bic`` and the point flags
        ``quality(..., delay)``. Coordinates of the curves are carried over. Lazy if and only if `data` is: building
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
    record = resolve(model)
    config = FitConfig.make(config, **settings)
    if isinstance(data, xr.DataTree):
        return _each_group(data, lambda group: fit(group, record, config=config))
    curves, config = _prepare(data, sigma, config)
    delay = _known(curves["delay"]).astype(np.float64)
    lower, upper = record.box(delay, config.bounds, config.fixed)
    check_output(record, delay, delay.size, lower, upper, None)
    g2, *others = _operands(curves)
    packed = map_curves(
        partial(fit_block, delay=delay, model=record, config=config, lower=lower, upper=upper),
        g2,
        *others,
        core="delay",
        dtype=fit_dtype(record, config.detail),
        name=f"fit-{record.name}",
    )
    dims = curves["g2"].dims[:-1]
    attrs = provenance(curves, record, config, lower, upper)
    found = label(columns(packed), [str(dim) for dim in dims], _coords(curves, dims), record, attrs)
    return found.assign(quality=_quality(curves, config)) if config.detail == "full" else found


def quality(
    data: Data, *, config: FitConfig | None = None, sigma: Any = None, **settings: Any
) -> xr.DataArray | xr.DataTree:
    """Why points are not used: bits of `fitting.quality.PointFlag`, uint8 ``(..., delay)``; arguments as in `fit`.

    Lazy if and only if `data` is. The same flags are the variable ``quality`` of a fit with ``detail="full"``.
    """
    config = FitConfig.make(config, **settings)
    if isinstance(data, xr.DataTree):
        return _each_group(data, lambda group: _quality(*_prepare(group, None, config)).to_dataset())
    return _quality(*_prepare(data, sigma, config))


def select(data: xr.Dataset, q_range: Range | None = None, delay_range: Range | None = None) -> xr.Dataset:
    """Bins with q and delays within closed ranges (1/angstrom, s); lazy if `data` is, but the coordinate is read.

    Raises
    ------
    NoUsableInputError
        If nothing is left; names the range and what there is.
    ConfigError
        If `data` has no such coordinate.
    """
    for name, limits, unit in (("q", q_range, "1/angstrom"), ("delay", delay_range, "s")):
        if limits is None:
            continue
        if name not in data.coords or data[name].ndim != 1:
            raise ConfigError(f"{name}_range was given, but the data have no coordinate '{name}' along one dimension")
        values = _known(data[name])
        keep = np.nonzero((values >= limits[0]) & (values <= limits[1]))[0]
        if keep.size == 0:
            there = f"it ranges from {np.nanmin(values):g} to {np.nanmax(values):g}" if values.size else "it is empty"
            raise NoUsableInputError(
                f"no {name} of the data is in {name}_range [{limits[0]:g}, {limits[1]:g}] {unit}; {there}"
            )
        solid = keep[-1] - keep[0] + 1 == keep.size
        data = data.isel({data[name].dims[0]: slice(keep[0], keep[-1] + 1) if solid else keep})
    return data


def _known(coordinate: xr.DataArray) -> Any:
    """Values of a coordinate that decides what is built; read here, not on a cluster, if it is lazy."""
    return coordinate.compute(scheduler="sync").values


def _each_group(tree: xr.DataTree, verb: Callable[[xr.Dataset], xr.Dataset]) -> xr.DataTree:
    """Call a verb on every group that holds curves; groups with nothing left are named in the log."""
    found: dict[str, xr.Dataset] = {}
    empty = []
    for node in tree.subtree:
        if "g2" not in node.data_vars:
            continue
        try:
            found[node.path] = verb(node.to_dataset())
        except NoUsableInputError as error:
            logger.warning("group %s is left out: %s", node.path, error)
            empty.append(f"{node.path}: {error}")
    if not found:
        raise NoUsableInputError("; ".join(empty) or "no group of the DataTree has a variable g2")
    return xr.DataTree.from_dict(found)


def _prepare(data: Any, sigma: Any, config: FitConfig) -> tuple[xr.Dataset, FitConfig]:
    """Curves with errors and identity, delays last, ranges applied; and the settings that their errors imply."""
    if isinstance(data, xr.DataArray):
        data, config = _from_array(data, sigma, config)
    elif sigma is not None:
        raise ConfigError("sigma= goes with a DataArray; a Dataset holds its errors in the variable g2_err")
    _check(data, config)
    data = data.assign(g2=data["g2"].transpose(..., "delay"))
    if "curve_id" not in data.coords:
        data = data.assign_coords(curve_id=_numbers(data["g2"].isel(delay=0, drop=True).sizes))
    data = select(data, config.q_range, config.delay_range)
    if data["g2"].size == 0:
        sizes = ", ".join(f"{dim}: {size}" for dim, size in data["g2"].sizes.items())
        raise NoUsableInputError(f"there is no curve to fit; g2 has {sizes}")
    if config.errors == "none":
        if config.covariance == "wald":
            raise ConfigError("covariance: 'wald' needs errors; with errors='none' it can only be 'scaled' (or 'auto')")
        config = FitConfig.make(config, absolute_sigma=False)
    return data, config


def _numbers(sizes: Mapping[Hashable, int]) -> xr.Variable:
    """Identity of curves that have none, counted along the dimensions in order of their names, not of the array."""
    dims = sorted(sizes, key=str)
    shape = [sizes[dim] for dim in dims]
    number = np.arange(np.prod(shape, dtype=np.int64), dtype=np.uint64).reshape(shape)
    attrs = {"long_name": "identity of the curve: its number in the array", "units": "1"}
    return xr.Variable(dims, number, attrs).transpose(*sizes)


def _from_array(g2: xr.DataArray, sigma: Any, config: FitConfig) -> tuple[xr.Dataset, FitConfig]:
    if sigma is None:
        if "errors" not in config.model_fields_set:
            config = FitConfig.make(config, errors="none")
        return g2.to_dataset(name="g2"), config
    if not isinstance(sigma, xr.DataArray):
        shape = np.shape(sigma)
        sigma = xr.DataArray(sigma, dims=g2.dims[g2.ndim - len(shape) :])
    g2, sigma = xr.align(g2, sigma, join="exact")
    return g2.to_dataset(name="g2").assign(g2_err=sigma), config


def _check(data: Any, config: FitConfig) -> None:
    if not isinstance(data, xr.Dataset):
        raise ConfigError(f"data must be a Dataset, DataArray or DataTree, not {type(data).__name__}")
    if "g2" not in data.data_vars:
        raise ConfigError(f"the data have no variable g2; they have {', '.join(map(str, data.data_vars)) or 'none'}")
    if "delay" not in data["g2"].dims or "delay" not in data.coords:
        raise ConfigError(
            f"g2 needs a dimension and a coordinate 'delay' (in s); it has {', '.join(map(str, data['g2'].dims))}"
        )
    unit = data["delay"].attrs.get("units", "s")
    if unit != "s":
        raise ConfigError(f"delays must be in s, but the coordinate says units='{unit}'; convert them first")
    _check_delays(_known(data["delay"]))
    if config.errors == "quoted" and "g2_err" not in data:
        raise ConfigError("errors: the data have no g2_err; give errors='none' to weigh all points equally")
    if config.errors == "quoted" and "error_kind" in data.coords and (_known(data["error_kind"]) == "none").all():
        raise ConfigError("errors: the files hold no errors of g2; give errors='none' to weigh all points equally")


def _check_delays(delay: Any) -> None:
    if delay.dtype.kind not in "iuf":
        raise ConfigError(f"delays must be numbers, in s, but the coordinate has the type {delay.dtype}; convert them")
    wrong = np.flatnonzero(~((delay >= 0) & np.isfinite(delay)))
    if wrong.size:
        more = f", and so are {wrong.size - 1} more" if wrong.size > 1 else ""
        raise ConfigError(
            f"delays must be finite and not negative, in s, but delay[{wrong[0]}] is {delay[wrong[0]]:g}{more}; "
            "leave such points out"
        )


def _operands(data: xr.Dataset) -> tuple[Named, Named | None, Named | None]:
    """g2, its errors and numbers of products, each with its dimensions in the order of g2."""
    g2 = data["g2"].variable
    return _named(g2, g2.dims), _optional(data, "g2_err"), _optional(data, "n_products")


def _optional(data: xr.Dataset, name: str) -> Named | None:
    if name not in data:
        return None
    variable, dims = data[name].variable, data["g2"].dims
    if not set(variable.dims) <= set(dims):
        raise ConfigError(f"{name} has dimensions {variable.dims}, which are not all among those of g2, {dims}")
    return _named(variable, dims)


def _named(variable: xr.Variable, dims: tuple[Hashable, ...]) -> Named:
    variable = variable.transpose(*(dim for dim in dims if dim in variable.dims))
    return Named(variable.data, tuple(str(dim) for dim in variable.dims))


def _quality(curves: xr.Dataset, config: FitConfig) -> xr.DataArray:
    g2, *others = _operands(curves)
    flags = map_curves(
        partial(quality_block, config=config),
        g2,
        *others,
        core="delay",
        dtype=np.uint8,
        name="quality",
        keep_core=True,
    )
    dims = curves["g2"].dims
    return label_quality(flags, [str(dim) for dim in dims], _coords(curves, dims))


def _coords(data: xr.Dataset, dims: Any) -> dict[Any, xr.DataArray]:
    """Coordinates along no other than the given dimensions."""
    return {name: coordinate for name, coordinate in data.coords.items() if set(coordinate.dims) <= set(dims)}
