"""Intervals hold the truth as often as they say, through the public verbs; and the benchmark counts rightly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm, t

from tests.benchmarks import coverage
from tests.benchmarks.coverage import Speckle, Way, measure, tables

PIXELS, ALONE, INDEPENDENT = tables(quick=False, experiments=300).values()


def some(cell, *names, **changes):
    """One cell with a few of its ways."""
    ways = tuple(way for way in cell.ways if way.name in names)
    assert len(ways) == len(names)
    return replace(cell, ways=ways, **changes)


def planted(intervals):
    """Return a cell whose intervals of (contrast, tau, baseline) are given, and the piece that holds them."""
    cell = replace(ALONE[0], ways=(Way(name="a"),), truth={"tau": 1.0})
    return cell, {"a": np.array([[[0, 0], ends, [0, 0]] for ends in intervals], float)}


def test_intervals_are_counted():
    cell, piece = planted(
        [(0.5, 2), (1.0, 2), (0.5, 1.0), (1.1, 2), (0.1, 0.9), (np.nan, np.nan), (0.5, np.inf), (2, 0.5)]
    )
    assert cell.covered([piece]) == {"a": {"tau": 37.5}}
    assert cell.covered([piece, planted([(0.5, 2)] * 8)[1]]) == {"a": {"tau": 68.75}}


def test_pieces_make_up_the_whole():
    given = Speckle(pixels=3, counts=0.5, tau=30.0, clusters=True)
    whole, rest = (coverage.speckle(given, first, number) for first, number in ((0, 3), (2, 1)))
    np.testing.assert_array_equal(whole["g2_cluster"][2], rest["g2_cluster"][0])
    assert float(whole["true_value"].sel(parameter="tau")[0, 0]) == pytest.approx(0.03)
    for kind in coverage.KINDS:
        whole, rest = (coverage.independent(kind, first, number) for first, number in ((0, 3), (2, 1)))
        for name in ("g2", "g2_err", "curve_id"):
            np.testing.assert_array_equal(whole[name][2], rest[name][0])


@pytest.mark.parametrize("kind", coverage.KINDS)
def test_errors_are_told_as_the_name_says(kind):
    data = coverage.independent(kind, 0, 400)
    truth = coverage.SINGLE.evaluate(coverage.DELAY, *coverage.TRUTH.values())
    noise = (data["g2"].values[:, 0] - truth) / coverage.SIGMA
    median = t(3).ppf(0.75) / np.sqrt(3) if kind == "t3 noise" else norm.ppf(0.75)
    assert np.median(np.abs(noise)) == pytest.approx(median, rel=0.03)
    told = data["g2_err"].values[:, 0] / coverage.SIGMA
    expected = {"half": 0.5, "double": 2.0, "flat": coverage.SIGMA.mean() / coverage.SIGMA}.get(kind, 1.0)
    np.testing.assert_allclose(np.sqrt(np.mean(told**2, axis=0)), np.broadcast_to(expected, 50), rtol=0.1)


def test_default_intervals_of_independent_delays_and_what_trust_in_errors_costs():
    wald = 'fit, errors="quoted", covariance="wald"'
    as_stated, half = measure([some(cell, "fit (default)", wald) for cell in INDEPENDENT[:2]])
    for cell in (as_stated, half):
        assert 91 <= cell["fit (default)"]["tau"] <= 98.5
        assert 91 <= cell["fit (default)"]["stretch"] <= 98.5
    assert 91 <= as_stated[wald]["tau"] <= 98
    assert half[wald]["tau"] < 75


@pytest.mark.slow
def test_intervals_from_pixels():
    names = ("fit (default)", "bootstrap (default)", "fit without pixels (theory)")
    wald = 'fit, errors="quoted", covariance="wald"'
    (found,) = measure([some(PIXELS[2], *names, wald, resamples=299)])
    for name in names:
        for one in found[name].values():
            assert 89 <= one <= 98.5
    assert found[wald]["tau"] < 80


@pytest.mark.slow
@pytest.mark.parametrize("cell", [ALONE[1], ALONE[-1]], ids=lambda cell: cell.name)
def test_intervals_from_theory(cell):
    (found,) = measure([some(cell, "fit (default: theory)", 'fit, covariance="wald"')])
    assert 91 <= found["fit (default: theory)"]["tau"] <= 99
    assert found['fit, covariance="wald"']["tau"] < 85
