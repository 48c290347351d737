"""Bands beside lmfit, beside draws from the covariance, and beside the refits themselves."""

from dataclasses import replace

import lmfit
import numpy as np
import pytest

import xpcs_dask as xd
from tests.plots.figures import pixels, refits
from xpcs_dask.fitting.models import MODELS, Model
from xpcs_dask.plots.band import band
from xpcs_dask.plots.curve_read import curves

DELAY = np.geomspace(1e-3, 1, 40)
SIGMA = np.full(40, 4e-3)


def stretched(t, contrast, tau, stretch, baseline):
    return baseline + contrast * np.exp(-2 * (t / tau) ** stretch)


@pytest.fixture(scope="module")
def noisy():
    return stretched(DELAY, 0.2, 0.05, 0.8, 1.0) + SIGMA * np.random.default_rng(4).normal(size=40)


@pytest.fixture(scope="module")
def fitted(noisy):
    """The fit of a plain array with known errors, and the array."""
    import xarray as xr

    g2 = xr.DataArray(noisy[None], {"delay": DELAY}, ("qbin", "delay"))
    fits = xd.fit(g2, "single", sigma=SIGMA)
    return curves(g2, fits, {}, sigma=SIGMA).curves[0].fit


@pytest.mark.parametrize("level", [0.68, 0.95])
def test_the_band_is_that_of_lmfit(fitted, noisy, level):
    found = lmfit.Model(stretched).fit(
        noisy, t=DELAY, weights=1 / SIGMA, scale_covar=False, contrast=0.2, tau=0.05, stretch=0.8, baseline=1.0
    )
    smooth = np.geomspace(1e-3, 1, 77)
    reach = found.eval_uncertainty(
        t=smooth, sigma=level
    )  # with Student's t, which a fit with known errors does not need
    low, high, rests = band(replace(fitted, dof=found.nfree), smooth, level)
    np.testing.assert_allclose(high - fitted(smooth), reach, rtol=2e-3)
    np.testing.assert_allclose(fitted(smooth) - low, reach, rtol=2e-3)
    assert rests == ""


def test_the_band_is_the_spread_of_draws_from_the_covariance(fitted):
    small = replace(fitted, covariance=1e-4 * fitted.covariance)  # so that the model is straight within it
    draws = np.random.default_rng(0).multivariate_normal(small.value, small.covariance, 20_000, method="eigh")
    spread = np.std([stretched(DELAY, *draw) for draw in draws], axis=0)
    low, high, _ = band(small, DELAY, 0.6826894921370859)
    np.testing.assert_allclose((high - low) / 2, spread, rtol=0.03)


def test_few_degrees_of_freedom_widen_the_band(fitted):
    known, few = band(fitted, DELAY, 0.95), band(replace(fitted, dof=4.0), DELAY, 0.95)
    np.testing.assert_allclose((few[1] - few[0]) / (known[1] - known[0]), 2.776445 / 1.959964, rtol=1e-6)


def test_refits_make_the_band_where_they_were_kept():
    curve = curves(pixels(), refits(), {"qbin": 1}).curves[0]
    theta = refits()["replicate"].values[0, 0]
    lines = np.array([stretched(DELAY, *one) for one in theta if np.isfinite(one).all()])
    assert len(lines) > 400
    low, high, rests = band(curve.fit, DELAY, 0.9)
    np.testing.assert_allclose(low, np.quantile(lines, 0.05, axis=0), rtol=1e-12)
    np.testing.assert_allclose(high, np.quantile(lines, 0.95, axis=0), rtol=1e-12)
    assert "refits" in rests


def test_a_parameter_without_error_counts_as_known(fitted):
    covariance = fitted.covariance.copy()
    covariance[1], covariance[:, 1] = np.nan, np.nan
    low, high, _ = band(replace(fitted, covariance=covariance), DELAY, 0.95)
    rest = covariance[np.ix_([0, 2, 3], [0, 2, 3])]
    slope = MODELS["single"].jacobian(DELAY, *fitted.value)[:, [0, 2, 3]]
    np.testing.assert_allclose((high - low) / 2, 1.959964 * np.sqrt(np.diag(slope @ rest @ slope.T)), rtol=1e-6)


def test_without_any_error_there_is_no_band(fitted):
    assert band(replace(fitted, covariance=None), DELAY, 0.95) is None
    assert band(replace(fitted, covariance=np.full((4, 4), np.nan)), DELAY, 0.95) is None


def test_functions_without_derivative_have_the_same_band(fitted):
    plain = replace(fitted, model=Model.from_function(stretched))
    for one, other in zip(band(plain, DELAY, 0.95)[:2], band(fitted, DELAY, 0.95)[:2], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8)
