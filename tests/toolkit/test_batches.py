"""Batches answer one for one, as scipy does; several starts end in the lowest minimum."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from conftest import CARRIED
from fitting import nist
from scipy.optimize import curve_fit

from xpcs_dask.errors import ConfigError
from xpcs_dask.toolkit.batches import batch_curve_fitting, optimize_fitting_convergence
from xpcs_dask.toolkit.models import single_exp

X = np.linspace(0.05, 4, 30)
RNG = np.random.default_rng(2)
RATES = np.linspace(0.4, 2.5, 14)


def decay(x, a, rate, offset):
    return a * np.exp(-rate * x) + offset


YS = [decay(X, 2.0, rate, 1.0) + 0.02 * RNG.standard_normal(30) for rate in RATES]


@pytest.mark.parametrize("method", ["vectorized", "parallel"])
def test_more_than_ten_sets_are_all_answered_as_scipy_does(method):
    found = batch_curve_fitting([X] * 14, YS, decay, [[1, 1, 1]] * 14, None, 2, method)
    assert len(found) == 14
    for answer, y, rate in zip(found, YS, RATES, strict=True):
        value, covariance = curve_fit(decay, X, y, [2, rate, 1], ftol=1e-14, xtol=1e-14, gtol=1e-14)
        assert answer["success"]
        np.testing.assert_allclose(answer["popt"], value, rtol=1e-6)
        np.testing.assert_allclose(answer["pcov"], covariance, rtol=1e-4)
        np.testing.assert_allclose(answer["perr"], np.sqrt(np.diag(covariance)), rtol=1e-4)
    assert json.loads(json.dumps(found))[3]["popt"] == found[3]["popt"].tolist()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(found))[5]["pcov"], found[5]["pcov"])


@pytest.mark.parametrize("method", ["vectorized", "parallel"])
def test_sets_of_their_own_x_start_and_bounds(method):
    xs = [X, X[:20], X, X[::2]]
    ys = [YS[0], YS[1][:20], YS[2], YS[3][::2]]
    boxes = [None, ([0, 0, 0], [5, 5, 5]), ([0, 0, 0.0], [5, 5, 0.9]), (0, 9)]
    starts = [[1, 1, 1], [2, 1, 1], [1, 1, 0.5], [1, 2, 1]]
    found = batch_curve_fitting(xs, ys, decay, starts, boxes, method=method)
    for answer, x, y, start, box in zip(found, xs, ys, starts, boxes, strict=True):
        value, _ = curve_fit(
            decay, x, y, start, bounds=(-np.inf, np.inf) if box is None else box, xtol=1e-14, ftol=1e-14
        )
        np.testing.assert_allclose(answer["popt"], value, rtol=1e-4)
    assert found[2]["popt"][2] == pytest.approx(0.9, abs=1e-9)


@pytest.mark.parametrize("method", ["vectorized", "parallel"])
def test_a_set_that_cannot_be_fitted_says_why_and_the_others_are_answered(method):
    ys = [YS[0], np.full(30, np.nan), YS[2], YS[3][:7]]
    found = batch_curve_fitting([X] * 4, ys, decay, [[1, 1, 1]] * 4, method=method)
    assert [answer["success"] for answer in found] == [True, False, True, False]
    for k in (1, 3):
        assert found[k].keys() == {"success", "message"}
        assert len(found[k]["message"]) > 10


def test_a_known_function_gives_its_parameters_in_their_order():
    t = np.geomspace(1e-4, 1, 40)
    ys = [single_exp(t, tau, 1.0, 0.2) for tau in np.geomspace(1e-3, 0.1, 12)]
    found = batch_curve_fitting([t] * 12, ys, single_exp, [[0.01, 1, 0.1]] * 12, [([1e-5, 0.5, 0], [10, 1.5, 1])] * 12)
    np.testing.assert_allclose([f["popt"] for f in found][3], [np.geomspace(1e-3, 0.1, 12)[3], 1.0, 0.2], rtol=1e-7)


def test_no_sets_are_no_answers():
    assert batch_curve_fitting([], [], decay) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"method": "magic"}, "magic"),
        ({"p0_list": [[1, 1, 1]]}, "p0_list has 1"),
        ({"bounds_list": []}, "bounds_list has 0"),
    ],
)
def test_lists_that_do_not_fit_are_refused(change, text):
    with pytest.raises(ConfigError, match=text):
        batch_curve_fitting([X] * 2, YS[:2], decay, **change)


def wave(x, rate):
    return np.sin(rate * x)


def test_the_lowest_of_several_minima_is_kept():
    y = wave(X, 3.0) + 0.01 * np.cos(40 * X)
    starts = [[1.0], [6.0], [2.8], [5.0]]
    found = optimize_fitting_convergence(wave, X, y, (starts, None))
    known, covariance = curve_fit(wave, X, y, [3.0], xtol=1e-15, ftol=1e-15, gtol=1e-15)
    np.testing.assert_allclose(found["popt"], known, rtol=1e-8)
    np.testing.assert_allclose(found["pcov"], covariance, rtol=1e-4)
    assert found["chi_squared"] == pytest.approx(np.sum((wave(X, *known) - y) ** 2))
    assert [a["p0"] for a in found["attempts"]] == starts
    assert found["n_minima"] > 1
    assert min(a["chi_squared"] for a in found["attempts"] if a["success"]) == found["chi_squared"]
    json.dumps(found)
    few = optimize_fitting_convergence(wave, X, y, (starts, None), max_attempts=2)
    assert len(few["attempts"]) == 2
    assert few["chi_squared"] > 10 * found["chi_squared"]


def test_without_starts_the_package_finds_its_own():
    problem = nist.read(CARRIED / "nist" / "MGH09.dat")
    box = np.sort(np.stack([problem.value / 20, problem.value * 20]), axis=0)
    found = optimize_fitting_convergence(problem.function, problem.x, problem.y, (None, box))
    assert nist.digits(found["popt"], problem.value) >= 8
    assert nist.digits(found["perr"], problem.stderr) >= 6


def test_what_has_no_minimum_is_told_with_its_attempts():
    def broken(x, a):
        return np.full_like(x, np.nan) * a

    found = optimize_fitting_convergence(broken, X, YS[0], ([[1.0], [2.0]], None))
    assert not found["success"]
    assert len(found["attempts"]) == 2
    with pytest.raises(ConfigError, match="no start"):
        optimize_fitting_convergence(wave, X, YS[0], ([], None))
