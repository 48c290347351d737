"""Rounds of refits: they stop when the ends are known, curve by curve, whoever else is in the call."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from xpcs_dask.config import BootstrapConfig
from xpcs_dask.fitting import adaptive as module
from xpcs_dask.fitting.adaptive import ROUND, Intervals, adaptive, enough, summarise
from xpcs_dask.fitting.intervals import Ends, Mark, Parents
from xpcs_dask.fitting.models import SIMPLE

VALUE = np.array([0.2, 0.01, 1.0])
KINDS = np.array(["percentile", "t", "basic", "percentile", "studentised", "percentile"])


class Drawn:
    """Replicates that depend on the curve and their number alone; remembers what was asked for."""

    def __init__(self, n=6, cap=5000):
        rng = np.random.default_rng(5)
        self.all = VALUE * np.exp(0.05 * rng.normal(size=(n, cap, 3)))
        self.calls = []

    def __call__(self, first, last, rows):
        self.calls.append((first, last, rows.tolist()))
        return self.all[rows, first:last], 0.05 * self.all[rows, first:last]


def parents(n=6):
    """Fits that differ a little."""
    lower, upper = SIMPLE.box(np.geomspace(1e-5, 1, 20))
    value = VALUE * (1.0 + 1e-3 * np.arange(n)[:, None])
    return Parents(model=SIMPLE, value=value, lower=lower, upper=upper, stderr=0.05 * value)


def same(one: Intervals, other: Intervals):
    for field in fields(one):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), field.name)


def rows_of(found, k):
    return Intervals(*(getattr(found, f.name)[k : k + 1] for f in fields(found)))


def covariance_in_ln_tau(replicates, tau):
    """Covariance of (contrast, ln tau, baseline), carried to tau at the estimate."""
    unit = np.array([1.0, tau, 1.0])
    return np.cov(np.column_stack([replicates[:, 0], np.log(replicates[:, 1]), replicates[:, 2]]).T) * np.outer(
        unit, unit
    )


def test_a_curve_stops_at_the_first_round_that_is_enough():
    draw, config = Drawn(), BootstrapConfig(max_resamples=5000)
    found = adaptive(draw, parents(), KINDS, config)
    assert found.reached.all()
    for k in range(6):
        made = int(found.resamples[k])
        assert made % ROUND == 0
        one = parents().take(np.array([k]))
        for last in range(ROUND, made + 1, ROUND):
            some, errors = draw.all[k : k + 1, :last], 0.05 * draw.all[k : k + 1, :last]
            there = summarise(some, one, KINDS[k], replicate_stderr=errors)
            assert there.reached[0] == (last == made)
        assert not np.isnan(found.lower[k]).any()
        np.testing.assert_array_equal(there.lower, found.lower[k : k + 1])
        np.testing.assert_array_equal(there.upper, found.upper[k : k + 1])
        expected = covariance_in_ln_tau(draw.all[k, :made], parents().value[k, 1])
        np.testing.assert_allclose(found.covariance[k], expected, rtol=1e-10, atol=1e-18)
        np.testing.assert_allclose(found.deviation[k], np.sqrt(np.diag(expected)), rtol=1e-12)
    assert found.replicates.shape == (6, 0, 3)


def test_normal_replicates_need_about_as_many_as_theory_says():
    """1.86/eps^2 (statistics of order) for percentiles, t/2/eps^2 for t; each of three parameters has to get there."""
    draw, config = Drawn(60, 4000), BootstrapConfig(max_resamples=4000)
    percentile = adaptive(draw, parents(60), "percentile", config).resamples
    t = adaptive(draw, parents(60), "t", config).resamples
    assert 743 <= np.median(percentile) <= 1750
    assert np.median(t) == 250
    loose = adaptive(draw, parents(60), "percentile", BootstrapConfig(max_resamples=4000, tolerance=0.1)).resamples
    assert np.median(loose) in (250, 500)


def test_curves_that_are_done_are_not_drawn_again():
    draw = Drawn()
    found = adaptive(draw, parents(), KINDS, BootstrapConfig(max_resamples=5000))
    for first, last, rows in draw.calls:
        assert last - first == ROUND
        assert rows == np.flatnonzero(found.resamples >= last).tolist()


def test_the_answer_of_a_curve_does_not_depend_on_the_others(monkeypatch):
    config = BootstrapConfig(max_resamples=3000, keep_replicates=True)
    together = adaptive(Drawn(), parents(), KINDS, config)
    draw = Drawn()
    for k in range(6):
        one = adaptive(
            lambda first, last, rows, k=k: draw(first, last, rows + k), parents().take(np.array([k])), KINDS[k], config
        )
        same(one, rows_of(together, k))
    monkeypatch.setattr(module, "GROUP_BYTES", 2 * 3000 * 3 * 8)
    same(adaptive(Drawn(), parents(), KINDS, config), together)


def test_kept_replicates_are_those_drawn_and_nan_beyond():
    draw, config = Drawn(), BootstrapConfig(max_resamples=2000, keep_replicates=True)
    found = adaptive(draw, parents(), "percentile", config)
    assert found.replicates.shape == (6, 2000, 3)
    for k in range(6):
        made = found.resamples[k]
        np.testing.assert_array_equal(found.replicates[k, :made], draw.all[k, :made])
        assert np.isnan(found.replicates[k, made:]).all()


def test_a_number_of_resamples_is_drawn_as_asked():
    draw = Drawn()
    found = adaptive(draw, parents(), "percentile", BootstrapConfig(resamples=399))
    assert draw.calls == [(0, 399, list(range(6)))]
    assert (found.resamples == 399).all()
    expected = np.quantile(draw.all[:, :399, 0], 0.025, axis=1, method="weibull")
    np.testing.assert_allclose(found.lower[:, 0], expected, rtol=1e-12)
    assert not found.reached.any()


def test_the_cap_ends_it_and_is_told():
    draw = Drawn()
    found = adaptive(draw, parents(), "percentile", BootstrapConfig(max_resamples=600, tolerance=0.01))
    assert [call[:2] for call in draw.calls] == [(0, 250), (250, 500), (500, 600)]
    assert (found.resamples == 600).all()
    assert not found.reached.any()
    assert np.isfinite(found.lower).all()


def test_curves_without_a_fit_are_not_drawn_and_those_that_never_refit_are_given_up():
    draw, fits = Drawn(), parents()
    fits.value[2] = np.nan
    draw.all[4] = np.nan
    draw.all[5, ::3, 1] = np.nan
    found = adaptive(draw, fits, "percentile", BootstrapConfig(max_resamples=2000))
    assert all(2 not in rows for _, _, rows in draw.calls)
    assert found.resamples[2] == 0
    assert (found.resamples[4], found.failed[4]) == (ROUND, ROUND)
    assert found.failed[5] == -(-found.resamples[5] // 3)
    for k in (2, 4):
        assert np.isnan(found.lower[k]).all()
        assert np.isnan(found.deviation[k]).all()
        assert (found.mark[k] == Mark.UNDEFINED).all()
        assert not found.reached[k]
    good = draw.all[5, : found.resamples[5]]
    expected = covariance_in_ln_tau(np.delete(good, np.s_[::3], axis=0), fits.value[5, 1])
    np.testing.assert_allclose(found.deviation[5], np.sqrt(np.diag(expected)), rtol=1e-10)


def test_enough_wants_every_end_of_every_parameter():
    error = np.full((4, 3, 2), 0.01)
    error[1, 2, 1], error[2, 0, 0] = 0.06, np.nan
    error[3] = 0.05
    ends = Ends(error[..., 0], error[..., 0], error, np.zeros(error.shape, np.uint8))
    assert enough(ends, 0.05).tolist() == [True, False, False, True]


@pytest.mark.parametrize("kind", ["percentile", "t"])
def test_a_parameter_that_never_moves_is_known_at_once(kind):
    """All replicates on a bound: nothing that more of them would tell."""
    draw, fits = Drawn(), parents()
    draw.all[..., 0] = fits.value[:, 0] = fits.lower[0] = 0.2
    found = adaptive(draw, fits, kind, BootstrapConfig(max_resamples=4000))
    assert (found.lower[:, 0] == 0.2).all()
    assert (found.upper[:, 0] == 0.2).all()
    assert (found.mark[:, 0, 0] == Mark.AT_BOUND).all()
    assert found.reached.all()
