"""The compiled single kernel: sums and steps against plain formulas, minima against scipy."""

import numpy as np
import pytest

from tests.fitting.kernel.curves import BOX, DELAYS, chi2, scipy_best, single_curves
from xpcs_dask.fitting.kernel import run, single
from xpcs_dask.fitting.kernel.family import family_of
from xpcs_dask.fitting.kernel.run import run_kernel
from xpcs_dask.fitting.models import SIMPLE, SINGLE

LOWER, UPPER = BOX["single"]


def fit(y, weight, lower=LOWER, upper=UPPER, start=None, thorough=False, x=DELAYS):
    return run_kernel(family_of(SINGLE, lower, upper), x, y, weight, "linear", 1.0, start, thorough=thorough)


def theta(found):
    value = found.z.copy()
    value[:, 1] = np.exp(value[:, 1])
    return value


def test_loading_ignores_what_is_not_used():
    y = np.array([1.0, np.nan, 3.0, np.inf, 5.0, 7.0])
    weight = np.array([2.0, 1.0, 0.0, 1.0, 1.0, np.nan])
    shifted, w = np.empty(6), np.empty(6)
    used, scale, mean, constant = single.load_curve(y, weight, shifted, w)
    assert used == 2
    assert mean == pytest.approx((4 * 1 + 5) / 5)
    np.testing.assert_allclose(w * np.sqrt(scale), [2, 0, 0, 0, 1, 0])
    np.testing.assert_allclose(shifted, [1 - mean, 0, 0, 0, 5 - mean, 0])
    assert constant * scale == pytest.approx(4 * (1 - mean) ** 2 + (5 - mean) ** 2)


def test_sums_are_weighted_products():
    rng = np.random.default_rng(0)
    u, y, w2, beta, c = np.log(DELAYS), rng.normal(size=64), rng.uniform(0, 2, 64), -3.0, 0.7
    S = np.empty(12)
    single.decay_sums(u, y, w2, beta, c, np.empty(64), np.empty(64), S)
    E = np.exp(c * (u - beta))
    e = np.exp(-2 * E)
    q = -2 * e * E
    s = q * (u - beta)
    rows = {"e": e, "q": q, "s": s, "1": np.ones(64), "y": y}
    order = ["ee", "e1", "ey", "qe", "q1", "qy", "se", "s1", "sy", "qq", "qs", "ss"]
    np.testing.assert_allclose(S, [np.sum(w2 * rows[a] * rows[b]) for a, b in order], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_minima_are_scipys(seed):
    _, y, sigma = single_curves(60, seed)
    found = fit(y, 1 / sigma)
    assert found.converged.all()
    best = np.array([scipy_best(SINGLE, a, s, LOWER, UPPER)[0] for a, s in zip(y, sigma, strict=True)])
    assert np.all(found.chi2 <= best * (1 + 1e-6))
    np.testing.assert_allclose(found.chi2, chi2(SINGLE, y, sigma, theta(found)), rtol=1e-9)


def test_pulls_have_unit_width():
    truth, y, sigma = single_curves(4000, seed=5)
    found = fit(y, 1 / sigma)
    error = np.sqrt(np.einsum("nkk->nk", found.covariance))
    pull = (found.z - np.where([0, 1, 0, 0], np.log(truth), truth)) / error
    assert np.all(np.abs(np.nanstd(pull, axis=0) - 1) < 0.06)
    assert np.all(np.abs(np.nanmean(pull, axis=0)) < 0.06)


@pytest.mark.slow
def test_noise_without_a_decay_still_ends_in_minima():
    y = 1 + 1e-3 * np.random.default_rng(2).normal(size=(500, 64))
    found = fit(y, np.full(y.shape, 1e3))
    assert found.converged.mean() >= 0.998
    best = np.array([scipy_best(SINGLE, a, np.full(64, 1e-3), LOWER, UPPER, starts=4)[0] for a in y[:25]])
    assert np.mean(found.chi2[:25] <= best * (1 + 1e-6)) >= 0.8  # many minima of noise; the flags say so


def test_only_doubtful_curves_get_more_starts_and_they_pay(monkeypatch):
    noise = 1 + 1e-3 * np.random.default_rng(4).normal(size=(200, 64))
    _, clear, sigma = single_curves(50, seed=23, noise=(-3.5, -3))
    many, one_is_enough = fit(noise, np.full(noise.shape, 1e3)), fit(clear, 1 / sigma)
    monkeypatch.setattr(run, "FAST_STARTS", (1, 1))
    one = fit(noise, np.full(noise.shape, 1e3))
    assert np.all(many.chi2 <= one.chi2 * (1 + 1e-9))
    assert np.mean(many.chi2 < one.chi2 * (1 - 1e-6)) > 0.1
    np.testing.assert_array_equal(one_is_enough.evaluations, fit(clear, 1 / sigma).evaluations)


def test_noise_free_curves_are_recovered():
    truth, *_ = single_curves(200, seed=3)
    y = np.stack([SINGLE.evaluate(DELAYS, *t) for t in truth])
    found = fit(y, np.ones(y.shape))
    assert found.converged.all()
    np.testing.assert_allclose(theta(found), truth, rtol=1e-10)


@pytest.mark.parametrize("held", [(k,) for k in range(4)] + [(0, 3), (1, 2), (0, 1, 2), (2, 3), (1, 2, 3)])
def test_held_parameters_stay_and_the_rest_is_the_minimum(held):
    truth, y, sigma = single_curves(12, seed=7)
    for j in range(len(y)):
        lower, upper = LOWER.copy(), UPPER.copy()
        lower[list(held)] = upper[list(held)] = truth[j, list(held)] * 1.02
        found = fit(y[j : j + 1], 1 / sigma[j : j + 1], lower, upper)
        np.testing.assert_allclose(theta(found)[0, list(held)], lower[list(held)], rtol=1e-12)
        best = held_best(y[j], sigma[j], lower, upper)
        assert found.chi2[0] <= best * (1 + 1e-6)
        assert np.all(np.diag(found.covariance[0])[list(held)] == 0)


def held_best(y, sigma, lower, upper):
    from dataclasses import replace

    free = np.flatnonzero(lower < upper)

    def full(args):
        value = lower.copy()
        value[free] = args
        return value

    reduced = replace(
        SINGLE,
        parameters=tuple(SINGLE.parameters[k] for k in free),
        evaluate=lambda x, *a: SINGLE.evaluate(x, *full(a)),
        jacobian=lambda x, *a: SINGLE.jacobian(x, *full(a))[:, free],
    )
    return scipy_best(reduced, y, sigma, lower[free], upper[free], starts=4)[0]


@pytest.mark.parametrize("factor", [1e-9, 1e9])
def test_the_unit_of_sigma_does_not_matter(factor):
    _, y, sigma = single_curves(40, seed=9)
    one, other = fit(y, 1 / sigma), fit(y, 1 / (sigma * factor))
    np.testing.assert_allclose(other.z, one.z, rtol=1e-7)
    np.testing.assert_allclose(other.chi2 * factor**2, one.chi2, rtol=1e-9)
    np.testing.assert_allclose(other.covariance / factor**2, one.covariance, rtol=1e-5)


def test_masked_points_are_as_good_as_absent():
    _, y, sigma = single_curves(40, seed=11)
    keep = np.random.default_rng(0).random(64) > 0.3
    keep[[0, -1]] = True
    weight = np.where(keep, 1 / sigma, 0.0)
    y_holes = np.where(keep, y, np.nan)
    masked = fit(y_holes, weight)
    absent = fit(np.ascontiguousarray(y[:, keep]), np.ascontiguousarray(1 / sigma[:, keep]), x=DELAYS[keep])
    np.testing.assert_allclose(masked.chi2, absent.chi2, rtol=1e-9)


def test_neighbours_and_order_never_matter():
    _, y, sigma = single_curves(30, seed=13)
    y[3] = np.nan
    y[7] = 1 + 1e-3 * np.random.default_rng(0).normal(size=64)
    whole = fit(y, 1 / sigma)
    reverse = fit(y[::-1], 1 / sigma[::-1])
    for name in ("z", "chi2", "covariance", "evaluations", "converged", "disagree"):
        together = getattr(whole, name)
        np.testing.assert_array_equal(getattr(reverse, name)[::-1], together)
        alone = [getattr(fit(y[j : j + 1], 1 / sigma[j : j + 1]), name)[0] for j in range(len(y))]
        np.testing.assert_array_equal(np.array(alone), together)


def test_a_given_start_can_only_help():
    _, y, sigma = single_curves(30, seed=17)
    z = np.tile([0.2, np.log(1e-5), 2.9, 1.0], (30, 1))
    np.testing.assert_array_less(fit(y, 1 / sigma, start=z).chi2, fit(y, 1 / sigma).chi2 * (1 + 1e-9))


def test_simple_is_single_with_stretch_one():
    _, y, sigma = single_curves(20, seed=19)
    family = family_of(SIMPLE, LOWER[[0, 1, 3]], UPPER[[0, 1, 3]])
    found = run_kernel(family, DELAYS, y, 1 / sigma, "linear", 1.0, None, thorough=False)
    assert np.all(found.z[:, 2] == 1.0)
    best = [scipy_best(SIMPLE, a, s, LOWER[[0, 1, 3]], UPPER[[0, 1, 3]], 4)[0] for a, s in zip(y, sigma, strict=True)]
    assert np.all(found.chi2 <= np.array(best) * (1 + 1e-6))


def test_a_delay_of_zero_is_where_no_decay_has_begun():
    truth, y, sigma = single_curves(5, seed=21)
    x = np.concatenate([[0.0], DELAYS])
    at_zero = truth[:, :1] + truth[:, 3:]
    found = fit(np.hstack([at_zero, y]), np.hstack([np.full((5, 1), 1e5), 1 / sigma]), x=x)
    np.testing.assert_allclose(found.z[:, 0] + found.z[:, 3], at_zero[:, 0], atol=1e-4)
