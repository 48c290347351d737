from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import xpcs_dask as xd
from tests.physics.pixel_file import speckle_file
from xpcs_dask.cli import app
from xpcs_dask.physics.regroup import regroup as regrouped


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    for k in (1, 2):
        speckle_file(folder / f"run{k}_results.hdf", seed=k)
    return folder


@pytest.fixture
def stack(tmp_path):
    return tmp_path / "stack.zarr"


def regroup(*arguments):
    return CliRunner().invoke(app, ["regroup", "--scheduler", "sync", *map(str, arguments)])


def test_json_says_what_was_done(folder, stack):
    (folder / "bad.hdf").write_text("nothing")
    result = regroup(folder, "-o", stack, "--json", "--segments", "8")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert list(report) == [
        "files", "curves", "clusters", "groups", "rejected", "sums_bytes", "bytes", "seconds", "output", "version"
    ]  # fmt: skip
    assert (report["files"], report["curves"], report["clusters"], report["groups"]) == (2, 6, 48, 1)
    assert report["sums_bytes"] == 2 * 4 * 3 * 16 * 20 * xd.open_g2(stack).sizes["delay"]
    assert report["bytes"] == sum(item.stat().st_size for item in stack.rglob("*") if item.is_file())
    assert [Path(item["file"]).name for item in report["rejected"]] == ["bad.hdf"]
    expected = regrouped(xd.open_g2(folder, on_error="skip"), "segment", segments=8)
    for name in ("g2", "g2_err", "g2_cluster"):
        np.testing.assert_array_equal(xd.open_g2(stack)[name], expected[name])


def test_lines_say_the_same_and_strict_minds_bad_files(folder, stack):
    (folder / "bad.hdf").write_text("nothing")
    result = regroup(folder, "-o", stack, "--by", "pixel", "--kind", "ratio", "--strict")
    assert result.exit_code == 5
    assert "strict: 1 files were rejected" in result.stderr
    lines = dict(line.split(": ", 1) for line in result.stdout.splitlines())
    assert (lines["Files"], lines["Curves"], lines["Rejected"], lines["Output"]) == ("2", "6", "1", str(stack))
    assert "bad.hdf" in lines["Rejected file"]


def test_the_stack_can_be_fitted(folder, stack, tmp_path):
    assert regroup(folder, "-o", stack).exit_code == 0
    fit = ["fit", str(stack), "-o", str(tmp_path / "fits.zarr"), "--model", "simple", "--scheduler", "sync", "--json"]
    result = CliRunner().invoke(app, fit)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["curves"] == 6
    (fits,) = xd.open_results(tmp_path / "fits.zarr").leaves
    assert (fits.errors_from == xd.ErrorsFrom.CLUSTER).all()


def test_bins_of_another_file(folder, stack, tmp_path):
    other = speckle_file(tmp_path / "qmap.hdf", bins=2)
    result = regroup(folder, "-o", stack, "--qmap", other.path, "--json")
    assert json.loads(result.stdout)["curves"] == 4
    assert xd.open_g2(stack).q.values.tolist() == other.q.tolist()
    broken = regroup(folder, "-o", tmp_path / "t.zarr", "--qmap", tmp_path / "none.h5")
    assert (broken.exit_code, "none.h5: there is no such file" in broken.stderr) == (3, True)


def test_running_again_does_nothing_and_says_so(folder, stack):
    first = regroup(folder, "-o", stack, "--json")
    before = (stack / "zarr.json").stat().st_mtime_ns
    again = regroup(folder, "-o", stack, "--json")
    assert (again.exit_code, again.stderr.strip()[-13:]) == (0, "nothing to do")
    same = [{k: v for k, v in json.loads(run.stdout).items() if k != "seconds"} for run in (first, again)]
    assert same[0] == same[1]
    assert regroup(folder, "-o", stack, "--quiet").stderr == ""
    assert (stack / "zarr.json").stat().st_mtime_ns == before


def test_other_files_or_settings_are_refused_unless_told(folder, stack):
    other = speckle_file(folder.parent / "qmap.hdf", bins=2)
    assert regroup(folder, "-o", stack).exit_code == 0
    for arguments, why in (
        ([folder / "run1_results.hdf"], "other files"),
        ([folder, "--segments", "8"], "other settings"),
        ([folder, "--by", "static"], "other settings"),
        ([folder, "--qmap", other.path], "another q-map"),
    ):
        result = regroup(*arguments, "-o", stack)
        assert (result.exit_code, result.stdout) == (6, "")
        assert why in result.stderr
        assert "--overwrite" in result.stderr
    speckle_file(folder / "run2_results.hdf", seed=3)
    assert regroup(folder, "-o", stack).exit_code == 6
    assert regroup(folder, "-o", stack, "--overwrite").exit_code == 0
    assert "nothing to do" in regroup(folder, "-o", stack).stderr


def test_a_stack_of_pack_is_not_taken_for_it(folder, stack):
    assert CliRunner().invoke(app, ["pack", str(folder), "-o", str(stack), "--scheduler", "sync"]).exit_code == 0
    assert regroup(folder, "-o", stack).exit_code == 6


def test_what_is_no_stack_is_never_replaced(folder, tmp_path):
    (tmp_path / "foreign.zarr").mkdir()
    assert regroup(folder, "-o", tmp_path / "foreign.zarr", "--overwrite").exit_code == 6
    assert regroup(folder, "-o", tmp_path / "stack.nc").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--memory", "1kB"], 4, "needs .* bytes of memory, but only 1,000"),
        (["--memory", "much"], 2, "--memory takes a size"),
        (["--by", "row"], 2, "by: 'row' is none of"),
        (["--segments", "1"], 2, "segments is 1"),
        (["--progress", "loud"], 2, "--progress takes"),
    ],
)
def test_settings_that_do_not_work(folder, stack, arguments, code, message):
    result = regroup(folder, "-o", stack, *arguments)
    assert result.exit_code == code
    assert re.search(message, result.stderr)
    assert not stack.exists()


def test_files_without_sums_are_no_input(folder, stack):
    made = speckle_file(folder.parent / "a.hdf", changed={"xpcs/multitau/unnormalized_G2": None})
    result = regroup(made.path, "-o", stack)
    assert (result.exit_code, "correlate it again with save_G2" in result.stderr) == (3, True)


def test_progress_counts_bytes_of_sums(folder, stack):
    result = regroup(folder, "-o", stack, "--progress", "json")
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    last = [line for line in lines if line["stage"] == "regrouping"][-1]
    assert last["bytes_read"] == last["bytes"] == 2 * 4 * 3 * 16 * 20 * xd.open_g2(stack).sizes["delay"]
    shown = regroup(folder, "-o", stack, "--overwrite", "--progress", "bar")
    assert "regrouping" in shown.stderr
