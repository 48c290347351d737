from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from tests.conftest import carried
from xpcs_dask.results import covariance_matrix
from xpcs_dask.view.choices import Choices
from xpcs_dask.view.drawing import RANGE, curve, overview, raw_curve
from xpcs_dask.view.refit import refit
from xpcs_dask.view.sources import open_all


@pytest.fixture(scope="module")
def curves(series):
    return open_all([str(series[0][0])]).entries[0].read()[0]


def test_residuals_make_chi2(curves):
    found = refit(curves, Choices())
    for bin_ in (0, 17, 35):
        drawn = curve(curves, found, bin_, 0.95)
        assert np.nansum(drawn.residual**2) == pytest.approx(float(found.results["chi2"][bin_]), rel=1e-9)
        assert drawn.used.sum() == found.results["n_used"][bin_]


def test_errors_without_a_scale_get_that_of_the_residuals(curves):
    drawn = curve(curves, found := refit(curves, Choices(errors="none")), 5, 0.95)
    assert np.nansum(drawn.residual**2) == pytest.approx(int(found.results["dof"][5]))


def test_the_band_is_that_of_many_draws_from_the_covariance(curves):
    """By Monte Carlo: what the delta method says, to 3 %."""
    found = refit(curves, Choices())
    drawn = curve(curves, found, 20, 0.95)

    covariance = covariance_matrix(found.results).isel(qbin=20).values
    draws = np.random.default_rng(1).multivariate_normal(found.results["value"].values[20], covariance, 40_000)
    contrast, tau, stretch, baseline = draws.T[:, :, None]
    lines = baseline + contrast * np.exp(-2 * (drawn.line[0] / tau) ** stretch)
    half = 0.5 * (drawn.band[1] - drawn.band[0])
    np.testing.assert_allclose(1.96 * lines.std(axis=0), half, rtol=0.03)


def test_points_outside_the_delay_range_say_so(curves):
    drawn = curve(curves, refit(curves, Choices(first_delay="1e-3")), 5, 0.95)
    outside = drawn.delay < 1e-3
    assert {drawn.why[k] for k in np.flatnonzero(outside)} == {RANGE}
    assert not drawn.used[outside].any()
    assert drawn.line[0][0] >= 1e-3


def test_a_curve_without_a_fit_is_drawn_with_its_reason():
    data = open_all([str(carried("boost_corr/S0007_starved_a0014_f008192_r00001_results.hdf"))]).entries[0].read()[0]
    found = refit(data, Choices())
    failed = np.flatnonzero(found.results["status"].values != 1)
    drawn = curve(data, found, int(failed[0]), 0.95)
    assert drawn.line[0].size == drawn.band[0].size == 0
    assert len(drawn.why) == data.sizes["delay"]


def test_far_points_do_not_flatten_the_curve(curves):
    spiked = curves.copy(deep=True)
    spiked["g2"][5, -1] = 40.0  # few products: not used
    drawn = curve(spiked, refit(spiked, Choices()), 5, 0.95)
    assert drawn.height[1] < 1.5
    assert drawn.beyond == 1


def test_raw_curves_need_nothing(curves):
    plain = xr.Dataset({"g2": curves["g2"].drop_vars(curves["g2"].coords)}, {"delay": curves["delay"]})
    drawn = raw_curve(plain, 3)
    assert np.isnan(drawn.sigma).all()
    assert drawn.used.all()


def test_bins_without_q_have_numbers(curves):
    found = overview(refit(curves, Choices()).results, None, curves.assign_coords(q=np.nan * curves["q"]), "tau")
    assert found.axis == "number of the q bin"
    np.testing.assert_array_equal(found.q, np.arange(1, 37))
