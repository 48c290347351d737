import numpy as np
import pytest

from xpcs_dask.fitting.layout import Flag
from xpcs_dask.reporting.picks import BEST, EXAMPLES, FAILED, SAMPLE, WORST, Picks
from xpcs_dask.reporting.slabs import slabs
from xpcs_dask.reporting.source import opened
from xpcs_dask.reporting.tally import Tally, contrast_of, mostly

from .conftest import NOISE


def test_the_slope_of_contrast_is_that_of_weighted_least_squares():
    rng = np.random.default_rng(1)
    q = np.geomspace(0.003, 0.03, 40)
    error = rng.uniform(0.002, 0.01, 40)
    value = 0.2 - 0.03 * np.log(q / 0.01) + error * rng.standard_normal(40)
    found = contrast_of(value, error, q)
    (slope, _), covariance = np.polyfit(np.log(q), value, 1, w=1 / error, cov="unscaled")
    rest = (value - np.polyval(np.polyfit(np.log(q), value, 1, w=1 / error), np.log(q))) / error
    scale = max(1.0, (rest**2).sum() / 38)
    assert found.slope == pytest.approx(slope / np.median(value), rel=1e-9)
    assert found.error == pytest.approx(np.sqrt(scale * covariance[0, 0]) / np.median(value), rel=1e-9)
    assert (found.trend, found.curves) == (-1, 40)


def test_scatter_without_a_trend_is_no_trend():
    rng = np.random.default_rng(2)
    trends = [
        contrast_of(0.2 + 0.02 * rng.standard_normal(20), np.full(20, 0.001), np.geomspace(0.003, 0.03, 20)).trend
        for _ in range(200)
    ]
    assert np.count_nonzero(trends) <= 6  # three standard errors, 18 degrees of freedom: 0.8 % are expected


def test_few_or_no_curves_have_no_slope():
    assert np.isnan(contrast_of(np.array([0.2, 0.3, np.nan]), np.full(3, 0.01), np.array([1.0, 2, 3])).slope)
    assert contrast_of(np.full(3, np.nan), np.full(3, np.nan), np.ones(3)).curves == 0


def test_counts_are_those_of_the_store(run, fits):
    source = opened(run / "fits.zarr")
    tally = Tally(3)
    for slab in slabs(source):
        tally.add(slab)
    for flag, number in tally.flag_counts().items():
        assert number == int(((fits["flags"] & int(flag)) != 0).sum())
    assert tally.verdicts.sum(axis=1).tolist() == [8, 8, 8]
    reduced = (fits["chi2"] / fits["dof"].where(fits["dof"] > 0)).values
    np.testing.assert_allclose(tally.median_chi2, np.nanmedian(reduced, axis=1))
    np.testing.assert_allclose(tally.chi2_quantiles(0.05, 0.5), np.nanquantile(reduced, [0.05, 0.5]), rtol=1e-6)
    assert tally.q == (float(fits["q"].min()), float(fits["q"].max()))


def test_files_with_most_come_first():
    assert mostly(np.array([0, 5, 2, 9, 1]), list("abcde")) == [("d", 9), ("b", 5), ("c", 2)]
    assert mostly(np.array([0, 0]), ["a", "b"]) == []


@pytest.fixture(scope="module")
def chosen(run):
    source = opened(run / "fits.zarr")
    picks = Picks(source.curves)
    for slab in slabs(source):
        picks.add(slab)
    return dict(picks.chosen())


def test_no_curve_is_drawn_twice_and_their_number_is_bounded(chosen):
    numbers = [pick.number for picked in chosen.values() for _, pick in picked]
    assert len(numbers) == len(set(numbers)) <= WORST + BEST + SAMPLE + EXAMPLES + FAILED


def test_the_worst_have_the_largest_chi2_of_curves_with_a_decay(chosen, fits):
    reduced = (fits["chi2"] / fits["dof"].where(fits["dof"] > 0)).where(
        (fits["flags"] & int(Flag.NO_SIGNAL)) == 0
    ).values.ravel()  # fmt: skip
    worst = [pick.number for reason, pick in chosen["worst"] if "chi" in reason]
    assert worst == np.argsort(-np.nan_to_num(reduced), kind="stable")[:WORST].tolist()
    assert [pick.number for reason, pick in chosen["worst"] if "no fit" in reason] == [2]


def test_the_best_have_the_smallest_relative_error(chosen, fits):
    relative = (fits["stderr"] / fits["value"]).sel(parameter="tau").values.ravel()
    relative[(fits["flags"].values.ravel() & ~np.uint32(Flag.POINTS_EXCLUDED)) != 0] = np.nan
    order = [at for at in np.argsort(relative) if at not in {pick.number for _, pick in chosen["worst"]}]
    best = [pick.number for _, pick in chosen["best"]]
    assert set(best) <= set(order[: BEST + WORST])
    assert best


def test_an_example_has_the_fewest_other_flags(chosen):
    examples = {reason: (pick.file, pick.at["qbin"]) for reason, pick in chosen["examples"]}
    assert examples["an example of “no signal”"] == NOISE
    assert examples["an example of “slow for the run”"] == (0, 0)
