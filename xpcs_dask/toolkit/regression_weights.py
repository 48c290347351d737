"""Weights of the points of a regression, from their errors or from the residuals, and fits with them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import nnls

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.derivatives import differences
from xpcs_dask.fitting.kernel.scales import MAD_TO_SIGMA
from xpcs_dask.fitting.losses import RHO
from xpcs_dask.fitting.models import Model
from xpcs_dask.toolkit.diffusion_models import Function
from xpcs_dask.toolkit.fit_records import Record
from xpcs_dask.toolkit.function_fits import box_of, fit_function, usable

__all__ = ["WeightedRegressionFramework"]

Floats = NDArray[np.float64]

TUKEY_95, HUBER_95 = 4.685, 1.345
"""Scales of the two losses that keep 95 % efficiency for Gaussian noise."""
ADAPTIVE = "adaptive"


class WeightedRegressionFramework:
    """Weighted least squares, with weights that are given or found again and again from the residuals.

    In the original the scales of Huber's and Tukey's weights lack the factor 1.4826 that makes a median absolute
    deviation a standard deviation, and the iterated fit does not look at sigma.
    """

    def __init__(self) -> None:
        self.weight_methods = ("huber", "mad", ADAPTIVE)

    @staticmethod
    def calculate_weights_inverse_variance(sigma: ArrayLike, min_weight: float = 1e-8) -> Floats:
        """1/sigma^2, at least `min_weight`; 0 where sigma is no positive number: such a point weighs nothing."""
        error = np.asarray(sigma, dtype=np.float64)
        good = np.isfinite(error) & (error > 0)
        with np.errstate(over="ignore"):
            return np.where(good, np.maximum(np.where(good, error, 1.0) ** -2.0, min_weight), 0.0)

    @staticmethod
    def calculate_weights_robust_mad(residuals: ArrayLike) -> Floats:
        """Tukey's biweight, (1 - (r / 4.685 s)^2)^2 or 0, with s = 1.4826 median absolute residuals."""
        return _weights("tukey", np.asarray(residuals, dtype=np.float64), TUKEY_95)

    @staticmethod
    def calculate_weights_huber(residuals: ArrayLike, k: float = HUBER_95) -> Floats:
        """Huber's weights, 1 up to k s and k s / abs(r) beyond, with s = 1.4826 median absolute residuals."""
        if not k > 0:
            raise ConfigError(f"k is {k:g}; give the number of standard deviations beyond which a point weighs less")
        return _weights("huber", np.asarray(residuals, dtype=np.float64), k)

    @staticmethod
    def calculate_weights_adaptive(y_data: ArrayLike, y_pred: ArrayLike, method: str = "local_variance") -> Floats:
        """1/variance of the residuals as it changes along the curve, of mean 1.

        Parameters
        ----------
        y_data, y_pred : array_like, shape (m,)
        method : {"local_variance", "signal_dependent"}
            The mean square of neighbouring residuals (a fifth of the curve, at least 5 points), or the variance
            ``a + b abs(y_pred)``, a and b not negative, that fits the squared residuals.
        """
        y, predicted = np.asarray(y_data, dtype=np.float64), np.asarray(y_pred, dtype=np.float64)
        square = (y - predicted) ** 2
        if method == "local_variance":
            width = min(max(5, square.size // 5), square.size)
            box = np.ones(width)
            variance = np.convolve(square, box, "same") / np.convolve(np.ones_like(square), box, "same")
        elif method == "signal_dependent":
            columns = np.stack([np.ones_like(square), np.abs(predicted)], axis=1)
            size = square.mean() or 1.0
            variance = columns @ nnls(columns, square / size)[0] * size
        else:
            raise ConfigError(f"method: {method!r} is neither 'local_variance' nor 'signal_dependent'")
        least = 1e-6 * square.mean()
        if not least > 0:  # nothing to tell points apart by
            return np.ones_like(square)
        weights = 1.0 / np.maximum(variance, least)
        return np.asarray(weights / weights.mean())

    def weighted_least_squares(
        self,
        func: Function,
        xdata: ArrayLike,
        ydata: ArrayLike,
        weights: ArrayLike,
        p0: ArrayLike | None = None,
        bounds: Any = None,
        *,
        absolute_sigma: bool = False,
    ) -> tuple[Floats, Floats]:
        """Make the sum of ``weights (y - f)^2`` small.

        Parameters
        ----------
        weights : array_like, shape (m,)
            Inverse variances; points of weight 0 are left out.
        bounds
            (lower, upper) as for `scipy.optimize.curve_fit`, or one pair a parameter.
        absolute_sigma : bool
            Whether the weights are inverse variances as they are; else they count up to a factor, which the
            residuals tell, as in `scipy.optimize.curve_fit`.

        Returns
        -------
        popt : array, shape (p,)
        pcov : array, shape (p, p)

        Raises
        ------
        ConfigError
            If a weight is negative or no number, or the bounds make no sense.
        RuntimeError
            If no minimum is found.
        """
        weight = np.broadcast_to(np.asarray(weights, dtype=np.float64), np.shape(ydata))
        if not (np.isfinite(weight) & (weight >= 0)).all():
            raise ConfigError("weights must be finite and not negative; give 0 to points that shall not count")
        fit = fit_function(func, xdata, ydata, _sigma_of(weight), p0, bounds, absolute_sigma)
        return fit.value, fit.covariance

    def iteratively_reweighted_least_squares(
        self,
        func: Function,
        xdata: ArrayLike,
        ydata: ArrayLike,
        p0: ArrayLike | None = None,
        bounds: Any = None,
        max_iterations: int = 10,
        tolerance: float = 1e-6,
        weight_method: str = "huber",
        *,
        sigma: ArrayLike | None = None,
    ) -> dict[str, Any]:
        """Fit, weigh the points by their residuals, and again until the parameters stay.

        Parameters
        ----------
        max_iterations, tolerance
            The largest change of a parameter, relative to its error (or to itself, if that is larger), that ends it.
        weight_method : {"huber", "mad", "adaptive"}
            Huber's weights, Tukey's biweight, or `calculate_weights_adaptive`.
        sigma : array_like, shape (m,), optional
            Errors of the points: residuals are judged in their units, and all weights are divided by sigma^2.

        Returns
        -------
        dict
            ``parameters``, ``covariance``, ``weights`` (m,) without sigma, ``convergence_history`` (the changes),
            ``converged``, ``iterations``, ``final_residuals`` (m,) in the unit of y. The covariance is the one of an
            M-estimator [1]_ (H1 of statsmodels' RLM); with adaptive weights that of weighted least squares.

        References
        ----------
        .. [1] P. J. Huber, Ann. Statist. 1, 799 (1973).
        """
        if weight_method not in self.weight_methods:
            raise ConfigError(f"weight_method: {weight_method!r} is none of {', '.join(self.weight_methods)}")
        x, y = np.asarray(xdata, dtype=np.float64), np.asarray(ydata, dtype=np.float64)
        good = usable(x, y, sigma)
        error = np.ones_like(y) if sigma is None else np.where(good, np.broadcast_to(sigma, y.shape), 1.0)
        weights, converged = good.astype(np.float64), False
        history: list[float] = []
        fit = fit_function(func, x, y, _sigma_of(weights / error**2), p0, bounds, absolute_sigma=False)
        while len(history) < max_iterations and not converged:
            before = fit
            weights = np.zeros_like(y)
            weights[good] = self._weigh(weight_method, y[good], np.asarray(func(x[good], *fit.value)), error[good])
            fit = fit_function(func, x, y, _sigma_of(weights / error**2), fit.value, bounds, absolute_sigma=False)
            history.append(_change(before.value, fit.value, fit.covariance))
            converged = history[-1] <= tolerance
        residuals = np.full_like(y, np.nan)
        residuals[good] = y[good] - np.asarray(func(x[good], *fit.value))
        covariance = fit.covariance
        if weight_method != ADAPTIVE:
            covariance = _m_estimator(func, x[good], fit.value, residuals[good] / error[good], error[good], bounds,
                                      weight_method)  # fmt: skip
            covariance[np.isnan(fit.covariance)] = np.nan
        return Record({
            "parameters": fit.value, "covariance": covariance, "weights": weights, "convergence_history": history,
            "converged": converged, "iterations": len(history), "final_residuals": residuals,
        })  # fmt: skip

    def _weigh(self, method: str, y: Floats, predicted: Floats, error: Floats) -> Floats:
        if method == ADAPTIVE:
            return self.calculate_weights_adaptive(y / error, predicted / error)
        standard = (y - predicted) / error
        if method == "huber":
            return self.calculate_weights_huber(standard)
        return self.calculate_weights_robust_mad(standard)


def spread_of(residuals: Floats) -> float:
    """1.4826 median absolute residuals: the standard deviation of Gaussian ones, whatever a few others are."""
    known = residuals[np.isfinite(residuals)]
    return MAD_TO_SIGMA * float(np.median(np.abs(known))) if known.size else np.nan


def _weights(loss: Any, residuals: Floats, limit: float) -> Floats:
    """Weights of a loss; where most residuals are exactly zero only these count."""
    scale = spread_of(residuals)
    if not scale > 0:
        return (residuals == 0).astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        weights = RHO[loss]((residuals / (limit * scale)) ** 2)[1]
    return np.where(np.isfinite(residuals), weights, 0.0)


def _sigma_of(weights: Floats) -> Floats:
    """Errors that have these weights; infinite where the weight is 0."""
    with np.errstate(divide="ignore"):
        return 1.0 / np.sqrt(weights)


def _change(before: Floats, after: Floats, covariance: Floats) -> float:
    error = np.sqrt(np.maximum(np.nan_to_num(np.diag(covariance), posinf=0.0), 0.0))
    size = np.maximum(np.maximum(np.abs(after), error), np.finfo(float).tiny)
    return float(np.max(np.abs(after - before) / size))


def _m_estimator(
    func: Function, x: Floats, value: Floats, standard: Floats, error: Floats, bounds: Any, method: str
) -> Floats:
    """Covariance of an M-estimator with its scale from the residuals, from the derivatives at the minimum."""
    p, n = value.size, standard.size
    box = box_of(bounds, p) or (np.full(p, -np.inf), np.full(p, np.inf))
    record = Model.from_function(func, [f"p{k}" for k in range(p)])
    slopes = differences(record, x, value, np.arange(p), *box) / error[:, None]
    scale = spread_of(standard)
    limit = scale * (HUBER_95 if method == "huber" else TUKEY_95)
    if not limit > 0 or n <= p:
        return np.zeros((p, p)) if n > p else np.full((p, p), np.nan)
    z = (standard / limit) ** 2
    _, first, second = RHO["huber" if method == "huber" else "tukey"](z)
    bend = first + 2.0 * z * second
    share = bend.mean()
    correction = 1.0 + p / n * bend.var() / share**2
    variance = correction**2 * np.sum((standard * first) ** 2) / (n - p) / share**2
    size = np.linalg.norm(slopes, axis=0)
    size[size == 0] = 1.0
    inverse = np.linalg.pinv((slopes / size).T @ (slopes / size), rcond=1e-14)
    return np.asarray(variance * inverse / np.outer(size, size))
