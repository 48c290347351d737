from __future__ import annotations

import json
import math
import pickle
from pathlib import Path

import pytest

from tests.batch_programs import slurm_that_takes_a_job
from xpcs_dask.cluster.profile import read_profile
from xpcs_dask.config import RunConfig
from xpcs_dask.errors import ConfigError, NoUsableInputError, SchedulerError
from xpcs_dask.jobs import read_config
from xpcs_dask.jobs.batch_script import Place, render
from xpcs_dask.jobs.identity import Files, difference, identity
from xpcs_dask.jobs.submission import JobExistsError, Submission, cancel, find_submission, job_config, script_of, submit

PROFILE = read_profile("slurm", {"workers": 4, "nodes": 2, "python": "/opt/bin/python"})


@pytest.fixture
def programs(tmp_path, monkeypatch):
    return slurm_that_takes_a_job(tmp_path, monkeypatch)


@pytest.fixture
def config(tmp_path, monkeypatch):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a.hdf").touch()
    monkeypatch.chdir(tmp_path)
    return RunConfig.make(
        inputs=("results/*.hdf",),
        output="out/fits.zarr",
        chunks=3,
        fit={"q_range": (0.003, math.inf), "errors": "none"},
    )


def over(programs, word="COMPLETED"):
    programs.add("squeue", f"echo '41|{word}|None'")
    programs.add("scontrol", f"echo 'JobState={word} Reason=None ExitCode=0:0'")


def test_what_is_written_and_handed_in(programs, config, tmp_path):
    made = submit(config, PROFILE, "allocation")
    folder = tmp_path / "out" / "fits.zarr.job"
    assert sorted(item.name for item in folder.iterdir()) == ["job.sh", "job.yaml", "submission.json"]
    assert programs.calls("sbatch") == [(str(tmp_path), ["--parsable", str(folder / "job.sh")])]
    place = Place(tmp_path / "out" / "fits.zarr", tmp_path)
    assert (
        (folder / "job.sh").read_text()
        == render(PROFILE, "allocation", place)
        == script_of(config, PROFILE, "allocation")
    )
    assert made == find_submission(Path("out/fits.zarr")) == find_submission(folder)
    assert (made.ids, made.jobs, made.mode, made.system) == (("41",), ("41",), "allocation", "slurm")
    assert made.profile["workers"] == 4
    assert (made.output, made.start) == (str(place.output), str(tmp_path))


@pytest.mark.parametrize("mode", ["allocation", "workers"])
def test_the_settings_of_the_job_are_those_of_a_local_run(programs, config, mode):
    """Infinite ends included; only where it runs is another, and that decides no number."""
    made = submit(config, PROFILE, mode)
    job = read_config(Path(made.folder) / "job.yaml")
    assert job.fit.q_range == (0.003, math.inf)
    told = job.model_dump(exclude={"scheduler", "cluster"})
    assert told == config.model_dump(exclude={"scheduler", "cluster"})
    local, remote = (identity(one, Files((), ()), 1, {"versions": {}, "cpu": "x"}) for one in (config, job))
    assert difference(local, remote) == difference(remote, local) == ""


def test_an_allocation_is_found_by_its_scheduler_file(config):
    place = Place(Path("/data/fits.zarr"), Path("/data"))
    job = job_config(config, PROFILE, "allocation", place)
    assert job.scheduler == "file:/data/fits.zarr.job/scheduler.json"
    assert job.cluster == {"workers": 4, "timeout": 300}
    keys = {"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem"}
    assert job_config(config, read_profile("slurm", {"tls": keys}), "allocation", place).cluster["tls"] == keys


def test_worker_jobs_are_asked_for_as_the_profile_says_wherever_the_driver_runs(config):
    profile = read_profile(
        "pbs", {"workers": 6, "queue": "long", "prologue": ["module load x"], "walltime": "02:00:00"}
    )
    job = job_config(config, profile, "workers", Place(Path("/data/fits.zarr"), Path("/data")))
    assert job.scheduler == "pbs"
    assert read_profile("pbs", RunConfig.make(**json.loads(job.model_dump_json())).cluster) == profile


def test_a_job_that_waits_or_runs_is_not_submitted_again(programs, config):
    submit(config, PROFILE, "allocation")
    with pytest.raises(JobExistsError, match=r"job 41 for .*fits.zarr is in the queue already \(PENDING\)") as caught:
        submit(config, PROFILE, "allocation")
    assert caught.value.exit_code == 8
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert len(programs.calls("sbatch")) == 1


def test_one_that_is_over_is_and_what_it_left_does_not_count(programs, config):
    made = submit(config, PROFILE, "allocation")
    folder = Path(made.folder)
    over(programs)
    for name in ("result.json", "cancelled", "jobs.txt", "job.log"):
        (folder / name).write_text("1")
    programs.add("sbatch", f"ls {folder} >seen 2>/dev/null; [ -e {folder}/cancelled ] && exit 1; echo 42")
    assert submit(config, PROFILE, "workers").jobs == ("42",)
    assert not any((folder / name).exists() for name in ("result.json", "cancelled", "jobs.txt"))
    assert (folder / "job.log").read_text() == "1"


def test_a_refusal_leaves_nothing_behind(programs, config, tmp_path):
    programs.add("sbatch", "echo 'sbatch: error: invalid partition specified: x' >&2; exit 1")
    with pytest.raises(SchedulerError, match="invalid partition specified: x"):
        submit(config, PROFILE, "allocation")
    assert not (tmp_path / "out" / "fits.zarr.job").exists()
    with pytest.raises(ConfigError, match=r"no job was submitted for out/fits\.zarr: there is no .*submission\.json"):
        find_submission(Path("out/fits.zarr"))


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"inputs": ("nowhere/*.hdf", "x.hdf")}, NoUsableInputError, "no file is there: nowhere/.*, x.hdf"),
        ({"output": "fits.txt"}, ConfigError, "the suffix"),
        ({"model": "moon"}, ConfigError, "moon"),
        ({"memory": "lots"}, ConfigError, "lots"),
    ],
)
def test_what_cannot_work_is_found_before_the_queue_finds_it(programs, config, settings, error, says):
    with pytest.raises(error, match=says):
        submit(RunConfig.make(config, **settings), PROFILE, "allocation")
    assert programs.calls("sbatch") == []
    assert not list(Path().glob("**/*.job"))


def test_jobs_that_went_on_by_themselves_count(programs, config):
    made = submit(config, PROFILE, "allocation")
    (Path(made.folder) / "jobs.txt").write_text("42\n43\n")
    assert made.jobs == ("41", "42", "43")
    programs.add("squeue", "echo '43|RUNNING|None'; echo '41|COMPLETED|None'")
    programs.add("scontrol", "echo 'Invalid job id specified' >&2; exit 1")
    with pytest.raises(JobExistsError, match="job 43"):
        submit(config, PROFILE, "allocation")
    assert cancel(made) == ["43"]
    assert [words[-1] for _, words in programs.calls("scancel")] == ["43"]
    assert (Path(made.folder) / "cancelled").exists()


def test_cancel_marks_the_job_before_the_queue_ends_it(programs, config):
    """Else a job that is told to stop would go on by itself."""
    made = submit(config, PROFILE, "allocation")
    programs.add("scancel", f"[ -e {made.folder}/cancelled ]")
    assert cancel(made) == ["41"]
    over(programs, "CANCELLED")
    assert cancel(made) == []
    assert len(programs.calls("scancel")) == 1


def test_a_damaged_description(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        Submission.read(tmp_path)
    (tmp_path / "submission.json").write_text('{"version": 1}')
    with pytest.raises(ConfigError, match="describes no job"):
        find_submission(tmp_path)
