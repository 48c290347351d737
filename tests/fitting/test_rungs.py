"""The last rungs, one by one, against scipy and against known minima."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import least_squares

from xpcs_dask.fitting import rungs
from xpcs_dask.fitting.layout import Rung
from xpcs_dask.fitting.models import SINGLE, Model
from xpcs_dask.fitting.problem import Problem

DELAY = np.geomspace(1e-3, 10, 40)
TRUTH = np.array([0.2, 0.1, 0.9, 1.0])


def curve(seed=0, outliers=0):
    rng = np.random.default_rng(seed)
    y = SINGLE.evaluate(DELAY, *TRUTH) + 2e-3 * rng.normal(size=DELAY.size)
    y[rng.permutation(DELAY.size)[:outliers]] += 0.02
    lower, upper = SINGLE.box(DELAY)
    return Problem(
        x=DELAY,
        y=y,
        weight=np.full(DELAY.size, 500.0),
        model=SINGLE,
        lower=lower,
        upper=upper,
        derivative="own",
    )


@pytest.mark.parametrize("loss", ["linear", "soft_l1", "huber", "cauchy", "arctan"])
def test_trf_is_as_low_as_scipy(loss):
    problem = replace(curve(outliers=4), loss=loss, scale=1.5)
    found = rungs.trf(problem, np.array([0.1, 0.3, 1.0, 1.0]))
    reference = least_squares(
        lambda t: (SINGLE.evaluate(DELAY, *t) - problem.y) * 500,
        TRUTH,
        bounds=(problem.lower, problem.upper),
        loss=loss,
        f_scale=1.5,
        x_scale=TRUTH,
        xtol=1e-15,
        ftol=1e-15,
        gtol=1e-15,
    )
    assert found.verdict.regular
    assert found.rung == Rung.TRF
    assert found.objective <= 2 * reference.cost * (1 + 1e-9)
    assert found.objective == pytest.approx(2 * reference.cost, rel=1e-7)


def test_lm_finds_the_same_minimum():
    problem = curve()
    start = np.array([0.15, 0.15, 1.0, 1.0])
    np.testing.assert_allclose(rungs.lm(problem, start).theta, rungs.trf(problem, start).theta, rtol=1e-8)


def test_lm_outside_the_box_does_not_count():
    problem = curve()
    upper = problem.upper.copy()
    upper[0] = 0.15
    found = rungs.lm(replace(problem, upper=upper), np.array([0.1, 0.1, 1.0, 1.0]))
    assert (found.theta <= upper).all()
    assert not found.verdict.minimum


def test_parameter_ends_exactly_on_its_bound():
    problem = curve()
    upper = problem.upper.copy()
    upper[0] = 0.15
    bounded = replace(problem, upper=upper)
    found = rungs.trf(bounded, np.array([0.1, 0.1, 1.0, 1.0]))
    assert found.theta[0] == 0.15
    assert found.verdict.regular
    held = replace(problem, lower=np.where(np.arange(4) == 0, 0.15, problem.lower), upper=upper)
    assert found.objective == pytest.approx(rungs.trf(held, np.array([0.15, 0.1, 1.0, 1.0])).objective, rel=1e-12)


def test_relaxation_time_ends_exactly_on_its_bound():
    problem = curve()
    lower = problem.lower.copy()
    lower[1] = 0.2
    found = rungs.trf(replace(problem, lower=lower), np.array([0.1, 1.0, 1.0, 1.0]))
    assert found.theta[1] == 0.2
    assert found.verdict.regular


def test_polish_goes_on_where_an_optimiser_stopped():
    problem = curve()
    best = rungs.trf(problem, TRUTH)
    nearly, steps = rungs._polish(problem, best.theta * (1 + 1e-4))
    assert steps > 0
    np.testing.assert_allclose(nearly, best.theta, rtol=1e-9)


def wave(x, frequency, amplitude):
    return amplitude * np.sin(frequency * x)


def test_evolution_finds_the_lowest_of_many_minima():
    x = np.linspace(0, 10, 80)
    problem = Problem(
        x=x,
        y=wave(x, 17.3, 1.0) + 0.01 * np.cos(31 * x),
        weight=np.ones(80),
        model=Model.from_function(wave),
        lower=np.array([0.5, 0.1]),
        upper=np.array([24.0, 5.0]),
        derivative="complex",
    )
    start = np.array([2.0, 0.5])
    assert rungs.trf(problem, start).objective > 10
    first, again = rungs.evolution(problem, start), rungs.evolution(problem, start)
    assert first.objective < 0.01
    assert first.theta[0] == pytest.approx(17.3, abs=1e-3)
    assert first.rung == Rung.EVOLUTION
    assert first.verdict.regular
    np.testing.assert_array_equal(first.theta, again.theta)
    assert first.evaluations == again.evaluations


def test_all_parameters_held():
    problem = replace(curve(), lower=TRUTH, upper=TRUTH)
    found = rungs.trf(problem, TRUTH)
    assert found.verdict.regular
    np.testing.assert_array_equal(found.theta, TRUTH)
