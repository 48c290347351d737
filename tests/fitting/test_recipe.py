"""What resamples are made of: every scheme by hand, and compiled draws beside those of NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from xpcs_dask.config import FitConfig
from xpcs_dask.fitting.models import SINGLE
from xpcs_dask.fitting.parents import make_parents
from xpcs_dask.fitting.recipe import SCHEMES, block_length
from xpcs_dask.fitting.resample import indices, normals, signs, words
from xpcs_dask.fitting.strategy import fit_stack

RNG = np.random.default_rng(4)
X = np.geomspace(1e-4, 1.0, 29)
LOWER, UPPER = np.array([0.0, 1e-6, 0.2, 0.5]), np.array([1.0, 1e2, 3.0, 1.5])
SIGMA = 0.004 * (1 + RNG.random((3, X.size)))
CLUSTERS = SINGLE.evaluate(X, 0.2, 0.02, 0.9, 1.0) + 3 * SIGMA[:, None] * RNG.normal(size=(3, 12, X.size))
Y = CLUSTERS.mean(axis=1)
IDS = np.array([5, 2**63 + 11, 7], np.uint64)
SEED = 2**40 + 1


def parents(scheme, y=Y, sigma=SIGMA, clusters=CLUSTERS, x=X):
    weight = 1 / sigma
    config = FitConfig()
    rows = fit_stack(x, y, weight, SINGLE, config, LOWER, UPPER)
    return make_parents(x, y, weight, SINGLE, config, LOWER, UPPER, rows, scheme, IDS[: len(y)], SEED, clusters)


def one(group, curve=1, replicate=3):
    """A resample as it is fitted: y and multiplicities (m,)."""
    y, times = group.resamples(group.recipe(group.good), *(np.array([k]) for k in (curve, curve, replicate)))
    return y[0], times[0]


def leverage(group, curve):
    jacobian = SINGLE.jacobian(X, *group.value[curve]) / SIGMA[curve][:, None]
    return np.einsum("ij,ij->i", jacobian @ np.linalg.inv(jacobian.T @ jacobian), jacobian)


def fit(group, curve=1):
    return SINGLE.evaluate(X, *group.value[curve])


def drawn(number, curve=1, replicate=3):
    return words(SEED, int(IDS[curve]), replicate, number)


def test_clusters_move_the_curve_by_what_their_mean_moves():
    y, times = one(parents("cluster"))
    chosen = CLUSTERS[1, indices(drawn(12), 12)]
    np.testing.assert_allclose(y, Y[1] + chosen.mean(axis=0) - CLUSTERS[1].mean(axis=0), rtol=1e-13)
    assert (times == 1).all()


def test_clusters_with_gaps_count_where_they_have_a_value():
    clusters = CLUSTERS.copy()
    clusters[1, 2] = np.nan  # no cluster at all
    clusters[1, 4, 5:9] = clusters[1, 7, 20] = np.nan
    y, _ = one(parents("cluster", clusters=clusters))
    own = np.delete(clusters[1], 2, axis=0)
    chosen = own[indices(drawn(11), 11)]
    expected = Y[1] + np.nanmean(chosen, axis=0) - np.nanmean(own, axis=0)
    np.testing.assert_allclose(y, expected, rtol=1e-13)


def test_residuals_are_standardised_centred_and_put_back_with_the_sigma_of_the_point():
    group = parents("residual")
    y, _ = one(group)
    pool = (Y[1] - fit(group)) / SIGMA[1] / np.sqrt(1 - leverage(group, 1))
    pool -= pool.mean()
    np.testing.assert_allclose(y, fit(group) + SIGMA[1] * pool[indices(drawn(29), 29)], rtol=1e-10)


def test_wild_gives_a_sign_to_the_residual_over_one_less_leverage():
    group = parents("wild")
    y, _ = one(group)
    noise = (Y[1] - fit(group)) / (1 - leverage(group, 1))
    np.testing.assert_allclose(y, fit(group) + signs(drawn(29)) * noise, rtol=1e-10)


def test_parametric_adds_normal_noise_of_the_stated_size():
    group = parents("parametric")
    y, _ = one(group)
    np.testing.assert_allclose(y, fit(group) + SIGMA[1] * normals(drawn(58)), rtol=1e-12)


def test_pairs_draws_points():
    y, times = one(parents("pairs"))
    np.testing.assert_allclose(y, Y[1], rtol=1e-14)
    assert times.tolist() == np.bincount(indices(drawn(29), 29), minlength=29).tolist()


def test_blocks_are_runs_of_neighbours():
    group = parents("blocks")
    y, _ = one(group)
    pool = (Y[1] - fit(group)) / SIGMA[1] / np.sqrt(1 - leverage(group, 1))
    pool -= pool.mean()
    length = 5
    begin = indices(drawn(29)[:6], 29 - length + 1)
    source = np.concatenate([np.arange(b, b + length) for b in begin])[:29]
    np.testing.assert_allclose(y, fit(group) + SIGMA[1] * pool[source], rtol=1e-10)


def test_order_of_the_columns_does_not_matter_but_that_of_delays():
    shuffled = np.random.default_rng(1).permutation(X.size)
    for scheme in ("blocks", "residual", "pairs"):
        y, times = one(parents(scheme))
        mixed, often = one(parents(scheme, Y[:, shuffled], SIGMA[:, shuffled], None, X[shuffled]))
        np.testing.assert_allclose(mixed, y[shuffled], rtol=1e-7)
        assert often.tolist() == times[shuffled].tolist()


def test_block_length_is_six_of_fifty():
    assert block_length(np.array([50, 36, 64, 8, 1])).tolist() == [6, 5, 6, 3, 1]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_numpy_and_compiled_draw_the_same(scheme):
    y, clusters, sigma = Y.copy(), CLUSTERS.copy(), SIGMA.copy()
    y[0, 3] = np.nan
    sigma[1, 7:9] = np.inf
    clusters[2, 4, 5:9] = np.nan
    shuffled = np.random.default_rng(1).permutation(X.size)
    group = parents(scheme, y[:, shuffled], sigma[:, shuffled], clusters[:, :, shuffled], X[shuffled])
    recipe = group.recipe(group.good)
    rows, numbers = np.repeat(np.arange(3), 5), np.tile(np.arange(5), 3)
    found, times = group.resamples(recipe, rows, rows, numbers)
    for k, (j, b) in enumerate(zip(rows, numbers, strict=True)):
        expected, often = recipe.draw(j, SEED, int(IDS[j]), int(b))
        unpacked = recipe.unpacked(np.array([j]), (expected + recipe.mean[j])[None], X.size)[0]
        used = group.weight[j] > 0
        used &= np.isfinite(y[j, shuffled])
        np.testing.assert_allclose(found[k][used], unpacked[used], rtol=1e-12)
        assert times[k][used].tolist() == recipe.unpacked(np.array([j]), often[None], X.size)[0][used].tolist()
        assert used.sum() == recipe.used[j]


@pytest.mark.parametrize("scheme", [s for s in SCHEMES if s != "cluster"])
def test_points_that_are_not_used_stay_out(scheme):
    """The used points of a curve are resampled as if the others had never been measured."""
    sigma = SIGMA.copy()
    sigma[:, [0, 6, 13, 28]] = np.inf
    keep = np.isfinite(sigma[0])
    whole, times = one(parents(scheme, sigma=sigma))
    part, times_part = one(parents(scheme, Y[:, keep], SIGMA[:, keep], None, X[keep]))
    np.testing.assert_allclose(whole[keep], part, rtol=1e-7)
    assert times[keep].tolist() == times_part.tolist()
