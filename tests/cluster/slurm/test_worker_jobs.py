"""Workers in jobs of a real Slurm: lost, refused, failing, waiting, and at the end of their lifetime."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import dask
import pytest
import xarray as xr

import xpcs_dask as xd
from tests.cluster.certificates import authority, certificate
from xpcs_dask.cluster import connect, fleet, watchdog
from xpcs_dask.errors import SchedulerError
from xpcs_dask.simulate.files import write_series

pytestmark = [pytest.mark.slurm, pytest.mark.filterwarnings("ignore::ResourceWarning")]

SETTINGS = {"workers": 2, "memory": "512MiB", "interface": "lo", "walltime": "00:10:00"}
WORKER = "xpcs-dask-worker"


@pytest.fixture
def here(slurm, tmp_path, monkeypatch):
    """Work in a folder of the test, and look after the workers often."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(watchdog, "EVERY", 0.5)
    monkeypatch.setattr(fleet, "ASK_SHORT", 1.0)
    return tmp_path


def until(condition, seconds=60):
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not come to that"
        time.sleep(0.1)


def workers_of(slurm):
    return [job for job, (name, state) in slurm.jobs().items() if name == WORKER and state == "RUNNING"]


def test_a_worker_job_is_cancelled_and_the_bits_are_those_of_threads(slurm, here):
    write_series(here / "files", 24, seed=3)
    job = {"inputs": "files", "chunks": 1, "bootstrap": {"resamples": 12_000, "seed": 2}, "cache": False}
    cancelled, seen = [], set()

    def cancel(state):
        running = workers_of(slurm)
        seen.update(running)
        if not cancelled and len(running) == 2 and state.stage == "fitting" and state.blocks_done:
            cancelled.append(running[0])
            slurm.ask("scancel", running[0])

    manifest = xd.run(job, output="slurm.zarr", scheduler="slurm", cluster=SETTINGS, progress=cancel)
    assert cancelled
    assert len(seen) == 3  # two, and one in place of the cancelled
    assert not workers_of(slurm)  # none is left behind
    assert manifest.counts.files == 24
    assert sum(manifest.work.workers.values()) == manifest.work.blocks
    xd.run(job, output="threads.zarr", scheduler="threads:1")
    found, expected = (xd.open_results(here / f"{name}.zarr").load() for name in ("slurm", "threads"))
    xr.testing.assert_equal(found, expected)


def fit(here, *settings):
    flags = [f"--cluster={name}={value}" for name, value in SETTINGS.items()] + [f"--cluster={s}" for s in settings]
    command = [
        sys.executable,
        "-c",
        "from xpcs_dask.cli import main; main()",
        "fit",
        "files",
        "--scheduler",
        "slurm",
        *flags,
    ]
    return subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=90, check=False)


def test_a_wrong_partition_is_said_at_once(slurm, here):
    write_series(here / "files", 1)
    done = fit(here, "queue=nonesuch")
    assert done.returncode == 7, done.stderr
    assert done.stderr.splitlines()[-1].startswith("xpcs-dask: error: sbatch refused: ")
    assert "invalid partition" in done.stderr
    assert not slurm.jobs()


def test_jobs_that_fail_at_their_start_end_the_run_with_their_log(slurm, here):
    write_series(here / "files", 1)
    done = fit(here, "prologue=echo no such module: anaconda >&2; exit 3", "failures=2")
    assert done.returncode == 7, done.stderr
    last = done.stderr.splitlines()[-1]
    assert "2 worker jobs failed one after the other" in last
    assert "no such module: anaconda" in last
    assert "FAILED" in last
    assert not slurm.jobs()


def test_jobs_that_wait_are_told_from_those_that_run(slurm, here):
    script = here / "full.sh"
    script.write_text("#!/bin/sh\n#SBATCH -N 2 --exclusive -t 5 -o /dev/null\nsleep 300\n")
    slurm.ask("sbatch", str(script))
    until(lambda: [state for _, state in slurm.jobs().values()] == ["RUNNING"])
    with (
        pytest.raises(SchedulerError, match=r"no worker for 6 s \(queue_timeout\): 1 job PENDING Resources"),
        connect("slurm", {**SETTINGS, "queue_timeout": 6}),
    ):
        raise AssertionError("must not get here")
    assert [name for name, _ in slurm.jobs().values()] == ["full.sh"]


def test_a_worker_ends_before_its_job_does_and_another_takes_its_place(slurm, here):
    short = {"workers": 1, "walltime": "00:00:20", "margin": 5, "task_seconds": 1}
    with connect("slurm", {**SETTINGS, **short}) as connection:
        first, [job] = set(connection.client.nthreads()), workers_of(slurm)
        until(lambda: set(connection.client.nthreads()) - first)
        assert job not in workers_of(slurm)
        assert connection.client.submit(slowly(), 7).result(30) == 49
    log = (slurm.run / "jobcomp.txt").read_text()
    assert [line for line in log.splitlines() if f"JobId={job} " in line and "JobState=COMPLETED" in line]


def test_workers_in_jobs_are_reached_over_tls(slurm, here):
    tls = certificate(here, "all", authority(here))
    settings = {"workers": 2, "processes": 2, **{f"tls.{name}": path for name, path in tls.items()}}
    with connect("slurm", {**SETTINGS, **settings}) as connection:
        connection.client.wait_for_workers(2, timeout=60)
        assert len(workers_of(slurm)) == 1
        assert all(address.startswith("tls://127.0.0.1:") for address in connection.client.nthreads())
        assert connection.client.submit(pow, 2, 5).result(30) == 32
        limits = [worker["memory_limit"] for worker in connection.client.scheduler_info()["workers"].values()]
    assert limits == [512 * 2**20] * 2
    assert "MinMemoryNode=1138M" in connection_job(slurm)


def connection_job(slurm):
    """Return what Slurm says about the last job."""
    return slurm.ask("scontrol", "show", "job").strip().split("\n\n")[-1].replace("\n", " ")


def slowly():
    """Make a function that workers get by value: they do not have this module."""

    def slow_square(number):
        time.sleep(0.3)
        return number * number

    return slow_square


def test_what_waits_for_results_fails_when_no_job_can_replace_the_lost_ones(slurm, here):
    """Any computation, not only a stream, which asks for the number of workers itself."""
    work = [dask.delayed(slowly(), pure=False)(k) for k in range(2000)]

    def lose_all():
        slurm.ask("scontrol", "update", "partitionname=debug", "state=inactive")  # takes no more jobs
        slurm.ask("scancel", *workers_of(slurm))

    threading.Timer(8, lose_all).start()
    try:
        with (
            pytest.raises(SchedulerError, match=r"worker jobs failed one after the other; sbatch refused.*partition"),
            connect("slurm", {**SETTINGS, "workers": 1, "failures": 2}),
        ):
            dask.compute(work)
    finally:
        slurm.ask("scontrol", "update", "partitionname=debug", "state=up")
    assert not workers_of(slurm)
