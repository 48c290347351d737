"""Ticks of logarithmic axes: few, round, and written as people write them."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure

from xpcs_dask.plots.ticks import PlainLog, PlainNumbers, logarithmic, plain


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (2e-5, 1.6, [1e-4, 1e-3, 1e-2, 1e-1, 1]),
        (0.003, 0.03, [0.003, 0.005, 0.007, 0.01, 0.02, 0.03]),
        (0.0027, 0.055, [0.005, 0.01, 0.02, 0.05]),
        (1.0, 1.7, [1.0, 1.2, 1.4, 1.6]),
        (1e-12, 1e12, [1e-12, 1e-8, 1e-4, 1, 1e4, 1e8, 1e12]),
    ],
)
def test_ticks_are_few_and_round(low, high, expected):
    ticks = PlainLog(7 if high == 1e12 else 6).tick_values(low, high)
    np.testing.assert_allclose(ticks, expected)


@pytest.mark.parametrize("seed", range(5))
def test_any_range_has_ticks_inside_it(seed):
    random = np.random.default_rng(seed)
    for low, span in zip(10 ** random.uniform(-9, 6, 50), random.uniform(0.02, 12, 50), strict=True):
        ticks = PlainLog(6).tick_values(low, low * 10**span)
        assert 2 <= len(ticks) <= 7
        assert ticks.min() >= low * (1 - 1e-6)
        assert ticks.max() <= low * 10**span * (1 + 1e-6)
        assert (np.diff(ticks) > 0).all()


def test_nothing_is_asked_of_an_axis_without_numbers():
    assert PlainLog().tick_values(0.0, 1.0).size == 0
    assert PlainLog().tick_values(np.nan, 1.0).size == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.02, "0.02"),
        (500.0, "500"),
        (1e-4, "0.0001"),
        (1e-5, "$10^{-5}$"),
        (3e-5, r"$3\times10^{-5}$"),
        (0.0, "0"),
        (-2.0, "−2"),
    ],
)
def test_numbers_are_written_plainly(value, text):
    assert plain(value) == text


def test_the_ticks_of_an_axis_are_written_alike():
    numbers = PlainNumbers()
    assert numbers.format_ticks([0.01, 0.1, 1.0]) == ["0.01", "0.1", "1"]
    assert numbers.format_ticks([1e-5, 0.01, 1.0]) == ["$10^{-5}$", "$10^{-2}$", "$10^{0}$"]
    assert numbers.format_ticks([]) == []


def test_a_small_panel_has_fewer():
    counts = []
    for inches in (4.0, 1.2):
        axes = Figure(figsize=(inches, 2.0)).subplots()
        logarithmic(axes, "x")
        axes.set_xlim(0.0025, 0.035)
        counts.append(len(axes.xaxis.get_majorticklocs()))
        boxes = [label.get_window_extent() for label in axes.xaxis.get_ticklabels()]
        assert all(one.x1 < other.x0 for one, other in pairwise(boxes))
    assert counts[0] > counts[1] >= 1


def test_an_axis_keeps_them_when_it_is_zoomed():
    axes = Figure(figsize=(9, 3)).subplots()
    logarithmic(axes, "x")
    for low, high in ((1e-5, 1.0), (0.01, 0.02)):
        axes.set_xlim(low, high)
        np.testing.assert_allclose(axes.xaxis.get_majorticklocs(), PlainLog().tick_values(low, high))
