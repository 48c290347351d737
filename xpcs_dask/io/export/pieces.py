"""Results a piece at a time: lazy ones are computed and written block by block, never as a whole."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr

from xpcs_dask.errors import NoUsableInputError

PIECE_CURVES = 200_000
"""Curves in memory at a time, about 20 to 60 MB; a lazy result gives at least one of its blocks."""

LAST = ("parameter", "pair", "delay", "bound")
"""Dimensions of results that are no dimensions of the curves."""

Results = xr.Dataset | xr.DataTree


def groups_of(results: Results) -> dict[str, xr.Dataset]:
    """Find the groups that hold fits, by path; a Dataset is the group ``/``.

    Raises
    ------
    NoUsableInputError
        If there is none.
    """
    nodes = results.subtree if isinstance(results, xr.DataTree) else [xr.DataTree(results)]
    found = {node.path: node.to_dataset(inherit=False) for node in nodes if "value" in node.data_vars}
    if not found:
        raise NoUsableInputError("there is nothing to export: the results have no variable 'value'")
    return found


def curve_dims(results: xr.Dataset) -> tuple[str, ...]:
    """Dimensions of the curves, in order."""
    return tuple(str(dim) for dim in results["value"].dims if dim not in LAST)


def pieces(results: xr.Dataset, names: Collection[str] = ()) -> Iterator[tuple[slice, xr.Dataset]]:
    """Yield computed parts along the first dimension of the curves, each with its place.

    Of the variables those of `names` that there are, or all. Results without such a dimension come as one part.
    """
    dims = curve_dims(results)
    if names:
        results = results[[name for name in names if name in results.data_vars]]
    if not dims:
        yield slice(None), results.compute()
        return
    for part in _parts(results, dims):
        yield part, results.isel({dims[0]: part}).compute()


def _parts(results: xr.Dataset, dims: tuple[str, ...]) -> Iterator[slice]:
    """Cut the first dimension at block boundaries into parts of about `PIECE_CURVES`."""
    sizes: Mapping[Any, int] = results.sizes
    length = sizes[dims[0]]
    step = max(1, PIECE_CURVES // max(1, int(np.prod([sizes[dim] for dim in dims[1:]]))))
    value = results["value"]
    blocks = value.chunksizes[dims[0]] if value.chunks is not None else (step,) * (length // step + 1)
    first = last = 0
    for block in blocks:
        if last > first and last + block - first > step:
            yield slice(first, last)
            first = last
        last = min(last + block, length)
    if last > first:
        yield slice(first, last)
