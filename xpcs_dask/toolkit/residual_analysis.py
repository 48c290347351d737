"""What residuals say of a fit: randomness, trend, normality, even errors, jumps, and which points decide."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting import residual_tests as tests
from xpcs_dask.fitting.hat import influence
from xpcs_dask.fitting.models import Floats
from xpcs_dask.toolkit.changepoints import METHODS, changepoints
from xpcs_dask.toolkit.deviations import deviations, trend
from xpcs_dask.toolkit.fitted_residuals import FittedResiduals, fitted_residuals
from xpcs_dask.toolkit.heteroscedasticity import SPREADS

NO_LEVERAGE = "leverage is what the derivatives of the model say; give jacobian=, shape (points, parameters)"
LEVEL = 0.05
"""p below which a test counts as failed."""


class ResidualAnalyzer:
    """Tests of residuals.

    All take residuals in order of ln x, as delays are, and `jacobian=`, the derivatives (m, p) of the model in the
    parameters that were fitted. With these the tests know of the parameters: residuals are made independent again
    (BLUS), and leverage is exact. Without, only the mean counts as fitted.

    Parameters
    ----------
    outlier_threshold : float
        Standard deviations beyond which a residual is an outlier.
    """

    def __init__(self, outlier_threshold: float = 3.0) -> None:
        if not outlier_threshold > 0:
            raise ConfigError(f"outlier_threshold is {outlier_threshold}; it must be above 0")
        self.outlier_threshold = float(outlier_threshold)

    def analyze_residuals(
        self,
        xdata: ArrayLike,
        ydata: ArrayLike,
        y_pred: ArrayLike,
        sigma: ArrayLike | None = None,
        *,
        jacobian: ArrayLike | None = None,
    ) -> dict[str, Any]:
        """Test residuals for outliers, randomness, autocorrelation, trend and normality.

        Parameters
        ----------
        xdata, ydata, y_pred : array_like, shape (m,)
        sigma : array_like, optional
            Standard errors, taken as they are; without, their size is that of the residuals.
        jacobian : array_like, shape (m, p), optional

        Returns
        -------
        dict
            ``residual_statistics``, ``standardized_residual_statistics``, ``outliers``, ``randomness_test {runs,
            runs_z_score, p_value, is_random}``, ``autocorrelation {lag_1, z_score, p_value, durbin_watson,
            is_independent}``, ``trend_analysis {slope, intercept, r_squared, p_value, has_trend}`` (over ln x),
            ``normality_tests {shapiro_wilk, jarque_bera}`` of ``{statistic, p_value, is_normal}``. Verdicts are made at
            5 %; with too few points p is NaN and the verdict favourable.

        Notes
        -----
        The Toolkit tested along linear delay, and called neighbours independent by a correlation below 0.1, whatever
        the number of points and parameters.
        """
        y, fitted = np.asarray(ydata, dtype=np.float64), np.asarray(y_pred, dtype=np.float64)
        if y.shape != fitted.shape or y.ndim != 1:
            raise ConfigError(f"ydata is {y.shape} and y_pred {fitted.shape}; give one row of points each")
        known = fitted_residuals(xdata, y - fitted, sigma, jacobian)
        standard = influence(known.fit, known.absolute).standardised[0]
        return {
            "residual_statistics": _statistics(y - fitted),
            "standardized_residual_statistics": _statistics(standard[np.isfinite(standard)]),
            "outliers": self._outliers(np.asarray(xdata), y, y - fitted, standard),
            "randomness_test": _randomness(known),
            "autocorrelation": _autocorrelation(known),
            "trend_analysis": trend(known, y - fitted),
            "normality_tests": _normality(known),
        }

    def detect_systematic_deviations(self, xdata: ArrayLike, residuals: ArrayLike, n_bins: int = 10) -> dict[str, Any]:
        """Look for regions of x where residuals lie on one side.

        Returns
        -------
        dict
            ``bin_analysis``, one ``{x_min, x_max, n_points, mean, std, standard_error, p_value, is_deviant}`` a bin (as
            many points each, in order of x; judged together at 5 %), ``systematic_bias {mean, standard_error, p_value,
            has_bias}``, ``systematic_trend`` (over ln x), ``recommendations``.
        """
        return deviations(xdata, residuals, n_bins)

    def test_heteroscedasticity(
        self,
        xdata: ArrayLike,
        residuals: ArrayLike,
        method: str = "breusch_pagan",
        *,
        jacobian: ArrayLike | None = None,
    ) -> dict[str, Any]:
        """Test whether residuals are of one size along ln x.

        Parameters
        ----------
        xdata, residuals : array_like, shape (m,)
            Divide residuals by their errors where these are known: else their trend is what is found.
        method : {"breusch_pagan", "goldfeld_quandt"}
            Koenker's score test of squares against ln x; or the variance ratio of the last and the first 40 %.
        jacobian : array_like, shape (m, p), optional
            Of the residuals as given. With it the tests are made on independent residuals; else on these.

        Returns
        -------
        dict
            ``method, statistic, p_value, degrees_of_freedom, is_homoscedastic, has_heteroscedasticity,
            interpretation``.
        """
        if method not in SPREADS:
            raise ConfigError(f"method is '{method}'; known are {', '.join(SPREADS)}")
        known = fitted_residuals(xdata, residuals, None, jacobian)
        if known.directions_known:
            at, numbers = known.places, known.numbers
        else:
            at, numbers = known.at[known.point], known.ordered.residual[0]
        statistic, p, dof = SPREADS[method](at, numbers)
        uneven = bool(p < LEVEL)
        text = f"residuals {'are not' if uneven else 'may be'} of one size along x (p = {p:.3g})"
        return {
            "method": method,
            "statistic": float(statistic),
            "p_value": float(p),
            "degrees_of_freedom": dof,
            "is_homoscedastic": not uneven,
            "has_heteroscedasticity": uneven,
            "interpretation": "too few points to tell" if np.isnan(p) else text,
        }

    def compute_influence_measures(
        self,
        xdata: ArrayLike,
        ydata: ArrayLike,
        y_pred: ArrayLike,
        residuals: ArrayLike,
        *,
        jacobian: ArrayLike | None = None,
        sigma: ArrayLike | None = None,
    ) -> dict[str, Any]:
        """Say which points decide the fit.

        Returns
        -------
        dict
            ``leverage, cooks_distance, dffits, standardized_residuals`` (lists, one number a point),
            ``influential_points {leverage, cooks_distance, dffits}`` (indices beyond 2p/m, 4/m and 2 sqrt(p/m)),
            ``n_influential`` and ``message``. Leverage needs `jacobian`: without it all are NaN, and the message says
            so; the Toolkit had that of a straight line for every model.
        """
        del ydata, y_pred
        known = fitted_residuals(xdata, residuals, sigma, jacobian)
        m = known.at.size
        if not known.directions_known:
            nothing = [np.nan] * m
            return {
                "leverage": nothing, "cooks_distance": list(nothing), "dffits": list(nothing),
                "standardized_residuals": list(nothing),
                "influential_points": {"leverage": [], "cooks_distance": [], "dffits": []}, "n_influential": 0,
                "message": NO_LEVERAGE,
            }  # fmt: skip
        points, p = influence(known.fit, False), int(known.fit.rank[0])
        measures = {"leverage": points.leverage[0], "cooks_distance": points.cook[0], "dffits": points.dffits[0]}
        limits = {"leverage": 2.0 * p / m, "cooks_distance": 4.0 / m, "dffits": 2.0 * np.sqrt(p / m)}
        with np.errstate(invalid="ignore"):
            beyond = {name: np.flatnonzero(np.abs(measures[name]) > limits[name]).tolist() for name in measures}
        return {
            **{name: values.tolist() for name, values in measures.items()},
            "standardized_residuals": points.standardised[0].tolist(),
            "influential_points": beyond,
            "n_influential": len({k for some in beyond.values() for k in some}),
            "message": "",
        }

    def detect_changepoints(self, residuals: ArrayLike, method: str = "cusum") -> dict[str, Any]:
        """Look for jumps of the mean (cusum) or of the size (variance) of residuals, in the order they are given.

        Returns
        -------
        dict
            ``method``, ``changepoints`` (indices of the first point after each jump), ``n_changepoints``,
            ``statistic`` (largest excursion of the cumulated sum, as of a Brownian bridge), ``p_value``,
            ``has_changepoint``.
        """
        if method not in METHODS:
            raise ConfigError(f"method is '{method}'; known are {', '.join(METHODS)}")
        return changepoints(np.asarray(residuals, dtype=np.float64), method)

    def _outliers(self, x: Any, y: Floats, rest: Floats, standard: Floats) -> dict[str, Any]:
        with np.errstate(invalid="ignore"):
            where = np.flatnonzero(np.abs(standard) > self.outlier_threshold)
        there = x[where].tolist() if x.shape == y.shape else where.tolist()
        return {
            "count": int(where.size),
            "fraction": float(where.size / y.size),
            "indices": where.tolist(),
            "x_values": there,
            "y_values": y[where].tolist(),
            "residual_values": rest[where].tolist(),
            "standardized_values": standard[where].tolist(),
        }


def _statistics(numbers: Floats) -> dict[str, float]:
    if not numbers.size:
        return dict.fromkeys(("mean", "std", "min", "max", "median", "mad", "rms", "skewness", "kurtosis"), np.nan)
    middle, off = float(np.median(numbers)), numbers - numbers.mean()
    variance = float(np.mean(off**2))
    shaped = variance > 0
    return {
        "mean": float(numbers.mean()),
        "std": float(numbers.std(ddof=1)) if numbers.size > 1 else np.nan,
        "min": float(numbers.min()),
        "max": float(numbers.max()),
        "median": middle,
        "mad": float(np.median(np.abs(numbers - middle))),
        "rms": float(np.sqrt(np.mean(numbers**2))),
        "skewness": float(np.mean(off**3) / variance**1.5) if shaped else np.nan,
        "kurtosis": float(np.mean(off**4) / variance**2 - 3.0) if shaped else np.nan,
    }


def _randomness(known: FittedResiduals) -> dict[str, Any]:
    found, numbers = tests.runs(known.sequence), known.numbers
    p = float(found.p[0])
    return {
        "runs": int(1 + np.sum((numbers[1:] > 0) != (numbers[:-1] > 0))) if numbers.size else 0,
        "runs_z_score": float(found.statistic[0]),
        "p_value": p,
        "is_random": not p < LEVEL,
    }


def _autocorrelation(known: FittedResiduals) -> dict[str, Any]:
    value, found = tests.lag1(known.orthogonal)
    p = float(found.p[0])
    return {
        "lag_1": float(value[0]),
        "z_score": float(found.statistic[0]),
        "p_value": p,
        "durbin_watson": float(tests.durbin_watson(known.ordered)[0]),
        "is_independent": not p < LEVEL,
    }


def _normality(known: FittedResiduals) -> dict[str, dict[str, Any]]:
    """Test independent residuals; with too few of them nothing is said."""
    from scipy.stats import jarque_bera, shapiro

    found = {}
    for name, test, fewest in (("shapiro_wilk", shapiro, 3), ("jarque_bera", jarque_bera, tests.FEWEST)):
        numbers = known.numbers
        told = numbers.size >= fewest and np.ptp(numbers) > 0
        statistic, p = map(float, test(numbers)) if told else (np.nan, np.nan)
        found[name] = {"statistic": statistic, "p_value": p, "is_normal": not p < LEVEL}
    return found
