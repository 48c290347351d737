"""Fits that were made before are read, not made again: around the functions that tasks run on blocks.

A block of several files is taken apart: each file has an entry of its own, named by everything that decides its bits
(`cache_key`), so it is found again in a block of any size and in any analysis that holds the file. Reading the curves
is not saved, since their content is what they are known by.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from xpcs_dask.engine.cache_folder import CacheFolderError, cache_folder
from xpcs_dask.engine.cache_key import NotCacheableError, digest, program
from xpcs_dask.engine.cache_store import Cache, Info

__all__ = [
    "Cache", "CacheFolderError", "Cached", "Counts", "Info", "NotCacheableError", "counted", "counting", "with_cache",
]  # fmt: skip

logger = logging.getLogger(__name__)

Block = Callable[..., Any]


@dataclass(slots=True)
class Counts:
    """Files whose results were found, and files whose results had to be made."""

    hits: int = 0
    misses: int = 0

    def add(self, hits: int, misses: int) -> None:
        """Count some more; from any thread."""
        with _counting:
            self.hits += hits
            self.misses += misses


_counting = threading.Lock()
_all = Counts()
_here: ContextVar[Counts | None] = ContextVar("counts", default=None)


def counted() -> Counts:
    """Return the counts of this process since it began."""
    with _counting:
        return Counts(_all.hits, _all.misses)


@contextmanager
def counting() -> Iterator[Counts]:
    """Count what happens within, in this thread: what one task found."""
    counts = Counts()
    token = _here.set(counts)
    try:
        yield counts
    finally:
        _here.reset(token)


def with_cache(
    block: Block, *, state: Callable[[], Any], folder: str | Path | None = None, limit: int | None = None
) -> Cached:
    """Return a block function that does what `block` does, but looks in the cache first.

    Parameters
    ----------
    block : callable
        Takes NumPy blocks, the first one (..., m), the others aligned with it or of length 1; returns one whose leading
        dimensions are those of the first. A partial of a module-level function. What it returns for one entry of the
        first dimension must not depend on the others (a promise of `fitting.blocks`).
    state : callable
        Module-level function that returns what bits depend on beside arguments, on the machine where it is called:
        `results.provenance.fingerprint`.
    folder : path, optional
        Of the cache, on every machine that runs tasks; by default ``XPCS_CACHE_DIR`` or ``~/.xpcs_toolkit`` there.
    limit : int, optional
        Bytes that the cache may take there.

    Returns
    -------
    Cached
        A callable that can be pickled, and that Dask gives the same names as `block`: its results are the same.

    Raises
    ------
    NotCacheableError
        If `block` holds a model or setting whose content cannot be told.
    """
    digest(block)
    return Cached(block, state, None if folder is None else str(folder), limit)


@dataclass(frozen=True, slots=True, eq=False)
class Cached:
    """A block function behind the cache; made by `with_cache`."""

    block: Block
    state: Callable[[], Any]
    folder: str | None
    limit: int | None

    def __call__(self, first: Any, /, *others: Any, **more: Any) -> Any:
        """Results of a block: those of files that are known from the cache, others made, and kept."""
        operands = [None if operand is None else np.asarray(operand) for operand in (first, *others)]
        cache = _cache(self.folder, self.limit)
        if cache is None or operands[0] is None or operands[0].size == 0:
            return self.block(first, *others, **more)
        files = _Files(operands)
        # Worked out where it runs: a worker may have another processor, or another version of the user's module.
        common = digest(self.block, more, self.state(), program())
        names = [digest(common, *files.part(k, k + 1)) for k in range(files.count)]
        found = [cache.get(name) for name in names]
        made = _Rows(files.count)
        for missing, run in groupby(range(files.count), key=lambda k: found[k] is None):
            rows = list(run)
            if not missing:
                for k in rows:
                    made.put(k, k + 1, found[k])
                continue
            values = self.block(*files.part(rows[0], rows[-1] + 1), **more)
            made.put(rows[0], rows[-1] + 1, files.with_rows(values))
            for k in rows:
                cache.put(names[k], files.with_rows(values)[k - rows[0] : k - rows[0] + 1])
        misses = sum(array is None for array in found)
        for counts in (_all, _here.get()):
            if counts is not None:
                counts.add(files.count - misses, misses)
        return made.values if files.many else made.values[0, ...]

    def __dask_tokenize__(self) -> Any:
        from dask.base import normalize_token

        return normalize_token(self.block)


class _Files:
    """Operands of a block, cut along the first dimension if that is of files: if curves have one more beside it."""

    def __init__(self, operands: list[Any]) -> None:
        self._operands = operands
        self.many = operands[0].ndim >= 3
        self.count = operands[0].shape[0] if self.many else 1

    def part(self, first: int, last: int) -> list[Any]:
        """Return views of what belongs to some files; what is the same for all of them stays as it is."""
        return [self._cut(operand, first, last) for operand in self._operands]

    def _cut(self, operand: Any, first: int, last: int) -> Any:
        if operand is None or not self.many or operand.ndim == 0 or operand.shape[0] != self.count:
            return operand
        return operand[first:last]

    def with_rows(self, values: Any) -> Any:
        """Results with a first dimension of files."""
        return values if self.many else values[np.newaxis]


class _Rows:
    """Results of a block that come in pieces."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.values: Any = None

    def put(self, first: int, last: int, piece: Any) -> None:
        if self.values is None:
            self.values = np.empty((self._count, *piece.shape[1:]), piece.dtype)
        self.values[first:last] = piece


def _cache(folder: str | None, limit: int | None) -> Cache | None:
    """Return the cache to use on this machine; None, with a warning the first time, if there is no private folder."""
    where = cache_folder() if folder is None else Path(folder)
    return None if where is None else _opened(where, limit)


@lru_cache(maxsize=16)
def _opened(folder: Path, limit: int | None) -> Cache | None:
    try:
        return Cache(folder, limit)
    except CacheFolderError as error:
        logger.warning("fits are not cached: %s", error)
        return None
