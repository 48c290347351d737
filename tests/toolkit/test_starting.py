"""Starts lie where least squares ends; statistics of residuals are those of numpy and statsmodels."""

from __future__ import annotations

import json

import numpy as np
import pytest
from statsmodels.stats.stattools import durbin_watson

from xpcs_dask.errors import ConfigError
from xpcs_dask.toolkit.models import power_law, single_exp
from xpcs_dask.toolkit.starting import vectorized_parameter_estimation, vectorized_residual_analysis

X = np.geomspace(1e-3, 10, 60)
TAUS = np.array([0.01, 0.1, 1.0])


@pytest.mark.parametrize("scale", [1.0, 1e6, 1e-9])
@pytest.mark.parametrize("amplitude", [0.3, 25.0, -4.0])
def test_a_decay_without_noise_is_found_whatever_its_size(amplitude, scale):
    y = scale * single_exp(X[:, None], TAUS, 2.0, amplitude)
    found = vectorized_parameter_estimation(X, y)
    np.testing.assert_allclose(found, [[tau, 2.0 * scale, amplitude * scale] for tau in TAUS], rtol=1e-6)
    np.testing.assert_array_equal(vectorized_parameter_estimation(X, y[:, 0], "exponential"), found[0])


def test_power_and_gaussian_without_noise():
    np.testing.assert_allclose(vectorized_parameter_estimation(X, power_law(X, 3e-6, -1.7), "power"), [3e-6, -1.7])
    x = np.linspace(-3, 8, 50)
    for height in (4.0, -0.2):
        y = height * np.exp(-((x - 2.2) ** 2) / (2 * 0.8**2))
        np.testing.assert_allclose(vectorized_parameter_estimation(x, y, "gaussian"), [height, 2.2, 0.8], rtol=1e-6)


def test_points_that_are_no_numbers_are_left_out_and_starts_are_always_finite():
    y = single_exp(X, 0.1, 1.0, 0.2)
    y[5] = np.nan
    np.testing.assert_allclose(vectorized_parameter_estimation(X, y), [0.1, 1.0, 0.2], rtol=1e-6)
    for func_type in ("exponential", "power", "gaussian"):
        for flat in (np.zeros(60), np.ones(60), -np.ones(60), np.random.default_rng(0).standard_normal(60)):
            assert np.isfinite(vectorized_parameter_estimation(X, flat, func_type)).all()
    assert np.isfinite(vectorized_parameter_estimation(X - 1.0, y)).all()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [((X, X, "cubic"), "cubic"), ((X, X[1:]), "give"), ((X[:2], X[:2]), "needs 3"), ((X[:, None], X), "give")],
)
def test_what_cannot_be_started_is_refused(arguments, text):
    with pytest.raises(ConfigError, match=text):
        vectorized_parameter_estimation(*arguments)


RNG = np.random.default_rng(6)
Y = RNG.standard_normal((60, 4)) + X[:, None]
FIT = X[:, None] + 0.1 + np.zeros((60, 4))


def test_residuals_and_their_statistics():
    found = vectorized_residual_analysis(X, Y, FIT)
    rest = Y - FIT
    np.testing.assert_array_equal(found["residuals"], rest)
    np.testing.assert_allclose(found["standardized_residuals"], rest / rest.std(axis=0, ddof=1))
    np.testing.assert_allclose(found["rmse"], np.sqrt(np.mean(rest**2, axis=0)))
    np.testing.assert_allclose(found["mae"], np.mean(np.abs(rest), axis=0))
    np.testing.assert_allclose(found["max_abs"], np.abs(rest).max(axis=0))
    np.testing.assert_allclose(found["mean"], rest.mean(axis=0))
    np.testing.assert_allclose(found["std"], rest.std(axis=0, ddof=1))
    np.testing.assert_allclose(found["sum_squared"], (rest**2).sum(axis=0))
    np.testing.assert_allclose(found["r_squared"], 1 - (rest**2).sum(axis=0) / (60 * Y.var(axis=0)))
    np.testing.assert_allclose(found["durbin_watson"], durbin_watson(rest))


def test_one_column_alone_is_the_same_in_plain_numbers():
    alone, all_of_them = vectorized_residual_analysis(X, Y[:, 2], FIT[:, 2]), vectorized_residual_analysis(X, Y, FIT)
    for name in alone.keys() - {"residuals", "standardized_residuals"}:
        assert isinstance(alone[name], float)
        assert alone[name] == pytest.approx(all_of_them[name][2], rel=1e-12)
    json.dumps(alone)
    assert vectorized_residual_analysis(X, Y, FIT, False).keys() == {"residuals", "standardized_residuals"}


def test_neighbours_are_taken_in_order_of_x():
    rng = np.random.default_rng(83)
    order = rng.permutation(60)
    first, second = (
        vectorized_residual_analysis(X, Y, FIT),
        vectorized_residual_analysis(X[order], Y[order], FIT[order]),
    )
    for name in ("durbin_watson", "lag_1", "runs_z", "runs_p", "lag_1_p"):
        np.testing.assert_allclose(first[name], second[name], rtol=1e-9)


def test_correlated_neighbours_are_seen_and_independent_ones_are_not():
    rng = np.random.default_rng(1)
    white = rng.standard_normal((60, 400))
    smooth = white.copy()
    for k in range(1, 60):
        smooth[k] = 0.7 * smooth[k - 1] + white[k]
    zero = np.zeros_like(white)
    for name in ("lag_1_p", "runs_p"):
        assert 0.02 < np.mean(vectorized_residual_analysis(X, white, zero)[name] < 0.05) < 0.09
        assert np.mean(vectorized_residual_analysis(X, smooth, zero)[name] < 0.05) > 0.7


def test_shapes_must_fit():
    with pytest.raises(ConfigError, match="give"):
        vectorized_residual_analysis(X, Y, FIT[:, 1:])
