"""Work in jobs of a batch system: the scheduler here, workers in jobs that a watchdog keeps complete."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from xpcs_dask.cluster.batch import queue_of
from xpcs_dask.cluster.connection import LOCAL_DASHBOARD, QUIET, Connection
from xpcs_dask.cluster.fleet import JobFleet
from xpcs_dask.cluster.interfaces import check_interface
from xpcs_dask.cluster.job_script import worker_script
from xpcs_dask.cluster.profile import Profile
from xpcs_dask.cluster.scratch import fault_of, scratch_here
from xpcs_dask.cluster.security import SCHEDULER, security_for
from xpcs_dask.cluster.watchdog import Watchdog

__all__ = ["worker_jobs"]

logger = logging.getLogger(__name__)


@contextmanager
def worker_jobs(profile: Profile) -> Iterator[Connection]:
    """Submit worker jobs, wait for the first worker, and cancel all jobs in the end.

    Raises
    ------
    ConfigError
        dask-jobqueue is missing, or an interface, a file of TLS or the folder of logs cannot be used.
    SchedulerError
        The batch system refuses a job, jobs fail one after the other, or none starts within ``queue_timeout``.
    """
    import dask
    from distributed import Client, Scheduler
    from distributed.deploy.spec import SpecCluster

    interface = profile.scheduler_interface or profile.interface
    check_interface(interface, "scheduler_interface" if profile.scheduler_interface else "interface")
    protocol = "tls://" if profile.tls else "tcp://"
    security = security_for(protocol, profile.tls, SCHEDULER)
    worker_script(profile, f"{protocol}scheduler:0", "check", security)
    options = {"protocol": protocol, "interface": interface, "port": 0, "dashboard_address": LOCAL_DASHBOARD}
    with (
        dask.config.set(QUIET),
        SpecCluster(
            scheduler={"cls": Scheduler, "options": {**options, "security": security}},
            workers={},
            security=security,
            silence_logs=logging.WARNING,
        ) as cluster,
        Client(cluster) as client,
    ):
        fleet = JobFleet(profile, queue_of(profile.system), cluster.scheduler, security)
        watchdog = Watchdog(fleet, client)
        try:
            fleet.submit(profile.jobs)
            watchdog.start()
            _wait_for_worker(fleet, watchdog)
            _warn_of_scratch(client, profile)
            yield Connection(profile.system, profile.workers, cluster.scheduler_address, client)
        finally:
            watchdog.stop()
            fleet.cancel()


def _wait_for_worker(fleet: JobFleet, watchdog: Watchdog) -> None:
    told = time.monotonic()
    while not fleet.living():
        watchdog.check()
        time.sleep(0.2)
        if time.monotonic() - told > 30:
            told = time.monotonic()
            logger.info("no worker yet: %s", fleet.waiting())


def _warn_of_scratch(client: Any, profile: Profile) -> None:
    """Look at the disk for spilled data where the first worker is."""
    with suppress(Exception):  # a look that fails is no reason not to work
        fault = client.submit(_fault_on_node, profile.local_directory, pure=False).result(timeout=30)
        if fault:
            logger.warning("spilled data: %s; choose a local disk with local_directory", fault)


def _fault_on_node(given: str | None) -> str:
    return fault_of(scratch_here(given))
