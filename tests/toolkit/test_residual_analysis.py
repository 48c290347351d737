"""Tests of residuals: statsmodels' and scipy's numbers, and levels that hold for the residuals of a fit."""

from __future__ import annotations

import json

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.diagnostic import het_breuschpagan, het_goldfeldquandt
from statsmodels.stats.outliers_influence import OLSInfluence
from statsmodels.stats.stattools import durbin_watson

from xpcs_dask import fit_curves
from xpcs_dask.errors import ConfigError
from xpcs_dask.toolkit.function_model import jacobian_of
from xpcs_dask.toolkit.models import single_exp
from xpcs_dask.toolkit.residual_analysis import ResidualAnalyzer

T = np.geomspace(1e-4, 10, 40)
ANALYZER = ResidualAnalyzer()
RNG = np.random.default_rng(5)
DESIGN = np.stack([np.ones(40), np.log(T), np.log(T) ** 2], axis=1)
Y = DESIGN @ [1.0, 0.2, -0.03] + 0.1 * RNG.standard_normal(40)
OLS = sm.OLS(Y, DESIGN).fit()
FIT = np.asarray(OLS.fittedvalues)
SIGMA = np.geomspace(0.02, 0.2, 40)


def test_influence_is_that_of_statsmodels():
    found = ANALYZER.compute_influence_measures(T, Y, FIT, Y - FIT, jacobian=DESIGN)
    known = OLSInfluence(OLS)
    np.testing.assert_allclose(found["leverage"], known.hat_matrix_diag, rtol=1e-9)
    np.testing.assert_allclose(found["cooks_distance"], known.cooks_distance[0], rtol=1e-9)
    np.testing.assert_allclose(found["dffits"], known.dffits[0], rtol=1e-9)
    np.testing.assert_allclose(found["standardized_residuals"], known.resid_studentized_internal, rtol=1e-9)
    assert found["influential_points"]["leverage"] == np.flatnonzero(known.hat_matrix_diag > 6 / 40).tolist()
    assert found["influential_points"]["cooks_distance"] == np.flatnonzero(known.cooks_distance[0] > 0.1).tolist()
    beyond = np.flatnonzero(np.abs(known.dffits[0]) > 2 * np.sqrt(3 / 40))
    assert found["influential_points"]["dffits"] == beyond.tolist()
    assert found["n_influential"] == len({k for some in found["influential_points"].values() for k in some})


def test_influence_of_a_weighted_fit():
    known = OLSInfluence(sm.OLS(Y / SIGMA, DESIGN / SIGMA[:, None]).fit())
    fit = DESIGN @ sm.WLS(Y, DESIGN, weights=SIGMA**-2).fit().params
    found = ANALYZER.compute_influence_measures(T, Y, fit, Y - fit, jacobian=DESIGN, sigma=SIGMA)
    np.testing.assert_allclose(found["leverage"], known.hat_matrix_diag, rtol=1e-9)
    np.testing.assert_allclose(found["cooks_distance"], known.cooks_distance[0], rtol=1e-8)


def test_leverage_of_an_unknown_model_is_not_made_up():
    found = ANALYZER.compute_influence_measures(T, Y, FIT, Y - FIT)
    assert np.isnan(found["leverage"]).all()
    assert "jacobian" in found["message"]
    assert found["n_influential"] == 0


def test_statistics_and_outliers():
    y = Y.copy()
    y[11] += 3.0
    fit = np.asarray(sm.OLS(y, DESIGN).fit().fittedvalues)
    found = ANALYZER.analyze_residuals(T, y, fit, 0.1 * np.ones(40), jacobian=DESIGN)
    rest = y - fit
    numbers = found["residual_statistics"]
    assert numbers["std"] == pytest.approx(rest.std(ddof=1))
    assert numbers["skewness"] == pytest.approx(stats.skew(rest))
    assert numbers["kurtosis"] == pytest.approx(stats.kurtosis(rest))
    assert numbers["mad"] == pytest.approx(stats.median_abs_deviation(rest))
    assert numbers["rms"] == pytest.approx(np.sqrt(np.mean(rest**2)))
    outliers = found["outliers"]
    assert outliers["indices"] == [11]
    assert outliers["count"] == 1
    assert outliers["fraction"] == 1 / 40
    assert outliers["x_values"] == [T[11]]
    assert outliers["y_values"] == [y[11]]
    hat = OLSInfluence(OLS).hat_matrix_diag
    assert outliers["standardized_values"] == [pytest.approx(rest[11] / 0.1 / np.sqrt(1 - hat[11]))]
    assert ResidualAnalyzer(100.0).analyze_residuals(T, y, fit, 0.1)["outliers"]["count"] == 0


def test_a_trend_is_that_of_linregress_over_ln_x():
    rng = np.random.default_rng(82)
    rest = rng.standard_normal(40) + 0.15 * np.log(T)
    found = ANALYZER.analyze_residuals(T, rest, np.zeros(40))["trend_analysis"]
    known = stats.linregress(np.log(T), rest)
    assert found["slope"] == pytest.approx(known.slope)
    assert found["intercept"] == pytest.approx(known.intercept)
    assert found["r_squared"] == pytest.approx(known.rvalue**2)
    assert found["p_value"] == pytest.approx(known.pvalue)
    assert found["has_trend"]


@pytest.mark.parametrize("absolute", [True, False])
def test_a_trend_beyond_a_fit_is_the_test_of_one_more_term(absolute):
    design = np.stack([np.ones(40), T], axis=1)
    sigma = 0.1 * np.ones(40)
    fit = np.asarray(sm.WLS(Y, design, weights=sigma**-2).fit().fittedvalues)
    more = np.column_stack([design, np.log(T)])
    kind = {"cov_type": "fixed scale"} if absolute else {}
    known = sm.WLS(Y, more, weights=sigma**-2).fit(**kind)
    found = ANALYZER.analyze_residuals(T, Y, fit, sigma if absolute else None, jacobian=design)["trend_analysis"]
    assert found["p_value"] == pytest.approx(known.pvalues[2], rel=1e-6, abs=1e-300)


def test_a_trend_that_the_model_has_itself_cannot_be_seen():
    found = ANALYZER.analyze_residuals(T, Y, FIT, jacobian=DESIGN)["trend_analysis"]
    assert np.isnan(found["p_value"])
    assert not found["has_trend"]


def test_durbin_watson_is_that_of_statsmodels_in_order_of_x():
    rng = np.random.default_rng(112)
    order = rng.permutation(40)
    found = ANALYZER.analyze_residuals(T[order], Y[order], FIT[order], jacobian=DESIGN[order])
    assert found["autocorrelation"]["durbin_watson"] == pytest.approx(durbin_watson(Y - FIT))
    straight = ANALYZER.analyze_residuals(T, Y, FIT, jacobian=DESIGN)
    assert found["randomness_test"] == pytest.approx(straight["randomness_test"])


def test_runs_of_a_row_are_counted():
    rng = np.random.default_rng(121)
    rest = np.tile([1.0, 1.0, -1.0, -1.0], 10)
    found = ANALYZER.analyze_residuals(np.arange(1.0, 41), rest, np.zeros(40))["randomness_test"]
    assert 18 <= found["runs"] <= 20  # one of 40 is given up for the mean
    alternating = np.tile([1.0, -1.0], 20) + 0.01 * rng.standard_normal(40)
    assert not ANALYZER.analyze_residuals(T, alternating, np.zeros(40))["randomness_test"]["is_random"]
    assert ANALYZER.analyze_residuals(T, alternating, np.zeros(40))["randomness_test"]["runs_z_score"] > 3


def fits_of_noise(n, noise):
    """Residuals of fits of a decay, their derivatives, and the curves."""
    y = single_exp(T, 0.05, 1, 0.3) + noise
    fits = fit_curves(T, y, 0.005, "simple")
    for row, value in zip(y, fits.value[:n], strict=True):
        theta = value[[1, 2, 0]]
        yield row, single_exp(T, *theta), jacobian_of(single_exp, T, theta)


@pytest.mark.slow
def test_levels_hold_for_residuals_of_a_fit():
    """3 parameters of 40 points make neighbours of noise look correlated to the textbook's tests."""
    hits = []
    for y, fit, slopes in fits_of_noise(300, 0.005 * np.random.default_rng(2).standard_normal((300, 40))):
        found = ANALYZER.analyze_residuals(T, y, fit, np.full(40, 0.005), jacobian=slopes)
        uneven = [
            ANALYZER.test_heteroscedasticity(T, y - fit, method, jacobian=slopes)["has_heteroscedasticity"]
            for method in ("breusch_pagan", "goldfeld_quandt")
        ]
        hits.append(
            [
                not found["randomness_test"]["is_random"], not found["autocorrelation"]["is_independent"],
                found["trend_analysis"]["has_trend"],
                not found["normality_tests"]["shapiro_wilk"]["is_normal"], *uneven,
            ]
        )  # fmt: skip
    level = np.mean(hits, axis=0)
    assert (level > 0.01).all()
    assert (level < 0.09).all()


def test_correlated_noise_is_seen():
    noise = np.random.default_rng(3).standard_normal((60, 40))
    for k in range(1, 40):
        noise[:, k] = 0.8 * noise[:, k - 1] + 0.6 * noise[:, k]
    seen = [
        not ANALYZER.analyze_residuals(T, y, fit, jacobian=slopes)["autocorrelation"]["is_independent"]
        for y, fit, slopes in fits_of_noise(60, 0.005 * noise)
    ]
    assert np.mean(seen) > 0.8


def test_normality_is_judged_by_scipy_on_independent_residuals():
    rng = np.random.default_rng(172)
    rest = rng.standard_t(1.5, 40)
    found = ANALYZER.analyze_residuals(T, rest, np.zeros(40))["normality_tests"]
    assert not found["shapiro_wilk"]["is_normal"]
    assert not found["jarque_bera"]["is_normal"]
    assert found["shapiro_wilk"]["p_value"] == pytest.approx(stats.shapiro(rest).pvalue, abs=0.02)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of statsmodels
@pytest.mark.parametrize("seed", range(3))
def test_heteroscedasticity_is_that_of_statsmodels(seed):
    rest = np.random.default_rng(seed).standard_normal(40) * np.linspace(0.5, 1 + 0.5 * seed, 40)
    found = ANALYZER.test_heteroscedasticity(T, rest)
    statistic, p, _, _ = het_breuschpagan(rest, sm.add_constant(np.log(T)))
    assert found["statistic"] == pytest.approx(statistic)
    assert found["p_value"] == pytest.approx(p)
    found = ANALYZER.test_heteroscedasticity(T, rest, "goldfeld_quandt")
    ratio, p = het_goldfeldquandt(rest, np.ones((40, 1)), split=16, drop=8, alternative="two-sided")[:2]
    assert found["statistic"] == pytest.approx(ratio)
    assert found["p_value"] == pytest.approx(p)
    assert found["degrees_of_freedom"] == [15, 15]
    assert found["is_homoscedastic"] is not found["has_heteroscedasticity"]


def test_heteroscedasticity_is_looked_for_in_order_of_x_and_of_enough_points():
    rng = np.random.default_rng(197)
    rest = rng.standard_normal(40) * np.geomspace(0.1, 3, 40)
    order = rng.permutation(40)
    for method in ("breusch_pagan", "goldfeld_quandt"):
        straight, mixed = (ANALYZER.test_heteroscedasticity(T[k], rest[k], method) for k in (slice(None), order))
        assert straight["p_value"] == pytest.approx(mixed["p_value"])
        assert straight["has_heteroscedasticity"]
        few = ANALYZER.test_heteroscedasticity(T[:5], rest[:5], method)
        assert few["is_homoscedastic"]
        assert few["interpretation"] == "too few points to tell"


def test_deviations_in_bins():
    rng = np.random.default_rng(210)
    rest = rng.standard_normal(40)
    rest[20:24] += 6.0
    found = ANALYZER.detect_systematic_deviations(T, rest, 10)
    assert [b["n_points"] for b in found["bin_analysis"]] == [4] * 10
    assert [b["is_deviant"] for b in found["bin_analysis"]] == [False] * 5 + [True] + [False] * 4
    fifth = found["bin_analysis"][5]
    assert fifth["mean"] == pytest.approx(rest[20:24].mean())
    assert (fifth["x_min"], fifth["x_max"]) == (T[20], T[23])
    within = np.mean([rest[k : k + 4].var(ddof=1) for k in range(0, 40, 4)])
    t = rest[20:24].mean() / np.sqrt(within / 4)
    assert fifth["p_value"] == pytest.approx(2 * stats.t.sf(t, 30))
    known = stats.ttest_1samp(rest, 0.0)
    assert found["systematic_bias"]["p_value"] == pytest.approx(known.pvalue)
    assert any("one side" in text for text in found["recommendations"])
    order = rng.permutation(40)
    assert ANALYZER.detect_systematic_deviations(T[order], rest[order], 10)["bin_analysis"] == found["bin_analysis"]


def test_noise_has_no_deviations():
    rng = np.random.default_rng(9)
    found = [ANALYZER.detect_systematic_deviations(T, rng.standard_normal(40)) for _ in range(300)]
    assert np.mean([any(b["is_deviant"] for b in f["bin_analysis"]) for f in found]) < 0.09
    assert 0.02 < np.mean([f["systematic_bias"]["has_bias"] for f in found]) < 0.09
    assert 0.02 < np.mean([f["systematic_trend"]["has_trend"] for f in found]) < 0.09


@pytest.mark.parametrize("method", ["cusum", "variance"])
def test_changepoints_are_found_where_they_are(method):
    rng = np.random.default_rng(239)
    rest = rng.standard_normal(120)
    rest = (
        rest + np.where(np.arange(120) >= 70, 2.5, 0)
        if method == "cusum"
        else rest * np.where(np.arange(120) >= 70, 5, 1)
    )
    found = ANALYZER.detect_changepoints(rest, method)
    assert found["has_changepoint"]
    assert any(abs(k - 70) <= 3 for k in found["changepoints"])
    assert found["n_changepoints"] == len(found["changepoints"])
    assert found["p_value"] < 1e-3


def test_a_changepoint_is_the_first_point_after_the_jump():
    rng = np.random.default_rng(254)
    rest = np.repeat([0.0, 5.0], [30, 40]) + 1e-3 * rng.standard_normal(70)
    assert 30 in ANALYZER.detect_changepoints(rest)["changepoints"]


def test_two_changepoints_are_both_found():
    rng = np.random.default_rng(260)
    rest = 0.5 * rng.standard_normal(150) + np.repeat([0, 3, -2], 50)
    found = ANALYZER.detect_changepoints(rest)["changepoints"]
    assert any(abs(k - 50) <= 2 for k in found)
    assert any(abs(k - 100) <= 2 for k in found)
    assert found == sorted(found)


@pytest.mark.parametrize("method", ["cusum", "variance"])
def test_noise_has_changepoints_as_rarely_as_it_should(method):
    rng = np.random.default_rng(4)
    hits = [ANALYZER.detect_changepoints(rng.standard_normal(80), method)["has_changepoint"] for _ in range(400)]
    assert 0.015 < np.mean(hits) < 0.09


def test_the_statistic_of_cusum_is_the_excursion():
    rng = np.random.default_rng(276)
    rest = rng.standard_normal(50)
    path = np.cumsum(rest - rest.mean()) / (rest.std(ddof=1) * np.sqrt(50))
    assert ANALYZER.detect_changepoints(rest)["statistic"] == pytest.approx(np.abs(path).max())


def test_few_or_equal_numbers_are_answered():
    for n in (1, 3, 7):
        found = ANALYZER.analyze_residuals(T[:n], Y[:n], FIT[:n])
        json.dumps(found)
        assert found["randomness_test"]["is_random"]
        assert not ANALYZER.detect_changepoints(Y[:n])["has_changepoint"]
    found = ANALYZER.analyze_residuals(T, FIT, FIT)
    assert found["normality_tests"]["shapiro_wilk"]["is_normal"]
    json.dumps(ANALYZER.detect_systematic_deviations(T, np.zeros(40)))
    assert ANALYZER.detect_changepoints(np.zeros(40))["changepoints"] == []


def test_x_of_any_kind_orders_the_points():
    plane = np.stack([T, T])
    found = ANALYZER.analyze_residuals(plane, Y, FIT)
    assert found["trend_analysis"]["slope"] == pytest.approx(stats.linregress(np.arange(40), Y - FIT).slope)
    shifted = ANALYZER.analyze_residuals(T - 1.0, Y, FIT)["trend_analysis"]
    assert shifted["slope"] == pytest.approx(stats.linregress(T - 1.0, Y - FIT).slope)
    zero = np.r_[0.0, T[1:]]
    at = np.log(np.r_[T[1], T[1:]])
    assert ANALYZER.analyze_residuals(zero, Y, FIT)["trend_analysis"]["slope"] == pytest.approx(
        stats.linregress(at, Y - FIT).slope
    )


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: ANALYZER.analyze_residuals(T, Y, FIT[1:]), "give one row"),
        (lambda: ANALYZER.analyze_residuals(T, Y, FIT, np.zeros(40)), "above 0"),
        (lambda: ANALYZER.analyze_residuals(T, Y, FIT, np.ones(3)), "does not fit"),
        (lambda: ANALYZER.analyze_residuals(T, Y, FIT, jacobian=np.ones((3, 3))), "jacobian"),
        (lambda: ANALYZER.analyze_residuals(T, np.where(T > 1, np.nan, Y), FIT), "finite"),
        (lambda: ANALYZER.test_heteroscedasticity(T, Y, "white"), "white"),
        (lambda: ANALYZER.detect_changepoints(Y, "pelt"), "pelt"),
        (lambda: ANALYZER.detect_changepoints(np.where(T > 1, np.nan, Y)), "finite"),
        (lambda: ANALYZER.detect_systematic_deviations(T, Y, 0), "n_bins is 0"),
        (lambda: ResidualAnalyzer(0), "above 0"),
    ],
)
def test_what_makes_no_sense_is_refused(call, text):
    with pytest.raises(ConfigError, match=text):
        call()
