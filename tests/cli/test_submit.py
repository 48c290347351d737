"""submit, status, logs and cancel with stand-ins for the programs of Slurm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.batch_programs import slurm_that_takes_a_job
from xpcs_dask.cli import app
from xpcs_dask.jobs import read_config


def call(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    (tmp_path / "a.hdf").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def programs(tmp_path, monkeypatch):
    return slurm_that_takes_a_job(tmp_path, monkeypatch)


def test_submit_takes_the_options_of_fit(programs, place):
    done = call("submit", "a.hdf", "-o", "b.zarr", "--model", "double", "--q-range", "0.003,inf", "--fix", "baseline=1",
                "--bootstrap", "200", "--seed", "3", "--chunks", "2", "--workers", "2")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        "Job: 41", "Mode: allocation", f"Output: {place}/b.zarr", f"Folder: {place}/b.zarr.job",
    ]  # fmt: skip
    job = read_config(place / "b.zarr.job" / "job.yaml")
    assert (job.inputs, job.output, job.model, job.chunks) == (("a.hdf",), "b.zarr", "double", 2)
    assert (job.fit.q_range, job.fit.fixed) == ((0.003, float("inf")), {"baseline": 1.0})
    assert (job.bootstrap.resamples, job.bootstrap.seed) == (200, 3)


def test_flags_and_settings_of_the_cluster_reach_the_script(programs):
    done = call("submit", "a.hdf", "--dry-run", "--nodes", "2", "--workers", "6", "--walltime", "04:00:00", "--queue",
                "short", "--account", "beam", "--cluster", "memory=2GiB", "--cluster", "margin=60")  # fmt: skip
    assert done.exit_code == 0, done.output
    for line in ("nodes=2", "ntasks=6", "time=04:00:00", "partition=short", "account=beam", "signal=B:TERM@60"):
        assert f"#SBATCH --{line}\n" in done.stdout
    assert f"--memory-limit {2 * 2**30} " in done.stdout


def test_a_dry_run_prints_the_script_and_touches_nothing(programs, place):
    before = sorted(place.rglob("*"))
    dry = call("submit", "a.hdf", "--dry-run", "--profile", "pbs")
    assert dry.exit_code == 0
    assert dry.stdout.startswith("#!/usr/bin/env bash\n#PBS -N xpcs-dask\n")
    assert sorted(place.rglob("*")) == before
    call("submit", "a.hdf")
    assert call("submit", "a.hdf", "--dry-run").stdout == (place / "fits.zarr.job" / "job.sh").read_text()


def test_a_settings_file_goes_with_what_run_takes_beside_it(programs, place):
    Path("run.yaml").write_text("inputs: [nowhere/*.hdf]\noutput: c.zarr\nmodel: simple\nscheduler: processes:8\n")
    done = call("submit", "a.hdf", "--config", "run.yaml", "-o", "d.zarr", "--mode", "workers", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {
        "job": "41", "mode": "workers", "output": f"{place}/d.zarr", "folder": f"{place}/d.zarr.job",
    }  # fmt: skip
    job = read_config(place / "d.zarr.job" / "job.yaml")
    assert (job.inputs, job.output, job.model, job.scheduler) == (("a.hdf",), "d.zarr", "simple", "slurm")
    assert not job.overwrite
    refused = call("submit", "--config", "run.yaml", "--q-range", "0.1,0.2")
    assert refused.exit_code == 2
    assert "--q-range does not go with --config; write it into run.yaml" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "nothing to fit was named"),
        (["a.hdf", "--mode", "both"], 2, "choose allocation or workers"),
        (["a.hdf", "--profile", "moon"], 2, "moon"),
        (["a.hdf", "--cluster", "wallclock=1"], 2, "wallclock"),
        (["a.hdf", "--nodes", "9", "--workers", "3"], 2, "3 workers cannot fill 9 nodes"),
        (["a.hdf", "--loss", "odd"], 2, "loss"),
        (["b.hdf"], 3, "no file is there: b.hdf"),
        (["a.hdf", "--queue", "wrong"], 7, "sbatch refused: invalid partition"),
    ],
)
def test_errors_are_one_line_and_have_their_code(programs, place, arguments, code, says):
    programs.add("sbatch", "echo 'sbatch: error: invalid partition specified: wrong' >&2; exit 1")
    done = call("submit", *arguments)
    assert done.exit_code == code, done.output
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
    assert not list(place.glob("*.job"))


@pytest.mark.parametrize("option", ["--scheduler", "--strict"])
def test_what_makes_no_sense_in_a_job_is_no_option(programs, option):
    assert call("submit", "a.hdf", option).exit_code == 2


def test_one_job_at_a_time_for_one_output(programs):
    assert call("submit", "a.hdf").exit_code == 0
    again = call("submit", "a.hdf")
    assert again.exit_code == 8
    assert "job 41 for" in again.stderr


def test_status_says_how_it_is_and_how_far(programs, place):
    call("submit", "a.hdf")
    done = call("status", "fits.zarr")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "Job: 41", "State: pending", "Said: waits in the queue (PENDING: Resources)", f"Output: {place}/fits.zarr",
        f"Log: {place}/fits.zarr.job/job.log",
    ]  # fmt: skip
    (place / "fits.zarr.job" / "job.log").write_text("begins\nends badly\n")
    (place / "fits.zarr.job" / "result.json").write_text('{"exit_code": 4, "job": "41"}')
    programs.add("squeue", "echo '41|FAILED|NonZeroExitCode'")
    programs.add("scontrol", "echo 'JobState=FAILED Reason=NonZeroExitCode ExitCode=4:0'")
    lines = call("status", place / "fits.zarr.job").stdout.splitlines()
    assert "Exit code: 4" in lines
    assert lines[-2:] == ["Log tail: begins", "Log tail: ends badly"]
    told = json.loads(call("status", "fits.zarr", "--json").stdout)
    assert (told["state"], told["exit_code"], told["jobs"], told["blocks"]) == ("failed", 4, ["41"], None)


def test_logs_prints_the_last_lines(programs, place):
    call("submit", "a.hdf")
    none = call("logs", "fits.zarr")
    assert (none.exit_code, none.stdout) == (0, "")
    assert "nothing is written yet" in none.stderr
    (place / "fits.zarr.job" / "job.log").write_text("".join(f"line {k}\n" for k in range(100)))
    (place / "fits.zarr.job" / "workers.log").write_text("worker\n")
    assert call("logs", "fits.zarr", "--lines", "2").stdout == "line 98\nline 99\n"
    assert len(call("logs", "fits.zarr").stdout.splitlines()) == 50
    assert call("logs", "fits.zarr", "--of", "workers").stdout == "worker\n"
    assert call("logs", "fits.zarr", "--of", "moon").exit_code == 2


def test_cancel(programs):
    call("submit", "a.hdf")
    assert call("cancel", "fits.zarr").stdout == "Cancelled: 41\n"
    assert [words[-1] for _, words in programs.calls("scancel")] == ["41"]
    programs.add("squeue", "echo '41|CANCELLED|None'")
    programs.add("scontrol", "echo 'JobState=CANCELLED Reason=None ExitCode=0:0'")
    assert call("cancel", "fits.zarr").stdout == "Cancelled: none\n"
    assert json.loads(call("cancel", "fits.zarr", "--json").stdout) == {"cancelled": []}
    assert "State: cancelled" in call("status", "fits.zarr").stdout


@pytest.mark.parametrize("verb", ["status", "logs", "cancel"])
def test_a_store_for_which_no_job_was_submitted(verb):
    done = call(verb, "fits.zarr")
    assert done.exit_code == 2
    assert "no job was submitted for fits.zarr" in done.stderr


@pytest.mark.parametrize("verb", ["status", "cancel"])
def test_a_queue_that_cannot_be_reached_is_exit_7(programs, verb):
    call("submit", "a.hdf")
    (programs.folder / "squeue").unlink()
    done = call(verb, "fits.zarr")
    assert done.exit_code == 7
    assert len(done.stderr.splitlines()) == 1
