"""Pieces of a packed stack straight into NumPy arrays: two calls of the operating system and one of the unpacker.

Zarr reads through an event loop and threads of its own, which cost as much processor time as the unpacking, and hold on
to what they unpacked. A piece of an array that `write_stack` made is one file of known name and coding (Zarr core
specification 3.0; Blosc codec 1.0). Arrays of any other coding are for Zarr.
"""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.errors import FileRejected

__all__ = ["Pieces"]

NUMBERS = {"bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)), "float32", "float64"}
SIZES = struct.Struct("<4xIII")
"""Head of what Blosc packed: bytes when unpacked, of a block, and as packed (Blosc 1 chunk format)."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """The pieces of one array."""

    folder: Path
    shape: tuple[int, ...]
    piece: tuple[int, ...]
    """Shape of a piece; those at the ends are filled up."""
    dtype: np.dtype[Any]
    separator: str
    fill: Any

    @classmethod
    def of(cls, folder: Path) -> Self | None:
        """Read how an array is stored; None if that is for Zarr to read."""
        told = json.loads((folder / "zarr.json").read_text())
        grid, keys = told["chunk_grid"], told["chunk_key_encoding"]
        plain = (grid["name"], keys["name"], told["storage_transformers"]) == ("regular", "default", [])
        if not plain or told["data_type"] not in NUMBERS:
            return None
        dtype = np.dtype(told["data_type"]).newbyteorder("<")
        first, *others = told["codecs"]
        little = [{"name": "bytes", "configuration": {"endian": "little"}}] + [{"name": "bytes"}] * (
            dtype.itemsize == 1
        )
        if first not in little or [codec["name"] for codec in others] != ["blosc"]:
            return None
        piece = tuple(grid["configuration"]["chunk_shape"])
        fill = float(told["fill_value"]) if dtype.kind == "f" else told["fill_value"]
        return cls(folder, tuple(told["shape"]), piece, dtype, keys["configuration"]["separator"], fill)

    def read(self, key: Sequence[slice]) -> NDArray[Any]:
        """Values of slices (step 1) along all dimensions, C-contiguous.

        Raises
        ------
        FileRejected
            If a piece is not as long as it must be, or cannot be unpacked.
        """
        wanted = [range(*part.indices(size)) for part, size in zip(key, self.shape, strict=True)]
        found = np.empty([len(part) for part in wanted], self.dtype)
        for index in itertools.product(*map(_touched, wanted, self.piece)):
            there = [range(i * n, (i + 1) * n) for i, n in zip(index, self.piece, strict=True)]
            both = list(map(_both, wanted, there))
            target = found[tuple(_within(part, whole) for part, whole in zip(both, wanted, strict=True))]
            if target.shape == self.piece and target.flags.c_contiguous:
                self._unpack(index, target)
            else:
                values = self._unpack(index, np.empty(self.piece, self.dtype))
                target[...] = values[tuple(_within(part, whole) for part, whole in zip(both, there, strict=True))]
        return found

    def _unpack(self, index: Sequence[int], target: NDArray[Any]) -> NDArray[Any]:
        from numcodecs import blosc  # type: ignore[import-untyped]

        path = self.folder / self.separator.join(["c", *map(str, index)])
        try:
            packed = path.read_bytes()
        except FileNotFoundError:  # nothing but the fill value was written
            target[...] = self.fill
            return target
        try:
            unpacked, _, length = SIZES.unpack_from(packed)
            if (unpacked, length) != (target.nbytes, len(packed)):
                raise ValueError(f"{len(packed)} bytes for {target.nbytes} where {length} for {unpacked} are told")
            blosc.decompress(packed, target)
        except (struct.error, ValueError, RuntimeError) as error:
            raise FileRejected(str(path), f"a piece of a stack is damaged ({error}); pack the files again") from None
        return target


def _touched(wanted: range, length: int) -> Iterator[int]:
    """Pieces that hold some of what is wanted."""
    return iter(range(wanted.start // length, -(-wanted.stop // length)) if len(wanted) else ())


def _both(first: range, second: range) -> range:
    return range(max(first.start, second.start), min(first.stop, second.stop))


def _within(part: range, whole: range) -> slice:
    return slice(part.start - whole.start, part.stop - whole.start)
