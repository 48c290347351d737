"""NIST's certified nonlinear regressions, all 27 from both starts, through the path of a user's model."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import CARRIED
from fitting import nist

from xpcs_dask.fitting.curves import fit_curves
from xpcs_dask.fitting.layout import Status

FILES = sorted((CARRIED / "nist").glob("*.dat"))
PROBLEMS = {path.stem: nist.read(path) for path in FILES}
BEST_POSSIBLE = {"Lanczos1": 2.5}
"""Standard errors of Lanczos1 come from residuals of 1e-13, below the rounding of its model."""


def solve(problem, start, bounds=None, **settings):
    """Digits right in values, standard errors and residual sum, and the fit."""
    fit = fit_curves(
        problem.x,
        problem.y,
        model=problem.function,
        start=problem.starts[start],
        bounds=bounds,
        absolute_sigma=False,
        covariance="scaled",
        **settings,
    )
    order = nist.arranged(problem, fit.value)
    return (
        nist.digits(fit.value[order], problem.value),
        nist.digits(fit.stderr[order], problem.stderr),
        nist.digits(fit.chi2, problem.chi2),
        fit,
    )


def table():
    """Digits of every problem from both starts, without and with bounds: what the documentation quotes."""
    for problem in PROBLEMS.values():
        for start in (0, 1):
            for bounds in (None, nist.box(problem)):
                value, stderr, _, fit = solve(problem, start, bounds)
                kind = "free" if bounds is None else "boxed"
                print(f"{problem.name:9s} {start + 1} {kind:5s} {value:5.2f} {stderr:5.2f} {fit.evaluations:6d}")


def test_all_problems_are_there():
    assert len(PROBLEMS) == 27
    assert all(p.y.size >= len(p.names) and np.isfinite(p.y).all() for p in PROBLEMS.values())


@pytest.mark.parametrize("name", PROBLEMS)
def test_certified_residuals_belong_to_certified_values(name):
    """The parser and the formula in the file, checked against each other."""
    problem = PROBLEMS[name]
    residuals = problem.function(problem.x, *problem.value) - problem.y
    tolerance = 0.9 if name == "Lanczos1" else 1e-6
    assert residuals @ residuals == pytest.approx(problem.chi2, rel=tolerance)


@pytest.mark.parametrize("boxed", [False, True], ids=["free", "boxed"])
@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("name", PROBLEMS)
def test_certified_values(name, start, boxed):
    problem = PROBLEMS[name]
    value, stderr, chi2, fit = solve(problem, start, nist.box(problem) if boxed else None)
    assert fit.status == Status.CONVERGED
    assert value >= 9
    assert stderr >= BEST_POSSIBLE.get(name, 8)
    assert chi2 >= BEST_POSSIBLE.get(name, 8)


def _exponential(x, b1, b2):
    return np.stack([1 - np.exp(-b2 * x), b1 * x * np.exp(-b2 * x)], axis=-1)


def _power(x, b1, b2):
    return np.stack([x**b2, b1 * x**b2 * np.log(x)], axis=-1)


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize(("name", "jac"), [("BoxBOD", _exponential), ("Misra1a", _exponential), ("DanWood", _power)])
def test_certified_values_with_the_users_jacobian(name, jac, start):
    value, stderr, _, _ = solve(PROBLEMS[name], start, jac=jac)
    assert value >= 9
    assert stderr >= 8


@pytest.mark.parametrize("name", ["Misra1a", "Chwirut2", "Rat43", "Gauss2", "Kirby2"])
def test_certified_values_by_differences(name):
    """A model that refuses complex numbers is fitted too, with fewer digits."""
    problem = PROBLEMS[name]

    def real_only(x, *p):
        return problem.function(x, *(float(v) for v in p))

    fit = fit_curves(problem.x, problem.y, model=real_only, start=problem.starts[0], absolute_sigma=False)
    assert fit.status == Status.CONVERGED
    assert nist.digits(fit.value, problem.value) >= 6
    assert nist.digits(fit.stderr, problem.stderr) >= 5


@pytest.mark.parametrize("name", ["Misra1c", "MGH10", "BoxBOD"])
def test_thorough_search_ends_in_the_certified_minimum(name):
    value, _, _, _ = solve(PROBLEMS[name], 0, nist.box(PROBLEMS[name]), search="thorough")
    assert value >= 9


if __name__ == "__main__":
    table()
