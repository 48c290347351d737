"""The ladder: which rung answers, and that every answer is a minimum."""

from dataclasses import replace

import numpy as np
import pytest

from tests.fitting.kernel.curves import (
    BOX,
    DELAYS,
    chi2,
    double_curves,
    projected_gradient,
    scipy_best,
    single_curves,
    with_noise,
)
from xpcs_dask.config import FitConfig
from xpcs_dask.fitting import families
from xpcs_dask.fitting.generic import fit_generic
from xpcs_dask.fitting.layout import Flag, Rung, Status, fit_dtype
from xpcs_dask.fitting.losses import objective
from xpcs_dask.fitting.models import DOUBLE, SIMPLE, SINGLE
from xpcs_dask.fitting.strategy import fit_stack


def fit(model, y, sigma, config=None, box=None, start=None):
    lower, upper = box or BOX[model.name]
    return fit_stack(DELAYS, y, 1 / sigma, model, config or FitConfig(), lower, upper, start)


def has(rows, flag):
    return (rows["flags"] & np.uint32(flag)) > 0


def test_rows_hold_the_minimum_in_the_models_own_parameters():
    truth, y, sigma = single_curves(200, seed=1)
    rows = fit(SINGLE, y, sigma)
    assert rows.dtype == fit_dtype(SINGLE, "full")
    assert (rows["status"] == Status.CONVERGED).all()
    assert (rows["rung"] == Rung.COMPILED).all()
    np.testing.assert_allclose(rows["chi2"], chi2(SINGLE, y, sigma, rows["value"]), rtol=1e-9)
    pull = (rows["value"] - truth) / rows["stderr"]
    assert np.all(np.abs(np.nanstd(pull, axis=0) - 1) < 0.2)
    assert (rows["dof"] == 60).all()
    assert (rows["n_used"] == 64).all()
    np.testing.assert_allclose(rows["reduced_chi2"], rows["chi2"] / 60)


def test_errors_of_a_time_scale_with_it():
    _, y, sigma = single_curves(50, seed=2)
    ms = replace(SINGLE, name="ms")
    low, high = (b * np.array([1, 1e3, 1, 1]) for b in BOX["single"])
    other = fit_stack(DELAYS * 1e3, y, 1 / sigma, ms, FitConfig(), low, high)
    seconds = fit(SINGLE, y, sigma)
    np.testing.assert_allclose(other["value"][:, 1], seconds["value"][:, 1] * 1e3, rtol=1e-6)
    np.testing.assert_allclose(other["stderr"][:, 1], seconds["stderr"][:, 1] * 1e3, rtol=1e-4)


def test_relative_errors_scale_the_covariance():
    _, y, sigma = single_curves(50, seed=3)
    absolute, relative = fit(SINGLE, y, sigma), fit(SINGLE, y, 3 * sigma, FitConfig(absolute_sigma=False))
    factor = np.sqrt(absolute["chi2"] / absolute["dof"])[:, None]
    np.testing.assert_allclose(relative["stderr"], absolute["stderr"] * factor, rtol=1e-5)


@pytest.mark.parametrize(
    ("unused", "status"), [(64, Status.NO_DATA), (60, Status.TOO_FEW_POINTS), (59, Status.CONVERGED)]
)
def test_curves_without_enough_points_say_so(unused, status):
    _, y, sigma = single_curves(3, seed=4)
    weight = 1 / sigma
    weight[1, :unused] = 0
    rows = fit_stack(DELAYS, y, weight, SINGLE, FitConfig(), *BOX["single"])
    assert rows["status"].tolist() == [Status.CONVERGED, status, Status.CONVERGED]
    assert rows["n_used"][1] == 64 - unused
    if status != Status.CONVERGED:
        for name in ("value", "stderr", "chi2", "covariance", "reduced_chi2", "aicc", "bic"):
            assert np.isnan(rows[name][1]).all(), name
        assert rows["rung"][1] == Rung.NONE


class Refusing:
    """A kernel that finds no minimum for chosen curves, for so many calls."""

    def __init__(self, run, curves, calls):
        self.run, self.curves, self.left = run, curves, calls

    def __call__(self, family, x, y, *rest, **more):
        found = self.run(family, x, y, *rest, **more)
        if self.left:
            self.left -= 1
            found.converged[[j for j in range(len(y)) if any(np.array_equal(y[j], c) for c in self.curves)]] = False
        return found


@pytest.mark.parametrize(("calls", "rung"), [(1, Rung.STARTS), (2, Rung.TRF)])
def test_a_curve_that_the_kernel_gives_up_climbs_the_ladder(monkeypatch, calls, rung):
    from xpcs_dask.fitting.kernel import run

    _, y, sigma = single_curves(6, seed=5)
    plain = fit(SINGLE, y, sigma)
    monkeypatch.setattr(run, "run_kernel", Refusing(run.run_kernel, [y[2], y[4]], calls))
    rows = fit(SINGLE, y, sigma)
    assert rows["rung"].tolist() == [1, 1, rung, 1, rung, 1]
    assert (rows["status"] == Status.CONVERGED).all()
    np.testing.assert_allclose(rows["chi2"], plain["chi2"], rtol=1e-8)
    np.testing.assert_allclose(rows["stderr"], plain["stderr"], rtol=1e-3)
    more = fit(SINGLE, y, sigma, FitConfig(search="thorough"))["evaluations"]
    spent = plain["evaluations"] + more
    assert np.all(rows["evaluations"][[2, 4]] >= spent[[2, 4]])
    assert np.all(rows["reduced_chi2"] > 0)


def test_without_numba_the_twin_answers(monkeypatch):
    monkeypatch.setattr(families, "numba_found", lambda: False)
    _, y, sigma = single_curves(10, seed=6)
    rows = fit(SINGLE, y, sigma)
    assert (rows["rung"] == Rung.TWIN).all()
    monkeypatch.undo()
    np.testing.assert_allclose(rows["chi2"], fit(SINGLE, y, sigma)["chi2"], rtol=1e-9)


def test_a_decay_outside_the_delays_is_unidentifiable():
    rng = np.random.default_rng(0)
    theta = np.array([[0.3, tau, 1.0, 1.0] for tau in [2e-6, 60.0, 1e-3]])
    y, sigma = with_noise(SINGLE, theta, rng, (-3, -3))
    rows = fit(SINGLE, y, sigma)
    outside = (rows["value"][:, 1] < DELAYS[0]) | (rows["value"][:, 1] > DELAYS[-1])
    assert outside.tolist() == [True, True, False]
    assert has(rows, Flag.UNIDENTIFIABLE).tolist() == [True, True, False]


def test_a_second_component_that_is_not_there_is_not_established():
    _, y, sigma = single_curves(40, seed=8)
    rows = fit(DOUBLE, y, sigma)
    good = rows["status"] == Status.CONVERGED
    assert has(rows, Flag.SECOND_COMPONENT_NOT_ESTABLISHED)[good].mean() > 0.95
    _, y, sigma = double_curves(40, seed=8, noise=(-4, -3.5))
    rows = fit(DOUBLE, y, sigma)
    assert has(rows, Flag.SECOND_COMPONENT_NOT_ESTABLISHED).mean() < 0.1


def test_a_second_component_counts_from_f_of_ten():
    _, y, sigma = double_curves(300, seed=8, noise=(-1.6, -0.7))
    lower, upper = BOX["double"]
    rows, (_, statistic, _) = (
        fit(DOUBLE, y, sigma),
        families.fit_family(DELAYS, y, 1 / sigma, DOUBLE, FitConfig(), lower, upper),
    )
    stretches = rows["value"][:, [2, 5]]
    inside = ((stretches > 0.2) & (stretches < 3.0)).all(axis=1) & (rows["rung"] == Rung.COMPILED)
    near = inside & (statistic > 5) & (statistic < 20)
    assert (near & (statistic < 10)).any()
    assert (near & (statistic > 10)).any()
    flagged = has(rows, Flag.SECOND_COMPONENT_NOT_ESTABLISHED)
    np.testing.assert_array_equal(flagged[inside], statistic[inside] < 10)


def test_components_come_in_order():
    _, y, sigma = double_curves(60, seed=9)
    value = fit(DOUBLE, y, sigma)["value"]
    assert np.all(value[:, 1] <= value[:, 4])


@pytest.mark.slow
@pytest.mark.parametrize(("search", "share"), [("fast", 0.96), ("thorough", 0.985)])
def test_double_minima_are_the_best_known(search, share):
    _, y, sigma = double_curves(150, seed=10)
    rows = fit(DOUBLE, y, sigma, FitConfig(search=search))
    best = np.array([scipy_best(DOUBLE, a, s, *BOX["double"], starts=10)[0] for a, s in zip(y, sigma, strict=True)])
    assert np.mean(rows["chi2"] <= best * (1 + 1e-6)) >= share


@pytest.mark.parametrize("model", [SIMPLE, SINGLE, DOUBLE], ids=lambda m: m.name)
def test_no_success_has_a_gradient(model):
    make = double_curves if model is DOUBLE else single_curves
    _, y, sigma = make(120, seed=11)
    noise = np.random.default_rng(1).normal(size=(30, 64))
    y[:30] = 1 + sigma[:30] * noise
    y[30:40] += 5 * sigma[30:40] * np.random.default_rng(2).standard_t(1, size=(10, 64))
    lower, upper = BOX[model.name if model is not SIMPLE else "single"]
    if model is SIMPLE:
        lower, upper = lower[[0, 1, 3]], upper[[0, 1, 3]]
    rows = fit(model, y, sigma, box=(lower, upper))
    good = rows["status"] == Status.CONVERGED
    assert good.mean() >= 0.99
    gradient = [
        projected_gradient(model, a, s, t, lower, upper)
        for a, s, t in zip(y[good], sigma[good], rows["value"][good], strict=True)
    ]
    assert max(gradient) < 1e-5


def test_a_given_start_is_tried_beside_the_own_ones():
    truth, y, sigma = single_curves(10, seed=12)
    plain, helped = fit(SINGLE, y, sigma), fit(SINGLE, y, sigma, start=truth)
    np.testing.assert_allclose(helped["chi2"], plain["chi2"], rtol=1e-9)
    assert np.all(helped["evaluations"] > plain["evaluations"])
    one = fit(SINGLE, y, sigma, start=truth[0])
    np.testing.assert_allclose(one["chi2"], plain["chi2"], rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e3, 1e5, 1e8])
@pytest.mark.parametrize("loss", ["soft_l1", "huber", "cauchy", "arctan"])
def test_chi2_is_the_objective_at_any_loss_scale(loss, scale):
    _, y, sigma = single_curves(20, seed=14)
    rows = fit(SINGLE, y, sigma, FitConfig(loss=loss, loss_scale=scale))
    good = rows["status"] == Status.CONVERGED
    assert good.all()
    residual = [(a - SINGLE.evaluate(DELAYS, *t)) / s for a, t, s in zip(y, rows["value"], sigma, strict=True)]
    np.testing.assert_allclose(rows["chi2"], [objective(r, loss, scale) for r in residual], rtol=1e-9)
    if scale >= 1e3:
        np.testing.assert_allclose(rows["chi2"], fit(SINGLE, y, sigma)["chi2"], rtol=1e-3)


def test_tukey_with_a_wide_scale_is_least_squares():
    _, y, sigma = single_curves(30, seed=15)
    wide, plain = fit(SINGLE, y, sigma, FitConfig(loss="tukey", loss_scale=1e5)), fit(SINGLE, y, sigma)
    np.testing.assert_allclose(wide["chi2"], plain["chi2"], rtol=1e-6)


@pytest.mark.parametrize("loss", ["soft_l1", "cauchy"])
def test_robust_errors_count_fitted_parameters_only(loss):
    """The kernel's and the generic path's, for a model that holds a parameter of its family, with few points."""
    _, y, sigma = single_curves(6, seed=16)
    few = slice(None, None, 6)
    lower, upper = (b[[0, 1, 3]] for b in BOX["single"])
    config = FitConfig(loss=loss, loss_scale=2.0)
    args = (DELAYS[few], y[:, few], 1 / sigma[:, few], SIMPLE, config, lower, upper)
    kernel, generic = fit_stack(*args), fit_generic(*args)
    assert (kernel["rung"] == Rung.COMPILED).all()
    same = np.isclose(kernel["chi2"], generic["chi2"], rtol=1e-6)
    assert same.sum() >= 4
    np.testing.assert_allclose(kernel["stderr"][same], generic["stderr"][same], rtol=2e-2)


def test_an_open_bound_stays_with_the_kernel():
    _, y, sigma = single_curves(10, seed=17)
    lower, upper = (b.copy() for b in BOX["single"])
    upper[0] = np.inf
    rows = fit(SINGLE, y, sigma, box=(lower, upper))
    assert (rows["rung"] == Rung.COMPILED).all()
    np.testing.assert_allclose(rows["chi2"], fit(SINGLE, y, sigma)["chi2"], rtol=1e-9)


@pytest.mark.parametrize("twin", [False, True])
@pytest.mark.parametrize("noise", [0.0, 1e-8, 1e-6, 1e-5])
def test_nearly_exact_data_end_in_the_same_minimum(monkeypatch, noise, twin):
    truth, *_ = single_curves(40, seed=18)
    clean = np.stack([SINGLE.evaluate(DELAYS, *t) for t in truth])
    y = clean + noise * np.random.default_rng(3).normal(size=clean.shape)
    plain = fit(SINGLE, y, np.full(y.shape, max(noise, 1e-3)), FitConfig(search="thorough"))
    monkeypatch.setattr(families, "numba_found", lambda: not twin)
    rows = fit(SINGLE, y, np.full(y.shape, max(noise, 1e-3)), FitConfig(search="thorough"))
    assert (rows["status"] == Status.CONVERGED).all()
    assert not has(rows, Flag.STARTS_DISAGREE).any()
    np.testing.assert_allclose(rows["value"], truth, rtol=1e-10 + 3e3 * noise)
    if noise:
        np.testing.assert_allclose(rows["chi2"], plain["chi2"], rtol=max(1e-9, 2e-16 / noise))  # rounding of y


def test_failed_rows_have_no_disagreeing_starts():
    _, y, sigma = single_curves(5, seed=19)
    weight = 1 / sigma
    weight[:, 3:] = 0
    rows = fit_stack(DELAYS, y, weight, SINGLE, FitConfig(), *BOX["single"])
    assert (rows["status"] == Status.TOO_FEW_POINTS).all()
    assert not has(rows, Flag.STARTS_DISAGREE).any()


def test_a_robust_second_component_is_not_judged_by_least_squares():
    _, y, sigma = double_curves(15, seed=20, noise=(-4, -3.5))
    y[:, ::9] += 30 * sigma[:, ::9]
    rows = fit(DOUBLE, y, sigma, FitConfig(loss="tukey"))
    good = rows["status"] == Status.CONVERGED
    free = (rows["flags"] & np.uint32(Flag.AT_BOUND)) == 0
    assert (good & free).sum() >= 5
    assert not has(rows, Flag.SECOND_COMPONENT_NOT_ESTABLISHED)[good & free].any()


def test_chi2_is_that_of_the_value_in_flat_valleys():
    """Five points on four parameters: a step that gains nothing may still be long."""
    x = np.geomspace(1e-4, 1, 60)[::12]
    y = 1.02 + 0.3 * np.exp(-2 * (x / 1e-4) ** 0.9) + np.random.default_rng(1).normal(0, 0.003, (400, 5))
    rows = fit_stack(x, y, np.full(y.shape, 1 / 0.003), SINGLE, FitConfig(), *SINGLE.box(x))
    good = rows["status"] == Status.CONVERGED
    assert good.all()
    true = [np.sum(((a - SINGLE.evaluate(x, *t)) / 0.003) ** 2) for a, t in zip(y, rows["value"], strict=True)]
    np.testing.assert_allclose(rows["chi2"], true, rtol=1e-8, atol=1e-12)
