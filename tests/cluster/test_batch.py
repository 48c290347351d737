from __future__ import annotations

import json
import pickle

import pytest

from tests.batch_programs import Programs
from xpcs_dask.cluster import batch
from xpcs_dask.cluster.batch import JobState, log_tail, queue_of
from xpcs_dask.errors import ConfigError, SchedulerError


@pytest.fixture
def programs(tmp_path, monkeypatch):
    return Programs(tmp_path, monkeypatch)


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "job.sh"
    path.write_text("#!/bin/sh\n")
    return path


SLURM, PBS = queue_of("slurm"), queue_of("pbs")


@pytest.mark.parametrize(("said", "job"), [("41", "41"), ("41;north", "41")])
def test_sbatch_is_called_where_the_job_starts_and_tells_the_id(programs, script, tmp_path, said, job):
    programs.add("sbatch", f"echo '{said}'")
    (tmp_path / "start").mkdir()
    assert SLURM.submit(script, tmp_path / "start") == job
    assert programs.calls("sbatch") == [(str(tmp_path / "start"), ["--parsable", str(script)])]


def test_qsub_is_called_where_the_job_starts_and_tells_the_id(programs, script, tmp_path):
    programs.add("qsub", "echo 7.server-01.site")
    assert PBS.submit(script, tmp_path) == "7.server-01.site"
    assert programs.calls("qsub") == [(str(tmp_path), [str(script)])]


@pytest.mark.parametrize(("queue", "program"), [(SLURM, "sbatch"), (PBS, "qsub")])
def test_a_refusal_has_the_words_of_the_program_in_one_line(programs, script, tmp_path, queue, program):
    programs.add(program, f"echo '{program}: error: no such queue: x' >&2; echo '{program}: error: sorry' >&2; exit 1")
    with pytest.raises(SchedulerError, match=f"^{program} refused: no such queue: x; sorry$") as caught:
        queue.submit(script, tmp_path)
    assert caught.value.exit_code == 7
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    programs.add(program, "echo moved")
    with pytest.raises(SchedulerError, match="tells no job id: moved"):
        queue.submit(script, tmp_path)


@pytest.mark.parametrize(("queue", "program"), [(SLURM, "sbatch"), (PBS, "qsub")])
def test_without_the_program_it_says_so(programs, script, tmp_path, queue, program):
    with pytest.raises(SchedulerError, match=f"no {program} on PATH; .* login node"):
        queue.submit(script, tmp_path)


def test_a_program_that_does_not_answer(programs, monkeypatch):
    programs.add("squeue", "exec sleep 60")
    monkeypatch.setattr(batch, "PATIENCE", 0.2)
    with pytest.raises(SchedulerError, match=r"squeue did not answer in 0\.2 s"):
        SLURM.states(["1"])


def test_states_of_slurm_come_from_squeue_and_of_what_is_over_from_scontrol(programs):
    programs.add(
        "squeue",
        """
        echo '1|PENDING|Resources'
        echo '2|RUNNING|None'
        echo '3|COMPLETED|None'
        echo '4|TIMEOUT|TimeLimit'
        echo '8|COMPLETING|None'
        """,
    )
    programs.add(
        "scontrol",
        """
        case "$4" in
        3) echo 'JobId=3 JobName=x JobState=COMPLETED Reason=None Dependency=(null) ExitCode=0:0 DerivedExitCode=9:0' ;;
        4) echo 'JobId=4 JobState=TIMEOUT Reason=TimeLimit ExitCode=0:15' ;;
        5) echo 'JobId=5 JobState=CANCELLED Reason=None ExitCode=0:0' ;;
        6) echo 'JobId=6 JobState=FAILED Reason=NonZeroExitCode ExitCode=75:0' ;;
        *) echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1 ;;
        esac
        """,
    )
    assert SLURM.states(["1", "2", "3", "4", "5", "6", "7", "8"]) == {
        "1": JobState("pending", "PENDING", "Resources"),
        "2": JobState("running", "RUNNING"),
        "3": JobState("ended", "COMPLETED", exit_code=0),
        "4": JobState("failed", "TIMEOUT", "TimeLimit", exit_code=128 + 15),
        "5": JobState("failed", "CANCELLED", exit_code=0),
        "6": JobState("failed", "FAILED", "NonZeroExitCode", exit_code=75),
        "7": JobState("unknown"),
        "8": JobState("running", "COMPLETING"),
    }
    [(_, asked)] = programs.calls("squeue")
    assert "--jobs=1,2,3,4,5,6,7,8" in asked
    assert [words[-1] for _, words in programs.calls("scontrol")] == ["3", "4", "5", "6", "7"]
    assert SLURM.states([]) == {}


def test_one_forgotten_job_is_unknown_but_a_silent_controller_is_an_error(programs):
    programs.add("squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    programs.add("scontrol", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    assert SLURM.states(["1"]) == {"1": JobState("unknown")}
    programs.add("scontrol", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(SchedulerError, match=r"scontrol refused: .*Unable to contact"):
        SLURM.states(["1"])
    programs.add("squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(SchedulerError, match=r"squeue refused: .*Unable to contact"):
        SLURM.states(["1"])


JOBS = {
    "1.pbs": {"job_state": "Q", "comment": "Not Running: Insufficient amount of resource: ncpus"},
    "2.pbs": {"job_state": "R"},
    "3.pbs": {"job_state": "F", "Exit_status": 0},
    "4.pbs": {"job_state": "F", "Exit_status": "75"},
    "5.pbs": {"job_state": "F", "Exit_status": 271, "comment": "terminated"},
    "6.pbs": {"job_state": "H"},
}


def test_states_of_pbs(programs):
    programs.add(
        "qstat", f"cat <<'END'\n{json.dumps({'Jobs': JOBS})}\nEND\necho 'qstat: Unknown Job Id 9.pbs' >&2; exit 153"
    )
    found = PBS.states(["1.pbs", "2.pbs", "3", "4.pbs", "5.pbs", "6.pbs", "9.pbs"])
    assert found == {
        "1.pbs": JobState("pending", "Q", "Not Running: Insufficient amount of resource: ncpus"),
        "2.pbs": JobState("running", "R"),
        "3": JobState("ended", "F", exit_code=0),
        "4.pbs": JobState("failed", "F", exit_code=75),
        "5.pbs": JobState("failed", "F", "terminated", exit_code=271),
        "6.pbs": JobState("pending", "H"),
        "9.pbs": JobState("unknown"),
    }
    assert [job for job, state in found.items() if state.cancelled] == ["5.pbs"]
    [(_, asked)] = programs.calls("qstat")
    assert asked[:4] == ["-x", "-f", "-F", "json"]
    assert PBS.states([]) == {}


def test_pbs_that_knows_no_job_is_no_error_but_one_that_is_silent_is(programs):
    programs.add("qstat", "echo 'qstat: Unknown Job Id 9.pbs' >&2; exit 153")
    assert PBS.states(["9.pbs"]) == {"9.pbs": JobState("unknown")}
    programs.add("qstat", "echo 'Connection refused' >&2; exit 255")
    with pytest.raises(SchedulerError, match="qstat refused: Connection refused"):
        PBS.states(["9.pbs"])
    programs.add("qstat", "echo '{\"Jobs\": '")
    with pytest.raises(SchedulerError, match="no JSON"):
        PBS.states(["9.pbs"])


@pytest.mark.parametrize(
    ("queue", "program", "gone"),
    [(SLURM, "scancel", "Invalid job id specified"), (PBS, "qdel", "Unknown Job Id 2")],
)
def test_cancel_does_not_mind_jobs_that_are_over(programs, queue, program, gone):
    programs.add(program, f"echo '{program}: {gone}' >&2; exit 1")
    queue.cancel([])
    queue.cancel(["1", "2"])
    [(_, words)] = programs.calls(program)
    assert words[-2:] == ["1", "2"]
    programs.add(program, "echo 'access denied' >&2; exit 1")
    with pytest.raises(SchedulerError, match=f"{program} refused: access denied"):
        queue.cancel(["1"])


def test_another_batch_system():
    with pytest.raises(ConfigError, match="'lsf' is not known; choose slurm or pbs"):
        queue_of("lsf")


def test_over_and_cancelled():
    assert [state for state in ("pending", "running", "ended", "failed", "unknown") if JobState(state).over] == [
        "ended",
        "failed",
    ]
    assert JobState("failed", "CANCELLED").cancelled
    assert not JobState("failed", "FAILED", exit_code=300).cancelled
    assert not JobState("failed", "F", exit_code=143).cancelled


@pytest.mark.parametrize("size", [0, 1, 3, 100, 5000])
def test_the_tail_of_a_log(tmp_path, size):
    lines = [f"line {k} é" for k in range(size)]
    log = tmp_path / "job.log"
    log.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    for asked in (*range(1, 1000), 10_000):
        assert log_tail(log, asked).splitlines() == lines[-asked:]
    log.write_text("\n".join(lines), "utf-8")  # the last line is still being written
    assert log_tail(log, 5).splitlines() == lines[-5:]
    assert log_tail(log, 0) == log_tail(tmp_path / "none.log", 5) == ""
