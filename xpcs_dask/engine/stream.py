"""Many tasks through a few hands: a bounded number in flight, each forgotten when it is done; knows no science.

Whatever has ``submit`` as `concurrent.futures.Executor` has it can do the work: threads, processes, or a cluster
through `cluster.executor`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, wait
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from xpcs_dask.errors import SchedulerError

__all__ = ["Hands", "stream"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 2
"""Tasks in flight for each worker: one that runs, one that waits for it."""
LOOK = 0.5
"""Seconds between two looks at whether the workers are still there."""
PATIENCE = 30.0
"""Seconds without any worker after which a run gives up."""
GRACE = 4.0
"""Seconds that running tasks are given to finish when a run is stopped."""


class Hands:
    """An executor, and how many tasks it can run at the moment.

    Parameters
    ----------
    executor : concurrent.futures.Executor
        Does the work.
    workers : callable
        Gives the number of tasks that can run at once; 0 while all workers are lost.
    """

    def __init__(self, executor: Executor, workers: Callable[[], int]) -> None:
        self.executor, self.workers = executor, workers


def stream(
    tasks: Iterable[T],
    run: Callable[[T], R],
    hands: Hands,
    *,
    beat: Callable[[], None] = lambda: None,
    patience: float = PATIENCE,
    grace: float = GRACE,
) -> Iterator[R]:
    """Yield what ``run(task)`` returns for every task, in the order in which they finish.

    Tasks are taken from their iterator when there is room for them (`AHEAD` a worker), so neither they nor their
    results pile up.

    Parameters
    ----------
    beat : callable
        Called several times a minute from this thread.
    patience : float
        Seconds without a single worker before giving up.
    grace : float
        Seconds that running tasks get when this ends early, by an error, an interruption or `Iterator.close`; those
        that wait are cancelled at once.

    Raises
    ------
    SchedulerError
        If all workers are lost and none comes back.
    Exception
        What a task raised; the first one ends the stream.
    """
    left, done = iter(tasks), SimpleQueue[Future[R]]()
    flying: set[Future[R]] = set()
    watch = _Watch(hands, patience)
    try:
        while True:
            while len(flying) < max(AHEAD * watch.workers(), 1) and (task := next(left, None)) is not None:
                future = hands.executor.submit(run, task)
                flying.add(future)
                future.add_done_callback(done.put)
            if not flying:
                return
            try:
                future = done.get(timeout=LOOK)
            except Empty:
                pass
            else:
                flying.remove(future)
                yield future.result()
            beat()
    finally:
        _land(flying, grace)


class _Watch:
    """Count the workers now and then, and raise when there have been none for too long."""

    def __init__(self, hands: Hands, patience: float) -> None:
        self._hands, self._patience = hands, patience
        self._count, self._asked, self._seen = 0, -LOOK, time.monotonic()

    def workers(self) -> int:
        now = time.monotonic()
        if now - self._asked >= LOOK:
            self._count, self._asked = self._hands.workers(), now
            if self._count:
                self._seen = now
            elif now - self._seen > self._patience:
                raise SchedulerError(
                    f"there has been no worker for {self._patience:g} s; what is finished is kept: "
                    "start workers and run the same command again"
                )
        return self._count


def _land(flying: set[Future[Any]], grace: float) -> None:
    """Call back what waits; let what runs finish, for a while."""
    running = [future for future in flying if not future.cancel()]
    if running:
        _, late = wait(running, timeout=grace)
        if late:
            logger.info("%d running blocks were left behind; they are done again in the next run", len(late))
