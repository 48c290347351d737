"""What the residuals of fitted curves say of the fit: one record a curve, in three nested levels.

``basic``: is the fit as good as the errors allow; ``standard``: are the residuals noise, does one point decide, can
the parameters be told apart; ``comprehensive``: the same point by point.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting import residual_tests as tests
from xpcs_dask.fitting.hat import Influence, Projection, dots, entanglement, influence, project
from xpcs_dask.fitting.independent import independent
from xpcs_dask.fitting.layout import Status, pairs
from xpcs_dask.fitting.models import Floats, Model

Level: TypeAlias = Literal["basic", "standard", "comprehensive"]

BASIC: Mapping[str, tuple[str, str]] = {
    "chi2_p": ("probability of a chi2 at least as large, if errors are as stated", "1"),
    "r2": ("weighted share of the variance of g2 that the fit explains", "1"),
    "largest_residual": ("largest standardised residual, without its sign", "1"),
}
STANDARD: Mapping[str, tuple[str, str]] = {
    "runs_z": ("runs of residuals of one sign less those expected, in standard deviations", "1"),
    "runs_p": ("p value of the runs test", "1"),
    "lag1": ("correlation of the residuals of neighbouring delays", "1"),
    "lag1_z": ("the same less what the fit alone makes, in standard deviations", "1"),
    "lag1_p": ("p value of the correlation of neighbouring delays", "1"),
    "durbin_watson": ("Durbin-Watson statistic of the residuals", "1"),
    "normality": ("Anderson-Darling statistic of the residuals", "1"),
    "normality_p": ("p value of a normal distribution of the residuals", "1"),
    "heteroscedasticity_z": ("trend of squared residuals with log delay, in standard deviations", "1"),
    "heteroscedasticity_p": ("p value of errors of the stated relative size", "1"),
    "changepoint": ("largest excursion of the cumulated residuals, of a Brownian bridge", "1"),
    "changepoint_p": ("p value of no change of the mean residual", "1"),
    "changepoint_delay": ("last delay before the largest change of the mean residual", "s"),
    "largest_leverage": ("largest leverage of a point", "1"),
    "largest_cook": ("largest Cook's distance of a point", "1"),
    "largest_dffits": ("largest DFFITS of a point, without its sign", "1"),
    "condition_number": ("condition number of the derivatives, each scaled to unit length", "1"),
    "largest_correlation": ("largest correlation of two parameters, without its sign", "1"),
}
POINTS: Mapping[str, tuple[str, str]] = {
    "standardised_residual": ("residual over its standard deviation", "1"),
    "leverage": ("leverage of the point", "1"),
    "cook": ("Cook's distance of the point", "1"),
    "dffits": ("DFFITS of the point", "1"),
}
PAIRS: Mapping[str, tuple[str, str]] = {"correlation": ("correlation of the parameters, packed lower triangle", "1")}

LONG_NAMES: Mapping[str, tuple[str, str]] = {**BASIC, **STANDARD, **POINTS, **PAIRS}
"""Long name and unit of every diagnostic."""
LAST: Mapping[str, str] = {**dict.fromkeys(POINTS, "delay"), **dict.fromkeys(PAIRS, "pair")}
"""The dimension that a diagnostic has beyond those of the curves."""

SLAB_POINTS = 16_384
"""Points looked at in one go: their derivatives stay in the processor's cache."""


def diagnostics_dtype(model: Model, m: int, level: Level = "standard") -> np.dtype[np.void]:
    """Structured dtype of what is said about one curve of `m` points: 24, 168 and 168 + 32 m + 4 p (p + 1) bytes."""
    fields: list[tuple[str, str, tuple[int, ...]]] = [(name, "<f8", ()) for name in BASIC]
    if level != "basic":
        fields += [(name, "<f8", ()) for name in STANDARD]
    if level == "comprehensive":
        fields += [(name, "<f8", (m,)) for name in POINTS]
        fields += [(name, "<f8", (pairs(len(model.parameters)),)) for name in PAIRS]
    return np.dtype(fields)


def diagnose(
    rows: NDArray[np.void],
    x: Any,
    y: Floats,
    weight: Floats,
    model: Model,
    lower: Floats,
    upper: Floats,
    level: Level = "standard",
    *,
    absolute: bool = True,
) -> NDArray[np.void]:
    """Look at the residuals of fitted curves.

    Parameters
    ----------
    rows : array of `layout.fit_dtype`, shape (n,)
        Fits; ``value``, ``dof`` and ``status`` are read.
    x, y, weight, model, lower, upper
        As for `strategy.fit_stack`.
    level : {"basic", "standard", "comprehensive"}
        How much is said.
    absolute : bool
        Errors are taken as they are; False makes ``chi2_p`` NaN and standardises residuals by the root of chi2/dof.

    Returns
    -------
    array of `diagnostics_dtype(model, m, level)`, shape (n,)
        NaN for a curve that was not fitted, and for what is not defined. A parameter on its bound counts as held.

    Notes
    -----
    Tests take errors of different delays for independent. After a robust loss, leverage is that of least squares.
    """
    out = np.empty(len(rows), dtype=diagnostics_dtype(model, y.shape[1], level))
    for name in out.dtype.names or ():
        out[name] = np.nan
    fitted = np.flatnonzero((rows["status"] == Status.CONVERGED) & np.isfinite(rows["value"]).all(axis=1))
    step = max(1, SLAB_POINTS // max(y.shape[1], 1))
    for first in range(0, fitted.size, step):
        some = fitted[first : first + step]
        fit = project(rows["value"][some], x, y[some], weight[some], model, lower, upper)
        sound = np.flatnonzero(np.isfinite(fit.residual).all(axis=1))
        if sound.size:
            some, fit = some[sound], fit.take(sound)
            dof = rows["dof"][some] if absolute else np.zeros(some.size, dtype=np.int32)
            found = _look(fit, x, y[some], weight[some], dof, level, absolute)
            for name in out.dtype.names or ():
                out[name][some] = found[name]
    return out


def _look(
    fit: Projection, x: Any, y: Floats, weight: Floats, dof: NDArray[np.int32], level: Level, absolute: bool
) -> dict[str, Floats]:
    """Return at least the fields of the level; a chi2 is judged where dof is above 0."""
    points = influence(fit, absolute)
    found = _basic(fit, points, y, weight, dof)
    if level != "basic":
        found |= _noise(fit, *_abscissa(x, y.shape[1])) | _largest(points) | _parameters(fit)
    if level == "comprehensive":
        found |= _each(points)
    return found


def _basic(fit: Projection, points: Influence, y: Floats, weight: Floats, dof: NDArray[np.int32]) -> dict[str, Floats]:
    """Return the fields of `BASIC`."""
    from scipy.special import chdtrc

    chi2 = dots(fit.residual, fit.residual)
    square = np.where(fit.used, weight, 0.0) ** 2
    level = np.where(fit.used, y, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.where(fit.used, level - (dots(square, level) / square.sum(axis=1))[:, None], 0.0)
        r2 = 1.0 - chi2 / dots(square * level, level)
    return {
        "chi2_p": np.where(dof > 0, chdtrc(np.maximum(dof, 1), chi2), np.nan),
        "r2": np.where(np.isfinite(r2), r2, np.nan),
        "largest_residual": _peak(points.standardised),
    }


def _noise(fit: Projection, at: Floats, delay: Floats) -> dict[str, Floats]:
    """Return tests of the residuals along the abscissa `at`; `delay` is what that is made of."""
    fit, point = fit.together(at)
    sequence = independent(fit)
    place = np.take_along_axis(point, sequence.point, axis=1)
    lag1, neighbours = tests.lag1(fit)
    runs, normality = tests.runs(sequence), tests.normality(sequence)
    spread, (change, last) = tests.heteroscedasticity(sequence, at[place]), tests.changepoint(sequence)
    return {
        "runs_z": runs.statistic, "runs_p": runs.p,
        "lag1": lag1, "lag1_z": neighbours.statistic, "lag1_p": neighbours.p,
        "durbin_watson": tests.durbin_watson(fit),
        "normality": normality.statistic, "normality_p": normality.p,
        "heteroscedasticity_z": spread.statistic, "heteroscedasticity_p": spread.p,
        "changepoint": change.statistic, "changepoint_p": change.p,
        "changepoint_delay": np.where(np.isfinite(change.statistic), delay[place[np.arange(len(place)), last]], np.nan),
    }  # fmt: skip


def _abscissa(x: Any, m: int) -> tuple[Floats, Floats]:
    """Return what points are ordered by, the logarithm where it has one, and x itself; (m,) each.

    A delay of 0 counts as the shortest other one: its logarithm would outweigh all. Where x is not one number a point,
    points are counted.
    """
    try:
        delay = np.asarray(x, dtype=np.float64)
    except (TypeError, ValueError):
        delay = np.empty(0)
    if delay.shape != (m,):
        return np.arange(m, dtype=np.float64), np.full(m, np.nan)
    if (delay < 0).any() or not (delay > 0).any():
        return delay, delay
    return np.log(np.maximum(delay, delay[delay > 0].min())), delay


def _largest(points: Influence) -> dict[str, Floats]:
    return {
        "largest_leverage": _peak(points.leverage),
        "largest_cook": _peak(points.cook),
        "largest_dffits": _peak(points.dffits),
    }


def _parameters(fit: Projection) -> dict[str, Floats]:
    """How far parameters can be told apart, their correlations packed."""
    found = entanglement(fit)
    row, column = np.tril_indices(found.correlation.shape[1])
    packed = found.correlation[:, row, column]
    return {
        "condition_number": found.condition_number,
        "largest_correlation": _peak(np.where(row == column, np.nan, packed)),
        "correlation": packed,
    }


def _each(points: Influence) -> dict[str, Floats]:
    return {
        "standardised_residual": points.standardised,
        "leverage": points.leverage,
        "cook": points.cook,
        "dffits": points.dffits,
    }


def _peak(values: Floats) -> Floats:
    """Largest size along the points, NaN where there is none."""
    size = np.abs(values)
    found = np.where(np.isnan(size), -1.0, size).max(axis=1, initial=-1.0)
    return np.where(found < 0, np.nan, found)
