from __future__ import annotations

import csv
import math
import re

import pytest
from typer.testing import CliRunner

import xpcs_dask as xd
from xpcs_dask.cli import app, demo, demo_outputs

SIMULATED = 4


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "out"
    result = CliRunner().invoke(app, ["demo", "-o", str(folder)])
    assert result.exit_code == 0, result.output
    return folder, result.stdout


def test_it_makes_what_it_says(made):
    folder, out = made
    said = dict(line.split(": ", 1) for line in out.splitlines() if ": " in line)
    for what, name in (
        ("Files", "files"),
        ("Store", "fits.zarr"),
        ("Table", "fits.csv"),
        ("Figure", "fits.png"),
        ("Report", "report.html"),
    ):
        assert said[what] == str(folder / name)
        assert (folder / name).exists()
    assert (folder / "fits.png").read_bytes().startswith(b"\x89PNG")
    assert "Cannot be fitted" in out


def test_the_table_has_every_curve_of_the_store(made):
    folder, _ = made
    rows = list(csv.DictReader((folder / "fits.csv").read_text().splitlines()))
    tree = xd.open_results(folder / "fits.zarr")
    for node in tree.subtree:
        if "status" not in node.data_vars:
            continue
        for number, name in enumerate(node["file"].values):
            mine = [row for row in rows if row["file"] == name]
            tau = node["value"].sel(parameter="tau").values[number]
            assert [float(row["tau"]) for row in mine] == pytest.approx(tau.tolist(), nan_ok=True)
            assert [int(row["qbin"]) for row in mine] == node["qbin"].values.tolist()
    assert len(rows) == sum(node["status"].size for node in tree.subtree if "status" in node.data_vars)


def test_found_and_true_diffusion_agree(made):
    _, out = made
    found = re.findall(r"D of (X\S+): (\S+) angstrom.*truth (\S+) \(([+-]\S+) %\)", out)
    assert len(found) == SIMULATED
    for _, value, truth, off in found:
        assert float(value) == pytest.approx(float(truth), rel=0.05)
        assert 100 * (float(value) / float(truth) - 1) == pytest.approx(float(off), abs=0.1)
    assert sorted(float(truth) for _, _, truth, _ in found) == sorted(demo.DIFFUSIONS)


@pytest.mark.slow
def test_running_it_again_gives_the_same(made):
    folder, out = made
    again = CliRunner().invoke(app, ["demo", "-o", str(folder)])
    assert again.exit_code == 0, again.output
    steady = [line for line in out.splitlines() if "econds" not in line and "per second" not in line]
    assert [line for line in again.stdout.splitlines() if line in steady] == steady


def test_without_a_checkout_it_runs_on_simulated_files_only(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "CARRIED", tmp_path / "nowhere")
    files, truth = demo.make_files(tmp_path)
    assert len(files) == len(truth) == SIMULATED


def row(**changes):
    plain = dict.fromkeys(demo_outputs.Row.__dataclass_fields__, math.nan)
    return demo_outputs.Row(**{**plain, "file": "a.hdf", "counts": True, **changes})


def test_the_comparison_takes_the_median_of_what_counts():
    table = [row(diffusion=d) for d in (1.0, 1.1, 9.0)] + [row(diffusion=50.0, counts=False)]
    [line] = demo_outputs.compare(table, {"a.hdf": 1.0})
    assert line == "D of a.hdf: 1.1 angstrom^2/s from 3 curves, truth 1 (+10.0 %)"


def test_too_few_curves_say_nothing():
    [line] = demo_outputs.compare([row(diffusion=1.0), row(diffusion=1.0)], {"a.hdf": 1.0})
    assert line == "D of a.hdf: not said, 2 of its curves can be trusted"
