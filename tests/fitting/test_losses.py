"""Losses are those of scipy, and Tukey's biweight is that of the textbook."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares

from xpcs_dask.fitting.losses import RHO, objective

RESIDUALS = np.concatenate([-np.geomspace(1e-4, 30, 40), [0.0], np.geomspace(1e-4, 30, 40)])
SCIPY = ["linear", "soft_l1", "huber", "cauchy", "arctan"]


@pytest.mark.parametrize("loss", SCIPY)
@pytest.mark.parametrize("scale", [0.3, 1.0, 2.5])
def test_objective_is_twice_scipys_cost(loss, scale):
    reference = least_squares(lambda p: RESIDUALS + 0 * p[0], [0.0], loss=loss, f_scale=scale).cost
    assert objective(RESIDUALS, loss, scale) == pytest.approx(2 * reference, rel=1e-12)


@pytest.mark.parametrize("c", [0.5, 4.685])
def test_tukey_is_the_biweight(c):
    inside = np.abs(RESIDUALS) <= c
    textbook = np.where(inside, c**2 / 6 * (1 - (1 - (RESIDUALS / c) ** 2) ** 3), c**2 / 6)
    assert objective(RESIDUALS, "tukey", c) == pytest.approx(2 * textbook.sum(), rel=1e-12)


@pytest.mark.parametrize("loss", RHO)
def test_derivatives_follow_the_function(loss):
    z = np.concatenate([np.linspace(0.01, 0.95, 20), np.linspace(1.05, 9, 40)])
    h = 1e-5
    rho = RHO[loss]
    _, first, second = rho(z)
    np.testing.assert_allclose(first, (rho(z + h)[0] - rho(z - h)[0]) / (2 * h), atol=1e-8)
    np.testing.assert_allclose(second, (rho(z + h)[1] - rho(z - h)[1]) / (2 * h), atol=1e-8)


@pytest.mark.parametrize("loss", RHO)
def test_small_residuals_count_as_in_chi2(loss):
    value, first, _ = RHO[loss](np.array([0.0, 1e-12]))
    assert value[0] == 0
    assert value[1] == pytest.approx(1e-12, rel=1e-9)
    assert first == pytest.approx(1, abs=1e-9)


def test_linear_objective_is_chi2():
    assert objective(RESIDUALS) == pytest.approx(np.sum(RESIDUALS**2), rel=1e-15)
