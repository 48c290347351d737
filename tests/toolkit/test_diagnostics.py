"""A report says of a fit what its parts say, in plain numbers; fits of noise, and of the wrong model, are told."""

from __future__ import annotations

import base64
import json
import pickle

import numpy as np
import pytest
from scipy.optimize import curve_fit
from statsmodels.api import OLS
from statsmodels.stats.outliers_influence import OLSInfluence

from xpcs_dask.errors import ConfigError
from xpcs_dask.toolkit import diagnostics, summary
from xpcs_dask.toolkit.diagnostics import CovarianceAnalyzer, DiagnosticReporter, GoodnessOfFitAnalyzer
from xpcs_dask.toolkit.models import single_exp, single_exp_all
from xpcs_dask.toolkit.optimizer import RobustOptimizerWithDiagnostics

T = np.geomspace(1e-4, 10, 50)
SIGMA = np.linspace(0.003, 0.006, 50)
G2 = single_exp(T, 0.02, 1.01, 0.2) + SIGMA * np.random.default_rng(12).standard_normal(50)
BOX = ([1e-5, 0.8, 0.0], [100.0, 1.2, 0.6])
POPT, PCOV = curve_fit(single_exp, T, G2, [0.02, 1, 0.2], SIGMA, absolute_sigma=True, xtol=1e-14, ftol=1e-14)
PARTS = {
    "function_name", "timestamp", "data_info", "goodness_of_fit", "covariance_analysis", "parameter_suggestions",
    "residual_analysis", "systematic_deviations", "bootstrap_analysis", "summary",
}  # fmt: skip


def report(n_bootstrap=0, func=single_exp, y=G2, popt=POPT, pcov=PCOV, bounds=BOX, sigma=SIGMA, plots=False, **options):
    reporter = DiagnosticReporter(plots, 2)
    return reporter.generate_comprehensive_report(
        func, T, y, popt, pcov, bounds, sigma, "decay", n_bootstrap=n_bootstrap, **options
    )


def test_it_has_every_part_and_can_be_stored():
    found = report(60)
    assert found.keys() >= PARTS
    assert found["function_name"] == "decay"
    assert found["data_info"]["n_data_points"] == 50
    assert found["data_info"]["n_parameters"] == 3
    assert found["data_info"]["has_uncertainties"] is True
    assert found["data_info"]["x_range"] == [T[0], T[-1]]
    assert found["data_info"]["y_range"] == [G2.min(), G2.max()]
    again = json.loads(json.dumps(found))
    assert again["summary"] == found["summary"]
    assert again["bootstrap_analysis"]["n_successful_fits"] == 60
    copy = pickle.loads(pickle.dumps(found))
    assert json.dumps(copy) == json.dumps(found)
    assert set(diagnostics.__all__) >= {"BootstrapAnalyzer", "ResidualAnalyzer"}


def test_parts_are_those_of_the_analyzers():
    found = report()
    fit = single_exp(T, *POPT)
    assert found["goodness_of_fit"] == GoodnessOfFitAnalyzer().calculate_goodness_of_fit_metrics(G2, fit, 3, SIGMA)
    known = CovarianceAnalyzer().analyze_covariance_matrix(PCOV, POPT, "decay")
    assert json.dumps(found["covariance_analysis"]) == json.dumps(known)
    assert found["bootstrap_analysis"].keys() == {"skipped"}


def test_leverage_is_that_of_the_model():
    step = 1e-6
    slopes = np.transpose(
        [(single_exp(T, *(POPT * (1 + step * u))) - single_exp(T, *(POPT * (1 - step * u)))) for u in np.eye(3)]
    )
    slopes /= 2 * step * POPT
    known = OLSInfluence(OLS(G2 / SIGMA, slopes / SIGMA[:, None]).fit()).hat_matrix_diag
    np.testing.assert_allclose(report()["influence"]["leverage"], known, rtol=1e-4)


def test_points_that_cannot_be_used_are_left_out_and_counted():
    y, sigma = G2.copy(), SIGMA.copy()
    y[3], sigma[9] = np.nan, 0.0
    found = report(y=y, sigma=sigma)
    assert found["data_info"]["n_points_left_out"] == 2
    assert found["goodness_of_fit"]["n_data_points"] == 48


def test_a_good_fit_is_called_so():
    found = report(100)
    assert found["summary"]["overall_assessment"] in ("Excellent", "Good")
    assert found["summary"]["quality_score"] >= 0.9
    assert found["signal"]["has_signal"]
    assert any("100 of 100 refits" in text for text in found["summary"]["key_findings"])


@pytest.mark.parametrize("sigma", [0.01, None])
def test_a_fit_of_noise_is_told(sigma):
    hits = []
    for seed in range(20):
        y = 1 + 0.01 * np.random.default_rng(seed).standard_normal(50)
        optimizer = RobustOptimizerWithDiagnostics(diagnostic_level="basic")
        errors = None if sigma is None else np.full(50, sigma)
        _, _, found = optimizer.robust_curve_fit_with_diagnostics(
            single_exp, T, y, [0.1, 1, 0.1], BOX, errors, absolute_sigma=True
        )
        hits.append("no signal" in " ".join(found["summary"]["warnings"]))
        if hits[-1]:
            assert found["summary"]["overall_assessment"] == "Poor"
            assert found["summary"]["quality_score"] <= 0.2
    assert np.mean(hits) >= 0.85


def test_the_wrong_model_is_told():
    y = single_exp_all(T, 0.2, 0.02, 0.4, 1.0) + 0.002 * np.random.default_rng(0).standard_normal(50)
    popt, pcov = curve_fit(single_exp, T, y, [0.02, 1, 0.2], np.full(50, 0.002), absolute_sigma=True)
    found = report(popt=popt, pcov=pcov, y=y, sigma=np.full(50, 0.002))["summary"]
    told = " ".join(found["warnings"])
    assert "errors do not explain" in told
    assert "residuals" in told
    assert found["quality_score"] <= 0.5
    assert found["recommendations"]


def test_outliers_and_vague_parameters_cost():
    y = G2.copy()
    y[[20, 33]] += 0.06
    assert "2 outliers" in " ".join(report(y=y)["summary"]["warnings"])
    vague = report(pcov=PCOV * np.outer([1e3, 1, 1], [1e3, 1, 1]))["summary"]
    assert "parameters 0 are smaller" in " ".join(vague["warnings"])
    singular = report(pcov=np.full((3, 3), np.inf))["summary"]
    assert singular["quality_score"] <= 0.8
    assert "not told apart" in " ".join(singular["warnings"])


@pytest.mark.parametrize(
    ("score", "word"), [(1.0, "Excellent"), (0.95, "Excellent"), (0.9, "Good"), (0.5, "Fair"), (0.1, "Poor")]
)
def test_words_for_scores(score, word):
    assert summary.verdict(score) == word
    quality = RobustOptimizerWithDiagnostics().analyze_fit_quality({"summary": {"quality_score": score}})
    assert quality == f"{word} (score: {score:.2f})"


def test_as_many_parameters_as_points_are_told():
    popt, x = np.array([1.0, 2.0]), np.array([0.0, 1.0])
    found = DiagnosticReporter().generate_comprehensive_report(
        lambda x, a, b: a + b * x, x, np.array([1.0, 3.0]), popt, np.full((2, 2), np.inf), n_bootstrap=10
    )
    assert "error" in found["bootstrap_analysis"]
    assert "no more points than parameters" in " ".join(found["summary"]["warnings"])
    assert found["summary"]["overall_assessment"] == "Poor"
    json.dumps(found)
    assert "error: ConfigError" in DiagnosticReporter().generate_text_report(found)


def test_the_text_has_what_the_report_has():
    found = report(50)
    text = DiagnosticReporter().generate_text_report(found)
    assert "Fit of decay" in text
    assert f"Overall: {found['summary']['overall_assessment']} (score: {found['summary']['quality_score']:.2f})" in text
    assert f"{found['goodness_of_fit']['chi_squared']:.6g}" in text
    low, high = found["bootstrap_analysis"]["parameter_statistics"]["param_2"]["confidence_interval"]
    assert f"interval {low:.6g} to {high:.6g}" in text
    for part in ("Data", "Goodness of fit", "Parameters", "Residuals", "Bootstrap", "Findings"):
        assert f"\n{part}\n{'-' * len(part)}\n" in text
    assert "skipped" in DiagnosticReporter().generate_text_report(report())


def test_plots_are_pictures():
    found = report(plots=True)["plots"]
    assert found.keys() == {"residuals", "normal_quantiles"}
    for picture in found.values():
        assert base64.b64decode(picture).startswith(b"\x89PNG")
    assert "plots" not in report()


@pytest.mark.parametrize(
    ("level", "samples", "number"),
    [("basic", None, 0), ("standard", None, 500), ("comprehensive", None, 1000), ("basic", 30, 30), ("standard", 0, 0)],
)
def test_levels_have_their_refits(level, samples, number):
    optimizer = RobustOptimizerWithDiagnostics(diagnostic_level=level)
    popt, pcov, found = optimizer.robust_curve_fit_with_diagnostics(
        single_exp, T, G2, [0.1, 1, 0.1], BOX, SIGMA, "decay", samples, absolute_sigma=True
    )
    np.testing.assert_allclose(popt, POPT, rtol=1e-6)
    np.testing.assert_allclose(pcov, PCOV, rtol=1e-3, atol=1e-12)
    done = found["bootstrap_analysis"]
    assert done.get("n_bootstrap_requested", 0) == number
    assert ("skipped" in done) == (number == 0)
    assert found["optimization_info"]["method"] == "Trust Region Reflective"
    uncertainties = optimizer.get_parameter_uncertainties(found)
    assert list(uncertainties) == ["param_0", "param_1", "param_2"]
    for k, row in enumerate(uncertainties.values()):
        assert row["value"] == popt[k]
        assert row["standard_error"] == pytest.approx(np.sqrt(pcov[k, k]))
        assert row["relative_error"] == pytest.approx(np.sqrt(pcov[k, k]) / abs(popt[k]))
        assert ("confidence_interval" in row) == (number > 0)
        if number:
            assert row["confidence_interval"][0] < popt[k] < row["confidence_interval"][1]
    assert optimizer.get_performance_report()["total_optimizations"] == 1


def test_the_method_of_the_bootstrap_is_passed_on():
    optimizer = RobustOptimizerWithDiagnostics()
    _, _, found = optimizer.robust_curve_fit_with_diagnostics(
        single_exp, T, G2, [0.1, 1, 0.1], BOX, SIGMA, bootstrap_samples=20, bootstrap_method="parametric"
    )
    assert found["bootstrap_analysis"]["method"] == "parametric"
    with pytest.raises(ConfigError, match="magic"):
        optimizer.robust_curve_fit_with_diagnostics(single_exp, T, G2, POPT, BOX, SIGMA, bootstrap_method="magic")


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: RobustOptimizerWithDiagnostics(diagnostic_level="deep"), "basic, standard, comprehensive"),
        (lambda: report(bootstrap_method="magic"), "magic"),
        (lambda: report(y=G2[1:]), "one row of points"),
        (lambda: report(sigma=np.zeros(50)), "no point can be used"),
    ],
)
def test_what_makes_no_sense_is_refused(call, text):
    with pytest.raises(ConfigError, match=text):
        call()
