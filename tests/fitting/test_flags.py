"""Each flag is set where it should be, and only there."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2 as chi2_distribution

from xpcs_dask.config import FitConfig
from xpcs_dask.fitting.flags import flags_of, slow
from xpcs_dask.fitting.generic import empty_rows
from xpcs_dask.fitting.layout import Flag, Status
from xpcs_dask.fitting.models import SINGLE

X = np.geomspace(1e-3, 1, 20)


def flagged(config=None, weight=None, y=None, lower=None, upper=None, **fields):
    rows = empty_rows(1, SINGLE)
    rows["n_used"] = 20 if weight is None else (weight > 0).sum()
    plain = {
        "value": [0.2, 0.1, 0.9, 1.0],
        "stderr": 0.01,
        "chi2": 16.0,
        "dof": 16,
        "status": Status.CONVERGED,
    }
    for name, content in (plain | fields).items():
        rows[name] = content
    box = SINGLE.box(X)
    weight = np.ones((1, 20)) if weight is None else weight
    y = np.ones((1, 20)) if y is None else y
    low, high = box[0] if lower is None else lower, box[1] if upper is None else upper
    return Flag(int(flags_of(rows, X, y, weight, low, high, SINGLE, config or FitConfig())[0]))


def test_good_curve_has_none():
    assert flagged() == Flag(0)


def test_earlier_flags_stay():
    assert flagged(flags=Flag.STARTS_DISAGREE) == Flag.STARTS_DISAGREE


@pytest.mark.parametrize("contrast", [0.0, 1.0])
def test_at_bound(contrast):
    found = flagged(value=[contrast, 0.1, 0.9, 1.0], stderr=[np.nan, 0.1, 0.1, 0.1])
    assert found == Flag.AT_BOUND


def test_held_parameter_is_not_at_a_bound():
    lower, upper = SINGLE.box(X, fixed={"stretch": 0.9})
    assert flagged(lower=lower, upper=upper, stderr=[0.1, 0.1, 0.0, 0.1]) == Flag(0)


def test_unknown_error_is_unidentifiable():
    assert flagged(stderr=[0.1, np.nan, 0.1, 0.1]) == Flag.UNIDENTIFIABLE


@pytest.mark.parametrize(("tau", "expected"), [(0.9e-3, True), (1.1e-3, False), (0.9, False), (1.1, True)])
def test_relaxation_time_outside_the_delays(tau, expected):
    assert (Flag.UNIDENTIFIABLE in flagged(value=[0.2, tau, 0.9, 1.0])) == expected


def test_relaxation_time_outside_the_used_delays():
    weight = np.ones((1, 20))
    weight[0, X > 0.05] = 0.0
    assert Flag.UNIDENTIFIABLE in flagged(weight=weight)


def test_held_relaxation_time_is_nobodys_fault():
    lower, upper = SINGLE.box(X, fixed={"tau": 50.0})
    assert flagged(lower=lower, upper=upper, value=[0.2, 50.0, 0.9, 1.0]) == Flag(0)


def test_poor_fit_has_its_level():
    limit = chi2_distribution.isf(1e-6, 16)
    assert flagged(chi2=limit * 1.001) == Flag.POOR_FIT
    assert flagged(chi2=limit * 0.999) == Flag(0)


@pytest.mark.parametrize(
    "config",
    [FitConfig(absolute_sigma=False), FitConfig(errors="none"), FitConfig(covariance="scaled")],
    ids=["relative", "none", "scaled"],
)
def test_poor_fit_needs_absolute_errors(config):
    assert flagged(config, chi2=1e6) == Flag(0)


def test_one_point_dominates():
    weight = np.ones((1, 20))
    weight[0, 3] = np.sqrt(19 / 3) * 1.001
    assert flagged(weight=weight) == Flag.ONE_POINT_DOMINATES
    weight[0, 3] = np.sqrt(19 / 3) * 0.999
    assert flagged(weight=weight) == Flag(0)


def test_points_excluded_are_finite_ones():
    weight, y = np.ones((1, 20)), np.ones((1, 20))
    weight[0, 5], y[0, 5] = 0.0, np.nan
    assert flagged(weight=weight, y=y) == Flag(0)
    weight[0, 6] = 0.0
    assert flagged(weight=weight, y=y) == Flag.POINTS_EXCLUDED


def test_failed_curve_keeps_only_what_is_known_of_its_points():
    weight = np.zeros((1, 20))
    nan = {"value": np.nan, "stderr": np.nan, "chi2": np.nan}
    assert flagged(weight=weight, status=Status.NO_DATA, **nan) == Flag.POINTS_EXCLUDED
    assert flagged(status=Status.NOT_CONVERGED, **nan) == Flag(0)


def test_all_curves_at_once():
    rows = empty_rows(3, SINGLE)
    rows["value"], rows["stderr"], rows["chi2"], rows["dof"], rows["status"] = [0.2, 0.1, 0.9, 1.0], 0.01, 16, 16, 1
    rows["chi2"][1] = 1e4
    rows["value"][2, 0] = 1.0
    found = flags_of(rows, X, np.ones((3, 20)), np.ones((3, 20)), *SINGLE.box(X), SINGLE, FitConfig())
    assert found.dtype == np.uint32
    assert found.tolist() == [0, Flag.POOR_FIT, Flag.AT_BOUND]


def test_no_curves():
    none = np.ones((0, 20))
    assert flags_of(empty_rows(0, SINGLE), X, none, none, *SINGLE.box(X), SINGLE, FitConfig()).shape == (0,)


@pytest.mark.parametrize("status", [s for s in Status if s != Status.CONVERGED])
def test_failed_curve_drops_what_was_noted_on_the_way(status):
    nan = {"value": np.nan, "stderr": np.nan, "chi2": np.nan}
    noted = Flag.STARTS_DISAGREE | Flag.POINTS_EXCLUDED | Flag.AT_BOUND
    assert flagged(status=status, flags=noted, **nan) == Flag.POINTS_EXCLUDED


def test_few_points_for_the_parameters():
    assert flagged(n_used=8, dof=4) == Flag(0)
    assert flagged(n_used=7, dof=3) == Flag.FEW_POINTS


@pytest.mark.parametrize(
    ("run", "reached", "tau", "late"),
    [
        (10.0, 1.0, 0.9, False),
        (10.0, 1.0, 1.1, True),
        (np.nan, 1.0, 0.09, False),
        (np.nan, 1.0, 0.11, True),
        (np.nan, 0.5, 0.09, True),
        (None, 1.0, 0.11, True),
    ],
)
def test_slow_is_longer_than_a_tenth_of_the_run(run, reached, tau, late):
    rows = empty_rows(1, SINGLE)
    rows["value"] = [0.2, tau, 0.9, 1.0]
    y = np.where(reached >= X, 1.0, np.nan)[None]
    told = None if run is None else np.array([[run]])
    assert bool(slow(rows, SINGLE, y, X, told)[0] & Flag.SLOW) == late
