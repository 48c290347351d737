"""Which of several functions the data speak for: criteria of this package, and prediction of delays left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting import criteria
from xpcs_dask.fitting.cross_validation import BLOCKS, fold_masks
from xpcs_dask.fitting.selection import simplest
from xpcs_dask.toolkit.diffusion_models import Function
from xpcs_dask.toolkit.fit_records import Record
from xpcs_dask.toolkit.function_fits import FunctionFit, box_of, fit_function, usable

__all__ = ["ModelSelectionFramework"]

Floats = NDArray[np.float64]

CRITERIA = ("aic", "bic", "aicc")
TIE = 1e-6
"""Difference of a criterion that means nothing: the model that was named first is preferred."""
FAILURES = (RuntimeError, ValueError, TypeError, ArithmeticError, np.linalg.LinAlgError)
"""What a function or its fit may raise without stopping the others."""


class ModelSelectionFramework:
    """Compare functions that were fitted to the same points.

    One definition of the criteria, that of `xpcs_dask.compare`: with errors that are known chi2 plus a penalty, without
    them n ln(chi2/n) plus one that counts the scale. Cross-validation leaves out blocks of neighbouring delays, weighs
    by the errors, and deals the blocks by a seed of its own; in the original these were single shuffled points.
    """

    def __init__(self, *, random_state: int = 0) -> None:
        self.random_state = random_state

    @staticmethod
    def calculate_aic(n_params: int, n_data: int, chi_squared: float, *, scale_known: bool = True) -> float:
        """Akaike's criterion, as `xpcs_dask.fitting.criteria.aic`; `scale_known`: errors are not up to a factor."""
        return float(criteria.aic(chi_squared, n_params, n_data, scale_known))

    @staticmethod
    def calculate_bic(n_params: int, n_data: int, chi_squared: float, *, scale_known: bool = True) -> float:
        """Bayesian criterion, as `xpcs_dask.fitting.criteria.bic`."""
        return float(criteria.bic(chi_squared, n_params, n_data, scale_known))

    @staticmethod
    def calculate_aicc(n_params: int, n_data: int, chi_squared: float, *, scale_known: bool = True) -> float:
        """Akaike's criterion for few points, as `xpcs_dask.fitting.criteria.aicc`; NaN where there are too few."""
        return float(criteria.aicc(chi_squared, n_params, n_data, scale_known))

    def cross_validate_model(
        self,
        func: Function,
        xdata: ArrayLike,
        ydata: ArrayLike,
        p0: ArrayLike | None,
        bounds: Any = None,
        k_folds: int = 5,
        sigma: ArrayLike | None = None,
    ) -> dict[str, Any]:
        """Fit without a fold, predict it, and so for all folds: two blocks of neighbouring delays each.

        Returns
        -------
        dict
            ``mean_cv_score``, the mean squared error of prediction (in units of sigma^2 where errors are given),
            ``std_cv_score`` of the folds, ``cv_scores`` and ``cv_parameters`` of each fold (NaN where it failed),
            ``n_successful_folds``. The mean is NaN unless all folds could be fitted.

        Raises
        ------
        ConfigError
            For fewer than 2 folds, or more than half as many as there are points.
        """
        good = usable(xdata, ydata, sigma)
        x, y = (np.asarray(part, dtype=np.float64)[good] for part in (xdata, ydata))
        error = None if sigma is None else np.broadcast_to(np.asarray(sigma, dtype=np.float64), good.shape)[good]
        if k_folds < 2 or k_folds * BLOCKS > y.size:
            raise ConfigError(f"k_folds is {k_folds}; {y.size} points allow 2 to {y.size // BLOCKS}")
        weight = np.ones_like(y) if error is None else 1.0 / error
        scores, sums = np.full((2, k_folds), np.nan)
        found: list[Floats | None] = []
        for k, unseen in enumerate(fold_masks(x, k_folds, self.random_state)):
            seen = ~unseen
            try:
                fit = fit_function(func, x[seen], y[seen], None if error is None else error[seen], p0, bounds)
                off = (y[unseen] - np.asarray(func(x[unseen], *fit.value))) * weight[unseen]
            except FAILURES:
                found.append(None)
                continue
            sums[k] = max(float(np.sum(off**2)), fit.rounding)  # smaller ones tell nothing about the model
            scores[k] = sums[k] / off.size
            found.append(fit.value)
        count = next((len(value) for value in found if value is not None), 0)
        parameters = [np.full(count, np.nan) if value is None else value for value in found]
        return Record(
            {
                "mean_cv_score": float(sums.sum() / y.size),
                "std_cv_score": float(np.std(scores, ddof=1)),
                "cv_scores": scores,
                "cv_parameters": parameters,
                "n_successful_folds": sum(value is not None for value in found),
            }
        )

    def compare_models(
        self,
        models: Mapping[str, Mapping[str, Any]],
        xdata: ArrayLike,
        ydata: ArrayLike,
        sigma: ArrayLike | None = None,
        use_cross_validation: bool = True,
        cv_folds: int = 5,
    ) -> dict[str, Any]:
        """Fit every model.

        Parameters
        ----------
        models : mapping
            For each name ``function`` (or ``func``), and if wanted ``bounds`` and ``p0``; what
            `DiffusionModels.get_model_info` returns will do.
        xdata, ydata, sigma : array_like, shape (m,)
        use_cross_validation : bool
            Whether `cross_validate_model` is asked too, where there are points enough for the folds.

        Returns
        -------
        dict
            For each name ``parameters``, ``covariance``, ``chi_squared`` (weighted), ``aic``, ``bic``, ``aicc``,
            ``r_squared`` (weighted), ``rmse`` (in the unit of y), ``n_parameters``, ``n_data_points``,
            ``errors_known``, ``fitted_successfully`` and perhaps ``cross_validation``; or ``error`` and
            ``fitted_successfully``.
        """
        good = usable(xdata, ydata, sigma)
        x, y = (np.asarray(part, dtype=np.float64)[good] for part in (xdata, ydata))
        error = None if sigma is None else np.broadcast_to(np.asarray(sigma, dtype=np.float64), good.shape)[good]
        found: dict[str, Any] = {}
        for name, model in models.items():
            function = model.get("function", model.get("func"))
            if not callable(function):
                raise ConfigError(f"models: {name!r} has no function; give {{'function': f, 'bounds': pairs}}")
            p0, bounds = model.get("p0"), model.get("bounds")
            if p0 is None and bounds is not None:
                p0 = _middle(bounds, model.get("parameters"))
            try:
                fit = fit_function(function, x, y, error, p0, bounds)
                found[name] = self._described(function, fit, x, y, error)
                if use_cross_validation and cv_folds * BLOCKS <= y.size:
                    found[name]["cross_validation"] = self.cross_validate_model(
                        function, x, y, fit.value, bounds, cv_folds, error
                    )
            except FAILURES as failure:
                found[name] = {"error": f"{type(failure).__name__}: {failure}", "fitted_successfully": False}
        return Record(found)

    def _described(
        self, func: Function, fit: FunctionFit, x: Floats, y: Floats, error: Floats | None
    ) -> dict[str, Any]:
        weight = np.ones_like(y) if error is None else error**-2.0
        residuals = y - np.asarray(func(x, *fit.value))
        total = float(np.sum(weight * (y - np.average(y, weights=weight)) ** 2))
        numbers = (fit.value.size, y.size, max(fit.chi2, fit.rounding))
        known = error is not None
        return {
            "parameters": fit.value,
            "covariance": fit.covariance,
            "chi_squared": fit.chi2,
            "aic": self.calculate_aic(*numbers, scale_known=known),
            "bic": self.calculate_bic(*numbers, scale_known=known),
            "aicc": self.calculate_aicc(*numbers, scale_known=known),
            "r_squared": 1.0 - fit.chi2 / total if total > 0 else float("nan"),
            "rmse": float(np.sqrt(np.mean(residuals**2))),
            "n_parameters": int(fit.value.size),
            "n_data_points": int(y.size),
            "errors_known": known,
            "fitted_successfully": True,
        }

    def select_best_model(
        self, comparison_results: Mapping[str, Any], criterion: str = "bic", cv_weight: float = 0.3
    ) -> dict[str, Any]:
        """Choose among what `compare_models` returned.

        Parameters
        ----------
        criterion : {"aic", "bic", "aicc", "cv", "combined"}
            The smallest criterion; with "cv" the fewest parameters whose score is within one standard error of the
            smallest, as `xpcs_dask.compare` does; "combined" is ``(1 - cv_weight) bic + cv_weight L``, L the
            misfit that the cross-validation score stands for.
        cv_weight : float
            From 0 to 1.

        Returns
        -------
        dict
            ``best_model``, ``best_model_results``, ``selection_info`` (criterion, score of each model, differences
            from the best), ``all_model_results``; ``best_model`` None and a ``reason`` where none can be chosen.
        """
        if criterion not in (*CRITERIA, "cv", "combined"):
            raise ConfigError(f"criterion: {criterion!r} is none of {', '.join((*CRITERIA, 'cv', 'combined'))}")
        if not 0 <= cv_weight <= 1:
            raise ConfigError(f"cv_weight is {cv_weight:g}; give a number from 0 to 1")
        everything = dict(comparison_results)
        fitted = {n: r for n, r in everything.items() if isinstance(r, Mapping) and r.get("fitted_successfully")}
        scores = {name: _score(result, criterion, cv_weight) for name, result in fitted.items()}
        known = {name: score for name, score in scores.items() if np.isfinite(score)}
        if not known:
            why = "no model could be fitted" if not fitted else f"no model has a finite {criterion}"
            return Record(
                {"best_model": None, "best_model_results": None, "reason": why, "all_model_results": everything}
            )
        best = _within_one_error(fitted, list(known)) if criterion == "cv" else _first_of_the_best(known)
        return Record(
            {
                "best_model": best,
                "best_model_results": fitted[best],
                "selection_info": {
                    "criterion": criterion,
                    "cv_weight": cv_weight if criterion == "combined" else None,
                    "score": known[best],
                    "scores": scores,
                    "differences": {name: score - known[best] for name, score in scores.items()},
                },
                "all_model_results": everything,
            }
        )


def _middle(bounds: Any, names: Any) -> Floats | None:
    """Start of a function that comes with bounds and no start: between them."""
    box = box_of(bounds, len(names) if names is not None else None)
    if box is None:
        return None
    low, high = box
    finite = np.isfinite(low) & np.isfinite(high)
    with np.errstate(invalid="ignore"):
        wide = finite & (low > 0) & (high > 100 * np.maximum(low, 0))
        middle = np.where(wide, np.sqrt(np.where(wide, low * high, 1.0)), np.where(finite, low + (high - low) / 2, 1.0))
    return np.clip(middle, low, high)


def _score(result: Mapping[str, Any], criterion: str, cv_weight: float) -> float:
    if criterion in CRITERIA:
        return float(result[criterion])
    mean = float(result.get("cross_validation", {}).get("mean_cv_score", np.nan))
    if criterion == "cv":
        return mean
    n = result["n_data_points"]
    misfit = n * mean if result["errors_known"] else n * float(np.log(max(mean, np.finfo(float).tiny)))
    return float((1.0 - cv_weight) * result["bic"] + cv_weight * misfit)


def _first_of_the_best(scores: Mapping[str, float]) -> str:
    lowest = min(scores.values())
    return next(name for name, score in scores.items() if score <= lowest + TIE)


def _within_one_error(fitted: Mapping[str, Any], names: list[str]) -> str:
    validations = [fitted[name]["cross_validation"] for name in names]
    means = np.array([v["mean_cv_score"] for v in validations])
    errors = np.array([v["std_cv_score"] / np.sqrt(v["n_successful_folds"]) for v in validations])
    counts = np.array([fitted[name]["n_parameters"] for name in names])
    return names[int(simplest(means[None], errors[None], counts)[0])]
