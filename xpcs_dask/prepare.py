"""Curves as the block functions take them: checked, errors beside them, delays last, ranges applied."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from xpcs_dask.config import FitConfig, Range
from xpcs_dask.engine.graph import Named, map_curves
from xpcs_dask.errors import ConfigError, NoUsableInputError
from xpcs_dask.fitting.points import POINT, sigma_block
from xpcs_dask.fitting.standard_errors import wants_clusters

logger = logging.getLogger(__name__)

T = TypeVar("T")


def prepare(data: Any, sigma: Any, config: FitConfig) -> tuple[xr.Dataset, FitConfig]:
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
    if "errors" not in config.model_fields_set:
        config = FitConfig.make(config, errors="none" if sigma is None else "quoted")
    if sigma is None:
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
    _check_delays(known(data["delay"]))
    if config.covariance == "cluster" and "g2_cluster" not in data:
        raise ConfigError(
            "covariance: 'cluster' needs a variable g2_cluster(..., cluster, delay): xpcs_dask.average makes it from "
            "repeats, xpcs_dask.regroup from pixels; or give covariance='auto'"
        )
    if config.errors not in ("quoted", "smoothed"):
        return
    instead = "give errors='auto' for errors from counts and scatter, or errors='none' to weigh all points equally"
    if "g2_err" not in data:
        raise ConfigError(f"errors: the data have no g2_err; {instead}")
    if "error_kind" in data.coords and (known(data["error_kind"]) == "none").all():
        raise ConfigError(f"errors: the files hold no errors of g2; {instead}")


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


def operands(data: xr.Dataset, config: FitConfig, clusters: bool = False) -> tuple[Named, list[Named | None]]:
    """g2 and what else the block functions take, each with its dimensions in the order of g2.

    The others are errors, numbers of products, coincidences per product (all runs together), pixels, the length of the
    run in s, counts per pixel and frame of one run, its frames, and clusters; None for what the data lack, and for
    clusters that neither `clusters` nor the settings ask for.
    """
    g2 = data["g2"].variable
    stored = data["g2_err"].variable if "g2_err" in data else None
    found = {
        "g2_err": stored if config.errors in ("quoted", "none") else _believable(data),
        "n_products": data.variables.get("n_products"),
        "rate": _rate(data),
        "n_pixels": data.variables.get("n_pixels"),
        "frame_time": _run(data),
        "counts": _counts(data),
        "frames": data.variables.get("frames"),
        "g2_cluster": data.variables.get("g2_cluster") if clusters or wants_clusters(config) else None,
    }
    return _named(g2, g2.dims), [_optional(name, variable, g2.dims) for name, variable in found.items()]


def points(data: xr.Dataset, config: FitConfig) -> Any:
    """Errors that weigh the points and what is wrong with these: (..., delay) of `fitting.points.POINT`, lazy as g2."""
    g2, others = operands(data, config)
    delay = known(data["delay"]).astype(np.float64)
    return map_curves(
        partial(sigma_block, delay=delay, level=levels(data), config=config),
        g2,
        *others[:4],
        core="delay",
        dtype=POINT,
        name="quality",
        keep_core=True,
    )


def levels(data: xr.Dataset) -> Any:
    """Level of each delay in the multi-tau scheme, None where it is not known."""
    if "level" not in data.coords or data["level"].dims != ("delay",):
        return None
    return known(data["level"]).astype(np.float64)


def _believable(data: xr.Dataset) -> xr.Variable | None:
    """Quoted errors, NaN for files whose errors measure nothing."""
    if "g2_err" not in data:
        return None
    if "error_kind" not in data.coords or (known(data["error_kind"]) == "quoted").all():
        return data["g2_err"].variable
    return data["g2_err"].where(data["error_kind"] == "quoted").variable


def _rate(data: xr.Dataset) -> xr.Variable | None:
    if "rate" not in data.coords:
        return None
    return (data["rate"] * data["runs"] if "runs" in data.coords else data["rate"]).variable


def _counts(data: xr.Dataset) -> xr.Variable | None:
    """Mean counts per pixel and correlated frame: every pixel contributes their square to the rate."""
    if "rate" not in data.coords or "n_pixels" not in data.coords:
        return None
    return ((data["rate"] / data["n_pixels"]) ** 0.5).variable


def _run(data: xr.Dataset) -> xr.Variable | None:
    if "frames" not in data.coords or "frame_time" not in data.coords:
        return None
    length = data["frames"] * data["frame_time"]
    for name in ("stride", "average"):
        if name in data.coords:
            length = length * data[name]
    return length.variable


def _optional(name: str, variable: xr.Variable | None, dims: tuple[Hashable, ...]) -> Named | None:
    if variable is None:
        return None
    own = {"cluster"} if name == "g2_cluster" else set[str]()
    if not set(variable.dims) <= {*dims, *own}:
        raise ConfigError(f"{name} has dimensions {variable.dims}, which are not all among those of g2, {dims}")
    return _named(variable, dims)


def _named(variable: xr.Variable, dims: tuple[Hashable, ...]) -> Named:
    lead, own = [dim for dim in dims[:-1] if dim in variable.dims], [dim for dim in variable.dims if dim not in dims]
    variable = variable.transpose(*lead, *own, *(dim for dim in dims[-1:] if dim in variable.dims))
    return Named(variable.data, tuple(str(dim) for dim in variable.dims))


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
        values = known(data[name])
        keep = np.nonzero((values >= limits[0]) & (values <= limits[1]))[0]
        if keep.size == 0:
            there = f"it ranges from {np.nanmin(values):g} to {np.nanmax(values):g}" if values.size else "it is empty"
            raise NoUsableInputError(
                f"no {name} of the data is in {name}_range [{limits[0]:g}, {limits[1]:g}] {unit}; {there}"
            )
        solid = keep[-1] - keep[0] + 1 == keep.size
        data = data.isel({data[name].dims[0]: slice(keep[0], keep[-1] + 1) if solid else keep})
    return data


def known(coordinate: xr.DataArray) -> Any:
    """Values of a coordinate that decides what is built; read here, not on a cluster, if it is lazy."""
    return coordinate.compute(scheduler="sync").values


def each_group(tree: xr.DataTree, verb: Callable[[xr.Dataset], T]) -> dict[str, T]:
    """Call a verb on every group that holds curves, by path; groups with nothing left are named in the log."""
    found: dict[str, T] = {}
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
    return found


def coords_of(data: xr.Dataset, dims: Any) -> dict[Any, xr.DataArray]:
    """Coordinates along no other than the given dimensions."""
    return {name: coordinate for name, coordinate in data.coords.items() if set(coordinate.dims) <= set(dims)}
