"""Refits near their parent are those of the ladder, and what has no minimum near goes down it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import CARRIED
from fitting import nist
from scipy.optimize import curve_fit

from xpcs_dask.config import FitConfig
from xpcs_dask.fitting import near_refits as module
from xpcs_dask.fitting.generic import empty_rows
from xpcs_dask.fitting.layout import Status
from xpcs_dask.fitting.models import Model
from xpcs_dask.fitting.near_refits import descend, near_refits
from xpcs_dask.fitting.problem import Problem, choose
from xpcs_dask.fitting.replicates import replicates

X = np.linspace(0.1, 4, 40)
CONFIG = FitConfig.make(errors="quoted", detail="full", covariance="wald")


def decay(x, a, rate, offset):
    return a * np.exp(-rate * x) + offset


MODEL = Model.from_function(decay)
Y = decay(X, 2, 1, 1) + 0.02 * np.random.default_rng(5).standard_normal(40)
VALUE, COVARIANCE = curve_fit(decay, X, Y, [2, 1, 1], xtol=1e-15, ftol=1e-15, gtol=1e-15)


def arguments(scheme, lower=None, upper=None, y=Y, value=VALUE, status=Status.CONVERGED):
    rows = empty_rows(1, MODEL)
    rows["value"], rows["status"] = value, status
    low, high = MODEL.box()
    box = (low if lower is None else lower, high if upper is None else upper)
    weight = np.full((1, 40), 50.0)
    return X, y[None], weight, MODEL, CONFIG, *box, rows, scheme, np.array([7], np.uint64), 3


@pytest.mark.parametrize("scheme", ["residual", "wild", "parametric", "pairs", "blocks"])
def test_they_are_those_of_the_ladder(scheme):
    known, found = (make(*arguments(scheme), 0, 25) for make in (replicates, near_refits))
    off = (found - known) / np.sqrt(np.diag(COVARIANCE))
    assert np.abs(off).max() < 1e-5


def test_they_are_those_of_the_ladder_where_a_bound_binds():
    lower, upper = np.array([0, 0, 0.0]), np.array([5, 5, 1.0])
    value, _ = curve_fit(decay, X, Y, [2, 1, 0.9], bounds=(lower, upper), xtol=1e-15, ftol=1e-15, gtol=1e-15)
    value[2] = 1.0
    known, found = (
        make(*arguments("parametric", lower, upper, value=value), 0, 40) for make in (replicates, near_refits)
    )
    off = (found - known) / np.sqrt(np.diag(COVARIANCE))
    assert np.abs(off).max() < 1e-4
    at = found[0, :, 2] == 1.0
    assert at.any()
    assert not at.all()


def test_any_range_has_the_same_bits():
    whole = near_refits(*arguments("residual"), 0, 12)
    parts = [near_refits(*arguments("residual"), a, b) for a, b in ((0, 5), (5, 6), (6, 12))]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_a_parent_without_a_fit_has_none():
    assert np.isnan(near_refits(*arguments("residual", status=Status.NOT_CONVERGED), 0, 3)).all()


def test_what_is_not_found_near_goes_down_the_ladder(monkeypatch):
    known = near_refits(*arguments("residual"), 0, 4)
    monkeypatch.setattr(module, "descend", lambda problem, theta: None)
    np.testing.assert_allclose(near_refits(*arguments("residual"), 0, 4), known, rtol=1e-6)


def test_a_descent_that_leads_to_no_minimum_says_so():
    problem = Problem(
        x=X, y=np.ones(40), weight=np.ones(40), model=MODEL, lower=np.full(3, -np.inf), upper=np.full(3, np.inf)
    )
    problem = replace(problem, derivative=choose(problem, VALUE))
    assert descend(problem, np.array([1e-9, -800.0, 1.0])) is None  # overflows
    flat = descend(problem, np.array([0.0, 1.0, 1.0]))  # without a decay its rate is anything
    assert flat is None


@pytest.mark.parametrize("name", ["Misra1a", "Chwirut2", "Gauss1", "ENSO", "Thurber"])
def test_a_descent_from_the_near_start_ends_in_certified_values(name):
    problem = nist.read(CARRIED / "nist" / f"{name}.dat")
    model = Model.from_function(problem.function, problem.names)
    m, p = problem.y.size, problem.value.size
    whole = Problem(
        x=problem.x, y=problem.y, weight=np.ones(m), model=model, lower=np.full(p, -np.inf), upper=np.full(p, np.inf)
    )
    whole = replace(whole, derivative=choose(whole, problem.starts[1]))
    found = descend(whole, problem.value * (1 + 1e-3))
    assert found is not None
    assert np.all(np.abs(found - problem.value) < 1e-4 * problem.stderr)
