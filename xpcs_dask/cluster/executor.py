"""Where Dask would run things, as an executor of the standard library."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any

from xpcs_dask.cluster.client_executor import ClientExecutor
from xpcs_dask.cluster.connection import Connection, Kind
from xpcs_dask.cluster.watchdog import watchdog_of

__all__ = ["DaemonThreads", "InPlace", "executor", "executor_here"]

Work = tuple[Future[Any], Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class InPlace(Executor):
    """Runs everything at once in the calling thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call the function now."""
        future: Future[Any] = Future()
        _carry_out((future, fn, args, kwargs))
        return future


class DaemonThreads(Executor):
    """A pool of threads that a program need not wait for: what was asked to stop must not hang on a long block."""

    def __init__(self, workers: int) -> None:
        self._work: SimpleQueue[Work | None] = SimpleQueue()
        self._threads = [Thread(target=self._serve, daemon=True, name=f"xpcs-{k}") for k in range(workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Queue a call."""
        future: Future[Any] = Future()
        self._work.put((future, fn, args, kwargs))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the threads end after what is queued."""
        for _ in self._threads:
            self._work.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            _carry_out(work)
            del work  # else the last block stays in memory until the next one comes


def _carry_out(work: Work) -> None:
    future, fn, args, kwargs = work
    if not future.set_running_or_notify_cancel():
        return
    try:
        found = fn(*args, **kwargs)
    except Exception as error:
        future.set_exception(error)
    else:
        future.set_result(found)


@contextmanager
def executor(connection: Connection) -> Iterator[tuple[Executor, Callable[[], int]]]:
    """Give an executor that works where `connection` says, and what counts its workers.

    It is left without waiting for what still runs.
    """
    if connection.client is not None:
        with _cluster(connection.client) as found:
            yield found
        return
    import dask

    if connection.kind == "sync":
        yield InPlace(), lambda: 1
    elif connection.kind == "processes":
        workers = connection.workers or os.cpu_count() or 1
        yield dask.config.get("pool"), lambda: workers
    else:
        workers = connection.workers or os.cpu_count() or 1
        threads = DaemonThreads(workers)
        try:
            yield threads, lambda: workers
        finally:
            threads.shutdown(wait=False)


@contextmanager
def executor_here(client: Any = None) -> Iterator[tuple[Executor, Callable[[], int]]]:
    """`executor` for the given or the current client of `distributed`, else for Dask's threads or ``sync``."""
    import dask

    client = client or _current_client()
    alone = dask.config.get("scheduler", None) in ("sync", "synchronous", "single-threaded")
    kind: Kind = "sync" if alone else "threads"
    with executor(Connection(kind, dask.config.get("num_workers", None), client=client)) as found:
        yield found


def _current_client() -> Any:
    if "distributed" not in sys.modules:
        return None
    from distributed import get_client

    with suppress(ValueError):
        return get_client()
    return None


@contextmanager
def _cluster(client: Any) -> Iterator[tuple[Executor, Callable[[], int]]]:
    pool, watchdog = ClientExecutor(client), watchdog_of(client)
    try:
        yield pool, watchdog.workers if watchdog is not None else lambda: sum(client.nthreads().values())
    finally:
        pool.shutdown(wait=False)
