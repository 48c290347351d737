"""g2 and its errors as Dask arrays in which one task reads many files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from xpcs_dask.errors import FileRejected
from xpcs_dask.io.formats import reader
from xpcs_dask.io.reader import Curves, FileInfo, hash_curves

BLOCK_BYTES = 8 * 2**20
"""Size in float64, as it is fitted, that a block of g2 aims at: 16384 curves of 64 delays."""


@dataclass(frozen=True)
class StoredCurves:
    """Where the curves of one file are, and what they were when it was opened."""

    path: str
    format: str
    entry: str
    shape: tuple[int, int]
    content_hash: int

    @classmethod
    def of(cls, info: FileInfo) -> StoredCurves:
        """Take the part of `info` that a task needs."""
        return cls(info.path, info.format, info.entry, info.shape, info.content_hash)

    def read(self) -> tuple[Curves, Curves]:
        """g2 and error, (qbin, delay); `FileRejected` if the file is no longer the one that was opened."""
        g2, err = reader(self.format).read_g2(self.path, self.entry)
        if g2.shape != self.shape or hash_curves(g2) != self.content_hash:
            raise FileRejected(self.path, "g2 has changed since the file was opened; open it again")
        return g2, err


def read_block(stored: NDArray[Any], shape: tuple[int, int]) -> Curves:
    """Read files one after the other.

    Parameters
    ----------
    stored : (file,) object array of StoredCurves
    shape : (int, int)
        Bins, and delays of the longest file of the series.

    Returns
    -------
    (file, 2, qbin, delay) float32
        g2 and its error; NaN beyond the delays of a shorter file.
    """
    block = np.full((stored.size, 2, *shape), np.nan, np.float32)
    for row, item in zip(block, stored, strict=True):
        for part, values in zip(row, item.read(), strict=True):
            part[:, : values.shape[1]] = values
    return block


def stored_curves(infos: Sequence[FileInfo]) -> NDArray[Any]:
    """(file,) object array of the `StoredCurves` of each file."""
    stored = np.empty(len(infos), dtype=object)
    stored[:] = [StoredCurves.of(info) for info in infos]
    return stored


def curves(infos: Sequence[FileInfo], shape: tuple[int, int], chunks: int | str | None) -> tuple[Any, Any]:
    """g2 and error of a series, each (file, qbin, delay) float32: NumPy if `chunks` is None, else lazy Dask arrays.

    Parameters
    ----------
    infos : sequence of FileInfo
        Files that share `shape`, or have fewer delays.
    shape : (int, int)
        Bins and delays.
    chunks : int, "auto" or None
        Files per block; "auto" makes blocks of about `BLOCK_BYTES` in float64.
    """
    stored = stored_curves(infos)
    if chunks is None:
        block = read_block(stored, shape)
        return block[:, 0], block[:, 1]
    per_block = files_per_block(shape) if chunks == "auto" else int(chunks)
    name = _token(stored, shape)
    sources = da.from_array(stored, chunks=per_block, name=f"xpcs-files-{name}")
    both = da.map_blocks(
        read_block,
        sources,
        shape,
        name=f"xpcs-read-{name}-{per_block}",
        chunks=(sources.chunks[0], (2,), (shape[0],), (shape[1],)),
        new_axis=[1, 2, 3],
        dtype=np.float32,
        meta=np.empty((0, 0, 0, 0), np.float32),
    )
    return both[:, 0], both[:, 1]


def _token(stored: NDArray[Any], shape: tuple[int, int]) -> str:
    """Name by what is read; Dask's own tokens of thousands of objects take longer than all the rest of opening."""
    digest = hashlib.blake2b(str(shape).encode(), digest_size=16)
    for item in stored:
        digest.update(
            f"{item.path}\0{item.format}\0{item.entry}\0{item.content_hash}\0".encode(errors="surrogateescape")
        )
    return digest.hexdigest()


def files_per_block(shape: tuple[int, int]) -> int:
    """Files of this many (bins, delays) that make a block of about `BLOCK_BYTES`, at least one."""
    return max(1, BLOCK_BYTES // (8 * shape[0] * shape[1]))
