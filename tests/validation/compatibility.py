"""Call by call: every documented call of the XPCS Toolkit runs, and its result has the documented keys."""

from __future__ import annotations

import json
import pickle
import traceback
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tests.conftest import CARRIED
from tests.validation.table import Row
from xpcs_dask import toolkit
from xpcs_dask.toolkit import g2mod

FILE = CARRIED / "boost_corr" / "S0001_bright_a0000_f004096_r00001_results.hdf"
PLAIN = "fit_func fit_val t_el q_val q_range t_range bounds fit_flag fit_line label"
TAUQ = "tauq_success tauq_q tauq_tau tauq_tau_err tauq_fit_line tauq_fit_val"
HIGH = "performance_info timing optimization_summary high_performance_fit fit_x"
PERFORMANCE = {
    "performance_info": "use_chunking chunk_size parallel_jobs estimated_memory_mb cache_hit cache_key",
    "timing": "total_time time_per_q",
    "optimization_summary": "dataset_size processing_mode bootstrap_enabled diagnostics_enabled "
    "performance_overhead_percent caching_enabled",
}
CALLS: list[tuple[str, str, Callable[[], Any]]] = []


def call(name: str, keys: str = "") -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Register one call; what it returns must have the keys."""

    def register(function: Callable[[], Any]) -> Callable[[], Any]:
        CALLS.append((name, keys, function))
        return function

    return register


def has(found: Any, keys: str | Iterable[str]) -> Any:
    """Return `found`; AssertionError that names the keys it lacks."""
    wanted = keys.split() if isinstance(keys, str) else list(keys)
    missing = [key for key in wanted if key not in found]
    assert not missing, f"lacks {', '.join(missing)}"
    return found


def bounds(xf: Any) -> tuple[list[float], list[float]]:
    """Bounds of a single fit of this file."""
    return [0.0, float(xf.t_el.min()) / 10, 0.1, 0.5], [1.0, float(xf.t_el.max()) * 10, 3.0, 1.5]


def after(xf: Any, found: Any) -> Any:
    """Read both access patterns of a fit, then go on with tau(q) and its description, JSON and pickle."""
    values, lines = found["fit_val"], found["fit_line"]
    nq = len(found["q_val"])
    assert np.asarray(values).shape == (nq, 2, 4), "fit_val is no array (nq, 2, npar)"
    assert np.asarray(values[0:3, 0, 1]).shape == (3,), "fit_val[q_slice, 0, 1] fails"
    has(values[0], "params param_errors covariance diagnostics robust_fit q_index status")
    has(lines[0], "fit_x fit_y success msg")
    assert np.asarray(lines).shape == (nq, 128), "fit_line is no array (nq, 128)"
    json.dumps(found)
    pickle.loads(pickle.dumps(found))
    q = found["q_val"]
    told = xf.fit_tauq(q_range=(q.min(), q.max()), bounds=([1e-20, -5], [1e20, 5]), fit_flag=[True, True])
    has(told, f"{PLAIN} {TAUQ}")
    has(told["tauq_fit_line"], "fit_x fit_y success msg")
    assert np.shape(told["tauq_fit_val"]) == (2, 2)
    assert abs(told["tauq_fit_val"][0, 1] + 2) < 0.3, "tau(q) does not fall as q^-2"
    has(xf.get_fitting_info("g2_fitting"), "fit_func fit_val q_val")
    assert "b = " in xf.get_fitting_info("tauq_fitting")
    return found


@call("XpcsFile.fit_g2, then fit_tauq and get_fitting_info", PLAIN)
def plain() -> Any:
    xf = toolkit.XpcsFile(str(FILE))
    lower, upper = bounds(xf)
    upper[2] = 1.0  # a held parameter has the value of its upper bound
    found = xf.fit_g2(bounds=(lower, upper), fit_flag=[True, True, False, True])
    assert (np.asarray(found["fit_val"])[:, 0, 2] == 1).all()
    return after(xf, found)


@call("XpcsFile.fit_g2(robust_fitting=True), then fit_tauq and get_fitting_info", PLAIN)
def robust() -> Any:
    xf = toolkit.XpcsFile(str(FILE))
    return after(xf, xf.fit_g2(bounds=bounds(xf), robust_fitting=True, diagnostic_level="basic", bootstrap_samples=0))


@call("XpcsFile.fit_g2_robust, then fit_tauq and get_fitting_info", PLAIN)
def fit_g2_robust() -> Any:
    xf = toolkit.XpcsFile(str(FILE))
    return after(xf, xf.fit_g2_robust(bounds=bounds(xf), bootstrap_samples=20, enable_caching=False))


@call("XpcsFile.fit_g2_high_performance, then fit_tauq and get_fitting_info", f"{PLAIN} {HIGH}")
def high_performance() -> Any:
    xf = toolkit.XpcsFile(str(FILE))
    found = after(xf, xf.fit_g2_high_performance(bounds=bounds(xf), bootstrap_samples=20))
    for part, keys in PERFORMANCE.items():
        has(found[part], keys)
    return found


@call("OptimizedXPCSFittingEngine.fit_g2_optimized", "performance_info fit_results timing optimization_summary")
def engine() -> Any:
    xf = toolkit.XpcsFile(str(FILE))
    q, t_el, g2, error, _ = xf.get_g2_data()
    engine = toolkit.OptimizedXPCSFittingEngine(toolkit.XPCSPerformanceOptimizer())
    found = engine.fit_g2_optimized(t_el, g2, error, q, bounds=bounds(xf), use_caching=False)
    assert len(found["fit_results"]) == q.size
    has(found["fit_results"][0], "q_index q_value status params param_errors covariance robust_fit")
    return found


@call("XPCSPerformanceOptimizer")
def performance() -> Any:
    optimizer = toolkit.XPCSPerformanceOptimizer(cache_size=10, max_memory_mb=100)
    assert optimizer.estimate_memory_usage(61, (61, 500)) < optimizer.estimate_memory_usage(61, (61, 50_000))
    assert len(optimizer.should_use_chunked_processing(61, (61, 500))) == 2
    assert optimizer.optimize_parallelization(500) >= 1
    key = optimizer.get_cache_key(np.arange(61.0), (61, 500), "single", None, 0)
    optimizer.cache_result(key, {"answer": 42})
    assert optimizer.is_cached(key)
    assert optimizer.get_cached_result(key) == {"answer": 42}
    optimizer.clear_cache()
    assert not optimizer.is_cached(key)


@call("XpcsFile._perform_robust_g2_fitting and _fallback_standard_fit")
def private() -> Any:
    xf = toolkit.XpcsFile(str(FILE))
    _, t_el, g2, error, _ = xf.get_g2_data()
    fit_x = np.geomspace(t_el.min(), t_el.max(), 128)
    few = (toolkit.single_exp_all, t_el, g2[:, :3], error[:, :3], bounds(xf), [True] * 4, fit_x, None)
    lines, values = xf._perform_robust_g2_fitting(*few, diagnostic_level="basic", bootstrap_samples=0)
    assert np.asarray(lines).shape == (3, 128)
    assert np.asarray(values).shape == (3, 2, 4)
    column = (*few[:2], g2[:, 0], error[:, 0], *few[4:])
    line, value = xf._fallback_standard_fit(*column)
    has(line, "fit_x fit_y success msg")
    assert value["robust_fit"] is False or value["robust_fit"] == 0


@call("XpcsFile: accessors, memory report, cache")
def accessors() -> Any:
    xf = toolkit.XpcsFile(str(FILE))
    for name in ("saxs_1d", "saxs_2d", "Iqp", "Int_t", "dqlist", "dqmap", "sqmap", "mask", "bcx", "bcy", "det_dist",
                 "pixel_size", "X_energy", "label", "atype", "start_time", "g2_t0"):  # fmt: skip
        assert getattr(xf, name) is not None, name
    assert isinstance(xf.get_hdf_info(), dict)
    assert xf.get_info_at_position(5, 5)
    assert len(xf.get_detector_extent()) == 4
    assert len(xf.get_saxs1d_data()) >= 2
    assert xf.get_qbinlist_at_qindex(0)
    has(xf.get_memory_usage_report(), ())
    has(xf.optimize_memory_usage(), ())
    has(xf.get_cache_stats(), ())
    xf.clear_cache()


@call("g2mod.get_data")
def gathered() -> Any:
    assert len(g2mod.get_data([toolkit.XpcsFile(str(FILE))])) == 5


def decay() -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    """Noisy curve with its truth."""
    generator = toolkit.SyntheticG2DataGenerator(random_state=3)
    return generator.generate_dataset("single_exp", tau_range=(1e-5, 1.0), n_points=60, noise_level=0.01)


def function(x: Any, tau: Any, background: Any, contrast: Any) -> Any:
    """Single exponential with its time in the first place; without bounds a fit may try a negative one."""
    with np.errstate(over="ignore"):
        return toolkit.single_exp(x, tau, background, contrast)


BOX = ([1e-6, 0.5, 0.0], [10.0, 1.5, 2.0])
START = (1e-2, 1.0, 0.3)


@call("SyntheticG2DataGenerator.generate_dataset, four models and three kinds of noise")
def synthetic() -> Any:
    for name in ("single_exp", "double_exp", "stretched_exp", "power_law_plus_exp"):
        for noise in ("gaussian", "poisson", "mixed"):
            generator = toolkit.SyntheticG2DataGenerator(random_state=1)
            tau, g2, error, truth = generator.generate_dataset(name, noise_type=noise, outlier_fraction=0.05)
            assert tau.shape == g2.shape == error.shape
            assert truth


@call("robust_curve_fit with bounds=None, and all keywords of curve_fit")
def drop_in() -> Any:
    tau, g2, error, _ = decay()
    for words in (
        {},
        {"bounds": BOX},
        {"sigma": error, "absolute_sigma": True},
        {"bounds": BOX, "method": "trf"},
        {"full_output": True},
    ):
        assert len(toolkit.robust_curve_fit(function, tau, g2, START, **words)) == (5 if "full_output" in words else 2)


@call("RobustOptimizer.robust_curve_fit: info", "method iterations time chi_squared r_squared message")
def optimizer() -> Any:
    tau, g2, error, _ = decay()
    robust = toolkit.RobustOptimizer()
    assert len(robust.strategies) == 3
    _, _, info = robust.robust_curve_fit(function, tau, g2, START, BOX, error)
    report = robust.get_performance_report()
    has(report, "total_optimizations total_failures overall_success_rate strategies")
    robust.reset_performance_tracking()
    return info


@call(
    "RobustOptimizerWithDiagnostics", "goodness_of_fit covariance_analysis residual_analysis bootstrap_analysis summary"
)
def with_diagnostics() -> Any:
    tau, g2, error, _ = decay()
    robust = toolkit.RobustOptimizerWithDiagnostics(diagnostic_level="standard")
    _, _, found = robust.robust_curve_fit_with_diagnostics(function, tau, g2, START, BOX, error, bootstrap_samples=50)
    assert "score" in robust.analyze_fit_quality(found)
    assert robust.get_parameter_uncertainties(found)
    return found


@call(
    "DiagnosticReporter",
    "function_name timestamp data_info goodness_of_fit covariance_analysis parameter_suggestions residual_analysis "
    "systematic_deviations bootstrap_analysis summary",
)
def reporter() -> Any:
    tau, g2, error, _ = decay()
    value, covariance = toolkit.robust_curve_fit(function, tau, g2, START, BOX, error)
    report = toolkit.DiagnosticReporter()
    found = report.generate_comprehensive_report(function, tau, g2, value, covariance, BOX, error, n_bootstrap=50)
    assert isinstance(report.generate_text_report(found), str)
    return found


@call(
    "BootstrapAnalyzer, three methods",
    "method n_bootstrap_requested n_successful_fits success_rate "
    "confidence_level parameter_statistics bootstrap_covariance",
)
def bootstrap() -> Any:
    tau, g2, error, _ = decay()
    value, covariance = toolkit.robust_curve_fit(function, tau, g2, START, BOX, error)
    for method in ("residual", "parametric", "nonparametric"):
        analyzer = toolkit.BootstrapAnalyzer(n_bootstrap=50, random_state=1)
        found = analyzer.bootstrap_confidence_intervals(function, tau, g2, value, covariance, BOX, error, method)
        has(found["parameter_statistics"]["param_0"], "original_estimate bootstrap_mean bootstrap_std bootstrap_bias "
            "confidence_interval bootstrap_samples")  # fmt: skip
    return found


@call(
    "CovarianceAnalyzer",
    "function_name n_parameters condition_number determinant parameter_errors relative_errors "
    "correlation_matrix high_correlations eigenvalues eigenvectors stability_issues stability_metrics "
    "is_numerically_stable",
)
def covariance() -> Any:
    tau, g2, error, _ = decay()
    value, spread = toolkit.robust_curve_fit(function, tau, g2, START, BOX, error)
    analyzer = toolkit.CovarianceAnalyzer()
    found = analyzer.analyze_covariance_matrix(spread, value)
    assert isinstance(analyzer.suggest_parameter_constraints(found, value), list)
    return found


@call(
    "ResidualAnalyzer",
    "residual_statistics standardized_residual_statistics outliers randomness_test "
    "autocorrelation trend_analysis normality_tests",
)
def residuals() -> Any:
    tau, g2, error, _ = decay()
    value, _ = toolkit.robust_curve_fit(function, tau, g2, START, BOX, error)
    fitted = function(tau, *value)
    analyzer = toolkit.ResidualAnalyzer()
    analyzer.detect_systematic_deviations(tau, g2 - fitted)
    for method in ("breusch_pagan", "goldfeld_quandt"):
        analyzer.test_heteroscedasticity(tau, g2 - fitted, method)
    analyzer.compute_influence_measures(tau, g2, fitted, g2 - fitted)
    for method in ("cusum", "variance"):
        analyzer.detect_changepoints(g2 - fitted, method)
    return analyzer.analyze_residuals(tau, g2, fitted, error)


@call(
    "GoodnessOfFitAnalyzer",
    "n_data_points n_parameters degrees_of_freedom r_squared adjusted_r_squared "
    "weighted_r_squared rmse mae mape smape cv_rmse chi_squared reduced_chi_squared chi_squared_p_value "
    "log_likelihood aic aic_corrected bic hqic sum_squared_residuals total_sum_squares fit_quality_assessment",
)
def goodness() -> Any:
    tau, g2, error, _ = decay()
    value, _ = toolkit.robust_curve_fit(function, tau, g2, START, BOX, error)
    analyzer = toolkit.GoodnessOfFitAnalyzer()
    found = analyzer.calculate_goodness_of_fit_metrics(g2, function(tau, *value), 3, error)
    assert analyzer.compare_models([found, found], ["a", "b"])
    return found


@call("fit_tau, fit_xpcs, fit_with_fixed, fit_with_fixed_raw")
def fitting() -> Any:
    xf = toolkit.XpcsFile(str(FILE))
    q, t_el, g2, error, _ = xf.get_g2_data()
    box = ([1e-4, 0.5, 0.0], [100.0, 1.5, 1.0])
    lines, values = toolkit.fit_xpcs(t_el, q, g2, error, box)
    assert values.shape == (q.size, 7)
    assert (values[:, 0] == q).all(), "rows are out of order"
    assert len(lines) == q.size
    assert len(toolkit.fit_tau(q, values[:, 1], values[:, 4])) >= 4
    for fixed in (toolkit.fit_with_fixed, toolkit.fit_with_fixed_raw):
        lines, values = fixed(toolkit.single_exp_all, t_el, g2, error, bounds(xf), [True, True, False, True], t_el)
        assert values.shape == (q.size, 2, 4)
        has(lines[0], "fit_x fit_y success msg")


@call("batch_curve_fitting, 12 sets, both methods")
def batches() -> Any:
    tau, g2, _, _ = decay()
    for method in ("vectorized", "parallel"):
        found = toolkit.batch_curve_fitting([tau] * 12, [g2] * 12, function, [START] * 12, [BOX] * 12, method=method)
        assert len(found) == 12
        has(found[0], "success popt pcov perr")


@call("vectorized_parameter_estimation, optimize_fitting_convergence, vectorized_residual_analysis")
def batch_tools() -> Any:
    tau, g2, _, _ = decay()
    for kind in ("exponential", "power", "gaussian"):
        assert len(toolkit.vectorized_parameter_estimation(tau, g2, kind))
    assert toolkit.optimize_fitting_convergence(function, tau, g2, ([START], BOX))
    assert toolkit.vectorized_residual_analysis(tau, g2, g2 + 0.01)


@call(
    "ComprehensiveDiffusionAnalyzer.analyze_diffusion",
    "input_parameters preprocessing model_comparison "
    "model_selection best_model_analysis diffusion_parameters diagnostics",
)
def diffusion() -> Any:
    tau, g2, error, _ = decay()
    analyzer = toolkit.ComprehensiveDiffusionAnalyzer("basic")
    assert analyzer.validate_input_data(tau, g2, error)["valid"]
    found = analyzer.analyze_diffusion(tau, g2, error, q_value=0.01)
    has(found["diffusion_parameters"], "diffusion_coefficient diffusion_coefficient_error fitted_rate q_value")
    json.dumps(found)
    return found


@call(
    "ComprehensiveDiffusionAnalyzer.quick_diffusion_analysis, six models",
    "model parameters parameter_errors covariance diffusion_info fit_info success",
)
def quick() -> Any:
    tau, g2, _, _ = decay()
    analyzer = toolkit.ComprehensiveDiffusionAnalyzer()
    for name in analyzer.get_available_models():
        found = analyzer.quick_diffusion_analysis(tau, g2, 0.01, name)
        assert found["success"], name
    return found


@call("ModelSelectionFramework with bounds as pairs", "best_model best_model_results selection_info all_model_results")
def selection() -> Any:
    tau, g2, error, _ = decay()
    framework = toolkit.ModelSelectionFramework()
    return framework.select_best_model(
        framework.compare_models(toolkit.DiffusionModels.get_model_info(), tau, g2, error), "combined"
    )


def rows() -> list[Row]:
    """One row a call."""
    found = []
    for name, keys, function in CALLS:
        try:
            has(function() or {}, keys)
            text, note = f"{len(keys.split())} keys" if keys else "runs", ()
        except Exception as failure:
            last = traceback.extract_tb(failure.__traceback__)[-1]
            where = f"{last.filename.rsplit('/', 1)[-1]}:{last.lineno}"
            text, note = "no", (f"{type(failure).__name__}: {str(failure)[:200]} ({where})",)
        found.append(
            Row(name, "documentation of the XPCS Toolkit", 1, text, "runs, with every key", text != "no", note)
        )
    return found
