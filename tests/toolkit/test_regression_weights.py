"""Weights and the iterated fit against statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.optimize import curve_fit
from statsmodels.robust import norms
from statsmodels.robust.scale import mad

from tests.toolkit.diffusion_truth import curve, delays, truth
from xpcs_dask.errors import ConfigError
from xpcs_dask.toolkit.diffusion_models import DiffusionModels
from xpcs_dask.toolkit.regression_weights import WeightedRegressionFramework

FRAME = WeightedRegressionFramework()
X = np.linspace(0, 1, 50)
DESIGN = sm.add_constant(X)


def line(x, a, b):
    return a + b * x


def noisy(seed=0):
    rng = np.random.default_rng(seed)
    error = 0.05 * (1 + 2 * X)
    y = line(X, 1.0, 2.0) + error * rng.standard_normal(50)
    y[[4, 30, 31]] += 2
    return y, error


def test_inverse_variance():
    found = FRAME.calculate_weights_inverse_variance([0.1, 2.0, 1e6, 0.0, np.nan, -1, np.inf])
    np.testing.assert_allclose(found, [100, 0.25, 1e-8, 0, 0, 0, 0])
    np.testing.assert_allclose(FRAME.calculate_weights_inverse_variance([10.0], min_weight=0.1), [0.1])


@pytest.mark.parametrize("unit", [1.0, 1e-3, 1e4])
def test_robust_weights_are_those_of_statsmodels(unit):
    residuals = unit * np.random.default_rng(2).standard_t(2, 81)
    standard = residuals / mad(residuals, center=0)
    known = norms.TukeyBiweight(4.685).weights(standard)
    assert (known == 0).any()
    np.testing.assert_allclose(FRAME.calculate_weights_robust_mad(residuals), known, rtol=1e-4, atol=1e-5)
    for k in (1.345, 2.0):
        np.testing.assert_allclose(
            FRAME.calculate_weights_huber(residuals, k), norms.HuberT(k).weights(standard), rtol=1e-4
        )


def test_where_most_residuals_are_zero_only_these_count():
    residuals = np.array([0, 0, 0, 0, 5.0])
    for found in (FRAME.calculate_weights_huber(residuals), FRAME.calculate_weights_robust_mad(residuals)):
        np.testing.assert_array_equal(found, [1, 1, 1, 1, 0])
    with pytest.raises(ConfigError, match="k is"):
        FRAME.calculate_weights_huber(residuals, 0)


def test_adaptive_weights_follow_the_variance():
    rng = np.random.default_rng(5)
    predicted = np.linspace(1, 9, 4000)
    y = predicted + np.sqrt(predicted) * rng.standard_normal(4000)
    found = FRAME.calculate_weights_adaptive(y, predicted, "signal_dependent")
    np.testing.assert_allclose(found * predicted / np.mean(found * predicted), 1, atol=0.15)
    assert found.mean() == pytest.approx(1)
    step = np.where(np.arange(100) < 50, 1.0, 10.0)
    local = FRAME.calculate_weights_adaptive(step * rng.choice([-1, 1], 100), np.zeros(100))
    assert local[10] / local[90] == pytest.approx(100)
    np.testing.assert_array_equal(FRAME.calculate_weights_adaptive(step, step), np.ones(100))
    with pytest.raises(ConfigError, match="method"):
        FRAME.calculate_weights_adaptive(step, step, "other")


def test_weighted_least_squares_is_that_of_statsmodels():
    y, error = noisy()
    weights = error**-2.0
    weights[4] = 0
    known = sm.WLS(y, DESIGN, weights=weights).fit()
    found, covariance = FRAME.weighted_least_squares(line, X, y, weights, bounds=[(-9, 9), (-9, 9)])
    np.testing.assert_allclose(found, known.params, rtol=1e-8)
    # statsmodels counts the point of weight 0 among the degrees of freedom
    np.testing.assert_allclose(covariance, known.cov_params() * 48 / 47, rtol=1e-6)
    _, absolute = FRAME.weighted_least_squares(line, X, y, weights, absolute_sigma=True)
    np.testing.assert_allclose(absolute, known.normalized_cov_params, rtol=1e-6)
    with pytest.raises(ConfigError, match="weights"):
        FRAME.weighted_least_squares(line, X, y, -weights)


@pytest.mark.parametrize(("method", "norm"), [("huber", norms.HuberT(1.345)), ("mad", norms.TukeyBiweight(4.685))])
@pytest.mark.parametrize("errors", [False, True])
def test_the_iterated_fit_is_that_of_statsmodels(method, norm, errors):
    y, error = noisy()
    unit = error if errors else np.ones(50)
    known = sm.RLM(y / unit, DESIGN / unit[:, None], M=norm).fit(tol=1e-12, maxiter=300, cov="H1")
    found = FRAME.iteratively_reweighted_least_squares(
        line, X, y, max_iterations=300, tolerance=1e-11, weight_method=method, sigma=error if errors else None
    )
    assert found["converged"]
    assert found["iterations"] == len(found["convergence_history"])
    np.testing.assert_allclose(found["parameters"], known.params, rtol=1e-6)
    np.testing.assert_allclose(found["weights"], known.weights, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["covariance"], known.bcov_scaled, rtol=1e-3)
    np.testing.assert_allclose(found["final_residuals"], y - line(X, *found["parameters"]))


def test_outliers_do_not_pull_a_decay():
    x, p = delays(1.0), truth(1.0)["simple_diffusion"]
    rng = np.random.default_rng(8)
    y = curve("simple_diffusion", x, p) + 1e-3 * rng.standard_normal(60)
    y[rng.choice(60, 6, replace=False)] += 0.2
    plain, _ = curve_fit(DiffusionModels.simple_diffusion, x, y, p)
    for method in ("huber", "mad"):
        found = FRAME.iteratively_reweighted_least_squares(
            DiffusionModels.simple_diffusion, x, y, max_iterations=60, weight_method=method
        )
        error = np.sqrt(found["covariance"][2, 2])
        assert abs(found["parameters"][2] - 1) < 5 * error < 0.1
        assert abs(found["parameters"][2] - 1) < 0.2 * abs(plain[2] - 1)


def test_one_step_too_few_is_not_converged():
    y, _ = noisy()
    found = FRAME.iteratively_reweighted_least_squares(line, X, y, max_iterations=2, tolerance=1e-12)
    assert not found["converged"]
    assert found["iterations"] == 2
    assert found["convergence_history"][1] < found["convergence_history"][0]


def test_adaptive_weights_in_the_iterated_fit():
    rng = np.random.default_rng(11)
    y = line(X, 1, 2) + np.where(X < 0.5, 0.01, 0.5) * rng.standard_normal(50)
    found = FRAME.iteratively_reweighted_least_squares(line, X, y, max_iterations=50, weight_method="adaptive")
    assert found["weights"][:20].mean() > 100 * found["weights"][-20:].mean()
    with pytest.raises(ConfigError, match="weight_method"):
        FRAME.iteratively_reweighted_least_squares(line, X, y, weight_method="none")


def test_points_without_an_error_are_left_out():
    y, error = noisy()
    error[4], y[30] = 0, np.nan
    found = FRAME.iteratively_reweighted_least_squares(line, X, y, sigma=error)
    assert (found["weights"][[4, 30]] == 0).all()
    assert np.isnan(found["final_residuals"][[4, 30]]).all()
    assert np.isfinite(found["parameters"]).all()
