"""The page without a browser: widgets change the session, and what it shows is drawn."""

from __future__ import annotations

import time

import numpy as np
import pytest

import xpcs_dask as xd

pytest.importorskip("panel")

from bokeh.document import Document
from panel.io.state import set_curdoc

from xpcs_dask.view.page import Page
from xpcs_dask.view.session import Session
from xpcs_dask.view.sources import open_all

SECONDS = 60


@pytest.fixture
def page(series, tmp_path):
    document = Document()
    with set_curdoc(document):
        made = Page(Session(open_all([str(series[1])])), tmp_path, document)
        made.widgets.view().server_doc(document)
        made.listen()
        yield made
    made._worker.end()


def settle(page):
    """Let the thread that fits, and all that waits for the next tick, come to its end."""
    end, document = time.monotonic() + SECONDS, page._document
    while not document.session_callbacks:
        assert time.monotonic() < end
        time.sleep(0.01)
    while document.session_callbacks:
        callback = document.session_callbacks[0]
        document.remove_next_tick_callback(callback)
        callback.callback()


def drawn(page):
    return np.asarray(page.widgets.curve.line.data["y"])


def test_a_change_is_fitted_and_drawn_and_marked(page, series):
    assert "Fit of the store" in page.widgets.top.object
    before = drawn(page)
    page.widgets.form.model.value = "simple"
    settle(page)
    expected = xd.fit(xd.open_g2(series[0][0]), "simple").compute()["value"].values[0, page.session.bin]
    contrast, tau, baseline = expected
    grid = page.widgets.curve.line.data["x"]
    np.testing.assert_allclose(drawn(page), baseline + contrast * np.exp(-2 * grid / tau), rtol=1e-12)
    assert not np.array_equal(drawn(page), before)
    assert "Refit, not in the store" in page.widgets.top.object
    assert "'simple'" in page.widgets.texts.data["python"][0]
    assert [row["name"] for row in page.widgets.form.rows if row["row"].visible] == ["contrast", "tau", "baseline"]
    page.widgets.reset.clicks += 1
    settle(page)
    assert "Fit of the store" in page.widgets.top.object
    np.testing.assert_array_equal(drawn(page), before)
    assert page.widgets.form.model.value == "single"


def test_bad_settings_are_one_line_and_the_page_goes_on(page):
    before, row = drawn(page), page.widgets.form.rows[1]
    row["low"].value = "fast"
    settle(page)
    assert (
        "lower bound of tau: &#x27;fast&#x27; is not a number; what is shown is the last fit" in page.widgets.top.object
    )
    np.testing.assert_array_equal(drawn(page), before)
    row["low"].value = "5e-3"
    settle(page)
    assert "is not a number" not in page.widgets.top.object
    assert page.session.found.config.bounds["tau"][0] == 5e-3


def test_an_error_that_nobody_foresaw_is_one_line_too(page, monkeypatch, caplog):
    def broken(*_):
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr("xpcs_dask.view.page.refit", broken)
    page.widgets.form.model.value = "double"
    settle(page)
    assert "internal error: ZeroDivisionError: division by zero" in page.widgets.top.object
    assert "Traceback" not in page.widgets.top.object
    assert "Traceback" in caplog.text


def test_bins_files_and_points_are_picked(page):
    page.widgets.overview.bins.selected.indices = [7]
    assert page.session.bin == page.widgets.bins.value == 7
    for key, expected in (("ArrowRight", 8), ("ArrowLeft", 7), ("ArrowLeft", 6)):
        page.widgets.keys.data = {"key": [key], "count": [0]}
        assert page.session.bin == expected
    page.widgets.keys.data = {"key": ["n"], "count": [0]}
    assert page.session.entry is page.session.opened.entries[1]
    page.widgets.curve.points.selected.indices = [3, 4]
    settle(page)
    assert page.session.excluded == {(6, 3), (6, 4)}
    assert page.widgets.curve.points.data["marker"].count("x") == 2
    assert page.widgets.curve.points.selected.indices == []
    assert page.widgets.copy_command.disabled
    page.widgets.back_in.clicks += 1
    settle(page)
    assert not page.session.excluded


def test_a_fit_of_a_file_that_is_shown_no_more_is_not_taken(page):
    page.widgets.form.model.value = "simple"
    page.widgets.files.value = 1
    settle(page)
    np.testing.assert_array_equal(page.session.found.results["curve_id"], page.session.curves["curve_id"])


def test_refits_are_written_beside_the_store(page, tmp_path):
    page.widgets.write_csv.clicks += 1
    page.widgets.write_store.clicks += 1
    written = sorted(path.suffix for path in tmp_path.iterdir())
    assert written == [".csv", ".zarr"]
    assert "written: " in page.widgets.written.object


def test_a_folder_that_cannot_be_written_is_said(page, tmp_path):
    page._folder = tmp_path / "file"
    page._folder.write_text("")
    page.widgets.write_csv.clicks += 1
    assert "role='alert'" in page.widgets.written.object
    assert "Not a directory" in page.widgets.written.object or "File exists" in page.widgets.written.object
