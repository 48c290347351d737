"""Replicates: minima against scipy on the same resamples, the same bits however they are asked for, and truth."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import optimize, stats

from tests.fitting.kernel.bench_sets import double_set
from tests.fitting.kernel.curves import BOX, DELAYS, double_curves, projected_gradient, single_curves
from xpcs_dask.config import FitConfig
from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.families import exact_values, exact_z
from xpcs_dask.fitting.kernel.family import family_of
from xpcs_dask.fitting.kernel.replicates import refit
from xpcs_dask.fitting.kernel.single import CONVERGED, STALLED
from xpcs_dask.fitting.layout import Status
from xpcs_dask.fitting.models import DOUBLE, SIMPLE, SINGLE, Model
from xpcs_dask.fitting.parents import make_parents
from xpcs_dask.fitting.recipe import SCHEMES
from xpcs_dask.fitting.replicates import model_values, replicates
from xpcs_dask.fitting.strategy import fit_stack

SEED = 2**63 + 17
CONFIG = FitConfig()


def stack(family, n=6, seed=3):
    """Curves, their weights, and clusters whose mean they are."""
    _, y, sigma = (single_curves if family == "single" else double_curves)(n, seed=seed)
    clusters = np.random.default_rng(seed).normal(size=(n, 20, DELAYS.size))
    clusters = y[:, None] + (clusters - clusters.mean(axis=1, keepdims=True)) * sigma[:, None] * 20**0.5
    return y, 1 / sigma, clusters


def arguments(model, y, weight, scheme, lower, upper, config=CONFIG, seed=SEED):
    rows = fit_stack(DELAYS, y, weight, model, config, lower, upper)
    ids = np.arange(len(y), dtype=np.uint64) + np.uint64(2**50)
    return DELAYS, y, weight, model, config, lower, upper, rows, scheme, ids, seed


def resample(given, clusters, j, b):
    """Points of one resample: x, y and weight."""
    group = make_parents(*given, clusters)
    row = np.flatnonzero(group.good == j)
    y, times = group.resamples(group.recipe(group.good), row, np.array([j]), np.array([b]))
    weight = given[2][j] * np.sqrt(times[0])
    return y[0], np.where(np.isfinite(weight), weight, 0)


def logarithmic(model):
    return np.array([p.relaxation_time for p in model.parameters])


def scipy_minimum(model, y, weight, start):
    """Minimum near start, relaxation times as logarithms: least squares, then the root of the gradient."""
    times = logarithmic(model)

    def theta(z):
        return np.where(times, np.exp(np.where(times, z, 0)), z)

    def residual(z):
        return (y - model.evaluate(DELAYS, *theta(z))) * weight

    def jacobian(z):
        return -model.jacobian(DELAYS, *theta(z)) * np.where(times, theta(z), 1) * weight[:, None]

    start = np.where(times, np.log(np.where(times, start, 1)), start)
    z = optimize.least_squares(residual, start, jacobian, x_scale="jac", ftol=1e-15, xtol=1e-15, gtol=1e-15).x
    size = np.linalg.norm(jacobian(z), axis=0)
    found = optimize.root(
        lambda s: (jacobian(z + s / size).T @ residual(z + s / size)) / size, np.zeros(z.size), tol=1e-13
    )
    return theta(z + found.x / size)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("model", [SINGLE, DOUBLE], ids=["single", "double"])
def test_minima_are_those_of_scipy_on_the_same_resamples(model, scheme):
    y, weight, clusters = stack(model.name)
    given = arguments(model, y, weight, scheme, *BOX[model.name])
    found = replicates(*given, 0, 3, clusters)
    rows, times = given[7], logarithmic(model)
    lower, upper = BOX[model.name]
    compared = 0
    for j in range(len(y)):
        unit = np.where(times, rows["value"][j], 1)
        for b in range(3):
            if (found[j, b] <= lower).any() or (found[j, b] >= upper).any():
                continue
            expected = scipy_minimum(model, *resample(given, clusters, j, b), rows["value"][j])
            with np.errstate(invalid="ignore"):
                off = np.where(times, np.log(found[j, b] / expected), found[j, b] - expected)
            if model is DOUBLE and np.abs(off).max() > 0.1:
                continue  # another minimum; counted below
            assert np.abs(off / (rows["stderr"][j] / unit)).max() < 1e-6
            compared += 1
    assert compared >= 16


def test_the_box_is_kept_and_its_minimum_found():
    """Every replicate is a minimum in a box that cuts the distribution of all parameters."""
    y, weight, _ = stack("single", 12)
    value = fit_stack(DELAYS, y, weight, SINGLE, CONFIG, *BOX["single"])
    spread = np.median(value["stderr"] / value["value"], axis=0)
    found_at_bound = 0
    for j in range(12):
        lower, upper = value["value"][j] * (1 - 0.8 * spread), value["value"][j] * (1 + 0.8 * spread)
        given = arguments(SINGLE, y[j : j + 1], weight[j : j + 1], "residual", lower, upper)
        found = replicates(*given, 0, 30)[0]
        assert ((found >= lower) & (found <= upper)).all()
        found_at_bound += ((found == lower) | (found == upper)).any(axis=1).sum()
        for b in range(30):
            own, w = resample(given, None, 0, b)
            assert projected_gradient(SINGLE, own, 1 / w, found[b], lower, upper) < 1e-7
    assert found_at_bound > 50


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("model", [SINGLE, DOUBLE], ids=["single", "double"])
def test_same_bits_alone_in_any_range_in_any_stack(model, scheme):
    y, weight, clusters = stack(model.name)
    clusters[2, 3, 5] = np.nan
    weight[1, 10] = 0
    given = arguments(model, y, weight, scheme, *BOX[model.name])
    whole = replicates(*given, 0, 40, clusters)
    x, y, weight, model, config, lower, upper, rows, scheme, ids, seed = given
    for j in (5, 1, 2):
        one = np.array([j])
        alone = replicates(
            x,
            y[one],
            weight[one],
            model,
            config,
            lower,
            upper,
            rows[one],
            scheme,
            ids[one],
            seed,
            17,
            18,
            clusters[one],
        )
        assert alone[0, 0].tobytes() == whole[j, 17].tobytes()
    turned = np.arange(6)[::-1]
    again = replicates(
        x, y[turned], weight[turned], model, config, lower, upper, rows[turned], scheme, ids[turned], seed, 30, 40,
        clusters[turned],
    )  # fmt: skip
    assert again[turned].tobytes() == whole[:, 30:].tobytes()


def test_curve_seed_and_replicate_all_count():
    y, weight, _ = stack("single", 1)
    given = arguments(SINGLE, y, weight, "wild", *BOX["single"])
    first = replicates(*given, 0, 50)[0]
    assert np.unique(first[:, 1]).size == 50
    other = replicates(*given[:-2], given[-2] + np.uint64(1), SEED, 0, 50)[0]
    seeded = replicates(*given[:-1], SEED + 1, 0, 50)[0]
    assert not (first == other).any(axis=1).any()
    assert not (first == seeded).any(axis=1).any()


def test_what_cannot_be_resampled_is_nan_and_leaves_its_neighbours_alone():
    y, weight, clusters = stack("single", 4)
    y[1] = np.nan
    clusters[2, 1:] = np.nan
    given = arguments(SINGLE, y, weight, "cluster", *BOX["single"])
    assert given[7]["status"][1] == Status.NO_DATA
    found = replicates(*given, 0, 5, clusters)
    assert np.isnan(found[[1, 2]]).all()
    assert np.isfinite(found[[0, 3]]).all()


def test_pairs_with_too_few_points_are_nan():
    y, weight, _ = stack("single", 1)
    weight[0, 6:] = 0
    weight[0, [20, 30, 40]] = 1 / 0.003
    y[0, :6] = SINGLE.evaluate(DELAYS[:6], 0.2, 1e-2, 1.0, 1.0)
    given = arguments(SINGLE, y, weight, "pairs", *BOX["single"])
    assert given[7]["status"][0] == Status.CONVERGED
    found = replicates(*given, 0, 60)[0]
    points = [(resample(given, None, 0, b)[1] > 0).sum() for b in range(60)]
    assert 4 in points
    assert max(points) > 4
    for row, number in zip(found, points, strict=True):
        assert np.isnan(row).all() == (number <= 4)


def test_unknown_scheme_and_missing_clusters_are_refused():
    y, weight, _ = stack("single", 1)
    with pytest.raises(ConfigError, match=r"'jackknife' is not known; known are cluster"):
        replicates(*arguments(SINGLE, y, weight, "jackknife", *BOX["single"]), 0, 1)
    with pytest.raises(ConfigError, match="g2_cluster"):
        replicates(*arguments(SINGLE, y, weight, "cluster", *BOX["single"]), 0, 1)


def test_held_parameters_stay_and_the_rest_is_refitted():
    y, weight, _ = stack("single")
    lower, upper = BOX["single"][0].copy(), BOX["single"][1].copy()
    lower[2] = upper[2] = 0.9
    given = arguments(SINGLE, y, weight, "residual", lower, upper)
    found = replicates(*given, 0, 20)
    assert (found[..., 2] == 0.9).all()
    for b in range(5):
        assert projected_gradient(SINGLE, *_inverse(given, b), found[0, b], lower, upper) < 1e-7
    simple = [k for k in range(4) if k != 2]
    given = arguments(SIMPLE, y, weight, "residual", BOX["single"][0][simple], BOX["single"][1][simple])
    assert replicates(*given, 0, 20).shape == (6, 20, 3)
    for b in range(5):
        low, high = BOX["single"][0][simple], BOX["single"][1][simple]
        assert projected_gradient(SIMPLE, *_inverse(given, b), replicates(*given, b, b + 1)[0, 0], low, high) < 1e-7


def _inverse(given, b):
    y, weight = resample(given, None, 0, b)
    return y, 1 / weight


def test_a_model_of_the_user_gives_the_same_replicates():
    def decay(x, contrast, tau, stretch, baseline):
        return baseline + contrast * np.exp(-2 * (x / tau) ** stretch)

    y, weight, clusters = stack("single", 2)
    model = Model.from_function(decay, SINGLE.parameters)
    for scheme in ("cluster", "residual"):
        own = replicates(*arguments(SINGLE, y, weight, scheme, *BOX["single"]), 0, 3, clusters)
        given = arguments(model, y, weight, scheme, *BOX["single"])
        found = replicates(*given, 0, 3, clusters)
        assert (np.abs(found - own) / given[7]["stderr"][:, None]).max() < 1e-4


def test_robust_loss_refits_with_its_loss():
    y, weight, _ = stack("single", 2)
    config = FitConfig(loss="soft_l1")
    given = arguments(SINGLE, y, weight, "residual", *BOX["single"], config=config)
    found = replicates(*given, 0, 3)
    for j in range(2):
        for b in range(3):
            own, w = resample(given, None, j, b)
            fit = optimize.least_squares(
                lambda p, own=own, w=w: (SINGLE.evaluate(DELAYS, *p) - own) * w, given[7]["value"][j], x_scale="jac",
                loss="soft_l1", ftol=1e-14, xtol=1e-14, gtol=1e-14,
            )  # fmt: skip
            assert (np.abs(found[j, b] - fit.x) / given[7]["stderr"][j]).max() < 1e-4


def test_clusters_of_a_mean_are_the_bootstrap_of_scipy():
    """With all but the baseline held a fit is a weighted mean; scipy's bootstrap of that mean knows how it varies."""
    rng = np.random.default_rng(2)
    clusters = 1 + 0.05 * rng.exponential(size=(1, 15, DELAYS.size))
    y = clusters.mean(axis=1)
    weight = np.broadcast_to(1 + rng.random(DELAYS.size), y.shape).copy()
    lower, upper = np.array([0.1, 1e-7, 1.0, 0.5]), np.array([0.1, 1e-7, 1.0, 1.5])
    given = arguments(SINGLE, y, weight, "cluster", lower, upper)
    found = replicates(*given, 0, 4000, clusters)[0, :, 3]
    means = (clusters[0] * weight[0] ** 2).sum(axis=1) / (weight[0] ** 2).sum()
    expected = stats.bootstrap((means,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(0))
    assert stats.ks_2samp(found, expected.bootstrap_distribution).pvalue > 1e-3
    assert found.std(ddof=1) == pytest.approx(expected.standard_error, rel=0.05)


def test_spread_of_replicates_is_the_standard_error():
    """For small noise: Wald's for parametric, the rescaled one for residual."""
    y, weight, _ = stack("single", 8, seed=11)
    for scheme in ("parametric", "residual"):
        given = arguments(SINGLE, y, weight, scheme, *BOX["single"], config=FitConfig(errors="quoted"))
        found = replicates(*given, 0, 1000)
        rows = given[7]
        scale = np.sqrt(rows["reduced_chi2"]) if scheme == "residual" else np.ones(8)
        ratio = found.std(axis=1) / (rows["stderr"] * scale[:, None])
        assert np.median(ratio, axis=0) == pytest.approx(1, rel=0.06)


def test_of_components_in_one_box_the_faster_is_the_first():
    lower, upper = BOX["double"]
    z = np.array([[0.2, -1.0, 0.8, 1.0, -4.0, 1.2, 0.3], [0.2, -4.0, 1.2, 1.0, -1.0, 0.8, 0.7]])
    found = model_values(family_of(DOUBLE, lower, upper), z)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-14)
    np.testing.assert_allclose(found[0], [0.2, np.exp(-4), 1.2, 1.0, np.exp(-1), 0.8, 0.7], rtol=1e-14)
    upper = upper.copy()
    upper[1] = 50.0
    assert model_values(family_of(DOUBLE, lower, upper), z)[0, 1] == np.exp(-1.0)


@pytest.mark.filterwarnings("error")
def test_no_warnings_on_noise():
    """Curves without a decay: whatever comes, no warning, nothing outside the box."""
    rng = np.random.default_rng(0)
    y = 1 + 1e-3 * rng.normal(size=(5, DELAYS.size))
    given = arguments(SINGLE, y, np.full(y.shape, 1e3), "wild", *BOX["single"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = replicates(*given, 0, 30)
    lower, upper = BOX["single"]
    inside = np.isnan(found) | ((found >= lower) & (found <= upper))
    assert inside.all()
    assert np.isfinite(found).mean() > 0.9


def test_a_step_uphill_is_taken_back_where_it_leads_nowhere():
    """Of 4,000 refits in bent valleys none is given up for want of a shorter step, and none ends above its start."""
    data = double_set(100)
    rows = fit_stack(data.x, data.y, data.weight, data.model, CONFIG, data.lower, data.upper)
    curves = np.arange(len(data.y), dtype=np.uint64)
    given = (data.x, data.y, data.weight, data.model, CONFIG, data.lower, data.upper, rows, "residual", curves, 0)
    parents = make_parents(*given, None)
    recipe = parents.recipe(parents.good)
    start = exact_z(parents.family, parents.value[parents.good])
    z, code = refit(parents.x, recipe, parents.family, start, curves[parents.good], 0, 0, 40)
    assert not (code == STALLED).any()
    assert (code == CONVERGED).mean() > 0.98
    for j, k in enumerate(parents.good):
        y, times = parents.resamples(recipe, np.full(40, j), np.full(40, k), np.arange(40))
        weight = parents.weight[k] * np.sqrt(times)

        def chi2(z, y=y, weight=weight):
            value = exact_values(parents.family, z)
            model = np.array([data.model.evaluate(data.x, *row) for row in value])
            return ((weight * (y - model)) ** 2).sum(axis=1)

        assert (chi2(z[j]) <= chi2(np.repeat(start[j : j + 1], 40, axis=0)) * (1 + 1e-7))[code[j] == CONVERGED].all()
