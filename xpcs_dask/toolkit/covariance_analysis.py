"""What a covariance matrix says of the parameters, whatever their units."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.models import Floats
from xpcs_dask.toolkit.fit_records import Record

HIGH = 0.95
"""Correlation of two parameters, without its sign, beyond which one hardly says anything without the other."""
RANK = 1e-14
"""Share of the largest eigenvalue of the correlation matrix below which one is rounding."""


class CovarianceAnalyzer:
    """Stability of a fit from its covariance.

    Parameters
    ----------
    condition_threshold : float
        Condition number of the correlation matrix beyond which the parameters are not told apart.
    """

    def __init__(self, condition_threshold: float = 1e12) -> None:
        if not condition_threshold > 1:
            raise ConfigError(f"condition_threshold is {condition_threshold}; it must be above 1")
        self.condition_threshold = float(condition_threshold)

    def analyze_covariance_matrix(self, pcov: ArrayLike, popt: ArrayLike, func_name: str = "model") -> dict[str, Any]:
        """Look at a covariance matrix.

        Parameters
        ----------
        pcov : array_like, shape (p, p)
        popt : array_like, shape (p,)
        func_name : str

        Returns
        -------
        dict
            ``function_name, n_parameters, parameter_errors, relative_errors, correlation_matrix, high_correlations,
            principal_components, condition_number, determinant, eigenvalues, eigenvectors, stability_issues,
            stability_metrics, is_numerically_stable``. Condition number, determinant, eigenvalues and components are
            those of the correlation matrix of the parameters that have an error: no unit changes them. A parameter
            without an error (held: 0, on a bound or not determined: NaN or infinite) is named in ``stability_issues``.

        Raises
        ------
        ConfigError
            If shapes do not fit.

        Notes
        -----
        The Toolkit called a matrix near-singular by its determinant, which depends on the units of the parameters, and
        its score went up with a tiny eigenvalue. Here it goes down.
        """
        value, matrix = np.atleast_1d(np.asarray(popt, np.float64)), np.atleast_2d(np.asarray(pcov, np.float64))
        p = value.size
        if matrix.shape != (p, p):
            raise ConfigError(f"pcov is {matrix.shape}, but there are {p} parameters; give ({p}, {p})")
        with np.errstate(all="ignore"):
            error = np.sqrt(np.diag(matrix))
            relative = np.where(value != 0, error / np.abs(value), np.inf)
            correlation = matrix / np.outer(error, error)
        told = np.isfinite(error) & (error > 0) & (np.diag(matrix) < np.inf)
        known = correlation[np.ix_(told, told)]
        sound = bool(told.any() and np.isfinite(known).all())
        eigenvalues, eigenvectors = (
            np.linalg.eigh(0.5 * (known + known.T)) if sound else (np.empty(0), np.empty((0, 0)))
        )
        correlation[~told, :] = correlation[:, ~told] = np.nan
        condition = _condition(eigenvalues)
        pairs = _high(correlation)
        issues = self._issues(matrix, error, relative, condition, eigenvalues, pairs)
        stable = bool(sound and told.all() and condition < self.condition_threshold and (eigenvalues > 0).all())
        return Record(
            {
                "function_name": func_name,
                "n_parameters": p,
                "condition_number": condition,
                "determinant": float(np.prod(eigenvalues)) if sound else np.nan,
                "parameter_errors": error.tolist(),
                "relative_errors": relative.tolist(),
                "correlation_matrix": correlation,
                "high_correlations": pairs,
                "principal_components": _components(eigenvalues, eigenvectors, np.flatnonzero(told)),
                "eigenvalues": eigenvalues,
                "eigenvectors": eigenvectors,
                "stability_issues": issues,
                "stability_metrics": self._metrics(matrix, told, known, eigenvalues, condition, len(issues)),
                "is_numerically_stable": stable,
            }
        )

    def suggest_parameter_constraints(self, covariance_analysis: dict[str, Any], popt: ArrayLike) -> list[str]:
        """Say what to hold or bound, in sentences; empty where nothing is wrong."""
        value = np.atleast_1d(np.asarray(popt, dtype=np.float64))
        found = []
        for pair in covariance_analysis["high_correlations"]:
            i, j = pair["parameter_1"], pair["parameter_2"]
            found.append(
                f"parameters {i} and {j} are correlated ({pair['correlation']:.3f}): hold one of them, at "
                f"{value[i]:.4g} or {value[j]:.4g}, if it is known from elsewhere"
            )
        for k, (error, relative) in enumerate(
            zip(covariance_analysis["parameter_errors"], covariance_analysis["relative_errors"], strict=True)
        ):
            if error == 0:
                continue
            if not np.isfinite(error):
                found.append(
                    f"parameter {k} has no error: it is on a bound or not determined; hold it, or move the bound"
                )
            elif relative > 1 and value[k] != 0:
                found.append(f"parameter {k} is known to {relative:.0%} only: bound it near {value[k]:.4g}, or hold it")
        if not covariance_analysis["is_numerically_stable"] and not found:
            found.append("the data do not tell all parameters apart: use a model with fewer")
        return found

    def _issues(
        self, matrix: Floats, error: Floats, relative: Floats, condition: float, eigenvalues: Floats, pairs: list[Any]
    ) -> list[str]:
        """Return what is wrong, in sentences."""
        found = [f"parameter {k} is held (no variance)" for k in np.flatnonzero(error == 0)]
        found += [f"parameter {k} has no finite error" for k in np.flatnonzero(~np.isfinite(error))]
        if not condition < self.condition_threshold:
            found.append(
                f"condition number {condition:.3g} of the correlations is above {self.condition_threshold:.3g}"
            )
        if eigenvalues.size and eigenvalues[0] <= 0:
            found.append(f"the matrix is not positive: smallest eigenvalue of the correlations {eigenvalues[0]:.3g}")
        if pairs:
            found.append(f"{len(pairs)} pairs of parameters are correlated beyond {HIGH}")
        found += [
            f"parameter {k} is less than its error" for k in np.flatnonzero(np.isfinite(relative) & (relative > 1))
        ]
        with np.errstate(invalid="ignore"):
            if np.isfinite(matrix).all() and not np.allclose(matrix, matrix.T, rtol=1e-8, atol=0.0):
                found.append("the matrix is not symmetric")
        return found

    def _metrics(
        self, matrix: Floats, told: NDArray[np.bool_], known: Floats, values: Floats, condition: float, n_issues: int
    ) -> dict[str, Any]:
        """Return numbers about the matrix; variances and norms are of the covariance, the rest of correlations."""
        variances, some = np.diag(matrix)[told], matrix[np.ix_(told, told)]
        sound, rank = bool(values.size), int(np.sum(values > RANK * values.max(initial=0.0)))
        with np.errstate(all="ignore"):
            log_determinant = float(np.sum(np.log(values))) if sound and (values > 0).all() else -np.inf
            asymmetry = float(np.max(np.abs(known - known.T), initial=0.0))
        return {
            "condition_number": condition,
            "min_variance": float(variances.min()) if variances.size else np.nan,
            "max_variance": float(variances.max()) if variances.size else np.nan,
            "determinant": float(np.prod(values)) if sound else np.nan,
            "log_determinant": log_determinant,
            "matrix_rank": rank,
            "rank_deficiency": int(len(matrix) - rank),
            "eigenvalues": values.tolist(),
            "min_eigenvalue": float(values[0]) if sound else np.nan,
            "max_eigenvalue": float(values[-1]) if sound else np.nan,
            "frobenius_norm": float(np.linalg.norm(some)) if sound else np.nan,
            "spectral_norm": float(np.linalg.norm(some, 2)) if sound else np.nan,
            "symmetry_error": asymmetry,
            "variance_ratio": float(variances.max() / variances.min()) if variances.size else np.nan,
            "n_stability_issues": n_issues,
            "stability_score": self._score(condition, bool(told.all()) and sound),
        }

    def _score(self, condition: float, complete: bool) -> float:
        """1 for parameters that do not know of each other, 0 at the threshold, or where one has no error."""
        if not complete or not np.isfinite(condition):
            return 0.0
        return float(np.clip(1.0 - np.log(condition) / np.log(self.condition_threshold), 0.0, 1.0))


def _condition(values: Floats) -> float:
    """Ratio of the largest to the smallest eigenvalue; infinite where one is nothing."""
    if not values.size:
        return np.inf
    return float(values[-1] / values[0]) if values[0] > np.finfo(float).eps * values[-1] else np.inf


def _high(correlation: Floats) -> list[dict[str, Any]]:
    row, column = np.nonzero(np.triu(np.nan_to_num(np.abs(correlation)) > HIGH, 1))
    return [
        {"parameter_1": int(i), "parameter_2": int(j), "correlation": float(correlation[i, j])}
        for i, j in zip(row, column, strict=True)
    ]


def _components(values: Floats, vectors: Floats, which: NDArray[np.intp]) -> list[dict[str, Any]]:
    """Directions of the correlations, the widest first: along it the parameters are known least."""
    total = float(values.sum())
    return [
        {
            "eigenvalue": float(values[k]),
            "explained_variance": float(values[k] / total),
            "loadings": {f"param_{i}": float(part) for i, part in zip(which, vectors[:, k], strict=True)},
            "dominant_parameter": int(which[np.argmax(np.abs(vectors[:, k]))]),
        }
        for k in range(values.size - 1, -1, -1)
    ]
