"""`scipy.optimize.curve_fit` with the ladder behind it: the same call, the same answers and errors, fewer failures."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import Bounds, OptimizeWarning, curve_fit

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.curves import CurveFits, fit_curves
from xpcs_dask.fitting.layout import Flag, Status
from xpcs_dask.fitting.models import Model, Parameter

__all__ = ["robust_curve_fit"]

Floats = NDArray[np.float64]
Function = Callable[..., Any]


def robust_curve_fit(
    func: Function,
    xdata: ArrayLike,
    ydata: ArrayLike,
    p0: ArrayLike | None = None,
    bounds: Any = None,
    sigma: ArrayLike | None = None,
    **kwargs: Any,
) -> tuple[Any, ...]:
    """Fit a function, as `scipy.optimize.curve_fit` does, but down to rounding and with more than one attempt.

    Parameters
    ----------
    func : callable
        ``func(x, *parameters)``.
    xdata, ydata : array_like
        As `curve_fit` takes them; x of any shape that `func` takes, y of shape (m,).
    p0 : array_like, optional
        Where to start.
    bounds : 2-tuple of array_like or scipy.optimize.Bounds, optional
        Lower and upper bounds, each one number or one a parameter.
    sigma : array_like, shape (), (m,) or (m, m), optional
        Standard errors of y, or its covariance.
    **kwargs
        All others that `curve_fit` knows: ``absolute_sigma``, ``check_finite``, ``method``, ``jac``, ``full_output``,
        ``nan_policy``, and those of its optimisers.

    Returns
    -------
    popt : array, shape (p,)
    pcov : array, shape (p, p)
        Scaled by the reduced chi2 unless ``absolute_sigma``; infinite, with a warning, where it cannot be estimated.
    infodict, mesg, ier
        With ``full_output``, as `curve_fit` returns them, of its own attempt.

    Raises
    ------
    ValueError, TypeError
        Those of `curve_fit`.
    RuntimeError
        If neither `curve_fit` nor any other attempt finds a minimum.

    Warns
    -----
    OptimizeWarning
        If the covariance cannot be estimated.

    Notes
    -----
    `curve_fit` goes first, so what it refuses is refused. The ladder of `fit_curves` then starts where `curve_fit` did,
    and where that ends if it is lower, and goes on until the projected gradient is nothing within rounding. Its answer
    is taken if it is a minimum and not above that of `curve_fit`, which may have stopped on a slope.
    """
    full_output = kwargs.pop("full_output", False)
    bounds = (-np.inf, np.inf) if bounds is None else bounds
    first, failure = _curve_fit(func, xdata, ydata, p0, sigma, bounds, kwargs)
    further = _ladder(func, xdata, ydata, p0, bounds, sigma, kwargs)
    if first is not None and not _reaches(further, first):
        further = _ladder(func, xdata, ydata, first[0], bounds, sigma, kwargs)
    if first is None and further is None:
        raise failure
    popt, pcov = _better(first, further)
    if not np.isfinite(pcov).all():
        warnings.warn("Covariance of the parameters could not be estimated", OptimizeWarning, stacklevel=2)
    if not full_output:
        return popt, pcov
    if first is not None:
        return popt, pcov, *first[2:]
    fvec = np.asarray(func(np.asarray(xdata), *popt)) - np.asarray(ydata)
    spent = 0 if further is None else int(further.evaluations)
    return popt, pcov, {"nfev": spent, "fvec": fvec}, f"{failure}; another attempt did it", 1


def _curve_fit(
    func: Function, x: ArrayLike, y: ArrayLike, p0: Any, sigma: Any, bounds: Any, options: dict[str, Any]
) -> tuple[tuple[Any, ...] | None, Exception]:
    """Return what scipy finds, or why it finds nothing; what it refuses is raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)  # said at the end, of the final covariance
        try:
            return curve_fit(func, x, y, p0, sigma, bounds=bounds, full_output=True, **options), RuntimeError()
        except RuntimeError as error:
            return None, error


def _ladder(
    func: Function, xdata: ArrayLike, ydata: ArrayLike, start: Any, bounds: Any, sigma: Any, options: dict[str, Any]
) -> CurveFits | None:
    """Return the minimum that the ladder finds from `start`; None if it finds none."""
    x, y = np.asarray(xdata), np.asarray(ydata, dtype=np.float64)
    error = None if sigma is None else np.asarray(sigma, dtype=np.float64)
    if options.get("nan_policy") == "omit":
        x, y, error = _without_nan(x, y, error)
    function, jac = func, options.get("jac")
    jac = jac if callable(jac) else None
    if error is not None and error.ndim == 2:  # residuals of unit variance, as curve_fit makes them
        whiten = partial(solve_triangular, cholesky(error, lower=True), lower=True)
        function, jac = _whitened(func, whiten), jac and _whitened(jac, whiten)
        y, error = whiten(y), np.ones(y.shape)
    record = _record(function, func, start, bounds, jac)
    try:
        found = fit_curves(
            x, y, error, record,
            start=None if start is None else np.atleast_1d(np.asarray(start, dtype=np.float64)),
            absolute_sigma=bool(options.get("absolute_sigma", False)) and error is not None,
        )  # fmt: skip
    except ConfigError:  # such as an x that only the function understands
        return None
    return found if found.status == Status.CONVERGED else None


def _record(function: Function, func: Function, start: Any, bounds: Any, jac: Function | None) -> Model:
    """Return the function as a model with the bounds of its parameters; these are counted as curve_fit counts them."""
    if start is None:
        named = [
            p
            for p in inspect.signature(func).parameters.values()
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY)
        ]
        count = len(named) - 1
    else:
        count = np.atleast_1d(start).size
    low, high = (bounds.lb, bounds.ub) if isinstance(bounds, Bounds) else bounds
    lower, upper = (np.broadcast_to(np.asarray(side, dtype=np.float64), count) for side in (low, high))
    parameters = tuple(
        Parameter(name=f"p{k}", unit="", lower=float(lower[k]), upper=float(upper[k])) for k in range(count)
    )
    return Model(
        name=getattr(func, "__name__", "f"), formula="", parameters=parameters, evaluate=function, jacobian=jac
    )


def _whitened(func: Function, whiten: Callable[[Floats], Floats]) -> Function:
    def whitened(x: Any, *parameters: float) -> Floats:
        return whiten(np.asarray(func(x, *parameters)))

    return whitened


def _without_nan(x: Floats, y: Floats, sigma: Floats | None) -> tuple[Floats, Floats, Floats | None]:
    """Leave out points without a number, as ``nan_policy="omit"`` does."""
    used = np.isfinite(y) & np.isfinite(x).all(axis=tuple(range(x.ndim - 1)))
    if sigma is not None and sigma.ndim:
        sigma = sigma[used] if sigma.ndim == 1 else sigma[np.ix_(used, used)]
    return x[..., used], y[used], sigma


def _reaches(further: CurveFits | None, first: tuple[Any, ...]) -> bool:
    """Whether the ladder ends where scipy does, or below."""
    return further is not None and bool(further.chi2 <= np.sum(first[2]["fvec"] ** 2) * (1 + 1e-9))


def _better(first: tuple[Any, ...] | None, further: CurveFits | None) -> tuple[Floats, Floats]:
    """Parameters and covariance of the ladder; those of scipy where the ladder has none or ends above it."""
    if first is not None and not _reaches(further, first):
        return first[0], first[1]
    assert further is not None
    if np.isfinite(further.covariance).all():
        return further.value, further.covariance
    if first is None or further.flags & Flag.UNIDENTIFIABLE:
        return further.value, np.full(2 * further.value.shape, np.inf)
    return further.value, first[1]  # a bound, of which scipy takes no notice: its callers expect numbers
