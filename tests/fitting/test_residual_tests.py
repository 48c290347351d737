from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from tests.fitting.test_independent import projection
from xpcs_dask.fitting import residual_tests
from xpcs_dask.fitting.hat import Projection
from xpcs_dask.fitting.independent import Sequence


def numbers(values, count=None):
    """Plain numbers (n, m), the first `count` of each row."""
    values = np.array(values, dtype=float)
    count = np.full(len(values), values.shape[1]) if count is None else np.asarray(count)
    there = np.arange(values.shape[1]) < count[:, None]
    point = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    return Sequence(np.where(there, values, 0.0), point, count)


def drawn(n, m, seed=0):
    return np.random.default_rng(seed).standard_normal((n, m))


@pytest.mark.parametrize(("plus", "minus"), [(5, 4), (1, 9), (6, 6), (7, 3)])
def test_runs_have_the_chance_of_all_orders(plus, minus):
    m = plus + minus
    places = list(combinations(range(m), plus))
    signs = -np.ones((len(places), m))
    for row, place in zip(signs, places, strict=True):
        row[list(place)] = 1
    found = residual_tests.runs(numbers(signs))
    count = 1 + (np.diff(signs, axis=1) != 0).sum(axis=1)
    below = np.array([(count < c).mean() + (count == c).mean() / 2 for c in range(m + 2)])
    expected = 2 * np.minimum(below, 1 - below)[count]
    np.testing.assert_allclose(found.p, np.minimum(expected, 1), atol=1e-12)
    np.testing.assert_allclose(found.statistic, (count - count.mean()) / count.std(), atol=1e-12)


def test_runs_agree_with_statsmodels():
    module = pytest.importorskip("statsmodels.sandbox.stats.runs")
    values = drawn(5, 40)
    found = residual_tests.runs(numbers(values))
    for row, z in zip(values, found.statistic, strict=True):
        assert z == pytest.approx(module.runstest_1samp(row, cutoff=0, correction=False)[0], rel=1e-10)


def test_few_runs_are_negative_and_many_positive():
    slow = np.repeat([1, -1, 1, -1], 6)[None] * 1.0
    quick = np.tile([1.0, -1.0], 12)[None]
    assert residual_tests.runs(numbers(slow)).statistic[0] < -3
    assert residual_tests.runs(numbers(quick)).statistic[0] > 3
    assert residual_tests.runs(numbers(quick)).p[0] < 1e-4


def test_lag1_has_the_moments_of_its_matrices():
    m, p = 18, 3
    columns = np.stack([np.ones(m), np.linspace(0, 1, m), np.exp(-np.linspace(0, 6, m))])
    hat = columns.T @ np.linalg.pinv(columns.T)
    spread = np.eye(m) - hat
    beside = 0.5 * (np.eye(m, k=1) + np.eye(m, k=-1))
    mean = np.trace(spread @ beside) / (m - p)
    square = spread @ beside @ spread @ beside
    variance = (np.trace(spread @ beside) ** 2 + 2 * np.trace(square)) / ((m - p) * (m - p + 2)) - mean**2
    residual = drawn(20_000, m) @ spread
    value, found = residual_tests.lag1(projection(residual, columns))
    np.testing.assert_allclose(value, (residual[:, 1:] * residual[:, :-1]).sum(1) / (residual**2).sum(1))
    np.testing.assert_allclose(found.statistic, (value - mean) / np.sqrt(variance), rtol=1e-9)
    assert found.statistic.mean() == pytest.approx(0, abs=0.03)
    assert found.statistic.std() == pytest.approx(1, abs=0.02)
    for level in (0.01, 0.05, 0.5):  # also far out
        assert (found.p < level).mean() == pytest.approx(level, abs=4 * np.sqrt(level / 20_000))


def test_durbin_watson_is_that_of_statsmodels():
    tools = pytest.importorskip("statsmodels.stats.stattools")
    residual = drawn(4, 30)
    columns = np.ones((1, 30))
    found = residual_tests.durbin_watson(projection(residual, columns))
    np.testing.assert_allclose(found, tools.durbin_watson(residual, axis=1), rtol=1e-12)


def test_what_is_not_used_does_not_count():
    residual, columns = drawn(3, 30), np.ones((1, 30))
    count = 21
    whole = projection(residual[:, :count], columns[:, :count])
    used = np.arange(30) < count
    columns = np.where(used, whole.unit[0, 0, 0], 0.0) * np.ones((1, 3, 30))
    part = Projection(np.where(used, residual, 0.0), np.broadcast_to(used, residual.shape), columns, columns)
    np.testing.assert_allclose(residual_tests.durbin_watson(part), residual_tests.durbin_watson(whole), rtol=1e-12)
    (value, found), (expected, other) = residual_tests.lag1(part), residual_tests.lag1(whole)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(found.statistic, other.statistic, rtol=1e-10)
    np.testing.assert_allclose(found.p, other.p, rtol=1e-10)


def test_normality_is_that_of_scipy_and_statsmodels():
    values = np.vstack([drawn(4, 30), np.random.default_rng(1).standard_t(2, (4, 30)), [np.linspace(-1, 1, 30)] * 2])
    found = residual_tests.normality(numbers(values))
    factor = 1 + 0.75 / 30 + 2.25 / 30**2
    for row, square in zip(values, found.statistic, strict=True):
        z = np.sort((row - row.mean()) / row.std(ddof=1))
        low, high = stats.norm.logcdf(z), stats.norm.logsf(z)
        i = np.arange(1, 31)
        expected = -30 - np.sum((2 * i - 1) / 30 * (low + high[::-1]))
        assert square == pytest.approx(expected * factor, rel=1e-9)
    diagnostic = pytest.importorskip("statsmodels.stats.diagnostic")
    for row, p in zip(values, found.p, strict=True):
        assert p == pytest.approx(diagnostic.normal_ad(row)[1], rel=1e-6)


def test_normality_stays_a_chance_for_the_wildest_numbers():
    found = residual_tests.normality(numbers([np.r_[np.zeros(99), 1e6] + 1e-9 * np.arange(100)]))
    assert 0 <= found.p[0] < 1e-10
    assert found.statistic[0] > 13


def test_heteroscedasticity_is_that_of_statsmodels():
    diagnostic = pytest.importorskip("statsmodels.stats.diagnostic")
    at = np.linspace(-3, 2, 40)
    values = drawn(6, 40) * np.exp(0.3 * at)
    found = residual_tests.heteroscedasticity(numbers(values), np.broadcast_to(at, values.shape))
    design = np.stack([np.ones(40), at], axis=1)
    for row, z, p in zip(values, found.statistic, found.p, strict=True):
        score, chance, *_ = diagnostic.het_breuschpagan(row, design, robust=True)
        assert z**2 == pytest.approx(score, rel=1e-9)
        assert p == pytest.approx(chance, rel=1e-9)
    assert (found.statistic > 0).all()


def test_changepoint_is_the_cusum_of_statsmodels_and_finds_the_change():
    diagnostic = pytest.importorskip("statsmodels.stats.diagnostic")
    values = drawn(3, 50)
    values[0, 30:] += 2.5
    found, last = residual_tests.changepoint(numbers(values))
    for row, reached in zip(values, found.statistic, strict=True):
        assert reached == pytest.approx(diagnostic.breaks_cusumolsresid(row - row.mean(), ddof=1)[0], rel=1e-9)
    assert found.p[0] < 1e-3
    assert last[0] == 29


NULL = {
    "runs": residual_tests.runs,
    "normality": residual_tests.normality,
    "heteroscedasticity": lambda s: residual_tests.heteroscedasticity(
        s, np.broadcast_to(np.linspace(0, 1, s.number.shape[1]), s.number.shape)
    ),
    "changepoint": lambda s: residual_tests.changepoint(s)[0],
}


@pytest.mark.parametrize("name", NULL)
def test_levels_hold_at_any_number_of_points(name):
    """Whatever the number: where the steps of the runs test fall depends on it, so these are taken together."""
    m, each = 56, 3000
    count = np.repeat(np.arange(16, m + 1, 4), each)
    found = NULL[name](numbers(drawn(count.size, m, seed=7), count))
    assert 0.042 < (found.p < 0.05).mean() < 0.058
    assert 0.006 < (found.p < 0.01).mean() < 0.013
    assert found.p.mean() == pytest.approx(0.5, abs=0.04)
    for some in np.unique(count):
        assert 0.03 < (found.p[count == some] < 0.05).mean() < 0.07


@pytest.mark.parametrize("name", NULL)
def test_numbers_behind_the_last_one_do_not_count(name):
    values = drawn(3, 30)
    whole = NULL[name](numbers(values[:, :21]))
    if name == "heteroscedasticity":
        at = np.broadcast_to(np.linspace(0, 29 / 20, 30), values.shape)
        part = residual_tests.heteroscedasticity(numbers(values, [21] * 3), at)
    else:
        part = NULL[name](numbers(values, [21] * 3))
    np.testing.assert_allclose(part.statistic, whole.statistic, rtol=1e-10)
    np.testing.assert_allclose(part.p, whole.p, rtol=1e-8)


@pytest.mark.parametrize("name", NULL)
def test_too_few_numbers_say_nothing(name):
    found = NULL[name](numbers(drawn(3, 12), [7, 8, 0]))
    assert np.isnan(found.p).tolist() == [True, False, True]
    assert np.isnan(found.statistic).tolist() == [True, False, True]


@pytest.mark.parametrize("name", NULL)
def test_numbers_that_are_all_the_same_say_nothing(name):
    assert np.isnan(NULL[name](numbers(np.ones((1, 20)))).p).all()


def test_lag1_of_too_few_residuals_says_nothing():
    value, found = residual_tests.lag1(projection(drawn(2, 8), np.ones((1, 8))))
    assert np.isnan(value).all()
    assert np.isnan(found.p).all()
