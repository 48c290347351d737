"""Memory pressure: fewer blocks at once before the machine, the container or the limit of a process ends the run.

What is used of what may be used is read where it is decided: control groups (version 1 and 2), limits of the process
(``ulimit -v``), free memory of the machine, a limit that was told, or what a scheduler says about its workers.
"""

from __future__ import annotations

import gc
import logging
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

__all__ = ["Pressure", "give_back", "groups", "peak_resident", "resident", "used_here", "used_of_workers"]

logger = logging.getLogger(__name__)

THRESHOLD = 0.8
CALM = 4
"""Readings in a row that must leave room for one more block before there is one more."""
PAUSE = 0.5
"""Seconds between two readings: memory that a finished block gives back must have time to show."""
RELIEF = 10.0
"""Seconds after which caches are asked again if there is one block only and that did not help."""
ROOT = Path("/sys/fs/cgroup")
PROCESS = Path("/proc/self/cgroup")
UNLIMITED = 2**60
"""Version 1 of control groups has no word for "no limit", only numbers beyond this one."""


class Pressure:
    """How many blocks may be in flight, by how much of the memory is used.

    Above the threshold their number is halved and caches are asked to give memory back, at each reading until it is 1.
    One more is allowed again when four readings in a row leave room for it, as far as can be told: what was in use when
    least was is taken for all that is not blocks, the rest for as much for each of them. May be asked from threads.

    Parameters
    ----------
    limit : int, optional
        Bytes that this process and its children may take; without one, what limits them from outside counts alone.
    threshold : float
        Share of the limit, between 0 and 1.
    read : callable, optional
        Returns the share that is used, 0 to 1; instead of `used_here`, for example for workers elsewhere.
    relieve : sequence of callables
        Called when the threshold is passed: what gives memory back, such as `Cache.relieve`; after `give_back`.
    pause : float
        Seconds between readings, at least.
    clock : callable
        Returns seconds.

    Attributes
    ----------
    halvings : int
        How often their number was halved.
    highest : float
        Largest share that was read.
    """

    def __init__(
        self,
        limit: int | None = None,
        threshold: float = THRESHOLD,
        *,
        read: Callable[[], float] | None = None,
        relieve: Sequence[Callable[[], object]] = (),
        pause: float = PAUSE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 0 < threshold < 1:
            raise ValueError(f"threshold must be between 0 and 1, not {threshold:g}")
        if limit is not None and limit <= 0:
            raise ValueError(f"limit must be a positive number of bytes, not {limit}")
        self.threshold, self.halvings, self.highest = threshold, 0, 0.0
        self._read: Callable[[], float] = (lambda: used_here(limit)) if read is None else read
        self._relieve: list[Callable[[], object]] = [give_back, *relieve]
        self._pause, self._clock = pause, clock
        self._most: int | None = None
        """Blocks that are allowed; None as long as nothing limits them."""
        self._last = self._relieved = -float("inf")
        self._base, self._calm = 1.0, 0
        self._lock = Lock()

    def blocks_in_flight(self, wanted: int) -> int:
        """Return how many of `wanted` blocks may be in flight now; at least 1, unless none is wanted."""
        with self._lock:
            now = self._clock()
            if now - self._last >= self._pause:
                self._last = now
                self._adapt(wanted)
            return wanted if self._most is None else min(wanted, self._most)

    def limited(self, workers: Callable[[], int]) -> Callable[[], int]:
        """Return what counts workers as `workers` does, but no more than may be busy; for `engine.stream.Hands`."""
        return lambda: self.blocks_in_flight(workers())

    def _adapt(self, wanted: int) -> None:
        used = self._read()
        self.highest, self._base = max(self.highest, used), min(self._base, used)
        if used > self.threshold:
            self._halve(used, wanted)
        elif self._most is not None:
            self._grow(used, wanted, self._most)

    def _halve(self, used: float, wanted: int) -> None:
        before = wanted if self._most is None else min(wanted, self._most)
        self._most = max(1, before // 2)
        self.halvings, self._calm = self.halvings + (self._most < before), 0
        if self._most < before:
            logger.warning(
                "%.0f %% of the memory is used, more than %.0f %%: at most %d blocks at once instead of %d",
                100 * used, 100 * self.threshold, self._most, before,
            )  # fmt: skip
        elif self._last - self._relieved < RELIEF:
            return
        self._relieved = self._last
        for relieve in self._relieve:
            relieve()

    def _grow(self, used: float, wanted: int, most: int) -> None:
        expected = self._base + (used - self._base) * (most + 1) / most
        self._calm = self._calm + 1 if expected < self.threshold else 0
        if self._calm == CALM:
            self._calm = 0
            self._most = most + 1 if most + 1 < wanted else None


def used_here(limit: int | None = None) -> float:
    """Share of the memory that is used, 0 to 1, of whatever is closest to its end.

    Parameters
    ----------
    limit : int, optional
        Bytes that this process and its children may take (resident).
    """
    return max((used / most for used, most in _readings(limit)), default=0.0)


def resident() -> int:
    """Bytes of this process that are in memory."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def peak_resident() -> int:
    """Most bytes of this process that have been in memory at once."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # The kernel brings the record up to date now and then only.
    return max(peak if sys.platform == "darwin" else 1024 * peak, resident())


def used_of_workers(workers: Iterable[Mapping[str, Any]]) -> float:
    """Share of its memory that the fullest worker uses; 0 without limits.

    Parameters
    ----------
    workers : iterable of mappings
        As in ``client.scheduler_info(n_workers=-1)["workers"].values()``.
    """
    return max((_of_worker(worker) for worker in workers if worker.get("memory_limit")), default=0.0)


def give_back() -> None:
    """Return memory that this process has freed, but keeps, to the system."""
    gc.collect()
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):  # no glibc
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def groups(process: Path = PROCESS, root: Path = ROOT) -> Iterator[tuple[int, int]]:
    """Bytes used and limit of each control group, version 1 or 2, that this process is in and that has a limit.

    Files that the system keeps in memory, but has no need of, do not count as used.
    """
    try:
        lines = [line.split(":", 2) for line in process.read_text().splitlines()]
    except OSError:
        return
    for _, controllers, path in lines:
        if controllers == "":
            yield from _climb(root, path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
            yield from _climb(root / "memory", path, *names)


def _climb(root: Path, path: str, limit: str, usage: str, spare: str) -> Iterator[tuple[int, int]]:
    """Read a group and all above it: each of them has its own limit."""
    here = root / path.strip("/")
    for folder in [here, *here.parents][: len(here.parts) - len(root.parts) + 1]:
        try:
            most, used = (int((folder / name).read_text()) for name in (limit, usage))
        except (OSError, ValueError):  # "max": no limit
            continue
        if 0 < most < UNLIMITED:
            yield max(0, used - _spare(folder / "memory.stat", spare)), most


def _spare(stat: Path, name: str) -> int:
    with suppress(OSError, ValueError):
        for line in stat.read_text().splitlines():
            word, _, value = line.partition(" ")
            if word == name:
                return int(value)
    return 0


def _readings(limit: int | None) -> Iterator[tuple[int, int]]:
    import psutil

    yield from groups()
    machine = psutil.virtual_memory()
    yield machine.total - machine.available, machine.total
    own = psutil.Process()
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY:
        yield own.memory_info().vms, most
    if limit is not None:
        yield sum(_resident(process) for process in (own, *own.children(recursive=True))), limit


def _resident(process: Any) -> int:
    import psutil

    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # it has just ended
        return 0


def _of_worker(worker: Mapping[str, Any]) -> float:
    return float(worker.get("metrics", {}).get("memory", 0)) / float(worker["memory_limit"])
