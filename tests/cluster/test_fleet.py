"""Worker jobs beside a batch system and a scheduler that do what they are told, by a clock of the test."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from xpcs_dask.cluster import fleet as module
from xpcs_dask.cluster.batch import JobState
from xpcs_dask.cluster.fleet import JobFleet
from xpcs_dask.cluster.profile import read_profile
from xpcs_dask.errors import SchedulerError

RUNS, WAITS = JobState("running", "RUNNING"), JobState("pending", "PENDING", "Resources")
CANCELLED, FAILS = JobState("failed", "CANCELLED"), JobState("failed", "FAILED", "NonZeroExitCode", 1)
ENDS = JobState("ended", "COMPLETED", exit_code=0)


class Queue:
    """Numbers jobs from 1; what happens to them is written into `said`."""

    system = "slurm"

    def __init__(self):
        self.scripts, self.said, self.cancelled = [], {}, []
        self.refusal = self.silence = None
        self.asked = 0

    def submit(self, script, folder):
        if self.refusal:
            raise SchedulerError(self.refusal)
        self.scripts.append(script.read_text())
        self.said[str(len(self.scripts))] = WAITS
        return str(len(self.scripts))

    def states(self, ids):
        self.asked += 1
        if self.silence:
            raise SchedulerError(self.silence)
        return {job: self.said[job] for job in ids}

    def cancel(self, ids):
        self.cancelled += ids


class Cluster:
    """A fleet, its surroundings, and their clock."""

    def __init__(self, **settings):
        self.profile = read_profile("slurm", {"workers": 2, "log_directory": "logs", **settings})
        self.queue, self.now = Queue(), 0.0
        self.scheduler = SimpleNamespace(address="tcp://a:1", workers={})
        self.fleet = JobFleet(self.profile, self.queue, self.scheduler, clock=lambda: self.now)

    def run(self, *jobs, processes=1):
        """Let jobs run and show their workers."""
        for job in jobs:
            name = self.queue.scripts[int(job) - 1].split("--name ")[1].split()[0]
            names = [name] if processes == 1 else [f"{name}-{k}" for k in range(processes)]
            self.queue.said[job] = RUNS
            self.scheduler.workers.update({f"{job}-{k}": SimpleNamespace(name=name) for k, name in enumerate(names)})

    def lose(self, job, state):
        self.queue.said[job] = state
        for address in [address for address in self.scheduler.workers if address.startswith(f"{job}-")]:
            del self.scheduler.workers[address]

    def look(self, seconds=6.0):
        self.now += seconds
        self.fleet.look()


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def cluster():
    found = Cluster()
    found.fleet.submit(2)
    return found


def test_names_of_workers_are_all_different(cluster):
    names = [script.split("--name ")[1].split()[0] for script in cluster.queue.scripts]
    assert len(set(names)) == 2


def test_while_all_is_well_the_batch_system_is_left_alone(cluster):
    cluster.run("1", "2")
    cluster.look()
    asked = cluster.queue.asked
    for _ in range(9):
        cluster.look(5)
    assert cluster.queue.asked == asked
    cluster.look(20)
    assert cluster.queue.asked == asked + 1
    assert len(cluster.queue.scripts) == 2


@pytest.mark.parametrize("state", [CANCELLED, FAILS, ENDS, JobState("failed", "NODE_FAIL")])
def test_a_lost_job_is_replaced(cluster, state):
    cluster.run("1", "2")
    cluster.look()
    cluster.lose("1", state)
    cluster.look()
    assert len(cluster.queue.scripts) == 3
    cluster.look()
    assert len(cluster.queue.scripts) == 3  # once


def test_several_workers_of_a_job_count_as_one_job():
    cluster = Cluster(workers=4, processes=2)
    cluster.fleet.submit(2)
    cluster.run("1", "2", processes=2)
    for _ in range(40):
        cluster.look(20)
    assert len(cluster.queue.scripts) == 2
    assert cluster.fleet.living() == 4


def test_a_job_that_the_queue_forgets_for_a_moment_is_not_lost(cluster):
    cluster.run("2")
    for states in ([JobState("unknown")] * 2, [WAITS], [JobState("unknown")] * 2):
        for state in states:
            cluster.queue.said["1"] = state
            cluster.look()
    assert len(cluster.queue.scripts) == 2
    cluster.look()  # the third time in a row
    assert len(cluster.queue.scripts) == 3


def test_jobs_that_fail_in_a_row_end_it_with_the_end_of_the_log(cluster):
    os.makedirs("logs", exist_ok=True)
    with open("logs/xpcs-dask-worker-3.err", "w") as log:
        log.write("2026-01-01 - distributed.nanny - INFO - Start\nImportError: no module\n" + "x - INFO - End\n" * 5)
    cluster.lose("1", FAILS)
    cluster.look()
    cluster.lose("2", FAILS)
    cluster.look()
    cluster.lose("3", FAILS)
    with pytest.raises(SchedulerError) as caught:
        cluster.look()
    assert "3 worker jobs failed one after the other; job 3: FAILED (NonZeroExitCode)" in str(caught.value)
    assert str(caught.value).endswith("xpcs-dask-worker-3.err ends: ImportError: no module")
    assert caught.value.exit_code == 7


def test_while_a_worker_is_left_failures_only_stop_new_jobs(cluster):
    cluster.run("2")
    cluster.look()
    cluster.look(module.STEADY)
    for job in ("1", "3", "4"):
        cluster.look()
        cluster.lose(job, FAILS)
    for _ in range(5):
        cluster.look()
    assert len(cluster.queue.scripts) == 4
    cluster.lose("2", CANCELLED)
    with pytest.raises(SchedulerError, match="failed one after the other"):
        cluster.look()


def test_a_job_that_worked_for_a_while_is_no_failure_and_ends_the_row(cluster):
    for job in range(1, 20):
        cluster.run(str(job))
        cluster.look(module.STEADY + 1)
        cluster.look(module.STEADY + 1)
        cluster.lose(str(job), CANCELLED)
        cluster.look()
    assert len(cluster.queue.scripts) > 19


def test_only_failures_in_a_row_count(cluster):
    for _ in range(4):
        for _ in range(2):
            last = str(len(cluster.queue.scripts))
            cluster.lose(last, FAILS)
            cluster.look()
        cluster.run(str(len(cluster.queue.scripts)))
        cluster.look()
        cluster.look(module.STEADY)
        cluster.lose(str(len(cluster.queue.scripts)), CANCELLED)
        cluster.look()
    assert len(cluster.queue.scripts) == 2 + 4 * 3


def test_waiting_in_the_queue_is_no_failure_until_its_time_is_over(cluster):
    for _ in range(35):
        cluster.look(100)
    with pytest.raises(SchedulerError, match=r"no worker for 3600 s \(queue_timeout\): 2 jobs PENDING Resources"):
        cluster.look(101)


def test_a_job_that_runs_without_a_worker_is_given_up(cluster):
    cluster.run("2")
    cluster.queue.said["1"] = RUNS
    cluster.look()
    cluster.look(module.START - 1)
    assert not cluster.queue.cancelled
    cluster.look()
    assert cluster.queue.cancelled == ["1"]
    assert len(cluster.queue.scripts) == 3


def test_a_refusal_at_the_start_is_said_at_once(cluster):
    cluster.queue.refusal = "sbatch refused: invalid partition"
    with pytest.raises(SchedulerError, match="invalid partition"):
        cluster.fleet.submit(1)


def test_a_refusal_later_is_tried_again_and_ends_it_if_it_stays(cluster):
    cluster.run("1", "2")
    cluster.look()
    for job in ("1", "2"):
        cluster.lose(job, ENDS)
    cluster.queue.refusal = "sbatch refused: down"
    cluster.look()
    cluster.look()
    with pytest.raises(SchedulerError, match="one after the other; sbatch refused: down"):
        cluster.look()


def test_a_silent_batch_system_is_waited_for_while_there_are_workers(cluster):
    cluster.run("1", "2")
    cluster.look()
    cluster.queue.silence = "squeue did not answer"
    for _ in range(20):
        cluster.look(100)
    for job in ("1", "2"):
        cluster.lose(job, CANCELLED)
    cluster.look(module.SILENT - 1)
    with pytest.raises(SchedulerError, match="no answer of slurm for 300 s"):
        cluster.look()


def test_in_the_end_all_jobs_are_cancelled(cluster):
    cluster.fleet.cancel()
    assert cluster.queue.cancelled == ["1", "2"]
