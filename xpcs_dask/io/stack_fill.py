"""A packed stack whose curves are too large to be held at once: made first, filled piece by piece."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import dask.array as da
import numpy as np

from xpcs_dask.io.stack import check_place, encoding_of, marked, packing, storable
from xpcs_dask.io.stack_mark import Data, groups_by_path
from xpcs_dask.results.atomic import whole


def fill_stack(
    data: Data,
    path: str | os.PathLike[str],
    chunks: Mapping[str, Mapping[str, Sequence[int]]],
    fill: Callable[[Path], None],
    *,
    overwrite: bool = False,
) -> Path:
    """Write a stack whose curves are put in place piece by piece by whoever makes them.

    Parameters
    ----------
    data : xarray.Dataset or xarray.DataTree
        As for `write_stack`; of the variables named in `chunks` only shape, type and attributes count.
    path : path
        Ends in ``.zarr``; the stack appears there when `fill` has returned.
    chunks : mapping
        By path of the group and name of the variable: the size of a chunk along each dimension. Those of g2 say what
        is read together, whatever the chunks of others.
    fill : callable
        Given the folder of the unfinished store, writes the values into its arrays; what it leaves out is NaN.
    overwrite : bool
        As for `write_stack`, which also tells the errors.
    """
    path = check_place(path, overwrite)
    groups, filled = groups_by_path(data), {}
    for name, group in groups.items():
        own = chunks.get(name, {})
        made = storable(group.drop_vars(list(own)))
        encoding = encoding_of(made)
        for key, size in own.items():
            variable = group[key].variable
            made[key] = variable.copy(data=da.zeros(variable.shape, dtype=variable.dtype, chunks=-1))
            encoding[key] = {"_FillValue": None, "fill_value": np.nan, "compressors": packing(), "chunks": tuple(size)}
        filled[name] = made, encoding
    tree = marked({name: made for name, (made, _) in filled.items()}, data)
    with whole(path) as unfinished:
        for node in tree.subtree:
            node.to_dataset(inherit=False).to_zarr(
                unfinished,
                group=node.path,
                mode="a",
                zarr_format=3,
                consolidated=False,
                compute=False,
                encoding=filled[node.path][1],
            )
        fill(unfinished)
    return path
