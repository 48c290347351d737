"""What the page shows as the call that repeats a fit does repeat it."""

from __future__ import annotations

import shlex

import numpy as np
import pytest
from typer.testing import CliRunner

import xpcs_dask as xd
from xpcs_dask.cli import app
from xpcs_dask.view.refit import refit
from xpcs_dask.view.repeat import command, python
from xpcs_dask.view.session import Session
from xpcs_dask.view.sources import Origin, open_all

CHANGES = [
    {},
    {"model": "simple", "robust": "clip", "first_delay": "1e-4", "held": {"baseline": "1"}},
    {"errors": "quoted", "loss": "huber", "loss_scale": "2", "high": {"tau": "0.5"}},
    {"errors": "none", "covariance": "hc3", "search": "thorough", "last_delay": "0.01"},
]


def found_of(session):
    return refit(session.curves, session.choices, session.excluded)


@pytest.mark.parametrize("changes", CHANGES)
def test_the_python_call_makes_the_same_fit(session, changes):
    session.choose(**changes)
    found, names = found_of(session), {}
    exec(python(found, session.origin, session.curves), names)
    np.testing.assert_array_equal(names["fits"]["value"].isel(file=0), found.results["value"])
    np.testing.assert_array_equal(names["fits"]["interval"].isel(file=0), found.results["interval"])


@pytest.mark.parametrize("everywhere", [False, True])
def test_the_python_call_leaves_the_points_out(session, everywhere):
    session.excluded = frozenset({(4, 10), (9, 3)})
    session.toggle([7, 8], everywhere)
    found, names = found_of(session), {}
    exec(python(found, session.origin, session.curves), names)
    np.testing.assert_array_equal(names["fits"]["value"].isel(file=0), found.results["value"])
    line, why = command(found, session.origin)
    assert line == ""
    assert "excluded by hand" in why


def test_points_left_out_of_all_bins_are_one_line(session):
    session.toggle([7, 8], everywhere=True)
    assert "g2[dict(delay=[7, 8])]" in python(found_of(session), session.origin, session.curves)


@pytest.mark.parametrize("changes", CHANGES)
def test_the_command_makes_the_same_fit(session, changes, tmp_path, monkeypatch):
    session.choose(**changes)
    found = found_of(session)
    line, why = command(found, session.origin)
    assert why == ""
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line)
    assert words[0] == "xpcs-dask"
    result = CliRunner().invoke(app, words[1:])
    assert result.exit_code == 0, result.output
    fits = xd.open_results("refit.zarr")["group_0"].to_dataset() if not _is_dataset() else xd.open_results("refit.zarr")
    np.testing.assert_array_equal(fits["value"].isel(file=0), found.results["value"])
    np.testing.assert_array_equal(fits["interval"].isel(file=0), found.results["interval"])


def _is_dataset():
    return hasattr(xd.open_results("refit.zarr"), "data_vars") and not hasattr(xd.open_results("refit.zarr"), "subtree")


def test_one_of_a_stack_is_told_by_its_label(series, tmp_path):
    xd.pack(xd.open_g2(series[0]), tmp_path / "stack.zarr")
    session = Session(open_all([str(tmp_path / "stack.zarr")]))
    session.select_file(1)
    session.toggle([5])
    found, names = found_of(session), {}
    exec(python(found, session.origin, session.curves), names)
    assert names["fits"].sizes["file"] == 1
    np.testing.assert_array_equal(names["fits"]["value"].isel(file=0), found.results["value"])
    session.take_back()
    assert "all of a stack" in command(found_of(session), session.origin)[1]


def test_units_of_a_table_are_told_again(session):
    line, why = command(found_of(session), Origin("curves.csv", {"delay_unit": "ms", "q_unit": "1/nm"}, {}))
    assert why == ""
    assert "--delay-unit ms" in line
    assert "--q-unit 1/nm" in line
