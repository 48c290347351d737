"""Residuals that lie on one side: in bins, in all, and as a trend, along ln x."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.hat import combined, dots
from xpcs_dask.fitting.models import Floats
from xpcs_dask.toolkit.fitted_residuals import FittedResiduals, fitted_residuals

LEVEL = 0.05
SEEN = 1e-6
"""Share of a straight line that must be left after the fit for a trend to be seen."""


def trend(known: FittedResiduals, residuals: Floats) -> dict[str, Any]:
    """Straight line through residuals over ln x, and the test of a term ln x added to the model.

    Without derivatives of the model that is the t test of the slope. With them the line is first freed of what the
    parameters take up of it: exact for models that are linear.
    """
    from scipy.special import ndtr, stdtr

    basis, rest = known.orthogonal.basis, known.orthogonal.residual
    line = (known.weight * (known.at - known.at.mean()))[known.point][None]
    free = line - combined(basis, dots(basis, line)[:, :, None])
    size, along = float(dots(free, free)[0]), float(dots(free, rest)[0])
    dof, p = known.at.size - int(known.fit.rank[0]) - 1, np.nan
    if size > SEEN * float(dots(line, line)[0]) and dof > 0:
        left = float(dots(rest, rest)[0]) - along**2 / size
        if known.absolute:
            p = 2.0 * float(ndtr(-abs(along) / np.sqrt(size)))
        elif left > 0:
            p = 2.0 * float(stdtr(dof, -abs(along) / np.sqrt(size * left / dof)))
    return {**_line(known.at, residuals), "p_value": p, "has_trend": bool(p < LEVEL)}


def deviations(xdata: ArrayLike, residuals: ArrayLike, n_bins: int) -> dict[str, Any]:
    """Bins of as many residuals each, in order of x, their common mean, and their trend."""
    known = fitted_residuals(xdata, residuals)
    numbers, point = known.ordered.residual[0], known.point
    if n_bins < 1:
        raise ConfigError(f"n_bins is {n_bins}; give at least 1")
    x = np.asarray(xdata)
    x = x if x.shape == numbers.shape else known.at
    pieces = [part for part in np.array_split(np.arange(numbers.size), n_bins) if part.size]
    pooled = _pooled([numbers[part] for part in pieces])
    bins = [_bin(x[point[part]], numbers[part], pooled, LEVEL / len(pieces)) for part in pieces]
    bias, slope = _mean(numbers), trend(known, np.asarray(residuals, dtype=np.float64))
    advice = []
    if bias["has_bias"]:
        advice.append(f"residuals are off by {bias['mean']:.3g} on average: free the baseline, or look for an offset")
    if slope["has_trend"]:
        advice.append(f"residuals go with ln x (slope {slope['slope']:.3g}): the model lacks a slow term")
    deviant = [b for b in bins if b["is_deviant"]]
    if deviant:
        where = ", ".join(f"{b['x_min']:.3g} to {b['x_max']:.3g}" for b in deviant)
        advice.append(f"residuals lie on one side between {where}: try another model there, or leave the region out")
    return {"bin_analysis": bins, "systematic_bias": bias, "systematic_trend": slope, "recommendations": advice}


def _line(at: Floats, y: Floats) -> dict[str, float]:
    """Least squares of a straight line."""
    off, rest = at - at.mean(), y - y.mean()
    wide, total = float(off @ off), float(rest @ rest)
    slope = float(off @ rest) / wide if wide > 0 else 0.0
    share = slope**2 * wide / total if total > 0 else np.nan
    return {"slope": slope, "intercept": float(y.mean() - slope * at.mean()), "r_squared": share}


def _mean(numbers: Floats) -> dict[str, Any]:
    """Student's test of a mean of 0."""
    error, p = float(numbers.std(ddof=1) / np.sqrt(numbers.size)) if numbers.size > 1 else np.nan, np.nan
    if error > 0:
        p = _two_sided(float(numbers.mean()) / error, numbers.size - 1)
    return {"mean": float(numbers.mean()), "standard_error": error, "p_value": p, "has_bias": bool(p < LEVEL)}


def _pooled(parts: list[Floats]) -> tuple[float, int]:
    """Variance within bins and its degrees of freedom."""
    dof = sum(part.size - 1 for part in parts)
    total = sum(float(np.sum((part - part.mean()) ** 2)) for part in parts)
    return (total / dof if dof else np.nan), dof


def _bin(x: Any, numbers: Floats, pooled: tuple[float, int], level: float) -> dict[str, Any]:
    """One bin; its mean against 0, with the variance of all bins."""
    variance, dof = pooled
    error = float(np.sqrt(variance / numbers.size))
    p = _two_sided(float(numbers.mean()) / error, dof) if error > 0 else np.nan
    return {
        "x_min": float(x[0]),
        "x_max": float(x[-1]),
        "n_points": int(numbers.size),
        "mean": float(numbers.mean()),
        "std": float(numbers.std(ddof=1)) if numbers.size > 1 else np.nan,
        "standard_error": error,
        "p_value": p,
        "is_deviant": bool(p < level),
    }


def _two_sided(t: float, dof: int) -> float:
    from scipy.special import stdtr

    return 2.0 * float(stdtr(dof, -abs(t)))
