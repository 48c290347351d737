"""A function is the model that kernels fit only where it is that very function, in a box that they can hold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import Bounds

from xpcs_dask.errors import ConfigError
from xpcs_dask.toolkit.function_model import COMPILED, as_model, jacobian_of, sides_of
from xpcs_dask.toolkit.models import double_exp, single_exp

X = np.geomspace(1e-3, 10, 20)


def unknown(x, tau, bkg, cts):
    return single_exp(x, tau, bkg, cts)


RNG = np.random.default_rng(0)


@pytest.mark.parametrize("func", COMPILED)
def test_a_known_function_is_its_model_with_the_parameters_in_their_places(func):
    rng = np.random.default_rng(23)
    count = len(COMPILED[func][1])
    theta = rng.uniform(0.2, 0.9, count)
    model = as_model(func, (np.full(count, 0.1), np.full(count, 1.0)))
    assert model.compiled
    inside = model.inward(theta)
    np.testing.assert_allclose(model.record.evaluate(X, *inside), func(X, *theta), rtol=1e-14)
    np.testing.assert_array_equal(model.outward(inside), theta)
    np.testing.assert_array_equal(model.outward(model.inward(np.tile(theta, (3, 1)))), np.tile(theta, (3, 1)))


def test_bounds_and_held_parameters_go_with_their_names():
    model = as_model(single_exp, ([1e-3, 0.9, 0.2], [10.0, 1.1, 0.2]))
    assert model.bounds == {"tau": (1e-3, 10.0), "baseline": (0.9, 1.1)}
    assert model.fixed == {"contrast": 0.2}


@pytest.mark.parametrize(
    ("func", "bounds"),
    [
        (single_exp, None),
        (single_exp, ([0, 0, 0], [1, 1, 1])),
        (single_exp, ([0.1, 0, 0], [1, np.inf, 1])),
        (double_exp, ([0.1] * 5, [1] * 5)),
        (unknown, ([0.1] * 3, [1] * 3)),
    ],
)
def test_all_others_are_fitted_as_they_are(func, bounds):
    model = as_model(func, bounds)
    assert not model.compiled
    assert model.record.evaluate is func


def test_bounds_are_read_as_scipy_reads_them():
    for bounds in ((0, 5), ([0, 0], 5), Bounds([0, 0], [5, 5]), np.array([[0, 0], [5, 5]])):
        low, high = sides_of(bounds, 2)
        np.testing.assert_array_equal([low, high], [[0, 0], [5, 5]])
    for bounds in (([0, 0, 0], [1, 1, 1]), 3, (1, 2, 3), "ab"):
        with pytest.raises(ConfigError, match="must be"):
            sides_of(bounds, 2)
    with pytest.raises(ConfigError, match="parameter 1 of 'f' are crossed"):
        sides_of(([0, 3], [1, 2]), 2)
    with pytest.raises(ConfigError, match="crossed"):
        sides_of(([0, np.nan], [1, 2]), 2)


def test_parameters_that_cannot_be_counted_are_asked_for():
    with pytest.raises(ConfigError, match="give p0"):
        as_model(lambda x, *p: p[0] * x)
    assert as_model(lambda x, *p: p[0] * x, count=3).lower.size == 3


def test_the_jacobian_is_exact_and_leaves_out_what_is_on_a_bound():
    a, rate, c = 2.0, 0.7, 1.0

    def decay(x, a, rate, c):
        return a * np.exp(-rate * x) + c

    e = np.exp(-rate * X)
    known = np.stack([e, -a * X * e, np.ones_like(X)], axis=1)
    theta = np.array([a, rate, c])
    np.testing.assert_allclose(jacobian_of(decay, X, theta), known, rtol=1e-12)
    np.testing.assert_allclose(jacobian_of(decay, X, theta, ([0, 0, 0], [2, 1, 9])), known[:, 1:], rtol=1e-12)
    own = jacobian_of(decay, X, theta, None, lambda x, a, rate, c: 3 * known)
    np.testing.assert_allclose(own, 3 * known)


def test_the_jacobian_of_a_known_function_is_in_the_order_of_its_parameters():
    theta = np.array([0.5, 1.0, 0.2])
    step = np.cbrt(np.finfo(float).eps)
    known = [
        (single_exp(X, *(theta + step * unit)) - single_exp(X, *(theta - step * unit))) / (2 * step)
        for unit in np.eye(3)
    ]
    found = jacobian_of(single_exp, X, theta, ([0.1, 0.5, 0], [1, 1.5, 1]))
    np.testing.assert_allclose(found, np.transpose(known), rtol=1e-6, atol=1e-9)
