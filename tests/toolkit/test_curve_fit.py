"""`robust_curve_fit` answers and refuses as the installed `scipy.optimize.curve_fit` does, and finds more."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import CARRIED
from fitting import nist
from scipy.optimize import Bounds, OptimizeWarning, curve_fit

from xpcs_dask.toolkit import curve_fit as module
from xpcs_dask.toolkit import robust_curve_fit

X = np.linspace(0.1, 4, 40)
SIGMA = np.linspace(0.02, 0.1, 40)
Y = 1.1 + 2.3 * np.exp(-0.8 * X) + SIGMA * np.random.default_rng(5).standard_normal(40)


def decay(x, a, rate, offset):
    return a * np.exp(-rate * x) + offset


def slope(x, a, rate, offset):
    e = np.exp(-rate * x)
    return np.stack([e, -a * x * e, np.ones_like(x)], axis=1)


def covariance():
    near = np.exp(-np.abs(np.subtract.outer(X, X)))
    return np.outer(SIGMA, SIGMA) * near


CALLS = {
    "nothing": {},
    "start": {"p0": [1, 1, 1]},
    "sigma": {"sigma": SIGMA},
    "one sigma": {"sigma": 0.1, "absolute_sigma": True},
    "absolute": {"sigma": SIGMA, "absolute_sigma": True},
    "covariance": {"sigma": covariance(), "absolute_sigma": True},
    "relative covariance": {"sigma": covariance(), "jac": slope},
    "bounds": {"bounds": ([0, 0, 0], [5, 5, 5])},
    "one bound for all": {"bounds": (0, 9)},
    "record of bounds": {"bounds": Bounds([0, 0, 0], np.inf)},
    "bound that binds": {"bounds": ([0, 0, 0], [5, 5, 1.0]), "sigma": SIGMA},
    "jac": {"jac": slope, "sigma": SIGMA},
    "jac by name": {"jac": "3-point", "method": "trf"},
    "dogbox": {"method": "dogbox", "bounds": (-9, 9)},
    "evaluations": {"max_nfev": 400, "method": "trf"},
    "lists": {"p0": (2, 1, 1), "sigma": list(SIGMA)},
}


@pytest.mark.parametrize("name", CALLS)
def test_it_answers_as_scipy_does(name):
    options = dict(CALLS[name])
    known, known_covariance = curve_fit(decay, X, Y, ftol=1e-14, xtol=1e-14, gtol=1e-14, **options)
    found, found_covariance = robust_curve_fit(decay, X, Y, **options)
    np.testing.assert_allclose(found, known, rtol=2e-6)
    np.testing.assert_allclose(found_covariance, known_covariance, rtol=2e-4, atol=1e-12)


def test_it_gives_all_that_scipy_gives():
    found, known = (fit(decay, X, Y, sigma=SIGMA, full_output=True) for fit in (robust_curve_fit, curve_fit))
    assert len(found) == len(known) == 5
    assert found[2].keys() == known[2].keys()
    assert found[3:] == known[3:]


@pytest.mark.parametrize("method", [None, "trf"])
def test_x_may_have_any_shape(method):
    grid = np.stack([X, X**2])
    y = 2 * grid[0] + 0.5 * grid[1] + 0.01 * np.sin(50 * X)

    def plane(x, a, b):
        return a * x[0] + b * x[1]

    found, known = (fit(plane, grid, y, method=method) for fit in (robust_curve_fit, curve_fit))
    np.testing.assert_allclose(found[0], known[0], rtol=1e-7)
    np.testing.assert_allclose(found[1], known[1], rtol=1e-5)


@pytest.mark.parametrize("sigma", [None, SIGMA, covariance()], ids=["none", "errors", "covariance"])
def test_points_without_a_number_are_left_out_if_asked(sigma):
    x, y = X.copy(), Y.copy()
    x[3], y[[7, 9]] = np.nan, np.nan
    options = {"nan_policy": "omit", "check_finite": False, "sigma": sigma}
    found, known = (fit(decay, x, y, **options) for fit in (robust_curve_fit, curve_fit))
    np.testing.assert_allclose(found[0], known[0], rtol=2e-6)
    np.testing.assert_allclose(found[1], known[1], rtol=2e-4)


REFUSED = {
    "NaN": ((decay, X, np.where(X > 3, np.nan, Y)), {}),
    "infinite x": ((decay, np.where(X > 3, np.inf, X), Y), {}),
    "start outside": ((decay, X, Y), {"p0": [9, 1, 1], "bounds": (0, 5)}),
    "crossed bounds": ((decay, X, Y), {"bounds": (5, 0)}),
    "bounds of another length": ((decay, X, Y), {"bounds": ([0, 0], [1, 1])}),
    "sigma of another length": ((decay, X, Y), {"sigma": SIGMA[:5]}),
    "sigma of three dimensions": ((decay, X, Y), {"sigma": np.ones((40, 40, 2))}),
    "a covariance that is none": ((decay, X, Y), {"sigma": -np.eye(40)}),
    "too few points": ((decay, X[:2], Y[:2]), {}),
    "no points": ((decay, [], []), {}),
    "an unknown method": ((decay, X, Y), {"method": "simplex"}),
    "lm with bounds": ((decay, X, Y), {"method": "lm", "bounds": (0, 5)}),
    "an unknown option": ((decay, X, Y), {"colour": "red"}),
    "parameters that cannot be counted": ((lambda x, *p: x * p[0], X, Y), {}),
    "another shape": ((lambda x, a: a * x[:5], X, Y), {}),
    "a policy that is not known": ((decay, X, Y), {"nan_policy": "often"}),
    "a function that raises": ((lambda x, a: 1 / 0, X, Y), {}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_refuses_what_scipy_refuses(name):
    arguments, options = REFUSED[name]
    with pytest.raises(Exception) as known:  # noqa: PT011 - whatever scipy says
        curve_fit(*arguments, **options)
    with pytest.raises(type(known.value)) as found:
        robust_curve_fit(*arguments, **options)
    assert str(found.value) == str(known.value)


def test_a_covariance_that_cannot_be_told_is_infinite_and_warned_of():
    def line(x, a, b):
        return a * x + b * x

    with pytest.warns(OptimizeWarning, match="could not be estimated"):
        _, covariance = robust_curve_fit(line, X, Y)
    assert np.isinf(covariance).all()
    with pytest.warns(OptimizeWarning, match="could not be estimated"):
        found, covariance = robust_curve_fit(decay, X[:3], Y[:3])  # as many points as parameters
    np.testing.assert_allclose(decay(X[:3], *found), Y[:3], rtol=1e-6)
    assert np.isinf(covariance).all()


def test_where_scipy_gives_up_the_ladder_goes_on():
    with pytest.raises(RuntimeError):
        curve_fit(decay, X, Y, [1, 1, 1], maxfev=5)
    found, covariance, info, message, code = robust_curve_fit(decay, X, Y, [1, 1, 1], maxfev=5, full_output=True)
    known, known_covariance = curve_fit(decay, X, Y, [1, 1, 1])
    np.testing.assert_allclose(found, known, rtol=1e-6)
    np.testing.assert_allclose(covariance, known_covariance, rtol=1e-4)
    assert "another attempt" in message
    assert code == 1
    np.testing.assert_allclose(info["fvec"], decay(X, *found) - Y)
    assert info["nfev"] > 0


def test_the_ladder_goes_on_from_where_scipy_ends_if_that_is_lower(monkeypatch):
    """From 1 both run into a poor minimum; scipy here begins near the good one, and stops on its slope."""

    def wave(x, rate):
        return np.sin(rate * x)

    y = wave(X, 3.0) + 0.01 * np.cos(40 * X)

    def near(f, x, y, p0, sigma, **options):
        found, covariance, info, *more = curve_fit(f, x, y, [3.1], sigma, **options)
        return found + 1e-5, covariance, info | {"fvec": wave(X, found + 1e-5) - y}, *more

    known = curve_fit(wave, X, y, [3.0], ftol=1e-15, xtol=1e-15, gtol=1e-15)[0]
    monkeypatch.setattr(module, "curve_fit", near)
    np.testing.assert_allclose(robust_curve_fit(wave, X, y, [1.0])[0], known, rtol=1e-9)


def test_what_nobody_can_fit_raises_what_scipy_raises():
    def never(x, a):
        return np.full_like(x, np.nan)

    with pytest.raises(ValueError, match="Residuals are not finite"):
        robust_curve_fit(never, X, Y, bounds=(0, 1))


@pytest.mark.slow
@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("name", sorted(path.stem for path in (CARRIED / "nist").glob("*.dat")))
@pytest.mark.filterwarnings("ignore:overflow|divide by zero|invalid value:RuntimeWarning")
def test_certified_values(name, start):
    problem = nist.read(CARRIED / "nist" / f"{name}.dat")
    found, covariance = robust_curve_fit(problem.function, problem.x, problem.y, problem.starts[start])
    order = nist.arranged(problem, found)
    assert nist.digits(found[order], problem.value) >= 9
    assert nist.digits(np.sqrt(np.diag(covariance))[order], problem.stderr) >= (2.5 if name == "Lanczos1" else 8)
