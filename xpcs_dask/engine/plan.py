"""How a job is cut into blocks so that it fits into memory, or why it cannot be; integers in, integers out.

Modes by the size of the input, and what each may take above what the process has at its start, the blocks that are
read left out:

==========  ==============  ======================  ============================
mode        input           memory                  results
==========  ==============  ======================  ============================
standard    < 100 MB        < 50 MB and the result  together, when all are there
batch       100 MB - 1 GB   < 200 MB                block by block
chunked     1 - 5 GB        < 500 MB                block by block
streaming   > 5 GB          < 1 GB in all           block by block
==========  ==============  ======================  ============================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal, TypeAlias

from xpcs_dask.errors import XpcsError
from xpcs_dask.readable import card, size

__all__ = ["MemoryBudgetError", "Mode", "Plan", "Sizes", "make_plan", "mode_of"]

Mode: TypeAlias = Literal["standard", "batch", "chunked", "streaming"]

MB, GB = 10**6, 10**9
MODES: tuple[tuple[Mode, int, int], ...] = (
    ("standard", 100 * MB, 50 * MB),
    ("batch", GB, 200 * MB),
    ("chunked", 5 * GB, 500 * MB),
)
"""Mode, input below which it applies, and memory that it may take."""
STREAMING = GB
"""Memory that the largest inputs may take in all."""
BLOCK = 8 * 2**20
"""Bytes of g2 in float64, as it is fitted, that a block aims at."""
MORE = {"batch": 2, "chunked": 4, "streaming": 4}
"""Times that, in modes whose many blocks would cost more to send and to remember than the memory of larger ones."""
ROUNDS = 8
"""Blocks a worker that larger blocks must leave, so that all are busy to the end."""
TASK = 900_000
"""Bytes of any task: its graph, counts, what reading and writing take."""
STORED = 90
"""Percent of an array as it is unpacked that its stored form takes, at most: signs and exponents of g2 hardly vary."""
MOST_FITS = 4_000_000
"""Fits of one block, resamples counted: some seconds of work, so that a stopped run loses no more."""
COPIES = 3
"""Results that are put together in memory exist as records, as columns, and once more while they are written."""


class MemoryBudgetError(XpcsError):
    """The work does not fit into the memory that it may take."""

    exit_code = 4

    def __init__(self, what: str, needed: int, limit: int, knob: str) -> None:
        super().__init__(what, needed, limit, knob)
        self.what, self.needed, self.limit, self.knob = what, needed, limit, knob

    def __str__(self) -> str:
        return f"{self.what} needs {self.needed:,} bytes of memory, but only {self.limit:,} are allowed; {self.knob}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What one array of curves is made of. A row is what cannot be cut any more, such as all curves of one file."""

    rows: int
    row_curves: int
    """Curves in a row."""
    points: int
    """Of a curve."""
    pieces: int = 1
    """Blocks that a row is made of, where other dimensions are cut too, as in stacks of many pixels."""
    piece: float = 1.0
    """Share of a row that the largest of these has."""
    read: int
    """Bytes of a row that tasks read (g2, its errors, clusters), as they are stored."""
    largest: int
    """The part of `read` that is in the largest array."""
    stored_rows: int = 0
    """Rows that are stored in one piece, packed, and read together; 0 for rows that are read one after the other."""
    shipped: int = 0
    """Bytes of a row that travel to the task with it."""
    result: int
    """Bytes of a row's results."""
    pointwise: int = 0
    """Bytes of a row for what is said of each point, before it is put into results."""
    scratch: int
    """Bytes that fitting takes beside its input and output, whatever the block."""
    held: int = 0
    """Bytes of what stays in memory all the time."""
    resamples: int = 0
    """Refits of each curve."""
    refit: int = 0
    """Bytes of one refit of one curve while they come together."""
    parent: int = 0
    """Bytes of one curve while it is refitted."""
    together: int = 1
    """Curves that are fitted, and refitted, in one go."""

    def task(self, rows: int) -> int:
        """Bytes of one task that fits `rows` rows, at its peak.

        That is reached while the largest array is read (what is read so far, what is stored, and that unpacked where
        only a part of it is wanted, side by side), while curves are fitted, or while records are taken apart into
        columns.
        """
        stored, cut = max(self.stored_rows, 1), not self.stored_rows or rows % self.stored_rows > 0
        parts = (self.read, self.largest, self.result, self.pointwise)
        read, largest, result, pointwise = (ceil(self.piece * size) for size in parts)
        reading = rows * read + stored * largest * (STORED + 100 * cut) // 100
        refits = min(rows * self.piece_curves, self.together) * (self.resamples * self.refit + self.parent)
        fitting = rows * (read + result) + max(self.scratch + rows * pointwise, refits)
        parting = 2 * rows * result
        return TASK + 2 * rows * self.shipped + max(reading, fitting, parting)

    @property
    def piece_curves(self) -> int:
        """Curves of a row that are in one block."""
        return ceil(self.piece * self.row_curves)

    def block(self, aim: int = BLOCK) -> int:
        """Rows that make a block of the size aimed at: whole stored pieces if possible."""
        rows = max(1, aim // max(8 * self.points * self.piece_curves, 1))
        rows = min(rows, max(1, MOST_FITS // max(self.piece_curves * (1 + self.resamples), 1)))
        if self.stored_rows and rows >= self.stored_rows:
            rows -= rows % self.stored_rows
        return min(rows, max(self.rows, 1))

    def smaller(self, rows: int) -> int:
        """Return about half as many rows: whole stored pieces as long as there is more than one."""
        half = max(1, rows // 2)
        return half - half % self.stored_rows if self.stored_rows and half > self.stored_rows else half


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a job is cut, and what that takes."""

    mode: Mode
    curves: int
    input_bytes: int
    result_bytes: int
    block_rows: tuple[int, ...]
    """Rows of a block in each array of curves."""
    blocks: int
    workers: int
    """Blocks that are worked on at once."""
    task_bytes: int
    """Of the largest task at its peak."""
    peak_bytes: int
    """Of all, above what the process has at its start."""
    budget_bytes: int
    together: bool
    """Whether results are put together in memory; else they are written block by block."""

    def __repr__(self) -> str:
        return (
            f"Plan(mode={self.mode!r}, {self.curves:,} curves in {self.blocks:,} blocks on {self.workers} workers, "
            f"{size(self.task_bytes)} a task, {size(self.peak_bytes)} of {size(self.budget_bytes)} in all)"
        )

    def _repr_html_(self) -> str:
        where = "together in memory" if self.together else "written block by block"
        rows = {
            "curves": f"{self.curves:,}, {size(self.input_bytes)} to read",
            "results": f"{size(self.result_bytes)}, {where}",
            "blocks": f"{self.blocks:,}, {self.workers} at once",
            "memory of a task": f"at most {size(self.task_bytes)}",
            "memory of all": f"at most {size(self.peak_bytes)} above the start; {size(self.budget_bytes)} are allowed",
        }
        return card(f"Plan: {self.mode}", rows)


def mode_of(input_bytes: int) -> Mode:
    """Mode by the size of the input."""
    return next((mode for mode, below, _ in MODES if input_bytes < below), "streaming")


def make_plan(
    arrays: Sequence[Sizes],
    workers: int,
    budget: int,
    *,
    together: bool | None = None,
    rows: Sequence[int] | None = None,
) -> Plan:
    """Choose blocks that keep the peak of `workers` tasks within `budget` bytes and the mode's own limit.

    Parameters
    ----------
    together : bool, optional
        Whether results are put together in memory; by default only in mode standard.
    rows : sequence of int, optional
        Rows of a block of each array, if that is decided already.

    Raises
    ------
    MemoryBudgetError
        If the smallest blocks are too large, or the results that are put together.
    """
    mode = mode_of(sum(sizes.rows * sizes.read for sizes in arrays))
    result = sum(sizes.rows * sizes.result for sizes in arrays)
    together = mode == "standard" if together is None else together
    held = sum(sizes.held for sizes in arrays) + (COPIES * result if together else 0)
    if rows is None:
        limit = min(budget, _limit(mode, held, workers, arrays)) - held
        rows = [_rows(sizes, workers, limit, MORE.get(mode, 1)) for sizes in arrays]
    tasks = [sizes.task(cut) for sizes, cut in zip(arrays, rows, strict=True)]
    blocks = [ceil(sizes.rows / cut) * sizes.pieces for sizes, cut in zip(arrays, rows, strict=True)]
    busy = min(workers, sum(blocks))
    peak = held + busy * max(tasks, default=0)
    if peak > budget:
        worst = arrays[tasks.index(max(tasks))]
        raise _refused(worst, busy, budget, peak, held, COPIES * result if together else 0)
    return Plan(
        mode=mode,
        curves=sum(sizes.rows * sizes.row_curves for sizes in arrays),
        input_bytes=sum(sizes.rows * sizes.read for sizes in arrays),
        result_bytes=result,
        block_rows=tuple(rows),
        blocks=sum(blocks),
        workers=workers,
        task_bytes=max(tasks, default=0),
        peak_bytes=peak,
        budget_bytes=budget,
        together=together,
    )


def _limit(mode: Mode, held: int, workers: int, arrays: Sequence[Sizes]) -> int:
    """Bytes that a mode may take: its own above the blocks that are read and what is held, or in all for streaming."""
    for name, _, memory in MODES:
        if name == mode:
            return held + memory + workers * max(sizes.block() * sizes.read for sizes in arrays)
    return STREAMING


def _rows(sizes: Sizes, workers: int, limit: int, times: int) -> int:
    """Rows of the largest block within `limit`, of up to `times` the usual size if there are blocks enough for it."""
    while times > 1 and ceil(sizes.rows / sizes.block(times * BLOCK)) * sizes.pieces < ROUNDS * workers:
        times //= 2
    rows = sizes.block(times * BLOCK)
    while rows > 1 and min(workers, ceil(sizes.rows / rows) * sizes.pieces) * sizes.task(rows) > limit:
        rows = sizes.smaller(rows)
    return rows


def _refused(sizes: Sizes, busy: int, budget: int, needed: int, held: int, result: int) -> MemoryBudgetError:
    more = "allow more with --memory"
    if result > budget // 2:
        way = f"write to a .zarr store, which is filled block by block, or {more}"
        return MemoryBudgetError("a result that is put together in memory", needed, budget, way)
    if busy > 1 and held + sizes.task(1) <= budget:
        way = f"use fewer workers, such as --scheduler threads:1, or {more}"
        return MemoryBudgetError(f"working on {busy} blocks at once", needed, budget, way)
    return MemoryBudgetError(
        f"one block of {sizes.piece_curves:,} curves (no smaller one is possible)", needed, budget, more
    )
