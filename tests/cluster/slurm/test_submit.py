"""Jobs of `xpcs-dask submit` on a real Slurm: the bits of a local run, whatever happens on the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import xpcs_dask as xd
from tests.batch_programs import ROOT
from xpcs_dask.jobs.progress import status
from xpcs_dask.jobs.submission import find_submission
from xpcs_dask.results.run import Unfinished
from xpcs_dask.simulate.files import write_series

pytestmark = pytest.mark.slurm

SMALL = ["--cluster", "memory=1GiB", "--cluster", "driver_memory=1GiB"]
TWO_NODES = [*SMALL, "--nodes", "2", "--workers", "4"]
LONG = ["--chunks", "2", "--bootstrap", "20000", "--no-cache"]
"""Options that make some 100 blocks of a tenth of a second."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_series(tmp_path_factory.mktemp("results"), 200, seed=5, q=np.array([0.005, 0.009]), frames=20_000)


@pytest.fixture(scope="module")
def plain(files, tmp_path_factory):
    return run_here(tmp_path_factory.mktemp("plain"), files, "--chunks", "5")


@pytest.fixture(scope="module")
def long(files, tmp_path_factory):
    return run_here(tmp_path_factory.mktemp("long"), files, *LONG)


def call(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "xpcs_dask", *map(str, arguments)],
        cwd=folder, capture_output=True, text=True, timeout=200, check=False,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"},
    )  # fmt: skip


def run_here(folder, files, *options):
    done = call(folder, "fit", files[0].parent, "-o", "fits.zarr", "--scheduler", "threads:2", *options)
    assert done.returncode == 0, done.stderr
    return folder / "fits.zarr"


def submit(folder, files, *options):
    done = call(folder, "submit", files[0].parent, "-o", "fits.zarr", *options)
    assert done.returncode == 0, done.stderr
    return find_submission(folder / "fits.zarr")


def when(condition, seconds=120):
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it takes too long"
        time.sleep(0.1)


def wait(job, *words, seconds=120):
    """Wait until the job is as one of `words` say, and give its last status."""
    ends = time.monotonic() + seconds
    while (found := status(job)).state not in words:
        assert found.state in ("pending", "running"), said(job, found)
        assert time.monotonic() < ends, said(job, found)
        time.sleep(0.5)
    return found


def said(job, found):
    return f"{found}\n" + "\n".join(log.read_text() for log in sorted(Path(job.folder).glob("*.log")))


def blocks(job):
    found = Unfinished(Path(job.output)).counts()
    return 0 if found is None else found[0]


def same(job, local):
    """The same bits, and a manifest that differs in where, when, and by whom."""
    found, known = (xd.open_results(store) for store in (job.output, local))
    assert list(found.groups) == list(known.groups)
    for name in known.groups:
        for key, values in known[name].to_dataset().variables.items():
            assert values.to_numpy().tobytes() == found[name][key].to_numpy().tobytes(), key
    one, other = (json.loads(Path(f"{store}.manifest.json").read_text()) for store in (job.output, local))
    assert {key for key, value in one["config"].items() if value != other["config"][key]} == {"scheduler", "cluster"}
    for key in ("inputs", "rejected", "counts", "seed", "versions", "results_schema", "stack", "cpu_target"):
        assert one[key] == other[key], key
    return xd.Manifest.read(f"{job.output}.manifest.json")


def test_two_nodes_fit_200_files_in_one_allocation(slurm, files, plain, tmp_path):
    job = submit(tmp_path, files, *TWO_NODES, "--chunks", "5")
    found = wait(job, "finished")
    assert (found.exit_code, found.jobs) == (0, job.ids)
    nodes = slurm.ask("scontrol", "show", "job", job.ids[0])
    assert "NumNodes=2" in nodes
    # The two nodes of the test are one machine: what tells workers apart is their process.
    assert len(same(job, plain).work.workers) == 4
    assert slurm.jobs() == {}


@pytest.mark.parametrize("mode", ["allocation", "workers"])
def test_a_run_that_the_batch_system_stops_goes_on_to_the_same_bits(slurm, files, long, tmp_path, mode):
    """As before the end of the walltime: the batch script gets SIGTERM. Not requeued, which takes Slurm 2 minutes."""
    options = TWO_NODES if mode == "allocation" else [*SMALL, "--workers", "2"]
    job = submit(tmp_path, files, *LONG, "--mode", mode, *options, "--cluster", "directives=--no-requeue")
    when(lambda: blocks(job) >= 3)
    slurm.ask("scancel", "--batch", "--signal=TERM", job.ids[0])
    found = wait(job, "finished")
    assert len(found.jobs) == 2
    assert "ExitCode=75:0" in slurm.ask("scontrol", "show", "job", job.ids[0])
    manifest = same(job, long)
    assert 3 <= manifest.work.before < 100
    assert manifest.work.blocks == 100
    when(lambda: slurm.jobs() == {}, 30)


def test_a_run_that_must_not_go_on_by_itself_goes_on_when_it_is_submitted_again(slurm, files, long, tmp_path):
    job = submit(tmp_path, files, *LONG, *TWO_NODES, "--cluster", "requeue=false")
    when(lambda: blocks(job) >= 3)
    slurm.ask("scancel", "--batch", "--signal=TERM", job.ids[0])
    found = wait(job, "stopped")
    assert (found.exit_code, found.jobs) == (75, job.ids)
    assert 3 <= found.blocks_done < found.blocks == 100
    job = submit(tmp_path, files, *LONG, *TWO_NODES)
    wait(job, "finished")
    assert same(job, long).work.before >= 3


def test_a_cancelled_job_does_not_go_on(slurm, files, tmp_path):
    job = submit(tmp_path, files, *LONG, *TWO_NODES)
    when(lambda: blocks(job) >= 1)
    assert call(tmp_path, "cancel", "fits.zarr").stdout == f"Cancelled: {job.ids[0]}\n"
    found = wait(job, "cancelled")
    assert found.blocks_done >= 1
    when(lambda: slurm.jobs() == {}, 30)
    assert find_submission(tmp_path / "fits.zarr").jobs == job.ids


def test_a_wrong_partition_is_one_line_and_exit_7(slurm, files, tmp_path):
    done = call(tmp_path, "submit", files[0].parent, "--queue", "nowhere")
    assert done.returncode == 7
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("xpcs-dask: error: sbatch refused: invalid partition specified: nowhere")
    assert list(tmp_path.iterdir()) == []


def test_a_job_that_asks_for_too_much_waits_and_says_why(slurm, files, tmp_path):
    first = submit(tmp_path, files, *LONG, *TWO_NODES, "--cluster", "directives=--exclusive")
    wait(first, "running")
    (tmp_path / "second").mkdir()
    second = submit(tmp_path / "second", files, *TWO_NODES, "--cluster", "directives=--exclusive")
    when(lambda: "(PENDING: Resources)" in status(second).said, 30)
    assert call(tmp_path, "cancel", "second/fits.zarr").returncode == 0
    assert wait(second, "cancelled").exit_code == 0


def test_a_job_that_fails_shows_the_end_of_its_log(slurm, files, tmp_path):
    bad = tmp_path / "bad.hdf"
    bad.write_bytes(b"no file of this kind")
    done = call(tmp_path, "submit", bad, "-o", "my fits.zarr", *SMALL, "--workers", "1")
    assert done.returncode == 0, done.stderr
    found = wait(find_submission(tmp_path / "my fits.zarr"), "failed", seconds=60)
    assert found.exit_code == 3
    assert any("bad.hdf" in line for line in found.log_tail)


@pytest.mark.slow
@pytest.mark.skipif("XPCS_DASK_NIGHTLY" not in os.environ, reason="takes 3 minutes; XPCS_DASK_NIGHTLY=1 runs it")
def test_before_the_end_of_its_walltime_a_job_is_requeued_by_slurm(slurm, files, long, tmp_path):
    """Two minutes pass before Slurm starts a job again."""
    resamples = ["--chunks", "2", "--bootstrap", "500000", "--no-cache"]
    walltime = ["--walltime", "00:01:30", "--cluster", "margin=20", "--cluster", "task_seconds=10"]
    job = submit(tmp_path, files, *resamples, *walltime, *SMALL, "--workers", "1")
    when(lambda: '"exit_code": 75' in read(Path(job.folder) / "result.json"), 150)
    first = blocks(job)
    assert first >= 1
    assert status(job).state in ("pending", "running")  # its first turn may still be ending
    when(lambda: {"Restarts=1", "JobState=RUNNING"} <= set(slurm.ask("scontrol", "show", "job", *job.ids).split()), 200)
    when(lambda: blocks(job) > first, 60)
    assert status(job).jobs == job.ids
    assert call(tmp_path, "cancel", "fits.zarr").returncode == 0


def read(path):
    return path.read_text() if path.exists() else ""
