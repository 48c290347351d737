"""Diffusion of one curve from end to end: points, models, their comparison, the coefficient with its errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xpcs_dask.toolkit.diffusion_coefficient import DiffusionCoefficientExtractor
from xpcs_dask.toolkit.diffusion_models import DiffusionModels
from xpcs_dask.toolkit.diffusion_steps import chosen_models, input_report, no_decay, outliers_of
from xpcs_dask.toolkit.fit_records import Record
from xpcs_dask.toolkit.function_fits import fit_function, usable
from xpcs_dask.toolkit.model_selection import FAILURES, ModelSelectionFramework
from xpcs_dask.toolkit.outlier_detection import OutlierDetection
from xpcs_dask.toolkit.regression_weights import WeightedRegressionFramework

if TYPE_CHECKING:
    from xpcs_dask.toolkit.optimizer import RobustOptimizerWithDiagnostics

__all__ = [
    "ComprehensiveDiffusionAnalyzer",
    "DiffusionCoefficientExtractor",
    "DiffusionModels",
    "ModelSelectionFramework",
    "OutlierDetection",
    "WeightedRegressionFramework",
]

Floats = NDArray[np.float64]
Points = tuple[Floats, Floats, Floats | None]


class ComprehensiveDiffusionAnalyzer:
    """Analyse the diffusion that one curve of g2 shows.

    Parameters
    ----------
    diagnostic_level : {"basic", "standard", "comprehensive"}
        How much is said about the best fit, as for `RobustOptimizerWithDiagnostics`.
    n_jobs : int, optional
        Processes of its bootstrap.
    """

    def __init__(self, diagnostic_level: str = "standard", n_jobs: int | None = None) -> None:
        self.diagnostic_level, self.n_jobs = diagnostic_level, n_jobs
        self.models = DiffusionModels()
        self.weighted_regression = WeightedRegressionFramework()
        self.outlier_detection = OutlierDetection()
        self.model_selection = ModelSelectionFramework()
        self.diffusion_extractor = DiffusionCoefficientExtractor()

    def analyze_diffusion(
        self,
        tau: ArrayLike,
        g2_data: ArrayLike,
        g2_errors: ArrayLike | None = None,
        q_value: float = 1.0,
        models_to_test: Sequence[str] | None = None,
        enable_outlier_detection: bool = True,
        enable_weighted_fitting: bool = True,
        model_selection_criterion: str = "bic",
        bootstrap_samples: int | None = None,
        apply_physical_constraints: bool = True,
    ) -> dict[str, Any]:
        """Leave out outliers, compare models, fit the best one again with diagnostics, and extract its diffusion.

        Parameters
        ----------
        tau, g2_data, g2_errors : array_like, shape (m,)
            Delays in s, the curve and its errors. Points without a number or a positive error are left out.
        q_value : float
            Wave-vector transfer; D is in its unit to the power -2, per s.
        models_to_test : sequence of str, optional
            Names that `get_available_models` knows; all by default.
        enable_outlier_detection, enable_weighted_fitting : bool
            The latter adds iterated Huber weights; the diffusion is then that of this fit, if it converged.
        model_selection_criterion : {"bic", "aic", "aicc", "cv", "combined"}
        bootstrap_samples : int, optional
            Of the diagnostics; by default what the level says.
        apply_physical_constraints : bool
            Whether ``diffusion_parameters`` has a ``physical_constraint_warning`` where something cannot be.

        Returns
        -------
        dict
            ``input_parameters``, ``preprocessing``, ``model_comparison``, ``model_selection``,
            ``best_model_analysis``, ``diffusion_parameters``, ``diagnostics``; with ``error``, and without what could
            not be done, where the data are no curve or no model could be fitted.

        Raises
        ------
        ConfigError
            If a setting makes no sense; data never raise.
        """
        models = chosen_models(models_to_test)
        checked = self.validate_input_data(tau, g2_data, g2_errors)
        told: dict[str, Any] = {
            "input_parameters": {
                "n_data_points": int(np.size(tau)), "q_value": float(q_value), "models_tested": list(models),
                "has_error_estimates": g2_errors is not None,
            }
        }  # fmt: skip
        if not checked["valid"]:
            return Record({**told, "error": "; ".join(checked["errors"])})
        points = _sorted(tau, g2_data, g2_errors)
        count = points[1].size
        told["preprocessing"] = {}
        if enable_outlier_detection:
            told["preprocessing"], points = self._without_outliers(points, models)
        told["model_comparison"] = self.model_selection.compare_models(models, *points)
        told["model_selection"] = self.model_selection.select_best_model(
            told["model_comparison"], model_selection_criterion
        )
        best = told["model_selection"]["best_model"]
        if best is None:
            return Record({**told, "error": told["model_selection"]["reason"]})
        found = self._of_the_best(
            best, models[best], told["model_comparison"][best], points, q_value, count - points[1].size,
            enable_weighted_fitting, bootstrap_samples, apply_physical_constraints,
        )  # fmt: skip
        return Record(told | found)

    def _without_outliers(
        self, points: Points, models: Mapping[str, Mapping[str, Any]]
    ) -> tuple[dict[str, Any], Points]:
        x, y, sigma = points
        masks = outliers_of(x, y, sigma, models)
        out = masks["consensus"]
        told = {
            "n_outliers_detected": int(out.sum()), "outlier_fraction": float(out.mean()), "outlier_methods": masks,
        }  # fmt: skip
        kept = (x[~out], y[~out], None if sigma is None else sigma[~out])
        return {"outlier_detection": told}, kept

    def _of_the_best(
        self, name: str, model: Mapping[str, Any], found: Mapping[str, Any], points: Points, q_value: float, out: int,
        weighted: bool, bootstrap_samples: int | None, constraints: bool,
    ) -> dict[str, Any]:  # fmt: skip
        """Fit the best model once more, in both ways, and read its diffusion."""
        x, y, sigma = points
        analysis: dict[str, Any] = {}
        if weighted:
            analysis["weighted_fitting"] = self._weighted(model, found, points)
        optimizer = self._optimizer()
        value, covariance, diagnostics = optimizer.robust_curve_fit_with_diagnostics(
            model["function"], x, y, found["parameters"], tuple(np.transpose(model["bounds"])), sigma, func_name=name,
            bootstrap_samples=bootstrap_samples,
        )  # fmt: skip
        analysis["enhanced_fit"] = {"parameters": value, "covariance": covariance, "diagnostics": diagnostics}
        source = analysis.get("weighted_fitting", {})
        source = source if source.get("converged") else {**found}
        diffusion = self.diffusion_extractor.extract_with_constraints(
            name, source["parameters"], source["covariance"], q_value, constraints
        )
        noise = no_decay(y, sigma, found["chi_squared"], found["n_parameters"]) if constraints else ""
        if noise:
            before = diffusion.get("physical_constraint_warning")
            diffusion["physical_constraint_warning"] = f"{before}; {noise}" if before else noise
        summary = {
            "best_model": name, "data_points_used": int(y.size), "outliers_excluded": out, "weighted_fitting": weighted,
            "bootstrap_analysis": "parameter_statistics" in diagnostics.get("bootstrap_analysis", {}),
        }  # fmt: skip
        return {
            "best_model_analysis": analysis,
            "diffusion_parameters": diffusion,
            "diagnostics": {
                "fit_quality": optimizer.analyze_fit_quality(diagnostics),
                "parameter_uncertainties": optimizer.get_parameter_uncertainties(diagnostics),
                "analysis_summary": summary,
            },
        }

    def _weighted(self, model: Mapping[str, Any], found: Mapping[str, Any], points: Points) -> dict[str, Any]:
        x, y, sigma = points
        try:
            return self.weighted_regression.iteratively_reweighted_least_squares(
                model["function"], x, y, found["parameters"], model["bounds"], max_iterations=50, sigma=sigma
            )
        except FAILURES as failure:
            return {"error": f"{type(failure).__name__}: {failure}", "converged": False}

    def _optimizer(self) -> RobustOptimizerWithDiagnostics:
        from xpcs_dask.toolkit.optimizer import RobustOptimizerWithDiagnostics

        return RobustOptimizerWithDiagnostics(diagnostic_level=self.diagnostic_level, n_jobs=self.n_jobs)

    def quick_diffusion_analysis(
        self, tau: ArrayLike, g2_data: ArrayLike, q_value: float = 1.0, model: str = "simple_diffusion"
    ) -> dict[str, Any]:
        """Fit one model, without errors, and read its diffusion.

        Returns
        -------
        dict
            ``model``, ``parameters``, ``parameter_errors``, ``covariance``, ``diffusion_info``, ``fit_info``,
            ``success``; or ``model``, ``error`` and ``success`` False.
        """
        record = chosen_models([model])[model]
        checked = self.validate_input_data(tau, g2_data)
        if not checked["valid"]:
            return {"model": model, "error": "; ".join(checked["errors"]), "success": False}
        x, y, _ = _sorted(tau, g2_data, None)
        try:
            fit = fit_function(record["function"], x, y, bounds=record["bounds"])
        except FAILURES as failure:
            return {"model": model, "error": f"{type(failure).__name__}: {failure}", "success": False}
        with np.errstate(invalid="ignore"):
            errors = np.sqrt(np.diag(fit.covariance))
        total = float(np.sum((y - y.mean()) ** 2))
        return Record({
            "model": model, "parameters": fit.value, "parameter_errors": errors, "covariance": fit.covariance,
            "diffusion_info": self.diffusion_extractor.extract_with_constraints(
                model, fit.value, fit.covariance, q_value
            ),
            "fit_info": {
                "chi_squared": fit.chi2, "r_squared": 1.0 - fit.chi2 / total if total > 0 else float("nan"),
                "rmse": float(np.sqrt(fit.chi2 / y.size)), "n_data_points": int(y.size),
                "warning": no_decay(y, None, fit.chi2, fit.value.size),
            },
            "success": True,
        })  # fmt: skip

    def get_available_models(self) -> dict[str, str]:
        """Name and description of each model."""
        return {name: info["description"] for name, info in DiffusionModels.get_model_info().items()}

    def validate_input_data(
        self, tau: ArrayLike, g2_data: ArrayLike, g2_errors: ArrayLike | None = None
    ) -> dict[str, Any]:
        """Return ``valid``, and ``errors``, ``warnings`` and ``recommendations`` as lists of sentences."""
        return input_report(tau, g2_data, g2_errors)


def _sorted(tau: ArrayLike, g2: ArrayLike, errors: ArrayLike | None) -> Points:
    """Points that can be used, by increasing delay."""
    good = usable(tau, g2, errors)
    x, y = (np.asarray(part, dtype=np.float64)[good] for part in (tau, g2))
    order = np.argsort(x, kind="stable")
    sigma = None if errors is None else np.asarray(errors, dtype=np.float64)[good][order]
    return x[order], y[order], sigma
