"""Metrics of a fit are those of statsmodels and scipy; the criteria are the package's own, and there is one of each."""

from __future__ import annotations

import json

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from xpcs_dask import fit
from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting import criteria
from xpcs_dask.simulate import curves
from xpcs_dask.toolkit.goodness import GoodnessOfFitAnalyzer

X = np.linspace(1, 5, 30)
RNG = np.random.default_rng(1)
SIGMA = np.linspace(0.05, 0.3, 30)
Y = 1 + 0.5 * X + SIGMA * RNG.standard_normal(30)
DESIGN = sm.add_constant(X)
ANALYZER = GoodnessOfFitAnalyzer()


def metrics(power=1, sigma=SIGMA, **options):
    design = np.vander(X, power + 1)
    weights = np.ones(30) if sigma is None else sigma**-2
    fit = sm.WLS(Y, design, weights=weights).fit(cov_type="fixed scale" if sigma is not None else "nonrobust")
    found = ANALYZER.calculate_goodness_of_fit_metrics(Y, np.asarray(fit.fittedvalues), power + 1, sigma, **options)
    return found, fit


def test_without_errors_they_are_those_of_ordinary_least_squares():
    found, fit = metrics(sigma=None)
    assert found["r_squared"] == pytest.approx(fit.rsquared)
    assert found["weighted_r_squared"] == pytest.approx(fit.rsquared)
    assert found["adjusted_r_squared"] == pytest.approx(fit.rsquared_adj)
    assert found["log_likelihood"] == pytest.approx(fit.llf)
    assert found["sum_squared_residuals"] == pytest.approx(fit.ssr)
    assert found["total_sum_squares"] == pytest.approx(fit.centered_tss)
    assert found["degrees_of_freedom"] == 28
    assert np.isnan(found["chi_squared_p_value"])
    rest = Y - fit.fittedvalues
    assert found["rmse"] == pytest.approx(np.sqrt(np.mean(rest**2)))
    assert found["mae"] == pytest.approx(np.mean(np.abs(rest)))
    assert found["mape"] == pytest.approx(100 * np.mean(np.abs(rest / Y)))
    assert found["smape"] == pytest.approx(200 * np.mean(np.abs(rest) / (np.abs(Y) + np.abs(fit.fittedvalues))))
    assert found["cv_rmse"] == pytest.approx(found["rmse"] / Y.mean())


def test_with_errors_chi2_is_weighted_and_has_a_p():
    found, fit = metrics()
    chi2 = np.sum(((Y - fit.fittedvalues) / SIGMA) ** 2)
    assert found["chi_squared"] == pytest.approx(chi2)
    assert found["reduced_chi_squared"] == pytest.approx(chi2 / 28)
    assert found["chi_squared_p_value"] == pytest.approx(stats.chi2.sf(chi2, 28))
    assert found["weighted_r_squared"] == pytest.approx(fit.rsquared)
    assert found["log_likelihood"] == pytest.approx(stats.norm.logpdf(Y, fit.fittedvalues, SIGMA).sum())


@pytest.mark.parametrize("sigma", [SIGMA, None], ids=["errors", "none"])
def test_differences_of_criteria_are_those_of_likelihoods(sigma):
    small, large = metrics(1, sigma)[0], metrics(2, sigma)[0]
    gain = 2 * (large["log_likelihood"] - small["log_likelihood"])
    assert large["aic"] - small["aic"] == pytest.approx(2 - gain)
    assert large["bic"] - small["bic"] == pytest.approx(np.log(30) - gain)
    assert large["hqic"] - small["hqic"] == pytest.approx(2 * np.log(np.log(30)) - gain)
    for found, p in ((small, 2), (large, 3)):
        k = p + (sigma is None)
        assert found["aic_corrected"] - found["aic"] == pytest.approx(2 * k * (k + 1) / (30 - k - 1))
        misfit = found["chi_squared"]
        assert found["bic"] == pytest.approx(float(criteria.bic(misfit, p, 30, sigma is not None)))
        assert found["aic_corrected"] == pytest.approx(float(criteria.aicc(misfit, p, 30, sigma is not None)))


def test_criteria_are_those_of_a_fit_of_the_package():
    data = curves(q=[0.01], seed=1)
    found = fit(data, "single", errors="quoted", detail="full", min_products=1).isel(file=0, qbin=0)
    g2, err = data["g2"].values.ravel().astype(float), data["g2_err"].values.ravel().astype(float)
    used = err > 0
    value = found["value"].values
    t = data["delay"].values[used]
    pred = value[3] + value[0] * np.exp(-2 * (t / value[1]) ** value[2])
    metrics = ANALYZER.calculate_goodness_of_fit_metrics(g2[used], pred, 4, err[used])
    assert int(found["n_used"]) == used.sum()
    assert metrics["bic"] == pytest.approx(float(found["bic"]), rel=1e-6)
    assert metrics["aic_corrected"] == pytest.approx(float(found["aicc"]), rel=1e-6)


def test_a_likelihood_that_is_given_is_taken():
    plain, _ = metrics()
    given, _ = metrics(log_likelihood=-12.0)
    assert given["log_likelihood"] == -12.0
    assert given["aic"] == pytest.approx(24 + 4)
    assert given["bic"] == pytest.approx(24 + 2 * np.log(30))
    assert given["chi_squared"] == plain["chi_squared"]


def test_what_is_not_defined_is_nan():
    found = ANALYZER.calculate_goodness_of_fit_metrics(np.zeros(3), np.zeros(3), 3)
    for name in ("r_squared", "adjusted_r_squared", "reduced_chi_squared", "mape", "smape", "cv_rmse"):
        assert np.isnan(found[name])
    assert found["fit_quality_assessment"]["overall_quality"] == "Poor"
    json.dumps(found)
    exact = ANALYZER.calculate_goodness_of_fit_metrics(Y, Y, 2)
    assert exact["r_squared"] == 1
    assert np.isfinite(exact["log_likelihood"])


def quality(noise, stated, n=60, signal=1.0):
    x = np.linspace(0, 1, n)
    y = signal * x + noise * np.random.default_rng(3).standard_normal(n)
    fit = np.polyval(np.polyfit(x, y, 1), x)
    return ANALYZER.calculate_goodness_of_fit_metrics(y, fit, 2, None if stated is None else np.full(n, stated))[
        "fit_quality_assessment"
    ]


def test_the_verdict_goes_by_chi2_and_by_what_is_explained():
    assert quality(0.01, 0.01)["overall_quality"] == "Excellent"
    assert quality(0.01, 0.01)["warnings"] == []
    assert quality(0.1, 0.1)["overall_quality"] == "Good"
    too_small = quality(0.01, 0.004)
    assert too_small["overall_quality"] == "Fair"
    assert "improbably large" in too_small["warnings"][0]
    assert "improbably small" in quality(0.01, 0.03)["warnings"][0]
    noise = quality(1.0, 1.0, signal=0.0)
    assert noise["overall_quality"] == "Poor"
    assert noise["recommendations"]


def test_models_are_ranked():
    found = [metrics(power)[0] for power in (0, 1, 4)]
    compared = ANALYZER.compare_models(found, ["constant", "line", "quartic"])
    for name in ("aic", "bic", "aic_corrected", "hqic", "rmse", "reduced_chi_squared"):
        ranking = compared["rankings"][name]
        values = [row["value"] for row in ranking]
        assert values == sorted(values)
        assert [row["delta"] for row in ranking] == pytest.approx([v - values[0] for v in values])
        assert [row["rank"] for row in ranking] == [1, 2, 3]
        assert compared["best_model"][name] == ranking[0]["model"]
    assert compared["rankings"]["r_squared"][-1]["model"] == "constant"
    assert compared["rankings"]["r_squared"][0]["delta"] == 0
    assert compared["best_model"]["bic"] == "line"
    aicc = np.array([row["aic_corrected"] for row in found])
    share = np.exp(-0.5 * (aicc - aicc.min()))
    np.testing.assert_allclose(list(compared["akaike_weights"].values()), share / share.sum())
    assert compared["recommendation"].startswith("line is ")
    json.dumps(compared)


def test_equal_models_share_a_rank_and_names_are_made_up():
    one = metrics()[0]
    compared = ANALYZER.compare_models([one, one])
    assert compared["models"] == ["Model_1", "Model_2"]
    assert [row["rank"] for row in compared["rankings"]["bic"]] == [1, 1]
    assert "not to be told" in compared["recommendation"]
    assert "only model" in ANALYZER.compare_models([one])["recommendation"]


def test_a_model_without_a_criterion_is_not_ranked_by_it():
    one, other = metrics()[0], {**metrics()[0], "aic_corrected": np.nan}
    compared = ANALYZER.compare_models([one, other], ["a", "b"])
    assert [row["model"] for row in compared["rankings"]["aic_corrected"]] == ["a"]
    assert compared["akaike_weights"] == {"a": 1.0, "b": 0.0}


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: ANALYZER.compare_models([]), "0 results"),
        (lambda: ANALYZER.compare_models([metrics()[0]] * 2, ["a", "a"]), "one name of its own"),
        (lambda: ANALYZER.compare_models([metrics()[0], {**metrics()[0], "n_data_points": 3}]), "same points"),
        (lambda: ANALYZER.calculate_goodness_of_fit_metrics(Y, Y[1:], 2), "one row"),
        (lambda: ANALYZER.calculate_goodness_of_fit_metrics(Y, Y, 2, np.zeros(30)), "above 0"),
        (lambda: ANALYZER.calculate_goodness_of_fit_metrics(Y, Y, 2, np.ones(3)), "does not fit"),
        (lambda: ANALYZER.calculate_goodness_of_fit_metrics(Y * np.nan, Y, 2), "NaN"),
    ],
)
def test_what_makes_no_sense_is_refused(call, text):
    with pytest.raises(ConfigError, match=text):
        call()
