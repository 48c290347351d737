"""Intervals from replicates: scipy.stats.bootstrap with the same replicates, closed forms, and what may go wrong."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from arch.bootstrap import IIDBootstrap
from scipy import stats

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.intervals import Mark, Parents, acceleration, choose_interval, interval, student
from xpcs_dask.fitting.models import DOUBLE, SIMPLE, Model
from xpcs_dask.fitting.scales import back, forward, natural_scales

MEAN = Model.from_function(lambda x, mean: mean + 0 * x, ["mean"])
OPEN = {"lower": np.array([-np.inf]), "upper": np.array([np.inf])}
B = 999


def resampled_means(n=3, size=23, resamples=B, seed=0):
    """Skewed samples (n, size) and the means of their resamples (n, B)."""
    rng = np.random.default_rng(seed)
    samples = rng.lognormal(0, 1, (n, size))
    chosen = rng.integers(size, size=(n, resamples, size))
    return samples, np.stack([s[c].mean(axis=-1) for s, c in zip(samples, chosen, strict=True)])


def means(samples, **more):
    return Parents(model=MEAN, value=samples.mean(axis=1)[:, None], **OPEN, **more)


def scipys(sample, replicates, method, level):
    """Interval of scipy.stats.bootstrap from given replicates, none added."""
    return stats.bootstrap(
        (sample,), np.mean, n_resamples=0, bootstrap_result=SimpleNamespace(bootstrap_distribution=replicates),
        method=method, confidence_level=level,
    ).confidence_interval  # fmt: skip


def same_ranks(level, resamples=B):
    """Level at which NumPy's default quantile (rank 1 + (B-1)f), which scipy takes, has the ranks (B+1)f of `level`."""
    return 1 - 2 * ((resamples + 1) * (1 - level) / 2 - 1) / (resamples - 1)


@pytest.mark.parametrize(("kind", "scipys_name"), [("percentile", "percentile"), ("basic", "basic")])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_percentile_and_basic_are_scipys(kind, scipys_name, level):
    samples, replicates = resampled_means()
    found = interval(kind, replicates[..., None], means(samples), level)
    for k, sample in enumerate(samples):
        low, high = scipys(sample, replicates[k], scipys_name, same_ranks(level))
        np.testing.assert_allclose([found.lower[k, 0], found.upper[k, 0]], [low, high], rtol=1e-12)


@pytest.mark.parametrize("kind", ["percentile", "basic", "bca"])
def test_arch_agrees(kind, monkeypatch):
    """From the same draws of its own, with NumPy's default quantile in place of ours."""
    monkeypatch.setattr("xpcs_dask.fitting.interval_kinds.quantile", numpys_quantile)
    samples, _ = resampled_means()
    for sample in samples:
        replicates = IIDBootstrap(sample, seed=1).apply(np.mean, B)[None]
        expected = IIDBootstrap(sample, seed=1).conf_int(np.mean, B, method=kind, size=0.9)
        parents = means(sample[None], acceleration=acceleration(jackknife(sample[None])))
        found = interval(kind, replicates, parents, 0.9)
        np.testing.assert_allclose([found.lower[0, 0], found.upper[0, 0]], expected[:, 0], rtol=1e-11)


def numpys_quantile(ordered, count, fraction):
    """What `quantiles.quantile` would be by NumPy's default definition."""
    fractions = np.broadcast_to(fraction, count.shape)
    return np.array([[np.quantile(o[0], f[0])] for o, f in zip(ordered, fractions, strict=True)])


def jackknife(samples):
    """Influence of each point on the mean by leaving it out, as scipy has it."""
    size = samples.shape[1]
    left_out = (samples.sum(axis=1, keepdims=True) - samples) / (size - 1)
    return (size - 1) * (left_out.mean(axis=1, keepdims=True) - left_out)[..., None]


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_bca_is_scipys(level, monkeypatch):
    """With scipy's quantile in place of ours: its fractions are then ours to rounding."""
    monkeypatch.setattr("xpcs_dask.fitting.interval_kinds.quantile", numpys_quantile)
    samples, replicates = resampled_means()
    replicates[0, 10:20] = samples[0].mean()  # ties count by half
    parents = means(samples, acceleration=acceleration(jackknife(samples)))
    found = interval("bca", replicates[..., None], parents, level)
    for k, sample in enumerate(samples):
        low, high = scipys(sample, replicates[k], "BCa", level)
        np.testing.assert_allclose([found.lower[k, 0], found.upper[k, 0]], [low, high], rtol=1e-11)


def test_bca_covers_a_skewed_truth_where_percentile_does_not():
    """Variance of a normal sample, twenty points: known from its chi2 distribution (Efron 1987)."""
    rng = np.random.default_rng(4)
    n, size, level = 700, 20, 0.9
    replicates, value = np.empty((n, 999, 1)), np.empty((n, 1))
    influence = np.empty((n, size, 1))
    for k in range(n):
        sample = rng.normal(size=size)
        counts = rng.multinomial(size, np.full(size, 1 / size), 999) / size
        replicates[k, :, 0] = counts @ sample**2 - (counts @ sample) ** 2
        value[k] = sample.var()
        influence[k, :, 0] = (sample - sample.mean()) ** 2 - sample.var()
    parents = Parents(model=MEAN, value=value, acceleration=acceleration(influence), **OPEN)
    covered = {}
    for kind in ("percentile", "bca"):
        found = interval(kind, replicates, parents, level)
        covered[kind] = np.mean((found.lower <= 1) & (found.upper >= 1))
    assert 0.72 < covered["percentile"] < 0.81
    assert covered["percentile"] + 0.03 < covered["bca"] < 0.9


def normal_replicates(n=4, resamples=4000, seed=3, model=SIMPLE, spread=0.3):
    """Replicates that are normal on the natural scale."""
    rng = np.random.default_rng(seed)
    value = np.tile({SIMPLE: [0.2, 0.01, 1.0], DOUBLE: [0.2, 1e-3, 0.9, 1.0, 5e-2, 1.1, 0.4]}[model], (n, 1))
    scales = natural_scales(model)
    size = np.where([s > 0 for s in scales], spread, 0.01)
    natural = forward(value, scales)[:, None] + size * rng.normal(size=(n, resamples, value.shape[1]))
    lower, upper = model.box(np.geomspace(1e-6, 1e2, 20))
    return back(natural, scales), Parents(model=model, value=value, lower=lower, upper=upper), size


@pytest.mark.parametrize("kind", ["percentile", "basic", "t", "bca"])
@pytest.mark.parametrize("model", [SIMPLE, DOUBLE], ids=lambda m: m.name)
def test_normal_replicates_give_the_normal_interval_on_the_natural_scale(kind, model):
    replicates, parents, size = normal_replicates(resamples=20_000, model=model)
    parents = replace(parents, acceleration=np.zeros(parents.value.shape))
    found, scales = interval(kind, replicates, parents), natural_scales(model)
    centre = forward(parents.value, scales)
    for end, side in ((found.lower, -1), (found.upper, 1)):
        error = (forward(end, scales) - centre) / (side * size) - 1.96
        assert np.abs(error).max() < 0.08  # four Monte-Carlo errors
    assert not found.mark.any()


def test_t_takes_the_spread_of_the_replicates_and_the_degrees_of_freedom():
    replicates, parents, _ = normal_replicates()
    dof = np.array([3.0, 11.0, 63.0, np.inf])
    found, scales = interval("t", replicates, replace(parents, dof=dof), 0.9), natural_scales(SIMPLE)
    expected = stats.t.ppf(0.95, dof)[:, None] * forward(replicates, scales).std(axis=1, ddof=1)
    np.testing.assert_allclose(forward(found.upper, scales) - forward(parents.value, scales), expected, rtol=1e-9)
    np.testing.assert_allclose(forward(parents.value, scales) - forward(found.lower, scales), expected, rtol=1e-9)


def test_studentised_with_equal_errors_is_basic_and_with_its_own_is_written_out():
    replicates, parents, _ = normal_replicates(n=2)
    error = 0.02 * parents.value
    parents = replace(parents, stderr=error)
    equal = interval("studentised", replicates, parents, 0.9, 0.02 * replicates)  # ln tau: the same error everywhere
    basic = interval("basic", replicates, parents, 0.9)
    np.testing.assert_allclose(equal.upper[:, 1], basic.upper[:, 1], rtol=1e-12)
    own = np.random.default_rng(0).uniform(0.5, 2, replicates.shape) * error[:, None]
    found = interval("studentised", replicates, parents, 0.9, own)
    pivot = np.log(replicates[0, :, 1] / parents.value[0, 1]) / (own[0, :, 1] / replicates[0, :, 1])
    low, high = np.quantile(pivot, [0.05, 0.95], method="weibull")
    unit = error[0, 1] / parents.value[0, 1]
    expected = parents.value[0, 1] * np.exp([-high * unit, -low * unit])
    np.testing.assert_allclose([found.lower[0, 1], found.upper[0, 1]], expected, rtol=1e-12)
    np.testing.assert_allclose(found.upper[0, 2], 1 - error[0, 2] * _pivot_quantile(replicates, own, 2), rtol=1e-12)


def _pivot_quantile(replicates, own, k):
    return np.quantile((replicates[0, :, k] - 1.0) / own[0, :, k], 0.05, method="weibull")


@pytest.mark.parametrize("kind", ["percentile", "basic", "t", "bca", "studentised"])
def test_failed_replicates_are_left_out_and_neighbours_do_not_matter(kind):
    replicates, parents, _ = normal_replicates(resamples=500)
    parents = replace(
        parents, stderr=0.01 * parents.value, acceleration=np.full(parents.value.shape, 0.05), dof=np.full(4, 9.0)
    )
    errors = 0.01 * replicates
    replicates[1, ::5, 0] = np.nan  # one NaN spoils the replicate
    found = interval(kind, replicates, parents, 0.9, errors)
    left = np.delete(replicates[1:2], np.s_[::5], axis=1)
    alone = interval(kind, left, parents.take(np.array([1])), 0.9, np.delete(errors[1:2], np.s_[::5], axis=1))
    np.testing.assert_allclose(found.lower[1], alone.lower[0], rtol=1e-12)
    np.testing.assert_allclose(found.error[1], alone.error[0], rtol=1e-9)
    for k in range(4):
        one = interval(kind, replicates[k : k + 1], parents.take(np.array([k])), 0.9, errors[k : k + 1])
        for name in ("lower", "upper", "error", "mark"):
            np.testing.assert_array_equal(getattr(one, name)[0], getattr(found, name)[k])


@pytest.mark.parametrize("kind", ["percentile", "basic", "t", "bca", "studentised"])
def test_held_parameters_have_no_width(kind):
    replicates, parents, _ = normal_replicates(resamples=300)
    lower, upper = parents.lower.copy(), parents.upper.copy()
    lower[2] = upper[2] = 1.0
    replicates[..., 2] = 1.0
    stderr, errors = 0.01 * parents.value, 0.01 * replicates
    stderr[:, 2] = errors[..., 2] = 0.0
    still = np.zeros(parents.value.shape)
    parents = replace(parents, lower=lower, upper=upper, stderr=stderr, acceleration=still)
    found = interval(kind, replicates, parents, 0.9, errors)
    assert (found.lower[:, 2] == 1).all()
    assert (found.upper[:, 2] == 1).all()
    assert not found.mark[:, 2].any()
    assert (found.error[:, 2] == 0).all()
    assert (found.upper[:, 0] > found.lower[:, 0]).all()


def test_ends_stay_in_the_box_and_say_so():
    replicates, parents, _ = normal_replicates(resamples=500)
    upper = parents.upper.copy()
    upper[0] = 0.205
    parents = replace(parents, upper=upper)
    replicates[..., 0] = np.minimum(replicates[..., 0], 0.205)  # as a fit in that box does
    for kind in ("percentile", "t", "basic"):
        found = interval(kind, replicates, parents)
        assert found.upper[:, 0].max() <= 0.205
    percentile = interval("percentile", replicates, parents)
    assert (percentile.upper[:, 0] == 0.205).all()
    assert (percentile.mark[:, 0, 1] == Mark.AT_BOUND).all()
    assert not percentile.mark[:, 0, 0].any()
    assert not percentile.mark[:, 1:].any()


@pytest.mark.parametrize("kind", ["percentile", "basic", "t"])
def test_a_fraction_at_its_end_is_treated_on_its_own_scale(kind):
    replicates, parents, _ = normal_replicates(resamples=500, model=DOUBLE)
    replicates[1, :40, 6] = 1.0
    parents.value[2, 6] = 0.0
    found = interval(kind, replicates, parents)
    assert np.isfinite(found.lower).all()
    assert np.isfinite(found.upper).all()
    low, high = np.quantile(replicates[1, :, 6], [0.025, 0.975], method="weibull")
    expected = {
        "percentile": [low, high],
        "basic": [2 * 0.4 - high, 2 * 0.4 - low],
        "t": 0.4 + 1.959963984540054 * replicates[1, :, 6].std(ddof=1) * np.array([-1, 1]),
    }[kind]
    np.testing.assert_allclose([found.lower[1, 6], found.upper[1, 6]], np.clip(expected, 0, 1), rtol=1e-12)
    logit = interval(kind, replicates[:1], parents.take(np.array([0])))
    np.testing.assert_array_equal(found.lower[0], logit.lower[0])


def test_bca_says_where_it_is_not_defined():
    replicates, parents, _ = normal_replicates(resamples=500)
    flat = np.zeros(parents.value.shape)
    flat[3, 1], flat[3, 2] = np.nan, 2.0
    parents = replace(parents, acceleration=flat)
    replicates[1, :, 0] += 1.0  # all above the estimate
    replicates[1, :, 0] -= replicates[1, :, 0].min() - 0.2001
    found = interval("bca", replicates, parents)
    gone = [(1, 0), (3, 1), (3, 2)]
    for j in range(4):
        for k in range(3):
            if (j, k) in gone:
                assert np.isnan(found.lower[j, k]) or np.isnan(found.upper[j, k])
                assert (found.mark[j, k] & Mark.UNDEFINED).any()
            else:
                assert np.isfinite(found.lower[j, k])
                assert not found.mark[j, k].any()
    assert np.isnan(found.lower[1, 0])
    assert np.isnan(found.upper[1, 0])


def test_few_replicates_are_marked():
    replicates, parents, _ = normal_replicates(resamples=38)
    found = interval("percentile", replicates, parents)
    assert (found.mark == Mark.EXTREME).all()
    np.testing.assert_allclose(found.lower, replicates.min(axis=1), rtol=1e-12)
    again = interval("percentile", normal_replicates(resamples=39)[0], parents)
    assert not again.mark.any()


@pytest.mark.parametrize("made", [0, 1])
@pytest.mark.parametrize("kind", ["percentile", "basic", "t", "bca"])
def test_without_two_replicates_there_is_no_interval(kind, made):
    replicates, parents, _ = normal_replicates(resamples=2)
    replicates[0, made:] = np.nan
    parents.value[1] = np.nan
    parents = replace(parents, acceleration=np.zeros(parents.value.shape))
    found = interval(kind, replicates, parents)
    for k in (0, 1):
        assert np.isnan(found.lower[k]).all()
        assert np.isnan(found.upper[k]).all()
        assert (found.mark[k] == Mark.UNDEFINED).all()
        assert np.isnan(found.error[k]).all()


@pytest.mark.parametrize("level", [0.95, 0.5])
@pytest.mark.parametrize("kind", ["percentile", "basic", "bca", "t", "studentised"])
def test_stated_monte_carlo_errors_are_the_scatter_between_bootstraps(kind, level):
    """Six hundred bootstraps of one and the same curve, half a per cent of a half width apart at B = 2000."""
    n, resamples = 600, 2000
    rng = np.random.default_rng(8)
    replicates = rng.gamma(9.0, 1 / 9, (n, resamples, 1))
    parents = Parents(
        model=MEAN, value=np.ones((n, 1)), stderr=np.full((n, 1), 0.3), acceleration=np.full((n, 1), 0.05), **OPEN
    )
    found = interval(kind, replicates, parents, level, 0.1 + 0.2 * replicates)
    half = 0.5 * (found.upper - found.lower)
    for side, ends in enumerate((found.lower, found.upper)):
        ratio = np.mean(found.error[..., side] * half) / ends.std(ddof=1)
        assert 0.9 < ratio < (1.3 if level > 0.9 else 1.12)  # tails are seen a little too thin


@pytest.mark.parametrize(
    ("kind", "words"), [("bca", "acceleration"), ("studentised", "standard errors of the fits and of every replicate")]
)
def test_what_is_missing_is_named(kind, words):
    replicates, parents, _ = normal_replicates(resamples=50)
    with pytest.raises(ConfigError, match=words):
        interval(kind, replicates, parents)


def test_acceleration_by_its_formula_and_whatever_the_padding():
    influence = np.random.default_rng(2).exponential(size=(3, 40, 2)) - 1
    influence[1, 25:] = np.nan
    found = acceleration(influence)
    some = influence[1, :25]
    np.testing.assert_allclose(found[1], np.sum(some**3, axis=0) / (6 * np.sum(some**2, axis=0) ** 1.5), rtol=1e-12)
    wide = np.full((3, 400, 2), np.nan)
    wide[:, :40] = influence
    np.testing.assert_array_equal(acceleration(wide), found)
    np.testing.assert_array_equal(acceleration(influence[1:2, :25])[0], found[1])
    np.testing.assert_allclose(acceleration(1e-200 * influence), found, rtol=1e-9)
    assert (acceleration(np.zeros((1, 5, 2))) == 0).all()
    assert np.isnan(acceleration(np.full((1, 5, 2), np.nan))).all()
    assert np.isnan(acceleration(np.zeros((2, 0, 3)))).all()


def test_student_is_written_out():
    value, stderr = np.array([[0.2, 0.01, 1.0], [0.3, 0.5, 0.99]]), np.array([[0.01, 0.002, 0.001], [0.02, np.nan, 0]])
    lower, upper = SIMPLE.box(np.geomspace(1e-5, 1, 20))
    found = student(value, stderr, [7, np.inf], 0.9, SIMPLE, lower, upper)
    t = stats.t.ppf(0.95, 7)
    np.testing.assert_allclose(found.upper[0, :2], [0.2 + t * 0.01, 0.01 * np.exp(t * 0.2)], rtol=1e-12)
    np.testing.assert_allclose(found.lower[0, :2], [0.2 - t * 0.01, 0.01 * np.exp(-t * 0.2)], rtol=1e-12)
    assert found.upper[1, 0] == pytest.approx(0.3 + stats.norm.ppf(0.95) * 0.02, rel=1e-12)
    assert np.isnan(found.upper[1, 1])
    assert found.mark[1, 1].tolist() == [Mark.UNDEFINED] * 2
    assert found.lower[1, 2] == found.upper[1, 2] == 0.99
    assert np.isnan(student(value, stderr, 0, 0.9, SIMPLE, lower, upper).lower[0]).all()


def test_student_stays_in_the_box_and_knows_what_is_held():
    value = np.array([[0.2, 1e-3, 0.9, 1.0, 5e-2, 1.1, 0.98]])
    stderr = np.array([[0.5, 1e-4, 0.1, 0.0, 1e-2, 0.1, 0.05]])
    lower, upper = DOUBLE.box(np.geomspace(1e-5, 1, 20), fixed={"baseline": 1.0})
    found = student(value, stderr, np.inf, 0.95, DOUBLE, lower, upper)
    assert (found.lower[0, 0], found.mark[0, 0, 0]) == (0.0, Mark.AT_BOUND)
    assert found.lower[0, 3] == found.upper[0, 3] == 1.0
    assert not found.mark[0, 3].any()
    assert found.upper[0, 6] < 1
    odds = 0.98 / 0.02 * np.exp(1.959963984540054 * 0.05 / (0.98 * 0.02))
    assert found.upper[0, 6] == pytest.approx(odds / (1 + odds), rel=1e-12)


def test_auto_is_t_for_few_clusters_percentile_for_many_and_for_weak_curves():
    found = choose_interval("auto", "cluster", [12, 29, 30, 64, 12], [False, False, False, False, True])
    assert found.tolist() == ["t", "t", "percentile", "percentile", "percentile"]
    assert choose_interval("auto", "wild", [12, 64]).tolist() == ["percentile"] * 2
    assert choose_interval("basic", "cluster", [12, 64]).tolist() == ["basic"] * 2
