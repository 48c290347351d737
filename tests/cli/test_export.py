from __future__ import annotations

import json

import h5py
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import xpcs_dask as xd
from xpcs_dask.cli import app
from xpcs_dask.simulate import write_series


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two files with known truth, and the store of their fits."""
    folder = tmp_path_factory.mktemp("export")
    files = write_series(folder / "files", 2, seed=1, q=[0.005, 0.01], frames=20_000)
    fits = xd.fit(xd.open_g2(files, on_mismatch="split"), "simple")
    return files, xd.save(fits, folder / "fits.zarr")


def export(*arguments):
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def test_json_says_what_was_written(made, tmp_path):
    result = export(made[1], "-o", tmp_path / "fits.csv", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert list(report) == ["format", "bytes", "output", "version"]
    assert (report["format"], report["output"]) == ("csv", str(tmp_path / "fits.csv"))
    assert report["bytes"] == (tmp_path / "fits.csv").stat().st_size


def test_the_table_holds_the_truth(made, tmp_path):
    files, store = made
    lines = dict(line.split(": ", 1) for line in export(store, "-o", tmp_path / "fits.csv").stdout.splitlines())
    assert lines["Format"] == "csv"
    table = pd.read_csv(tmp_path / "fits.csv")
    truth = json.loads((files[0].parent / "truth.json").read_text())
    for _, row in table.iterrows():
        known = truth[row["file"]]
        tau = known["true_value"][row["qbin"] - 1][known["parameters"].index("tau")]
        assert abs(row["tau (s)"] - tau) < 6 * row["tau_stderr (s)"] + 0.02 * tau


def test_a_copy_gets_the_fits(made, tmp_path):
    files, store = made
    result = export(store, "-o", tmp_path / "copy.hdf", "--into", files[1], "--json")
    assert json.loads(result.stdout)["copy_of"] == str(files[1])
    fits = xd.open_results(store)["group_0"].to_dataset()
    with h5py.File(tmp_path / "copy.hdf", "r") as file, h5py.File(files[1], "r") as source:
        expected = fits.value.sel(file=files[1].name, parameter="tau")
        np.testing.assert_array_equal(file["xpcs_dask_fit/fit/tau/tau"], expected)
        np.testing.assert_array_equal(file["xpcs/multitau/normalized_g2"], source["xpcs/multitau/normalized_g2"])


@pytest.mark.parametrize("name", ["fits.nc", "fits.nxs", "fits.txt"])
def test_other_formats(made, tmp_path, name):
    arguments = ["--format", "csv"] if name.endswith("txt") else []
    assert export(made[1], "-o", tmp_path / name, *arguments).exit_code == 0
    assert (tmp_path / name).is_file()


def test_an_output_that_is_there_is_replaced_only_when_told(made, tmp_path):
    path = tmp_path / "fits.csv"
    assert export(made[1], "-o", path).exit_code == 0
    refused = export(made[1], "-o", path)
    assert (refused.exit_code, refused.stdout) == (6, "")
    assert "--overwrite" in refused.stderr
    assert export(made[1], "-o", path, "--overwrite").exit_code == 0
    path.write_text("my own notes")
    assert export(made[1], "-o", path, "--overwrite").exit_code == 6
    assert path.read_text() == "my own notes"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["-o", "fits.xls"], 2, "known are .nc, .csv"),
        (["-o", "fits.csv", "--format", "excel"], 2, "known are netcdf, csv"),
        (["-o", "fits.csv", "--into", "x.hdf"], 2, "NeXus"),
        (["-o", "copy.hdf", "--into", "x.hdf"], 2, "x.hdf is no file"),
        ([], 2, "--output"),
    ],
)
def test_usage(made, tmp_path, monkeypatch, arguments, code, says):
    monkeypatch.chdir(tmp_path)
    result = export(made[1], *arguments)
    assert result.exit_code == code
    assert says in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_no_results(tmp_path):
    result = export(tmp_path / "none.zarr", "-o", tmp_path / "fits.csv")
    assert result.exit_code == 3
    assert "none.zarr" in result.stderr
    assert "Traceback" in export(tmp_path / "none.zarr", "-o", tmp_path / "fits.csv", "--debug").stderr
