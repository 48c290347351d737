"""An unfinished run: a store that fills up, the ledger of what is in it, and how to go on after a stop."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import xarray as xr

from xpcs_dask.engine.cache import counting
from xpcs_dask.engine.events import worker_name
from xpcs_dask.engine.ledger import Entry, Ledger
from xpcs_dask.engine.memory import peak_resident, resident
from xpcs_dask.engine.stream import Hands, stream
from xpcs_dask.engine.stream_graph import Blocks, work_out
from xpcs_dask.errors import FileRejected, OutputExistsError
from xpcs_dask.results.streamed import Place, begin_store, counts_of, lazy_arrays, places_of, regular

__all__ = ["Run", "Unfinished"]

logger = logging.getLogger(__name__)

Groups = Mapping[str, xr.Dataset]
Job = Mapping[str, Any]
Index = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The folder beside an output in which it comes into being.

    Every attempt has a folder of its own in there: tasks of an earlier one that some worker still runs find their
    store gone, and cannot write into that of a new one.
    """

    output: Path

    @property
    def folder(self) -> Path:
        """Beside the output, named after it."""
        return self.output.with_name(f"{self.output.name}.unfinished")

    def head(self) -> dict[str, Any] | None:
        """Job and blocks of what can be gone on with; None where there is nothing."""
        found = self._attempt()
        return found and found[1]

    def going_on(self, groups: Groups, job: Job) -> Run | None:
        """Return the unfinished run of the same job, with the blocks that it had."""
        found = self._attempt()
        if found is None or found[1]["job"] != job:
            return None
        attempt, head = found
        groups = {path: regular(group, head["chunks"].get(path)) for path, group in groups.items()}
        return Run(groups, attempt)

    def begin(self, groups: Groups, job: Job, overwrite: bool = False) -> Run:
        """Start from nothing; unfinished work of another job is removed only if `overwrite`."""
        head = self.head()
        if head is not None and not overwrite:
            raise OutputExistsError(str(self.folder), difference(head["job"], job))
        self.clear()
        attempt = self.folder / f"run-{uuid4().hex[:8]}"
        attempt.mkdir(parents=True)
        groups = {path: regular(group) for path, group in groups.items()}
        begin_store(attempt / STORE, groups)
        chunks = {path: _sizes(group) for path, group in groups.items()}
        run = Run(groups, attempt)
        Ledger.begin(attempt / LEDGER, {"job": job, "chunks": chunks, "blocks": len(run)})
        return run

    def counts(self) -> tuple[int, int] | None:
        """Blocks that are done, and all of them; None where nothing is under way."""
        found = self._attempt()
        if found is None:
            return None
        attempt, head = found
        return Ledger(attempt / LEDGER).count(), int(head.get("blocks", 0))

    def clear(self) -> None:
        """Remove all attempts."""
        for attempt in self._attempts():
            shutil.rmtree(attempt, ignore_errors=True)

    def _attempts(self) -> list[Path]:
        return sorted(item for item in self.folder.glob("run-*") if item.is_dir())

    def _attempt(self) -> tuple[Path, dict[str, Any]] | None:
        """Return the one attempt that has a ledger and a store, and the head of its ledger."""
        for attempt in self._attempts():
            head = Ledger(attempt / LEDGER).head()
            if head is not None and (attempt / STORE).is_dir():
                return attempt, head
        return None


STORE, LEDGER = "results.zarr", "ledger"


class Run:
    """An attempt that is under way: `groups` of results with regular blocks, in the folder `attempt`."""

    def __init__(self, groups: Groups, attempt: Path) -> None:
        self.store, self.ledger = attempt / STORE, Ledger(attempt / LEDGER)
        self.places = places_of(self.store, groups)
        self.blocks = [
            (path.strip("/"), Blocks(arrays)) for path, group in groups.items() if (arrays := lazy_arrays(group))
        ]

    def __len__(self) -> int:
        return sum(len(blocks) for _, blocks in self.blocks)

    def done(self) -> dict[int, Entry]:
        """Entries of blocks that an earlier call has done; believed if their files have the right size."""
        done = self.ledger.entries(lambda block, entry: entry.get("bytes") == self._stored(block))
        if done:
            logger.info("%d of %d blocks are done already", len(done), len(self))
        return done

    def rest(self, done: Container[int], hands: Hands, beat: Callable[[], None]) -> Iterator[Entry]:
        """Entries of all other blocks, as they are worked out; of those whose input is gone, only the reason."""
        yield from stream(self._tasks(done), fit_block, hands, beat=beat)

    def _tasks(self, done: Container[int]) -> Iterator[Task]:
        first = 0
        for group, blocks in self.blocks:
            here = range(first, first + len(blocks))
            for block in blocks.blocks(number - first for number in here if number not in done):
                targets = tuple((name, self.places[name], index) for name, index in _inside(group, block.parts).items())
                yield Task(first + block.number, block.work, targets, self.ledger)
            first = here.stop

    def _stored(self, number: int) -> int:
        """Bytes on disk that belong to a block."""
        for group, blocks in self.blocks:
            if number < len(blocks):
                parts = _inside(group, blocks.parts(number))
                return sum(self.places[name].stored(index) for name, index in parts.items())
            number -= len(blocks)
        return -1


@dataclass(frozen=True, slots=True)
class Task:
    """One block as it travels to whoever works it out."""

    number: int
    work: bytes
    targets: tuple[tuple[str, Place, Index], ...]
    ledger: Ledger


def fit_block(task: Task) -> Entry:
    """Work a block out, write its chunks, then its entry in the ledger; returns the entry. Runs in tasks.

    A block whose input cannot be read (any more) is not in the ledger; its entry says why.
    """
    begun, cpu = time.perf_counter(), time.thread_time()
    try:
        with counting() as cached:
            values = work_out(task.work)
    except FileRejected as error:
        return {"rejected": {"file": error.path, "reason": error.reason}}
    entry: Entry = {"counts": counts_of({name: value for (name, *_), value in zip(task.targets, values, strict=True)})}
    for _, place, index in task.targets:
        place.write(index, values.pop(0))
    entry["bytes"] = sum(place.nbytes for _, place, _ in task.targets)
    entry["spent"] = {
        "seconds": round(time.perf_counter() - begun, 6),
        "cpu": round(time.thread_time() - cpu, 6),
        "hits": cached.hits,
        "misses": cached.misses,
    }
    entry |= {"worker": worker_name(), "memory": resident(), "peak": peak_resident()}
    task.ledger.add(task.number, entry)
    logger.debug("block %d: %.3f s", task.number, entry["spent"]["seconds"])
    return entry


def difference(old: Job, new: Job) -> str:
    """Say what differs between two jobs, one of them unfinished."""
    changed = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return f"other {', '.join(changed)}, and is not finished"


def _inside(group: str, parts: Any) -> dict[str, Index]:
    return {f"{group}/{part.name}".lstrip("/"): part.index for part in parts}


def _sizes(group: xr.Dataset) -> dict[str, int]:
    """Size of a block along each dimension."""
    named = [pair for array in lazy_arrays(group).values() for pair in zip(array.dims, array.data.chunks, strict=True)]
    return {dim: max(sizes) for dim, sizes in named}
