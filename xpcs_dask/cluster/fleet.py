"""Worker jobs: submitted, counted, replaced when they are lost, and given up when they fail again and again."""

from __future__ import annotations

import logging
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from xpcs_dask.cluster.batch import JobState, Queue, log_tail
from xpcs_dask.cluster.job_script import logs_of, worker_script
from xpcs_dask.cluster.profile import Profile
from xpcs_dask.errors import SchedulerError

__all__ = ["JobFleet"]

logger = logging.getLogger(__name__)

STEADY = 30.0
"""Seconds that a worker must have been there for its job not to count as failed."""
ASK_WHOLE, ASK_SHORT = 60.0, 5.0
"""Seconds between two questions to the batch system, while all workers are there and while some are missing."""
START = 300.0
"""Seconds that a running job may take to show a worker; Python starts slowly from a busy file system."""
FORGOTTEN = 3
"""Answers in a row in which the batch system does not know a job, until that job is believed to be over."""
SILENT = 300.0
"""Seconds without any worker and without an answer of the batch system after which a run is given up."""
SHOWN = 20
"""Lines of the log of a failed job that are logged; the last three are in the error."""


PENDING = JobState("pending")


@dataclass
class _Job:
    """One worker job, as it was seen."""

    id: str
    name: str
    state: JobState = PENDING
    worker_since: float | None = None
    """When its first worker was seen."""
    running_since: float | None = None
    """Since when it runs, as the batch system says, without a worker."""
    unknown: int = 0
    steady: bool = False


class JobFleet:
    """Workers in jobs of a batch system.

    Parameters
    ----------
    profile
        How many there should be, and what each asks for.
    queue
        The batch system.
    scheduler
        The `distributed.Scheduler` of this process to which they come.
    security
        Of `distributed`, or None.
    clock
        Seconds, for tests.
    """

    def __init__(
        self,
        profile: Profile,
        queue: Queue,
        scheduler: Any,
        security: Any = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._profile, self._queue, self._scheduler, self._security = profile, queue, scheduler, security
        self._clock, self._name, self._number = clock, f"xpcs-{uuid4().hex[:6]}", 0
        self._jobs: list[_Job] = []
        self._failed, self._last = 0, ""
        self._some = self._heard = self._asked = clock()

    def living(self) -> int:
        """Return how many workers the scheduler has now."""
        return len(self._scheduler.workers)

    def submit(self, jobs: int) -> None:
        """Hand in that many jobs; `SchedulerError` with the words of the batch system if it refuses one."""
        for _ in range(jobs):
            self._number += 1
            name = f"{self._name}-{self._number}"
            text = worker_script(self._profile, self._scheduler.address, name, self._security)
            with tempfile.TemporaryDirectory() as folder:
                script = Path(folder) / f"{name}.sh"
                script.write_text(text)
                job = _Job(self._queue.submit(script, Path.cwd()), name)
            self._jobs.append(job)
            logger.info("worker job %s submitted", job.id)

    def cancel(self) -> None:
        """End all jobs, those that wait too."""
        try:
            self._queue.cancel([job.id for job in self._jobs])
        except SchedulerError as error:
            logger.warning("worker jobs could not be cancelled (%s); without a scheduler they end by themselves", error)

    def waiting(self) -> str:
        """How the jobs are, in the words of the batch system."""
        found = Counter(f"{job.state.word or job.state.state} {job.state.reason}".strip() for job in self._jobs)
        return ", ".join(f"{number} {'job' if number == 1 else 'jobs'} {words}" for words, number in found.items())

    def look(self) -> None:
        """Replace what is lost.

        Raises
        ------
        SchedulerError
            No worker is left, and jobs failed ``failures`` times in a row, or none started within ``queue_timeout``.
        """
        now = self._clock()
        self._count(now)
        if self._ask(now):
            for job in list(self._jobs):
                self._judge(job, now)
        self._replace()
        if not self.living():
            self._lose_hope(now)

    def _count(self, now: float) -> None:
        names = {str(worker.name) for worker in list(self._scheduler.workers.values())}
        alive = names | {name.rpartition("-")[0] for name in names}
        if names:
            self._some = now
        for job in self._jobs:
            if job.name not in alive:
                continue
            job.running_since, job.worker_since = None, job.worker_since or now
            if not job.steady and now - job.worker_since >= STEADY:
                job.steady, self._failed = True, 0

    def _ask(self, now: float) -> bool:
        """Ask for the states of all jobs if it is time to."""
        whole = self.living() >= self._profile.jobs * self._profile.processes
        if now - self._asked < (ASK_WHOLE if whole else ASK_SHORT):
            return False
        self._asked = now
        try:
            states = self._queue.states([job.id for job in self._jobs])
        except SchedulerError as error:
            logger.warning("the batch system does not say how the worker jobs are: %s", error)
            return False
        self._heard = now
        for job in self._jobs:
            job.state = states.get(job.id, JobState("unknown"))
        return True

    def _judge(self, job: _Job, now: float) -> None:
        job.unknown = job.unknown + 1 if job.state.state == "unknown" else 0
        if job.state.over or job.unknown >= FORGOTTEN:
            self._lost(job, job.state.word or "forgotten by the batch system")
        elif job.state.state == "running" and job.worker_since is None:
            job.running_since = job.running_since or now
            if now - job.running_since > START:
                self._queue.cancel([job.id])
                self._lost(job, f"running for {START:g} s without a worker")

    def _lost(self, job: _Job, how: str) -> None:
        self._jobs.remove(job)
        said = f"{how} ({job.state.reason})" if job.state.reason else how
        if job.steady or (job.worker_since is not None and job.state.state == "ended"):
            logger.info("worker job %s is over: %s", job.id, said)
            return
        self._failed += 1
        log, tail = self._tail(job.id)
        short = " | ".join([line for line in tail.splitlines() if " - INFO - " not in line][-3:])
        self._last = f"job {job.id}: {said}" + (f"; {log} ends: {short}" if short else f"; no log at {log}")
        logger.warning("worker job %s failed: %s%s", job.id, said, f"; {log} ends:\n{tail}" if tail else "")

    def _tail(self, job: str) -> tuple[Path, str]:
        logs = logs_of(self._profile, job)
        return next(((log, tail) for log in logs if (tail := log_tail(log, SHOWN).strip())), (logs[0], ""))

    def _replace(self) -> None:
        missing = self._profile.jobs - len(self._jobs)
        if missing < 1 or self._failed >= self._profile.failures:
            return
        try:
            self.submit(missing)
        except SchedulerError as error:
            self._failed, self._last = self._failed + 1, str(error)
            logger.warning("no worker job in place of a lost one: %s", error)

    def _lose_hope(self, now: float) -> None:
        dark = now - self._some
        if self._failed >= self._profile.failures:
            raise SchedulerError(f"{self._failed} worker jobs failed one after the other; {self._last}")
        if now - max(self._heard, self._some) > SILENT:
            raise SchedulerError(f"no worker, and no answer of {self._profile.system} for {SILENT:g} s")
        if dark > self._profile.queue_timeout:
            raise SchedulerError(
                f"no worker for {self._profile.queue_timeout:g} s (queue_timeout): {self.waiting()}; give it more "
                "time, another queue or fewer resources"
            )
