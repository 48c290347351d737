"""Covariances of the compiled last word against those of the generic path."""

import numpy as np
import pytest

from tests.fitting.kernel.curves import BOX, DELAYS, double_curves, fit, natural, outliers, single_curves
from xpcs_dask.fitting.kernel.family import FAMILIES
from xpcs_dask.fitting.problem import Problem
from xpcs_dask.fitting.uncertainty import covariance


@pytest.mark.parametrize("loss", ["linear", "soft_l1", "huber", "cauchy", "arctan"])
@pytest.mark.parametrize("family", ["single", "double"])
def test_covariance_is_the_one_of_the_generic_path(family, loss):
    make = single_curves if family == "single" else double_curves
    _, y, sigma = make(25, seed=8)
    if loss != "linear":
        y = outliers(y, sigma, share=0.05)
    found = fit(family, y, sigma, loss, 2.0)
    model, (low, high) = FAMILIES[family], BOX[family]
    compared = 0
    for j in np.flatnonzero(found.converged):
        theta = natural(found.z[j], family)
        if np.isnan(found.covariance[j]).any():
            continue
        problem = Problem(
            x=DELAYS, y=y[j], weight=1 / sigma[j], model=model, lower=low, upper=high, loss=loss, scale=2.0
        )
        expected = covariance(problem, theta)
        times = np.array([p.relaxation_time for p in model.parameters])
        unit = np.where(times, theta, 1)
        if np.isnan(expected).any():
            continue
        np.testing.assert_allclose(found.covariance[j] * np.outer(unit, unit), expected, rtol=2e-3, atol=1e-12)
        compared += 1
    assert compared >= 10


def test_a_parameter_on_its_bound_has_no_error_and_a_useless_one_neither():
    y = np.tile(1 - 0.1 * np.exp(-2 * DELAYS / 0.01), (1, 1))  # a rise: the best contrast is its lower bound 0
    found = fit("single", y, np.full((1, 64), 1e-3))
    assert found.z[0, 0] == 0.0
    assert np.isnan(np.diag(found.covariance[0])[:3]).all()
    assert np.isfinite(found.covariance[0, 3, 3])
