"""One file of the cache: a ``.npy`` with 32 bytes behind the array.

These are a hash of name and content, how often the entry was used, and when it was written. NumPy reads such a file as
any other; here a bit that changed is noticed.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import struct
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["ABOUT", "about", "count_use", "open_entry", "pack", "unpack"]

ABOUT = struct.Struct("<16sQd")
"""Seal, uses, and when it was written (seconds since 1970)."""
USES = 16
"""Where the uses begin in it."""


def pack(name: bytes, array: np.ndarray[Any, Any]) -> bytes:
    """File of an array under a name; raises TypeError for an array of objects."""
    if array.dtype.hasobject:
        raise TypeError(f"objects cannot be kept without pickle ({array.dtype})")
    body = _head_of(array.dtype, array.shape) + array.tobytes()
    return body + ABOUT.pack(_seal(name, body), 0, time.time())


@lru_cache(maxsize=64)
def _head_of(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Head of a ``.npy`` file; to make one takes longer than all the rest."""
    file = io.BytesIO()
    told = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, told)
    return file.getvalue()


def unpack(name: bytes, content: bytes) -> np.ndarray[Any, Any] | None:
    """Array in a file, not to be written to; None if a bit of it is not as it was written, or another name's."""
    end = len(content) - ABOUT.size
    body = memoryview(content)[: max(end, 0)]
    if end < 10 or ABOUT.unpack_from(content, end)[0] != _seal(name, body):
        return None
    begin = 10 + int.from_bytes(body[8:10], "little")
    try:
        shape, dtype = _head(bytes(body[:begin]))
        return np.frombuffer(body[begin:], dtype).reshape(shape)  # refuses objects, which would need a pickle
    except ValueError:
        return None


@lru_cache(maxsize=64)
def _head(head: bytes) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type that the head of a ``.npy`` file tells."""
    file = io.BytesIO(head)
    np.lib.format.read_magic(file)
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    return shape, dtype


def _seal(name: bytes, body: bytes | memoryview) -> bytes:
    return hashlib.blake2b(body, digest_size=16, key=name).digest()


def about(path: Path) -> tuple[int, float]:
    """How often an entry was used, and when it was written; zeros if that cannot be told."""
    try:
        with path.open("rb") as file:
            file.seek(-ABOUT.size, os.SEEK_END)
            _, uses, written = ABOUT.unpack(file.read(ABOUT.size))
    except (OSError, struct.error):
        return 0, 0.0
    return uses, written


def open_entry(path: Path) -> int:
    """Open an entry, to be written to if that is possible (a cache can be read-only)."""
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def count_use(file: int, content: bytes) -> None:
    """Write one use more than `content` says into an open entry, if possible; that also says when it was."""
    _, uses, _ = ABOUT.unpack_from(content, len(content) - ABOUT.size)
    with suppress(OSError):
        os.pwrite(file, struct.pack("<Q", uses + 1), len(content) - ABOUT.size + USES)
