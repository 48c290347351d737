"""What happens while a job runs: counters that blocks add to, and a state that listeners are told, not too often.

A listener is any function of a `State`: a progress bar, text in a notebook, JSON lines, a log.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from typing import IO, Any, Literal, TypeAlias

from xpcs_dask.engine.ledger import Entry, total
from xpcs_dask.engine.memory import resident
from xpcs_dask.readable import share, size

__all__ = ["Listener", "Monitor", "State", "Worker", "json_lines", "log", "sentence", "worker_name"]

logger = logging.getLogger(__name__)

PAUSE = 0.25
"""Seconds between two states that listeners are told; the first and the last of a stage are never left out."""
LOG_PAUSE = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """What one thread of a worker has done so far."""

    blocks: int = 0
    curves: int = 0
    seconds: float = 0.0
    """Spent in blocks."""
    memory: int = 0
    """Bytes resident in its process after its last block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A job at one moment."""

    stage: Literal["opening", "fitting", "regrouping", "done"] = "opening"
    elapsed: float = 0.0
    """Seconds since the job began."""
    files_opened: int = 0
    files: int = 0
    blocks_done: int = 0
    blocks: int = 0
    blocks_before: int = 0
    """Of those that are done: by an earlier call that was stopped."""
    curves_done: int = 0
    curves: int = 0
    bytes_read: int = 0
    """Of the g2, errors and clusters of the curves that are done."""
    bytes: int = 0
    curves_per_second: float = 0.0
    """Of this call, since fitting began."""
    seconds_left: float | None = None
    failures: Mapping[str, int] = field(default_factory=dict)
    """Curves that have no fit, by status."""
    memory: int = 0
    """Bytes resident in this process and those of the workers."""
    workers: Mapping[str, Worker] = field(default_factory=dict)

    @property
    def progress(self) -> tuple[int, int, str]:
        """How much is done of how much, and of what."""
        if self.stage == "opening":
            return self.files_opened, self.files, "files"
        if self.stage == "regrouping":
            return self.bytes_read // 10**6, self.bytes // 10**6, "MB"
        return self.curves_done, self.curves, "curves"

    def __str__(self) -> str:
        return sentence(self)

    def _repr_html_(self) -> str:
        return f"<div>{escape(sentence(self))}</div>"


Listener: TypeAlias = Callable[[State], None]


class Monitor:
    """Adds up what is heard of a job, and tells its listeners.

    Parameters
    ----------
    listeners : sequence of callables
        Each takes a `State`, in the thread that drives the job.
    clock : callable
        Returns seconds.

    Attributes
    ----------
    before : int
        Blocks that an earlier call has done.
    counts : dict
        Counts of all blocks that are done, as `results.summary` gives them.
    spent : dict
        Of the blocks that this call did: ``seconds`` and ``cpu`` (s), ``hits`` and ``misses`` of the cache.
    peaks : dict
        Largest resident memory (bytes) by process.
    workers : dict
        `Worker` by name.
    """

    def __init__(self, listeners: Sequence[Listener] = (), *, clock: Callable[[], float] = time.monotonic) -> None:
        self._listeners, self._clock, self._begun = listeners, clock, clock()
        self._told, self._fitting = -float("inf"), self._begun
        self._known: dict[str, Any] = {}
        """Fields of the state that do not follow from blocks."""
        self._done, self._curves_before = 0, 0
        self.before = 0
        self.counts: dict[str, Any] = {}
        self.spent: dict[str, float] = {}
        self.peaks: dict[str, int] = {}
        self.workers: dict[str, Worker] = {}

    def opening(self, opened: int, files: int) -> None:
        """Hear how many files are opened; `open_g2` takes this as its ``progress``."""
        self._known |= {"files_opened": opened, "files": files}
        self._tell(opened == files)

    def begin(self, *, blocks: int, curves: int, nbytes: int = 0) -> None:
        """Hear what there is to do."""
        self._fitting = self._clock()
        self._known |= {"stage": "fitting", "blocks": blocks, "curves": curves, "bytes": nbytes}
        self._tell(True)

    def add(self, entry: Entry, *, before: bool = False) -> None:
        """Hear of a block that is done, by this call or by one before."""
        self._done += 1
        self.counts = total(self.counts, entry.get("counts", {}))
        curves = entry.get("counts", {}).get("curves", 0)
        if before:
            self.before += 1
            self._curves_before += curves
        else:
            self.spent = total(self.spent, entry.get("spent", {}))
            self._worker(entry, curves)
        self._tell(False)

    def known(self, *, blocks: int, counts: Mapping[str, Any]) -> None:
        """Hear that an earlier call has done everything, with these counts; this one does nothing."""
        self._done = self.before = blocks
        self.counts = dict(counts)
        self._curves_before = counts.get("curves", 0)
        self._known |= {"blocks": blocks, "curves": self._curves_before}
        self.end()

    def end(self) -> None:
        """Hear that all is done."""
        self._known["stage"] = "done"
        self._tell(True)

    def state(self) -> State:
        """Return how things are now."""
        now, curves = self._clock(), self.counts.get("curves", 0)
        all_curves, nbytes = self._known.get("curves", 0), self._known.get("bytes", 0)
        speed = (curves - self._curves_before) / max(now - self._fitting, 1e-9) if self._done > self.before else 0.0
        failures = {
            name: number
            for name, number in self.counts.get("status_counts", {}).items()
            if number and name != "converged"
        }
        return State(
            **self._known,
            elapsed=round(now - self._begun, 3),
            blocks_done=self._done,
            blocks_before=self.before,
            curves_done=curves,
            bytes_read=nbytes * curves // all_curves if all_curves else 0,
            curves_per_second=round(speed, 1),
            seconds_left=round((all_curves - curves) / speed, 1) if speed and all_curves else None,
            failures=failures,
            memory=self._memory(),
            workers=dict(self.workers),
        )

    def _worker(self, entry: Entry, curves: int) -> None:
        name = entry.get("worker", "")
        if not name:
            return
        so_far = self.workers.get(name, Worker())
        self.workers[name] = Worker(
            blocks=so_far.blocks + 1,
            curves=so_far.curves + curves,
            seconds=round(so_far.seconds + entry["spent"]["seconds"], 6),
            memory=entry["memory"],
        )
        process = _process(name)
        self.peaks[process] = max(self.peaks.get(process, 0), entry["peak"])

    def _memory(self) -> int:
        latest = {_process(name): worker.memory for name, worker in self.workers.items()}
        return sum(latest.values()) + (0 if _here() in latest else resident())

    def _tell(self, surely: bool) -> None:
        now = self._clock()
        if self._listeners and (surely or now - self._told >= PAUSE):
            self._told = now
            state = self.state()
            for listener in self._listeners:
                listener(state)


def worker_name() -> str:
    """Host, process and thread that this is called in: ``host:pid/thread``."""
    return f"{_here()}/{threading.current_thread().name}"


def json_lines(stream: IO[str]) -> Listener:
    """Return a listener that writes each state as one JSON object on a line of its own."""

    def write(state: State) -> None:
        stream.write(json.dumps(asdict(state)) + "\n")
        stream.flush()

    return write


def log() -> Listener:
    """Return a listener that tells the log of this module (level INFO), every ten seconds and at the end."""
    last = -float("inf")

    def write(state: State) -> None:
        nonlocal last
        if state.stage != "done" and (state.stage == "opening" or state.elapsed - last < LOG_PAUSE):
            return
        last = state.elapsed
        logger.info("%s", sentence(state))

    return write


def sentence(state: State) -> str:
    """Say how a job stands in one line."""
    done, total, unit = state.progress
    counted = f"{done:,} of {total:,} {unit}"
    parts = [f"{state.stage}: {share(state.bytes_read, state.bytes) if state.stage == 'regrouping' else counted}"]
    if state.curves_per_second:
        parts.append(f"{state.curves_per_second:,.0f} curves/s")
    if state.blocks:
        before = f" ({state.blocks_before} by an earlier call)" if state.blocks_before else ""
        parts.append(f"{state.blocks_done} of {state.blocks} blocks{before}")
    if state.bytes and state.stage != "regrouping":
        parts.append(share(state.bytes_read, state.bytes))
    parts += [f"{number:,} {status}" for status, number in state.failures.items()]
    if state.memory:
        parts.append(f"{size(state.memory)} of memory")
    if state.stage == "fitting" and state.seconds_left is not None:
        parts.append(f"{state.seconds_left:.0f} s left")
    parts.append(f"{state.elapsed:.0f} s so far")
    return ", ".join(parts)


def _process(worker: str) -> str:
    return worker.partition("/")[0]


def _here() -> str:
    return f"{platform.node()}:{os.getpid()}"
