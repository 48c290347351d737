"""One word says where the work runs; `connect` makes it so, and undoes it afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from concurrent.futures import BrokenExecutor
from contextlib import AbstractContextManager, contextmanager

from xpcs_dask.cluster.connection import Connection, Kind
from xpcs_dask.cluster.spec import parse
from xpcs_dask.cluster.watchdog import watchdog_of
from xpcs_dask.errors import SchedulerError

__all__ = ["Connection", "Kind", "connect", "parse"]


@contextmanager
def connect(
    spec: str = "threads", settings: Mapping[str, object] | None = None, *, timeout: float | None = None
) -> Iterator[Connection]:
    """Make Dask use the scheduler that `spec` names, within a ``with`` block.

    Parameters
    ----------
    spec
        ``sync`` (this thread, for debugging), ``threads[:N]``, ``processes[:N]``, ``local[:N]`` (a cluster of N worker
        processes on this machine), ``tcp://HOST:PORT``, ``tls://HOST:PORT`` or ``file:SCHEDULER.json`` (a cluster that
        is already running), ``slurm[:PROFILE]`` or ``pbs[:PROFILE]`` (workers in jobs of a batch system). Worker
        processes have one thread each: HDF5 reads one at a time in a process, so more would wait for each other.
    settings
        Settings of the cluster by name, put on top of those of Dask's configuration (docs/cluster.md).
    timeout
        Seconds that a running scheduler has to answer, and to show its workers.

    Yields
    ------
    Connection
        Its ``kind``, and its ``client`` or None.

    Raises
    ------
    ConfigError
        `spec` or a setting cannot be read, or files of TLS cannot be used.
    SchedulerError
        Nobody answers at the address, it has no workers, jobs are refused or fail, or workers were lost for good.
    """
    base = parse(spec, settings)
    with _opened(base, spec, settings, timeout) as connection:
        yield from _surviving(base, connection)


def _opened(
    base: Connection, spec: str, settings: Mapping[str, object] | None, timeout: float | None
) -> AbstractContextManager[Connection]:
    match base.kind:
        case "processes":
            from xpcs_dask.cluster.here import process_pool

            return process_pool(base)
        case "local":
            from xpcs_dask.cluster.here import local_cluster
            from xpcs_dask.cluster.settings import read_local

            return local_cluster(base, read_local(settings))
        case "address" | "file":
            from xpcs_dask.cluster.running import running_cluster
            from xpcs_dask.cluster.settings import read_running

            return running_cluster(base, read_running(settings), timeout)
        case "slurm" | "pbs":
            from xpcs_dask.cluster.jobqueue import worker_jobs
            from xpcs_dask.cluster.profile import read_profile

            return worker_jobs(read_profile(spec, settings))
        case _:
            from xpcs_dask.cluster.here import inside

            return inside(base)


def _surviving(base: Connection, connection: Connection) -> Iterator[Connection]:
    """Yield, and say in one line what happened when workers or the scheduler are lost on the way."""
    try:
        yield connection
    except BrokenExecutor as error:
        raise SchedulerError(
            f"a worker process of '{base.kind}' died; most often memory ran out: use fewer processes or smaller chunks"
        ) from error
    except SchedulerError:
        raise
    except (Exception, asyncio.CancelledError) as error:
        if connection.client is not None:
            if (watchdog := watchdog_of(connection.client)) is not None:
                watchdog.check()
            if _lost(error) or connection.client.status != "running":
                where = connection.address or base.kind
                raise SchedulerError(f"the cluster at {where} lost its workers or its scheduler: {error}") from error
        raise


def _lost(error: BaseException) -> bool:
    from distributed import CancelledError, KilledWorker
    from distributed.comm import CommClosedError
    from distributed.scheduler import NoWorkerError

    return isinstance(error, CancelledError | KilledWorker | CommClosedError | NoWorkerError)
