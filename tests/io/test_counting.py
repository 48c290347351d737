from __future__ import annotations

import numpy as np
import pytest

from xpcs_dask.io.counting import nested_bins, pair_rate, schedule


def correlated(frames: int, per_level: int) -> list[tuple[int, int, int]]:
    """Run a multi-tau correlator that only counts: (delay, level, products) of each channel that is ever filled."""
    found, level, length = [], 0, frames
    while length > 1:
        first = 1 if level == 0 else per_level + 1
        for lag in range(first, 2 * per_level + 1):
            products = sum(1 for i in range(length) if i + lag < length)
            if products:
                found.append((lag << level, level, products))
        level, length = level + 1, length // 2
    return found


@pytest.mark.parametrize("frames", [12, 24, 100, 1000, 4096, 8193])
@pytest.mark.parametrize("per_level", [4, 8])
def test_schedule_counts_what_a_correlator_multiplies(frames: int, per_level: int) -> None:
    delay, level, products = map(np.array, zip(*correlated(frames, per_level), strict=True))
    found_level, found = schedule(delay, frames)
    np.testing.assert_array_equal(found_level, level)
    np.testing.assert_array_equal(found, products)


def test_schedule_of_a_facility_run() -> None:
    """100 000 frames: 61 delays, the last three of 5, 4 and ... products of 5-8 channels of 2**14 frames."""
    delay = np.array([*range(1, 9), *(k << level for level in range(1, 14) for k in range(5, 9)), 81920])
    level, products = schedule(delay, 100_000)
    assert delay.size == 61
    assert level[-1] == 14
    np.testing.assert_array_equal(products[-3:], [5, 4, 1])


@pytest.mark.parametrize("delay", [[2, 3, 4], [1, 2, 3, 4, 5, 6, 7, 8, 9, 11], [0, 0, 0], [1, 1, 2], [1, 2**62]])
def test_other_lists_are_unknown(delay: list[int]) -> None:
    level, products = schedule(np.array(delay), 1000)
    assert np.isnan(level).all()
    assert np.isnan(products).all()


def test_frames_too_few_or_unknown() -> None:
    delay = np.array([1, 2, 3, 4, 5, 6, 7, 8, 10])
    for frames in (11, np.nan):
        level, products = schedule(delay, frames)
        np.testing.assert_array_equal(level, [0] * 8 + [1])
        assert np.isnan(products).all()


def test_nested_bins() -> None:
    dynamic = np.array([[1, 1, 1, 2], [2, 0, 2, 0]])
    static = np.array([[1, 1, 2, 3], [5, 4, 5, 0]])
    pixels, parent = nested_bins(dynamic, static, 6)
    np.testing.assert_array_equal(pixels, [2, 1, 1, 1, 2, 0])
    np.testing.assert_array_equal(parent, [1, 1, 2, 0, 2, 0])
    static[0, 3] = 1
    assert nested_bins(dynamic, static, 6)[1][0] == -1


def test_pair_rate_is_the_inverse_variance_of_counting() -> None:
    """Uncorrelated Poisson counts, normalised as boost-corr does: var(g2) of one product is 1 / rate."""
    rng = np.random.default_rng(5)
    pixels, counts = np.array([40, 10, 25]), np.array([0.3, 0.6, 0.2])
    parent = np.array([1, 1, 1])
    trials = 40_000
    g2 = np.zeros(trials)
    for number, mean in zip(pixels, counts, strict=True):
        product = rng.poisson(mean, (trials, number)) * rng.poisson(mean, (trials, number))
        g2 += product.mean(1) / mean**2 / pixels.size
    rate = pair_rate(pixels, parent, counts, 1)[0]
    bunching = sum((2 / mean) / number for number, mean in zip(pixels, counts, strict=True)) / pixels.size**2
    assert g2.var() == pytest.approx(1 / rate + bunching, rel=0.04)  # 40 000 trials: s.e. 1-2 %


def test_pair_rate_without_photons_or_bins() -> None:
    pixels, parent = np.array([10, 10, 10, 10]), np.array([1, 1, 2, 4])
    rate = pair_rate(pixels, parent, np.array([0.1, 0.0, 0.1, np.nan]), 4)
    np.testing.assert_array_equal(rate, [0.0, 10 * 0.1**2, np.nan, np.nan])
    assert np.isnan(pair_rate(pixels, np.array([1, 1, -1, 2]), np.ones(4), 2)).all()
