"""Work that is asked for faster than it is done: only the newest request is worked on next, in a thread beside."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Latest"]

Job = TypeVar("Job")
Answer = TypeVar("Answer")


class Latest(Generic[Job, Answer]):
    """Do the newest of what is asked for.

    Parameters
    ----------
    work : callable
        From a request to its answer; called in a thread that does not hold up the end of the process.
    deliver : callable
        Called in that thread with the request and its answer, or the exception that `work` raised.
    """

    def __init__(self, work: Callable[[Job], Answer], deliver: Callable[[Job, Answer | Exception], None]) -> None:
        self._work, self._deliver = work, deliver
        self._changed = threading.Condition()
        self._wanted: list[Job] = []
        self._ended = False
        self._thread: threading.Thread | None = None

    def ask(self, job: Job) -> None:
        """Put a request in place of those that wait."""
        with self._changed:
            self._wanted = [job]
            if self._thread is None:
                self._thread = threading.Thread(target=self._go_on, name="xpcs-dask-view", daemon=True)
                self._thread.start()
            self._changed.notify()

    def end(self) -> None:
        """Do nothing more."""
        with self._changed:
            self._ended, self._wanted = True, []
            self._changed.notify()

    def _go_on(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted or self._ended)
                if self._ended:
                    return
                job = self._wanted.pop()
            try:
                answer: Answer | Exception = self._work(job)
            except Exception as error:
                answer = error
            if not self._ended:
                self._deliver(job, answer)
