"""A results store that is made first and filled block by block, by any number of tasks at once.

Chunks are stored as they lie in memory: g2 fits hardly compress, and a chunk of an uncompressed Zarr array is one file
of known name and bytes (Zarr core specification 3.0), so a task need not open the store.
Two tasks never write one file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xpcs_dask.engine.graph import Named
from xpcs_dask.engine.ledger import write_whole
from xpcs_dask.fitting.layout import SCHEMA_VERSION
from xpcs_dask.results.summary import summary

__all__ = [
    "Place",
    "begin_store",
    "by_group",
    "counts_of",
    "finish_store",
    "lazy_arrays",
    "move_store",
    "places_of",
    "regular",
]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the chunks of one array are, and how they are stored."""

    folder: str
    chunk: tuple[int, ...]
    dtype: np.dtype[Any]

    def path(self, index: Sequence[int]) -> Path:
        """File of a chunk."""
        return Path(self.folder, "c", *map(str, index))

    @property
    def nbytes(self) -> int:
        """Size of the file of any chunk: those at the end are filled up."""
        return math.prod(self.chunk) * int(self.dtype.itemsize)

    def stored(self, index: Sequence[int]) -> int:
        """Bytes on disk of a chunk; 0 if it is missing."""
        try:
            return os.stat(self.path(index)).st_size
        except OSError:
            return 0

    def write(self, index: Sequence[int], values: Any) -> None:
        """Write a chunk, whole or not at all; `FileNotFoundError` if the store is gone."""
        path = self.path(index)
        _make_folders(Path(self.folder), path.parent)
        block = np.ascontiguousarray(values, self.dtype)
        if block.shape != self.chunk:
            whole = np.zeros(self.chunk, self.dtype)
            whole[tuple(slice(n) for n in block.shape)] = block
            block = whole
        write_whole(path, block.reshape(-1).view(np.uint8).data)


def by_group(results: xr.Dataset | xr.DataTree) -> dict[str, xr.Dataset]:
    """Every group of a tree, or a Dataset as the group ``/``."""
    if isinstance(results, xr.DataTree):
        return {node.path: node.to_dataset(inherit=False) for node in results.subtree}
    return {"/": results}


def regular(results: xr.Dataset, sizes: Mapping[str, int] | None = None) -> xr.Dataset:
    """Blocks that a store can have: of one size along each dimension, the same for all variables; lazy.

    `sizes` of a block by dimension; without it, those of the variable that is cut into most pieces.
    """
    lazy = lazy_arrays(results)
    if sizes is None:
        found: dict[str, int] = {}
        for array in sorted(lazy.values(), key=lambda array: -array.data.npartitions):
            for dim, chunks in zip(array.dims, array.data.chunks, strict=True):
                found.setdefault(dim, max(chunks))
        sizes = found
    cut = {name: {dim: sizes[dim] for dim in array.dims} for name, array in lazy.items()}
    other = [name for name, array in lazy.items() if not _is_cut(array, cut[name])]
    return results.assign({name: results[name].variable.chunk(cut[name]) for name in other})


def lazy_arrays(results: xr.Dataset) -> dict[str, Named]:
    """Variables and coordinates that are still to be computed."""
    return {
        name: Named(results[name].variable.data, tuple(str(dim) for dim in results[name].dims))
        for name in _lazy(results)
    }


def begin_store(path: Path, groups: Mapping[str, xr.Dataset]) -> None:
    """Write a store with all that is known of results, and nothing where they are still to be computed.

    Parameters
    ----------
    path : Path
        Of the store; nothing must be there.
    groups : mapping of Dataset
        Results by path of their group; blocks are `regular`.
    """
    root = groups.get("/", xr.Dataset())
    root = root.assign_attrs({"schema_version": SCHEMA_VERSION} | root.attrs)
    for group, results in ({"/": root} | {name: found for name, found in groups.items() if name != "/"}).items():
        empty, encoding = _empty(results)
        empty.to_zarr(path, group=group, mode="a", zarr_format=3, consolidated=False, compute=False, encoding=encoding)


def places_of(path: Path, groups: Mapping[str, xr.Dataset]) -> dict[str, Place]:
    """Where the chunks of lazy arrays are in a store of `begin_store`, by ``group/name``."""
    import zarr

    found = {}
    for group, results in groups.items():
        for name in lazy_arrays(results):
            inside = f"{group.strip('/')}/{name}".lstrip("/")
            made = zarr.open_array(path, path=inside, mode="r")
            found[inside] = Place(str(path.absolute() / inside), made.chunks, made.dtype)
    return found


def finish_store(path: Path, attrs: Mapping[str, Any]) -> None:
    """Add to the attributes of a store's root."""
    import zarr

    zarr.open_group(path, mode="r+").attrs.update(dict(attrs))


def move_store(finished: Path, path: Path) -> None:
    """Rename a finished store to `path`; results that are there go where the store was, to be removed with the rest."""
    if os.path.lexists(path):
        old = finished.with_name(f"old-{path.name}")
        path.rename(old)
    finished.rename(path)


def counts_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Count how the fits of a block ended, by group and name as in `begin_store`; nothing for any other block."""
    codes: dict[str, dict[str, Any]] = {}
    for inside, array in values.items():
        group, _, name = inside.rpartition("/")
        if name in ("status", "rung", "flags"):
            codes.setdefault(group, {})[name] = np.asarray(array).reshape(-1)
    full = (xr.Dataset({name: ("curve", code) for name, code in found.items()}) for found in codes.values())
    return summary(xr.DataTree.from_dict({f"/{k}": found for k, found in enumerate(full)}))


def _empty(results: xr.Dataset) -> tuple[xr.Dataset, dict[Any, dict[str, Any]]]:
    """Results with nothing to compute, of which only the description is written, and how they are to be stored."""
    import dask.array as da

    data, encoding = results.drop_encoding(), dict[Any, dict[str, Any]]()
    for name, array in lazy_arrays(results).items():
        nothing = da.zeros(array.data.shape, dtype=array.data.dtype, chunks=-1)
        data[name] = data[name].variable.copy(data=nothing)
        encoding[name] = {"chunks": array.data.chunksize, "compressors": None}
    for text, variable in data.variables.items():
        if variable.dtype.kind in "OUT":
            data[text] = variable.compute().astype(object)
    return data, encoding


def _is_cut(array: Named, sizes: Mapping[str, int]) -> bool:
    """Whether all blocks along each dimension have these sizes, but for the rest at the end."""
    return all(
        set(chunks[:-1]) <= {sizes[dim]} and chunks[-1] <= sizes[dim]
        for dim, chunks in zip(array.dims, array.data.chunks, strict=True)
    )


def _lazy(results: xr.Dataset) -> list[str]:
    return [str(name) for name, variable in results.variables.items() if variable.chunks is not None]


def _make_folders(root: Path, folder: Path) -> None:
    """Make folders below one that must exist: a store that was removed is not to come back."""
    if not folder.is_dir():
        if folder != root:
            _make_folders(root, folder.parent)
        folder.mkdir(exist_ok=folder != root)
