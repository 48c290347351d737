"""The Toolkit's functions are the formulas of its documentation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy import exp

from xpcs_dask.toolkit.models import double_exp, double_exp_all, power_law, single_exp, single_exp_all

X = np.geomspace(1e-5, 10, 40)
FORMULAS = {
    single_exp: ((0.3, 1.1, 0.2), lambda x, tau, bkg, cts: cts * exp(-2 * x / tau) + bkg),
    double_exp: (
        (0.3, 1.1, 0.2, 2.0, 0.05),
        lambda x, tau1, bkg, cts1, tau2, cts2: cts1 * exp(-2 * x / tau1) + cts2 * exp(-2 * x / tau2) + bkg,
    ),
    single_exp_all: ((0.2, 0.3, 0.7, 1.1), lambda x, a, b, c, d: a * exp(-2 * (x / b) ** c) + d),
    double_exp_all: (
        (0.2, 0.01, 0.7, 1.1, 2.0, 1.4, 0.3),
        lambda x, a, b1, c1, d, b2, c2, f: a * (f * exp(-((x / b1) ** c1)) + (1 - f) * exp(-((x / b2) ** c2))) ** 2 + d,
    ),
    power_law: ((2.5e-6, -1.8), lambda x, a, b: a * x**b),
}


@pytest.mark.parametrize("function", FORMULAS, ids=lambda function: function.__name__)
def test_is_its_formula(function):
    parameters, formula = FORMULAS[function]
    np.testing.assert_allclose(function(X, *parameters), formula(X, *parameters), rtol=1e-13)
    assert function(X[3], *parameters) == pytest.approx(formula(X[3], *parameters), rel=1e-13)
    np.testing.assert_array_equal(function(X.tolist(), *parameters), function(X, *parameters))


def test_first_argument_is_a_time_not_a_rate():
    assert single_exp(0.3, 0.3, 0.0, 1.0) == pytest.approx(exp(-2.0))
