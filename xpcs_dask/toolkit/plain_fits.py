"""Fits of arrays of curves, as tables: the standard fit of pyXpcsViewer, and what both ways of fitting share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xpcs_dask.config import Search
from xpcs_dask.fitting.curves import CurveFits, fit_curves
from xpcs_dask.fitting.layout import Rung, Status
from xpcs_dask.fitting.models import Model
from xpcs_dask.toolkit.boxes import Box
from xpcs_dask.toolkit.fit_records import FAILED, FAILED_ERROR, INSUFFICIENT, SUCCESS, FitTable

__all__ = ["LOST", "correct_g2_err", "quoted_fits", "standard_fits", "table_of"]

Floats = NDArray[np.float64]
Columns = Mapping[str, NDArray[Any]]

THRESHOLD = 1e-6
DONE, LOST = "FittingSuccess", "Fitting failed: "
REASONS = {
    Status.NOT_FITTED: "it was not fitted",
    Status.NO_DATA: "no delay has a finite g2 and a positive error",
    Status.TOO_FEW_POINTS: "there are fewer usable delays than free parameters plus one",
    Status.NOT_CONVERGED: "no attempt ended in a minimum",
    Status.MODEL_FAILED: "the function raised, or is not finite at the start",
}
OUTCOME = {Status.CONVERGED: SUCCESS, Status.NO_DATA: INSUFFICIENT, Status.TOO_FEW_POINTS: INSUFFICIENT}


def correct_g2_err(g2_err: ArrayLike | None = None, threshold: float = THRESHOLD) -> NDArray[Any]:
    """Replace errors of g2 that are not above a threshold by the mean of the others of their bin.

    Parameters
    ----------
    g2_err : array_like, shape (nt, nq)
        Errors of g2; the array is not changed.
    threshold : float
        Errors up to this, and those that are not a number, are replaced; by the threshold where a bin has no other.

    Notes
    -----
    A replaced error says nothing about its point: this is here because the plain `fit_g2` has to find the minima of
    pyXpcsViewer, and nothing else uses it.
    """
    error = np.array(g2_err)
    good = error > threshold
    count = good.sum(axis=0)
    with np.errstate(over="ignore"):
        mean = np.where(good, error, 0.0).sum(axis=0) / np.maximum(count, 1)
    return np.where(good, error, np.where(count > 0, mean, threshold)).astype(error.dtype, copy=False)


def standard_fits(
    t_el: Floats, g2: NDArray[Any], g2_err: NDArray[Any], model: Model, box: Box, search: Search = "fast"
) -> tuple[CurveFits, Columns]:
    """Fit curves (nt, nq) as pyXpcsViewer weighs them: floored errors, standard errors scaled by the residuals."""
    fits = _fitted(t_el, g2, g2_err, model, box, search, absolute=False)
    return fits, columns_of(fits)


def quoted_fits(
    t_el: Floats, g2: NDArray[Any], g2_err: NDArray[Any], model: Model, box: Box, search: Search = "fast"
) -> tuple[CurveFits, Columns]:
    """Fit curves (nt, nq) with their errors as they are; delays without a usable error are left out, and flagged."""
    from scipy.special import chdtrc

    fits = _fitted(t_el, g2, g2_err, model, box, search, absolute=True)
    with np.errstate(invalid="ignore"):
        chance = np.where(fits.dof > 0, chdtrc(np.maximum(fits.dof, 1), fits.chi2), np.nan)
    return fits, {**columns_of(fits), "chi2_p": chance}


def _fitted(
    t_el: Floats, g2: NDArray[Any], g2_err: NDArray[Any], model: Model, box: Box, search: Search, *, absolute: bool
) -> CurveFits:
    y, sigma = (np.ascontiguousarray(np.asarray(array).T, dtype=np.float64) for array in (g2, g2_err))

    def fit(rows: Any, how: Search) -> CurveFits:
        return fit_curves(
            t_el, y[rows], sigma[rows], model, bounds=box.bounds, fixed=box.fixed, absolute_sigma=absolute, search=how,
            start=box.start,
        )  # fmt: skip

    first = fit(slice(None), search)
    if search == "fast":
        again = np.flatnonzero(_cornered(first, model, box))
        if again.size:
            _lower(first, fit(again, "thorough"), again)
    return first


def _cornered(fits: CurveFits, model: Model, box: Box) -> NDArray[np.bool_]:
    """Which decays end where bounds of time and stretch meet: there is often a lower minimum inside."""
    shape = [
        k
        for k, parameter in enumerate(model.parameters)
        if parameter.name in box.bounds and (parameter.relaxation_time or parameter.name.startswith("stretch"))
    ]
    if not shape:
        return np.zeros(len(fits.value), dtype=bool)
    low, high = np.array([box.bounds[model.names[k]] for k in shape]).T
    ends = ((fits.value[:, shape] <= low) | (fits.value[:, shape] >= high)).all(axis=1)
    decays = fits.value[:, 0] != box.bounds.get(model.names[0], (np.nan,))[0]
    return np.asarray(ends & decays & (fits.rung == Rung.COMPILED))


def _lower(fits: CurveFits, others: CurveFits, rows: NDArray[np.intp]) -> None:
    """Put other fits of some rows in the place of those that they lie below."""
    with np.errstate(invalid="ignore"):
        better = others.chi2 < fits.chi2[rows]
    for name in ("value", "stderr", "covariance", "chi2", "dof", "n_used", "status", "rung", "flags"):
        getattr(fits, name)[rows[better]] = getattr(others, name)[better]
    fits.evaluations[rows] += others.evaluations


def columns_of(fits: CurveFits) -> dict[str, NDArray[Any]]:
    """Name what is known of the fits beside their parameters."""
    with np.errstate(invalid="ignore", divide="ignore"):
        reduced = np.where(fits.dof > 0, fits.chi2 / fits.dof, np.nan)
    names = ("chi2", "dof", "n_used", "evaluations", "rung", "flags")
    return {**{name: getattr(fits, name) for name in names}, "reduced_chi2": reduced}


def table_of(
    fits: CurveFits, diagnostics: Columns, box: Box, fit_x: Floats, function: Callable[..., Any], *, robust: bool
) -> FitTable:
    """Put fits into a table: where there is none values are NaN, held ones their own, and errors -1."""
    good = fits.status == Status.CONVERGED
    value, stderr, status = fits.value, fits.stderr, np.asarray(fits.status)
    outcome, message = [SUCCESS] * len(good), [DONE] * len(good)
    if not good.all():
        value = value.copy()
        stderr = np.where(good[:, None], stderr, FAILED_ERROR)
        for name, held in box.fixed.items():
            value[~good, fits.parameters.index(name)] = held
        for k in np.flatnonzero(~good):
            code = Status(int(status[k]))
            outcome[k] = OUTCOME.get(code, FAILED)
            message[k] = f"{LOST}{REASONS[code]}"
    return FitTable(
        value=value,
        stderr=stderr,
        covariance=fits.covariance,
        status=outcome,
        message=message,
        robust=np.full(len(good), robust) & good,
        fit_x=fit_x,
        function=function,
        diagnostics=diagnostics,
    )
