from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import xpcs_dask as xd
from xpcs_dask.errors import OutputExistsError
from xpcs_dask.view import writing
from xpcs_dask.view.refit import BY_HAND, refit
from xpcs_dask.view.session import Session
from xpcs_dask.view.sources import open_all


@pytest.fixture
def found(session):
    session.choose(model="simple")
    session.excluded = frozenset({(4, 10), (4, 11), (0, 2)})
    return refit(session.curves, session.choices, session.excluded)


def test_a_store_is_written_and_can_be_viewed(session, found, tmp_path):
    path = writing.write(found, session.curves, "zarr", tmp_path, "fits")
    assert path == tmp_path / "fits-refit-1.zarr"
    again = xd.open_results(path)
    np.testing.assert_array_equal(again["value"].isel(file=0), found.results["value"])
    delay = session.curves["delay"].values
    assert json.loads(again.attrs[BY_HAND]) == [[1, [delay[2]]], [5, [delay[10], delay[11]]]]
    back = Session(open_all([str(path)]))
    assert back.choices.model == "simple"
    assert back.entry.label == session.entry.label


def test_a_table_is_written(session, found, tmp_path):
    table = pd.read_csv(writing.write(found, session.curves, "csv", tmp_path, "fits"))
    np.testing.assert_allclose(table["tau (s)"], found.results["value"].sel(parameter="tau"))
    assert len(table) == 36


@pytest.mark.parametrize("kind", ["zarr", "csv"])
def test_nothing_is_replaced(session, found, tmp_path, kind):
    first = writing.write(found, session.curves, kind, tmp_path, "fits")
    (tmp_path / f"fits-refit-2.{kind}").write_text("mine")
    assert writing.write(found, session.curves, kind, tmp_path, "fits") == tmp_path / f"fits-refit-3.{kind}"
    assert (tmp_path / f"fits-refit-2.{kind}").read_text() == "mine"
    assert first.exists()


def test_names_cannot_leave_the_folder(session, found, tmp_path):
    path = writing.write(found, session.curves, "csv", tmp_path, "../../a b/..\\c")
    assert path.parent == tmp_path


def test_at_some_point_it_is_enough(session, found, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "MOST", 2)
    writing.write(found, session.curves, "csv", tmp_path, "fits")
    with pytest.raises(OutputExistsError, match="an earlier refit"):
        writing.write(found, session.curves, "csv", tmp_path, "fits")
