"""What is climbed, when it stops, and what is believed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import carried
from fitting import nist

from xpcs_dask.fitting import ladder
from xpcs_dask.fitting.layout import Rung, Status
from xpcs_dask.fitting.models import Model
from xpcs_dask.fitting.optimality import judge
from xpcs_dask.fitting.problem import Problem

X = np.linspace(0.1, 10, 60)


def problem_of(function, y, lower=-np.inf, upper=np.inf, names=None, **changes):
    model = Model.from_function(function, names)
    p = len(model.parameters)
    fields = {
        "x": X,
        "y": y,
        "weight": np.ones(y.size),
        "model": model,
        "lower": np.full(p, lower) if np.isscalar(lower) else np.array(lower, dtype=float),
        "upper": np.full(p, upper) if np.isscalar(upper) else np.array(upper, dtype=float),
        "derivative": "complex",
    }
    return Problem(**(fields | changes))


def wave(x, frequency, amplitude):
    return amplitude * np.sin(frequency * x)


WAVE = wave(X, 4.0, 1.0) + 0.01 * np.cos(31 * X)


def test_fast_stops_at_the_first_minimum():
    found = ladder.solve(problem_of(wave, WAVE, [0.5, 0.1], [9, 5]), [np.array([3.9, 0.5])])
    assert (found.status, found.rung, found.disagree) == (Status.CONVERGED, Rung.TRF, False)
    assert found.evaluations < 60
    assert found.theta[0] == pytest.approx(4.0, abs=1e-3)


def test_fast_tries_all_starts_and_keeps_the_lowest():
    found = ladder.solve(problem_of(wave, WAVE, [0.5, 0.1], [9, 5]), [np.array([1.0, 1.0]), np.array([3.9, 0.5])])
    assert found.theta[0] == pytest.approx(4.0, abs=1e-3)
    assert found.disagree
    assert found.rung == Rung.TRF


def test_thorough_goes_on_when_starts_disagree_and_says_so():
    problem = problem_of(wave, WAVE, [0.5, 0.1], [9, 5])
    bad_starts = [np.array([1.0, 0.5]), np.array([2.0, 0.5])]
    fast = ladder.solve(problem, bad_starts[:1])
    assert fast.status == Status.CONVERGED
    assert fast.objective > 10
    thorough = ladder.solve(problem, bad_starts, "thorough")
    assert thorough.objective < 0.02
    assert thorough.disagree


def test_thorough_stops_when_starts_agree():
    line = np.sin(X) * 0.1 + 2 * X + 1
    problem = problem_of(lambda x, a, b: a * x + b, line, names=["a", "b"])
    found = ladder.solve(problem, [np.ones(2)], "thorough")
    assert not found.disagree
    assert found.rung == Rung.TRF
    assert found.evaluations < 100
    np.testing.assert_allclose(found.theta, np.polyfit(X, line, 1), rtol=1e-10)


@pytest.mark.parametrize(("name", "start"), [("MGH10", 0), ("MGH17", 0)])
def test_where_trf_gets_lost_in_a_box_another_rung_does_not(name, start):
    reference = nist.read(carried(f"nist/{name}.dat"))
    box = np.array(list(nist.box(reference).values()))
    problem = problem_of(
        reference.function, reference.y, box[:, 0], box[:, 1], x=reference.x, names=list(reference.names)
    )
    found = ladder.solve(problem, [problem.clip(reference.starts[start])])
    assert found.status == Status.CONVERGED
    assert found.objective == pytest.approx(reference.chi2, rel=1e-9)


def test_no_minimum_is_no_success():
    """The lowest point is a kink: the gradient is zero nowhere."""
    problem = problem_of(lambda x, a: (1 + np.abs(a - 1)) * x, -X, names=["a"], derivative="difference")
    found = ladder.solve(problem, [np.array([3.0])])
    assert found.status == Status.NOT_CONVERGED


@pytest.mark.parametrize(
    ("function", "slope"),
    [(lambda x, a, b: (a + b) * x, lambda theta: theta.sum()), (lambda x, a, b: a * x + 0 * b, lambda theta: theta[0])],
    ids=["only the sum matters", "one has no effect"],
)
def test_singular_minimum_is_kept_without_a_long_search(function, slope):
    problem = problem_of(function, 2 * X + 0.1 * np.sin(9 * X), names=["a", "b"])
    found = ladder.solve(problem, [np.ones(2)])
    assert found.status == Status.CONVERGED
    assert found.evaluations < 100
    assert slope(found.theta) == pytest.approx(X @ problem.y / (X @ X), rel=1e-10)


def test_failing_trials_are_survived():
    def touchy(x, a, b):
        if np.real(b) < 0.2:
            raise ValueError("b too small")
        return a * np.exp(-b * x)

    problem = problem_of(touchy, 2 * np.exp(-0.5 * X) + 0.01 * np.sin(9 * X))
    found = ladder.solve(problem, [np.array([1.0, 3.0])])
    assert found.status == Status.CONVERGED
    assert found.theta == pytest.approx([2.0, 0.5], abs=0.02)


def test_tukey_is_an_mm_estimate():
    """Outliers that hold a fifth of the points do not move it; its scale is that of the good points."""
    rng = np.random.default_rng(3)
    y = 2 * X + 1 + 0.1 * rng.normal(size=X.size)
    clean = y.copy()
    bad = rng.permutation(X.size)[:12]
    y[bad] += 5.0
    problem = problem_of(lambda x, a, b: a * x + b, y, names=["a", "b"], loss="tukey", weight=np.full(X.size, 10.0))
    found = ladder.solve(problem, [np.ones(2)])
    assert found.status == Status.CONVERGED
    assert found.scale == pytest.approx(4.685, rel=0.4)
    good = np.setdiff1d(np.arange(X.size), bad)
    np.testing.assert_allclose(found.theta, np.polyfit(X[good], clean[good], 1), atol=0.03)
    final = replace(problem, scale=found.scale)
    assert judge(final, found.theta).minimum
    # The textbook's fixed point: weights (1 - (r/c)^2)^2 inside c, none outside.
    residuals = final.residuals(found.theta)
    weight = np.where(np.abs(residuals) < found.scale, (1 - (residuals / found.scale) ** 2) ** 2, 0.0)
    np.testing.assert_allclose(found.theta, np.polyfit(X, y, 1, w=np.sqrt(weight)), rtol=1e-7)
    first = ladder.solve(replace(problem, loss="cauchy", scale=2.385), [np.ones(2)])
    median = np.median(np.abs(problem.residuals(first.theta)))
    assert found.scale == pytest.approx(4.685 * 1.4826 * median, rel=1e-9)


def test_tukey_scale_is_a_factor():
    rng = np.random.default_rng(4)
    problem = problem_of(
        lambda x, a, b: a * x + b, X + rng.normal(size=X.size), names=["a", "b"], loss="tukey", scale=2.0
    )
    double = ladder.solve(problem, [np.ones(2)])
    single = ladder.solve(replace(problem, scale=1.0), [np.ones(2)])
    assert double.scale == pytest.approx(2 * single.scale, rel=1e-9)
