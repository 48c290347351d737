"""Fits of `XpcsFile`: the plain one against scipy as pyXpcsViewer calls it, the robust one against the package."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from conftest import carried
from scipy.optimize import curve_fit
from toolkit.stand_in import StandIn, decays

import xpcs_dask
from xpcs_dask.engine.plan import MemoryBudgetError
from xpcs_dask.errors import ConfigError
from xpcs_dask.toolkit import file_fits, robust_fits
from xpcs_dask.toolkit.file_fits import (
    correct_g2_err,
    fallback_standard_fit,
    fit_g2,
    fit_g2_robust,
    fit_tauq,
    get_fitting_info,
    perform_robust_g2_fitting,
)
from xpcs_dask.toolkit.models import double_exp_all, power_law, single_exp_all
from xpcs_dask.toolkit.xpcs_file import XpcsFile

FILE = "S0001_bright_a0000_f004096_r00001_results.hdf"
STARVED = "S0007_starved_a0014_f008192_r00001_results.hdf"
SINGLE = ((0.0, 1e-6, 0.1, 0.5), (1.0, 100.0, 3.0, 1.5))
DOUBLE = ((0.0, 1e-6, 0.1, 0.5, 1e-6, 0.1, 0.0), (1.0, 100.0, 3.0, 1.5, 100.0, 3.0, 1.0))
KEYS = {"fit_func", "fit_val", "t_el", "q_val", "q_range", "t_range", "bounds", "fit_flag", "fit_line", "label"}


@pytest.fixture
def xf():
    return XpcsFile(carried(f"boost_corr/{FILE}"))


def with_scipy(function, t_el, g2, error, bounds, flags, **options):
    """Fit columns as pyXpcsViewer does: from the middle of the bounds, held parameters at the upper one."""
    lower, upper = (np.array(side, dtype=float) for side in bounds)
    flags = np.array(flags)
    start = (lower + upper) / 2
    for k in (1, 4) if len(lower) == 7 else (1,):
        start[k] = np.sqrt(lower[k] * upper[k])

    def model(x, *free):
        full = upper.copy()
        full[flags] = free
        return function(x, *full)

    values, errors = [], []
    for y, sigma in zip(g2.T, error.T, strict=True):
        box = lower[flags], upper[flags]
        found, covariance = curve_fit(model, t_el, y, start[flags], sigma, bounds=box, **options)
        values.append(upper.copy())
        values[-1][flags] = found
        errors.append(np.zeros(len(upper)))
        errors[-1][flags] = np.sqrt(np.diag(covariance))
    return np.array(values), np.array(errors)


def chi2(function, t_el, g2, error, values):
    curves = function(t_el[:, None], *np.asarray(values).T)
    return (((g2 - curves) / error) ** 2).sum(axis=0)


@pytest.mark.parametrize("ranges", [{}, {"q_range": (0.0012, 0.0035)}, {"t_range": (0.0015, 1.1)}], ids=str)
@pytest.mark.parametrize("flags", [(True,) * 4, (True, True, False, True), (True, True, True, False)], ids=str)
def test_plain_single_is_scipys_minimum_or_lower(xf, flags, ranges):
    bounds = (SINGLE[0], (1.0, 100.0, 3.0 if flags[2] else 1.0, 1.5 if flags[3] else 1.0))
    summary = fit_g2(xf, bounds=bounds, fit_flag=list(flags), **ranges)
    _, t_el, g2, _, _ = xf.get_g2_data(ranges.get("q_range"), ranges.get("t_range"))
    everything = correct_g2_err(xf.get_g2_data(ranges.get("q_range"))[3])
    error = everything[np.isin(xf.t_el, t_el)]  # floored by the mean over all delays, whatever the range
    values, errors = with_scipy(
        single_exp_all, t_el, g2, error, bounds, flags, ftol=1e-15, xtol=1e-15, gtol=1e-15, max_nfev=5000
    )
    found = np.asarray(summary["fit_val"])
    ours, theirs = (chi2(single_exp_all, t_el, g2, error, v) for v in (found[:, 0], values))
    assert (ours <= theirs * (1 + 1e-6)).all()
    same = ours > theirs * (1 - 1e-10)
    assert same.sum() >= 0.8 * len(same)
    np.testing.assert_allclose(found[same, 0], values[same], rtol=1e-4)
    inside = np.isfinite(found[:, 1]).all(axis=1) & same
    assert inside.any()
    np.testing.assert_allclose(found[inside, 1], errors[inside], rtol=2e-3)
    for k, flag in enumerate(flags):
        if not flag:
            assert (found[:, 0, k] == bounds[1][k]).all()
            assert (found[:, 1, k] == 0).all()


def test_plain_double_is_scipys_minimum_or_lower(xf):
    summary = fit_g2(xf, bounds=DOUBLE, fit_func="double")
    _, t_el, g2, error, _ = xf.get_g2_data()
    error = correct_g2_err(error)
    values, _ = with_scipy(double_exp_all, t_el, g2, error, DOUBLE, (True,) * 7)
    found = np.asarray(summary["fit_val"])
    ours, theirs = (chi2(double_exp_all, t_el, g2, error, v) for v in (found[:, 0], values))
    assert (ours <= theirs * (1 + 1e-6)).all()
    assert found.shape == (12, 2, 7)
    assert summary["fit_func"] == "double"


def test_a_lower_minimum_elsewhere_is_preferred_to_a_corner():
    """Longer than the record, baseline held: the first search ends at the longest tau and the smallest stretch."""
    t_el = np.geomspace(2e-5, 1.6, 40)
    error = np.where(t_el < 0.02, 0.02, 0.002)
    noise = 3 * error * np.random.default_rng(5).standard_normal((400, 40))
    g2 = (single_exp_all(t_el, 0.07, 45.0, 0.48, 1.0) + noise)[[190, 221]].T
    sigma = np.repeat(error[:, None], 2, axis=1)
    bounds = (SINGLE[0], (1.0, 100.0, 3.0, 1.0))
    found = fit_g2(StandIn(t_el, g2, sigma), bounds=bounds, fit_flag=[True, True, True, False])["fit_val"][:, 0]
    for k in range(2):
        free, _ = curve_fit(
            lambda x, a, b, c: single_exp_all(x, a, b, c, 1.0), t_el, g2[:, k], (0.1, 60, 0.3), error,
            bounds=((0, 1e-6, 0.1), (1, 100, 3)),
        )  # fmt: skip
        theirs = chi2(single_exp_all, t_el, g2[:, k : k + 1], sigma[:, :1], [[*free, 1.0]])
        ours = chi2(single_exp_all, t_el, g2[:, k : k + 1], sigma[:, :1], found[k : k + 1])
        assert found[k, 2] > 0.1
        assert ours <= theirs * (1 + 1e-6)


def test_errors_are_floored_by_the_mean_over_all_delays():
    made = decays()
    made.g2_err = 0.003 * np.geomspace(1, 30, 48)[:, None] * np.ones(12)
    made.g2_err[[5, 20], :] = 0.0
    t_range = made.t_el[0], made.t_el[40]
    floored = correct_g2_err(made.g2_err)[:41]
    values, _ = with_scipy(
        single_exp_all, made.t_el[:41], made.g2[:41], floored, SINGLE, (True,) * 4, ftol=1e-15, xtol=1e-15, gtol=1e-15
    )
    found = fit_g2(made, t_range=t_range, bounds=SINGLE)["fit_val"]
    np.testing.assert_allclose(found[:, 0], values, rtol=1e-4)
    unusable = StandIn(made.t_el, made.g2, np.where(np.arange(48)[:, None] > 40, made.g2_err, 0.0), made.q)
    lost = fit_g2(unusable, t_range=t_range, bounds=SINGLE, robust_fitting=True, diagnostic_level="basic")
    assert not any(record["robust_fit"] for record in lost["fit_val"])
    plain = fit_g2(unusable, t_range=t_range, bounds=SINGLE)
    np.testing.assert_array_equal(np.asarray(lost["fit_val"]), np.asarray(plain["fit_val"]))
    mean = made.g2_err[41:].mean()
    _, errors = with_scipy(
        single_exp_all, made.t_el[:41], made.g2[:41], np.full((41, 12), mean), SINGLE, (True,) * 4,
        ftol=1e-15, xtol=1e-15, gtol=1e-15,
    )  # fmt: skip
    np.testing.assert_allclose(np.asarray(plain["fit_val"])[:, 1], errors, rtol=2e-3)


def test_a_parameter_on_its_bound_has_no_error():
    made = decays(bins=4)
    bounds = (SINGLE[0], (1.0, 100.0, 0.9, 1.5))
    for settings in ({}, {"robust_fitting": True, "bootstrap_samples": 20}):
        found = np.asarray(fit_g2(made, bounds=bounds, **settings)["fit_val"])
        assert (found[:, 0, 2] == 0.9).all()
        assert np.isnan(found[:, 1, 2]).all()
        assert (found[:, 1, 1] > 0).all()


def test_summary_is_pyxpcsviewers(xf):
    flags = [True, True, False, True]
    summary = fit_g2(xf, (0.001, 0.003), (0.002, 1.0), SINGLE, flags)
    assert set(summary) == KEYS
    assert summary["q_range"] == "(0.001, 0.003)"
    assert summary["t_range"] == "(0.002, 1.0)"
    assert summary["fit_flag"] == "[True, True, False, True]"
    assert summary["bounds"] is SINGLE
    q, t_el, _, _, labels = xf.get_g2_data((0.001, 0.003), (0.002, 1.0))
    np.testing.assert_array_equal(summary["q_val"], q)
    np.testing.assert_array_equal(summary["t_el"], t_el)
    assert summary["label"] == labels
    line = summary["fit_line"][1]
    np.testing.assert_allclose(line["fit_x"], np.geomspace(t_el.min() / 10**0.5, t_el.max() * 10**0.5, 128))
    np.testing.assert_allclose(line["fit_y"], single_exp_all(line["fit_x"], *summary["fit_val"][1]["params"]))
    assert line["success"]
    assert line["msg"] == "FittingSuccess"
    json.dumps(summary)


def test_correct_g2_err_one_by_one():
    rng = np.random.default_rng(2)
    error = rng.uniform(0, 3e-6, (30, 5)).astype(np.float32)
    error[:, 3] = 1e-7
    error[4, 0] = np.nan
    before = error.copy()
    found = correct_g2_err(error)
    for k in range(5):
        good = [e for e in error[:, k] if e > 1e-6]
        fill = np.mean(good) if good else 1e-6
        for j in range(30):
            assert found[j, k] == pytest.approx(error[j, k] if error[j, k] > 1e-6 else fill, rel=1e-6)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(error, before)
    assert correct_g2_err(np.array([[0.5], [2.0]]), threshold=1.0)[0, 0] == 2.0


def test_replaced_errors_are_counted():
    made = decays()
    made.g2_err[[3, 7], 2] = 0.0
    counts = [record["diagnostics"]["errors_replaced"] for record in fit_g2(made)["fit_val"]]
    assert counts == [0, 0, 2, *[0] * 9]


def test_failed_bins_have_errors_of_minus_one():
    made = decays()
    made.g2[:, 3] = np.nan
    made.g2[3:, 5] = np.nan
    bounds = (SINGLE[0], (1.0, 100.0, 1.0, 1.5))
    for settings in ({}, {"robust_fitting": True, "diagnostic_level": "basic"}, {"robust_fitting": True}):
        summary = fit_g2(made, bounds=bounds, fit_flag=[True, True, False, True], **settings, bootstrap_samples=0)
        values = summary["fit_val"]
        for k in (3, 5):
            assert (values[:, 1, :][k] == -1).all()
            np.testing.assert_array_equal(values[k]["params"], [np.nan, np.nan, 1.0, np.nan])
            assert values[k]["status"] == "insufficient_data"
            assert values[k]["robust_fit"] is False
            assert "Fitting failed" in summary["fit_line"][k]["msg"]
            assert summary["fit_line"][k]["fit_y"] is None
        assert values[4]["status"] == "success"
        json.dumps(summary)


@pytest.mark.parametrize("settings", [{}, {"robust_fitting": True, "bootstrap_samples": 0}], ids=["plain", "robust"])
def test_too_few_delays_for_any_bin(settings):
    made = decays()
    summary = fit_g2(made, t_range=(made.t_el[0], made.t_el[3]), bounds=SINGLE, **settings)
    assert {record["status"] for record in summary["fit_val"]} == {"insufficient_data"}
    assert not any("standard fit" in line["msg"] for line in summary["fit_line"])
    assert (np.asarray(summary["fit_val"])[:, 1] == -1).all()
    made.fit_summary = summary
    assert fit_tauq(made, (0, 1), None, None) is None
    assert summary["tauq_success"] is False


def test_bounds_may_begin_at_zero_and_be_closed():
    made = decays()
    found = fit_g2(made, bounds=((0, 0, 1.0, 0), (1, np.inf, 1.0, 2)))["fit_val"]
    np.testing.assert_allclose(found[:, 0, 1], 1 / (4e5 * made.q**2), rtol=0.15)
    assert (found[:, 0, 2] == 1.0).all()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"bounds": ((0, 1), (1, 2))}, "4 numbers"),
        ({"bounds": "wide"}, "4 numbers"),
        ({"bounds": SINGLE, "fit_flag": [True]}, "fit_flag has 1"),
        ({"fit_flag": [True, True, False, True]}, "give bounds"),
        ({"bounds": ((0, 2, 0.1, 0.5), (1, 1, 3, 1.5))}, "tau"),
        ({"fit_func": "triple"}, "triple"),
        ({"diagnostic_level": "deep"}, "deep"),
        ({"bootstrap_samples": -1}, "bootstrap_samples is -1"),
        ({"bootstrap_samples": 1}, "bootstrap_samples is 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, says):
    with pytest.raises(ConfigError, match=says):
        fit_g2(decays(), **settings)


def test_a_range_without_delays_is_refused():
    with pytest.raises(ValueError, match="holds no delay"):
        fit_g2(decays(), t_range=(50.0, 60.0))


def test_basic_level_takes_quoted_errors_as_they_are():
    made = decays()
    made.g2_err[[3, 7], :] = 0.0  # left out, not replaced
    summary = fit_g2(made, bounds=SINGLE, robust_fitting=True, diagnostic_level="basic")
    used = np.ones(len(made.t_el), bool)
    used[[3, 7]] = False
    values, errors = with_scipy(
        single_exp_all, made.t_el[used], made.g2[used], made.g2_err[used], SINGLE, (True,) * 4,
        absolute_sigma=True, ftol=1e-15, xtol=1e-15, gtol=1e-15,
    )  # fmt: skip
    found = np.asarray(summary["fit_val"])
    np.testing.assert_allclose(found[:, 0], values, rtol=1e-5)
    np.testing.assert_allclose(found[:, 1], errors, rtol=1e-3)
    for record, value in zip(summary["fit_val"], values, strict=True):
        assert record["robust_fit"] is True
        told = record["diagnostics"]
        residual = (made.g2[used].T[record["q_index"]] - single_exp_all(made.t_el[used], *value)) / 0.003
        assert told["chi2"] == pytest.approx(residual @ residual, rel=1e-8)
        assert told["dof"] == used.sum() - 4
        from scipy.stats import chi2 as distribution

        assert told["chi2_p"] == pytest.approx(distribution.sf(told["chi2"], told["dof"]), rel=1e-9)


def test_standard_level_is_the_package_s_fit_of_the_file(xf):
    summary = fit_g2(xf, robust_fitting=True, bootstrap_samples=0)
    known = xpcs_dask.fit(xpcs_dask.open_g2(xf.fname, chunks=None), robust="clip", diagnostics="standard").isel(file=0)
    found = np.asarray(summary["fit_val"])
    np.testing.assert_array_equal(found[:, 0], known["value"])
    np.testing.assert_array_equal(found[:, 1], known["stderr"])
    record = summary["fit_val"][4]
    assert record["diagnostics"]["errors_from"] == "theory"
    np.testing.assert_array_equal(record["covariance"], xpcs_dask.results.covariance_matrix(known)[4])
    assert record["diagnostics"]["durbin_watson"] == known["durbin_watson"][4]
    chosen = fit_g2(xf, q_range=(0.0012, 0.0025), robust_fitting=True, bootstrap_samples=0)
    bins = (xf.get_g2_data()[0] >= 0.0012) & (xf.get_g2_data()[0] <= 0.0025)
    np.testing.assert_array_equal(np.asarray(chosen["fit_val"]), found[bins])


def test_errors_are_those_of_the_bootstrap(xf):
    summary = fit_g2(xf, robust_fitting=True, bootstrap_samples=60)
    known = xpcs_dask.bootstrap(
        xpcs_dask.open_g2(xf.fname, chunks=None), model="single", robust="clip", resamples=60
    ).isel(file=0)
    found = np.asarray(summary["fit_val"])
    inside = np.isfinite(found[:, 1])
    assert inside.mean() > 0.9
    np.testing.assert_allclose(found[:, 1][inside], known["stderr"].values[inside], rtol=1e-12)
    told = summary["fit_val"][2]["diagnostics"]
    assert told["errors_from"] == "bootstrap"
    assert told["resamples"] == 60
    np.testing.assert_allclose(told["interval"], known["interval"][2], rtol=1e-12)


def test_levels_decide_the_number_of_resamples():
    assert robust_fits.level_of("basic") == ("basic", 0)
    assert robust_fits.level_of("standard") == ("standard", 500)
    assert robust_fits.level_of("comprehensive") == ("comprehensive", 1000)
    assert robust_fits.level_of("comprehensive", 20) == ("comprehensive", 20)
    made = decays(bins=3)
    told = fit_g2(made, robust_fitting=True, diagnostic_level="comprehensive", bootstrap_samples=30)["fit_val"][0]
    assert told["diagnostics"]["resamples"] == 30
    assert told["diagnostics"]["leverage"].shape == made.t_el.shape


def test_an_outlier_does_not_move_the_robust_fit():
    made = decays()
    made.g2[20, :] += 0.05
    plain, robust = (
        np.asarray(fit_g2(made, bounds=SINGLE, robust_fitting=how, bootstrap_samples=0)["fit_val"])[:, 0, 1]
        for how in (False, True)
    )
    truth = 1 / (4e5 * made.q**2)
    assert np.abs(np.log(robust / truth)).max() < 0.5 * np.abs(np.log(plain / truth)).max()


def test_bins_that_cannot_be_fitted_robustly_get_the_standard_fit():
    xf = XpcsFile(carried(f"boost_corr/{STARVED}"))
    plain, robust = (fit_g2(xf, bounds=SINGLE, robust_fitting=how, bootstrap_samples=0) for how in (False, True))
    lost = [k for k, record in enumerate(robust["fit_val"]) if not record["robust_fit"]]
    assert 0 < len(lost) < 12
    for k in lost:
        record = robust["fit_val"][k]
        assert record["status"] == "success"
        np.testing.assert_array_equal(record["params"], plain["fit_val"][k]["params"])
        np.testing.assert_array_equal(record["param_errors"], plain["fit_val"][k]["param_errors"])
        assert "this is the standard fit" in robust["fit_line"][k]["msg"]
        assert "fewer usable delays" in record["msg"] or "no delay" in record["msg"]
        assert record["diagnostics"]["chi2"] == plain["fit_val"][k]["diagnostics"]["chi2"]


@pytest.mark.parametrize("error", [ConfigError("not today"), MemoryBudgetError("work", 2, 1, "buy more")])
def test_where_the_robust_path_raises_the_standard_fit_takes_over(error, monkeypatch, caplog):
    def refuse(*_):
        raise error

    made = decays()
    plain = fit_g2(made, bounds=SINGLE)
    monkeypatch.setattr(robust_fits, "compute", refuse)
    summary = fit_g2(made, bounds=SINGLE, robust_fitting=True)
    np.testing.assert_array_equal(np.asarray(summary["fit_val"]), np.asarray(plain["fit_val"]))
    for record, line in zip(summary["fit_val"], summary["fit_line"], strict=True):
        assert record["robust_fit"] is False
        assert str(error) in line["msg"]
        assert line["success"]
    assert "standard fit takes over" in caplog.text


def test_mistakes_in_the_code_are_not_hidden(monkeypatch):
    monkeypatch.setattr(robust_fits, "compute", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fit_g2(decays(), robust_fitting=True)


def test_errors_that_are_all_zero_leave_the_standard_fit(caplog):
    made = decays()
    made.g2_err[:] = 0.0
    record = fit_g2(made, bounds=SINGLE, robust_fitting=True, diagnostic_level="basic")["fit_val"][2]
    assert record["robust_fit"] is False
    assert record["status"] == "success"
    assert record["params"][1] == pytest.approx(1 / (4e5 * made.q[2] ** 2), rel=0.15)


def test_functions_of_the_user_go_the_robust_way():
    def plateau(x, height, rate, floor):
        return height * np.exp(-rate * x) + floor

    made = decays(bins=4)
    x = np.geomspace(1e-4, 1, 128)
    bounds = ((0, 0.1, 0.5), (1, 1e4, 1.5))
    lines, values = perform_robust_g2_fitting(
        plateau, made.t_el, made.g2, made.g2_err, bounds, [True] * 3, x, None, "basic"
    )
    for k in range(4):
        found, covariance = curve_fit(
            plateau, made.t_el, made.g2[:, k], (0.2, 2 * 4e5 * made.q[k] ** 2, 1), made.g2_err[:, k], True
        )
        np.testing.assert_allclose(values[k]["params"], found, rtol=1e-5)
        np.testing.assert_allclose(values[k]["param_errors"], np.sqrt(np.diag(covariance)), rtol=1e-3)
        np.testing.assert_allclose(lines[k]["fit_y"], plateau(x, *values[k]["params"]))
    assert np.asarray(lines).shape == (4, 128)
    assert values[0]["robust_fit"] is True


def test_one_column_the_standard_way():
    made = decays()
    whole = fit_g2(made, bounds=SINGLE)
    x = np.geomspace(1e-5, 1, 50)
    line, record = fallback_standard_fit(
        single_exp_all, made.t_el, made.g2[:, 6], made.g2_err[:, 6], SINGLE, [True] * 4, x, None
    )
    np.testing.assert_array_equal(record["params"], whole["fit_val"][6]["params"])
    assert record["robust_fit"] is False
    np.testing.assert_allclose(line["fit_y"], single_exp_all(x, *record["params"]))


def test_the_law_of_other_bins_does_not_stay_where_there_are_none():
    made = decays()
    made.fit_summary = fit_g2(made, bounds=SINGLE)
    assert fit_tauq(made, None, None, None)["tauq_success"]
    assert fit_tauq(made, (5.0, 6.0), None, None) is None
    assert {name: made.fit_summary[name] for name in made.fit_summary if "tauq" in name} == {"tauq_success": False}
    assert get_fitting_info(made, "tauq_fitting") == "tauq fitting is not available"


def test_refits_give_no_covariance_to_a_parameter_on_its_bound():
    made = decays()
    bounds = (SINGLE[0], (1.0, 100.0, 0.9, 1.5))
    found = fit_g2(made, bounds=bounds, robust_fitting=True, bootstrap_samples=20)["fit_val"]
    lost = [~np.isfinite(record["param_errors"]) for record in found]
    assert sum(map(np.sum, lost)) > 0
    for record, gone in zip(found, lost, strict=True):
        covariance = np.asarray(record["covariance"])
        np.testing.assert_array_equal(np.isnan(covariance), gone[:, None] | gone[None, :])


@pytest.mark.parametrize(
    "settings", [{}, {"robust_fitting": True, "diagnostic_level": "basic"}, {"robust_fitting": True}], ids=str
)
def test_tau_of_q_is_the_weighted_line_of_logarithms(settings):
    made = decays()
    summary = made.fit_summary = fit_g2(made, bounds=SINGLE, **settings)
    assert fit_tauq(made, (0.004, 0.027), ((0, -10), (1, 10)), [True, True]) is summary
    q, tau, error = summary["tauq_q"], summary["tauq_tau"], summary["tauq_tau_err"]
    assert summary["tauq_success"] is True
    assert ((q >= 0.004) & (q <= 0.027)).all()
    line, covariance = np.polyfit(np.log(q), np.log(tau), 1, w=tau / error, cov="unscaled")
    scatter = (((np.log(tau) - np.polyval(line, np.log(q))) * tau / error) ** 2).sum() / (len(q) - 2)
    errors = np.sqrt(np.diag(covariance) * max(1.0, scatter))
    np.testing.assert_allclose(summary["tauq_fit_val"][0], [np.exp(line[1]), line[0]], rtol=1e-8)
    np.testing.assert_allclose(summary["tauq_fit_val"][1], [np.exp(line[1]) * errors[1], errors[0]], rtol=1e-6)
    assert abs(summary["tauq_fit_val"][0, 1] + 2) < 4 * summary["tauq_fit_val"][1, 1]
    drawn = summary["tauq_fit_line"]
    np.testing.assert_allclose(drawn["fit_x"], np.geomspace(q.min() / 1.1, q.max() * 1.1, 128))
    np.testing.assert_allclose(drawn["fit_y"], power_law(drawn["fit_x"], *summary["tauq_fit_val"][0]))
    json.dumps(summary)


def test_a_refit_forgets_tau_of_q():
    made = decays()
    made.fit_summary = fit_g2(made)
    fit_tauq(made, (0, 1), None, None)
    made.fit_summary = fit_g2(made)
    assert not [name for name in made.fit_summary if name.startswith("tauq")]
    assert get_fitting_info(made, "tauq_fitting") == "tauq fitting is not available"


def test_exponent_held_at_its_upper_bound():
    made = decays()
    summary = made.fit_summary = fit_g2(made, bounds=SINGLE)
    fit_tauq(made, (0, 1), ((0, -3), (1, -2)), [True, False])
    q, tau, error = summary["tauq_q"], summary["tauq_tau"], summary["tauq_tau_err"]
    weight = (tau / error) ** 2
    level = (weight * np.log(tau * q**2)).sum() / weight.sum()
    assert summary["tauq_fit_val"][0, 1] == -2
    assert summary["tauq_fit_val"][1, 1] == 0
    assert summary["tauq_fit_val"][0, 0] == pytest.approx(np.exp(level), rel=1e-7)
    assert 1 / summary["tauq_fit_val"][0, 0] == pytest.approx(4e5, rel=0.03)


def test_bounds_of_the_power_law_hold():
    made = decays()
    summary = made.fit_summary = fit_g2(made, bounds=SINGLE)
    fit_tauq(made, (0, 1), ((0, -1.9), (1, 0)), [True, True])
    assert summary["tauq_fit_val"][0, 1] == pytest.approx(-1.9)
    with pytest.raises(ConfigError, match="bounds"):
        fit_tauq(made, (0, 1), ((0,), (1,)), [True, True])


def test_distrusted_bins_are_left_out_and_named():
    made = decays()
    made.g2[:, 1] = 1 + 0.003 * np.random.default_rng(9).standard_normal(len(made.t_el))
    summary = made.fit_summary = fit_g2(made, bounds=SINGLE)
    fit_tauq(made, (0, 1), None, None)
    assert made.q[1] not in summary["tauq_q"]
    assert summary["tauq_fit_val"][0, 1] == pytest.approx(-2, abs=0.1)
    assert made.q[1] not in summary["tauq_q"]


def test_nothing_without_a_fit():
    made = decays()
    assert fit_tauq(made, (0, 1), None, None) is None
    assert get_fitting_info(made) == "fitting is not ready for made up"
    with pytest.raises(ValueError, match="mode"):
        get_fitting_info(made, "other")


@pytest.mark.parametrize("func", ["single", "double"])
def test_fitting_info_in_words(func):
    made = decays(bins=3)
    summary = made.fit_summary = fit_g2(made, fit_func=func)
    told = get_fitting_info(made)
    value, error = np.asarray(summary["fit_val"])[1]
    names = ("a", "b", "c", "d") if func == "single" else ("a", "b", "c", "d", "b2", "c2", "f")
    assert told["fit_val"][1] == ", ".join(f"{n} = {v:f} ± {e:f}" for n, v, e in zip(names, value, error, strict=True))
    assert "fit_line" not in told
    assert "fit_line" in summary
    fit_tauq(made, (0, 1), None, None)
    a, b = summary["tauq_fit_val"].T
    assert get_fitting_info(made, "tauq_fitting") == f"a = {a[0]:e} ± {a[1]:e}; b = {b[0]:f} ± {b[1]:f}"


def test_diffusion_of_a_file_is_the_truth(xf):
    truth = json.loads(carried("boost_corr/truth.json").read_text())[FILE]
    xf.fit_summary = fit_g2(xf, bounds=SINGLE, fit_flag=[True, True, True, True])
    fit_tauq(xf, (0.002, 0.005), ((0, -3), (1, -2)), [True, False])
    value, error = xf.fit_summary["tauq_fit_val"][:, 0]
    assert abs(value - 1 / truth["D"]) < 4 * error
    assert error < 0.05 * value


def test_robust_fits_are_read_from_the_cache(xf, tmp_path, monkeypatch):
    monkeypatch.setenv("XPCS_CACHE_DIR", str(tmp_path))
    first = fit_g2_robust(xf, bootstrap_samples=20)
    monkeypatch.setattr(robust_fits, "compute", lambda *_: pytest.fail("it was fitted again"))
    again = fit_g2_robust(xf, bootstrap_samples=20)
    np.testing.assert_array_equal(np.asarray(again["fit_val"]), np.asarray(first["fit_val"]))
    assert json.dumps(again) == json.dumps(first)
    for changed in ({"bootstrap_samples": 21}, {"bootstrap_samples": 20, "enable_caching": False}):
        with pytest.raises(pytest.fail.Exception):
            fit_g2_robust(xf, **changed)


def test_results_do_not_depend_on_the_blocks(monkeypatch):
    made = decays()
    whole = fit_g2_robust(made, bootstrap_samples=20)
    real = file_fits.fit_blocks
    monkeypatch.setattr(file_fits, "fit_blocks", lambda request, **k: real(request, bins=5, **k))
    np.testing.assert_array_equal(
        np.asarray(fit_g2_robust(made, bootstrap_samples=20)["fit_val"]), np.asarray(whole["fit_val"])
    )


def test_the_dataset_has_no_more_than_the_file_tells(xf):
    curves, _ = file_fits.select_curves(xf, t_range=(0.002, 1.0))
    data = file_fits.dataset_of(xf, curves)
    opened = xpcs_dask.open_g2(xf.fname, chunks=None).isel(file=0)
    kept = (opened["delay"] >= 0.002) & (opened["delay"] <= 1.0)
    xr.testing.assert_equal(data["n_products"].drop_vars(data["n_products"].coords),
        opened["n_products"].isel(delay=np.flatnonzero(kept)).drop_vars(opened["n_products"].coords))  # fmt: skip
    np.testing.assert_array_equal(data["rate"], opened["rate"])
    np.testing.assert_array_equal(data["g2"], opened["g2"].isel(delay=np.flatnonzero(kept)))
