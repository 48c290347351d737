"""Work on a cluster that somebody else has started: at an address, or at the one in a scheduler file."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xpcs_dask.cluster.connection import Connection
from xpcs_dask.cluster.security import security_for
from xpcs_dask.cluster.settings import Running
from xpcs_dask.cluster.watchdog import Watchdog
from xpcs_dask.errors import ConfigError, SchedulerError

__all__ = ["CONNECT_TIMEOUT", "RunningFleet", "read_scheduler_file", "running_cluster"]

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT = 5.0
"""Seconds that a running scheduler has to answer, and then to show its workers."""
FILE_TIMEOUT = 60.0
"""The same with a scheduler file, which is often waited for by what is started together with the scheduler."""


@contextmanager
def running_cluster(base: Connection, settings: Running, timeout: float | None = None) -> Iterator[Connection]:
    """Connect to it, and leave it running."""
    seconds = timeout or settings.timeout or (FILE_TIMEOUT if base.kind == "file" else CONNECT_TIMEOUT)
    file = Path(base.address) if base.kind == "file" else None
    address = read_scheduler_file(file, seconds) if file else base.address
    where = f"{address} (from {file})" if file else address
    security = security_for(address, settings.tls)
    with _client(address, where, security, seconds) as client:
        try:
            client.wait_for_workers(settings.workers, timeout=seconds)
        except TimeoutError as error:
            there = len(client.nthreads())
            found = f"{there} of {settings.workers} workers" if there else "no workers"
            raise SchedulerError(
                f"the scheduler at {where} has {found} after {seconds:g} s; start some and run this again"
            ) from error
        crowded = [n for n in client.nthreads().values() if n > 1]
        if crowded:
            logger.warning(
                "%d workers have more than one thread; HDF5 reads one at a time in a process: "
                "start them with --nthreads 1",
                len(crowded),
            )
        watchdog = Watchdog(RunningFleet(client, where, settings.patience), client)
        watchdog.start()
        try:
            yield Connection(base.kind, None, address, client)
        finally:
            watchdog.stop()


def read_scheduler_file(file: Path, timeout: float) -> str:
    """Wait until `file` is there and complete, and give the address in it.

    Raises
    ------
    SchedulerError
        There is no such file within `timeout` seconds.
    ConfigError
        It holds something else than ``dask scheduler --scheduler-file`` writes.
    """
    ends = time.monotonic() + timeout
    while True:
        try:
            content: Any = json.loads(file.read_text())
            break
        except (FileNotFoundError, ValueError) as error:  # not there, or not written to its end
            if time.monotonic() < ends:
                time.sleep(min(0.2, timeout))
                continue
            if isinstance(error, FileNotFoundError):
                raise SchedulerError(
                    f"there is no scheduler file {file} after {timeout:g} s; is the scheduler running, with "
                    f"--scheduler-file {file}?"
                ) from None
            raise ConfigError(f"{file} is no scheduler file: it holds no JSON ({error})") from None
        except OSError as error:
            raise ConfigError(f"scheduler file {file} cannot be read: {error.strerror}") from None
    address = content.get("address") if isinstance(content, dict) else None
    if not isinstance(address, str) or not address.startswith(("tcp://", "tls://")):
        raise ConfigError(f"{file} is no scheduler file: it has no 'address' that starts with tcp:// or tls://")
    return address


def _client(address: str, where: str, security: Any, timeout: float) -> Any:
    from distributed import Client

    try:
        # A client whose connection fails stays the default one, for which every later computation would wait for ever:
        # the first try is with one that is never the default.
        with Client(address, timeout=timeout, set_as_default=False, security=security):
            pass
        return Client(address, timeout=timeout, security=security)
    except (OSError, TimeoutError) as error:
        raise SchedulerError(
            f"no scheduler answers at {where} within {timeout:g} s; is it running, and reachable from here?"
            + (" Does it trust the same CA?" if security else "")
        ) from error
    except Exception as error:  # what distributed raises depends on the bytes that the stranger sent
        raise SchedulerError(
            f"something answers at {where}, but it is no Dask scheduler ({type(error).__name__}: {error})"
        ) from error


class RunningFleet:
    """Workers that belong to others: nobody here can start any, so they are only waited for, `patience` seconds."""

    def __init__(self, client: Any, where: str, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._where, self._patience, self._clock = client, where, patience, clock
        self._living, self._some = sum(client.nthreads().values()), clock()

    def living(self) -> int:
        """Return how many tasks the workers can run, as the last look found."""
        return self._living

    def look(self) -> None:
        """Count, and give up when there has been no worker for too long."""
        try:
            self._living = sum(self._client.nthreads().values())
        except (OSError, TimeoutError):
            self._living = 0
        if self._living:
            self._some = self._clock()
        elif self._clock() - self._some > self._patience:
            raise SchedulerError(
                f"the cluster at {self._where} has had no worker for {self._patience:g} s; what is finished is kept: "
                "start workers and run the same command again"
            )
