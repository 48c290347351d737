"""The plain scripts of deploy/slurm, submitted with sbatch as their page says."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import xpcs_dask as xd
from tests.cluster.bits import contents

ROOT = Path(__file__).parents[3]
SCRIPTS = ROOT / "deploy" / "slurm"
SMALL = ("--nodes=2", "--ntasks-per-node=2", "--mem=3000M", "--time=00:05:00", "--parsable")
FILES = 16
BOOTSTRAP = {"resamples": 400, "over": "delay", "seed": 5}
pytestmark = pytest.mark.slurm


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    xd.simulate.write_series(folder / "results", FILES, seed=5, frames=20_000)
    xd.run(settings(folder, "here.zarr"))
    return folder


def settings(folder: Path, name: str) -> dict[str, object]:
    inputs, output = str(folder / "results"), str(folder / name)
    return {"inputs": inputs, "output": output, "bootstrap": BOOTSTRAP, "chunks": 1, "cache": False}


def submit(folder: Path, script: str, *words: str, options: tuple[str, ...] = SMALL) -> str:
    """Hand a script in, and give the id of its job."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    modules = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PATH": path, "PYTHONPATH": modules, "XPCS_INTERFACE": "lo"}
    done = subprocess.run(
        ["sbatch", *options, SCRIPTS / script, *words],
        check=True, capture_output=True, text=True, timeout=30, cwd=folder, env=environment,
    )  # fmt: skip
    return done.stdout.strip()


def state(slurm, job: str) -> str:
    """Return what Slurm says of a job: RUNNING, PENDING, COMPLETED, FAILED, ..."""
    words = slurm.ask("scontrol", "show", "job", job).split()
    return next(word.partition("=")[2] for word in words if word.startswith("JobState="))


def wait(folder: Path, job: str, condition, limit: float = 90) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        log = folder / f"xpcs-fit-{job}.log"
        assert time.monotonic() < deadline, log.read_text() if log.exists() else "the job has no log"
        time.sleep(0.2)


def write_settings(folder: Path, name: str) -> str:
    import yaml

    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(settings(folder, f"{name}.zarr")))
    return file.name


def test_one_allocation_of_two_nodes_gives_the_same_bits(slurm, results):
    job = submit(results, "one_allocation.sh", write_settings(results, "two"))
    wait(results, job, lambda: state(slurm, job) not in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING"))
    log = (results / f"xpcs-fit-{job}.log").read_text()
    assert state(slurm, job) == "COMPLETED", log
    manifest = xd.Manifest.read(results / "two.zarr.manifest.json")
    assert manifest.work.blocks == FILES
    assert len({worker.split("/")[0] for worker in manifest.work.workers}) == 4  # processes
    assert contents(results / "two.zarr") == contents(results / "here.zarr")
    assert not list(results.glob(".xpcs-dask-*"))


def test_a_job_that_is_told_to_stop_is_queued_again_and_what_is_done_is_kept(slurm, results):
    job = submit(results, "one_allocation.sh", write_settings(results, "cut"))
    ledger = results / "cut.zarr.unfinished"
    wait(results, job, lambda: len(list(ledger.glob("run-*/ledger/[0-9]*.json"))) >= 2)
    slurm.ask("scancel", "--signal=TERM", "--batch", job)  # as --signal=B:TERM does before the walltime ends
    wait(results, job, lambda: state(slurm, job) == "PENDING")
    assert f"job {job} is put into the queue again" in (results / f"xpcs-fit-{job}.log").read_text()
    kept = len(list(ledger.glob("run-*/ledger/[0-9]*.json")))
    assert 2 <= kept < FILES
    slurm.ask("scancel", job)  # Slurm itself would wait for two minutes
    manifest = xd.run(settings(results, "cut.zarr"))
    assert manifest.work.before == kept
    assert contents(results / "cut.zarr") == contents(results / "here.zarr")


def test_one_node_gives_the_same_numbers(slurm, results):
    options = ("--cpus-per-task=2", "--mem=3000M", "--time=00:05:00", "--parsable")
    job = submit(results, "one_node.sh", str(results / "results"), "node.zarr", options=options)
    wait(results, job, lambda: state(slurm, job) not in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING"))
    assert state(slurm, job) == "COMPLETED", (results / f"xpcs-fit-{job}.log").read_text()
    xd.run(inputs=str(results / "results"), output=str(results / "node_here.zarr"))
    assert contents(results / "node.zarr") == contents(results / "node_here.zarr")
