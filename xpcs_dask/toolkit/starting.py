"""Starts of simple forms, and statistics of residuals, for many columns at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.curves import fit_curves
from xpcs_dask.fitting.layout import Status
from xpcs_dask.fitting.models import Floats
from xpcs_dask.toolkit.fit_records import Record


def vectorized_parameter_estimation(x_data: ArrayLike, y_data: ArrayLike, func_type: str = "exponential") -> Floats:
    """Find starts for a fit.

    Parameters
    ----------
    x_data : array_like, shape (m,)
    y_data : array_like, shape (m,) or (m, n)
    func_type : {"exponential", "power", "gaussian"}
        What the data look like.

    Returns
    -------
    array, shape (3,) or (n, 3); (2,) or (n, 2) for "power"
        exponential: tau, baseline, contrast, in the order of `single_exp`; power: a, b of `power_law`; gaussian:
        amplitude, centre, standard deviation.

    Raises
    ------
    ConfigError
        For another form, or fewer than three points that can be used.
    """
    forms = {"exponential": _exponential, "power": _power, "gaussian": _gaussian}
    if func_type not in forms:
        raise ConfigError(f"func_type is '{func_type}'; known are {', '.join(forms)}")
    x, y = np.asarray(x_data, dtype=np.float64), np.asarray(y_data, dtype=np.float64)
    columns = y[:, None] if y.ndim == 1 else y
    if x.ndim != 1 or columns.ndim != 2 or len(columns) != x.size:
        raise ConfigError(f"x_data is {x.shape} and y_data {y.shape}; give (m,) and (m,) or (m, n)")
    found = []
    for k in range(columns.shape[1]):
        used = np.isfinite(x) & np.isfinite(columns[:, k])
        if used.sum() < 3:
            raise ConfigError(f"column {k} has {int(used.sum())} points that can be used; a start needs 3")
        found.append(forms[func_type](x[used], columns[used, k]))
    return np.array(found)[0 if y.ndim == 1 else slice(None)]


def _exponential(x: Floats, y: Floats) -> Floats:
    """Least squares of a simple exponential in a wide box: compiled, so the best start there is."""
    span = float(np.ptp(y)) or 1.0
    box = {"contrast": (-3.0 * span, 3.0 * span), "baseline": (y.min() - 3.0 * span, y.max() + 3.0 * span)}
    order = np.argsort(x)
    if (x >= 0).all() and (x > 0).sum() > 1:
        fits = fit_curves(x[order], y[order], model="simple", bounds=box)
        if fits.status == Status.CONVERGED:
            return fits.value[[1, 2, 0]]
    first, last = y[order[0]], y[order[-1]]
    return np.array([np.median(np.abs(x)) or 1.0, last, first - last])


def _power(x: Floats, y: Floats) -> Floats:
    """Straight line through the logarithms of what is positive."""
    used = (x > 0) & (y > 0)
    if np.unique(x[used]).size < 2:
        return np.array([float(np.median(y)), 0.0])
    slope, height = np.polyfit(np.log(x[used]), np.log(y[used]), 1)
    return np.array([np.exp(height), slope])


def _gaussian(x: Floats, y: Floats) -> Floats:
    """Height at the extreme, and the width from the area: a parabola through the logarithm near the top."""
    amplitude = y[np.argmax(np.abs(y))]
    share = y / amplitude if amplitude != 0 else y
    near = share > 0.3
    if near.sum() >= 3:
        bend, slope, height = np.polyfit(x[near], np.log(share[near]), 2)
        if bend < 0:
            centre = -0.5 * slope / bend
            return np.array([amplitude * np.exp(height + 0.5 * slope * centre), centre, np.sqrt(-0.5 / bend)])
    return np.array([amplitude, x[np.argmax(np.abs(y))], np.ptp(x) / 6.0])


def vectorized_residual_analysis(
    x_data: ArrayLike, y_data: ArrayLike, y_pred: ArrayLike, return_stats: bool = True
) -> dict[str, Any]:
    """Residuals of one or many columns, and what they say.

    Parameters
    ----------
    x_data : array_like, shape (m,)
    y_data, y_pred : array_like, shape (m,) or (m, n)
    return_stats : bool
        Add the statistics.

    Returns
    -------
    dict
        ``residuals`` and ``standardized_residuals`` (over their standard deviation), of the shape of `y_data`; with
        `return_stats` one number (or one a column) each: ``mean``, ``std``, ``rmse``, ``mae``, ``max_abs``,
        ``r_squared``, ``sum_squared``, ``durbin_watson`` (in order of x), ``lag_1``, ``lag_1_p``, ``runs_z``,
        ``runs_p`` (of residuals that are independent but for their mean).
    """
    x, y = np.asarray(x_data, dtype=np.float64), np.asarray(y_data, dtype=np.float64)
    fitted = np.asarray(y_pred, dtype=np.float64)
    if x.ndim != 1 or y.shape != fitted.shape or y.shape[:1] != x.shape or y.ndim > 2:
        raise ConfigError(f"x_data is {x.shape}, y_data {y.shape}, y_pred {fitted.shape}; give (m,) or (m, n)")
    residuals = y - fitted
    with np.errstate(divide="ignore", invalid="ignore"):
        size = residuals.std(axis=0, ddof=1)
        found = Record(residuals=residuals, standardized_residuals=residuals / size)
        if return_stats:
            found.update(_statistics(y, residuals) | _neighbours(x, residuals))
    return found


def _statistics(y: Floats, residuals: Floats) -> dict[str, Any]:
    total = (residuals**2).sum(axis=0)
    stats = {
        "mean": residuals.mean(axis=0),
        "std": residuals.std(axis=0, ddof=1),
        "rmse": np.sqrt(total / len(y)),
        "mae": np.abs(residuals).mean(axis=0),
        "max_abs": np.abs(residuals).max(axis=0),
        "r_squared": 1.0 - total / ((y - y.mean(axis=0)) ** 2).sum(axis=0),
        "sum_squared": total,
    }
    return {name: float(value) if np.ndim(value) == 0 else value for name, value in stats.items()}


def _neighbours(x: Floats, residuals: Floats) -> dict[str, Any]:
    """Whether neighbours are alike, by the package's tests."""
    from xpcs_dask.fitting.independent import independent
    from xpcs_dask.fitting.residual_tests import durbin_watson, lag1, runs
    from xpcs_dask.toolkit.fitted_residuals import centred, orthogonal

    fit = centred(x, np.ascontiguousarray(residuals.T.reshape(-1, x.size)))
    free = orthogonal(fit)
    value, neighbours = lag1(free)
    signs = runs(independent(free))
    stats = {
        "durbin_watson": durbin_watson(fit), "lag_1": value, "lag_1_p": neighbours.p, "runs_z": signs.statistic,
        "runs_p": signs.p,
    }  # fmt: skip
    return {name: float(number[0]) if residuals.ndim == 1 else number for name, number in stats.items()}
