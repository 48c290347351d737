"""Robust fits: what they recover, what they leave out, and what they do to data without outliers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.stats import median_abs_deviation

import xpcs_dask as xd
from tests.benchmarks.outliers import DELAY, TAU, curves
from xpcs_dask.config import FitConfig
from xpcs_dask.fitting import outliers
from xpcs_dask.fitting.layout import Flag, Status
from xpcs_dask.fitting.models import MODELS, SINGLE, Model
from xpcs_dask.fitting.outliers import fit_robust, settings
from xpcs_dask.fitting.quality import PointFlag
from xpcs_dask.fitting.strategy import fit_stack

QUOTED, RELATIVE = FitConfig(errors="quoted"), FitConfig(errors="quoted", absolute_sigma=False)
HOW = ("clip", "cauchy", "mm")


def box(model=SINGLE, x=DELAY):
    return model.box(x)


def robust(y, weight, how, config=QUOTED, model=SINGLE, x=DELAY):
    return fit_robust(x, y, weight, model, config.model_copy(update={"robust": how}), *box(model, x))


def plain(y, weight, config=QUOTED, model=SINGLE, x=DELAY):
    return fit_stack(x, y, weight, model, config, *box(model, x))


def off(rows):
    """Error of ln tau."""
    return np.log(rows["value"][:, 1] / TAU)


def rmse(rows):
    return np.sqrt(np.mean(off(rows) ** 2))


@pytest.fixture(scope="module")
def clean():
    return curves(300, "none", 0.0, seed=3)


@pytest.fixture(scope="module")
def spoiled():
    return curves(300, "either sign", 0.1, seed=3)


def test_clip_finds_the_outliers_and_little_else(spoiled):
    y, weight, hit = spoiled
    rows, kept = robust(y, weight, "clip")
    dropped = kept == 0
    assert dropped[hit].mean() > 0.97
    assert dropped[~hit].mean() < 0.002
    assert (kept[~dropped] == weight[~dropped]).all()
    assert (rows["n_used"] == (~dropped).sum(axis=1)).all()
    for flag in (Flag.POINTS_EXCLUDED, Flag.OUTLIERS):
        np.testing.assert_array_equal(rows["flags"] & flag > 0, dropped.any(axis=1))


@pytest.mark.parametrize("config", [QUOTED, RELATIVE])
def test_clip_is_as_good_as_without_outliers(clean, spoiled, config):
    rows, _ = robust(*spoiled[:2], "clip", config)
    least = plain(*clean[:2])
    assert (rows["status"] == Status.CONVERGED).all()
    assert abs(np.median(off(rows)) - np.median(off(least))) < 0.01
    assert rmse(rows) < 1.12 * rmse(least)
    assert np.abs(off(rows)).max() < np.log(1.5)
    assert rmse(plain(*spoiled[:2])) > 3 * rmse(least)
    error = rows["stderr"][:, 1] / rows["value"][:, 1]
    assert 0.91 < np.mean(np.abs(off(rows)) < 1.96 * error) < 0.98


@pytest.mark.parametrize("how", ["cauchy", "mm"])
@pytest.mark.parametrize("config", [QUOTED, RELATIVE])
def test_losses_forget_outliers(clean, spoiled, how, config):
    rows, kept = robust(*spoiled[:2], how, config)
    assert kept is spoiled[1] or (kept == spoiled[1]).all()
    assert rmse(rows) < 1.25 * rmse(plain(*clean[:2]))
    error = rows["stderr"][:, 1] / rows["value"][:, 1]
    assert 0.88 < np.mean(np.abs(off(rows)) < 1.96 * error) < 0.98


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("config", [QUOTED, RELATIVE])
def test_clean_data_lose_little(clean, how, config):
    rows, kept = robust(*clean[:2], how, config)
    assert rmse(rows) < (1.04 if how == "clip" else 1.08) * rmse(plain(*clean[:2]))
    assert (kept == 0).mean() < (5e-4 if config is QUOTED else 5e-3)


def test_clip_refits_what_it_keeps(spoiled):
    rows, kept = robust(*spoiled[:2], "clip")
    again = plain(spoiled[0], kept)
    np.testing.assert_array_equal(rows["flags"] & ~np.uint32(Flag.OUTLIERS), again["flags"])
    for name in ("value", "stderr", "covariance", "chi2", "reduced_chi2", "aicc", "bic"):
        np.testing.assert_array_equal(rows[name], again[name])
    assert (rows["evaluations"] > again["evaluations"]).all()


def reference_residuals(y, weight, size):
    """Weighted residuals of the best of scipy's Cauchy fits: there may be several minima."""

    def residuals(p):
        return (SINGLE.evaluate(DELAY, p[0], np.exp(p[1]), p[2], p[3]) - y) * weight

    def fit(start, loss):
        return least_squares(
            residuals, start, loss=loss, f_scale=size, x_scale="jac", ftol=1e-14, xtol=1e-14, gtol=1e-14
        )

    truth = np.array([0.15, np.log(TAU), 0.9, 1.0])
    found = [fit(start, "cauchy") for start in (truth, fit(truth, "soft_l1").x, fit(truth, "linear").x)]
    return residuals(min(found, key=lambda one: one.cost).x)


def largest(residuals):
    """Without as many as there are parameters: the smallest, with which the fit did as it pleased."""
    return np.sort(np.abs(residuals))[4:]


@pytest.mark.parametrize("size", [0.5, 3.0])
def test_points_are_left_out_by_the_rule(spoiled, size):
    """Errors too small by two: the scale of the residuals rules; too large by three: the errors."""
    y, weight = spoiled[0][:25], spoiled[1][:25] / size
    _, kept = robust(y, weight, "clip")
    same = 0
    for k in range(25):
        r = reference_residuals(y[k], weight[k], 1.0)
        scale = max(1.0, 1.4826 * np.median(largest(r)))
        assert (scale > 1) == (size == 0.5)
        same += np.array_equal(kept[k] == 0, np.abs(r) > 3.5 * scale)
    assert same >= 24  # one curve in 25 has a second minimum of Cauchy's loss that is lower by 0.2 %


def test_relative_errors_have_the_scale_of_the_residuals(spoiled):
    y, weight = spoiled[0][:25], spoiled[1][:25] / 40.0
    _, kept = robust(y, weight, "clip", RELATIVE)
    for k in range(25):
        found = plain(y[[k]], weight[[k]])["value"][0]
        first = 1.4826 * np.median(largest((SINGLE.evaluate(DELAY, *found) - y[k]) * weight[k]))
        r = reference_residuals(y[k], weight[k], first)
        np.testing.assert_array_equal(kept[k] == 0, np.abs(r) > 3.5 * 1.4826 * np.median(largest(r)))


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_the_unit_of_relative_errors_does_not_matter(spoiled, how, factor):
    y, weight = (a[:40] for a in spoiled[:2])
    rows, kept = robust(y, weight, how, RELATIVE)
    other, other_kept = robust(y, weight * factor, how, RELATIVE)
    np.testing.assert_allclose(other["value"], rows["value"], rtol=1e-6)
    np.testing.assert_allclose(other["stderr"], rows["stderr"], rtol=1e-5)
    np.testing.assert_array_equal(kept == 0, other_kept == 0)
    np.testing.assert_allclose(other["reduced_chi2"], factor**2 * rows["reduced_chi2"], rtol=1e-6)
    np.testing.assert_allclose(other["chi2"], other["dof"] * other["reduced_chi2"], rtol=1e-12)


def test_cauchy_takes_known_errors_as_they_are(spoiled):
    rows, _ = robust(*spoiled[:2], "cauchy")
    loss = QUOTED.model_copy(update={"loss": "cauchy", "loss_scale": 2.385})
    np.testing.assert_array_equal(rows, plain(*spoiled[:2], loss))


def test_mm_is_tukeys_biweight(spoiled):
    rows, _ = robust(*spoiled[:2], "mm")
    np.testing.assert_array_equal(rows, plain(*spoiled[:2], QUOTED.model_copy(update={"loss": "tukey"})))


@pytest.mark.parametrize(("how", "kind"), [("clip", "linear"), ("cauchy", "cauchy"), ("mm", "tukey"), (None, "huber")])
def test_settings_of_the_last_fit(how, kind):
    config = FitConfig(robust=how, loss="huber" if how is None else "linear", search="thorough")
    assert settings(config).loss == kind
    assert settings(config).robust is None
    assert settings(config).search == "thorough"


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("config", [QUOTED, RELATIVE])
def test_one_curve_alone_is_the_same_as_in_a_stack(spoiled, how, config):
    y, weight = (a[:23] for a in spoiled[:2])
    rows, kept = robust(y, weight, how, config)
    for k in (0, 7, 22):
        alone, alone_kept = robust(y[[k]], weight[[k]], how, config)
        assert alone[0].tobytes() == rows[k].tobytes()
        np.testing.assert_array_equal(alone_kept[0], kept[k])


@pytest.mark.parametrize("points", [5, 6, 7, 8, 9, 12])
@pytest.mark.parametrize("config", [QUOTED, RELATIVE])
def test_enough_points_always_stay(points, config):
    rng = np.random.default_rng(points)
    x = np.geomspace(1e-4, 1, points)
    y = SINGLE.evaluate(x, 0.2, 0.01, 1.0, 1.0) + 0.2 * rng.standard_t(1, (200, points))
    rows, kept = robust(y, np.full(y.shape, 1e3), "clip", config, x=x)
    assert (kept > 0).sum(axis=1).min() >= 5
    assert (rows["status"] == Status.CONVERGED).mean() > 0.9
    assert points < 8 or (kept == 0).any()


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("config", [QUOTED, RELATIVE])
def test_an_exact_curve_with_one_false_point(how, config):
    true = np.array([0.2, 0.02, 0.9, 1.0])
    y = SINGLE.evaluate(DELAY, *true)[None].repeat(2, axis=0)
    y[1, 20] += 0.05
    rows, kept = robust(y, np.full(y.shape, 1e3), how, config)
    np.testing.assert_allclose(rows["value"][0], true, rtol=1e-7)
    np.testing.assert_allclose(rows["value"][1], true, rtol=2e-3 if how == "cauchy" else 1e-7)
    assert (kept[0] > 0).all()
    assert how != "clip" or kept[1, 20] == 0


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("config", [QUOTED, RELATIVE])
def test_hopeless_curves_are_rows_that_say_why(spoiled, how, config):
    y, weight = spoiled[0][:4].copy(), spoiled[1][:4].copy()
    y[0] = np.nan
    weight[0] = 0.0
    weight[1, 4:] = 0.0
    weight[2, 7] = 0.0
    y[2, 7] = np.nan
    rows, kept = robust(y, weight, how, config)
    assert rows["status"].tolist() == [Status.NO_DATA, Status.TOO_FEW_POINTS, Status.CONVERGED, Status.CONVERGED]
    assert np.isnan(rows["value"][:2]).all()
    np.testing.assert_array_equal(kept[:2], weight[:2])
    assert kept[2, 7] == 0


def test_users_models_are_clipped_too():
    rng = np.random.default_rng(5)
    x = np.linspace(0, 1, 30)
    y = 2.0 + 3.0 * x + 0.1 * rng.standard_normal((5, 30))
    y[:, 4] += 2.0
    line = Model.from_function(lambda x, a, b: a + b * x)
    free = np.full(2, -np.inf), np.full(2, np.inf)
    config = FitConfig(errors="quoted", robust="clip")
    rows, kept = fit_robust(x, y, np.full(y.shape, 10.0), line, config, *free, np.array([1.0, 1.0]))
    assert (kept[:, 4] == 0).all()
    for k in range(5):
        use = kept[k] > 0
        np.testing.assert_allclose(rows["value"][k][::-1], np.polyfit(x[use], y[k][use], 1), rtol=1e-8)


def test_double_decays():
    rng = np.random.default_rng(6)
    model = MODELS["double"]
    true = np.array([0.3, 1e-3, 1.0, 1.0, 0.1, 1.0, 0.5])
    sigma = 1e-3
    y = model.evaluate(DELAY, *true) + sigma * rng.standard_normal((30, DELAY.size))
    spoiled = y.copy()
    spoiled[:, [3, 25, 40]] += sigma * np.array([12.0, -15.0, 9.0])
    weight = np.full(y.shape, 1 / sigma)
    rows, kept = robust(spoiled, weight, "clip", model=model)
    assert (kept[:, [3, 25, 40]] == 0).mean() > 0.95
    clean = plain(y, weight, model=model)
    np.testing.assert_allclose(rows["value"][:, 1], clean["value"][:, 1], rtol=0.1)


def test_the_spread_is_a_standard_deviation():
    rng = np.random.default_rng(7)
    r = 3.0 * rng.standard_normal((2, 4001))
    weight = np.ones(r.shape)
    weight[1, ::2] = 0.0
    found = outliers._spread(r, weight, 0, np.zeros(2))
    expected = [
        median_abs_deviation(r[0], center=lambda values, axis: 0.0, scale="normal"),
        1.4826 * np.median(np.abs(r[1, 1::2])),
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    np.testing.assert_allclose(found, 3.0, rtol=0.06)


def test_fit_says_which_points_it_left_out():
    data = xd.simulate.curves(2, q=[0.01], frames=20_000, counts=0.5, seed=3)
    false = [1, 20, 33]
    data["g2"][0, 0, false] += 0.02
    fits = xd.fit(data, "single", robust="clip")
    outlier = fits["quality"].values & int(PointFlag.OUTLIER) > 0
    assert np.flatnonzero(outlier[0, 0]).tolist() == false
    assert not outlier[1].any()
    assert (fits["flags"].values[:, 0] & int(Flag.OUTLIERS) > 0).tolist() == [True, False]
    plain_fits = xd.fit(data, "single")
    assert (fits["n_used"] - plain_fits["n_used"]).values[:, 0].tolist() == [-3, 0]
    np.testing.assert_array_equal(fits["value"][1], plain_fits["value"][1])
    stretch = [one["value"].sel(parameter="stretch").values[0, 0] for one in (fits, plain_fits)]
    assert abs(stretch[0] - 1) < 0.01
    assert abs(stretch[1] - 1) > 0.03
