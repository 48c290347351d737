from __future__ import annotations

import json

import h5py
import pytest
from typer.testing import CliRunner

from tests.conftest import carried, shared
from xpcs_dask.cli import app


def info(*arguments):
    return CliRunner().invoke(app, ["info", *map(str, arguments)])


@pytest.fixture(scope="module")
def boost():
    return carried("boost_corr")


def test_every_file_of_a_folder_is_described_as_hdf5_tells_it(boost):
    result = info(boost, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found.keys() == {"files", "version"}
    assert [item["file"] for item in found["files"]] == sorted(map(str, boost.glob("*.hdf")))
    for item in found["files"]:
        with h5py.File(item["file"]) as file:
            multitau = file.get("xpcs/multitau")
            assert ("two-time" in item["holds"]) == ("twotime" in file["xpcs"])
            if multitau is None:
                continue
            delays, curves = multitau["normalized_g2"].shape
            q = file["xpcs/qmap/dynamic_v_list_dim0"][()]
            assert (item["delays"], item["curves"]) == (delays, curves)
            assert item["q_range"] == pytest.approx([q.min(), q.max()])
            assert item["frame_time"] == pytest.approx(file["entry/instrument/detector_1/frame_time"][()].item())
            assert item["frames"] == file["xpcs/spatial_mean/intensity_vs_time"].shape[1]
            assert ("partial g2" in item["holds"]) == ("normalized_g2_partial" in multitau)
            assert ("pixel G2" in item["holds"]) == ("unnormalized_G2" in multitau)
            assert (item["reason"], item["format"]) == ("", "aps_nexus")


def test_two_time_only_is_listed_with_the_reason(boost):
    [path] = boost.glob("S0005*")
    result = info(path, "--json")
    [item] = json.loads(result.stdout)["files"]
    assert item["holds"] == ["two-time"]
    assert "two-time results only" in item["reason"]
    assert item["curves"] == 0
    assert result.exit_code == 3
    assert "none of 1 files can be fitted" in result.stderr


def test_the_table_has_a_line_a_file_and_the_reasons_below(boost, tmp_path):
    (tmp_path / "notes.hdf").write_text("no HDF5")
    result = info(boost, tmp_path / "notes.hdf", tmp_path / "gone.hdf")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    for path in boost.glob("*.hdf"):
        assert sum(path.name in line and "│" in line for line in lines) == 1
    reasons = [line for line in lines if line.startswith("Cannot be fitted: ")]
    assert len(reasons) == 3
    assert any("notes.hdf: it is not HDF5" in line for line in reasons)
    assert any("gone.hdf: there is no such file" in line for line in reasons)
    assert lines[-3:] == ["Files: 14", "Usable: 11", "Curves: 155"]


def test_units_and_entry_are_told(tmp_path):
    path = tmp_path / "curves.csv"
    path.write_text("delay,0.05,0.07\n" + "".join(f"{k},1.2,1.1\n" for k in range(1, 9)))
    [untold] = json.loads(info(path, "--json").stdout)["files"]
    assert "delay_unit=" in untold["reason"]
    result = info(path, "--json", "--delay-unit", "ms", "--q-unit", "1/nm")
    assert result.exit_code == 0, result.output
    [told] = json.loads(result.stdout)["files"]
    assert (told["format"], told["curves"], told["delays"]) == ("table", 2, 8)
    assert told["q_range"] == pytest.approx([0.005, 0.007])
    wrong = info(path, "--json", "--delay-unit", "ms", "--q-unit", "1/nm", "--entry", "second")
    assert "entry= does not apply" in json.loads(wrong.stdout)["files"][0]["reason"]


def test_a_unit_that_is_not_known_is_exit_2(boost):
    result = info(boost, "--delay-unit", "fortnight")
    assert result.exit_code == 2
    assert "s, ms, us, ns" in result.stderr
    assert result.stdout == ""


def test_a_table_without_q_is_valid_json(tmp_path):
    path = tmp_path / "curves.csv"
    path.write_text("".join(f"{k} 1.2\n" for k in range(1, 9)))

    def refuse(constant):
        raise AssertionError(constant)

    result = info(path, "--json", "--delay-unit", "ms")
    [item] = json.loads(result.stdout, parse_constant=refuse)["files"]
    assert (item["curves"], item["q_range"], item["reason"]) == (1, None, "")


def test_real_files(tmp_path):
    folder = shared("aps")
    result = info(folder, "--json")
    assert result.exit_code == 0
    found = {item["file"].rsplit("/")[-1][:5]: item for item in json.loads(result.stdout)["files"]}
    assert {item["reason"] for item in found.values()} == {""}
    assert found["E0173"]["delays"] == 61
    assert found["E0173"]["frames"] == 100_000
    assert found["E0173"]["frame_time"] == pytest.approx(2e-5)
