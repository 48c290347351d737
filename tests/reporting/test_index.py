from __future__ import annotations

import os
import shutil

import pytest

import xpcs_dask as xd
from xpcs_dask.errors import NoUsableInputError, OutputExistsError
from xpcs_dask.reporting import index, report, report_path

from .page_reader import Page


@pytest.fixture
def stores(run, tmp_path):
    """Two runs in folders of their own, one with a name that a link cannot hold as it is."""
    made = []
    for name in ("day one", "two"):
        (tmp_path / name).mkdir()
        made.append(shutil.copytree(run / "fits.zarr", tmp_path / name / "fits #1.zarr"))
    return made


def test_runs_are_listed_with_their_counts(stores, tmp_path, page):
    path, runs = index(stores, tmp_path / "index.html", title="All & sundry", figures=False)
    found = Page(path)
    assert found.problems == []
    assert [one.problem for one in runs] == ["", ""]
    rows = found.rows("runs")
    head = page.json("xpcs-head")
    for row in rows:
        assert {name: int(row[name]) for name in head["verdicts"]} == head["verdicts"]
        assert (row["curves"], row["files"], row["rejected"], row["model"]) == ("24", "3", "1", "simple")
        assert row["D"].startswith("0.009949 ± ")
        assert "no data: 1" in row["distrust"]
    assert "2 runs, 6 files (2 rejected), 48 curves" in found.text
    links = {str(link["href"]) for link in found.all("a")}
    assert links == {"day%20one/fits%20%231.zarr.report.html", "two/fits%20%231.zarr.report.html"}


def test_reports_that_are_up_to_date_are_left_alone(stores, tmp_path):
    index(stores, tmp_path / "index.html", figures=False)
    pages = [report_path(store) for store in stores]
    for page in pages:
        os.utime(page, ns=(1, 1))
    xd.save(xd.open_results(stores[1])["group_0"].to_dataset().isel(file=[0]), stores[1], overwrite=True)
    _, runs = index(stores, tmp_path / "index.html", figures=False)
    assert [page.stat().st_mtime_ns == 1 for page in pages] == [True, False]
    assert [one.head.curves for one in runs] == [24, 8]


def test_nothing_is_made_if_that_is_asked(stores, tmp_path):
    report(stores[0], report_path(stores[0]), figures=False)
    path, runs = index(stores, tmp_path / "index.html", make=False)
    assert not report_path(stores[1]).exists()
    assert runs[1].problem == f"{stores[1]} has no report"
    assert len(Page(path).rows("runs")) == 1
    assert f"{stores[1]} has no report" in Page(path).text


def test_reports_can_be_given_instead_of_stores(stores, tmp_path):
    page = report(stores[0], tmp_path / "some.html", figures=False, title="some")
    (tmp_path / "other.html").write_text("<p>other</p>")
    path, runs = index([page, tmp_path / "other.html", tmp_path / "gone.zarr"], tmp_path / "index.html")
    assert [row["run"] for row in Page(path).rows("runs")] == ["some"]
    assert [bool(one.problem) for one in runs] == [False, True, True]
    assert "no such file" in runs[2].problem


def test_an_index_of_nothing_is_refused(tmp_path):
    with pytest.raises(NoUsableInputError, match="none of 1 runs"):
        index([tmp_path / "gone.zarr"], tmp_path / "index.html")
    (tmp_path / "mine.html").write_text("mine")
    with pytest.raises(OutputExistsError):
        index([tmp_path / "gone.zarr"], tmp_path / "mine.html")
