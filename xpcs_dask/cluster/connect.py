"""One word says where the work runs; `connect` makes it so, and undoes it afterwards."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from xpcs_dask.errors import ConfigError, SchedulerError

__all__ = ["Connection", "Kind", "connect"]

Kind: TypeAlias = Literal["sync", "threads", "processes", "local", "address"]

KNOWN = "sync, threads[:N], processes[:N], local[:N] or tcp://HOST:PORT"
CONNECT_TIMEOUT = 5.0
"""Seconds that a running scheduler has to answer, and then to show a worker."""
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")

QUIET = {"distributed.worker.profile.enabled": False, "distributed.admin.tick.interval": "500ms"}
"""Settings of a cluster that is started here: a stack sampled 100 times a second costs a worker 2 % of its time."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Connection:
    """Where Dask runs what is computed inside the ``with`` block."""

    kind: Kind
    workers: int | None
    """How many were asked for; None: as many as there are cores, or as the cluster has."""
    address: str = ""
    client: Any | None = None
    """A `distributed.Client`, or None for the schedulers inside this process."""


@contextmanager
def connect(spec: str = "threads", *, timeout: float = CONNECT_TIMEOUT) -> Iterator[Connection]:
    """Make Dask use the scheduler that `spec` names, within a ``with`` block.

    Parameters
    ----------
    spec
        ``sync`` (this thread, for debugging), ``threads[:N]``, ``processes[:N]``, ``local[:N]`` (a cluster of N worker
        processes on this machine) or ``tcp://HOST:PORT`` (a cluster that is already running). Worker processes
        have one thread each: HDF5 reads one at a time in a process, so more threads would wait for each other.
    timeout
        Seconds that a running scheduler has to answer, and to show a first worker.

    Yields
    ------
    Connection
        Its ``kind``, and its ``client`` or None.

    Raises
    ------
    ConfigError
        `spec` cannot be read.
    SchedulerError
        Nobody answers at the address, it has no workers, or workers were lost on the way.
    """
    base = parse(spec)
    with ExitStack() as stack:
        match base.kind:
            case "processes":
                yield from _surviving(base, stack.enter_context(_process_pool(base)))
            case "local":
                yield from _surviving(base, stack.enter_context(_local_cluster(base)))
            case "address":
                yield from _surviving(base, stack.enter_context(_running_cluster(base, timeout)))
            case _:
                yield stack.enter_context(_inside(base))


def parse(spec: str) -> Connection:
    """Read `spec` without starting anything; raises `ConfigError` that lists what is known."""
    if re.fullmatch(r"tcp://[^/\s:]+:\d{1,5}|tcp://\[[0-9a-fA-F:.]+\]:\d{1,5}", spec):
        return Connection("address", None, address=spec)
    if "://" in spec:
        raise ConfigError(f"scheduler '{spec}' is not of the form tcp://HOST:PORT")
    found = re.fullmatch(r"(sync|threads|processes|local)(?::(\d+))?", spec)
    if not found or (found[1] == "sync" and found[2]):
        raise ConfigError(f"scheduler '{spec}' is not known; choose {KNOWN}")
    if found[2] and int(found[2]) < 1:
        raise ConfigError(f"scheduler '{spec}' asks for no workers; N must be at least 1")
    kind: Kind = found[1]  # type: ignore[assignment]
    return Connection(kind, int(found[2]) if found[2] else None)


@contextmanager
def _inside(base: Connection) -> Iterator[Connection]:
    import dask

    with dask.config.set(scheduler=base.kind, **({"num_workers": base.workers} if base.workers else {})):
        yield base


@contextmanager
def _process_pool(base: Connection) -> Iterator[Connection]:
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
def _local_cluster(base: Connection) -> Iterator[Connection]:
    import dask
    from distributed import Client, LocalCluster

    with (
        dask.config.set(QUIET),
        LocalCluster(
            n_workers=base.workers or os.cpu_count() or 1,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
    ):
        yield Connection("local", base.workers, cluster.scheduler_address, client)


@contextmanager
def _running_cluster(base: Connection, timeout: float) -> Iterator[Connection]:
    from distributed import Client

    try:
        # A client whose connection fails stays the default one, for which every later computation would wait for ever:
        # the first try is with one that is never the default.
        with Client(base.address, timeout=timeout, set_as_default=False):
            pass
        client = Client(base.address, timeout=timeout)
    except (OSError, TimeoutError) as error:
        raise SchedulerError(
            f"no scheduler answers at {base.address} within {timeout:g} s; is it running, and reachable from here?"
        ) from error
    except Exception as error:  # what distributed raises depends on the bytes that the stranger sent
        raise SchedulerError(
            f"something answers at {base.address}, but it is no Dask scheduler ({type(error).__name__}: {error})"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=timeout)
        except TimeoutError as error:
            raise SchedulerError(
                f"the scheduler at {base.address} has no workers after {timeout:g} s; start some and run this again"
            ) from error
        crowded = [n for n in client.nthreads().values() if n > 1]
        if crowded:
            logger.warning(
                "%d workers have more than one thread; HDF5 reads one at a time in a process: "
                "start them with --nthreads 1",
                len(crowded),
            )
        yield Connection("address", None, base.address, client)


def _surviving(base: Connection, connection: Connection) -> Iterator[Connection]:
    """Yield, and say in one line what happened when workers or the scheduler are lost on the way."""
    try:
        yield connection
    except BrokenExecutor as error:
        raise SchedulerError(
            f"a worker process of '{base.kind}' died; most often memory ran out: use fewer processes or smaller chunks"
        ) from error
    except BaseException as error:
        if connection.client is not None and _lost(error):
            where = connection.address or base.kind
            raise SchedulerError(f"the cluster at {where} lost its workers or its scheduler: {error}") from error
        raise


def _lost(error: BaseException) -> bool:
    from distributed import CancelledError, KilledWorker
    from distributed.comm import CommClosedError
    from distributed.scheduler import NoWorkerError

    return isinstance(error, CancelledError | KilledWorker | CommClosedError | NoWorkerError)
