"""A results store that is made first and filled block by block, by any number of tasks at once.

Chunks are stored as they lie in memory: g2 fits hardly compress, and a chunk of an uncompressed Zarr array is one file
of known name and bytes (Zarr core specification 3.0), so a task need not open the store.
Two tasks never write one file.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xpcs_dask.engine.allocator import small_names
from xpcs_dask.engine.graph import Named
from xpcs_dask.engine.ledger import write_whole
from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.layout import SCHEMA_VERSION
from xpcs_dask.results.summary import count

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

DESCRIBED = "zarr.json"
"""File of an array's metadata."""
TEXTS = 2**16
"""Names and times that are packed and written in one go: each is in memory twice meanwhile."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the chunks of one array are, and how they are stored."""

    folder: str
    chunk: tuple[int, ...]
    dtype: np.dtype[Any]

    def path(self, index: Sequence[int]) -> Path:
        """File of a chunk."""
        return Path(self.folder, ".".join(["c", *map(str, index)]))

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
        block = np.asarray(values, self.dtype, order="C")
        if block.shape != self.chunk:
            whole = np.zeros(self.chunk, self.dtype)
            whole[tuple(slice(n) for n in block.shape)] = block
            block = whole
        write_whole(self.path(index), block.reshape(-1).view(np.uint8).data)


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
        lazy, numbers = lazy_arrays(results), _numbers(results)
        with small_names():
            other = results.drop_encoding().drop_vars([*lazy, *numbers])
            for name, variable in other.variables.items():
                if variable.dtype.kind in "OUT":
                    other[name] = variable.compute().astype(object)
        cut = {
            name: {"chunks": tuple(min(n, TEXTS) for n in found.shape)}
            for name, found in other.variables.items()
            if found.size > TEXTS
        }
        other.to_zarr(path, group=group, mode="a", zarr_format=3, consolidated=False, encoding=cut)
        _add(path / group.strip("/"), results, lazy | numbers)
        for name, array in numbers.items():
            place = Place(str(path / group.strip("/") / name), array.data.shape, array.data.dtype.newbyteorder("<"))
            place.write((0,) * array.data.ndim, array.data)


def _add(path: Path, results: xr.Dataset, arrays: Mapping[str, Named]) -> None:
    """Describe arrays that are written here, or are still to be computed.

    Written as the specification says it, without Zarr: making two dozen arrays through its event loop takes as long as
    fitting ten thousand curves.
    """
    import zarr

    for name, array in arrays.items():
        (path / name).mkdir()
        told = _described(name, array, _plain(results[name].attrs))
        (path / name / DESCRIBED).write_text(json.dumps(told), encoding="utf-8")
    coords = [name for name in arrays if name in results.coords and name not in results.dims]
    if coords:
        group = zarr.open_group(path, mode="r+")
        group.attrs["coordinates"] = " ".join([*str(group.attrs.get("coordinates", "")).split(), *coords])


def _described(name: str, array: Named, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata of an array of numbers that is not compressed (Zarr core specification 3.0)."""
    dtype = np.dtype(array.data.dtype)
    chunk = getattr(array.data, "chunksize", array.data.shape)
    if dtype.kind not in "biuf":
        raise ConfigError(f"{name} is lazy and holds {dtype}: only numbers are written block by block; load it first")
    little = {"configuration": {"endian": "little"}} if dtype.itemsize > 1 else {}
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": array.data.shape,
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        # all chunks of an array in one folder: Zarr's own choice makes one or two folders for each block
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": False if dtype.kind == "b" else 0,
        "codecs": [{"name": "bytes"} | little],
        "attributes": attributes,
        "dimension_names": array.dims,
        "storage_transformers": [],
    }


def places_of(path: Path, groups: Mapping[str, xr.Dataset]) -> dict[str, Place]:
    """Where the chunks of lazy arrays are in a store of `begin_store`, by ``group/name``."""
    found = {}
    for group, results in groups.items():
        for name in lazy_arrays(results):
            inside = f"{group.strip('/')}/{name}".lstrip("/")
            told = json.loads((path / inside / DESCRIBED).read_text(encoding="utf-8"))
            chunk = tuple(told["chunk_grid"]["configuration"]["chunk_shape"])
            found[inside] = Place(str(path.absolute() / inside), chunk, np.dtype(told["data_type"]).newbyteorder("<"))
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
    codes: dict[str, list[Any]] = {"status": [], "rung": [], "flags": []}
    for inside, array in values.items():
        if (name := inside.rpartition("/")[2]) in codes:
            codes[name].append(np.asarray(array).reshape(-1))
    return count(**{name: np.concatenate(found or [np.zeros(0, np.int64)]) for name, found in codes.items()})


def _plain(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Attributes as JSON can hold them."""
    return {str(name): value.tolist() if hasattr(value, "tolist") else value for name, value in attrs.items()}


def _is_cut(array: Named, sizes: Mapping[str, int]) -> bool:
    """Whether all blocks along each dimension have these sizes, but for the rest at the end."""
    return all(
        set(chunks[:-1]) <= {sizes[dim]} and chunks[-1] <= sizes[dim]
        for dim, chunks in zip(array.dims, array.data.chunks, strict=True)
    )


def _numbers(results: xr.Dataset) -> dict[str, Named]:
    """Variables and coordinates that are known and hold plain numbers."""
    return {
        str(name): Named(variable.to_numpy(), tuple(map(str, variable.dims)))
        for name, variable in results.variables.items()
        if variable.chunks is None and variable.dtype.kind in "biuf" and variable.size
    }


def _lazy(results: xr.Dataset) -> list[str]:
    return [str(name) for name, variable in results.variables.items() if variable.chunks is not None]
