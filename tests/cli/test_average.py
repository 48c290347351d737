"""`xpcs-dask average`: what it writes, the log, and how it refuses."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import xpcs_dask as xd
from xpcs_dask.cli.main import app
from xpcs_dask.io.stack import open_stack
from xpcs_dask.physics.average import average


def call(*arguments):
    return CliRunner().invoke(app, ["average", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path):
    """Six repeats, of which one has a wrong baseline in its second bin."""
    runs = tmp_path / "runs"
    runs.mkdir()
    xd.simulate.write_series(runs, n_files=6, q=[0.012, 0.016], frames=2048, seed=1)
    with h5py.File(sorted(runs.glob("*.hdf"))[3], "r+") as file:
        file["xpcs/multitau/normalized_g2"][:, 1] += 0.5
    return runs


@pytest.mark.slow
def test_the_stack_is_the_average_and_is_read_like_a_file(folder, tmp_path):
    out = tmp_path / "mean.zarr"
    found = call(folder, "-o", out, "--baseline", "0.9,1.1", "--weights", "counts")
    assert found.exit_code == 0, found.output
    stack = open_stack(out)
    data = xd.open_g2(folder, chunks=None)
    expected = average(data, baseline=(0.9, 1.1), weights="counts")
    assert stack.g2.dims == ("file", "qbin", "delay")
    for name in ("g2", "g2_err", "g2_unweighted", "g2_cluster", "n_repeats"):
        np.testing.assert_array_equal(stack[name].values[0], expected[name].values)
    for name in ("n_products", "rate", "runs", "n_pixels", "curve_id"):
        assert stack[name].dims[0] == "file"
        np.testing.assert_array_equal(stack[name].values[0], expected[name].values)
    assert stack.path.values.tolist() == [str(out)]
    assert stack.cluster_path.values.tolist() == data.path.values.tolist()
    fits = xd.fit(stack).compute(scheduler="sync")
    np.testing.assert_array_equal(fits.value.values[0], xd.fit(expected).value.values)


def test_the_log_is_printed(folder, tmp_path):
    found = call(folder, "-o", tmp_path / "mean.zarr", "--baseline", "0.9,1.1")
    assert "Files: 6\n" in found.stdout
    assert "Rejected curves: 1\n" in found.stdout
    (line,) = [line for line in found.stdout.splitlines() if line.startswith("Rejected curve:")]
    assert "bin 2 (q 0.016 1/angstrom): baseline, 1.5" in line
    assert line.endswith("against 1.1")


def test_json_is_one_object(folder, tmp_path):
    found = call(folder, "-o", tmp_path / "mean.nc", "--outliers", "3.5", "--json")
    report = json.loads(found.stdout)
    assert report["files"] == 6
    assert report["curves"] == 2
    (item,) = report["rejections"]
    assert (item["qbin"], item["reason"]) == (2, "outlier")
    assert item["value"] > item["limit"]


@pytest.mark.slow
def test_netcdf_holds_the_same(folder, tmp_path):
    assert call(folder, "-o", tmp_path / "mean.nc").exit_code == 0
    assert call(folder, "-o", tmp_path / "mean.zarr").exit_code == 0
    with xr.open_dataset(tmp_path / "mean.nc", engine="h5netcdf") as data:
        np.testing.assert_array_equal(data.g2.values, open_stack(tmp_path / "mean.zarr").g2.values)
        assert data.g2.attrs["units"] == "1"


def test_what_is_there_is_not_replaced_unasked(folder, tmp_path):
    for name in ("mean.zarr", "mean.nc"):
        out = tmp_path / name
        assert call(folder, "-o", out).exit_code == 0
        assert call(folder, "-o", out).exit_code == 6
        assert call(folder, "-o", out, "--overwrite").exit_code == 0


def test_a_folder_that_is_no_stack_is_never_replaced(folder, tmp_path):
    out = tmp_path / "mine.zarr"
    out.mkdir()
    assert call(folder, "-o", out, "--overwrite").exit_code == 6
    assert out.exists()


def test_strict_tells_of_rejections(folder, tmp_path):
    assert call(folder, "-o", tmp_path / "a.zarr", "--strict").exit_code == 0
    assert call(folder, "-o", tmp_path / "b.zarr", "--strict", "--baseline", "0.9,1.1").exit_code == 5


def test_files_of_another_kind_are_left_out_or_a_group(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    xd.simulate.write_series(other, n_files=2, q=[0.005], frames=2048, seed=2)
    one, two = sorted(other.glob("*.hdf"))
    found = call(folder, one, "-o", tmp_path / "a.zarr")
    assert found.exit_code == 0
    assert f"Left out: {one}: no other file is like it" in found.stdout
    found = call(folder, one, two, "-o", tmp_path / "b.zarr", "--json")
    assert json.loads(found.stdout)["groups"] == 2
    tree = open_stack(tmp_path / "b.zarr")
    assert sorted(group.sizes["qbin"] for group in (tree["group_0"], tree["group_1"])) == [1, 2]


def test_nothing_to_average(folder, tmp_path):
    only = sorted(folder.glob("*.hdf"))[0]
    found = call(only, "-o", tmp_path / "a.zarr")
    assert found.exit_code == 3
    assert "nothing to average" in found.output
    assert not (tmp_path / "a.zarr").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--baseline", "1"], "--baseline takes two numbers"),
        (["--weights", "all"], "weights: 'all' is none of"),
        (["-o", "out.csv"], "ending in .zarr"),
        (["--scheduler", "magic"], "magic"),
    ],
)
def test_usage(folder, arguments, message):
    found = call(folder, *arguments)
    assert found.exit_code == 2
    assert message in found.output
