"""Work on this machine: in this process, in processes of a pool, or in a cluster of its own."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

from xpcs_dask.cluster.connection import ONE_THREAD, QUIET, Connection
from xpcs_dask.cluster.scratch import fault_of, scratch_here
from xpcs_dask.cluster.settings import Local
from xpcs_dask.cluster.watchdog import Watchdog
from xpcs_dask.errors import SchedulerError

__all__ = ["LocalFleet", "inside", "local_cluster", "process_pool"]

logger = logging.getLogger(__name__)

RESTART = 10.0
"""Seconds that a nanny has to start a lost worker again, before the cluster is asked for another one."""
PATIENCE = 60.0
"""Seconds without any worker after which a cluster of this machine is given up."""


@contextmanager
def inside(base: Connection) -> Iterator[Connection]:
    """Work in this thread, or in threads of this process."""
    import dask

    with dask.config.set(scheduler=base.kind, **({"num_workers": base.workers} if base.workers else {})):
        yield base


@contextmanager
def process_pool(base: Connection) -> Iterator[Connection]:
    """Work in processes that are started for it."""
    import multiprocessing

    import dask

    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        base.workers or os.cpu_count() or 1, multiprocessing.get_context("spawn"), initializer=_start_worker
    )
    try:
        # One task a message: a task here is a whole block, and batches of six would leave workers idle.
        with dask.config.set(scheduler="processes", pool=pool, chunksize=1):
            yield base
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()  # a block that nobody wants any more must not hold up the exit
        raise
    pool.shutdown()


def _start_worker() -> None:
    """Prepare a worker process: one thread for the numerics, Ctrl-C left to the parent, and no life after it."""
    import multiprocessing
    import signal
    import threading
    from multiprocessing.connection import wait

    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def leave_with_parent() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()


@contextmanager
def local_cluster(base: Connection, settings: Local) -> Iterator[Connection]:
    """Work in a cluster of worker processes on this machine, which a watchdog keeps complete."""
    import dask
    from distributed import Client, LocalCluster

    place, wanted = scratch_here(settings.local_directory), base.workers or os.cpu_count() or 1
    if fault := fault_of(place):
        logger.warning("spilled data: %s; choose a local disk with local_directory", fault)
    with (
        dask.config.set(QUIET),
        LocalCluster(
            n_workers=wanted,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=settings.dashboard,
            memory_limit=settings.memory or "auto",
            local_directory=place,
            env=dict.fromkeys(ONE_THREAD, "1"),
        ) as cluster,
        Client(cluster) as client,
    ):
        watchdog = Watchdog(LocalFleet(cluster, wanted), client)
        watchdog.start()
        try:
            yield Connection("local", base.workers, cluster.scheduler_address, client)
        finally:
            watchdog.stop()


class LocalFleet:
    """Worker processes of a `distributed.LocalCluster`, which loses them for good when nannies fail.

    Parameters
    ----------
    cluster
        The cluster; its scheduler is in this process.
    wanted
        How many workers there should be.
    clock
        Seconds, for tests.
    """

    def __init__(self, cluster: Any, wanted: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster, self._wanted, self._clock = cluster, wanted, clock
        self._whole = self._asked = self._some = clock()

    def living(self) -> int:
        """Return how many workers the scheduler has now."""
        return len(self._cluster.scheduler.workers)

    def look(self) -> None:
        """Ask for workers in place of those that nobody restarted."""
        now, living = self._clock(), self.living()
        if living:
            self._some = now
        if living >= self._wanted:
            self._whole = now
            return
        if now - self._some > PATIENCE:
            raise SchedulerError(
                f"all {self._wanted} workers of this machine were lost, and none came back in {PATIENCE:g} s; most "
                "often memory ran out: use fewer workers or smaller chunks"
            )
        if now - max(self._whole, self._asked) > RESTART:
            self._asked, missing = now, self._wanted - living
            logger.warning("%d of %d workers are gone; others are started", missing, self._wanted)
            # A nanny that has failed still counts for the cluster, so there must be room beside it.
            self._cluster.scale(max(self._wanted, min(len(self._cluster.worker_spec) + missing, 2 * self._wanted)))
