"""A thread that keeps the workers of a cluster alive, or says that there is no hope."""

from __future__ import annotations

import logging
import threading
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from xpcs_dask.errors import SchedulerError

__all__ = ["Fleet", "Watchdog", "watchdog_of"]

logger = logging.getLogger(__name__)

EVERY = 2.0
"""Seconds between two looks."""
GRACE = 3.0
"""Seconds from giving up until whoever still waits for results is made to fail."""

_watchdogs: WeakKeyDictionary[Any, Watchdog] = WeakKeyDictionary()


class Fleet(Protocol):
    """Workers that somebody started and can start again."""

    def living(self) -> int:
        """Return how many workers the scheduler has now."""
        ...

    def look(self) -> None:
        """Bring back what is lost; raises `SchedulerError` when that is hopeless."""
        ...


class Watchdog:
    """Looks after a fleet while a client works with it.

    Parameters
    ----------
    fleet : Fleet
        What is looked after.
    client : distributed.Client
        It is closed when there is no hope, so that nobody waits for its results for ever.
    every : float
        Seconds between two looks.
    """

    def __init__(self, fleet: Fleet, client: Any, every: float | None = None) -> None:
        self.fleet, self.error = fleet, None
        self._client, self._every, self._ended = client, EVERY if every is None else every, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="xpcs-watchdog")
        _watchdogs[client] = self

    error: SchedulerError | None
    """Why it gave up."""

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more, and wait for a look that is under way."""
        self._ended.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout=30)

    def check(self) -> None:
        """Raise why it gave up, if it did."""
        if self.error is not None:
            raise SchedulerError(str(self.error)) from self.error

    def workers(self) -> int:
        """Return how many tasks can run at once, at least 1: lost workers are on their way back; raises as `check`."""
        self.check()
        return max(self.fleet.living(), 1)

    def _watch(self) -> None:
        while not self._ended.wait(self._every):
            try:
                self.fleet.look()
            except SchedulerError as error:
                self._give_up(error)
                return
            except Exception:  # a look that fails must not end all further ones
                logger.exception("the watchdog could not look after the workers; it tries again")

    def _give_up(self, error: SchedulerError) -> None:
        self.error = error
        if not self._ended.wait(GRACE):  # time for `check` to be called where the work is handed out
            self._client.close(timeout=5)


def watchdog_of(client: Any) -> Watchdog | None:
    """Return who looks after the cluster of `client`, if anybody does."""
    try:
        return _watchdogs.get(client)
    except TypeError:  # no weak reference to it: not one of ours
        return None
