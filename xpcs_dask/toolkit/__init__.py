"""The interface of the XPCS Toolkit, working: scripts written to its documentation run with this in its place.

Thin adapters: the numbers come from the modules of this package. Importing is light: a name is imported when it is
first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xpcs_dask.toolkit import g2mod
    from xpcs_dask.toolkit.batches import batch_curve_fitting, optimize_fitting_convergence
    from xpcs_dask.toolkit.curve_fit import robust_curve_fit
    from xpcs_dask.toolkit.diagnostics import (
        BootstrapAnalyzer,
        CovarianceAnalyzer,
        DiagnosticReporter,
        GoodnessOfFitAnalyzer,
        ResidualAnalyzer,
    )
    from xpcs_dask.toolkit.diffusion import (
        ComprehensiveDiffusionAnalyzer,
        DiffusionCoefficientExtractor,
        DiffusionModels,
        ModelSelectionFramework,
        OutlierDetection,
        WeightedRegressionFramework,
    )
    from xpcs_dask.toolkit.fitting import fit_with_fixed, fit_with_fixed_raw, fit_xpcs
    from xpcs_dask.toolkit.g2mod import (
        batch_g2_normalization,
        compute_g2_ensemble_statistics,
        compute_geometry,
        get_data,
        optimize_g2_error_propagation,
        pg_plot,
        vectorized_g2_baseline_correction,
        vectorized_g2_interpolation,
    )
    from xpcs_dask.toolkit.labels import create_id
    from xpcs_dask.toolkit.memory_monitor import CacheItem, DataCache, MemoryMonitor
    from xpcs_dask.toolkit.models import double_exp, double_exp_all, power_law, single_exp, single_exp_all
    from xpcs_dask.toolkit.optimizer import OptimizationStrategy, RobustOptimizer, RobustOptimizerWithDiagnostics
    from xpcs_dask.toolkit.performance import OptimizedXPCSFittingEngine, XPCSPerformanceOptimizer
    from xpcs_dask.toolkit.starting import vectorized_parameter_estimation, vectorized_residual_analysis
    from xpcs_dask.toolkit.synthetic import SyntheticG2DataGenerator
    from xpcs_dask.toolkit.tau_line import fit_tau
    from xpcs_dask.toolkit.xpcs_file import XpcsFile

__all__ = [
    "BootstrapAnalyzer",
    "CacheItem",
    "ComprehensiveDiffusionAnalyzer",
    "CovarianceAnalyzer",
    "DataCache",
    "DiagnosticReporter",
    "DiffusionCoefficientExtractor",
    "DiffusionModels",
    "GoodnessOfFitAnalyzer",
    "MemoryMonitor",
    "ModelSelectionFramework",
    "OptimizationStrategy",
    "OptimizedXPCSFittingEngine",
    "OutlierDetection",
    "ResidualAnalyzer",
    "RobustOptimizer",
    "RobustOptimizerWithDiagnostics",
    "SyntheticG2DataGenerator",
    "WeightedRegressionFramework",
    "XPCSPerformanceOptimizer",
    "XpcsFile",
    "batch_curve_fitting",
    "batch_g2_normalization",
    "compute_g2_ensemble_statistics",
    "compute_geometry",
    "create_id",
    "double_exp",
    "double_exp_all",
    "fit_tau",
    "fit_with_fixed",
    "fit_with_fixed_raw",
    "fit_xpcs",
    "g2mod",
    "get_data",
    "optimize_fitting_convergence",
    "optimize_g2_error_propagation",
    "pg_plot",
    "power_law",
    "robust_curve_fit",
    "single_exp",
    "single_exp_all",
    "vectorized_g2_baseline_correction",
    "vectorized_g2_interpolation",
    "vectorized_parameter_estimation",
    "vectorized_residual_analysis",
]

_HOME = {
    "BootstrapAnalyzer": "diagnostics",
    "CacheItem": "memory_monitor",
    "ComprehensiveDiffusionAnalyzer": "diffusion",
    "CovarianceAnalyzer": "diagnostics",
    "DataCache": "memory_monitor",
    "DiagnosticReporter": "diagnostics",
    "DiffusionCoefficientExtractor": "diffusion",
    "DiffusionModels": "diffusion",
    "GoodnessOfFitAnalyzer": "diagnostics",
    "MemoryMonitor": "memory_monitor",
    "ModelSelectionFramework": "diffusion",
    "OptimizationStrategy": "optimizer",
    "OptimizedXPCSFittingEngine": "performance",
    "OutlierDetection": "diffusion",
    "ResidualAnalyzer": "diagnostics",
    "RobustOptimizer": "optimizer",
    "RobustOptimizerWithDiagnostics": "optimizer",
    "SyntheticG2DataGenerator": "synthetic",
    "WeightedRegressionFramework": "diffusion",
    "XPCSPerformanceOptimizer": "performance",
    "XpcsFile": "xpcs_file",
    "batch_curve_fitting": "batches",
    "batch_g2_normalization": "g2mod",
    "compute_g2_ensemble_statistics": "g2mod",
    "compute_geometry": "g2mod",
    "create_id": "labels",
    "double_exp": "models",
    "double_exp_all": "models",
    "fit_tau": "tau_line",
    "fit_with_fixed": "fitting",
    "fit_with_fixed_raw": "fitting",
    "fit_xpcs": "fitting",
    "get_data": "g2mod",
    "optimize_fitting_convergence": "batches",
    "optimize_g2_error_propagation": "g2mod",
    "pg_plot": "g2mod",
    "power_law": "models",
    "robust_curve_fit": "curve_fit",
    "single_exp": "models",
    "single_exp_all": "models",
    "vectorized_g2_baseline_correction": "g2mod",
    "vectorized_g2_interpolation": "g2mod",
    "vectorized_parameter_estimation": "starting",
    "vectorized_residual_analysis": "starting",
}


def __getattr__(name: str) -> Any:
    if name == "g2mod":
        return import_module("xpcs_dask.toolkit.g2mod")
    if name not in _HOME:
        raise AttributeError(f"module 'xpcs_dask.toolkit' has no attribute '{name}'")
    return getattr(import_module(f"xpcs_dask.toolkit.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
