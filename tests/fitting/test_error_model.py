"""The error model: each step against something else, the compiled form against NumPy, and what comes of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import BarycentricInterpolator
from scipy.optimize import nnls
from scipy.stats import chi2 as chi2_law

from tests.benchmarks.errors import noise
from xpcs_dask.fitting import error_model
from xpcs_dask.fitting.error_model import Counting, grid, model_errors, twin_errors
from xpcs_dask.fitting.layout import Flag
from xpcs_dask.fitting.quality import PointFlag
from xpcs_dask.simulate.multitau import schedule

PLAN = schedule(4096)
M = PLAN.delay.size
GRID = grid(PLAN.delay, PLAN.level)
SHAPE = 4.0 ** -PLAN.level.astype(float) / PLAN.n_products
USED = PLAN.n_products >= 4


def counting(n, rate=1e3, pixels=100.0, products=PLAN.n_products):
    return Counting.of(n, M, products, rate, pixels)


def decay(n=1, tau=41.0, contrast=0.2, noise=1e-3, seed=0):
    """Curves, and errors that are known to a tenth."""
    rng = np.random.default_rng(seed)
    clean = 1.0 + contrast * np.exp(-2.0 * PLAN.delay / tau) * np.ones((n, 1))
    return clean + noise * rng.standard_normal(clean.shape), noise * np.exp(rng.standard_normal(clean.shape) / 10)


def judged(g2, err, told, **options):
    """What the compiled form says, after NumPy has said the same."""
    fast = model_errors(g2, err, told, GRID, **options)
    slow = twin_errors(
        np.asarray(g2, float), np.full(np.shape(g2), np.nan) if err is None else np.asarray(err, float), told,
        error_model.chi2_lift(told.pixels), GRID, options.get("min_products", 4), counts=options.get("counts", True),
    )  # fmt: skip
    np.testing.assert_allclose(fast.weight, slow.weight, rtol=1e-9)
    assert (fast.points == slow.points).all()
    assert (fast.curves == slow.curves).all()
    assert ((fast.weight == 0) == (fast.points & PointFlag.NOT_USED > 0)).all()
    return fast


wrong = st.sampled_from([0.0, np.nan, np.inf, -np.inf, -1e-3, 1e-9, 1e3])
unknown = st.sampled_from([np.nan, 0.0, 0.01, 10.0, 1e6])


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, M - 1), wrong), max_size=40),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, M - 1), wrong), max_size=40),
    st.lists(unknown, min_size=4, max_size=4),
    st.sampled_from([np.nan, 1.0, 12.0, 1000.0]),
    st.sampled_from(["known", "none", "some"]),
    st.booleans(),
    st.floats(1e-5, 1.0),
)
def test_numpy_and_compiled_agree_on_anything(points, errors, rates, pixels, products, counts, noise):
    g2, err = decay(4, noise=noise)
    for i, k, value in points:
        g2[i, k] = value
    for i, k, value in errors:
        err[i, k] = value
    number = np.tile(PLAN.n_products.astype(float), (4, 1))
    if products != "known":
        number[0 if products == "some" else slice(None)] = np.nan
    judged(g2, err, counting(4, np.array(rates), pixels, number), counts=counts)


def test_bits_depend_neither_on_neighbours_nor_on_memory():
    g2, err = decay(40, noise=0.02)
    rates = np.geomspace(1e-3, 1e3, 40)
    rates[::7] = np.nan
    together = model_errors(g2, err, counting(40, rates), GRID)
    kept = []
    for i in range(40):
        kept.append(np.empty(1 + 37 * i % 300))  # arrays come to lie elsewhere
        one = g2[i : i + 1].copy()
        one.flags.writeable = False
        alone = model_errors(one, err[i : i + 1], counting(1, rates[i]), GRID)
        assert alone.weight.tobytes() == together.weight[i : i + 1].tobytes()


def test_trend_is_the_least_squares_cubic():
    rng = np.random.default_rng(3)
    variance = np.exp(rng.standard_normal((5, M)))
    good = rng.random((5, M)) < 0.7
    trend = error_model.smooth(variance, good, np.zeros(5), GRID)
    index = np.arange(M)
    for row, use, found in zip(variance, good, trend, strict=True):
        fit = np.polynomial.Polynomial.fit(index[use], np.log(row[use]), 3)(index)
        seen = np.log(row[use])
        np.testing.assert_allclose(np.log(found), np.clip(fit, seen.min() - 1, seen.max() + 1), atol=1e-6)
    few = np.zeros((1, M), bool)
    few[0, :5] = True
    assert (error_model.smooth(variance[:1], few, np.zeros(1), GRID) == 0).all()


def test_differences_vanish_on_a_cubic_in_ln_delay():
    x = np.log(PLAN.delay)
    for k in range(M):
        weights = GRID.cubic[:, k]
        if not weights.any():
            continue
        around = [k - 2, k - 1, k + 1, k + 2]
        y = np.random.default_rng(k).standard_normal(4)
        expected = float(BarycentricInterpolator(x[around], y)(x[k]))
        assert -weights[[0, 1, 3, 4]] @ y == pytest.approx(expected, rel=1e-9)
    assert GRID.cubic.any(axis=0).sum() == M - 4


def test_no_difference_across_a_gap():
    burst = np.concatenate([np.arange(1.0, 9), 1000.0 + np.arange(8)])
    reached = grid(burst).cubic.any(axis=0)
    assert np.flatnonzero(reached).tolist() == [2, 3, 4, 5, 10, 11, 12, 13]


def test_trimmed_sum_and_logarithm_of_a_variance_are_as_drawn():
    rng = np.random.default_rng(5)
    drawn = np.sort(rng.standard_normal((40_000, 30)) ** 2, axis=1)[:, : -error_model.SPIKE].sum(axis=1).mean()
    assert GRID.trimmed[30] == pytest.approx(drawn, rel=0.06)  # by the quantile, not by order statistics
    for pixels in (2.0, 12.0, 300.0):
        logs = np.log(rng.chisquare(pixels - 1, 400_000) / (pixels - 1))
        assert error_model.chi2_lift(np.array([pixels]))[0] == pytest.approx(logs.mean(), abs=0.01)
    assert error_model.chi2_lift(np.array([np.nan]))[0] == 0


def test_what_a_decay_saves_is_that_of_constrained_least_squares():
    g2, sigma = decay(6, noise=0.1)
    _, saving = error_model.without_decay(g2, 1 / sigma**2, GRID)
    for y, s, found in zip(g2, sigma, saving, strict=True):
        best = constant = nnls((1 / s)[:, None], y / s)[1] ** 2
        for e in GRID.decays:
            best = min(best, nnls(np.stack([1 / s, e / s], axis=1), y / s)[1] ** 2)
        assert found == pytest.approx(constant - best, rel=1e-6, abs=1e-6)


def test_quoted_errors_are_smoothed_where_light_is_bright():
    g2, err = decay(200)
    found = judged(g2, err, counting(200, 1e9, np.nan))
    calm = found.curves & Flag.SCATTER_EXCESS == 0
    assert calm.mean() > 0.95
    sigma, err = 1 / found.weight[calm][:, USED], err[calm]
    assert np.abs(np.log(sigma / 1e-3)).max() < 0.3
    assert np.std(np.log(sigma / 1e-3)) < 0.5 * np.std(np.log(err[:, USED] / 1e-3))
    assert (found.weight[:, ~USED] == 0).all()
    assert (found.points[:, ~USED] == PointFlag.FEW_PRODUCTS | PointFlag.NOT_USED).all()
    assert (found.curves & ~np.uint32(Flag.SCATTER_EXCESS) == 0).all()


def test_counting_errors_where_quoted_ones_are_too_small():
    rate = 2.0
    rng = np.random.default_rng(1)
    g2 = rng.poisson(rate / SHAPE * 1.2) * SHAPE / rate
    g2[5] = 0.0
    found = judged(g2[None], 1e-5 * np.ones((1, M)), counting(1, rate))
    use = USED & (rate / SHAPE >= 3)
    np.testing.assert_allclose(found.weight[0, use], np.sqrt(rate / SHAPE)[use], rtol=1e-12)
    assert found.weight[0, 5] > 0  # a zero is a count
    assert found.curves[0] & Flag.ERROR_UNRELIABLE
    assert (found.points[0, use] & PointFlag.ERROR_COLLAPSE > 0).all()


def test_too_few_coincidences_are_not_used_whatever_was_counted():
    rate = 2.0 / PLAN.n_products[0]
    g2, err = decay()
    found = judged(g2, err, counting(1, rate))
    rare = rate / SHAPE < 3
    assert rare.any() and not rare.all()  # noqa: PT018
    assert ((found.points[0] & PointFlag.FEW_COINCIDENCES > 0) == rare).all()
    assert (found.weight[0, rare] == 0).all()
    assert found.curves[0] & Flag.STARVED
    dark = judged(g2, err, counting(1, 0.0))
    assert (dark.weight == 0).all()
    assert dark.curves[0] & Flag.UNUSABLE


def test_flags_of_points_inform_and_do_not_exclude():
    g2, err = decay()
    g2[0, 3] = err[0, 3] = 0.0
    err[0, 4], err[0, 6], err[0, 8], g2[0, 9] = 1e-6, np.inf, -1.0, np.nan
    found = judged(g2, err, counting(1, 1e9))
    names = PointFlag
    collapse = names.ERROR_COLLAPSE
    assert found.points[0, 3] == names.ZERO_COUNT | names.ZERO_ERROR | collapse
    assert found.points[0, 4] == collapse
    assert found.points[0, 6] == names.MISSING
    assert found.points[0, 8] == names.ZERO_ERROR | collapse
    assert found.points[0, 9] == names.MISSING | names.NOT_USED
    assert (found.weight[0, [3, 4, 6, 8]] > 0).all()


def test_scatter_beyond_the_errors_enlarges_them_and_a_single_spike_hardly():
    g2, err = decay(100, noise=1e-3)
    calm = judged(g2, err, counting(100, 1e9))
    wild = judged(decay(100, noise=5e-3)[0], err, counting(100, 1e9))
    assert np.mean(wild.curves & Flag.SCATTER_EXCESS > 0) == 1
    ratio = calm.weight[:, USED] / wild.weight[:, USED]
    assert np.median(ratio) == pytest.approx(5.0, rel=0.1)
    assert np.mean(calm.curves & Flag.SCATTER_EXCESS > 0) < 0.05
    g2[:, 20] += 0.1
    spiked = judged(g2, err, counting(100, 1e9))
    assert (calm.weight[:, USED] / spiked.weight[:, USED]).max() < 2.5  # of a spike of 100 sigma


@pytest.mark.parametrize("stretch", [0.5, 1.0, 1.8])
def test_the_shape_of_a_bright_decay_is_not_scatter(stretch):
    """Second differences of g2 itself called nine in ten of these scattered."""
    rng = np.random.default_rng(2)
    tau = np.exp(rng.uniform(np.log(3), np.log(1000), (500, 1)))
    err = np.full((500, M), 1e-4)
    g2 = 1.0 + 0.3 * np.exp(-2.0 * (PLAN.delay / tau) ** stretch) + err * rng.standard_normal((500, M))
    found = judged(g2, err, counting(500, 1e12, np.nan))
    assert np.mean(found.curves & Flag.SCATTER_EXCESS > 0) < 0.3


def test_smoothed_leaves_counts_out():
    g2, err = decay()
    found = judged(g2, err, counting(1, 1e-3), counts=False)
    assert np.abs(np.log(1e3 / found.weight[0, USED])).max() < 0.15
    assert found.curves[0] == 0


def test_without_the_rate_scatter_stands_in_for_counts_where_errors_fail():
    rate = 5.0
    rng = np.random.default_rng(4)
    g2 = rng.poisson(rate / SHAPE * np.ones((300, 1))) * SHAPE / rate
    found = judged(g2, None, counting(300, np.nan, np.nan))
    use = found.weight > 0
    ratio = (found.weight**2 / (rate / SHAPE))[use]
    assert np.median(ratio) == pytest.approx(1.0, rel=0.2)
    assert (found.curves & Flag.COUNTS_UNKNOWN > 0).all()
    bright = judged(*decay(), counting(1, np.nan))
    assert np.abs(np.log(1e3 / bright.weight[0, USED])).max() < 0.15


def test_without_products_quoted_errors_are_taken_up_to_the_last_believable_one():
    g2, err = decay()
    err[0, -3:] = 1e-7
    found = judged(g2, err, counting(1, np.nan, np.nan, None))
    assert (found.weight[0, -3:] == 0).all()
    np.testing.assert_allclose(found.weight[0, :-3], 1 / err[0, :-3], rtol=1e-12)


def test_few_usable_delays_are_not_fitted():
    g2, err = decay()
    g2[0, 5:] = np.nan
    found = judged(g2, err, counting(1, 1e9))
    assert found.curves[0] & Flag.UNUSABLE
    assert (found.weight == 0).all()


@pytest.mark.parametrize("kind", ["gaussian", "poisson"])
@pytest.mark.parametrize("coincidences", [1.0, 30.0, 1e4])
def test_noise_is_not_a_signal(kind, coincidences):
    found = noise(kind, 20_000, coincidences)
    assert found["usable"] > 0.99
    assert found["seen"] <= 0.012


def test_weak_is_between_noise_and_certainty():
    g2, err = decay(2_000, contrast=0.002, noise=1e-3, seed=9)
    found = judged(g2, err, counting(2_000, 1e9, np.nan))
    _, saving = error_model.without_decay(g2, found.weight**2, GRID)
    weak = found.curves & Flag.WEAK > 0
    assert 0.1 < weak.mean() < 0.9
    np.testing.assert_array_equal(weak, (saving >= 12) & (saving < 30))
    np.testing.assert_array_equal(found.curves & Flag.NO_SIGNAL > 0, saving < 12)


def test_decays_with_enough_coincidences_are_found():
    found = noise("poisson", 5_000, 125.0, contrast=0.25)
    assert found["information"] > 300
    assert found["seen"] >= 0.99


def test_significance_of_noise_follows_chi2():
    """At one relaxation time the saving is chi2 of one degree, half of it at an amplitude of 0."""
    g2, _ = decay(20_000, contrast=0.0, noise=1.0)
    one = error_model.Grid(GRID.share, GRID.cubic, GRID.basis, GRID.decays[15:16], GRID.trimmed)
    _, saving = error_model.without_decay(g2, np.ones_like(g2), one)
    assert np.mean(saving == 0) == pytest.approx(0.5, abs=0.02)
    for level in (1.0, 4.0, 9.0):
        assert np.mean(saving > level) == pytest.approx(0.5 * chi2_law.sf(level, 1), rel=0.15)
