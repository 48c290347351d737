"""Every row of docs/bad_input.md, run."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from xpcs_dask.cli import app
from xpcs_dask.results import open_results
from xpcs_dask.simulate.files import write_series

TABLE = Path(__file__).parents[2] / "docs" / "bad_input.md"
G2, ERR = "xpcs/multitau/normalized_g2", "xpcs/multitau/normalized_g2_err"
Q = np.array([0.005, 0.007, 0.009, 0.011])
NOBODY = 65534


def rows():
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    good, other = write_series(folder, 2, seed=5, q=Q, frames=20_000)
    [shifted] = write_series(folder / "shifted", 1, seed=6, q=1.1 * Q, frames=20_000)
    return good, other, shifted


@pytest.fixture
def folder():
    """Readable and writable by anybody, which tmp_path is not."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


def edited(change, *options):
    def make(folder, originals):
        path = folder / "bad.hdf"
        shutil.copy(originals[1], path)
        with h5py.File(path, "r+") as file:
            change(file)
        return [path], list(options)

    return make


def replace(file, name, value):
    del file[name]
    file[name] = value


def swap_delays(file):
    delays = file["xpcs/multitau/delay_list"][()]
    delays[[3, 4]] = delays[[4, 3]]
    replace(file, "xpcs/multitau/delay_list", delays)


def spoil(name, value):
    def change(file):
        file[name][:, 2] = value

    return change


def keep_two_time_only(file):
    del file["xpcs/multitau"]
    file["xpcs/twotime/processed_bins"] = np.array([1])


def written(content):
    def make(folder, originals):
        (folder / "bad.hdf").write_bytes(content)
        return [folder / "bad.hdf"], []

    return make


def truncated(folder, originals):
    content = originals[1].read_bytes()
    return written(content[: len(content) * 6 // 10])(folder, originals)


def unreadable(folder, originals):
    [path], options = edited(lambda file: None)(folder, originals)
    path.chmod(0)
    return [path], options


def untouched(*options):
    def make(folder, originals):
        return [shutil.copy(originals[1], folder / "bad.hdf")], list(options)

    return make


MAKE = {
    "truncated HDF5": truncated,
    "text named .hdf": written(b"q g2 error\n0.1 1.2 0.01\n"),
    "empty file": written(b""),
    "missing file": lambda folder, originals: ([folder / "bad.hdf"], []),
    "missing q-map": edited(lambda file: file.__delitem__("xpcs/qmap")),
    "g2 transposed": edited(lambda file: replace(file, G2, file[G2][()].T)),
    "delay not increasing": edited(swap_delays),
    "two-time only": edited(keep_two_time_only),
    "no read permission": unreadable,
    "duplicated file": lambda folder, originals: ([folder / "good.hdf", f"{folder}/./good.hdf"], []),
    "all-NaN curve": edited(spoil(G2, np.nan)),
    "infinite sigma": edited(spoil(ERR, np.inf), "--errors", "quoted"),
    "two different q-maps": lambda folder, originals: ([shutil.copy(originals[2], folder / "bad.hdf")], []),
    "0 curves after q_range": untouched("--q-range", "0.5,0.6"),
    "crossed bounds": untouched("--bounds", "tau=1,0.1"),
    "unknown parameter name": untouched("--fix", "speed=1"),
}


def test_the_table_and_this_test_hold_the_same_rows():
    assert [row[0] for row in rows()] == list(MAKE)


def run(paths, options, output):
    arguments = ["fit", *dict.fromkeys(map(str, paths)), "-o", str(output), "--scheduler", "sync", *options]
    return CliRunner().invoke(app, arguments)


def files_of(results):
    groups = [node.to_dataset() for node in results.subtree] if isinstance(results, xr.DataTree) else [results]
    return [group for group in groups if "status" in group]


@pytest.mark.parametrize(("what", "see", "code", "alone", "strict", "good"), rows(), ids=[row[0] for row in rows()])
def test_row(what, see, code, alone, strict, good, folder, originals):
    shutil.copy(originals[0], folder / "good.hdf")
    bad, options = MAKE[what](folder, originals)
    paths, output = [folder / "good.hdf", *bad], folder / "fits.zarr"
    as_root = what == "no read permission" and os.geteuid() == 0
    if as_root:  # root reads everything; and what nobody may not import must be there already
        assert run([folder / "good.hdf"], options, folder / "warm.zarr").exit_code == 0
        os.seteuid(NOBODY)
    try:
        both = run(paths, options, output)
        only = run(bad, options, folder / "alone.zarr")
        strictly = run(paths, [*options, "--strict"], folder / "strict.zarr")
    finally:
        if as_root:
            os.seteuid(0)
    assert see in both.output.replace("`", ""), both.output
    assert (both.exit_code, only.exit_code, strictly.exit_code) == (int(code), int(alone), int(strict)), both.output
    assert "Traceback" not in both.output
    if good == "not fitted":
        assert not output.exists()
        return
    groups = files_of(open_results(output))
    assert len(groups) == (2 if good == "fitted, one group each" else 1)
    mine = [group.isel(file=k) for group in groups for k in range(group.sizes["file"]) if group.file[k] == "good.hdf"]
    assert len(mine) == 1
    assert (mine[0].status == 1).all()
    alone_fits = folder / "good.zarr"
    assert run([folder / "good.hdf"], options, alone_fits).exit_code == 0
    [expected] = files_of(open_results(alone_fits))
    np.testing.assert_array_equal(mine[0].value, expected.value.isel(file=0))


def test_spoilt_curves_are_rows_of_nan_beside_good_ones(folder, originals):
    [path], _ = MAKE["all-NaN curve"](folder, originals)
    assert run([path], [], folder / "fits.zarr").exit_code == 0
    [fits] = files_of(open_results(folder / "fits.zarr"))
    assert fits.status.values.tolist() == [[1, 1, 2, 1]]
    assert np.isnan(fits.value.values[0, 2]).all()
    assert np.isfinite(fits.value.values[0, [0, 1, 3]]).all()
