"""Robust fits block by block, each block from the cache where it is known: memory does not grow with the bins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.toolkit.fit_cache import kept, key_of, known
from xpcs_dask.toolkit.fit_records import NUMBERS, FitTable
from xpcs_dask.toolkit.robust_fits import Request, robust_table

__all__ = ["BLOCK", "Blocks", "fit_blocks"]

BLOCK = 1024
"""Bins in a block: few enough for its memory to be small beside results, enough to pay for what every block costs."""


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Fits of all bins."""

    table: FitTable
    cached: int
    """Bins that were read from the cache."""


def fit_blocks(
    request: Request,
    *,
    bins: int = BLOCK,
    cache: bool = True,
    fit: Callable[[Request], FitTable] = robust_table,
) -> Blocks:
    """Fit every block of bins, or read it if it was fitted before.

    Parameters
    ----------
    bins : int
        Bins in a block; the fits do not depend on it.
    cache : bool
        Whether blocks are looked for, and kept, in the cache.
    fit : callable
        Fits one block.
    """
    whole = _Whole(request.count)
    cached = 0
    for first in range(0, request.count, bins):
        part = request.part(first, min(first + bins, request.count))
        key = key_of(part) if cache else None
        table = None if key is None else known(key, part.function, part.t_el)
        if table is None:
            table = fit(part)
            if key is not None:
                kept(key, table)
        else:
            cached += part.count
        whole.put(first, table)
    return Blocks(whole.table(), cached)


class _Whole:
    """Tables of blocks that become one, each array filled in place."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._first: FitTable | None = None
        self._arrays: dict[str, NDArray[Any]] = {}
        self._diagnostics: dict[str, NDArray[Any]] = {}
        self._texts: dict[str, list[str]] = {"status": [], "message": []}

    def put(self, first: int, table: FitTable) -> None:
        rows = slice(first, first + len(table))
        arrays = {name: getattr(table, name) for name in NUMBERS}
        if len(table) == self._count:  # one block: nothing to be put together
            self._arrays, self._diagnostics = arrays, dict(table.diagnostics)
        else:
            _fill(self._arrays, arrays, rows, self._count)
            _fill(self._diagnostics, table.diagnostics, rows, self._count)
        for name, texts in self._texts.items():
            texts.extend(getattr(table, name))
        self._first = self._first or replace(table, diagnostics={})

    def table(self) -> FitTable:
        assert self._first is not None
        columns: dict[str, Any] = {**self._arrays, **self._texts, "diagnostics": self._diagnostics}
        return replace(self._first, **columns)


def _fill(into: dict[str, NDArray[Any]], columns: Any, rows: slice, count: int) -> None:
    """Put columns of one block into those of all, NaN or 0 where a block does not have one."""
    for name, column in columns.items():
        if name not in into:
            into[name] = np.full((count, *column.shape[1:]), np.nan if column.dtype.kind == "f" else 0, column.dtype)
        into[name][rows] = column
