"""A minimum is told from everything that only looks like one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import curve_fit, lsq_linear

from xpcs_dask.fitting.models import Model, Parameter
from xpcs_dask.fitting.optimality import box_step, is_minimum, judge, optimality
from xpcs_dask.fitting.problem import Problem

X = np.linspace(0.0, 5.0, 40)


def decay(x, a, b):
    return a * np.exp(-b * x)


MODEL = Model.from_function(decay)


@pytest.fixture
def problem():
    noise = np.random.default_rng(1).normal(size=X.size)
    return Problem(
        x=X,
        y=decay(X, 2.0, 0.7) + 0.05 * noise,
        weight=np.full(X.size, 20.0),
        model=MODEL,
        lower=np.full(2, -np.inf),
        upper=np.full(2, np.inf),
        derivative="complex",
    )


@pytest.fixture
def best(problem):
    return curve_fit(decay, X, problem.y, [1, 1], xtol=1e-15, ftol=1e-15, gtol=1e-15)[0]


def test_minimum_is_one(problem, best):
    assert is_minimum(problem, best)
    assert optimality(problem, best) < 1e-7


@pytest.mark.parametrize("derivative", ["complex", "difference"])
@pytest.mark.parametrize("error", [1e-2, 1e-3, 1e-4])
def test_beside_a_minimum_is_none(problem, best, error, derivative):
    problem = replace(problem, derivative=derivative)
    stderr = np.sqrt(np.diag(np.linalg.inv(problem.jacobian(best).T @ problem.jacobian(best))))
    for sign in ([1, 0], [0, 1], [1, 1]):
        assert not is_minimum(problem, best + error * stderr * sign)


def test_offset_is_the_share_a_step_removes(problem, best):
    """By definition, in another way: least squares on the linearised problem."""
    theta = best * 1.05
    jacobian, residuals = problem.jacobian(theta), problem.residuals(theta)
    step = np.linalg.lstsq(jacobian, -residuals, rcond=None)[0]
    verdict = judge(problem, theta)
    np.testing.assert_allclose(verdict.step, step, rtol=1e-9)
    assert verdict.offset == pytest.approx(np.linalg.norm(jacobian @ step) / np.linalg.norm(residuals), rel=1e-9)
    cosine = np.abs(residuals @ jacobian) / np.linalg.norm(jacobian, axis=0) / np.linalg.norm(residuals)
    assert verdict.gradient == pytest.approx(cosine.max(), rel=1e-9)


def test_units_do_not_matter(problem, best):
    theta = best * 1.01
    for weight, size in ((1e-6, 1.0), (1e6, 1e-3)):
        scaled = replace(problem, weight=problem.weight * weight, y=problem.y * size)
        assert optimality(scaled, theta * [size, 1]) == pytest.approx(optimality(problem, theta), rel=1e-6)


def test_long_narrow_valley_is_seen_by_the_offset_alone():
    """Two nearly equal columns: along their difference the gradient is tiny, and a step still gains a lot."""
    model = Model.from_function(lambda x, a, b: a * x + b * x * (1 + 1e-7 * np.sin(x)), ["a", "b"])
    y = 1e-7 * X * np.sin(X) + 1e-9 * np.cos(9 * X)
    problem = Problem(
        x=X,
        y=y,
        weight=np.ones(X.size),
        model=model,
        lower=np.full(2, -np.inf),
        upper=np.full(2, np.inf),
        derivative="complex",
    )
    slope = X @ y / (X @ X)
    verdict = judge(problem, np.array([slope, 0.0]))
    assert verdict.gradient < 1e-6
    assert verdict.offset > 0.5
    assert not verdict.minimum


def test_exact_fit_is_a_minimum(problem):
    exact = replace(problem, y=decay(X, 2.0, 0.7))
    for change in (0.0, 1e-16, -3e-16):
        assert is_minimum(exact, np.array([2.0, 0.7]) * (1 + change))
    assert not is_minimum(exact, np.array([2.0, 0.7]) * (1 + 1e-12))


def test_bound_counts_only_when_pressed_against(problem, best):
    low, high = best * 0.5, best * 0.9
    pressed = replace(problem, upper=np.array([high[0], np.inf]))
    conditional = curve_fit(lambda x, b: decay(x, high[0], b), X, problem.y, [1], xtol=1e-15, ftol=1e-15, gtol=1e-15)[0]
    at_bound = np.array([high[0], conditional[0]])
    assert is_minimum(pressed, at_bound)
    assert judge(pressed, at_bound).held.tolist() == [True, False]
    assert not is_minimum(problem, at_bound)
    wrong_side = replace(problem, lower=np.array([low[0], -np.inf]))
    assert not is_minimum(wrong_side, np.array([low[0], conditional[0]]))


def test_runaway_is_no_regular_minimum(problem):
    """Where exp(-b x) has died, b does nothing."""
    verdict = judge(replace(problem, x=X + 1.0), np.array([1.0, 800.0]))
    assert verdict.dead.tolist() == [True, True]
    assert not verdict.regular


def test_model_that_fails_is_no_minimum(problem):
    broken = replace(problem, model=Model.from_function(lambda x, a, b: np.full_like(x, np.nan), ["a", "b"]))
    assert judge(broken, np.ones(2)).gradient == np.inf


@pytest.mark.parametrize("loss", ["soft_l1", "huber", "cauchy", "arctan", "tukey"])
def test_robust_gradient_is_that_of_the_objective(problem, best, loss):
    robust = replace(problem, loss=loss, scale=1.3)
    theta = best * 1.02
    h = 1e-6 * theta
    slope = [(robust.objective(theta + h * e) - robust.objective(theta - h * e)) / (2 * (h @ e)) for e in np.eye(2)]
    verdict = judge(robust, theta)
    z = (robust.residuals(theta) / 1.3) ** 2
    from xpcs_dask.fitting.losses import RHO

    root = np.sqrt(RHO[loss](z)[1])
    size = np.linalg.norm(robust.jacobian(theta) * root[:, None], axis=0)
    expected = np.max(np.abs(slope) / 2 / size) / np.linalg.norm(root * robust.residuals(theta))
    assert verdict.gradient == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("seed", range(40))
def test_box_step_is_that_of_scipy(seed):
    rng = np.random.default_rng(seed)
    columns = rng.normal(size=(12, 5)) @ np.diag([1, 1, 1, 1, 0.1]) + 0.5 * rng.normal(size=(12, 1))
    columns /= np.linalg.norm(columns, axis=0)
    residuals = 3 * rng.normal(size=12)
    low, high = -rng.exponential(size=5), rng.exponential(size=5)
    low[rng.integers(5)], high[rng.integers(5)] = 0.0, np.inf
    step = box_step(columns, residuals, low, high, 1e-13)
    assert ((step >= low) & (step <= high)).all()
    expected = lsq_linear(columns, -residuals, (low, high), method="bvls", tol=1e-15)
    np.testing.assert_allclose(step, expected.x, atol=1e-7)


def test_step_through_a_wall_gains_nothing(problem, best):
    """In a corner to which the objective falls, and a hair beside it."""
    corner = best * [0.8, 1.0]
    cornered = replace(problem, upper=np.array([corner[0], np.inf]), lower=np.array([-np.inf, corner[1]]))
    for gap in (0.0, 1e-13):
        verdict = judge(cornered, corner * [1 - gap, 1 + gap])
        assert verdict.minimum
        assert verdict.target.tolist() == corner.tolist()
    away = judge(cornered, corner * [0.99, 1.01])
    assert not away.minimum
    assert away.gradient <= away.offset


def test_times_move_in_their_logarithm(problem, best):
    """As in the kernels: half of the way down to the wall is half of its logarithm."""
    parameters = [Parameter(name="a"), Parameter(name="b", relaxation_time=True)]
    model = Model.from_function(decay, parameters)
    timed = replace(problem, model=model, lower=np.array([-np.inf, 1e-3]), upper=np.array([np.inf, 1e3]))
    theta = best * [1.0, 1.05]
    plain, logarithmic = judge(problem, theta), judge(timed, theta)
    assert logarithmic.offset == pytest.approx(plain.offset, rel=1e-9)
    assert logarithmic.target[0] == pytest.approx(plain.target[0], rel=1e-9)
    change = (plain.target[1] - theta[1]) / theta[1]
    assert logarithmic.target[1] == pytest.approx(theta[1] * np.exp(change), rel=1e-9)
