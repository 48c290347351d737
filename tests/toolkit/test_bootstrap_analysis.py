"""Intervals from refits: the scatter that theory gives, seeded, the same by any number of threads."""

from __future__ import annotations

import json
import pickle
from functools import partial

import numpy as np
import pytest
from scipy.optimize import curve_fit

from xpcs_dask.errors import ConfigError
from xpcs_dask.toolkit.bootstrap_analysis import METHODS, BootstrapAnalyzer
from xpcs_dask.toolkit.models import single_exp, single_exp_all

X = np.linspace(0.0, 1.0, 12)
DESIGN = np.stack([np.ones(12), X], axis=1)
T = np.geomspace(1e-4, 10, 40)
SIGMA = np.geomspace(0.002, 0.02, 40)
G2 = single_exp_all(T, 0.2, 0.05, 0.9, 1.0) + SIGMA * np.random.default_rng(4).standard_normal(40)
BOX = ([0.0, 1e-4, 0.3, 0.8], [1.0, 10.0, 2.0, 1.2])
POPT, PCOV = curve_fit(single_exp_all, T, G2, [0.2, 0.05, 0.9, 1], SIGMA, absolute_sigma=True, xtol=1e-14, ftol=1e-14)


def unknown(x, a, b, c, d):
    """What `single_exp_all` is, but not the same function: nobody knows that it has a kernel."""
    return single_exp_all(x, a, b, c, d)


def line(x, a, b):
    return a + b * x


def line_fit(rng, sigma=None):
    y = line(X, 1.0, 2.0) + (0.1 if sigma is None else sigma) * rng.standard_normal(12)
    popt, pcov = curve_fit(line, X, y, sigma=sigma, absolute_sigma=sigma is not None)
    return y, popt, pcov


def run(method="residual", n=400, seed=0, n_jobs=None, func=single_exp_all, **options):
    analyzer = BootstrapAnalyzer(n, 0.95, seed, n_jobs)
    return analyzer.bootstrap_confidence_intervals(func, T, G2, POPT, PCOV, BOX, SIGMA, method, **options)


def stds(found):
    return np.array([row["bootstrap_std"] for row in found["parameter_statistics"].values()])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["residual", "parametric"])
def test_the_scatter_of_a_straight_line_is_that_of_theory(method):
    """Raw residuals would be too small by (n - p)/n: 9 % in the errors of 12 points and 2 parameters."""
    y, popt, pcov = line_fit(np.random.default_rng(1))
    found = BootstrapAnalyzer(1500, random_state=2).bootstrap_confidence_intervals(
        line, X, y, popt, pcov, method=method
    )
    rest = y - line(X, *popt)
    hat = DESIGN @ np.linalg.solve(DESIGN.T @ DESIGN, DESIGN.T)
    pool = rest / np.sqrt(1 - np.diag(hat))
    spread = np.var(pool) if method == "residual" else rest @ rest / 10
    known = np.sqrt(np.diag(np.linalg.inv(DESIGN.T @ DESIGN)) * spread)
    np.testing.assert_allclose(stds(found), known, rtol=0.06)
    np.testing.assert_allclose(np.sqrt(np.diag(found["bootstrap_covariance"])), stds(found), rtol=1e-12)
    assert np.all(known > 1.05 * np.sqrt(np.diag(np.linalg.inv(DESIGN.T @ DESIGN)) * np.var(rest)))


def test_residuals_are_drawn_in_units_of_their_errors():
    """Errors span a decade: what is drawn at one end must not be put at the other as it is."""
    wald = np.sqrt(np.diag(PCOV))
    np.testing.assert_allclose(stds(run("residual", 2000)), wald, rtol=0.25)
    np.testing.assert_allclose(stds(run("parametric", 2000)), wald, rtol=0.08)
    np.testing.assert_allclose(stds(run("wild", 2000)), wald, rtol=0.6)


def test_parametric_noise_has_the_size_of_the_errors():
    analyzer = BootstrapAnalyzer(2000, random_state=1)
    once, twice = (
        stds(analyzer.bootstrap_confidence_intervals(single_exp_all, T, G2, POPT, PCOV, BOX, f * SIGMA, "parametric"))
        for f in (1, 2)
    )
    np.testing.assert_allclose(twice, 2 * once, rtol=0.2)


@pytest.mark.slow
def test_intervals_of_a_straight_line_cover():
    rng, inside = np.random.default_rng(8), []
    for _ in range(100):
        y, popt, pcov = line_fit(rng)
        found = BootstrapAnalyzer(99, interval := 0.9).bootstrap_confidence_intervals(line, X, y, popt, pcov)
        low, high = found["parameter_statistics"]["param_1"]["confidence_interval"]
        inside.append(low < 2.0 < high)
    assert interval - 0.16 < np.mean(inside) < interval + 0.07


@pytest.mark.parametrize("method", METHODS)
def test_an_interval_is_that_of_the_samples(method):
    found = run(method, 399)
    assert found["method"] == method
    for k, row in enumerate(found["parameter_statistics"].values()):
        samples = np.array(row["bootstrap_samples"])
        assert samples.size == 399
        assert row["original_estimate"] == POPT[k]
        np.testing.assert_allclose(row["bootstrap_mean"], samples.mean())
        np.testing.assert_allclose(row["bootstrap_bias"], samples.mean() - POPT[k])
        low, high = np.quantile(samples, [0.025, 0.975], method="weibull")
        np.testing.assert_allclose(row["confidence_interval"], (low, high), rtol=1e-2)


def test_kinds_of_interval():
    percentile, basic, t = (run(interval_kind=kind) for kind in ("percentile", "basic", "t"))
    for k in (0, 3):  # parameters that have no scale but their own
        ends, mirrored, even = (
            f["parameter_statistics"][f"param_{k}"]["confidence_interval"] for f in (percentile, basic, t)
        )
        np.testing.assert_allclose(mirrored, 2 * POPT[k] - np.array(ends)[::-1], rtol=1e-9)
        np.testing.assert_allclose(np.mean(even), POPT[k], rtol=1e-12)


@pytest.mark.parametrize("func", [single_exp_all, unknown])
def test_threads_give_the_bits_of_one(func):
    alone, many = (run(n=70, n_jobs=n, func=func) for n in (None, 3))
    assert json.dumps(alone) == json.dumps(many)


def test_a_function_without_a_kernel_has_the_same_refits():
    known, found = run(n=30), run(n=30, func=unknown)
    for name in known["parameter_statistics"]:
        one, other = (f["parameter_statistics"][name]["bootstrap_samples"] for f in (known, found))
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_parameters_come_in_the_order_of_the_function():
    popt, pcov = curve_fit(single_exp, T, G2, [0.05, 1, 0.2], SIGMA, absolute_sigma=True)
    box = ([1e-4, 0.8, 0], [10, 1.2, 1])
    found = BootstrapAnalyzer(300).bootstrap_confidence_intervals(
        single_exp, T, G2, popt, pcov, box, SIGMA, "parametric"
    )
    np.testing.assert_allclose(stds(found), np.sqrt(np.diag(pcov)), rtol=0.2)
    for value, row in zip(popt, found["parameter_statistics"].values(), strict=True):
        low, high = row["confidence_interval"]
        assert low < value < high
        assert min(row["bootstrap_samples"]) < low < high < max(row["bootstrap_samples"])


def test_the_seed_decides_and_the_global_generator_is_not_touched():
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - it is what must stay as it is
    first, again, other = run(seed=1), run(seed=1), run(seed=2)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert json.dumps(first) == json.dumps(again)
    assert json.dumps(first) != json.dumps(other)
    np.random.seed(9)  # noqa: NPY002
    assert json.dumps(run(seed=1)) == json.dumps(first)


def test_curves_draw_their_own_numbers():
    """Otherwise all q of one file would be moved alike."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(2):
        y, popt, pcov = line_fit(rng)
        row = BootstrapAnalyzer(300).bootstrap_confidence_intervals(line, X, y, popt, pcov, method="parametric")
        found.append(row["parameter_statistics"]["param_1"]["bootstrap_samples"])
    assert abs(np.corrcoef(found)[0, 1]) < 0.25


def test_refits_that_fail_are_counted():
    def touchy(x, a, b):
        if b > 2.05:
            raise ValueError("too steep")
        return a + b * x

    y = line(X, 1.0, 2.0) + 0.1 * np.sin(37 * X)
    popt = np.array([1.0, 2.0])
    popt, pcov = curve_fit(line, X, y, popt)
    assert popt[1] < 2.05
    found = BootstrapAnalyzer(16).bootstrap_confidence_intervals(touchy, X, y, popt, pcov, method="parametric")
    assert found["n_failed_fits"] > 0
    assert found["n_successful_fits"] + found["n_failed_fits"] == 16
    assert found["success_rate"] == found["n_successful_fits"] / 16
    assert len(found["parameter_statistics"]["param_0"]["bootstrap_samples"]) == found["n_successful_fits"]


def test_points_without_an_error_and_held_parameters():
    sigma = SIGMA.copy()
    sigma[3], g2 = 0.0, G2.copy()
    g2[3] = 55.0
    box = ([0.0, 1e-4, POPT[2], 0.8], [1.0, 10.0, POPT[2], 1.2])
    found = BootstrapAnalyzer(200).bootstrap_confidence_intervals(single_exp_all, T, g2, POPT, PCOV, box, sigma)
    assert stds(found)[2] == 0
    assert found["parameter_statistics"]["param_2"]["confidence_interval"] == (POPT[2], POPT[2])
    assert (stds(found)[[0, 1, 3]] < 2 * np.sqrt(np.diag(PCOV))[[0, 1, 3]]).all()


def test_it_is_stored_whole():
    found = run(n=40)
    assert json.loads(json.dumps(found))["n_bootstrap_requested"] == 40
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again["bootstrap_covariance"], found["bootstrap_covariance"])


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (partial(run, "magic"), "magic.*residual, parametric, nonparametric"),
        (partial(run, interval_kind="bca"), "bca"),
        (partial(BootstrapAnalyzer, 1), "at least 2"),
        (partial(BootstrapAnalyzer, 100, 95), "confidence_level is 95"),
        (
            partial(BootstrapAnalyzer(9).bootstrap_confidence_intervals, line, X[:2], X[:2], [1, 2], np.eye(2)),
            "more points",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(call, text):
    with pytest.raises(ConfigError, match=text) as caught:
        call()
    assert isinstance(caught.value, ValueError)
