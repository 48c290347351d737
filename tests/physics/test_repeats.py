"""Weighted means, errors from scatter and rules of rejection: against SciPy, known truth and measured rates."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from xpcs_dask.physics.repeats import (
    Reason,
    Rules,
    average_repeats,
    baseline,
    distances,
    fill_errors,
    judge,
    weighted_mean,
)

NAN = np.nan


def ones(*shape):
    return np.ones(shape)


def test_equal_weights_give_mean_and_standard_error_of_scipy():
    x = np.random.default_rng(0).normal(size=(3, 6, 5))
    mean, error, quoted = weighted_mean(x, ones(3, 6, 5) * 0.5, ones(3, 6, 5))
    np.testing.assert_allclose(mean, x.mean(axis=1), rtol=1e-13)
    np.testing.assert_allclose(error, stats.sem(x, axis=1), rtol=1e-13)
    np.testing.assert_allclose(quoted, 0.5 / np.sqrt(6), rtol=1e-13)


def test_missing_points_are_left_out_point_by_point():
    x = np.random.default_rng(1).normal(size=(6, 4))
    x[2, 1] = x[4, 1] = x[0, 3] = NAN
    mean, error, _ = weighted_mean(x, ones(6, 4), ones(6, 4))
    np.testing.assert_allclose(mean, np.nanmean(x, axis=0), rtol=1e-13)
    np.testing.assert_allclose(error, stats.sem(x, axis=0, nan_policy="omit"), rtol=1e-13)


def test_weights_are_those_of_numpy_and_quoted_errors_combine():
    rng = np.random.default_rng(2)
    x, err = rng.normal(size=(5, 3)), 0.1 + rng.random((5, 3))
    mean, _, quoted = weighted_mean(x, err, 1 / err**2)
    np.testing.assert_allclose(mean, [np.average(x[:, k], weights=err[:, k] ** -2.0) for k in range(3)], rtol=1e-13)
    np.testing.assert_allclose(quoted, (err**-2.0).sum(axis=0) ** -0.5, rtol=1e-13)


def test_one_repeat_or_none_has_no_scatter():
    x = np.array([[1.0, NAN], [NAN, NAN]])
    mean, error, _ = weighted_mean(x, ones(2, 2), ones(2, 2))
    assert mean[0] == 1
    assert np.isnan(mean[1])
    assert np.isnan(error).all()


def test_the_weighted_error_has_no_bias():
    """Truth: 1 / sum of the weights. 40,000 draws of 4 repeats of unequal errors tell the variance to 1 %."""
    rng = np.random.default_rng(3)
    sigma = np.array([0.5, 1.0, 2.0, 3.0])[:, None] * ones(4, 40_000)
    x = rng.normal(scale=sigma)
    _, error, quoted = weighted_mean(x, sigma, sigma**-2.0)
    truth = 1 / (sigma[:, 0] ** -2.0).sum()
    assert abs((error**2).mean() / truth - 1) < 0.03
    np.testing.assert_allclose(quoted**2, truth, rtol=1e-12)


def test_intervals_with_students_t_cover_the_truth():
    rng = np.random.default_rng(4)
    x = 1 + rng.normal(size=(5, 20_000))
    mean, error, _ = weighted_mean(x, np.ones_like(x), np.ones_like(x))
    covered = np.abs(mean - 1) < stats.t.ppf(0.975, 4) * error
    assert abs(covered.mean() - 0.95) < 0.006
    normal = np.abs(mean - 1) < stats.norm.ppf(0.975) * error
    assert normal.mean() < 0.9


def test_errors_of_zero_or_none_become_the_largest_of_the_others():
    err = np.array([[0.1, 0.0, NAN], [0.3, 0.2, 0.0], [0.0, 0.5, NAN]])
    held = np.ones((3, 3), bool)
    held[2, 1] = False
    np.testing.assert_array_equal(fill_errors(err, held), [[0.1, 0.2, NAN], [0.3, 0.2, NAN], [0.3, 0.2, NAN]])


def test_zeros_are_kept_and_do_not_take_over():
    """A starved delay: no coincidence in most repeats. Leaving them out would say 4 where the mean is 1."""
    g2 = np.array([4.0, 0, 0, 0])[:, None]
    err = np.array([4.0, 0, 0, 0])[:, None]
    for weights in ("none", "error"):
        found = average_repeats(g2, err, np.array(NAN), np.array(NAN), np.array(False), Rules(weights=weights))
        assert found[0][0] == 1
        assert found[5][0] == 4


def test_points_without_any_quoted_error_weigh_the_same():
    g2 = np.array([[1.0, 1.0], [3.0, 2.0]])
    err = np.array([[0.0, 1.0], [0.0, 2.0]])
    found = average_repeats(g2, err, np.array(NAN), np.array(NAN), np.array(False), Rules(weights="error"))
    np.testing.assert_allclose(found[0], [2.0, 1.2], rtol=1e-6)
    assert np.isnan(found[2][0])


def test_counts_weigh_by_expected_coincidences():
    g2 = np.array([[1.0, 1.0], [3.0, 3.0]])
    products = np.array([[10.0, 0.0], [10.0, 4.0]])
    found = average_repeats(g2, g2, np.array([3.0, 1.0]), products, np.array(False), Rules(weights="counts"))
    np.testing.assert_allclose(found[0], [1.5, 3.0])
    np.testing.assert_allclose(found[3], [2.0, 2.0])


def test_the_baseline_is_the_mean_of_the_last_delays_with_enough_products():
    g2 = np.array([[2.0, 1.5, 1.2, 1.0, 9.0], [2.0, 1.5, 1.2, NAN, NAN]])
    products = np.array([[9.0, 8, 5, 4, 3], [9, 8, 5, 4, 3]])
    np.testing.assert_allclose(baseline(g2, products, 2), [1.1, 1.35])
    np.testing.assert_allclose(baseline(g2, np.full((2, 5), NAN), 2), [5.0, 1.35])
    assert np.isnan(baseline(g2, np.ones((2, 5)), 2)).all()


def judged(g2, rules, counts=NAN, copies=False):
    shape = g2.shape[:-1]
    return judge(g2, np.broadcast_to(counts, shape), np.full(g2.shape, NAN), np.broadcast_to(copies, shape), rules)


def test_each_reason_with_its_value_and_limit():
    g2 = ones(5, 6)
    g2[0] = NAN
    g2[2, -2:] = 1.2
    g2[3, -2:] = 0.8
    rules = Rules(baseline=(0.95, 1.05), baseline_delays=2)
    reason, value, limit = judged(g2, rules, np.array([1.0, 0, 1, 1, 1]), np.array([0, 0, 0, 0, 1], bool))
    assert reason.tolist() == [Reason.NO_DATA, Reason.NO_COUNTS, Reason.BASELINE, Reason.BASELINE, Reason.COPY]
    np.testing.assert_allclose(value, [NAN, NAN, 1.2, 0.8, NAN])
    np.testing.assert_allclose(limit, [NAN, NAN, 1.05, 0.95, NAN])


def test_the_window_is_closed_and_a_curve_without_baseline_is_outside():
    g2 = np.array([[1.0, 0.95], [1.0, 1.05], [1.0, 1.0]])
    rules = Rules(baseline=(0.95, 1.05), baseline_delays=1)
    assert judged(g2, rules)[0].tolist() == [0, 0, 0]
    reason, value, _ = judge(g2, np.full(3, NAN), np.ones((3, 2)), np.zeros(3, bool), rules)
    assert (reason == Reason.BASELINE).all()
    assert np.isnan(value).all()


def test_a_curve_far_from_the_others_is_an_outlier_and_only_that():
    rng = np.random.default_rng(5)
    g2 = 1 + 0.01 * rng.normal(size=(2, 12, 30))
    g2[1, 7] += 0.03
    reason, value, limit = judged(g2, Rules(outliers=3.5))
    assert np.argwhere(reason == Reason.OUTLIER).tolist() == [[1, 7]]
    assert value[1, 7] > limit[1, 7] > 1
    assert np.isnan(limit[0]).all()


def test_the_distance_is_what_its_definition_says():
    g2 = 1 + 0.1 * np.random.default_rng(6).normal(size=(9, 20))
    far, limit = distances(g2, 3.5)
    spread = stats.median_abs_deviation(g2, axis=0, scale=1 / 1.4826)
    expected = np.sqrt((((g2 - np.median(g2, axis=0)) / spread) ** 2).mean(axis=1))
    np.testing.assert_allclose(far, expected, rtol=1e-12)
    log = np.log(expected)
    width = stats.median_abs_deviation(log, scale=1 / 1.4826)
    np.testing.assert_allclose(limit, np.exp(np.median(log) + 3.5 * width), rtol=1e-12)


def test_rejected_by_the_baseline_does_not_move_the_median():
    rng = np.random.default_rng(7)
    g2 = 1 + 0.01 * rng.normal(size=(10, 30))
    alone = distances(g2[4:], 3.5)[0]
    g2[:4] += 5
    rules = Rules(baseline=(0.9, 1.1), outliers=3.5)
    bad = np.where((judged(g2, Rules(baseline=(0.9, 1.1)))[0] == 0)[:, None], g2, NAN)
    np.testing.assert_allclose(distances(bad, 3.5)[0][4:], alone, rtol=1e-12)
    assert (judged(g2, rules)[0][:4] == Reason.BASELINE).all()


def test_few_repeats_are_not_judged_by_each_other():
    g2 = 1 + 0.01 * np.random.default_rng(8).normal(size=(4, 30))
    g2[0] += 10
    assert (judged(g2, Rules(outliers=3.5))[0] == Reason.KEPT).all()
    more = np.concatenate([g2, 1 + 0.01 * np.random.default_rng(9).normal(size=(1, 30))])
    assert judged(more, Rules(outliers=3.5))[0].tolist() == [Reason.OUTLIER, 0, 0, 0, 0]


def test_delays_without_spread_do_not_count():
    """One product: g2 is 1 in every repeat. A starved delay: 0 in most."""
    rng = np.random.default_rng(10)
    g2 = 1 + 0.01 * rng.normal(size=(8, 10))
    g2[:, -1] = 1.0
    g2[:, -2] = 0.0
    g2[3, -2] = 50.0
    far, _ = distances(g2, 3.5)
    np.testing.assert_allclose(far, distances(g2[:, :-2], 3.5)[0], rtol=1e-12)
    assert np.isnan(distances(ones(6, 4), 3.5)[0]).all()


@pytest.mark.parametrize(("repeats", "k", "most"), [(5, 3.5, 0.05), (10, 3.5, 0.02), (50, 3.5, 0.005), (5, 5, 0.03)])
def test_false_alarms_are_as_rare_as_documented(repeats, k, most):
    """Curves with correlated delays, as multi-tau gives them."""
    rng = np.random.default_rng(11)
    noise = rng.normal(size=(1000, repeats, 40))
    for lag in range(1, 40):
        noise[..., lag] = 0.7 * noise[..., lag - 1] + np.sqrt(1 - 0.49) * noise[..., lag]
    far, limit = distances(noise, k)
    assert (far > limit).mean() < most
