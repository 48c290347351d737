from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest
from typer.testing import CliRunner

import xpcs_dask as xd
from tests.conftest import carried
from xpcs_dask.cli import app
from xpcs_dask.physics.dispersion import dispersion

D = 4e5


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two files of the producer: the second has nothing to be found in."""
    folder = tmp_path_factory.mktemp("dispersion")
    names = ["S0001_bright_a0000_f004096_r00001_results.hdf", "S0007_starved_a0014_f008192_r00001_results.hdf"]
    for name in names:
        (folder / name).symlink_to(carried(f"boost_corr/{name}"))
    return xd.save(xd.fit(xd.open_g2(folder, on_mismatch="split"), "simple"), folder / "fits.zarr")


def run(*arguments):
    return CliRunner().invoke(app, ["dispersion", *map(str, arguments)])


def files(*arguments):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return {row["file"]: row for row in json.loads(result.stdout)["files"]}


def of_truth(rows):
    return next(row for name, row in rows.items() if "S0001" in name)


def test_each_file_has_its_numbers(store):
    rows = files(store)
    assert len(rows) == 2
    row = of_truth(rows)
    assert abs(row["D"] - D) < 3 * row["D_stderr"]
    assert row["D_lower"] < row["D"] < row["D_upper"]
    assert row["D_um2"] == pytest.approx(row["D"] * 1e-8)
    assert abs(row["exponent"] - 2) < 3 * row["exponent_stderr"]
    assert row["exponent_p"] > 0.003
    assert (row["bins"], row["dof"], row["flags"]) == (12, row["bins_used"] - 1, [])
    empty = next(row for name, row in rows.items() if "S0007" in name)
    assert (empty["D"], empty["exponent"], empty["bins_used"]) == (None, None, 0)
    assert empty["flags"] == ["too_few_bins"]


def test_it_prints_a_line_a_file(store):
    result = run(store)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "Law: diffusion"
    row = of_truth(files(store))
    line = next(line for line in lines if line.startswith("File: S0001"))
    assert f"D {row['D']:.5g} +- {row['D_stderr']:.2g} angstrom^2/s" in line
    assert f"exponent {row['exponent']:.5g} +- {row['exponent_stderr']:.2g} (p {row['exponent_p']:.2g} for 2)" in line
    assert line.endswith(f"{row['bins_used']} of 12 bins")
    assert next(line for line in lines if line.startswith("File: S0007")).endswith("0 of 12 bins, too_few_bins")


def test_the_table_is_what_json_says(store, tmp_path):
    table = tmp_path / "table.csv"
    assert run(store, "-o", table).exit_code == 0
    with table.open() as file:
        written = {row["file"]: row for row in csv.DictReader(file)}
    for name, row in files(store).items():
        for key, value in row.items():
            if isinstance(value, float):
                assert float(written[name][key]) == value
            elif value is None:
                assert written[name][key] == ""
    assert run(store, "-o", table).exit_code == 6
    assert run(store, "-o", table, "--overwrite").exit_code == 0
    table.write_text("mine\n")
    assert run(store, "-o", table, "--overwrite").exit_code == 6
    assert table.read_text() == "mine\n"
    assert run(store, "-o", tmp_path / "table.xlsx").exit_code == 2


def test_laws_and_settings_reach_the_fit(store):
    usual = of_truth(files(store))
    row = of_truth(files(store, "--law", "diffusion+constant"))
    assert {"rate", "rate_stderr", "rate_p", "exponent_p"} <= row.keys()
    assert abs(row["rate"]) < 4 * row["rate_stderr"]
    power = of_truth(files(store, "--law", "power"))
    assert "D" not in power
    assert power["exponent"] == usual["exponent"]
    more = of_truth(files(store, "--keep", "slow"))
    assert more["bins_used"] > usual["bins_used"]
    few = of_truth(files(store, "--q-range", "0.003,0.0045"))
    assert few["bins_used"] == 4
    wide = of_truth(files(store, "--q-err", "0.05"))
    assert wide["D_stderr"] / wide["D"] == pytest.approx(2 * 0.05 / usual["bins_used"] ** 0.5, rel=0.1)
    narrow = of_truth(files(store, "--level", "0.5"))
    assert math.log(narrow["D_upper"] / narrow["D_lower"]) < 0.4 * math.log(usual["D_upper"] / usual["D_lower"])
    assert "exponent" in run(store, "--law", "power").stdout


def test_groups_of_bins_have_lines_of_their_own(tmp_path):
    path = carried("boost_corr/S0002_qphi_a0000_f004096_r00001_results.hdf")
    fits = xd.fit(xd.open_g2(path), "simple").compute()
    store = xd.save(fits, tmp_path / "fits.nc")
    result = run(store, "--by", "phi", "--json", "--keep", "slow")
    rows = json.loads(result.stdout)["files"]
    assert [row["phi"] for row in rows] == np.unique(fits["phi"]).tolist()
    assert all(abs(row["D"] / D - 1) < 0.2 for row in rows)
    assert ", phi 30.1048: D " in run(store, "--by", "phi").stdout


def test_strict_tells_of_files_without_a_result(store):
    result = run(store, "--strict")
    assert result.exit_code == 5
    assert "1 of 2 have no result" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--law", "flow"], 2, "'diffusion+flow'"),
        (["--parameter", "tau1"], 2, "'tau1'"),
        (["--keep", "slowly"], 2, "no flag 'slowly'"),
        (["--q-range", "1"], 2, "--q-range"),
    ],
)
def test_what_makes_no_sense_is_one_line(store, arguments, code, message):
    result = run(store, *arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_what_is_no_store_is_said(tmp_path):
    assert run(tmp_path / "none.zarr").exit_code == 3


def test_a_store_of_something_else_holds_no_curve(store, tmp_path):
    fits = xd.open_results(store)["group_0"].to_dataset().compute()
    path = xd.save(dispersion(fits), tmp_path / "laws.nc")
    result = run(path)
    assert result.exit_code == 3
    assert "holds no fitted curve" in result.stderr
