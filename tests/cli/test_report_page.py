from __future__ import annotations

import json
import shutil

import pytest
from typer.testing import CliRunner

from tests.conftest import carried
from xpcs_dask.cli import app
from xpcs_dask.reporting.head import Head


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    file = carried("boost_corr/S0001_bright_a0000_f004096_r00001_results.hdf")
    ran = call("fit", file, "-o", folder / "fits.zarr", "--model", "simple", "--report")
    assert ran.exit_code == 0, ran.output
    assert f"Report: {folder}/fits.zarr.report.html" in ran.stdout
    return folder / "fits.zarr"


def test_fit_writes_a_report_beside_the_store(store):
    head = Head.read(store.with_name("fits.zarr.report.html"))
    assert (head.title, head.files, head.model) == ("fits.zarr", 1, "simple")


def test_run_writes_one_too(store, tmp_path):
    file = carried("boost_corr/S0001_bright_a0000_f004096_r00001_results.hdf")
    (tmp_path / "run.yaml").write_text(f"inputs: [{file}]\noutput: {tmp_path}/fits.zarr\nmodel: simple\n")
    ran = call("run", tmp_path / "run.yaml", "--json", "--report")
    assert json.loads(ran.stdout)["report"] == str(tmp_path / "fits.zarr.report.html")
    assert (tmp_path / "fits.zarr.report.html").exists()


def test_without_the_option_there_is_none(tmp_path):
    file = carried("boost_corr/S0001_bright_a0000_f004096_r00001_results.hdf")
    ran = call("fit", file, "-o", tmp_path / "fits.zarr", "--model", "simple")
    assert "Report" not in ran.stdout
    assert not list(tmp_path.glob("*.html"))


def test_a_page_of_one_store(store, tmp_path):
    ran = call("report", store, "-o", tmp_path / "r.html", "--title", "mine", "--no-figures", "--json")
    said = json.loads(ran.stdout)
    assert said["report"] == str(tmp_path / "r.html")
    assert said["bytes"] == (tmp_path / "r.html").stat().st_size
    assert Head.read(tmp_path / "r.html").title == "mine"


def test_data_that_moved_can_be_given(store, tmp_path, monkeypatch):
    for name in ("WORST", "BEST", "SAMPLE", "EXAMPLES"):
        monkeypatch.setattr(f"xpcs_dask.reporting.picks.{name}", 1)
    shutil.copytree(store, tmp_path / "fits.zarr")
    file = carried("boost_corr/S0001_bright_a0000_f004096_r00001_results.hdf")
    ran = call("report", tmp_path / "fits.zarr", "--data", file)
    assert ran.exit_code == 0, ran.output
    assert "data:image/png" in (tmp_path / "fits.zarr.report.html").read_text()


def test_an_index_of_several(store, tmp_path):
    shutil.copytree(store, tmp_path / "b.zarr")
    ran = call("report", store, tmp_path / "b.zarr", "-o", tmp_path / "index.html", "--no-figures")
    assert ran.exit_code == 0, ran.output
    assert ran.stdout.splitlines()[:3] == [f"Index: {tmp_path}/index.html", "Runs: 2", "Rejected: 0"]
    ran = call("report", store, tmp_path / "gone.zarr", "-o", tmp_path / "index.html", "--no-figures", "--strict")
    assert ran.exit_code == 5
    assert f"Rejected file: {tmp_path}/gone.zarr: " in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["gone.zarr"], 3, "there is no such file"),
        (["STORE", "--law", "magic"], 2, "is none of"),
        (["STORE", "STORE", "--data", "x.hdf"], 2, "--data goes with one store"),
        (["STORE", "-o", "PAPER"], 6, "it is no report"),
    ],
)
def test_errors_are_one_line_and_a_code(store, tmp_path, arguments, code, words):
    (tmp_path / "paper.html").write_text("a paper")
    names = {"STORE": store, "PAPER": tmp_path / "paper.html"}
    ran = call("report", *(names.get(argument, argument) for argument in arguments))
    assert ran.exit_code == code
    assert ran.stderr.count("\n") == 1
    assert words in ran.stderr
    assert ran.stdout == ""
