"""Small, careful reads from HDF5 result files; every failure becomes one line that says what is wrong with which file.

Files come from other people: links that lead out of the file are not followed, and sizes are looked at before reading.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5g, h5l, h5o, h5s, h5t
from numpy.typing import NDArray

from xpcs_dask.errors import FileRejected

MOST_VALUES = 2**28
"""Values that any one dataset read here may hold; a header that claims more is taken for damage."""

_MOST_LINKS = 8


_held: ContextVar[dict[str, Any] | None] = ContextVar("held", default=None)
"""The file of `opened_once` by its path, once it is open."""


@contextmanager
def open_hdf5(path: str) -> Iterator[ResultFile]:
    """Open for reading; whatever HDF5 cannot do with the file comes out as `FileRejected`."""
    held = _held.get()
    try:
        if held is not None and path in held:
            file = held[path] = held[path] or h5py.File(path, "r", locking="best-effort")
            yield ResultFile(path, file)
        else:
            with h5py.File(path, "r", locking="best-effort") as file:
                yield ResultFile(path, file)
    except FileRejected:
        raise
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise FileRejected(path, _reason(error)) from error


@contextmanager
def opened_once(path: str) -> Iterator[None]:
    """Open `path` once for all `open_hdf5` of it inside this block, at the first, and close it at the end."""
    held: dict[str, Any] = {path: None}
    token = _held.set(held)
    try:
        yield
    finally:
        _held.reset(token)
        if held[path] is not None:
            held[path].close()


def _reason(error: Exception) -> str:
    """Say in one line what an error of h5py means and what to do."""
    text = " ".join(str(error).split())
    low = text.lower()
    if isinstance(error, FileNotFoundError):
        return "there is no such file; check the path"
    if isinstance(error, IsADirectoryError):
        return "it is a folder, not a file"
    if isinstance(error, PermissionError) or "permission denied" in low:
        return "no permission to read it; ask its owner, or change its mode"
    if "unable to lock file" in low:
        return "another program is writing it; try again when it is done"
    if "truncated file" in low:
        return f"the file is truncated, copy it again or wait until it is written ({text})"
    if "required filter" in low or "filter plugin" in low:
        return f"it is packed with a filter that is not installed; install xpcs-dask[plugins] ({text})"
    if "file signature not found" in low:
        return "it is not HDF5 (no HDF5 signature); check what wrote it"
    return f"HDF5 cannot read it, it may be damaged ({text})"


def is_hdf5(path: str) -> bool:
    """Whether the file carries the HDF5 signature, damaged or not; False where it cannot be read at all."""
    try:
        with open(path, "rb") as file:
            start = file.read(8)
    except OSError:
        return False
    return start == b"\x89HDF\r\n\x1a\n" or bool(h5py.is_hdf5(path))


@dataclass
class Stored:
    """A dataset whose size is sane and whose values lie in its file, seen through the low-level interface of h5py.

    Opening a series asks for 18 datasets of each of thousands of files: `h5py.Dataset` takes twice as long.
    """

    id: h5d.DatasetID
    shape: tuple[int, ...]

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values as they are stored."""
        return self.id.dtype

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)

    def read(self) -> NDArray[Any]:
        """All values."""
        values = np.empty(self.shape, self.dtype)
        if self.size:
            self.id.read(h5s.ALL, h5s.ALL, values, _in_memory(self.dtype))
        return values


_types: dict[np.dtype[Any], h5t.TypeID] = {}


def _in_memory(dtype: np.dtype[Any]) -> h5t.TypeID | None:
    """HDF5's type for values of a plain `dtype`, made once: making it takes longer than reading a few numbers."""
    if dtype.metadata is not None or dtype.hasobject:
        return None
    if dtype not in _types:
        _types[dtype] = h5t.py_create(dtype)
    return _types[dtype]


class ResultFile:
    """An open HDF5 file, asked by path; what is not there is None, what leads out of the file is refused."""

    def __init__(self, path: str, file: h5py.File) -> None:
        self.path = path
        self._file = file
        self._ids: dict[str, Any] = {"": file.id}
        self._stored: dict[str, Stored | None] = {}

    def rejected(self, reason: str) -> FileRejected:
        """Return the error that names this file."""
        return FileRejected(self.path, reason)

    def find(self, name: str) -> h5py.Group | h5py.Dataset | None:
        """Object at `name`, or None."""
        found = self._id(name)
        if isinstance(found, h5d.DatasetID):
            return h5py.Dataset(found)
        if not isinstance(found, h5g.GroupID):
            return None
        return h5py.Group(found) if name else self._file

    def _id(self, name: str, links: int = 0) -> Any:
        """Find the identifier of the object at `name`, or None."""
        if name not in self._ids:
            parent = self._id(name.rpartition("/")[0], links)
            self._ids[name] = self._child(parent, name, links) if isinstance(parent, h5g.GroupID) else None
        return self._ids[name]

    def _child(self, parent: h5g.GroupID, name: str, links: int) -> Any:
        above, _, last = name.rpartition("/")
        key = last.encode()
        try:
            link = parent.links.get_info(key).type
        except (KeyError, RuntimeError):
            if parent.links.exists(key):
                raise
            return None
        if link == h5l.TYPE_HARD:
            return h5o.open(parent, key)
        if link != h5l.TYPE_SOFT or links >= _MOST_LINKS:
            raise self.rejected(f"/{name} is a link that leads out of the file; copy the data into it")
        target = parent.links.get_val(key).decode()
        way = [*([] if target.startswith("/") else above.split("/")), *target.split("/")]
        return self._id("/".join(part for part in way if part not in {"", "."}), links + 1)

    def dataset(self, name: str) -> h5py.Dataset | None:
        """Dataset at `name` whose size is sane and whose values lie in this file, or None."""
        found = self.stored(name)
        return None if found is None else h5py.Dataset(found.id)

    def stored(self, name: str) -> Stored | None:
        """Return the same as `dataset`, with less around it."""
        if name not in self._stored:
            self._stored[name] = self._checked(name)
        return self._stored[name]

    def _checked(self, name: str) -> Stored | None:
        found = self._id(name)
        shape = found.shape if isinstance(found, h5d.DatasetID) else None
        if shape is None:
            return None
        stored = Stored(found, shape)
        if stored.size > MOST_VALUES:
            raise self.rejected(f"/{name} claims {stored.size} values, more than {MOST_VALUES}: the file is damaged")
        # What has an offset lies in this file; asking for that alone is 20 times faster.
        if found.get_offset() is None:
            plan = found.get_create_plist()
            if plan.get_external_count() or plan.get_layout() == h5d.VIRTUAL:
                raise self.rejected(f"/{name} keeps its values in other files; copy the data into it")
        return stored

    def array(self, name: str) -> NDArray[Any] | None:
        """Numbers at `name` as an array, or None."""
        found = self.stored(name)
        if found is None:
            return None
        if found.dtype.kind not in "biuf":
            raise self.rejected(f"/{name} does not hold numbers but {found.dtype}")
        return found.read()

    def scalar(self, name: str) -> float | None:
        """Return the one number at `name`, stored as scalar, (1,) or (1, 1), or None.

        A float32 is read as the shortest decimal that it stands for, so that 2e-05 s in single precision is 2e-05 s.
        """
        found = self.stored(name)
        if found is None or found.size != 1 or found.dtype.kind not in "biuf":
            return None
        value = found.read().reshape(())[()]
        return float(str(value)) if value.dtype == np.float32 else float(value)

    def texts(self, name: str) -> list[str]:
        """Strings at `name` in order; none if there are none."""
        found = self.stored(name)
        if found is None or h5py.check_string_dtype(found.dtype) is None:
            return []
        values = found.read().ravel()
        return [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values]


def fingerprint(found: h5py.Dataset | Stored) -> bytes:
    """Hash of a dataset from its bytes on disk, without unpacking them: equal only if the values are equal."""
    plan, fill = found.id.get_create_plist(), np.zeros((), found.dtype)
    plan.get_fill_value(fill)
    chunked = plan.get_layout() == h5d.CHUNKED
    filters = [plan.get_filter(number) for number in range(plan.get_nfilters())]
    packing = (found.shape, found.dtype, plan.get_chunk() if chunked else None, filters, fill.tobytes())
    digest = hashlib.blake2b(str(packing).encode(), digest_size=16)
    if not chunked:
        digest.update(Stored(found.id, found.shape).read().tobytes())
        return digest.digest()
    offsets: list[tuple[int, ...]] = []
    found.id.chunk_iter(lambda chunk: offsets.append(chunk.chunk_offset))
    for offset in offsets:
        digest.update(str(offset).encode() + found.id.read_direct_chunk(offset)[1])
    return digest.digest()
