from __future__ import annotations

import json

import pytest
import xarray as xr
from typer.testing import CliRunner

import xpcs_dask as xd
from tests.aps_file import write
from xpcs_dask.cli import app
from xpcs_dask.io.stack import open_stack


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    for k in (1, 2):
        write(folder / f"run{k}.hdf", seed=k)
    return folder


@pytest.fixture
def stack(tmp_path):
    return tmp_path / "stack.zarr"


def pack(*arguments):
    return CliRunner().invoke(app, ["pack", "--scheduler", "sync", *map(str, arguments)])


def test_json_says_what_was_packed(folder, stack):
    (folder / "bad.hdf").write_text("nothing")
    result = pack(folder, "-o", stack, "--json", "--include", "detector_distance")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert list(report) == ["files", "curves", "groups", "rejected", "bytes", "seconds", "output", "version"]
    assert (report["files"], report["curves"], report["groups"], report["output"]) == (2, 6, 1, str(stack))
    assert report["rejected"][0]["file"].endswith("bad.hdf")
    assert report["bytes"] == sum(item.stat().st_size for item in stack.rglob("*") if item.is_file())
    expected = xd.open_g2(folder, on_error="skip", include=["detector_distance"])
    xr.testing.assert_identical(open_stack(stack).compute(), expected.compute())


def test_lines_say_the_same(folder, stack):
    lines = dict(line.split(": ", 1) for line in pack(folder, "-o", stack).stdout.splitlines())
    assert (lines["Files"], lines["Curves"], lines["Rejected"], lines["Output"]) == ("2", "6", "0", str(stack))


def test_files_of_two_kinds_become_groups(folder, stack):
    write(folder / "z.hdf", bins=2)
    report = json.loads(pack(folder, "-o", stack, "--json").stdout)
    assert (report["files"], report["curves"], report["groups"]) == (3, 8, 2)
    assert list(open_stack(stack).children) == ["group_0", "group_1"]


def test_running_again_does_nothing_and_says_so(folder, stack):
    assert pack(folder, "-o", stack).exit_code == 0
    before = (stack / "zarr.json").stat().st_mtime_ns
    again = pack(folder, "-o", stack)
    assert (again.exit_code, again.stderr.strip()[-13:]) == (0, "nothing to do")
    assert pack(folder, "-o", stack, "--quiet").stderr == ""
    assert (stack / "zarr.json").stat().st_mtime_ns == before


def test_other_files_or_settings_are_refused_unless_told(folder, stack):
    assert pack(folder, "-o", stack).exit_code == 0
    for arguments in ([folder / "run1.hdf"], [folder, "--include", "detector_distance"]):
        result = pack(*arguments, "-o", stack)
        assert (result.exit_code, result.stdout) == (6, "")
        assert "--overwrite" in result.stderr
    write(folder / "run2.hdf", seed=3)
    assert pack(folder, "-o", stack).exit_code == 6
    assert pack(folder, "-o", stack, "--overwrite").exit_code == 0
    assert "nothing to do" in pack(folder, "-o", stack).stderr


def test_a_touched_file_is_seen(folder, stack):
    assert pack(folder, "-o", stack).exit_code == 0
    (folder / "run1.hdf").touch()
    assert pack(folder, "-o", stack).exit_code == 6


def test_strict_is_about_rejected_files(folder, stack):
    assert pack(folder, "-o", stack, "--strict").exit_code == 0
    (folder / "bad.hdf").write_text("nothing")
    result = pack(folder, "-o", stack, "--strict", "--overwrite")
    assert result.exit_code == 5
    assert "1 files were rejected" in result.stderr
    assert stack.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["-o", "stack.h5"], 2, "ending in .zarr"),
        (["--scheduler", "magic"], 2, "magic"),
        (["--include", "colour"], 2, "colour"),
        (["--delay-unit", "week"], 2, "week"),
    ],
)
def test_settings_that_make_no_sense(folder, tmp_path, monkeypatch, arguments, code, says):
    monkeypatch.chdir(tmp_path)
    result = pack(folder, *arguments)
    assert result.exit_code == code, result.output
    assert says in result.stderr
    assert [item.name for item in tmp_path.iterdir()] == ["results"]


def test_no_usable_file_and_a_foreign_folder(tmp_path, folder, stack):
    (tmp_path / "bad.hdf").write_text("nothing")
    result = pack(tmp_path / "bad.hdf", "-o", stack)
    assert result.exit_code == 3
    assert "bad.hdf" in result.stderr
    other = tmp_path / "other.zarr"
    other.mkdir()
    (other / "x").write_text("x")
    assert pack(folder, "-o", other, "--overwrite").exit_code == 6
    assert (other / "x").exists()


def test_progress_goes_to_stderr(folder, stack):
    result = pack(folder, "-o", stack, "--json", "--progress", "bar")
    assert "100%" in result.stderr
    json.loads(result.stdout)
