from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from xpcs_dask.config import FitConfig
from xpcs_dask.fitting.layout import Status, fit_dtype
from xpcs_dask.fitting.models import SIMPLE, SINGLE, Model
from xpcs_dask.fitting.nested_tests import likelihood_ratio, wald
from xpcs_dask.fitting.standard_errors import standard_errors
from xpcs_dask.fitting.strategy import fit_stack

X = np.linspace(0.1, 2, 25)


def cubic(x, a, b, c):
    return a + b * x + c * x**2


CUBIC = Model.from_function(cubic)
FREE = np.full(3, -np.inf), np.full(3, np.inf)


def fits(y, config, held=()):
    """Fits of the cubic to curves of unit errors, with b and c held at 0 if so named."""
    lower, upper = (edge.copy() for edge in FREE)
    for name in held:
        lower[CUBIC.index(name)] = upper[CUBIC.index(name)] = 0.0
    weight = np.ones_like(y)
    rows = fit_stack(X, y, weight, CUBIC, config, lower, upper)
    standard_errors(rows, X, y, weight, CUBIC, config, lower, upper)
    return rows


def drawn(n=6, seed=0):
    return 1 + 0.3 * X**2 + np.random.default_rng(seed).standard_normal((n, X.size))


def test_tests_of_a_linear_model_are_those_of_statsmodels():
    api = pytest.importorskip("statsmodels.api")
    y, config = drawn(), FitConfig(absolute_sigma=False, errors="quoted")
    large = fits(y, config)
    for held in (["c"], ["b", "c"]):
        ratio, p = likelihood_ratio(fits(y, config, held), large, scale_known=False)
        square, chance = wald(large, CUBIC, dict.fromkeys(held, 0.0))
        for i in range(len(y)):
            oracle = api.OLS(y[i], np.stack([np.ones(25), X, X**2], axis=1)).fit()
            small = api.OLS(y[i], np.stack([np.ones(25), X], axis=1)[:, : 3 - len(held)]).fit()
            f, expected, _ = oracle.compare_f_test(small)
            assert ratio[i] == pytest.approx(f, rel=1e-6)
            assert p[i] == pytest.approx(expected, rel=1e-6)
            assert square[i] == pytest.approx(f * len(held), rel=1e-6)
            dof, k = 22, len(held)
            assert chance[i] == pytest.approx(stats.f.sf(f * (dof - k + 1) / dof, k, dof - k + 1), rel=1e-6)


def test_known_errors_give_a_chi_squared_difference():
    y, config = drawn(), FitConfig(errors="quoted")
    large, small = fits(y, config), fits(y, config, ["b", "c"])
    ratio, p = likelihood_ratio(small, large, scale_known=True)
    np.testing.assert_allclose(ratio, small["chi2"] - large["chi2"], rtol=1e-12)
    np.testing.assert_allclose(p, stats.chi2.sf(ratio, 2), rtol=1e-9)
    square, chance = wald(large, CUBIC, {"b": 0.0, "c": 0.0})
    np.testing.assert_allclose(square, ratio, rtol=1e-5)  # the same in a linear model
    np.testing.assert_allclose(chance, p, rtol=1e-4)


def of_values(value, stderr, dof, model=SINGLE, correlation=0.0):
    """One fitted row with independent errors but for a correlation of the first two."""
    rows = np.zeros(1, fit_dtype(model, "full"))
    rows["status"], rows["value"], rows["stderr"], rows["errors_dof"] = Status.CONVERGED, value, stderr, dof
    matrix = np.diag(np.square(stderr))
    matrix[0, 1] = matrix[1, 0] = correlation * stderr[0] * stderr[1]
    rows["covariance"] = matrix[np.tril_indices(len(value))]
    return rows


def test_one_parameter_has_students_distribution():
    rows = of_values([0.2, 0.01, 0.9, 1.0], [0.01, 0.001, 0.04, 0.01], 11)
    square, p = wald(rows, SINGLE, {"stretch": 1.0})
    assert square[0] == pytest.approx(2.5**2)
    assert p[0] == pytest.approx(2 * stats.t.sf(2.5, 11))
    rows["errors_dof"] = np.inf
    assert wald(rows, SINGLE, {"stretch": 1.0})[1][0] == pytest.approx(2 * stats.norm.sf(2.5), rel=1e-5)


def test_relaxation_times_are_tested_in_their_logarithm():
    rows = of_values([0.2, 0.01, 0.9, 1.0], [0.01, 0.001, 0.04, 0.01], np.inf)
    assert wald(rows, SINGLE, {"tau": 0.02})[0][0] == pytest.approx((np.log(2) / 0.1) ** 2)


def test_correlations_and_few_clusters_count():
    rows = of_values([0.2, 0.01, 0.9, 1.0], [0.01, 0.001, 0.04, 0.01], 9, correlation=0.8)
    square, p = wald(rows, SINGLE, {"contrast": 0.22, "tau": 0.009})
    off = np.array([-0.02, np.log(0.01 / 0.009)])
    covariance = np.array([[1e-4, 0.8 * 0.01 * 0.1], [0.8 * 0.01 * 0.1, 1e-2]])
    expected = off @ np.linalg.solve(covariance, off)
    assert square[0] == pytest.approx(expected)
    assert p[0] == pytest.approx(stats.f.sf(expected * 8 / (9 * 2), 2, 8))
    rows["errors_dof"] = 1  # two clusters cannot tell two parameters
    assert np.isnan(wald(rows, SINGLE, {"contrast": 0.22, "tau": 0.009})[1][0])


def test_a_parameter_without_error_has_no_test():
    for stderr in (np.nan, 0.0):
        rows = of_values([0.2, 0.01, 3.0, 1.0], [0.01, 0.001, stderr, 0.01], 9)
        square, p = wald(rows, SINGLE, {"stretch": 1.0})
        assert np.isnan([square[0], p[0]]).all()


def test_two_parameters_that_are_one_have_no_test():
    rows = of_values([0.2, 0.01, 0.9, 1.0], [0.01, 0.001, 0.04, 0.01], 9, correlation=1.0)
    assert np.isnan(wald(rows, SINGLE, {"contrast": 0.22, "tau": 0.009})[1][0])


def test_a_fit_that_failed_has_no_ratio_and_a_worse_one_saves_nothing():
    small, large = np.zeros(3, fit_dtype(SIMPLE, "full")), np.zeros(3, fit_dtype(SINGLE, "full"))
    for rows, chi2, dof in ((small, [40.0, 40.0, 40.0], 30), (large, [40.0 + 1e-9, np.nan, 30.0], 29)):
        rows["chi2"], rows["dof"] = chi2, dof
        rows["status"] = [Status.CONVERGED, Status.NOT_CONVERGED, Status.CONVERGED]
    small["status"][1] = Status.CONVERGED
    other = small.copy()
    other["status"][2] = Status.NOT_CONVERGED
    for known in (True, False):
        ratio, p = likelihood_ratio(small, large, known)
        assert ratio[0] == 0
        assert p[0] == 1
        assert np.isnan([ratio[1], p[1]]).all()
        assert p[2] < 0.01
        assert np.isnan(likelihood_ratio(other, large, known)[1][2])
