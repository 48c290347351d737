from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import xpcs_dask as xd
from tests.conftest import carried
from xpcs_dask.cli import app
from xpcs_dask.simulate.files import write_series

KEYS = [
    "mode", "curves", "input_bytes", "result_bytes", "block_rows", "blocks", "workers", "task_bytes", "peak_bytes",
    "budget_bytes", "together",
]  # fmt: skip


@pytest.fixture
def files(tmp_path):
    return write_series(tmp_path / "files", 4, seed=3, q=np.array([0.005, 0.009]), frames=20_000)


def plan(*arguments):
    return CliRunner().invoke(app, ["plan", *map(str, arguments)])


def test_a_plan_is_one_object_of_integers(files):
    result = plan(*files, "--json", "--memory", "1GiB", "--scheduler", "threads:3", "--no-probe")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert list(found) == KEYS
    assert (found["mode"], found["curves"], found["workers"], found["blocks"]) == ("standard", 8, 3, 1)
    assert found["budget_bytes"] == 2**30
    assert found["input_bytes"] == xd.open_g2(files).g2.nbytes * 2


def test_lines_say_the_same_and_the_probe_tells_the_time(files):
    result = plan(*files, "--scheduler", "sync")
    assert result.exit_code == 0, result.output
    lines = dict(line.split(": ", 1) for line in result.stdout.splitlines())
    assert lines["Curves"] == "8"
    assert int(lines["Task bytes"].replace(",", "")) > 5_000_000
    assert 0 <= float(lines["Seconds"]) < 100


def test_refits_are_planned(files):
    fits, refits = (
        json.loads(plan(*files, "--json", "--no-probe", "--memory", "1GiB", "--bootstrap", number).stdout)
        for number in (0, 20_000)
    )
    assert refits["task_bytes"] > 8 * 20_000 * 150 > fits["task_bytes"]
    assert refits["result_bytes"] > fits["result_bytes"]


def test_what_does_not_fit_is_exit_4(files):
    result = plan(*files, "--memory", "2MB")
    assert result.exit_code == 4
    assert "only 2,000,000 are allowed" in result.stderr
    assert "--memory" in result.stderr
    assert result.stdout == ""


def test_files_of_several_grids(tmp_path):
    result = plan(carried("boost_corr"), "--json", "--no-probe")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["curves"] == 155
    assert len(found["block_rows"]) > 2


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--memory", "much"], 2, "--memory"),
        (["--model", "triple"], 2, "simple, single, double"),
        (["--bootstrap", "-1"], 2, "--bootstrap"),
        (["--scheduler", "tcp://127.0.0.1:1"], 7, "127.0.0.1:1"),
    ],
)
def test_settings_that_make_no_sense(files, options, code, says):
    result = plan(*files, "--no-probe", *options)
    assert result.exit_code == code
    assert says in result.stderr
