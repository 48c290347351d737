"""Fits of columns: the minima and errors of scipy, rows in order, held parameters at their upper bound."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from conftest import CARRIED
from fitting import nist
from scipy.optimize import curve_fit

from xpcs_dask.errors import ConfigError
from xpcs_dask.toolkit.fitting import fit_with_fixed, fit_with_fixed_raw, fit_xpcs
from xpcs_dask.toolkit.models import double_exp_all, power_law, single_exp, single_exp_all

T = np.geomspace(1e-4, 10, 50)
Q = np.linspace(0.001, 0.008, 12)
TAU = 5e-6 / Q**2
SIGMA = np.repeat(np.linspace(0.003, 0.006, 50)[:, None], Q.size, axis=1)
G2 = single_exp(T[:, None], TAU, 1.01, 0.2) + SIGMA * np.random.default_rng(3).standard_normal(SIGMA.shape)
BOX = ([1e-5, 0.9, 0.0], [100.0, 1.1, 0.5])
TIGHT = {"ftol": 1e-14, "xtol": 1e-14, "gtol": 1e-14, "x_scale": [1, 1, 1]}
SINGLE_BOX = ([0.0, 1e-5, 0.2, 0.9], [0.5, 100.0, 1.0, 1.05])


def plain(x, a, b, c, d):
    """What `single_exp_all` is, but not the same function: nobody knows that it has a kernel."""
    return a * np.exp(-2 * (x / b) ** c) + d


def reference(func, box, flag, column, error=SIGMA, start=None, **options):
    """Fit one column as pyXpcsViewer does, with tight tolerances."""
    flag = np.array(flag, dtype=bool)
    low, high = np.array(box)
    held = high.copy()

    def reduced(x, *free):
        held[flag] = free
        return func(x, *held)

    start = 0.5 * (low + high) if start is None else np.array(start)
    scale = np.maximum(np.abs(start[flag]), 1e-3)
    value, covariance = curve_fit(
        reduced, T, G2[:, column], start[flag], error[:, column], bounds=(low[flag], high[flag]),
        ftol=1e-14, xtol=1e-14, gtol=1e-14, x_scale=scale, max_nfev=3000, **options,
    )  # fmt: skip
    return value, np.sqrt(np.diag(covariance))


def test_every_q_has_the_fit_of_scipy_in_the_order_of_q():
    lines, values = fit_xpcs(T, Q, G2, SIGMA, BOX)
    assert values.shape == (Q.size, 7)
    np.testing.assert_array_equal(values[:, 0], Q)
    for k in range(Q.size):
        value, error = reference(single_exp, BOX, [1, 1, 1], k, start=[TAU[k], 1, 0.2])
        np.testing.assert_allclose(values[k, 1:4], value, rtol=1e-6)
        np.testing.assert_allclose(values[k, 4:], error, rtol=1e-4)
        assert lines[k]["err_msg"] is None
        np.testing.assert_array_equal(lines[k]["opt"], values[k, 1:4])
        np.testing.assert_array_equal(lines[k]["err"], values[k, 4:])
        np.testing.assert_allclose(lines[k]["fit_y"], single_exp(lines[k]["fit_x"], *values[k, 1:4]))
    assert lines[0]["fit_x"].size == 128
    np.testing.assert_allclose(lines[0]["fit_x"][[0, -1]], [1e-4 / 10**0.5, 10 * 10**0.5])


def test_q_in_any_order_and_by_any_number_of_workers_give_their_own_rows():
    order = np.random.default_rng(0).permutation(Q.size)
    _, whole = fit_xpcs(T, Q, G2, SIGMA, BOX)
    _, mixed = fit_xpcs(T, Q[order], G2[:, order], SIGMA[:, order], BOX, n_jobs=3)
    np.testing.assert_array_equal(mixed, whole[order])


def test_points_without_an_error_are_left_out_and_errors_stay_as_they_are():
    error = SIGMA.copy()
    error[[0, 7], 2], error[5, 3] = 0.0, 1e-7  # small, but an error: pyXpcsViewer would replace it by the mean
    kept = error.copy()
    lines, values = fit_xpcs(T, Q, G2, error, BOX)
    np.testing.assert_array_equal(error, kept)
    assert [line["num_zero_err"] for line in lines[:4]] == [0, 0, 2, 0]
    used = np.delete(np.arange(50), [0, 7])
    value, covariance = curve_fit(
        single_exp, T[used], G2[used, 2], [TAU[2], 1, 0.2], SIGMA[used, 2], bounds=BOX, **TIGHT
    )
    np.testing.assert_allclose(values[2, 1:4], value, rtol=1e-6)
    np.testing.assert_allclose(values[2, 4:], np.sqrt(np.diag(covariance)), rtol=1e-4)
    assert abs(single_exp(T[5], *values[3, 1:4]) - G2[5, 3]) < 1e-6


def test_errors_scale_only_if_they_are_absolute():
    _, relative = fit_xpcs(T, Q, G2, 100 * SIGMA, BOX)
    _, absolute = fit_xpcs(T, Q, G2, 100 * SIGMA, BOX, absolute_sigma=True)
    _, once = fit_xpcs(T, Q, G2, SIGMA, BOX, absolute_sigma=True)
    np.testing.assert_allclose(relative[:, 4:], fit_xpcs(T, Q, G2, SIGMA, BOX)[1][:, 4:], rtol=1e-6)
    np.testing.assert_allclose(absolute[:, 4:], 100 * once[:, 4:], rtol=1e-6)


def test_a_q_that_cannot_be_fitted_is_a_row_of_nan_and_says_why():
    g2 = G2.copy()
    g2[:, 4] = np.nan
    lines, values = fit_xpcs(T, Q, g2, SIGMA, BOX)
    assert np.isnan(values[4, 1:]).all()
    assert values[4, 0] == Q[4]
    assert "q_index  4" in lines[4]["err_msg"]
    assert np.isnan(lines[4]["fit_y"]).all()
    np.testing.assert_array_equal(np.delete(values, 4, 0), np.delete(fit_xpcs(T, Q, G2, SIGMA, BOX)[1], 4, 0))


@pytest.mark.parametrize("flag", [(1, 1, 1, 1), (1, 1, 0, 1), (0, 1, 0, 1)])
@pytest.mark.parametrize("func", [single_exp_all, plain])
def test_held_parameters_are_at_their_upper_bound_and_the_rest_is_as_scipy_has_it(func, flag):
    box = (SINGLE_BOX[0], [0.5 if flag[0] else 0.2, *SINGLE_BOX[1][1:]])
    start = [0.15, 1.0, 0.9, 1.0]
    lines, values = fit_with_fixed_raw(func, T, G2, SIGMA, box, flag, T[::5], start)
    free = np.array(flag, dtype=bool)
    assert values.shape == (Q.size, 2, 4)
    for k in range(0, Q.size, 4):
        value, error = reference(plain, box, flag, k, start=[0.15, TAU[k], 0.95, 1.0])
        np.testing.assert_allclose(values[k, 0, free], value, rtol=1e-5)
        inside = (value > np.array(box[0])[free]) & (value < 0.999 * np.array(box[1])[free])
        if inside.all():
            np.testing.assert_allclose(values[k, 1, free], error, rtol=1e-3)
        np.testing.assert_array_equal(values[k, 0, ~free], np.array(box[1])[~free])
        np.testing.assert_array_equal(values[k, 1, ~free], 0)
        assert lines[k]["success"]
        assert lines[k]["msg"] == "FittingSuccess"
        np.testing.assert_allclose(lines[k]["fit_y"], plain(T[::5], *values[k, 0]))


def test_two_components_are_not_above_what_scipy_finds():
    rng = np.random.default_rng(8)
    truth = np.array([[0.2, 0.01 * 2**k, 1.0, 1.0, 1.0, 1.0, 0.5] for k in range(4)])
    g2 = np.stack([double_exp_all(T, *row) for row in truth], 1) + 0.002 * rng.standard_normal((50, 4))
    sigma = np.full(g2.shape, 0.002)
    box = ([0, 1e-4, 0.3, 0.9, 1e-3, 0.3, 0], [1, 10, 2, 1.1, 100, 2, 1])
    start = np.mean(box, axis=0)
    start[[1, 4]] = np.sqrt(1e-3), np.sqrt(0.1)
    _, values = fit_with_fixed(double_exp_all, T, g2, sigma, box, [True] * 7, T, start)
    for k in range(4):
        known, _ = curve_fit(double_exp_all, T, g2[:, k], start, sigma[:, k], bounds=box, max_nfev=5000)
        found, theirs = (np.sum((double_exp_all(T, *p) - g2[:, k]) ** 2) for p in (values[k, 0], known))
        assert found <= theirs * (1 + 1e-6)


def test_a_column_that_cannot_be_fitted_has_errors_of_minus_one_and_stops_no_other():
    for func in (single_exp_all, plain):
        g2, sigma = G2.copy(), SIGMA.copy()
        g2[:, 1], sigma[:, 2], g2[3:, 3] = np.nan, 0.0, np.nan
        start = np.array([0.2, 1.0, 0.9, 1.0])
        lines, values = fit_with_fixed_raw(func, T, g2, sigma, SINGLE_BOX, (1, 1, 0, 1), T, start)
        for k in (1, 2, 3):
            np.testing.assert_array_equal(values[k, 1], -1)
            np.testing.assert_array_equal(values[k, 0], [0.2, 1.0, 1.0, 1.0])
            assert lines[k]["fit_y"] is None
            assert not lines[k]["success"]
            assert "Fitting failed: fewer" in lines[k]["msg"] or "no point" in lines[k]["msg"]
        whole = fit_with_fixed_raw(func, T, G2, SIGMA, SINGLE_BOX, (1, 1, 0, 1), T, start)[1]
        np.testing.assert_array_equal(values[4:], whole[4:])


def test_a_function_that_raises_fails_by_column():
    def often(x, a, b):
        if b > 0:
            raise ZeroDivisionError("b above 0")
        return a * x

    lines, values = fit_with_fixed_raw(often, T, G2[:, :2], None, ([0, 0.5], [1, 2]), (1, 1), T)
    assert "ZeroDivisionError: b above 0" in lines[1]["msg"]
    np.testing.assert_array_equal(values[:, 1], -1)


def test_threads_give_the_same_bits():
    calls = [
        fit_with_fixed_raw(plain, T, G2[:, :4], SIGMA[:, :4], SINGLE_BOX, (1, 1, 0, 1), T, n_jobs=n)[1] for n in (1, 3)
    ]
    np.testing.assert_array_equal(*calls)


def test_all_parameters_held_is_a_curve_without_a_fit():
    lines, values = fit_with_fixed_raw(plain, T, G2[:, :1], SIGMA[:, :1], SINGLE_BOX, (0, 0, 0, 0), T)
    np.testing.assert_array_equal(values[0], [SINGLE_BOX[1], [0, 0, 0, 0]])
    np.testing.assert_allclose(lines[0]["fit_y"], plain(T, *SINGLE_BOX[1]))


def test_without_errors_and_in_one_column():
    y = power_law(Q, 3.0, -2.0) * (1 + 0.01 * np.sin(40 * Q))
    _, values = fit_with_fixed_raw(power_law, Q, y, None, ([0, -4], [10, 0]), (1, 1), Q, [1, -1])
    known, covariance = curve_fit(power_law, Q, y, [3, -2], ftol=1e-15, xtol=1e-15, gtol=1e-15)
    np.testing.assert_allclose(values[0, 0], known, rtol=1e-5)
    np.testing.assert_allclose(values[0, 1], np.sqrt(np.diag(covariance)), rtol=1e-3)


@pytest.mark.parametrize("name", ["Misra1a", "Chwirut2", "MGH09"])
def test_certified_values(name):
    problem = nist.read(CARRIED / "nist" / f"{name}.dat")
    box = np.sort(np.stack([problem.value / 50, problem.value * 50]), axis=0)
    flag = [True] * problem.value.size
    _, values = fit_with_fixed_raw(
        problem.function, problem.x, problem.y[:, None], None, box, flag, problem.x, problem.starts[1]
    )
    assert nist.digits(values[0, 0], problem.value) >= 8
    assert nist.digits(values[0, 1], problem.stderr) >= 6


def test_results_are_plain_enough_to_store():
    lines, _ = fit_xpcs(T, Q, G2, SIGMA, BOX)
    again = json.loads(json.dumps(lines))
    assert again[0]["opt"] == lines[0]["opt"].tolist()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(lines))[3]["fit_y"], lines[3]["fit_y"])
    lines, _ = fit_with_fixed(single_exp_all, T, G2, SIGMA, SINGLE_BOX, (1, 1, 1, 1), T)
    assert np.asarray(lines).shape == (Q.size, T.size)
    assert json.loads(json.dumps(lines))[0]["success"] is True


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((T, G2, SIGMA[:, 1:], SINGLE_BOX, (1, 1, 1, 1)), "sigma is"),
        ((T, G2[1:], SIGMA, SINGLE_BOX, (1, 1, 1, 1)), "y has shape"),
        ((T, G2, SIGMA, SINGLE_BOX, (1, 1, 1)), "bounds"),
        ((T, G2, SIGMA, SINGLE_BOX[::-1], (1, 1, 1, 1)), "crossed"),
        ((T, G2, SIGMA, SINGLE_BOX, (1, 1, 1, 1), T, [1, 2]), "p0 has 2"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, text):
    more = () if len(arguments) > 5 else (T,)
    with pytest.raises(ConfigError, match=text):
        fit_with_fixed_raw(single_exp_all, *arguments, *more)


def test_q_and_columns_must_be_as_many():
    with pytest.raises(ConfigError, match="there are 11 q"):
        fit_xpcs(T, Q[1:], G2, SIGMA, BOX)
    with pytest.raises(ConfigError, match="above 0 s"):
        fit_xpcs(np.zeros(50), Q, G2, SIGMA, BOX)
