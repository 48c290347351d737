"""The diffusion analysis from end to end, with known truth."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from tests.toolkit.diffusion_truth import RATES, Q, coefficient, curve, delays, truth
from xpcs_dask.errors import ConfigError
from xpcs_dask.toolkit import diffusion as module
from xpcs_dask.toolkit.diffusion import ComprehensiveDiffusionAnalyzer, DiffusionModels

ANALYZE = ComprehensiveDiffusionAnalyzer(diagnostic_level="basic")
MODELS = list(DiffusionModels.get_model_info())
SAME = {"anomalous_diffusion": "subdiffusion", "stretched_exponential": "subdiffusion"}
"""Which of the models with the same curve is named first."""


def noisy(seed=1, name="simple_diffusion", rate=1.0):
    """Return delays, g2 and errors of a curve with two outliers, at 5 and 20."""
    rng = np.random.default_rng(seed)
    x = delays(rate)
    error = 2e-3 * (1 + 3 * x / x.max())
    y = curve(name, x, truth(rate)[name]) + error * rng.standard_normal(x.size)
    y[[5, 20]] += 0.05
    return x, y, error


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("errors", [False, True])
def test_noise_free_coefficients_are_exact(name, rate, errors):
    x, p = delays(rate), truth(rate)[name]
    y = curve(name, x, p)
    found = ANALYZE.analyze_diffusion(x, y, np.full(60, 1e-3) if errors else None, Q, models_to_test=[name])
    assert found["diffusion_parameters"]["diffusion_coefficient"] == pytest.approx(coefficient(name, p), rel=1e-9)
    assert found["preprocessing"]["outlier_detection"]["n_outliers_detected"] == 0
    quick = ANALYZE.quick_diffusion_analysis(x, y, Q, name)
    assert quick["success"]
    assert quick["diffusion_info"]["diffusion_coefficient"] == pytest.approx(coefficient(name, p), rel=1e-9)
    np.testing.assert_allclose(quick["parameters"], p, rtol=1e-9)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", MODELS)
def test_the_right_one_of_all_six_is_found(name, rate):
    x, p = delays(rate), truth(rate)[name]
    found = ANALYZE.analyze_diffusion(x, curve(name, x, p), None, Q)
    assert found["model_selection"]["best_model"] == SAME.get(name, name)
    if name != "stretched_exponential":  # its coefficient is defined otherwise than that of the same curve
        assert found["diffusion_parameters"]["diffusion_coefficient"] == pytest.approx(coefficient(name, p), rel=1e-9)


@pytest.fixture(scope="module")
def analysis():
    return ANALYZE.analyze_diffusion(*noisy(), Q)


def test_outliers_are_left_out_and_the_truth_is_within_the_errors(analysis):
    told = analysis["preprocessing"]["outlier_detection"]
    assert told["n_outliers_detected"] == 2
    assert told["outlier_fraction"] == pytest.approx(2 / 60)
    assert np.flatnonzero(told["outlier_methods"]["consensus"]).tolist() == [5, 20]
    assert set(told["outlier_methods"]) == {"mad", "iqr", "zscore", "consensus"}
    found = analysis["diffusion_parameters"]
    off = found["diffusion_coefficient"] - 1 / Q**2
    assert abs(off) < 3 * found["diffusion_coefficient_error"] < 0.06 / Q**2


def test_every_documented_key_is_there(analysis):
    assert list(analysis) == [
        "input_parameters", "preprocessing", "model_comparison", "model_selection", "best_model_analysis",
        "diffusion_parameters", "diagnostics",
    ]  # fmt: skip
    assert analysis["input_parameters"] == {
        "n_data_points": 60, "q_value": Q, "models_tested": MODELS, "has_error_estimates": True,
    }  # fmt: skip
    assert list(analysis["model_comparison"]) == MODELS
    assert {
        "parameters", "covariance", "chi_squared", "aic", "bic", "aicc", "r_squared", "rmse", "n_parameters",
        "fitted_successfully", "cross_validation",
    } <= set(analysis["model_comparison"]["subdiffusion"])  # fmt: skip
    assert {"best_model", "best_model_results", "selection_info", "all_model_results"} == set(
        analysis["model_selection"]
    )
    best = analysis["best_model_analysis"]
    assert {
        "parameters", "covariance", "weights", "convergence_history", "converged", "iterations", "final_residuals",
    } == set(best["weighted_fitting"])  # fmt: skip
    assert {"parameters", "covariance", "diagnostics"} == set(best["enhanced_fit"])
    assert {
        "diffusion_coefficient", "diffusion_coefficient_error", "fitted_rate", "fitted_rate_error", "q_value",
        "mc_diffusion_coefficient", "mc_diffusion_coefficient_mean", "mc_diffusion_coefficient_error",
        "mc_diffusion_coefficient_median", "mc_diffusion_coefficient_95ci_lower",
        "mc_diffusion_coefficient_95ci_upper", "mc_n_successful_samples",
    } == set(analysis["diffusion_parameters"])  # fmt: skip
    assert analysis["diagnostics"]["analysis_summary"] == {
        "best_model": "simple_diffusion", "data_points_used": 58, "outliers_excluded": 2, "weighted_fitting": True,
        "bootstrap_analysis": False,
    }  # fmt: skip
    assert isinstance(analysis["diagnostics"]["fit_quality"], str)
    assert analysis["diagnostics"]["parameter_uncertainties"]


def test_both_fits_of_the_best_model_agree_within_their_errors(analysis):
    best = analysis["best_model_analysis"]
    one, other = best["weighted_fitting"], best["enhanced_fit"]
    assert one["converged"]
    errors = np.sqrt(np.diag(other["covariance"]))
    assert (np.abs(one["parameters"] - other["parameters"]) < 2 * errors).all()
    np.testing.assert_allclose(np.sqrt(np.diag(one["covariance"])), errors, rtol=0.5)
    np.testing.assert_allclose(other["parameters"], analysis["model_comparison"]["simple_diffusion"]["parameters"])
    assert analysis["diffusion_parameters"]["fitted_rate"] == one["parameters"][2]


def test_a_point_within_its_error_is_no_outlier():
    x, p = delays(1.0), truth(1.0)["simple_diffusion"]
    y = curve("simple_diffusion", x, p) + 1e-4 * np.random.default_rng(2).standard_normal(60)
    y[30] += 2e-3
    for error, count in ((1e-3, 0), (2e-4, 1)):
        found = ANALYZE.analyze_diffusion(x, y, np.full(60, error), Q, ["simple_diffusion"])
        assert found["preprocessing"]["outlier_detection"]["n_outliers_detected"] == count


@pytest.mark.parametrize("errors", [False, True])
def test_a_block_of_outliers_does_not_hide_itself(errors):
    x, p = delays(1.0), truth(1.0)["simple_diffusion"]
    error = np.full(60, 1e-3)
    y = curve("simple_diffusion", x, p) + error * np.random.default_rng(2).standard_normal(60)
    y[30:45] += 0.3
    found = ANALYZE.analyze_diffusion(x, y, error if errors else None, Q, ["simple_diffusion"])
    told = found["preprocessing"]["outlier_detection"]["outlier_methods"]
    assert np.flatnonzero(told["consensus"]).tolist() == list(range(30, 45))
    assert found["diffusion_parameters"]["fitted_rate"] == pytest.approx(1, abs=0.1)


def test_the_weighted_fit_looks_at_the_errors():
    x, p = delays(1.0), truth(1.0)["simple_diffusion"]
    error = np.where(np.arange(60) % 2, 1e-3, 0.1)
    y = curve("simple_diffusion", x, p) + error * np.random.default_rng(2).standard_normal(60)
    best = ANALYZE.analyze_diffusion(x, y, error, Q, ["simple_diffusion"])["best_model_analysis"]
    one, other = (np.sqrt(np.diag(best[name]["covariance"])) for name in ("weighted_fitting", "enhanced_fit"))
    np.testing.assert_allclose(one, other, rtol=0.5)
    np.testing.assert_allclose(best["weighted_fitting"]["parameters"], p, atol=5 * other.max())


def test_what_is_switched_off_is_not_done():
    x, y, error = noisy()
    found = ANALYZE.analyze_diffusion(
        x, y, error, Q, ["simple_diffusion"], enable_outlier_detection=False, enable_weighted_fitting=False
    )
    assert found["preprocessing"] == {}
    assert "weighted_fitting" not in found["best_model_analysis"]
    summary = found["diagnostics"]["analysis_summary"]
    assert (summary["outliers_excluded"], summary["data_points_used"], summary["weighted_fitting"]) == (0, 60, False)
    fitted = found["model_comparison"]["simple_diffusion"]["parameters"][2]
    assert found["diffusion_parameters"]["fitted_rate"] == fitted
    robust = ANALYZE.analyze_diffusion(x, y, error, Q, ["simple_diffusion"], enable_outlier_detection=False)
    assert abs(robust["diffusion_parameters"]["fitted_rate"] - 1) < 0.3 * abs(fitted - 1)


@pytest.mark.parametrize("criterion", ["aic", "aicc", "cv", "combined"])
def test_other_criteria(criterion):
    found = ANALYZE.analyze_diffusion(*noisy(name="double_exponential"), Q, model_selection_criterion=criterion)
    assert found["model_selection"]["best_model"] == "double_exponential"
    assert found["model_selection"]["selection_info"]["criterion"] == criterion
    diffusion = found["diffusion_parameters"]
    assert diffusion["fitted_rate"] == pytest.approx(5, abs=5 * diffusion["fitted_rate_error"])
    assert diffusion["fitted_rate_2"] == pytest.approx(1 / 3, abs=5 * diffusion["fitted_rate_error_2"])


@pytest.mark.slow
def test_pure_noise_is_said_to_be_noise():
    x = delays(1.0)
    error = np.full(60, 1e-3)
    y = 1 + error * np.random.default_rng(0).standard_normal(60)
    for sigma in (error, None):
        found = ANALYZE.analyze_diffusion(x, y, sigma, Q)
        assert "noise does as much" in found["diffusion_parameters"]["physical_constraint_warning"]
    assert "noise does as much" in ANALYZE.quick_diffusion_analysis(x, y)["fit_info"]["warning"]
    x, y, error = noisy()
    assert ANALYZE.quick_diffusion_analysis(x, y)["fit_info"]["warning"] == ""


def test_order_and_useless_points_change_nothing(analysis):
    x, y, error = noisy()
    order = np.random.default_rng(0).permutation(60)
    x, y, error = (np.append(part[order], value) for part, value in ((x, 1.0), (y, np.nan), (error, 0.1)))
    found = ANALYZE.analyze_diffusion(x, y, error, Q)
    for name in ("diffusion_coefficient", "diffusion_coefficient_error"):
        assert found["diffusion_parameters"][name] == pytest.approx(analysis["diffusion_parameters"][name], rel=1e-9)
    ours, known = (one["best_model_analysis"]["weighted_fitting"]["final_residuals"] for one in (found, analysis))
    np.testing.assert_allclose(ours, known, atol=1e-10)


def test_data_that_are_no_curve_are_told_and_settings_refused():
    x, y, error = noisy()
    found = ANALYZE.analyze_diffusion(x[:4], y[:4])
    assert "4 of 4 points" in found["error"]
    assert "model_comparison" not in found
    assert not ANALYZE.quick_diffusion_analysis(x, y[:-1])["success"]
    assert "shapes" in ANALYZE.quick_diffusion_analysis(x, y[:-1])["error"]
    for bad in ({"models_to_test": ["simple"]}, {"model_selection_criterion": "r2"}, {"q_value": 0.0}):
        with pytest.raises(ConfigError):
            ANALYZE.analyze_diffusion(x, y, error, **{"models_to_test": ["simple_diffusion"], **bad})


def test_a_fit_that_fails_is_told(monkeypatch):
    def fails(*args, **kwargs):
        raise RuntimeError("no minimum")

    x, y, error = noisy()
    monkeypatch.setattr(module, "fit_function", fails)
    told = ANALYZE.quick_diffusion_analysis(x, y)
    assert told == {"model": "simple_diffusion", "error": "RuntimeError: no minimum", "success": False}
    monkeypatch.setattr("xpcs_dask.toolkit.model_selection.fit_function", fails)
    found = ANALYZE.analyze_diffusion(x, y, error, Q, ["simple_diffusion"])
    assert found["error"] == "no model could be fitted"
    assert found["model_comparison"]["simple_diffusion"]["error"] == "RuntimeError: no minimum"


def test_validation():
    x, y, error = noisy()
    assert ANALYZE.validate_input_data(x, y, error) == {
        "valid": True, "warnings": [], "errors": [], "recommendations": [],
    }  # fmt: skip
    assert "no errors" in ANALYZE.validate_input_data(x, y)["warnings"][0]
    for change, word in (
        ((x[::-1], y, error), "do not increase"), ((x[:10], y[:10], error[:10]), "only 10 points"),
        ((x[20:26].repeat(5), y[:30], error[:30]), "less than a decade"), ((x, y - 2, error), "negative"),
        ((x, np.where(x > 5, np.nan, y), error), "left out"), ((x, y, np.where(x > 5, 0, error)), "left out"),
    ):  # fmt: skip
        told = ANALYZE.validate_input_data(*change)
        assert told["valid"]
        assert any(word in warning for warning in told["warnings"]), word
    for change, word in (
        ((-x, y, error), "negative"),
        ((x, y, error[1:]), "shapes"),
        ((x, y * np.nan, error), "0 of 60"),
    ):
        told = ANALYZE.validate_input_data(*change)
        assert not told["valid"]
        assert any(word in wrong for wrong in told["errors"]), word


def test_models_are_described():
    told = ANALYZE.get_available_models()
    assert list(told) == MODELS
    assert all(isinstance(text, str) and text for text in told.values())


def test_results_are_written_by_json_and_pickle(analysis):
    x, y, _ = noisy()
    for found in (analysis, ANALYZE.quick_diffusion_analysis(x, y), ANALYZE.analyze_diffusion(x[:3], y[:3])):
        read = json.loads(json.dumps(found))
        assert list(read) == list(found)
        again = pickle.loads(pickle.dumps(found))
        assert json.dumps(again) == json.dumps(found)
