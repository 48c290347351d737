"""g2 of clusters: against plain loops, numerical derivatives and the scatter between simulated repeats."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from xpcs_dask.physics.clusters import all_bins, cluster_g2, pooled, standard_error
from xpcs_dask.simulate.correlator import bin_g2, correlate
from xpcs_dask.simulate.frames import photon_counts
from xpcs_dask.simulate.multitau import schedule

DYNAMIC = np.array([[1, 1, 1, 0, 2, 2], [1, 1, 1, 1, 2, 2], [0, 1, 1, 1, 1, 2]])
STATIC = np.array([[1, 1, 2, 0, 3, 4], [1, 1, 2, 2, 3, 4], [0, 1, 2, 2, 2, 4]])


def sums_of(pixels, seed=0, delays=3):
    rng = np.random.default_rng(seed)
    return 0.5 + rng.random((3, delays, pixels))


def bin_pixels(dynamic, static, label, by, segments):
    """One bin."""
    (found,) = all_bins(dynamic, static, [label], by, segments)
    return found


def test_the_pooled_value_is_the_mean_over_static_bins_of_ratios_of_means():
    bin_ = bin_pixels(DYNAMIC, STATIC, 1, "pixel", 2)
    sums = sums_of(bin_.pixel.size)
    expected = []
    for label in (1, 2):
        part = sums[..., STATIC.ravel()[bin_.pixel] == label].mean(axis=-1)
        expected.append(part[0] / (part[1] * part[2]))
    np.testing.assert_allclose(pooled(sums, bin_)[0], np.mean(expected, axis=0), rtol=1e-14)


def test_one_static_bin_is_what_the_simulator_pools():
    bin_ = bin_pixels(np.ones((1, 9), int), np.ones((1, 9), int), 1, "pixel", 2)
    sums = sums_of(9)
    np.testing.assert_allclose(pooled(sums, bin_)[0], bin_g2(sums.swapaxes(1, 2))[0], rtol=1e-14)


def test_bins_take_their_pixels_in_order_of_static_bin_and_place():
    bin_ = bin_pixels(DYNAMIC, STATIC, 2, "static", 2)
    assert bin_.pixel.tolist() == [4, 10, 5, 11, 17]
    assert bin_.cluster.tolist() == [0, 0, 1, 1, 1]
    assert bin_.in_static.tolist() == [2, 3]


def test_segments_are_neighbours_and_share_every_static_bin():
    bin_ = bin_pixels(np.ones((1, 13), int), np.repeat([1, 2], [6, 7])[None], 1, "segment", 3)
    assert bin_.cluster.tolist() == [0, 0, 1, 1, 2, 2, 0, 0, 0, 1, 1, 2, 2]


def test_there_are_no_more_segments_than_pixels():
    bin_ = bin_pixels(DYNAMIC, STATIC, 2, "segment", 50)
    assert bin_.clusters == 5
    assert bin_.cluster.max() < 5


@pytest.mark.parametrize("by", ["pixel", "segment"])
@pytest.mark.parametrize("label", [1, 2])
def test_linear_values_average_to_g2_exactly(by, label):
    bin_ = bin_pixels(DYNAMIC, STATIC, label, by, 3)
    g2, clusters = cluster_g2(sums_of(bin_.pixel.size), bin_, by, "linear")
    assert clusters.shape == (3, bin_.clusters)
    np.testing.assert_allclose(clusters.mean(axis=-1), g2, rtol=1e-13)
    assert clusters.std(axis=-1).min() > 0.01


def test_linear_values_are_the_derivative_of_g2_by_the_weight_of_a_pixel():
    """One static bin: z_p - g2 = P x d g2 / d w_p, where w_p is the weight of pixel p in all means."""
    ones = np.ones((1, 6), int)
    bin_ = bin_pixels(ones, ones, 1, "pixel", 2)
    sums = sums_of(6)
    g2, clusters = cluster_g2(sums, bin_, "pixel", "linear")
    for p in range(6):
        step = 1e-6
        weight = np.full(6, (1 - step) / 6)
        weight[p] += step
        moved = sums @ weight
        slope = (moved[0] / (moved[1] * moved[2]) - g2) / step
        np.testing.assert_allclose(clusters[:, p] - g2, slope, rtol=1e-4)


def test_static_clusters_are_the_g2_of_static_bins():
    bin_ = bin_pixels(DYNAMIC, STATIC, 2, "static", 2)
    sums = sums_of(5)
    g2, clusters = cluster_g2(sums, bin_, "static", "ratio")
    means = sums[..., 2:].mean(axis=-1)
    np.testing.assert_allclose(clusters[:, 1], means[0] / (means[1] * means[2]), rtol=1e-14)
    np.testing.assert_allclose(clusters.mean(axis=-1), g2, rtol=1e-14)


def test_ratios_of_pixels_and_of_segments():
    bin_ = bin_pixels(DYNAMIC, STATIC, 1, "pixel", 2)
    sums = sums_of(bin_.pixel.size)
    sums[:, :, 3] = 0.0
    ratio = cluster_g2(sums, bin_, "pixel", "ratio")[1]
    assert np.isnan(ratio[:, 3]).all()
    np.testing.assert_allclose(ratio[:, 5], sums[0, :, 5] / (sums[1, :, 5] * sums[2, :, 5]), rtol=1e-14)
    bin_ = bin_pixels(DYNAMIC, STATIC, 1, "segment", 2)
    ratio = cluster_g2(sums, bin_, "segment", "ratio")[1]
    parts = [sums[..., (bin_.cluster == 1) & (bin_.static == s)].mean(axis=-1) for s in (0, 1)]
    np.testing.assert_allclose(ratio[:, 1], np.mean([m[0] / (m[1] * m[2]) for m in parts], axis=0), rtol=1e-14)


def test_a_segment_without_a_part_of_a_static_bin_takes_the_others():
    static = np.repeat([1, 2], [2, 6])[None]
    bin_ = bin_pixels(np.ones_like(static), static, 1, "segment", 4)
    assert bin_.cluster.tolist() == [0, 2, 0, 0, 1, 2, 2, 3]
    sums = sums_of(8)
    ratio = cluster_g2(sums, bin_, "segment", "ratio")[1]
    np.testing.assert_allclose(ratio[:, 3], sums[0, :, 7] / (sums[1, :, 7] * sums[2, :, 7]), rtol=1e-14)


def test_a_dark_static_bin_counts_as_zero_as_the_producer_has_it():
    bin_ = bin_pixels(DYNAMIC, STATIC, 2, "pixel", 2)
    sums = sums_of(5)
    sums[:, :, :2] = 0.0
    means = sums[..., 2:].mean(axis=-1)
    g2, clusters = cluster_g2(sums, bin_, "pixel", "linear")
    np.testing.assert_allclose(g2, 0.5 * means[0] / (means[1] * means[2]), rtol=1e-14)
    np.testing.assert_allclose(clusters[:, :2], g2[:, None] * np.ones(2), rtol=1e-13)


def test_the_standard_error_of_a_mean():
    values = np.random.default_rng(1).normal(size=(4, 7))
    np.testing.assert_allclose(standard_error(values), stats.sem(values, axis=-1), rtol=1e-13)
    values[0, 3:5] = np.nan
    np.testing.assert_allclose(standard_error(values)[0], stats.sem(values[0], nan_policy="omit"), rtol=1e-13)
    assert np.isnan(standard_error(values[:, :1])).all()


@pytest.fixture(scope="module")
def repeats():
    """Sums of 200 independent runs of one bin of 48 pixels in two static bins."""
    plan = schedule(256)
    static = np.repeat([1, 2], [12, 36])[None]
    runs = []
    for repeat in range(200):
        mean = np.full(256, 0.4)
        blocks = photon_counts(48, mean, 3, 8.0, seed=5, file=0, repeat=repeat, qbin=1)
        runs.append(np.concatenate([correlate(counts, plan) for counts in blocks], axis=1).swapaxes(1, 2))
    return static, plan, runs


@pytest.mark.parametrize(("by", "segments"), [("pixel", 2), ("segment", 12)])
def test_the_error_of_linear_values_is_the_scatter_between_runs(repeats, by, segments):
    """Truth: how the pooled g2 of independent runs differs. 200 runs tell it to 5 %."""
    static, plan, runs = repeats
    bin_ = bin_pixels(np.ones_like(static), static, 1, by, segments)
    found = [cluster_g2(sums, bin_, by, "linear") for sums in runs]
    truth = np.std([g2 for g2, _ in found], axis=0, ddof=1)
    said = np.sqrt(np.mean([standard_error(clusters) ** 2 for _, clusters in found], axis=0))
    used = plan.n_products >= 8
    ratio = said[used] / truth[used]
    assert 0.93 < ratio.mean() < 1.07
    assert ratio.min() > 0.8
    assert ratio.max() < 1.2


@pytest.mark.parametrize("kind", ["linear", "ratio"])
@pytest.mark.parametrize("by", ["pixel", "segment", "static"])
@pytest.mark.parametrize("piece", [1, 5, 20])
def test_the_bits_do_not_depend_on_the_pieces(monkeypatch, by, kind, piece):
    bin_ = bin_pixels(DYNAMIC, STATIC, 1, by, 3)
    sums = sums_of(bin_.pixel.size).astype(np.float32)
    whole = cluster_g2(sums, bin_, by, kind)
    np.testing.assert_allclose(whole[0], cluster_g2(sums.astype(np.float64), bin_, by, kind)[0], rtol=1e-14)
    monkeypatch.setattr("xpcs_dask.physics.clusters.PIECE", piece)
    for found, expected in zip(cluster_g2(sums, bin_, by, kind), whole, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_many_bins_are_found_in_one_go():
    both = all_bins(DYNAMIC, STATIC, [2, 1], "segment", 3)
    for label, bin_ in zip((2, 1), both, strict=True):
        alone = bin_pixels(DYNAMIC, STATIC, label, "segment", 3)
        assert (DYNAMIC.ravel()[bin_.pixel] == label).all()
        assert bin_.pixel.size == (label == DYNAMIC).sum()
        for name in ("pixel", "static", "cluster"):
            np.testing.assert_array_equal(getattr(bin_, name), getattr(alone, name))
