"""Further arrays of result files, lazily: partial g2, intensities, q-maps, pixel G2, two-time maps."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize
from numpy.typing import NDArray

from xpcs_dask.errors import ConfigError, FileRejected, NoUsableInputError
from xpcs_dask.io.extra_coords import Described, coordinates
from xpcs_dask.io.formats import identify, reader, suffixes
from xpcs_dask.io.lazy import BLOCK_BYTES
from xpcs_dask.io.places import REMARKS, Place, places
from xpcs_dask.io.reader import Floats, Told
from xpcs_dask.io.sources import Source, list_files

logger = logging.getLogger(__name__)

Chunks: TypeAlias = int | Literal["auto"] | None


@dataclass(frozen=True)
class Array:
    """What an array is called, over which dimensions after ``file``, in which unit."""

    dims: tuple[str, ...]
    units: str
    long_name: str
    parted: bool = False
    """Whether large ones are read in parts of the first dimension."""
    labels: bool = False
    """Whether it holds labels: whole numbers, 0 where there is none."""


ARRAYS: Mapping[str, Array] = {
    "g2_partial": Array(("segment", "qbin", "delay"), "1", "g2 of the run from its start to the end of each segment"),
    "intensity_vs_time": Array(("frame",), "count", "mean counts per pixel and raw frame"),
    "scattering_1d": Array(("static_bin",), "count", "mean counts per pixel and raw frame in each static bin"),
    "scattering_2d": Array(("row", "column"), "count", "mean counts of each pixel per raw frame"),
    "dynamic_map": Array(("row", "column"), "1", "label of the q bin of each pixel, 0 where masked", labels=True),
    "static_map": Array(("row", "column"), "1", "label of the static bin of each pixel, 0 where masked", labels=True),
    "unnormalized_G2": Array(
        ("delay", "part", "row", "column"), "1", "mean products, past and future intensity of each pixel", parted=True
    ),
    "c2": Array(("c2_bin", "t1", "t2"), "1", "two-time correlation; its diagonal carries shot noise", parted=True),
}
"""Names that `include=` takes besides those of `io.schema.SCALARS`."""

COMPANIONS: Mapping[str, Mapping[str, Array]] = {
    "g2_partial": {"g2_partial_err": Array(("segment", "qbin", "delay"), "1", "error of g2_partial, as stored")}
}
"""What comes with an array."""


def extras(infos: Sequence[Described], names: Collection[str], chunks: Chunks = "auto") -> dict[str, xr.DataArray]:
    """Arrays of a series of files, over ``file`` first.

    Each file is opened once to see which arrays it has, of which shape; values are read when they are computed.

    Parameters
    ----------
    infos : sequence of FileInfo
        Files that share bins and delays, up to the number of delays.
    names : collection of str
        Some of `ARRAYS`.
    chunks : int, "auto" or None
        Most files per block; blocks have about 8 MB, of large arrays they are parts of a file. None reads now.

    Returns
    -------
    dict of DataArray
        By name. ``g2_partial`` brings ``g2_partial_err``. Shorter arrays are padded with NaN, maps with 0, and so are
        files that lack one: its attribute ``missing`` lists them, as JSON ``[{"file", "reason"}]``. What no file has
        is left out, and the log says so. Lazy unless `chunks` is None.

    Raises
    ------
    ConfigError
        For a name that is not known.
    MismatchError
        If two-time maps of the files have other times.
    """
    strange = [name for name in names if name not in ARRAYS]
    if strange:
        raise ConfigError(f"include: {', '.join(map(repr, strange))} is no array; known are {', '.join(ARRAYS)}")
    kinds = {name: ARRAYS[name] for name in names}
    for name in names:
        kinds |= COMPANIONS.get(name, {})
    found: dict[str, list[Place | None]] = {name: [] for name in kinds}
    reasons: dict[str, list[dict[str, str]]] = {name: [] for name in kinds}
    for info in infos:
        held, refused = _look(info, kinds)
        for name in kinds:
            found[name].append(held.get(name))
            if name not in held:
                reasons[name].append({"file": info.path, "reason": refused.get(name, "the file does not hold it")})
    out: dict[str, xr.DataArray] = {}
    for name, kind in kinds.items():
        if all(place is None for place in found[name]):
            logger.warning("none of %d files holds %s: %s", len(infos), name, reasons[name][0]["reason"])
            continue
        out[name] = _array(name, kind, infos, found[name], chunks)
        out[name].attrs["missing"] = json.dumps(reasons[name], ensure_ascii=False)
    return out


def _look(info: Described, kinds: Mapping[str, Array]) -> tuple[dict[str, Place], dict[str, str]]:
    """Places of the arrays of one file, and why others cannot be used."""
    try:
        held, refused = places(info.path, info.format, info.entry, kinds)
    except FileRejected as error:
        return {}, dict.fromkeys(kinds, error.reason)
    known = {"qbin": np.size(info.labels), "delay": np.size(info.delay), "part": 3}
    for name in list(held):
        sizes = dict(zip(kinds[name].dims, held[name].shape, strict=True))
        if any(known.get(dim, 0) not in {0, size} for dim, size in sizes.items()):
            shape = held.pop(name).shape
            refused[name] = f"{name} has shape {shape} for {known['qbin']} q bins and {known['delay']} delays"
    return held, refused


def _array(
    name: str, kind: Array, infos: Sequence[Described], found: Sequence[Place | None], chunks: Chunks
) -> xr.DataArray:
    there = [place for place in found if place is not None]
    labels = sorted({label for place in there for label in place.labels})
    sizes = [max(place.shape[axis] for place in there) for axis in range(len(kind.dims))]
    for axis, dim in enumerate(kind.dims):  # those of the series, which other variables have too
        if dim in {"qbin", "delay"}:
            sizes[axis] = max(sizes[axis], *(np.size(getattr(info, _OF[dim])) for info in infos))
    if labels:
        sizes[0] = len(labels)
    rows = np.array(labels or range(sizes[0]), dtype=np.int64)
    data = _lazy(name, kind, found, rows, tuple(sizes), "auto" if chunks is None else chunks)
    coords = coordinates(name, infos, found, dict(zip(kind.dims, sizes, strict=True)), rows)
    attrs = {"units": kind.units, "long_name": kind.long_name}
    formats = {info.format for info, place in zip(infos, found, strict=True) if place is not None}
    if remarks := [REMARKS[key] for key in sorted((format, name) for format in formats) if key in REMARKS]:
        attrs["remark"] = "; ".join(remarks)
    array = xr.DataArray(data, coords, ("file", *kind.dims), name, attrs)
    return array.compute(scheduler="sync") if chunks is None else array


_OF = {"qbin": "labels", "delay": "delay"}


def _lazy(
    name: str, kind: Array, found: Sequence[Place | None], rows: NDArray[np.int64], shape: tuple[int, ...], chunks: Any
) -> da.Array:
    """(file, ...) array; a task reads some rows of the first axis of some files."""
    dtype = np.dtype(np.int32 if kind.labels else np.float32)
    each = int(np.prod(shape[1:])) * dtype.itemsize
    per_task = max(1, BLOCK_BYTES // each) if kind.parted else shape[0]
    most = max(1, BLOCK_BYTES // (each * shape[0]))
    chunks = most if chunks == "auto" else min(chunks, most)
    stored = np.empty(len(found), dtype=object)
    stored[:] = found
    token = tokenize(
        name, *((place.path, place.state, place.datasets, place.axes) if place else None for place in found)
    )
    axes = tuple(range(len(shape) + 1))
    return da.blockwise(
        read_block,
        axes,
        da.from_array(stored, chunks=chunks, name=f"xpcs-places-{token}-{chunks}"),
        axes[:1],
        da.from_array(rows, chunks=min(per_task, rows.size), name=f"xpcs-rows-{token}-{per_task}"),
        axes[1:2],
        new_axes=dict(zip(axes[2:], shape[1:], strict=True)),
        shape=shape[1:],
        labels=kind.labels,
        name=f"xpcs-{name}-{token}-{chunks}",
        dtype=dtype,
        meta=np.empty((0,) * len(axes), dtype),
    )


def read_block(
    stored: NDArray[Any], rows: NDArray[np.int64], shape: tuple[int, ...], labels: bool = False
) -> NDArray[Any]:
    """Read rows of some files, padded.

    Parameters
    ----------
    stored : (file,) object array of Place or None
    rows : (row,) int64
        Numbers, or labels where the places have labels, of the rows of the first axis.
    shape : tuple of int
        Of a row.
    labels : bool
        Whether whole numbers are read, which are padded with 0.

    Returns
    -------
    (file, row, *shape) float32, or int32 if `labels`
    """
    dtype, fill = (np.int32, 0) if labels else (np.float32, np.nan)
    block = np.full((stored.size, rows.size, *shape), fill, dtype)
    for target, place in zip(block, stored, strict=True):
        if place is None:
            continue
        at = {label: row for row, label in enumerate(place.labels or range(place.shape[0]))}
        wanted = [position for position, row in enumerate(rows.tolist()) if row in at]
        if wanted:
            values = place.read([at[int(rows[position])] for position in wanted])
            target[(wanted, *(slice(0, size) for size in values.shape[1:]))] = values
    return block


@dataclass(frozen=True)
class _Bare:
    """A file of which no more is known."""

    path: str
    format: str
    entry: str = ""
    labels: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    delay: Floats = field(default_factory=lambda: np.empty(0))


def open_arrays(
    source: Source, names: Collection[str], *, format: str | None = None, entry: str = "", chunks: Chunks = "auto"
) -> xr.Dataset:
    """Open arrays of files that need not hold g2, such as two-time results.

    Parameters
    ----------
    source : path, glob or folder, or a list of these
    names : collection of str
        Some of `ARRAYS`.
    format, entry : str
        As in `open_g2`.
    chunks : int, "auto" or None
        As in `extras`.

    Returns
    -------
    xarray.Dataset
        The arrays over ``file`` first, as `extras` gives them, with the names of the files as coordinate.

    Raises
    ------
    NoUsableInputError
        If no file holds one of the arrays.
    FileRejected
        The first file that cannot be read.
    """
    sources = [os.fspath(item) for item in ([source] if isinstance(source, str | os.PathLike) else source)]
    files, rejected = list_files(sources, suffixes(format))
    if rejected:
        raise rejected[0]
    infos: list[Described] = []
    for path in files:
        name = format or identify(path)
        try:
            infos.append(reader(name).read_meta(path, (), Told(entry)))
        except FileRejected:
            infos.append(_Bare(path, name, entry))
    found = extras(infos, names, chunks)
    if not found:
        raise NoUsableInputError(f"no file of {', '.join(sources[:3])} holds {' or '.join(names)}")
    names_of_files = np.array([os.path.basename(info.path) for info in infos], dtype=object)
    return xr.Dataset(found, {"file": xr.Variable("file", names_of_files, {"long_name": "name of the file"})})
