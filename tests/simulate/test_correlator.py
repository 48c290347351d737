"""The correlator against sums written out, and its normalisation against what boost-corr stored."""

from fractions import Fraction

import h5py
import numpy as np
import pytest
from conftest import carried

from xpcs_dask.simulate.correlator import bin_g2, correlate, pixel_g2
from xpcs_dask.simulate.multitau import schedule


def written_out(counts, delay, level):
    """Exact means over all pairs of channels that are `delay` frames apart, for one pixel."""
    width = 2**level
    channels = [Fraction(int(sum(counts[k : k + width])), width) for k in range(0, len(counts) - width + 1, width)]
    lag = delay // width
    pairs = [(channels[i], channels[j]) for i in range(len(channels)) for j in range(len(channels)) if j - i == lag]
    n = len(pairs)
    return sum(a * b for a, b in pairs) / n, sum(a for a, _ in pairs) / n, sum(b for _, b in pairs) / n


@pytest.mark.parametrize("frames", [2, 13, 64, 149])
def test_equals_the_sums_written_out(frames):
    counts = np.random.default_rng(frames).poisson(1.7, (3, frames)).astype(float)
    plan = schedule(frames)
    sums = correlate(counts, plan)
    for p in range(3):
        for k, (delay, level) in enumerate(zip(plan.delay, plan.level, strict=True)):
            assert tuple(sums[:, p, k]) == tuple(float(v) for v in written_out(counts[p], int(delay), int(level)))


def test_pixels_do_not_see_each_other():
    counts = np.random.default_rng(0).poisson(0.5, (7, 500)).astype(float)
    plan = schedule(500)
    alone = np.concatenate([correlate(counts[k : k + 1], plan) for k in range(7)], axis=1)
    np.testing.assert_array_equal(correlate(counts, plan), alone)


def test_normalisation_of_the_producer():
    with h5py.File(carried("boost_corr/S0004_withG2_a0000_f002048_r00001_results.hdf")) as file:
        result, qmap = file["xpcs/multitau"], file["xpcs/qmap"]
        raw = result["unnormalized_G2"][:].astype(float)
        stored, stored_err = result["normalized_g2"][:], result["normalized_g2_err"][:]
        dynamic, static = qmap["dynamic_roi_map"][:], qmap["static_roi_map"][:]
    for label in range(1, dynamic.max() + 1):
        inside = np.unique(static[dynamic == label])
        ours = np.mean([bin_g2(raw[:, :, static == one].transpose(1, 2, 0))[0] for one in inside], axis=0)
        np.testing.assert_allclose(ours, stored[:, label - 1], rtol=3e-6)
        err = bin_g2(raw[:, :, dynamic == label].transpose(1, 2, 0))[1]
        np.testing.assert_allclose(err, stored_err[:, label - 1], rtol=2e-4, atol=1e-8)


def test_a_single_coincidence_has_the_error_that_the_producer_gives_it():
    """S0007: 1643 pixels, most of them dark, one coincidence: err = products / (photons^2 * pixels), dark ones as 0."""
    with h5py.File(carried("boost_corr/S0007_starved_a0014_f008192_r00001_results.hdf")) as file:
        err, delay = file["xpcs/multitau/normalized_g2_err"][5, 6], file["xpcs/multitau/delay_list"][5]
        pixels = int((file["xpcs/qmap/dynamic_roi_map"][:] == 7).sum())
    n = 8192 - delay
    photons = 2  # of the pixel that saw the pair
    counts = np.zeros((pixels, 8192))
    counts[3, [1000, 1000 + delay]] = 1
    counts[5, 77] = 1
    plan = schedule(8192)
    ours = bin_g2(correlate(counts, plan))[1][plan.delay == delay][0]
    np.testing.assert_allclose([ours, err], n / photons**2 / pixels, rtol=1e-5)


def test_dark_pixels():
    plan = schedule(32)
    counts = np.zeros((4, 32))
    counts[0] = 2
    sums = correlate(counts, plan)
    assert np.isnan(pixel_g2(sums)[1:]).all()
    assert (pixel_g2(sums)[0] == 1).all()
    g2, err = bin_g2(sums, "pixel")
    assert (g2 == 1).all()
    assert (err == 0).all()
    assert (bin_g2(sums)[0] == 4).all()
    assert [v.tolist() for v in bin_g2(correlate(counts[1:], plan))] == [[0.0] * plan.delay.size] * 2


def test_mean_of_pixels_and_its_error():
    counts = np.random.default_rng(3).poisson(3.0, (9, 300)).astype(float)
    plan = schedule(300)
    sums = correlate(counts, plan)
    single = sums[0] / sums[1] / sums[2]
    g2, err = bin_g2(sums, "pixel")
    np.testing.assert_allclose(g2, single.mean(0), rtol=1e-12)
    np.testing.assert_allclose(err, single.std(0, ddof=1) / 3, atol=1e-14)
    assert bin_g2(sums[:, :1], "pixel")[1].max() == bin_g2(sums[:, :1])[1].max() == 0
