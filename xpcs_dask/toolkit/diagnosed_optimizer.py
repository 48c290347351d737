"""`RobustOptimizerWithDiagnostics`: a fit and its report in one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from xpcs_dask.fitting.models import Floats
from xpcs_dask.toolkit.diagnostic_report import DiagnosticReporter
from xpcs_dask.toolkit.levels import LEVELS, check_level
from xpcs_dask.toolkit.robust_optimizer import RobustOptimizer
from xpcs_dask.toolkit.summary import verdict

__all__ = ["RobustOptimizerWithDiagnostics"]


class RobustOptimizerWithDiagnostics(RobustOptimizer):
    """Fits as `RobustOptimizer` does, and reports on the fit.

    Parameters
    ----------
    max_iterations, tolerance_factor, enable_caching, performance_tracking
        As for `RobustOptimizer`.
    diagnostic_level : {"basic", "standard", "comprehensive"}
        With 0, 500 or 1000 refits.
    n_jobs : int, optional
        Threads of the bootstrap.
    """

    def __init__(
        self,
        max_iterations: int = 10000,
        tolerance_factor: float = 1.0,
        enable_caching: bool = True,
        performance_tracking: bool = True,
        diagnostic_level: str = "standard",
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(max_iterations, tolerance_factor, enable_caching, performance_tracking)
        check_level(diagnostic_level)
        self.diagnostic_level, self.n_jobs = diagnostic_level, n_jobs

    def robust_curve_fit_with_diagnostics(
        self,
        func: Callable[..., Any],
        xdata: ArrayLike,
        ydata: ArrayLike,
        p0: ArrayLike | None = None,
        bounds: Any = None,
        sigma: ArrayLike | None = None,
        func_name: str = "model",
        bootstrap_samples: int | None = None,
        bootstrap_method: str = "residual",
        **kwargs: Any,
    ) -> tuple[Floats, Floats, dict[str, Any]]:
        """Fit a function and report on the fit.

        Parameters
        ----------
        func, xdata, ydata, p0, bounds, sigma, **kwargs
            As for `RobustOptimizer.robust_curve_fit`.
        func_name, bootstrap_method : str
        bootstrap_samples : int, optional
            Refits; by default what the level says.

        Returns
        -------
        popt, pcov : array
        diagnostics : dict
            What `DiagnosticReporter.generate_comprehensive_report` returns, with ``optimization_info`` and
            ``parameters`` (the values).
        """
        popt, pcov, info = self.robust_curve_fit(func, xdata, ydata, p0, bounds, sigma, **kwargs)
        number = LEVELS[self.diagnostic_level] if bootstrap_samples is None else int(bootstrap_samples)
        diagnostics = DiagnosticReporter(n_jobs=self.n_jobs).generate_comprehensive_report(
            func, xdata, ydata, popt, pcov, bounds, sigma, func_name, bootstrap_method, number
        )
        diagnostics["optimization_info"] = info
        diagnostics["parameters"] = popt.tolist()
        return popt, pcov, diagnostics

    def analyze_fit_quality(self, diagnostics: dict[str, Any]) -> str:
        """Return a word and a number, as in "Good (score: 0.90)"."""
        score = float(diagnostics["summary"]["quality_score"])
        return f"{verdict(score)} (score: {score:.2f})"

    def get_parameter_uncertainties(self, diagnostics: dict[str, Any]) -> dict[str, Any]:
        """Return by parameter (``param_i``) what is known of its error.

        Returns
        -------
        dict of dict
            ``value, standard_error, relative_error``, and where there are refits ``bootstrap_std`` and
            ``confidence_interval``.
        """
        analysis = diagnostics["covariance_analysis"]
        resampled = diagnostics["bootstrap_analysis"].get("parameter_statistics", {})
        found: dict[str, Any] = {}
        for k, (error, relative) in enumerate(
            zip(analysis["parameter_errors"], analysis["relative_errors"], strict=True)
        ):
            name = f"param_{k}"
            value = diagnostics.get("parameters", {k: np.nan})[k]
            found[name] = {"value": float(value), "standard_error": error, "relative_error": relative}
            if name in resampled:
                keys = ("bootstrap_std", "confidence_interval")
                found[name] |= {key: resampled[name][key] for key in keys}
        return found
