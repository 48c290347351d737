"""How good a fit is, and which of several is better."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting import criteria
from xpcs_dask.fitting.models import Floats

UNLIKELY = 1e-3
"""p of chi2 below which a fit, or its errors, are called wrong."""
CRITERIA = ("aic", "aic_corrected", "bic", "hqic")
RANKED = (*CRITERIA, "rmse", "reduced_chi_squared", "r_squared", "adjusted_r_squared")


class GoodnessOfFitAnalyzer:
    """Numbers that judge a fit."""

    def __init__(self) -> None:
        pass

    def calculate_goodness_of_fit_metrics(
        self,
        ydata: ArrayLike,
        y_pred: ArrayLike,
        n_params: int,
        sigma: ArrayLike | None = None,
        log_likelihood: float | None = None,
    ) -> dict[str, Any]:
        """Judge a fit.

        Parameters
        ----------
        ydata, y_pred : array_like, shape (m,)
        n_params : int
            Parameters that were fitted.
        sigma : array_like, optional
            Standard errors. With them chi2 is weighted and `chi_squared_p_value` says how likely one as large is;
            without, chi2 is the plain sum of squares and has no p (NaN).
        log_likelihood : float, optional
            Of the fit; that of normal errors otherwise.

        Returns
        -------
        dict
            ``n_data_points, n_parameters, degrees_of_freedom, r_squared, adjusted_r_squared, weighted_r_squared, rmse,
            mae, mape, smape`` (the two in %), ``cv_rmse, chi_squared, reduced_chi_squared, chi_squared_p_value,
            log_likelihood, aic, aic_corrected, bic, hqic, sum_squared_residuals, total_sum_squares,
            fit_quality_assessment``. Numbers that are not defined are NaN. The criteria are those of the package
            (`xpcs_dask.fitting.criteria`): they leave out what all fits of the same points share.

        Raises
        ------
        ConfigError
            If shapes differ, or a number is not finite or an error not above 0.
        """
        y, fitted, error = _points(ydata, y_pred, sigma)
        n, dof, rest = y.size, y.size - n_params, y - fitted
        total, squares = float(np.sum((y - y.mean()) ** 2)), float(rest @ rest)
        weight = np.ones(n) if error is None else 1.0 / error**2
        chi2 = float(weight @ rest**2)
        spread = float(weight @ (y - np.average(y, weights=weight)) ** 2)
        likelihood = _log_likelihood(rest, error) if log_likelihood is None else float(log_likelihood)
        if log_likelihood is None:
            found = _criteria(chi2, n_params, n, error is not None)
        else:
            found = _criteria(-2.0 * likelihood, n_params, n, True)
        metrics: dict[str, Any] = {
            "n_data_points": n,
            "n_parameters": int(n_params),
            "degrees_of_freedom": dof,
            "r_squared": _share(squares, total),
            "adjusted_r_squared": _share(squares * (n - 1), total * dof) if dof > 0 else np.nan,
            "weighted_r_squared": _share(chi2, spread),
            "rmse": float(np.sqrt(squares / n)),
            "mae": float(np.abs(rest).mean()),
            **_relative(y, fitted),
            "chi_squared": chi2,
            "reduced_chi_squared": chi2 / dof if dof > 0 else np.nan,
            "chi_squared_p_value": _p_value(chi2, dof) if error is not None else np.nan,
            "log_likelihood": likelihood,
            **found,
            "sum_squared_residuals": squares,
            "total_sum_squares": total,
        }
        metrics["fit_quality_assessment"] = _assessed(metrics)
        return metrics

    def compare_models(
        self, model_results: list[dict[str, Any]], model_names: list[str] | None = None
    ) -> dict[str, Any]:
        """Compare fits of the same points.

        Parameters
        ----------
        model_results : list of dict
            What `calculate_goodness_of_fit_metrics` returned, one a model.
        model_names : list of str, optional

        Returns
        -------
        dict
            ``models`` (names); ``rankings``, by criterion the list of ``{model, value, delta, rank}``, best first;
            ``best_model`` by criterion; ``akaike_weights`` by model, of the corrected criterion; ``comparison_table``,
            the numbers by model; ``recommendation``, one sentence.

        Raises
        ------
        ConfigError
            If there are no results, names are not as many, or fits are not of as many points.
        """
        names = [f"Model_{k + 1}" for k in range(len(model_results))] if model_names is None else list(model_names)
        if not model_results or len(names) != len(model_results) or len(set(names)) < len(names):
            raise ConfigError(f"{len(model_results)} results and {len(names)} names; give one name of its own to each")
        sizes = {result["n_data_points"] for result in model_results}
        if len(sizes) > 1:
            raise ConfigError(f"fits are of {sorted(sizes)} points; models can be compared on the same points only")
        table = {n: {c: float(r[c]) for c in RANKED} for n, r in zip(names, model_results, strict=True)}
        rankings = {c: _ranked(c, {n: row[c] for n, row in table.items()}) for c in RANKED}
        best = {c: rows[0]["model"] for c, rows in rankings.items() if rows}
        return {
            "models": names,
            "comparison_table": table,
            "rankings": rankings,
            "best_model": best,
            "akaike_weights": _akaike_weights({n: row["aic_corrected"] for n, row in table.items()}),
            "recommendation": _recommendation(rankings["bic"]),
        }


def _points(y: ArrayLike, fitted: ArrayLike, sigma: ArrayLike | None) -> tuple[Floats, Floats, Floats | None]:
    data, line = (np.asarray(a, dtype=np.float64) for a in (y, fitted))
    if data.ndim != 1 or data.shape != line.shape or not data.size:
        raise ConfigError(f"ydata is {data.shape} and y_pred {line.shape}; give one row of points each")
    if not (np.isfinite(data).all() and np.isfinite(line).all()):
        raise ConfigError("ydata or y_pred holds NaN or infinite values; leave these points out")
    if sigma is None:
        return data, line, None
    try:
        error = np.array(np.broadcast_to(np.asarray(sigma, dtype=np.float64), data.shape))
    except ValueError:
        raise ConfigError(f"sigma of shape {np.shape(sigma)} does not fit {data.size} points") from None
    if not (np.isfinite(error) & (error > 0)).all():
        raise ConfigError("sigma must be finite and above 0 at every point; leave out the others")
    return data, line, error


def _share(rest: float, total: float) -> float:
    return 1.0 - rest / total if total > 0 else np.nan


def _p_value(chi2: float, dof: int) -> float:
    from scipy.special import chdtrc

    return float(chdtrc(dof, chi2)) if dof > 0 else np.nan


def _log_likelihood(rest: Floats, error: Floats | None) -> float:
    """Of normal errors; where these are not known, of the size that makes it largest."""
    if error is not None:
        return float(-0.5 * np.sum((rest / error) ** 2 + np.log(2.0 * np.pi * error**2)))
    variance = max(float(rest @ rest) / rest.size, np.finfo(float).tiny)
    return float(-0.5 * rest.size * (np.log(2.0 * np.pi * variance) + 1.0))


def _relative(y: Floats, fitted: Floats) -> dict[str, float]:
    """Errors in parts of the data; points of size zero are left out."""
    rest, size = np.abs(y - fitted), np.abs(y)
    both = size + np.abs(fitted)
    mean = float(np.abs(y.mean()))
    return {
        "mape": float(100.0 * np.mean(rest[size > 0] / size[size > 0])) if (size > 0).any() else np.nan,
        "smape": float(200.0 * np.mean(rest[both > 0] / both[both > 0])) if (both > 0).any() else np.nan,
        "cv_rmse": float(np.sqrt(np.mean(rest**2)) / mean) if mean > 0 else np.nan,
    }


def _assessed(metrics: dict[str, Any]) -> dict[str, Any]:
    """Verdict in words; a chi2 that errors do not explain counts for more than a share of the variance."""
    p, share = metrics["chi_squared_p_value"], metrics["weighted_r_squared"]
    warnings, advice = [], []
    if metrics["degrees_of_freedom"] <= 0:
        warnings.append("as many parameters as points: the fit cannot be judged")
        advice.append("use more points, or hold parameters")
    if p < UNLIKELY:
        warnings.append(f"chi2 is improbably large (reduced {metrics['reduced_chi_squared']:.3g}, p = {p:.1e})")
        advice.append("try another model, look at the residuals, or check whether errors are too small")
    elif 1.0 - p < UNLIKELY:
        warnings.append(f"chi2 is improbably small (reduced {metrics['reduced_chi_squared']:.3g})")
        advice.append("errors are too large, or those of neighbouring points are correlated")
    if not share >= 0.5:
        warnings.append("data do not vary" if np.isnan(share) else f"the fit explains {share:.0%} of the variance")
        advice.append("see whether there is a signal at all")
    poor = metrics["degrees_of_freedom"] <= 0 or not share >= 0.5
    quality = "Poor" if poor else "Fair" if p < UNLIKELY or share < 0.8 else "Good" if share < 0.99 else "Excellent"
    return {"overall_quality": quality, "warnings": warnings, "recommendations": advice}


def _ranked(criterion: str, values: dict[str, float]) -> list[dict[str, Any]]:
    """Models that have the number, best first; equal ones share a rank."""
    sign = -1.0 if criterion.endswith("r_squared") else 1.0
    order = sorted((n for n in values if np.isfinite(values[n])), key=lambda n: sign * values[n])
    return [
        {
            "model": name,
            "value": values[name],
            "delta": sign * (values[name] - values[order[0]]),
            "rank": 1 + sum(sign * values[other] < sign * values[name] for other in order),
        }
        for name in order
    ]


def _akaike_weights(values: dict[str, float]) -> dict[str, float]:
    number = np.array(list(values.values()))
    if not np.isfinite(number).any():
        return dict.fromkeys(values, np.nan)
    share = np.where(np.isfinite(number), np.exp(-0.5 * (number - np.nanmin(number))), 0.0)
    return dict(zip(values, (share / share.sum()).tolist(), strict=True))


def _recommendation(ranking: list[dict[str, Any]]) -> str:
    if not ranking:
        return "no model has a criterion to be judged by"
    best = ranking[0]["model"]
    if len(ranking) < 2:
        return f"{best} is the only model that can be judged"
    ahead, next_one = ranking[1]["delta"], ranking[1]["model"]
    verdict = "clearly ahead of" if ahead >= 10 else "ahead of" if ahead >= 2 else "not to be told from"
    return f"{best} is {verdict} {next_one} (BIC lower by {ahead:.2f})"


def _criteria(chi2: float, n_free: int, n: int, scale_known: bool) -> dict[str, float]:
    """Criteria of the package, as the Toolkit names them."""
    return {
        "aic": float(criteria.aic(chi2, n_free, n, scale_known)),
        "aic_corrected": float(criteria.aicc(chi2, n_free, n, scale_known)),
        "bic": float(criteria.bic(chi2, n_free, n, scale_known)),
        "hqic": float(criteria.hqic(chi2, n_free, n, scale_known)),
    }
