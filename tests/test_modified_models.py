"""Figures of fits with a modified model, which `MODELS` does not list."""

from __future__ import annotations

import numpy as np
import pytest

import xpcs_dask as xd
from xpcs_dask import plots
from xpcs_dask.fitting.models import by_name
from xpcs_dask.simulate import curves
from xpcs_dask.view.choices import Choices


@pytest.fixture(scope="module")
def made():
    data = curves(1, q=np.geomspace(0.004, 0.02, 3), seed=4)
    return data, xd.fit(data, "simple+exposure=0.0001", detail="full")


def test_curves_are_drawn_with_their_model(made):
    data, fits = made
    axes = plots.g2(data, fits, qbin=2)[0]
    drawn = max((line for line in axes.lines if line.get_linestyle() == "-"), key=lambda line: line.get_xdata().size)
    value = fits["value"].values[0, 1]
    model = by_name("simple+exposure=0.0001")
    np.testing.assert_allclose(drawn.get_ydata(), model.evaluate(drawn.get_xdata(), *value), rtol=1e-9)


def test_a_report_knows_its_relaxation_times(made, tmp_path):
    _, fits = made
    page = xd.report(fits, tmp_path / "r.html", figures=False).read_text()
    assert "the model has no relaxation time" not in page
    assert "exposure=0.0001" in page


def test_a_view_can_refit_it():
    assert Choices(model="simple+exposure=0.0001").record.name == by_name("simple+exposure=0.0001").name


def test_a_function_of_a_user_has_no_record():
    assert by_name("decay_of_mine") is None
    assert by_name("single").name == "single"
