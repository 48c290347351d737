from __future__ import annotations

import numpy as np
import pytest

import xpcs_dask as xd
from xpcs_dask.fitting.quality import PointFlag
from xpcs_dask.view.choices import Choices
from xpcs_dask.view.refit import refit, without
from xpcs_dask.view.sources import open_all


@pytest.fixture(scope="module")
def curves(series):
    return open_all([str(series[0][0])]).entries[0].read()[0]


@pytest.mark.parametrize(
    "settings", [{}, {"errors": "quoted"}, {"robust": "clip"}, {"errors": "none"}, {"covariance": "hc3"}]
)
def test_a_refit_is_the_fit_of_the_file(series, curves, settings):
    """Bit for bit: one file taken out of its Dataset loses nothing that weights or errors need."""
    expected = xd.fit(xd.open_g2(series[0][0], chunks=None), "single", interval="covariance", **settings).isel(file=0)
    found = refit(curves, Choices(**settings))
    for name in ("value", "stderr", "interval", "chi2", "flags", "quality", "status", "covariance"):
        np.testing.assert_array_equal(found.results[name], expected[name], err_msg=name)
    sigma = xd.quality(xd.open_g2(series[0][0], chunks=None), **settings)["sigma"].isel(file=0)
    np.testing.assert_array_equal(found.points["sigma"], sigma)


def test_points_left_out_are_missing_to_the_fit_and_nothing_else_changes(series, curves):
    whole, found = refit(curves, Choices()), refit(curves, Choices(), frozenset({(4, 10), (4, 11)}))
    data = xd.open_g2(series[0][0], chunks=None)
    g2 = data["g2"].copy(deep=True)
    g2[0, 4, [10, 11]] = np.nan
    expected = xd.fit(data.assign(g2=g2), "single").isel(file=0)
    np.testing.assert_array_equal(found.results["value"], expected["value"])
    assert found.results["n_used"][4] == whole.results["n_used"][4] - 2
    assert found.results["value"][4, 1] != whole.results["value"][4, 1]
    others = np.arange(36) != 4
    np.testing.assert_array_equal(found.results["value"][others], whole.results["value"][others])
    assert np.isnan(found.points["sigma"][4, [10, 11]]).all()
    assert (found.results["quality"][4, [10, 11]] == PointFlag.MISSING | PointFlag.NOT_USED).all()


def test_an_outlier_that_is_left_out_does_not_touch_the_errors_of_its_neighbours(curves):
    spiked = curves.copy(deep=True)
    spiked["g2"][4, 10] = 1.9
    here, there = (refit(data, Choices(), frozenset({(4, 10)})) for data in (spiked, curves))
    np.testing.assert_array_equal(here.points["sigma"], there.points["sigma"])
    np.testing.assert_array_equal(here.results["value"], there.results["value"])


def test_the_curves_themselves_stay(curves):
    before = curves["g2"].values.copy()
    assert np.isnan(without(curves, {(0, 0)})["g2"][0, 0])
    np.testing.assert_array_equal(curves["g2"], before)
