"""One report of all that can be said of a fit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.models import Floats
from xpcs_dask.toolkit.bootstrap_analysis import METHODS, BootstrapAnalyzer
from xpcs_dask.toolkit.covariance_analysis import CovarianceAnalyzer
from xpcs_dask.toolkit.function_model import jacobian_of
from xpcs_dask.toolkit.goodness import GoodnessOfFitAnalyzer
from xpcs_dask.toolkit.report_text import report_text
from xpcs_dask.toolkit.residual_analysis import ResidualAnalyzer
from xpcs_dask.toolkit.summary import signal, summarise

__all__ = ["DiagnosticReporter"]

SEED = 0


class DiagnosticReporter:
    """Puts the analyses of one fit together.

    Parameters
    ----------
    include_plots : bool
        Add ``plots``: residuals along x and against normal quantiles, as PNG in base64.
    n_jobs : int, optional
        Threads of the bootstrap.
    """

    def __init__(self, include_plots: bool = False, n_jobs: int | None = None) -> None:
        self.include_plots, self.n_jobs = include_plots, n_jobs

    def generate_comprehensive_report(
        self,
        func: Callable[..., Any],
        xdata: ArrayLike,
        ydata: ArrayLike,
        popt: ArrayLike,
        pcov: ArrayLike,
        bounds: Any = None,
        sigma: ArrayLike | None = None,
        func_name: str = "model",
        bootstrap_method: str = "residual",
        n_bootstrap: int = 1000,
    ) -> dict[str, Any]:
        """Look at a fit from all sides.

        Parameters
        ----------
        func : callable
            ``func(x, *parameters)``.
        xdata, ydata : array_like
        popt, pcov : array_like, shapes (p,) and (p, p)
            The fit.
        bounds : (lower, upper), optional
            Of the fit: a parameter on one of them counts as held.
        sigma : array_like, shape (m,), optional
            Standard errors, taken as they are. Points without one above 0, and values that are not numbers, are left
            out.
        func_name, bootstrap_method : str
        n_bootstrap : int
            Refits; 0 leaves the bootstrap out.

        Returns
        -------
        dict
            ``function_name, timestamp, data_info, goodness_of_fit, covariance_analysis, parameter_suggestions,
            residual_analysis, systematic_deviations, heteroscedasticity, influence, signal, bootstrap_analysis,
            summary``: numbers, texts and lists, nothing else. What has no value is NaN. ``bootstrap_analysis`` is
            ``{skipped: why}`` without refits, ``{error: why}`` where they cannot be made.

        Raises
        ------
        ConfigError
            If arguments do not fit each other, or the bootstrap's method is not known.
        """
        if bootstrap_method not in METHODS:
            raise ConfigError(f"bootstrap_method is '{bootstrap_method}'; known are {', '.join(METHODS)}")
        value, matrix = np.atleast_1d(np.asarray(popt, np.float64)), np.asarray(pcov, dtype=np.float64)
        x, y, error, left_out = _usable(xdata, ydata, sigma)
        fitted = np.asarray(func(x, *value), dtype=np.float64)
        jacobian = jacobian_of(func, x, value, bounds)
        free = jacobian.shape[1]
        goodness = GoodnessOfFitAnalyzer().calculate_goodness_of_fit_metrics(y, fitted, free, error)
        covariances = CovarianceAnalyzer()
        covariance = covariances.analyze_covariance_matrix(matrix, value, func_name)
        residuals = ResidualAnalyzer()
        rest = y - fitted
        even = rest if error is None else rest / error
        slopes = jacobian if error is None else jacobian / error[:, None]
        report: dict[str, Any] = {
            "function_name": func_name,
            "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
            "data_info": _data_info(x, y, value.size, error, left_out),
            "goodness_of_fit": goodness,
            "covariance_analysis": covariance,
            "parameter_suggestions": covariances.suggest_parameter_constraints(covariance, value),
            "residual_analysis": residuals.analyze_residuals(x, y, fitted, error, jacobian=jacobian),
            "systematic_deviations": residuals.detect_systematic_deviations(x, even, min(10, max(1, y.size // 3))),
            "heteroscedasticity": residuals.test_heteroscedasticity(x, even, jacobian=slopes),
            "influence": residuals.compute_influence_measures(x, y, fitted, rest, jacobian=jacobian, sigma=error),
            "signal": signal(y, fitted, free, error),
        }
        report["bootstrap_analysis"] = self._bootstrap(
            func, x, y, value, matrix, bounds, error, bootstrap_method, n_bootstrap
        )
        report["summary"] = summarise(report)
        if self.include_plots:
            from xpcs_dask.toolkit.report_plots import plots

            report["plots"] = plots(x, y, fitted, error)
        return report

    def generate_text_report(self, diagnostic_report: dict[str, Any]) -> str:
        """Return a report as text for people."""
        return report_text(diagnostic_report)

    def _bootstrap(
        self, func: Callable[..., Any], x: Any, y: Floats, value: Floats, matrix: Floats, bounds: Any,
        error: Floats | None, method: str, number: int,
    ) -> dict[str, Any]:  # fmt: skip
        if number < 2:
            return {"skipped": "no refits were asked for"}
        analyzer = BootstrapAnalyzer(number, random_state=SEED, n_jobs=self.n_jobs)
        try:
            return analyzer.bootstrap_confidence_intervals(func, x, y, value, matrix, bounds, error, method)
        except (ValueError, ArithmeticError, np.linalg.LinAlgError) as failure:  # the rest of the report stands
            return {"error": f"{type(failure).__name__}: {failure}"}


def _usable(xdata: ArrayLike, ydata: ArrayLike, sigma: ArrayLike | None) -> tuple[Any, Floats, Floats | None, int]:
    """Points that can be used, and how many cannot."""
    x, y = np.asarray(xdata), np.asarray(ydata, dtype=np.float64)
    if y.ndim != 1 or x.shape[-1:] != y.shape:
        raise ConfigError(f"xdata is {x.shape} and ydata {y.shape}; give one row of points each")
    used, error = np.isfinite(y), None
    if sigma is not None:
        error = np.array(np.broadcast_to(np.asarray(sigma, dtype=np.float64), y.shape))
        used &= np.isfinite(error) & (error > 0)
    if not used.any():
        raise ConfigError("no point can be used: ydata must be finite and sigma above 0")
    return x[..., used], y[used], None if error is None else error[used], int(np.sum(~used))


def _data_info(x: Any, y: Floats, p: int, error: Floats | None, left_out: int) -> dict[str, Any]:
    return {
        "n_data_points": int(y.size),
        "n_points_left_out": left_out,
        "n_parameters": p,
        "x_range": [float(x.min()), float(x.max())] if x.dtype.kind in "fiu" else None,
        "y_range": [float(y.min()), float(y.max())],
        "has_uncertainties": error is not None,
    }
