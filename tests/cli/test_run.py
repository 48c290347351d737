from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import xpcs_dask as xd
from xpcs_dask.cli import app
from xpcs_dask.config import RunConfig
from xpcs_dask.simulate.files import write_series


def call(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_series(tmp_path_factory.mktemp("files"), 2, seed=3, q=np.array([0.005, 0.009]), frames=20_000)


@pytest.fixture
def settings(files, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(
        f"inputs: ['{files[0].parent}/*.hdf']\noutput: {tmp_path}/fits.zarr\nmodel: simple\nscheduler: sync\n"
    )
    return path


def test_a_settings_file_gives_what_the_options_give(files, settings, tmp_path):
    done = call("run", settings, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["curves"], report["output"]) == (4, f"{tmp_path}/fits.zarr")
    options = call("fit", *files, "-o", tmp_path / "other.zarr", "--model", "simple", "--scheduler", "sync")
    assert options.exit_code == 0, options.output
    one, other = (xd.open_results(tmp_path / name)["group_0"] for name in ("fits.zarr", "other.zarr"))
    np.testing.assert_array_equal(one["value"], other["value"])
    assert "nothing to do" in call("run", settings).stderr


def test_what_is_given_beside_it_counts_more(files, settings, tmp_path):
    done = call("run", settings, files[0], "-o", tmp_path / "b.zarr", "--json")
    assert json.loads(done.stdout)["curves"] == 2
    assert xd.Manifest.read(tmp_path / "b.zarr.manifest.json").counts.files == 1


def test_the_scheduler_and_settings_of_its_cluster_are_put_on_top(settings, monkeypatch):
    seen = []
    monkeypatch.setattr("xpcs_dask.cli.run.carry_out", lambda job, **_: seen.append(job))
    settings.write_text(settings.read_text() + "cluster: {workers: 2, memory: 1GiB}\n")
    done = call("run", settings, "--scheduler", "slurm", "--cluster", "memory=2GiB")
    assert done.exit_code == 0, done.output
    assert (seen[0].scheduler, seen[0].cluster) == ("slurm", {"workers": 2, "memory": "2GiB"})


@pytest.mark.parametrize("verb", ["run", "fit"])
def test_settings_that_the_cluster_does_not_have_are_exit_2(verb, files, settings):
    path = settings if verb == "run" else files[0]
    done = call(verb, path, "--scheduler", "slurm", "--cluster", "walltme=1")
    assert done.exit_code == 2
    assert "error: cluster has no key 'walltme'; did you mean 'walltime'?" in done.stderr


def test_a_wrong_setting_is_exit_2_and_names_the_file(settings):
    settings.write_text(settings.read_text() + "modle: x\n")
    done = call("run", settings)
    assert done.exit_code == 2
    assert f"{settings}: modle: unknown setting" in done.stderr


def test_strict_is_exit_5(files, settings, tmp_path):
    (tmp_path / "bad.hdf").write_bytes(b"")
    done = call("run", settings, *files, tmp_path / "bad.hdf", "--strict")
    assert done.exit_code == 5
    assert "1 files were rejected and 0 curves failed" in done.stderr


@pytest.mark.parametrize(("of", "kind"), [("run", RunConfig), ("manifest", xd.Manifest)])
def test_schemas_are_printed(of, kind):
    assert json.loads(call("schema", of).stdout) == kind.model_json_schema()
    assert call("schema", "moon").exit_code == 2


def test_the_log_is_on_stderr_as_asked(settings, tmp_path):
    import subprocess
    import sys

    program = "from xpcs_dask.cli import main; main()"
    command = [sys.executable, "-c", program, "--log", "info", "run", str(settings)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "INFO xpcs_dask.engine.events: done: 4 of 4 curves" in done.stderr
    assert call("--log", "loud", "run", settings).exit_code == 2
