from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import xpcs_dask as xd
from xpcs_dask.cli import app
from xpcs_dask.cli.simulate import values
from xpcs_dask.io.stack import open_stack
from xpcs_dask.simulate import curves, speckle, write_series


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "simulated"


def simulate(*arguments):
    return CliRunner().invoke(app, ["simulate", *map(str, arguments)])


def truth(folder):
    return json.loads((folder / "truth.json").read_text())


def test_files_are_those_of_the_python_call(folder, tmp_path):
    result = simulate(
        "files", "-o", folder, "--runs", "2", "--seed", "7", "--json",
        "--set", "q=0.004,0.01", "--set", "diffusion=1e6/2e6", "--set", "frames=5000", "--set", "temperature=35",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert list(report) == ["kind", "runs", "curves", "seed", "seconds", "output", "version"]
    assert (report["kind"], report["runs"], report["curves"], report["seed"]) == ("files", 2, 4, 7)
    expected = write_series(
        tmp_path / "expected", 2, 7, q=[0.004, 0.01], diffusion=[[1e6], [2e6]], frames=5000, temperature=35.0
    )
    assert truth(folder) == truth(tmp_path / "expected")
    found = xd.open_g2(folder, chunks=None)
    assert found.file.values.tolist() == [path.name for path in expected]
    assert found.temperature.values.tolist() == [35, 35]
    np.testing.assert_array_equal(found.g2, xd.open_g2(expected, chunks=None).g2)


def test_curves_are_a_stack_with_the_truth_beside(folder):
    given = ["model=double", "pixels=50", "diffusion=1e6/2e6/3e6"]
    arguments = [
        "curves",
        "-o",
        folder,
        "--runs",
        "3",
        "--seed",
        "2",
        *(word for item in given for word in ("--set", item)),
    ]
    result = simulate(*arguments)
    assert result.exit_code == 0, result.output
    expected = curves(3, model="double", pixels=50, diffusion=[[1e6], [2e6], [3e6]], seed=2)
    xr.testing.assert_identical(open_stack(folder / "curves.zarr").compute(), expected)
    records = truth(folder)
    assert list(records) == ["run00000", "run00001", "run00002"]
    assert records["run00001"]["units"][1] == "s"
    np.testing.assert_array_equal([item["true_value"] for item in records.values()], expected.true_value)
    np.testing.assert_array_equal([item["diffusion"] for item in records.values()], expected.true_diffusion)


def test_speckle_has_repeats_and_pixels(folder):
    settings = {"frames": 128, "pixels": 3, "repeats": 2, "clusters": True, "normalization": "pixel"}
    given = [word for name, value in settings.items() for word in ("--set", f"{name}={str(value).lower()}")]
    result = simulate("speckle", "-o", folder, "--runs", "2", *given)
    assert result.exit_code == 0, result.output
    xr.testing.assert_identical(open_stack(folder / "speckle.zarr").compute(), speckle(2, **settings))
    assert set(truth(folder)) == {"run00000", "run00001"}


def test_the_same_again_does_nothing_and_another_is_refused(folder):
    arguments = ["files", "-o", folder, "--runs", "1", "--set", "frames=1000"]
    first = simulate(*arguments, "--json")
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = simulate(*arguments, "--json")
    assert (again.exit_code, again.stdout) == (0, first.stdout)
    assert "nothing to do" in again.stderr
    assert simulate(*arguments, "--quiet").stderr == ""
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == times
    other = simulate(*arguments, "--seed", "1")
    assert other.exit_code == 6
    assert "another seed" in other.stderr
    assert simulate("curves", "-o", folder, "--runs", "1", "--overwrite").exit_code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["curves.zarr", "simulation.json", "truth.json"]


def test_what_others_put_there_is_never_removed(folder):
    folder.mkdir()
    assert simulate("files", "-o", folder, "--runs", "1", "--set", "frames=1000").exit_code == 0
    (folder / "notes.txt").write_text("mine")
    for options in (["--overwrite"], []):
        result = simulate("files", "-o", folder, "--runs", "2", "--set", "frames=1000", *options)
        assert result.exit_code == 6
        assert "notes.txt" in result.stderr
    (folder / "simulation.json").unlink()
    assert simulate("files", "-o", folder, "--overwrite").exit_code == 6
    assert (folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["curves", "--set", "colour=3"], "'colour' is no setting of curves; known are q, phi, model"),
        (["curves", "--set", "temperature=3"], "no setting of curves"),
        (["speckle", "--set", "model=double"], "no setting of speckle"),
        (["files", "--set", "frames"], "NAME=VALUE"),
        (["files", "--set", "frames=1", "--set", "frames=2"], "more than once"),
        (["files", "--set", "frames=many"], "frames cannot be simulated"),
        (["files", "--set", "contrast=-1"], "contrast must be above 0"),
        (["files", "--set", "seed=1"], "no setting"),
        (["crystals"], "crystals"),
        (["files", "--runs", "0"], "--runs"),
    ],
)
def test_settings_that_make_no_sense(tmp_path, arguments, says):
    result = simulate(*arguments, "-o", tmp_path / "new")
    assert result.exit_code == 2, result.output
    assert says in " ".join(result.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_values_are_numbers_words_or_lists():
    assert [values(text) for text in ("3", "1e6", "true", "false", "poisson")] == [3, 1e6, True, False, "poisson"]
    assert values("0.003, 0.01") == [0.003, 0.01]
    assert values("1e6/2e6") == [[1e6], [2e6]]
