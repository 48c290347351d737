"""Standard errors against scipy, lmfit, the algebra and simulated repeats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import curve_fit

from xpcs_dask.config import FitConfig
from xpcs_dask.fitting.criteria import aicc, bic
from xpcs_dask.fitting.curves import fit_curves
from xpcs_dask.fitting.losses import RHO
from xpcs_dask.fitting.models import SINGLE, Model
from xpcs_dask.fitting.problem import Problem
from xpcs_dask.fitting.uncertainty import covariance, covariance_kind, reduced_chi2

DELAY = np.geomspace(1e-3, 10, 50)
TRUTH = np.array([0.2, 0.1, 0.9, 1.0])


def problem_of(seed=0, **changes):
    rng = np.random.default_rng(seed)
    sigma = 2e-3 * np.linspace(0.5, 2, DELAY.size)
    lower, upper = SINGLE.box(DELAY)
    fields = {
        "x": DELAY,
        "y": SINGLE.evaluate(DELAY, *TRUTH) + 1.7 * sigma * rng.normal(size=DELAY.size),
        "weight": 1 / sigma,
        "model": SINGLE,
        "lower": lower,
        "upper": upper,
        "derivative": "own",
    }
    return Problem(**(fields | changes))


@pytest.mark.parametrize("kind", ["wald", "scaled"])
def test_covariance_is_scipys(kind):
    problem = problem_of()
    best, expected = curve_fit(
        SINGLE.evaluate,
        DELAY,
        problem.y,
        TRUTH,
        1 / problem.weight,
        absolute_sigma=kind == "wald",
        jac=SINGLE.jacobian,
        xtol=1e-14,
        ftol=1e-14,
        gtol=1e-14,
    )
    np.testing.assert_allclose(covariance(problem, best, kind), expected, rtol=1e-7, atol=1e-18)


def test_held_parameters_have_no_error_and_free_ones_are_conditional():
    problem = problem_of()
    lower, upper = problem.lower.copy(), problem.upper.copy()
    lower[2] = upper[2] = 0.9
    found = covariance(replace(problem, lower=lower, upper=upper), TRUTH)
    keep = [0, 1, 3]
    jacobian = problem.jacobian(TRUTH)[:, keep]
    np.testing.assert_allclose(found[np.ix_(keep, keep)], np.linalg.inv(jacobian.T @ jacobian), rtol=1e-9)
    assert (found[2] == 0).all()
    assert (found[:, 2] == 0).all()


def test_parameter_on_a_bound_has_nan_and_the_others_are_conditional():
    problem = problem_of()
    lower = problem.lower.copy()
    lower[2] = 0.9
    found = covariance(replace(problem, lower=lower), TRUTH)
    keep = [0, 1, 3]
    jacobian = problem.jacobian(TRUTH)[:, keep]
    np.testing.assert_allclose(found[np.ix_(keep, keep)], np.linalg.inv(jacobian.T @ jacobian), rtol=1e-9)
    assert np.isnan(found[2]).all()
    assert np.isnan(found[:, 2]).all()


@pytest.mark.parametrize("derivative", ["complex", "difference"])
def test_singular_directions_are_nan_and_the_rest_is_known(derivative):
    model = Model.from_function(lambda x, a, b, c: (a + b) * x + c, ["a", "b", "c"])
    infinite = np.full(3, np.inf)
    problem = problem_of(model=model, lower=-infinite, upper=infinite, derivative=derivative)
    found = covariance(problem, np.array([1.0, 2.0, 1.0]))
    assert np.isnan(found[:2]).all()
    design = np.stack([DELAY, np.ones_like(DELAY)], axis=-1) * problem.weight[:, None]
    assert found[2, 2] == pytest.approx(np.linalg.inv(design.T @ design)[1, 1], rel=1e-6)


def test_parameter_without_effect_is_nan():
    model = Model.from_function(lambda x, a, b: a * x + 0 * b, ["a", "b"])
    infinite = np.full(2, np.inf)
    problem = problem_of(model=model, lower=-infinite, upper=infinite, derivative="complex")
    found = covariance(problem, np.ones(2))
    assert np.isnan(found[1, 1])
    assert found[0, 0] == pytest.approx(1 / np.sum((DELAY * problem.weight) ** 2), rel=1e-12)


def test_scales_of_parameters_do_not_matter():
    """Hahn's problem has parameters of 1 and of 1e-7; unit columns keep all their digits."""
    model = Model.from_function(lambda x, a, b: a * x + b * 1e12 * x**2, ["a", "b"])
    infinite = np.full(2, np.inf)
    problem = problem_of(model=model, lower=-infinite, upper=infinite, derivative="complex")
    found = covariance(problem, np.array([1.0, 1e-12]))
    design = np.stack([DELAY, DELAY**2], axis=-1) * problem.weight[:, None]
    unit = np.diag([1.0, 1e-12])
    np.testing.assert_allclose(found, unit @ np.linalg.inv(design.T @ design) @ unit, rtol=1e-9)


@pytest.mark.parametrize("loss", ["soft_l1", "huber", "cauchy", "tukey"])
def test_sandwich_of_a_mean(loss):
    """One parameter, so the formula can be written out."""
    rng = np.random.default_rng(5)
    y = rng.standard_t(3, size=50)
    model = Model.from_function(lambda x, a: a + 0 * x, ["a"])
    wide = {"lower": np.full(1, -np.inf), "upper": np.full(1, np.inf)}
    problem = problem_of(model=model, derivative="complex", y=y, weight=np.ones(50), loss=loss, scale=1.5, **wide)
    residuals = 0.1 - y
    z = (residuals / 1.5) ** 2
    _, first, second = RHO[loss](z)
    curvature, meat = np.sum(first + 2 * z * second), np.sum((first * residuals) ** 2)
    expected = meat / curvature**2 * 50 / 49
    for kind in ("wald", "scaled"):
        assert covariance(problem, np.array([0.1]), kind)[0, 0] == pytest.approx(expected, rel=1e-12)


def test_sandwich_stays_positive_where_the_loss_curves_down():
    model = Model.from_function(lambda x, a: a + 0 * x, ["a"])
    infinite = np.full(1, np.inf)
    y = np.repeat([-4.0, 4.0], 25)
    problem = problem_of(
        model=model, lower=-infinite, upper=infinite, derivative="complex", y=y, weight=np.ones(50), loss="cauchy"
    )
    assert covariance(problem, np.zeros(1))[0, 0] > 0


SLOW = [pytest.param(loss, marks=pytest.mark.slow) for loss in ("huber", "tukey")]


@pytest.mark.parametrize("loss", ["linear", "cauchy", *SLOW])
def test_errors_are_those_of_repeats(loss):
    """Spread of the estimates over 150 noisy repeats, against the errors that each one states."""
    rng = np.random.default_rng(7)
    x = np.linspace(0, 4, 40)
    y = 2.0 * np.exp(-0.8 * x) + 0.05 * rng.normal(size=(150, 40))
    if loss != "linear":
        y = np.where(rng.random(y.shape) < 0.05, y + 0.5 * rng.choice([-1, 1], size=y.shape), y)
    scale = {"huber": 1.345, "cauchy": 2.385}.get(loss, 1.0)
    fit = fit_curves(x, y, 0.05, lambda x, a, b: a * np.exp(-b * x), loss=loss, loss_scale=scale)
    spread = fit.value.std(axis=0, ddof=1)
    stated = np.sqrt(np.mean(fit.stderr**2, axis=0))
    np.testing.assert_allclose(stated / spread, 1.0, atol=0.2)
    np.testing.assert_allclose(fit.value.mean(axis=0), [2.0, 0.8], atol=5 * spread.max() / np.sqrt(150))


def test_auto_goes_by_the_errors():
    assert covariance_kind(FitConfig()) == "theory"
    assert covariance_kind(FitConfig(errors="quoted")) == "wald"
    assert covariance_kind(FitConfig(errors="smoothed")) == "wald"
    assert covariance_kind(FitConfig(absolute_sigma=False)) == "scaled"
    assert covariance_kind(FitConfig(errors="none")) == "scaled"
    assert covariance_kind(FitConfig(covariance="scaled")) == "scaled"
    assert covariance_kind(FitConfig(covariance="wald", absolute_sigma=False)) == "wald"


def test_criteria_for_known_errors():
    """By their definitions: -2 ln L is chi2 and a constant."""
    chi2, n = np.array([48.0, 12.0]), np.array([50, 5])
    found = aicc(chi2, 4, n)
    assert found[0] == pytest.approx(48 + 8 + 2 * 4 * 5 / 45)
    assert np.isnan(found[1])
    assert bic(chi2, 4, n) == pytest.approx([48 + 4 * np.log(50), 12 + 4 * np.log(5)])
    assert reduced_chi2(chi2, [46, 0])[0] == pytest.approx(48 / 46)
    assert np.isnan(reduced_chi2(chi2, [46, 0])[1])
