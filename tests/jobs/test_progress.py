from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.batch_programs import Programs
from xpcs_dask.engine.ledger import Ledger
from xpcs_dask.errors import SchedulerError
from xpcs_dask.jobs.progress import SAID, status
from xpcs_dask.jobs.submission import Submission
from xpcs_dask.results.run import Unfinished


@pytest.fixture
def programs(tmp_path, monkeypatch):
    return Programs(tmp_path, monkeypatch)


@pytest.fixture
def job(tmp_path):
    folder = tmp_path / "fits.zarr.job"
    folder.mkdir()
    return Submission(
        system="slurm", mode="allocation", profile={}, output=str(tmp_path / "fits.zarr"), start=str(tmp_path),
        folder=str(folder), submitted="2026-01-01T00:00:00+00:00", ids=("41",),
    )  # fmt: skip


def queue(programs, word, reason="None", code="0:0"):
    forgotten = "echo 'Invalid job id specified' >&2; exit 1"
    programs.add("squeue", f"echo '41|{word}|{reason}'" if word else forgotten)
    programs.add("scontrol", f"echo 'JobState={word} Reason={reason} ExitCode={code}'" if word else forgotten)


def ended(job, code, of="41"):
    result = {"exit_code": code, "job": of, "begun": "", "ended": "", "next": ""}
    (Path(job.folder) / "result.json").write_text(json.dumps(result))


@pytest.mark.parametrize(
    ("word", "code", "result", "cancelled", "state", "exit_code"),
    [
        ("PENDING", "0:0", None, False, "pending", None),
        ("RUNNING", "0:0", None, False, "running", None),
        ("RUNNING", "0:0", 75, False, "running", None),  # the result is that of the turn before
        ("COMPLETED", "0:0", 0, False, "finished", 0),
        ("", "", 0, False, "finished", 0),
        ("COMPLETED", "0:0", 0, True, "finished", 0),  # too late to cancel it
        ("FAILED", "75:0", 75, False, "stopped", 75),
        ("", "", 75, False, "stopped", 75),
        ("FAILED", "3:0", 3, False, "failed", 3),
        ("", "", 7, False, "failed", 7),
        ("TIMEOUT", "0:15", None, False, "failed", 143),
        ("CANCELLED", "0:15", None, False, "cancelled", 143),
        ("CANCELLED", "0:0", 75, False, "cancelled", 75),
        ("FAILED", "75:0", 75, True, "cancelled", 75),
        ("", "", None, True, "cancelled", None),
        ("", "", None, False, "unknown", None),
    ],
)
def test_how_a_job_is(programs, job, word, code, result, cancelled, state, exit_code):
    queue(programs, word, code=code)
    if result is not None:
        ended(job, result)
    if cancelled:
        (Path(job.folder) / "cancelled").touch()
    found = status(job)
    assert (found.state, found.exit_code, found.queue_word) == (state, exit_code, word)
    assert found.said.startswith(SAID[state])


def test_how_another_job_ended_does_not_count(programs, job):
    queue(programs, "")
    ended(job, 0, of="40")
    assert status(job).state == "unknown"
    (Path(job.folder) / "jobs.txt").write_text("40\n")
    assert (status(job).job, status(job).state) == ("40", "finished")


def test_the_reason_is_told(programs, job):
    queue(programs, "PENDING", "Resources")
    assert status(job).said == "waits in the queue (PENDING: Resources)"
    queue(programs, "FAILED", "NonZeroExitCode", "4:0")
    (Path(job.folder) / "job.log").write_text("".join(f"line {k}\n" for k in range(30)) + "xpcs-dask: error: memory\n")
    found = status(job)
    assert found.said == "has failed (FAILED: NonZeroExitCode), exit code 4"
    assert found.log_tail[-1] == "xpcs-dask: error: memory"
    assert len(found.log_tail) == 10
    queue(programs, "COMPLETED")
    assert status(job).log_tail == ()


def test_blocks_are_counted_in_the_ledger(programs, job):
    queue(programs, "RUNNING")
    assert (status(job).blocks_done, status(job).blocks) == (None, None)
    attempt = Unfinished(Path(job.output)).folder / "run-1"
    (attempt / "results.zarr").mkdir(parents=True)
    ledger = Ledger.begin(attempt / "ledger", {"job": {}, "chunks": {}, "blocks": 5})
    assert (status(job).blocks_done, status(job).blocks) == (0, 5)
    ledger.add(3, {})
    ledger.add(0, {})
    assert (status(job).blocks_done, status(job).blocks) == (2, 5)


def test_a_queue_that_is_silent(programs, job):
    programs.add("squeue", "echo 'Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(SchedulerError, match="Unable to contact"):
        status(job)


def test_the_manifest_of_a_finished_job(programs, job):
    queue(programs, "COMPLETED")
    assert status(job).manifest is None
    place = Path(f"{job.output}.manifest.json")
    place.touch()
    assert status(job).manifest == str(place)
