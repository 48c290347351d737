"""What is known of repeats, each alone and all together: coordinates of their average."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xpcs_dask.io.schema import SCALARS
from xpcs_dask.physics.repeats import Weights

CLUSTER = "cluster"


@dataclass(frozen=True)
class Counting:
    """Numbers that counting statistics follow from, all with the dimension of the repeats."""

    runs: xr.DataArray
    """Runs in each repeat."""
    counts: xr.DataArray
    """Coincidences expected per product at level 0, in all runs of a repeat; NaN if not known."""
    products: xr.DataArray
    """Products at each delay; NaN if not known."""
    copies: xr.DataArray
    """Whether an earlier repeat is the same curve, by its identity."""

    @classmethod
    def of(cls, data: xr.Dataset, over: str) -> Counting:
        """Take them from the coordinates, where they are."""
        runs = _coordinate(data, "runs", 1.0)
        products = _with_dim(_coordinate(data, "n_products", np.nan), over, data)
        counts = runs * _coordinate(data, "rate", np.nan)
        ids = _coordinate(data, "curve_id", np.nan) if _varies(data, "curve_id", over) else None
        copies = xr.DataArray(False) if ids is None else ids.copy(data=_seen_before(ids.values, ids.get_axis_num(over)))
        runs, counts, copies = (_with_dim(values, over, data) for values in (runs, counts, copies))
        return cls(runs, counts, _with_dim(products, "delay", data), copies)


def with_coords(data: xr.Dataset) -> xr.Dataset:
    """Read coordinates that are lazy, here and not on a cluster: they decide what is built."""
    lazy = [name for name, coordinate in data.coords.items() if coordinate.chunks is not None]
    return data.assign_coords({name: data[name].variable.compute(scheduler="sync") for name in lazy})


def of_repeats(data: xr.Dataset, over: str) -> dict[str, xr.Variable]:
    """Return what is known of each repeat alone, as coordinates of the clusters."""
    coords = {
        f"{CLUSTER}_{name}": xr.Variable(CLUSTER, coordinate.data, coordinate.attrs)
        for name, coordinate in data.coords.items()
        if coordinate.dims == (over,) and name != over
    }
    names = data[over].values if over in data.coords else np.arange(data.sizes[over])
    return coords | {CLUSTER: xr.Variable(CLUSTER, names, {"long_name": f"{over} that was averaged"})}


def of_the_whole(
    data: xr.Dataset, over: str, counting: Counting, kept: xr.DataArray, weights: Weights
) -> dict[str, xr.Variable]:
    """Return what is known of all repeats that count, `kept` (..., cluster), together.

    ``runs`` are those of the repeats that count; ``rate`` is such that the counting variance of the average is
    1 / (runs rate n_products 4^level): of the plain mean exactly, of weighted ones the least that weights can reach.
    """
    coords: dict[str, xr.Variable] = {}
    kept = kept.rename({CLUSTER: over})
    runs = (kept * counting.runs).sum(over)
    if "runs" in data.coords:
        coords["runs"] = _variable(runs, data["runs"])
    if "rate" in data.coords:
        coords["rate"] = _variable(_together(kept, counting.counts, over, weights) / runs.where(runs > 0), data["rate"])
    for name in ("n_products", "frames"):
        if _varies(data, name, over):
            each = _coordinate(data, name, np.nan) * counting.runs
            coords[name] = _variable(each.sum(over, skipna=False) / counting.runs.sum(over), data[name])
    for name in ("n_pixels", *SCALARS):
        if _varies(data, name, over):
            coords[name] = _variable(_coordinate(data, name, np.nan).mean(over), data[name])
    for name in ("frame_time", "stride", "average"):
        if _varies(data, name, over) and (values := np.unique(data[name].values)).size == 1:
            coords[name] = xr.Variable((), values[0], data[name].attrs)
    if _varies(data, "curve_id", over):
        ids = _coordinate(data, "curve_id", 0).sum(over, dtype=np.uint64)  # wraps around; the same in any order
        coords["curve_id"] = xr.Variable(ids.dims, ids.data, {"units": "1", "long_name": "hash of all repeats"})
    return coords


def _together(kept: xr.DataArray, counts: xr.DataArray, over: str, weights: Weights) -> xr.DataArray:
    """Coincidences per product at level 0 that give the counting variance of the average."""
    if weights != "none":
        return counts.where(kept, 0.0).sum(over, skipna=False)
    variance = (1.0 / counts.where(counts > 0)).where(kept, 0.0).sum(over, skipna=False)
    return kept.sum(over) ** 2 / variance.where(variance != 0)


def _coordinate(data: xr.Dataset, name: str, default: float) -> xr.DataArray:
    """Give a coordinate without its own coordinates, or a number where there is none."""
    return xr.DataArray(data[name].variable if name in data.coords else default)


def _with_dim(values: xr.DataArray, dim: str, data: xr.Dataset) -> xr.DataArray:
    return values if dim in values.dims else values.expand_dims({dim: data.sizes[dim]})


def _varies(data: xr.Dataset, name: str, over: str) -> bool:
    return name in data.coords and over in data[name].dims


def _variable(values: xr.DataArray, like: xr.DataArray) -> xr.Variable:
    attrs: dict[Any, Any] = dict(like.attrs)
    return xr.Variable(values.dims, values.data, attrs)


def _seen_before(ids: NDArray[np.uint64], axis: int) -> NDArray[np.bool_]:
    """Whether the same identity stands earlier along an axis."""
    order = np.argsort(ids, axis=axis, kind="stable")
    ordered = np.take_along_axis(ids, order, axis)
    same = np.diff(ordered, axis=axis) == 0
    first = np.zeros_like(np.take(same, [0], axis))
    found = np.zeros(ids.shape, np.bool_)
    np.put_along_axis(found, order, np.concatenate([first, same], axis), axis)
    return found
