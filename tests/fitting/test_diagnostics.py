from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tests.fitting.test_hat import FREE, LINE, straight
from xpcs_dask.config import FitConfig
from xpcs_dask.fitting.diagnostics import LAST, LONG_NAMES, diagnose, diagnostics_dtype
from xpcs_dask.fitting.layout import Status, fit_dtype
from xpcs_dask.fitting.models import DOUBLE, MODELS, SIMPLE, SINGLE, Model
from xpcs_dask.fitting.strategy import fit_stack

X = np.geomspace(1e-5, 1, 50)
SIGMA = 2e-3 * (1 + np.linspace(0, 3, 50))
TRUTH = {"simple": (0.2, 5e-3, 1.0), "single": (0.2, 5e-3, 0.9, 1.0), "double": (0.2, 1e-3, 1.0, 1.0, 5e-2, 1.0, 0.5)}
GROWING = np.linspace(0.5, 1.5, 50)
LEVELS = ("basic", "standard", "comprehensive")


def fitted(model, n, *, truth=None, noise=None, holes=0.0, seed=0, x=X, sigma=SIGMA, fixed=None):
    """Arguments of `diagnose` for n curves with known errors."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((n, x.size)) if noise is None else noise(rng, (n, x.size))
    y = MODELS[truth or model.name].evaluate(x, *TRUTH[truth or model.name]) + sigma * noise
    weight = np.where(rng.random(y.shape) < holes, 0.0, 1 / sigma)
    lower, upper = model.box(x, fixed=fixed)
    rows = fit_stack(x, y, weight, model, FitConfig(), lower, upper)
    return rows, x, y, weight, model, lower, upper


def chances_in(found):
    return [name for name in found.dtype.names if name.endswith("_p")]


def test_levels_are_nested_and_every_name_is_explained():
    names = [set(diagnostics_dtype(SINGLE, 30, level).names) for level in LEVELS]
    assert names[0] < names[1] < names[2] == set(LONG_NAMES)
    full = diagnostics_dtype(SINGLE, 30, "comprehensive")
    assert {name for name in full.names if full[name].shape} == set(LAST)
    assert full["leverage"].shape == (30,)
    assert full["correlation"].shape == (10,)
    sizes = [diagnostics_dtype(SINGLE, 30, level).itemsize for level in LEVELS]
    assert sizes == [24, 168, 168 + 32 * 30 + 4 * 4 * 5]
    assert not set(full.names) & set(fit_dtype(SINGLE, "full").names)


def test_what_a_level_says_does_not_depend_on_the_level():
    arguments = fitted(SINGLE, 20, holes=0.1)
    full = diagnose(*arguments, "comprehensive")
    for level in LEVELS[:2]:
        less = diagnose(*arguments, level)
        for name in less.dtype.names:
            np.testing.assert_array_equal(less[name], full[name])


@pytest.mark.parametrize(
    ("model", "holes"),
    [(SIMPLE, 0.0), (SINGLE, 0.0), (SINGLE, 0.2), (DOUBLE, 0.0)],
    ids=lambda v: getattr(v, "name", v),
)
def test_fits_of_the_right_model_fail_as_often_as_they_should(model, holes):
    found = diagnose(*fitted(model, 5000, holes=holes, seed=11))
    names = chances_in(found)
    assert len(names) == 6
    for name in names:
        assert 0.04 < np.nanmean(found[name] < 0.05) < 0.06, name
        assert np.isfinite(found[name]).mean() > 0.999, name


@pytest.mark.parametrize(
    ("names", "noise", "truth", "share"),
    [
        (["lag1_p", "chi2_p"], None, "double", 0.9),
        (["runs_p"], None, "double", 0.6),
        (["normality_p"], lambda rng, shape: rng.standard_t(3, shape), "single", 0.4),
        (["heteroscedasticity_p"], lambda rng, shape: GROWING * rng.standard_normal(shape), "single", 0.5),
        (["changepoint_p"], lambda rng, shape: rng.standard_normal(shape) + 3 * (np.arange(50) >= 44), "single", 0.4),
    ],
    ids=["neighbours", "runs", "normality", "heteroscedasticity", "changepoint"],
)  # fmt: skip
def test_what_is_wrong_is_seen(names, noise, truth, share):
    found = diagnose(*fitted(SINGLE, 500, truth=truth, noise=noise, sigma=np.full(50, 1e-3)))
    for name in names:
        assert (found[name] < 0.05).mean() > share


def test_a_wrong_model_leaves_few_runs_and_neighbours_alike():
    found = diagnose(*fitted(SINGLE, 300, truth="double", sigma=np.full(50, 1e-3)))
    assert np.median(found["runs_z"]) < -1.5
    assert np.median(found["lag1_z"]) > 2
    assert np.median(found["durbin_watson"]) < 1.6


def test_basic_numbers_are_those_of_textbooks():
    rows, *others = fitted(SINGLE, 30, holes=0.2)
    _, y, weight, *_ = others
    found = diagnose(rows, *others, "basic")
    np.testing.assert_allclose(found["chi2_p"], stats.chi2.sf(rows["chi2"], rows["dof"]), rtol=1e-6)
    square = weight**2
    level = (square * y).sum(axis=1) / square.sum(axis=1)
    about = (square * (y - level[:, None]) ** 2).sum(axis=1)
    np.testing.assert_allclose(found["r2"], 1 - rows["chi2"] / about, rtol=1e-9)


def test_largest_are_those_of_the_points():
    found = diagnose(*fitted(SINGLE, 30, holes=0.2), "comprehensive")
    for short, name in (
        ("residual", "standardised_residual"),
        ("leverage", "leverage"),
        ("cook", "cook"),
        ("dffits", "dffits"),
    ):
        np.testing.assert_array_equal(found[f"largest_{short}"], np.nanmax(np.abs(found[name]), axis=1))
    row, column = np.tril_indices(4)
    others = np.abs(found["correlation"][:, row != column])
    np.testing.assert_array_equal(found["largest_correlation"], others.max(axis=1))
    np.testing.assert_allclose(found["correlation"][:, row == column], 1)


def test_standardised_residuals_have_unit_variance_at_every_delay():
    found = diagnose(*fitted(SINGLE, 4000), "comprehensive")
    np.testing.assert_allclose(found["standardised_residual"].std(axis=0), 1, atol=0.06)


def test_errors_up_to_a_factor_do_not_judge_chi2():
    rows, x, y, weight, *box = fitted(SINGLE, 20)
    one = diagnose(rows, x, y, weight, *box, "comprehensive", absolute=False)
    other = diagnose(rows, x, y, weight * 7, *box, "comprehensive", absolute=False)
    assert np.isnan(one["chi2_p"]).all()
    for name in one.dtype.names:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-6, atol=1e-9)
    scale = np.sqrt(rows["chi2"] / rows["dof"])[:, None]
    stated = diagnose(rows, x, y, weight, *box, "comprehensive")["standardised_residual"]
    np.testing.assert_allclose(one["standardised_residual"], stated / scale, rtol=1e-9)


def test_a_failed_curve_is_nan_and_spares_its_neighbours():
    rows, x, y, weight, *box = fitted(SINGLE, 4)
    weight[1] = 0
    y[2] = np.nan
    rows["status"][[1, 2]] = Status.NO_DATA
    rows["value"][[1, 2]] = np.nan
    found = diagnose(rows, x, y, weight, *box, "comprehensive")
    for name in found.dtype.names:
        finite = np.isfinite(found[name]).reshape(4, -1).all(axis=1)
        assert finite.tolist() == [True, False, False, True], name
        assert np.isnan(found[name][[1, 2]]).all()
    nothing = diagnose(rows[1:3], x, y[1:3], weight[1:3], *box)
    assert np.isnan(nothing["runs_p"]).all()
    assert diagnose(rows[:0], x, y[:0], weight[:0], *box).shape == (0,)


def test_a_value_that_the_model_cannot_take_is_nan_too():
    rows, *others = fitted(SINGLE, 3)
    rows["value"][1, 1] = -1.0
    found = diagnose(rows, *others)
    assert np.isnan(found["r2"]).tolist() == [False, True, False]


@pytest.mark.parametrize("model", [SIMPLE, DOUBLE], ids=lambda m: m.name)
@pytest.mark.parametrize("holes", [0.0, 0.2])
def test_bits_do_not_depend_on_the_neighbours(model, holes, monkeypatch):
    rows, x, y, weight, *box = fitted(model, 37, holes=holes)
    together = diagnose(rows, x, y, weight, *box, "comprehensive")
    for i in (0, 5, 36):
        alone = diagnose(rows[i : i + 1], x, y[i : i + 1], weight[i : i + 1], *box, "comprehensive")
        assert alone.tobytes() == together[i : i + 1].tobytes()
    part = diagnose(rows[3:20], x, y[3:20], weight[3:20], *box, "comprehensive")
    assert part.tobytes() == together[3:20].tobytes()
    monkeypatch.setattr("xpcs_dask.fitting.diagnostics.SLAB_POINTS", 300)
    assert diagnose(rows, x, y, weight, *box, "comprehensive").tobytes() == together.tobytes()


def test_the_order_of_the_points_does_not_matter():
    rows, x, y, weight, *box = fitted(SINGLE, 20, holes=0.1)
    other = np.random.default_rng(1).permutation(x.size)
    one = diagnose(rows, x, y, weight, *box)
    two = diagnose(rows, x[other], y[:, other], weight[:, other], *box)
    for name in one.dtype.names:
        np.testing.assert_allclose(one[name], two[name], rtol=1e-6, err_msg=name)


def test_a_delay_of_zero_is_one_of_the_shortest():
    level = Model.from_function(lambda x, a: a + 0 * x, ["a"])
    y = np.random.default_rng(5).standard_normal((20, X.size))
    rows = np.zeros(20, fit_dtype(level))
    rows["status"], rows["dof"], rows["value"][:, 0] = Status.CONVERGED, X.size - 1, y.mean(axis=1)
    arguments = (y, np.ones_like(y), level, FREE[0][:1], FREE[1][:1])
    zero, least = (diagnose(rows, np.r_[first, X[1:]], *arguments) for first in (0.0, X[1]))
    for name in zero.dtype.names:
        if name != "changepoint_delay":
            np.testing.assert_array_equal(zero[name], least[name])
    assert np.isfinite(zero["changepoint_delay"]).all()


def test_the_change_is_dated_by_its_delay():
    x, y, weight, _ = straight(n=2, m=60, holes=False)
    y[0, :30] -= 1.0  # 2.5 to 10 standard deviations
    held = Model.from_function(lambda x, a: a + 2 * x, ["a"])
    rows = np.zeros(2, fit_dtype(held))
    rows["status"], rows["dof"] = Status.CONVERGED, 59
    rows["value"][:, 0] = ((y - 2 * x) * weight**2).sum(axis=1) / (weight**2).sum(axis=1)
    found = diagnose(rows, x, y, weight, held, FREE[0][:1], FREE[1][:1])
    assert found["changepoint_delay"][0] == x[29]
    assert found["changepoint_p"][0] < 1e-6 < found["changepoint_p"][1]


def test_models_of_ones_own_with_any_abscissa():
    rng = np.random.default_rng(8)
    x = rng.uniform(0, 1, (2, 40))

    def plane(x, a, b, c):
        return a + b * x[0] + c * x[1]

    model = Model.from_function(plane)
    y = plane(x, 1.0, 2.0, -1.0) + 0.1 * rng.standard_normal((3, 40))
    weight, box = np.full_like(y, 10.0), (np.full(3, -np.inf), np.full(3, np.inf))
    rows = fit_stack(x, y, weight, model, FitConfig(), *box)
    found = diagnose(rows, x, y, weight, model, *box, "comprehensive")
    assert np.isnan(found["changepoint_delay"]).all()
    for name in chances_in(found):
        assert np.isfinite(found[name]).all()
    np.testing.assert_allclose(found["leverage"].sum(axis=1), 3, rtol=1e-6)


def test_abscissas_below_zero_are_taken_as_they_are():
    x, y, weight, value = straight(n=4, holes=False)
    rows = np.zeros(4, fit_dtype(LINE))
    rows["status"], rows["dof"], rows["value"] = Status.CONVERGED, 23, value
    shifted = rows.copy()
    shifted["value"][:, 0] += 5 * value[:, 1]
    found = diagnose(shifted, x - 5, y, weight, LINE, *FREE)
    assert np.isfinite(found["heteroscedasticity_z"]).all()
    assert (found["changepoint_delay"] < 0).all()


def test_every_name_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "diagnostics.md").read_text()
    rows = "".join(line for line in page.splitlines() if line.startswith("| "))
    assert [name for name in LONG_NAMES if f"`{name}`" not in rows] == []
