"""Derivatives are right, and the one that is used is one that is right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xpcs_dask.fitting import derivatives
from xpcs_dask.fitting.models import SINGLE, Model
from xpcs_dask.fitting.problem import Problem, choose, confirm

X = np.linspace(0.1, 4.0, 30)
THETA = np.array([2.0, 0.7])
COLUMNS = np.array([0, 1])
INFINITE = np.full(2, np.inf)


def decay(x, a, b):
    return a * np.exp(-b * x)


def decay_jacobian(x, a, b):
    return np.stack([np.exp(-b * x), -a * x * np.exp(-b * x)], axis=-1)


def problem_of(model, **changes):
    fields = {
        "x": X,
        "y": decay(X, *THETA),
        "weight": np.ones_like(X),
        "model": model,
        "lower": -INFINITE,
        "upper": INFINITE,
    }
    return Problem(**(fields | changes))


def test_complex_step_is_exact():
    found = derivatives.complex_step(Model.from_function(decay), X, THETA, COLUMNS)
    np.testing.assert_allclose(found, decay_jacobian(X, *THETA), rtol=1e-15)


def test_complex_step_is_exact_for_tiny_parameters():
    found = derivatives.complex_step(Model.from_function(decay), X * 1e9, THETA * [1, 1e-9], COLUMNS)
    np.testing.assert_allclose(found, decay_jacobian(X, *THETA) * [1, 1e9], rtol=1e-14)


@pytest.mark.parametrize("side", ["inside", "at the lower bound", "at the upper bound"])
def test_differences_stay_in_the_box(side):
    lower = THETA if side == "at the lower bound" else -INFINITE
    upper = THETA if side == "at the upper bound" else INFINITE
    asked = []

    def watched(x, a, b):
        asked.append((a, b))
        return decay(x, a, b)

    found = derivatives.differences(Model.from_function(watched), X, THETA, COLUMNS, lower, upper)
    np.testing.assert_allclose(found, decay_jacobian(X, *THETA), rtol=1e-8, atol=1e-9)
    assert (np.array(asked) >= lower).all()
    assert (np.array(asked) <= upper).all()


def test_differences_at_zero():
    found = derivatives.differences(Model.from_function(decay), X, np.array([0.0, 0.7]), COLUMNS, np.zeros(2), INFINITE)
    np.testing.assert_allclose(found, decay_jacobian(X, 0.0, 0.7), atol=1e-9)


def test_best_derivative_is_chosen():
    def swallows(x, a, b):
        return np.real(a) * np.exp(-b * x)

    def refuses(x, a, b):
        return float(a) * np.exp(-b * x)

    def folds(x, a, b):
        return np.abs(a) * np.exp(-b * x)

    assert choose(problem_of(Model.from_function(decay, jac=decay_jacobian)), THETA) == "own"
    assert choose(problem_of(Model.from_function(decay)), THETA) == "complex"
    for bad in (swallows, refuses, folds):
        assert choose(problem_of(Model.from_function(bad)), THETA) == "difference"


def test_tiny_and_huge_parameters_do_not_look_wrong():
    for scale in (1e-12, 1e-6, 1e6, 1e12):
        problem = problem_of(Model.from_function(decay), x=X / scale)
        assert choose(problem, THETA * [1.0, scale]) == "complex"
        assert choose(problem_of(Model.from_function(decay)), THETA * [scale, 1.0]) == "complex"


def test_wrong_derivative_is_noticed_at_the_end():
    def wrong(x, a, b):
        return decay_jacobian(x, a, b) * [1.0, 1.01]

    right = problem_of(Model.from_function(decay, jac=decay_jacobian), derivative="own")
    assert confirm(right, THETA) == "own"
    liar = replace(right, model=Model.from_function(decay, jac=wrong))
    assert confirm(liar, THETA) == "complex"
    switched = Model.from_function(lambda x, a, b: decay(x, a if np.real(a) > 1 else np.real(a), b), ["a", "b"])
    problem = problem_of(switched, derivative="complex")
    assert confirm(problem, THETA) == "complex"
    assert confirm(problem, np.array([0.5, 0.7])) == "difference"


def test_compiled_functions_see_one_pattern_of_types():
    seen = set()

    class Compiled:
        py_func = staticmethod(decay)

        def __call__(self, x, a, b):
            seen.add((type(a), type(b)))
            return decay(x, a, b)

    found = derivatives.complex_step(Model.from_function(Compiled()), X, THETA, COLUMNS)
    np.testing.assert_allclose(found, decay_jacobian(X, *THETA), rtol=1e-14)
    assert seen == {(complex, complex)}


def test_relaxation_times_are_fitted_as_logarithms():
    delay = np.geomspace(1e-3, 1, 20)
    lower, upper = SINGLE.box(delay)
    lower[3] = upper[3] = 1.0
    problem = Problem(
        x=delay, y=np.ones(20), weight=np.ones(20), model=SINGLE, lower=lower, upper=upper, derivative="own"
    )
    theta = np.array([0.2, 0.03, 0.9, 1.0])
    u = problem.inner(theta)
    np.testing.assert_allclose(u, [0.2, np.log(0.03), 0.9])
    np.testing.assert_allclose(problem.outer(u), theta)
    h = 1e-6
    numeric = [
        (problem.residuals(problem.outer(u + h * e)) - problem.residuals(problem.outer(u - h * e))) / (2 * h)
        for e in np.eye(3)
    ]
    np.testing.assert_allclose(problem.inner_jacobian(u), np.stack(numeric, axis=-1), atol=1e-8)


def test_failures_are_nan_not_exceptions():
    def raises(x, a, b):
        raise ValueError("no")

    problem = problem_of(Model.from_function(raises))
    assert np.isnan(problem.values(THETA)).all()
    assert np.isnan(problem.jacobian(THETA)).all()
    assert problem.failure(THETA) == "ValueError: no"
    assert "(1, 30)" in problem_of(Model.from_function(lambda x, a, b: x[None])).failure(THETA)
    assert "complex128" in problem_of(Model.from_function(lambda x, a, b: x * 1j)).failure(THETA)
    assert problem_of(Model.from_function(decay)).failure(THETA) == ""


def wave(x, amplitude, rate):
    return amplitude * np.cos(rate * x)


def wave_jacobian(x, amplitude, rate):
    return np.stack([np.cos(rate * x), -amplitude * x * np.sin(rate * x)], axis=-1)


def test_a_jacobian_is_believed_where_differences_cannot_follow_the_model():
    """1e7 periods over the points: the step of differences spans some of them, the complex step none."""
    x = np.linspace(0.1, 1.0, 30)
    theta = np.array([0.5, 6e7])
    for jacobian, expected in ((wave_jacobian, "own"), (lambda *a: 1.1 * wave_jacobian(*a), "difference")):
        model = Model.from_function(wave, jac=jacobian)
        problem = Problem(
            x=x, y=wave(x, *theta), weight=np.ones(30), model=model, lower=np.zeros(2), upper=np.full(2, 1e9),
            derivative="own",
        )  # fmt: skip
        assert confirm(problem, theta) == expected
