"""Small, careful reads from HDF5 result files; every failure becomes one line that says what is wrong with which file.

Files come from other people: links that lead out of the file are not followed, and sizes are looked at before reading.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np
from h5py import h5l
from numpy.typing import NDArray

from xpcs_dask.errors import FileRejected

MOST_VALUES = 2**28
"""Values that any one dataset read here may hold; a header that claims more is taken for damage."""

_MOST_LINKS = 8


@contextmanager
def open_hdf5(path: str) -> Iterator[ResultFile]:
    """Open for reading; whatever HDF5 cannot do with the file comes out as `FileRejected`."""
    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            yield ResultFile(path, file)
    except FileRejected:
        raise
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise FileRejected(path, _reason(error)) from error


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


class ResultFile:
    """An open HDF5 file, asked by path; what is not there is None, what leads out of the file is refused."""

    def __init__(self, path: str, file: h5py.File) -> None:
        self.path = path
        self._found: dict[str, Any] = {"": file}

    def rejected(self, reason: str) -> FileRejected:
        """Return the error that names this file."""
        return FileRejected(self.path, reason)

    def find(self, name: str, links: int = 0) -> h5py.Group | h5py.Dataset | None:
        """Object at `name`, or None."""
        if name in self._found:
            return self._found[name]
        above, _, last = name.rpartition("/")
        parent = self.find(above, links)
        if not isinstance(parent, h5py.Group):
            return None
        if not parent.id.links.exists(last.encode()):
            return None
        link = parent.id.links.get_info(last.encode()).type
        if link == h5l.TYPE_SOFT and links < _MOST_LINKS:
            target = parent.get(last, getlink=True).path
            way = [*([] if target.startswith("/") else above.split("/")), *target.split("/")]
            found = self.find("/".join(part for part in way if part not in {"", "."}), links + 1)
        elif link == h5l.TYPE_HARD:
            found = parent[last]
        else:
            raise self.rejected(f"/{name} is a link that leads out of the file; copy the data into it")
        self._found[name] = found
        return found

    def dataset(self, name: str) -> h5py.Dataset | None:
        """Dataset at `name` whose size is sane and whose values lie in this file, or None."""
        found = self.find(name)
        if not isinstance(found, h5py.Dataset) or found.shape is None:
            return None
        if found.size > MOST_VALUES:
            raise self.rejected(f"/{name} claims {found.size} values, more than {MOST_VALUES}: the file is damaged")
        if found.external or found.is_virtual:
            raise self.rejected(f"/{name} keeps its values in other files; copy the data into it")
        return found

    def array(self, name: str) -> NDArray[Any] | None:
        """Numbers at `name` as an array, or None."""
        found = self.dataset(name)
        if found is None:
            return None
        if found.dtype.kind not in "biuf":
            raise self.rejected(f"/{name} does not hold numbers but {found.dtype}")
        return np.asarray(found[()])

    def scalar(self, name: str) -> float | None:
        """Return the one number at `name`, stored as scalar, (1,) or (1, 1), or None.

        A float32 is read as the shortest decimal that it stands for, so that 2e-05 s in single precision is 2e-05 s.
        """
        found = self.dataset(name)
        if found is None or found.size != 1 or found.dtype.kind not in "biuf":
            return None
        value = np.asarray(found[()]).reshape(())[()]
        return float(str(value)) if value.dtype == np.float32 else float(value)

    def texts(self, name: str) -> list[str]:
        """Strings at `name` in order; none if there are none."""
        found = self.dataset(name)
        if found is None or h5py.check_string_dtype(found.dtype) is None:
            return []
        values = np.asarray(found[()], dtype=object).ravel()
        return [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values]


def fingerprint(found: h5py.Dataset) -> bytes:
    """Hash of a dataset from its bytes on disk, without unpacking them: equal only if the values are equal."""
    packing = (found.shape, found.dtype, found.chunks, found.compression, found.shuffle, found.fillvalue)
    digest = hashlib.blake2b(str(packing).encode(), digest_size=16)
    if found.chunks is None:
        digest.update(np.asarray(found[()]).tobytes())
        return digest.digest()
    offsets: list[tuple[int, ...]] = []
    found.id.chunk_iter(lambda chunk: offsets.append(chunk.chunk_offset))
    for offset in offsets:
        digest.update(str(offset).encode() + found.id.read_direct_chunk(offset)[1])
    return digest.digest()
