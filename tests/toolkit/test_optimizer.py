"""`RobustOptimizer` fits as scipy does where scipy can, goes on where it cannot, and counts what it did."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from conftest import CARRIED
from fitting import nist
from scipy.optimize import curve_fit

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.layout import Rung
from xpcs_dask.fitting.optimality import judge
from xpcs_dask.fitting.rungs import Try, trf
from xpcs_dask.toolkit import strategies
from xpcs_dask.toolkit.models import single_exp, single_exp_all
from xpcs_dask.toolkit.optimizer import OptimizationStrategy, RobustOptimizer

X = np.linspace(0.1, 4, 40)
SIGMA = np.linspace(0.02, 0.1, 40)
Y = 1.1 + 2.3 * np.exp(-0.8 * X) + SIGMA * np.random.default_rng(5).standard_normal(40)
NAMES = ["Trust Region Reflective", "Levenberg-Marquardt", "Differential Evolution"]


def decay(x, a, rate, offset):
    return a * np.exp(-rate * x) + offset


CALLS = {
    "nothing": {},
    "start": {"p0": [1, 1, 1]},
    "sigma": {"sigma": SIGMA},
    "absolute": {"sigma": SIGMA, "absolute_sigma": True},
    "one sigma": {"sigma": 0.1, "absolute_sigma": True},
    "bounds": {"bounds": ([0, 0, 0], [5, 5, 5]), "sigma": SIGMA},
    "no bounds by name": {"bounds": None},
    "jac": {"jac": lambda x, a, r, c: np.stack([np.exp(-r * x), -a * x * np.exp(-r * x), np.ones_like(x)], 1)},
}


@pytest.mark.parametrize("name", CALLS)
def test_it_finds_what_scipy_finds(name):
    options = dict(CALLS[name])
    popt, pcov, info = RobustOptimizer().robust_curve_fit(decay, X, Y, **options)
    if options.get("bounds", 1) is None:
        del options["bounds"]
    known, covariance = curve_fit(decay, X, Y, ftol=1e-14, xtol=1e-14, gtol=1e-14, **options)
    np.testing.assert_allclose(popt, known, rtol=2e-6)
    np.testing.assert_allclose(pcov, covariance, rtol=2e-4, atol=1e-12)
    error = options.get("sigma", 1.0)
    chi2 = np.sum(((Y - decay(X, *known)) / error) ** 2)
    weight = np.broadcast_to(np.asarray(error, float) ** -2.0, 40)
    assert info["chi_squared"] == pytest.approx(chi2)
    assert info["r_squared"] == pytest.approx(1 - chi2 / np.sum(weight * (Y - np.average(Y, weights=weight)) ** 2))
    assert info["method"] == NAMES[0]
    assert info["iterations"] > 3
    assert info["time"] > 0
    json.dumps(info)


def test_errors_grow_with_those_of_the_data_if_they_are_absolute():
    optimizer = RobustOptimizer()
    one, hundred = (optimizer.robust_curve_fit(decay, X, Y, sigma=f * SIGMA, absolute_sigma=True)[1] for f in (1, 100))
    np.testing.assert_allclose(hundred, 1e4 * one, rtol=1e-6)


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("name", ["Misra1a", "BoxBOD", "MGH09", "Eckerle4", "Hahn1", "Rat43", "Thurber"])
@pytest.mark.filterwarnings("ignore:overflow|divide by zero|invalid value:RuntimeWarning")
def test_certified_values(name, start):
    problem = nist.read(CARRIED / "nist" / f"{name}.dat")
    popt, pcov, _ = RobustOptimizer().robust_curve_fit(problem.function, problem.x, problem.y, problem.starts[start])
    assert nist.digits(popt, problem.value) >= 8
    assert nist.digits(np.sqrt(np.diag(pcov)), problem.stderr) >= 6


def test_parameters_come_in_the_order_of_a_function_that_the_package_knows():
    t = np.geomspace(1e-4, 1, 40)
    y = single_exp(t, 0.02, 1.01, 0.2) + 1e-3 * np.cos(9 * np.arange(40))
    box = ([1e-5, 0.5, 0], [10, 1.5, 1])
    popt, pcov, _ = RobustOptimizer().robust_curve_fit(single_exp, t, y, [0.1, 1, 0.1], box)
    known, covariance = curve_fit(single_exp, t, y, [0.02, 1, 0.2], xtol=1e-14, ftol=1e-14)
    np.testing.assert_allclose(popt, known, rtol=1e-6)
    np.testing.assert_allclose(pcov, covariance, rtol=1e-3, atol=1e-12)


def test_a_parameter_may_be_held_and_one_on_its_bound_has_no_error():
    popt, pcov, _ = RobustOptimizer().robust_curve_fit(decay, X, Y, [2, 1, 1.1], ([0, 0, 1.1], [9, 9, 1.1]))
    known, covariance = curve_fit(lambda x, a, r: decay(x, a, r, 1.1), X, Y, [2, 1], xtol=1e-14, ftol=1e-14)
    np.testing.assert_allclose(popt, [*known, 1.1], rtol=1e-6)
    np.testing.assert_allclose(pcov[:2, :2], covariance, rtol=1e-4)
    np.testing.assert_array_equal(pcov[2], 0)
    popt, pcov, _ = RobustOptimizer().robust_curve_fit(decay, X, Y, [2, 1, 0.5], ([0, 0, 0], [9, 9, 0.9]))
    assert popt[2] == 0.9
    assert np.isnan(pcov[2, 2])


def test_the_strategies_are_the_three_of_the_toolkit_and_are_counted():
    optimizer = RobustOptimizer()
    assert [s.name for s in optimizer.strategies] == NAMES
    for _ in range(3):
        optimizer.robust_curve_fit(decay, X, Y)
    report = optimizer.get_performance_report()
    assert (report["total_optimizations"], report["total_failures"], report["overall_success_rate"]) == (3, 0, 1.0)
    first = report["strategies"][NAMES[0]]
    assert (first["total_attempts"], first["success_count"], first["success_rate"]) == (3, 3, 1.0)
    assert first["avg_iterations"] > 3
    assert first["avg_time"] > 0
    assert report["strategies"][NAMES[2]]["total_attempts"] == 0
    assert len(optimizer.convergence_history) == 3
    assert optimizer.convergence_history[0].keys() == {"function", "method", "iterations", "time", "chi_squared"}
    json.dumps(report)
    optimizer.reset_performance_tracking()
    assert optimizer.get_performance_report()["total_optimizations"] == 0
    assert optimizer.strategies[0].total_attempts == 0
    assert optimizer.convergence_history == []


def test_nothing_is_counted_if_nothing_is_to_be():
    optimizer = RobustOptimizer(performance_tracking=False)
    optimizer.robust_curve_fit(decay, X, Y)
    assert optimizer.get_performance_report()["total_optimizations"] == 0
    assert optimizer.strategies[0].total_attempts == 0


def failing(kinds, monkeypatch):
    """Let some strategies end where they begin."""

    def lost(problem, starts):
        theta = starts[0]
        return Try(
            theta=theta, objective=problem.objective(theta), evaluations=1, rung=Rung.TRF, verdict=judge(problem, theta)
        )  # fmt: skip

    monkeypatch.setattr(strategies, "METHODS", {**strategies.METHODS, **dict.fromkeys(kinds, lost)})


@pytest.mark.parametrize("lost", [1, 2])
def test_the_next_strategy_goes_on_where_one_fails(lost, monkeypatch):
    failing(["trf", "lm"][:lost], monkeypatch)
    optimizer = RobustOptimizer()
    popt, _, info = optimizer.robust_curve_fit(decay, X, Y, [1, 1, 1], ([0, 0, 0], [9, 9, 9]))
    known, _ = curve_fit(decay, X, Y, [2, 1, 1], ftol=1e-14, xtol=1e-14, gtol=1e-14)
    np.testing.assert_allclose(popt, known, rtol=1e-6)
    assert info["method"] == NAMES[lost]
    assert info["message"].endswith(f"after {', '.join(NAMES[:lost])}")
    assert [f["strategy"] for f in optimizer.failed_attempts] == NAMES[:lost]
    report = optimizer.get_performance_report()["strategies"]
    assert [report[name]["success_rate"] for name in NAMES[: lost + 1]] == [0.0] * lost + [1.0]


def test_a_failure_is_told_and_counted(monkeypatch):
    failing(["trf", "lm", "differential_evolution"], monkeypatch)
    optimizer = RobustOptimizer()
    with pytest.raises(RuntimeError, match="no minimum of 'decay' was found by Trust Region"):
        optimizer.robust_curve_fit(decay, X, Y, [1, 1, 1])
    report = optimizer.get_performance_report()
    assert (report["total_optimizations"], report["total_failures"], report["overall_success_rate"]) == (1, 1, 0.0)
    assert len(optimizer.failed_attempts) == 3


def test_what_was_found_is_kept_when_the_evaluations_are_spent(monkeypatch):
    optimizer = RobustOptimizer(max_iterations=1)
    known, _ = curve_fit(decay, X, Y, [2, 1, 1], ftol=1e-14, xtol=1e-14, gtol=1e-14)
    np.testing.assert_allclose(optimizer.robust_curve_fit(decay, X, Y, [1, 1, 1])[0], known, rtol=1e-6)
    failing(["trf"], monkeypatch)
    with pytest.raises(RuntimeError, match="by Trust Region Reflective;"):
        optimizer.robust_curve_fit(decay, X, Y, [1, 1, 1])


def test_the_lowest_minimum_counts_whichever_strategy_found_it(monkeypatch):
    def wave(x, rate):
        return np.sin(rate * x)

    y = wave(X, 3.0)

    def poor(problem, starts):
        found = trf(problem, np.array([1.0]))
        return replace(found, verdict=replace(found.verdict, dead=np.array([True])))

    monkeypatch.setattr(strategies, "METHODS", {**strategies.METHODS, "trf": poor})
    popt, _, info = RobustOptimizer().robust_curve_fit(wave, X, y, [3.05])
    np.testing.assert_allclose(popt, [3.0], rtol=1e-8)
    assert info["method"] == NAMES[1]


def test_a_wrong_jacobian_is_found_out():
    popt, pcov, _ = RobustOptimizer().robust_curve_fit(
        decay, X, Y, [2, 1, 1], sigma=SIGMA, jac=lambda x, a, r, c: np.stack([np.exp(-r * x), x, np.ones_like(x)], 1)
    )
    known, covariance = curve_fit(decay, X, Y, [2, 1, 1], SIGMA, ftol=1e-14, xtol=1e-14, gtol=1e-14)
    np.testing.assert_allclose(popt, known, rtol=1e-5)
    np.testing.assert_allclose(pcov, covariance, rtol=1e-3)


def test_the_global_generator_does_not_matter(monkeypatch):
    failing(["trf", "lm"], monkeypatch)
    found = []
    for seed in (1, 2):
        np.random.seed(seed)  # noqa: NPY002
        found.append(RobustOptimizer().robust_curve_fit(decay, X, Y, [1, 1, 1], (0, 9))[0])
    np.testing.assert_array_equal(*found)


def test_points_that_cannot_be_used_are_left_out():
    y, sigma = Y.copy(), SIGMA.copy()
    y[3], sigma[7], sigma[8] = np.nan, 0.0, np.inf
    used = np.delete(np.arange(40), [3, 7, 8])
    popt, _, _ = RobustOptimizer().robust_curve_fit(decay, X, y, sigma=sigma, nan_policy="omit")
    known, _ = curve_fit(decay, X[used], Y[used], sigma=SIGMA[used], ftol=1e-14, xtol=1e-14, gtol=1e-14)
    np.testing.assert_allclose(popt, known, rtol=1e-6)


def test_x_may_have_any_shape():
    grid = np.stack([X, X**2])
    popt, _, _ = RobustOptimizer().robust_curve_fit(lambda x, a, b: a * x[0] + b * x[1], grid, 2 * X + 0.5 * X**2)
    np.testing.assert_allclose(popt, [2, 0.5], rtol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "options", "text"),
    [
        ((decay, X, np.where(X > 3, np.nan, Y)), {}, "nan_policy='omit'"),
        ((decay, X, Y[1:]), {}, "one row of points"),
        ((decay, X, Y, [1, 1, 9], (0, 5)), {}, "outside the bounds"),
        ((decay, X, Y, [1, 1, 1], (5, 0)), {}, "crossed"),
        ((decay, X[:2], Y[:2]), {}, "for 3 parameters"),
        ((decay, X, Y), {"sigma": SIGMA[:3]}, "does not fit"),
        ((decay, X, Y), {"colour": "red"}, "unknown option colour"),
        ((lambda x, *p: x * p[0], X, Y), {}, "give p0"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, options, text):
    with pytest.raises(ConfigError, match=text) as caught:
        RobustOptimizer().robust_curve_fit(*arguments, **options)
    assert isinstance(caught.value, ValueError)


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match="above 0"):
        RobustOptimizer(max_iterations=0)
    optimizer = RobustOptimizer()
    optimizer.strategies = [OptimizationStrategy("mine", "simplex", {})]
    with pytest.raises(ConfigError, match="simplex"):
        optimizer.robust_curve_fit(decay, X, Y)
    optimizer.strategies = []
    with pytest.raises(ConfigError, match="strategies"):
        optimizer.robust_curve_fit(decay, X, Y)


def test_strategies_can_be_chosen():
    optimizer = RobustOptimizer()
    optimizer.strategies = optimizer.strategies[1:]
    assert optimizer.robust_curve_fit(decay, X, Y, [2, 1, 1])[2]["method"] == NAMES[1]


def test_a_strategy_counts_all_its_attempts():
    strategy = OptimizationStrategy("mine", "trf", {"max_nfev": 3})
    assert strategy.success_rate == 0.0
    for success, seconds, iterations in ((True, 1.0, 10), (False, 3.0, 40), (True, 2.0, 10)):
        strategy.update_stats(success, seconds, iterations)
    assert strategy.success_rate == pytest.approx(2 / 3)
    assert (strategy.success_count, strategy.total_attempts) == (2, 3)
    assert strategy.avg_time == pytest.approx(2.0)
    assert strategy.avg_iterations == pytest.approx(20)
    assert "mine" in repr(strategy)
    assert pickle.loads(pickle.dumps(strategy)).avg_time == strategy.avg_time


def test_an_optimizer_can_be_sent_to_another_process():
    optimizer = RobustOptimizer()
    optimizer.robust_curve_fit(single_exp_all, X, 1 + 0.2 * np.exp(-2 * X), [0.1, 1, 1, 1])
    again = pickle.loads(pickle.dumps(optimizer))
    assert again.get_performance_report() == optimizer.get_performance_report()
