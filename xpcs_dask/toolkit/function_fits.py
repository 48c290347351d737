"""One curve and one function: bounds in any form, and the fit by the package's kernels where they know the function."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import Bounds, OptimizeWarning

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.curves import fit_curves
from xpcs_dask.fitting.layout import Status
from xpcs_dask.fitting.problem import ROUNDING
from xpcs_dask.toolkit.curve_fit import robust_curve_fit
from xpcs_dask.toolkit.diffusion_forms import Form, form_of
from xpcs_dask.toolkit.diffusion_models import DiffusionModels, Function
from xpcs_dask.toolkit.function_model import sides_of

__all__ = ["FunctionFit", "box_of", "fit_function", "usable"]

Floats = NDArray[np.float64]
Box = tuple[Floats, Floats]
INSIDE = 1e-9
"""Part of a bound by which a value may be beyond it for rounding."""


@dataclass(frozen=True)
class FunctionFit:
    """A fitted function."""

    value: Floats
    """(p,)"""
    covariance: Floats
    """(p, p), NaN where a parameter is on its bound."""
    chi2: float
    """Weighted sum of squares, or the plain one without errors."""
    rounding: float
    """Size of a chi2 that may be rounding of the data; below it two fits are equally good."""


def box_of(bounds: Any, count: int | None = None) -> Box | None:
    """Lower and upper bounds (p,) from any form they are given in; None for none.

    Parameters
    ----------
    bounds : None, Bounds, 2-tuple of array_like, or sequence of pairs
        As `scipy.optimize.curve_fit` takes them, or one pair a parameter. Where two parameters could be meant either
        way, a list is one of pairs and a tuple is (lower, upper).
    count : int, optional
        Of the parameters; by it a number that serves for all is repeated.

    Raises
    ------
    ConfigError
        If they are neither, not as many as the parameters, or crossed.
    """
    if bounds is None:
        return None
    if isinstance(bounds, Bounds):
        bounds = (bounds.lb, bounds.ub)
    if count is None:
        widest = max((np.size(side) for side in bounds), default=0)
        count = len(bounds) if len(bounds) != 2 else widest
    pairs = len(bounds) == count and all(np.shape(pair) == (2,) for pair in bounds)
    if pairs and (count != 2 or isinstance(bounds, list)):
        bounds = tuple(zip(*bounds, strict=True))
    low, high = sides_of(bounds, count)
    if not (low < high).all():
        k = int(np.flatnonzero(~(low < high))[0])
        raise ConfigError(f"bounds of parameter {k} are ({low[k]:g}, {high[k]:g}); the lower one must be below")
    return low, high


def usable(x: ArrayLike, y: ArrayLike, sigma: ArrayLike | None = None) -> NDArray[np.bool_]:
    """Whether each point is a number and has an error that can weigh it."""
    good = np.isfinite(np.asarray(x, dtype=np.float64)) & np.isfinite(np.asarray(y, dtype=np.float64))
    if sigma is not None:
        error = np.asarray(sigma, dtype=np.float64)
        good = good & np.isfinite(error) & (error > 0)
    return good


def fit_function(
    func: Function,
    xdata: ArrayLike,
    ydata: ArrayLike,
    sigma: ArrayLike | None = None,
    p0: ArrayLike | None = None,
    bounds: Any = None,
    absolute_sigma: bool = True,
) -> FunctionFit:
    """Fit a function to one curve; functions of `DiffusionModels` by the records of the package.

    Parameters
    ----------
    func : callable
        ``func(x, *parameters)``.
    xdata, ydata, sigma : array_like, shape (m,)
        Points that are not numbers, or have no positive error, are left out. Without errors the covariance is scaled
        by the residuals.
    p0 : array_like, optional
        Where to start; functions of `DiffusionModels` start from the data instead.
    bounds
        As `box_of` takes them.
    absolute_sigma : bool
        Whether errors are in the unit of y; else the covariance is scaled by the residuals.

    Raises
    ------
    RuntimeError
        If no minimum is found.
    ConfigError, ValueError, TypeError
        If the arguments make no sense.
    """
    x, y = np.asarray(xdata, dtype=np.float64), np.asarray(ydata, dtype=np.float64)
    good = usable(x, y, sigma)
    error = None if sigma is None else np.broadcast_to(np.asarray(sigma, dtype=np.float64), y.shape)[good]
    x, y = x[good], y[good]
    form = form_of(func)
    count = len(form.order) if form else None if p0 is None else np.size(p0)
    box = box_of(bounds, count)
    found = None if form is None or (x < 0).any() else _by_record(form, x, y, error, box, absolute_sigma)
    if found is None or (box is not None and not _within(found[0], box)):
        found = _by_function(func, x, y, error, p0 if found is None else found[0], box, absolute_sigma)
    value, covariance = found
    weight = np.ones_like(y) if error is None else 1.0 / error
    with np.errstate(all="ignore"):
        chi2 = float(np.sum(((y - np.asarray(func(x, *value))) * weight) ** 2))
    return FunctionFit(value, covariance, chi2, (100 * ROUNDING) ** 2 * float(np.sum((y * weight) ** 2)))


def _by_record(
    form: Form, x: Floats, y: Floats, error: Floats | None, box: Box | None, absolute_sigma: bool
) -> tuple[Floats, Floats] | None:
    """Fit the record; None where its bounds cannot say what `box` says."""
    every = box if box is not None else _own_box(form)
    bounds = form.bounds(every, x)
    if bounds is None:
        return None
    fit = fit_curves(x, y, error, form.record, bounds=bounds, absolute_sigma=absolute_sigma and error is not None)
    if fit.status != Status.CONVERGED:
        raise RuntimeError(f"no minimum was found: {Status(int(fit.status)).name.lower().replace('_', ' ')}")
    value, covariance = form.parameters(fit.value, fit.covariance)
    if len(form.rates) == 2 and value[4] > value[2] and _alike(every):  # the faster decay is the first
        turned = [0, 3, 4, 1, 2]
        value, covariance = value[turned], covariance[np.ix_(turned, turned)]
    return value, covariance


def _own_box(form: Form) -> Box:
    """Widest bounds that the models of this form have."""
    every = [info for info in DiffusionModels.get_model_info().values() if form_of(info["function"]) is form]
    boxes = [box_of(info["bounds"]) for info in every]
    low, high = (np.array([box[side] for box in boxes if box is not None]) for side in (0, 1))
    return low.min(axis=0), high.max(axis=0)


def _alike(box: Box) -> bool:
    """Whether both decays have the same bounds."""
    return all(np.array_equal(side[1:3], side[3:5]) for side in box)


def _within(value: Floats, box: Box) -> bool:
    room = INSIDE * np.maximum(np.abs(value), np.finfo(float).tiny)
    return bool((value >= box[0] - room).all() and (value <= box[1] + room).all())


def _by_function(
    func: Function,
    x: Floats,
    y: Floats,
    error: Floats | None,
    p0: ArrayLike | None,
    box: Box | None,
    absolute_sigma: bool,
) -> tuple[Floats, Floats]:
    start = p0 if p0 is None or box is None else np.clip(np.asarray(p0, dtype=np.float64), *box)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)  # an infinite covariance says it
        value, covariance = robust_curve_fit(
            func, x, y, start, box, error, absolute_sigma=absolute_sigma and error is not None
        )
    return np.asarray(value), np.asarray(covariance)
