"""Packed stacks: the curves of many files in one Zarr store, read back as the Dataset that was packed.

A stack keeps what `open_g2` gave: g2 and its errors as stored, every coordinate, provenance, rejected files. It is read
several times faster than the files, by any number of threads or processes at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import xarray as xr

from xpcs_dask.engine.plan import MORE, mode_of
from xpcs_dask.errors import ConfigError, FileRejected, MismatchError, NoUsableInputError, OutputExistsError
from xpcs_dask.io.lazy import BLOCK_BYTES
from xpcs_dask.io.schema import CONVENTIONS
from xpcs_dask.io.stack_arrays import lazy
from xpcs_dask.io.stack_mark import MARK, Data, groups_by_path, inputs_of, is_stack, packed_from, read_mark, stack_of
from xpcs_dask.results.atomic import whole
from xpcs_dask.results.label import plain_text

__all__ = [
    "check_place",
    "encoding_of",
    "inputs_of",
    "is_stack",
    "marked",
    "open_stack",
    "packed_from",
    "packing",
    "stack_of",
    "storable",
    "write_stack",
]

VERSION = 1
CURVES = ("g2", "g2_err", "g2_cluster")
"""What tasks read; it decides the mode of a job."""
LARGE = 2**18
"""Values from which a coordinate along several dimensions is stored in blocks and read by the tasks, like curves."""
TIMES = {"units": "nanoseconds since 1970-01-01", "dtype": "int64"}

Chunks = int | Literal["auto"] | None


def write_stack(data: Data, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a Dataset of curves, or a DataTree of such, as one Zarr (format 3) store.

    Blocks of about 8 MB in float64 are read, packed (Blosc: shuffle and LZ4, lossless) and written one by one by the
    Dask scheduler in use. The store appears under its name when it is complete.

    Parameters
    ----------
    data : xarray.Dataset or xarray.DataTree
        As `open_g2` returns it, lazy or not; groups of a tree need not hold curves.
    path : path
        Ends in ``.zarr``.
    overwrite : bool
        Replace a stack that is already there; anything else is never replaced.

    Raises
    ------
    OutputExistsError
        If something is at `path` and `overwrite` is False, or what is there is no stack.
    ConfigError
        For another ending.
    NoUsableInputError
        If no group has a variable ``g2``.
    """
    path = check_place(path, overwrite)
    groups = groups_by_path(data)
    if not any("g2" in group.data_vars for group in groups.values()):
        raise NoUsableInputError("there is nothing to pack: the data have no variable g2")
    tree = marked({name: storable(group) for name, group in groups.items()}, data)
    encoding = {node.path: encoding_of(node.to_dataset(inherit=False)) for node in tree.subtree}
    with whole(path) as unfinished:
        tree.to_zarr(unfinished, zarr_format=3, consolidated=False, encoding=encoding)
    return path


def marked(groups: Mapping[str, xr.Dataset], data: Data) -> xr.DataTree:
    """Tree of groups that says in its root what it was packed from."""
    tree = xr.DataTree.from_dict(dict(groups))
    tree.attrs[MARK] = json.dumps({"version": VERSION, "inputs": inputs_of(data)})
    return tree


def check_place(path: str | os.PathLike[str], overwrite: bool) -> Path:
    """Refuse, before any work, a place where no stack can be written; parameters and errors as in `write_stack`."""
    path = Path(path)
    if path.suffix != ".zarr":
        raise ConfigError(f"{path}: a stack is a Zarr store; give a path ending in .zarr")
    if os.path.lexists(path):
        if not is_stack(path):
            raise OutputExistsError(str(path), "something else: it holds no stack of curves", False)
        if not overwrite:
            raise OutputExistsError(str(path), "other files or settings, or by another call")
    return path


def open_stack(
    path: str | os.PathLike[str],
    chunks: Chunks = "auto",
    on_mismatch: Literal["raise", "split"] | None = None,
    include: Collection[str] = (),
) -> Data:
    """Open what `write_stack` wrote: the same Dataset, with curves as Dask arrays and small coordinates in memory.

    Parameters
    ----------
    path : path
        Of the stack.
    chunks : int, "auto" or None
        Files per block; "auto" takes blocks as stored, of more than 5 GB some together; None reads now, into NumPy
        arrays.
    on_mismatch : "raise", "split" or None
        "raise" refuses a stack of several groups, "split" makes a DataTree of any, as `open_g2` does; None gives what
        was packed.
    include : collection of str
        Variables that it must hold, as they are named in `open_g2`; all others that it holds come too.

    Raises
    ------
    FileRejected
        If there is no stack, or one that this version cannot read.
    ConfigError
        If it lacks one of `include`.
    MismatchError
        If it has several groups and `on_mismatch` is "raise".
    """
    path = Path(path)
    groups = _read_groups(path, chunks)
    several = {name: group for name, group in groups.items() if name != "/"}
    if lacking := [name for name in include if not any(name in group.variables for group in groups.values())]:
        raise ConfigError(f"include: {path} was packed without {', '.join(lacking)}; pack the files again with it")
    if on_mismatch == "raise" and several:
        first, *others = (f"{path}{name}" for name in several)
        if others:
            raise MismatchError("q-map or delay grid", first, others)
        return several[next(iter(several))].assign_attrs(groups["/"].attrs)
    if on_mismatch == "split" and not several:
        curves = groups["/"]
        kept = {name: curves.attrs.get(name, "[]") for name in ("rejected", "notes")}
        return xr.DataTree.from_dict({"/": xr.Dataset(attrs=kept), "/group_0": curves})
    return xr.DataTree.from_dict(groups) if several else groups["/"]


def _read_groups(path: Path, chunks: Chunks) -> dict[str, xr.Dataset]:
    mark = read_mark(path)
    if mark is None:
        raise FileRejected(str(path), "there is no stack of curves (no attribute that says so); pack the files again")
    if mark.get("version") != VERSION:
        raise FileRejected(
            str(path),
            f"is a stack of version {mark.get('version')}, this release reads {VERSION}; pack the files again",
        )
    try:
        tree = xr.open_datatree(path, engine="zarr", consolidated=False)
        found = {node.path: node.to_dataset(inherit=False) for node in tree.subtree}
        names = sorted(found, key=lambda name: (len(name), name))
        return {name: _as_packed(found[name], path, name, chunks) for name in names}
    except (OSError, ValueError, KeyError) as error:
        raise FileRejected(str(path), f"cannot be read as a stack ({error}); pack the files again") from error


def _as_packed(data: xr.Dataset, path: Path, group: str, chunks: Chunks) -> xr.Dataset:
    """Put lazy arrays for variables of curves, values in memory for small coordinates, attributes as they were."""
    blocks = dict(zip(data["g2"].dims, data["g2"].encoding["chunks"], strict=True)) if "g2" in data else {}
    times = MORE.get(mode_of(sum(data[name].nbytes for name in CURVES if name in data)), 1)
    found: dict[Any, xr.Variable] = {}
    for name, variable in data.variables.items():
        small = name in data.coords and not _is_large(variable)
        if small or chunks is None or variable.ndim == 0 or variable.dtype.kind not in "biuf":
            found[name] = _text(xr.DataArray(variable.load())).variable if small else variable.load()
        else:
            inside = f"{group.strip('/')}/{name}".lstrip("/")
            found[name] = variable.copy(data=lazy(path, inside, variable, chunks, blocks, times))
    variables = {name: variable for name, variable in found.items() if name in data.data_vars}
    attrs = {name: value for name, value in data.attrs.items() if name != MARK}
    if attrs.get("conventions", CONVENTIONS) != CONVENTIONS:
        raise FileRejected(str(path), f"keeps curves as {attrs['conventions']}, this release knows {CONVENTIONS}")
    # Stores list their arrays in any order.
    ordered = {name: variables[name] for name in sorted(variables, key=str)}
    return xr.Dataset(ordered, {name: found[name] for name in data.coords}, attrs).drop_encoding()


def storable(data: xr.Dataset) -> xr.Dataset:
    """Make it fit for Zarr: text as objects, blocks of whole curves that fill chunks."""
    data, blocks = data.drop_encoding(), _block(data)
    for name, variable in data.variables.items():
        if variable.dtype.kind in "OUT":
            data[name] = variable.compute().astype(object)
        elif variable.chunks is not None:
            cut = blocks if name in data.data_vars or _is_large(variable) else {}
            data[name] = variable.chunk({dim: cut.get(dim, -1) for dim in variable.dims})
    return data


def _block(data: xr.Dataset) -> dict[Any, int]:
    """Dimension along which g2 is cut, never delay, and its length in blocks of about `BLOCK_BYTES` in float64."""
    if "g2" not in data.data_vars or not data["g2"].size:
        return {}
    g2 = data["g2"]
    leading = "file" if "file" in g2.dims else next((dim for dim in g2.dims if dim != "delay"), None)
    if leading is None:
        return {}
    length = g2.sizes[leading]
    return {leading: min(length, max(1, BLOCK_BYTES * length // (8 * g2.size)))}


def encoding_of(data: xr.Dataset) -> dict[Any, dict[str, Any]]:
    """How each variable is stored: no fill values, since NaN is a value here, and curves packed."""
    blocks, encoding = _block(data), dict[Any, dict[str, Any]]()
    for name, variable in data.variables.items():
        kind = variable.dtype.kind
        encoding[name] = dict(TIMES) if kind == "M" else {"_FillValue": None} if kind in "fiu" else {}
        if kind in "biufM" and variable.ndim:
            encoding[name]["compressors"] = packing()
            cut = name in data.data_vars or _is_large(variable)
            encoding[name]["chunks"] = tuple(
                blocks.get(dim, size) if cut else max(size, 1) for dim, size in variable.sizes.items()
            )
    return encoding


def packing() -> Any:
    """How curves are packed: without loss, and faster to unpack than to read."""
    from zarr.codecs import BloscCodec

    return BloscCodec(cname="lz4", clevel=5, shuffle="shuffle")


def _is_large(coordinate: xr.DataArray | xr.Variable) -> bool:
    return coordinate.ndim > 1 and coordinate.size >= LARGE and coordinate.dtype.kind in "biuf"


def _text(values: xr.DataArray) -> xr.DataArray:
    """Text of whatever type Zarr made of it as objects, which is what `open_g2` gives."""
    plain = plain_text(values)
    return plain.astype(object) if plain.dtype.kind == "U" else plain
