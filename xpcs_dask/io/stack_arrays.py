"""Arrays of a packed stack that tasks read where they run."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import xarray as xr

from xpcs_dask.errors import FileRejected
from xpcs_dask.io.stack_chunks import Pieces

LET_GO = 0.001
"""Seconds in which threads of Zarr forget what they unpacked; without a pause they do so at some time of the fit."""


def lazy(
    path: Path, name: str, variable: xr.Variable, chunks: int | str, blocks: Mapping[Any, int], times: int = 1
) -> Any:
    """Dask array of the array `name`; `times` blocks of g2 as stored ("auto"), or so many entries of the first one.

    Clusters may be stored in more pieces than g2 is: whatever g2 has no pieces along is one block.
    """
    import dask.array as da
    from dask.base import tokenize

    stored = variable.encoding["chunks"]
    if blocks:
        stored = tuple(blocks.get(dim, size) for dim, size in variable.sizes.items())
    sizes = (times * stored[0] if chunks == "auto" else chunks, *stored[1:])
    source = StoredStack(str(path.absolute()), name, _state_of(path), variable.shape, variable.dtype)
    token = tokenize(source.path, name, source.state, sizes)
    name = f"xpcs-stack-of-{stored[0]}-{token}"  # a plan must know how much is read in one piece
    return da.from_array(source, chunks=sizes, name=name, asarray=False, inline_array=True)


class StoredStack:
    """One array of a stack that tasks can slice; it is opened where it is read, once in each process."""

    def __init__(self, path: str, name: str, state: tuple[int, int], shape: tuple[int, ...], dtype: Any) -> None:
        self.path, self.name, self.state = path, name, state
        self.shape, self.dtype, self.ndim = shape, dtype, len(shape)

    def __getitem__(self, key: Any) -> Any:
        if _state_of(Path(self.path)) != self.state:
            raise FileRejected(self.path, "has been replaced since the stack was opened; open it again")
        pieces = _pieces(self.path, self.name, self.state)
        if pieces is not None and _plain(key, self.ndim):
            return pieces.read(key)
        found = _opened(self.path, self.name, self.state)[key]
        time.sleep(LET_GO)
        return found


def _plain(key: Any, ndim: int) -> bool:
    """Whether a key is a slice of neighbours along every dimension, as the blocks of Dask arrays are."""
    return (
        isinstance(key, tuple)
        and len(key) == ndim
        and all(isinstance(part, slice) and part.step in (None, 1) for part in key)
    )


@lru_cache(maxsize=64)
def _pieces(path: str, name: str, state: tuple[int, int]) -> Pieces | None:
    return Pieces.of(Path(path, name))


@lru_cache(maxsize=64)
def _opened(path: str, name: str, state: tuple[int, int]) -> Any:
    import zarr

    return zarr.open_array(path, path=name, mode="r")


def _state_of(path: Path) -> tuple[int, int]:
    """When the root was written, and its size: another stack of the same name has another."""
    try:
        found = os.stat(path / "zarr.json")
    except OSError as error:
        raise FileRejected(str(path), f"the stack is not there any more ({error.strerror}); pack it again") from None
    return found.st_mtime_ns, found.st_size
