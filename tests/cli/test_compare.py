from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import xpcs_dask as xd
from tests.conftest import carried
from xpcs_dask.cli import app
from xpcs_dask.comparison import compare

S0001 = "boost_corr/S0001_bright_a0000_f004096_r00001_results.hdf"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two files of one kind, one of another, and one that cannot be used."""
    folder = tmp_path_factory.mktemp("compare")
    for name in (
        S0001,
        S0001.replace("_results", "_partialnan_results"),
        "boost_corr/S0004_withG2_a0000_f002048_r00001_results.hdf",
        "boost_corr/S0005_twotime_a0000_f000200_r00001_twotime_results.hdf",
    ):
        (folder / name.split("/")[1]).symlink_to(carried(name))
    return folder


def run(*arguments):
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def counts(*arguments):
    result = run(*arguments, "--json", "--folds", "0")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_choices_are_counted_over_all_and_by_bin(folder):
    found = counts(folder)
    assert found["models"] == ["simple", "single", "double"]
    assert found["curves"] == 28
    assert list(found["best"]) == ["aicc", "bic"]
    for criterion, best in found["best"].items():
        assert sum(best.values()) == found["compared"] == 28
        for model, number in best.items():
            assert sum(row[criterion][model] for row in found["bins"]) == number
    assert [sum(row["group"] == k for row in found["bins"]) for k in (1, 2)] == [12, 4]
    assert {"qbin", "q", "phi"} <= set(found["bins"][0])
    assert len(found["rejected"]) == 1
    assert "only one curve" in found["warning"]


def test_the_counts_are_those_of_the_verb(folder):
    found = counts(folder / S0001.split("/")[1], "--models", "simple, single")
    data = xd.open_g2(folder / S0001.split("/")[1])
    direct = compare(data, ["simple", "single"], folds=0).compute()
    (test,) = found["tests"]
    assert (test["small"], test["large"], test["errors_from"]) == ("simple", "single", ["theory"])
    for name in ("likelihood_ratio", "wald"):
        assert test[f"{name}_rejected"] == int((direct[f"{name}_p"] < 0.05).sum())
        assert test[f"{name}_tested"] == int(direct[f"{name}_p"].notnull().sum())
    assert found["best"]["bic"]["simple"] == int((direct["best"].sel(criterion="bic") == 0).sum())


def test_it_prints_lines(folder):
    result = run(folder, "--folds", "2")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    keys = [line.split(":")[0] for line in lines]
    assert keys[:6] == ["Models", "Curves", "Compared", "Best by aicc", "Best by bic", "Best by cv"]
    assert keys[6] == "Test of simple against single"
    assert keys.count("Bin") == 16
    assert any(line.startswith("Bin: 4 of group 2, q 0.00") for line in lines)
    assert "Rejected: 1" in lines
    one = run(folder / S0001.split("/")[1], "--folds", "0").stdout
    assert "Bin: 1, q 0.0006467, phi" in one


def test_results_are_saved_and_never_replaced_unasked(folder, tmp_path):
    path = tmp_path / "models.zarr"
    file = folder / S0001.split("/")[1]
    assert counts(file, "-o", path)["output"] == str(path)
    saved = xd.open_results(path)["group_0"]
    assert saved["best"].shape == (1, 12, 2)
    result = run(file, "-o", path)
    assert result.exit_code == 6
    assert "--overwrite" in result.stderr
    assert run(file, "-o", path, "--overwrite", "--folds", "0").exit_code == 0


def test_settings_reach_the_fits(folder):
    file = folder / S0001.split("/")[1]
    one = counts(
        file, "--fix", "baseline=1", "--q-range", "0.001,0.003", "--covariance", "hc3", "--models", "simple,single"
    )
    assert one["curves"] == 6
    assert one["tests"][0]["errors_from"] == ["hc3"]
    assert counts(file, "--bounds", "stretch=1.2,2", "--models", "simple,single")["tests"] == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--models", "single"], 2, "two models or more"),
        (["--models", "single,triple"], 2, "unknown model 'triple'"),
        (["--folds", "1"], 2, "folds is 1"),
        (["--scheduler", "cloud"], 2, "scheduler 'cloud' is not known"),
        (["-o", "models.csv"], 2, "ending in .zarr or .nc"),
        (["--q-range", "5,6"], 3, "no q of the data"),
        (["--strict", "--folds", "0"], 5, "1 files were rejected"),
    ],
)
def test_errors_are_one_line_and_a_code(folder, arguments, code, message):
    result = run(folder, *arguments)
    assert result.exit_code == code
    assert message in result.stderr
