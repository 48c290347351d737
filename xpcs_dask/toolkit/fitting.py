"""Fits of the columns of a g2 by any function; all in one call where the function is known to the package."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import OptimizeWarning

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.curves import fit_curves
from xpcs_dask.fitting.layout import Status
from xpcs_dask.fitting.models import Floats
from xpcs_dask.toolkit.curve_fit import robust_curve_fit
from xpcs_dask.toolkit.fit_records import LineRecord, Record
from xpcs_dask.toolkit.function_model import FunctionModel, as_model, sides_of
from xpcs_dask.toolkit.models import single_exp

logger = logging.getLogger(__name__)

DONE = "FittingSuccess"
"""What pyXpcsViewer calls a fit that ended well."""
WHY = {
    Status.NO_DATA: "no point can be used: values must be finite, errors above 0",
    Status.TOO_FEW_POINTS: "fewer usable points than free parameters plus one",
    Status.NOT_CONVERGED: "no attempt ended in a minimum",
    Status.MODEL_FAILED: "the function raised, or was not finite at the start",
}
POINTS = 128
"""Points of a curve that is drawn."""


class Columns(NamedTuple):
    """Fits of n columns, parameters in the order of the function; NaN where there is none."""

    value: Floats
    stderr: Floats
    message: list[str]
    """`DONE`, or why there is no fit."""


def fit_xpcs(
    tel: ArrayLike,
    qd: ArrayLike,
    g2: ArrayLike,
    g2_err: ArrayLike,
    b: Any,
    n_jobs: int | None = None,
    *,
    absolute_sigma: bool = False,
) -> tuple[list[dict[str, Any]], Floats]:
    """Fit `single_exp` to every q.

    Parameters
    ----------
    tel, qd : array_like, shapes (m,) and (nq,)
        Delays in s, and q.
    g2, g2_err : array_like, shape (m, nq)
        Points with an error that is not above 0 are not used. They are not changed.
    b : (lower, upper)
        Bounds of tau (s), baseline and contrast.
    n_jobs : int, optional
        Not needed: all q are fitted in one compiled call.
    absolute_sigma : bool
        Take errors as they are; else only their ratios count, as in `scipy.optimize.curve_fit`.

    Returns
    -------
    list of dict
        One a q, in this order: ``err_msg`` (None, or why there is no fit), ``opt``, ``err``, ``fit_x``, ``fit_y``,
        ``num_zero_err`` (points whose error is not above 0).
    array, shape (nq, 7)
        q, tau, baseline, contrast and their errors; NaN where there is no fit.

    Notes
    -----
    The Toolkit returned rows in the order in which its workers ended, changed `g2_err` in place, and drew ones for a
    failed fit.
    """
    delay, q = np.asarray(tel, dtype=np.float64), np.atleast_1d(np.asarray(qd, dtype=np.float64))
    y, sigma = _table("g2", g2, delay.size), _table("g2_err", g2_err, delay.size)
    if q.size != y.shape[1] or sigma.shape != y.shape:
        raise ConfigError(f"there are {q.size} q, but g2 is {y.shape} and g2_err {sigma.shape}; give (delays, q)")
    lower, upper = sides_of(b, 3, "single_exp")
    middle = 0.5 * (lower + upper)
    middle[0] = np.sqrt(lower[0] * upper[0]) if lower[0] > 0 else middle[0]
    found = fit_columns(single_exp, delay, y, sigma, (lower, upper), middle, n_jobs, absolute_sigma=absolute_sigma)
    fit_x = drawn_delays(delay)
    lines: list[dict[str, Any]] = []
    for k, message in enumerate(found.message):
        good = message == DONE
        lines.append(
            Record(
                err_msg=None if good else f"q_index {k:2d}: {message}",
                opt=found.value[k] if good else None,
                err=found.stderr[k] if good else None,
                fit_x=fit_x,
                fit_y=single_exp(fit_x, *found.value[k]) if good else np.full(fit_x.shape, np.nan),
                num_zero_err=int(np.sum(~(sigma[:, k] > 0))),
            )
        )
    return lines, np.column_stack([q, found.value, found.stderr])


def fit_with_fixed(*args: Any, **kwargs: Any) -> tuple[list[dict[str, Any]], Floats]:
    """Fit columns with some parameters held: `fit_with_fixed_raw`, whose arguments it takes.

    The Toolkit kept answers on disk, under a key that took permuted flags for the same. Nothing is kept here: a
    compiled fit takes less time than reading it back.
    """
    return fit_with_fixed_raw(*args, **kwargs)


def fit_with_fixed_raw(
    base_func: Callable[..., Any],
    x: ArrayLike,
    y: ArrayLike,
    sigma: ArrayLike | None,
    bounds: Any,
    fit_flag: Sequence[bool],
    fit_x: ArrayLike,
    p0: ArrayLike | None = None,
    n_jobs: int | None = None,
    *,
    absolute_sigma: bool = False,
) -> tuple[list[dict[str, Any]], Floats]:
    """Fit every column of `y`, some parameters held at their upper bound.

    Parameters
    ----------
    base_func : callable
        ``base_func(x, *parameters)``. `single_exp`, `single_exp_all` and `double_exp_all` in a finite box are fitted in
        one compiled call, others by `robust_curve_fit`.
    x : array_like, shape (m,)
    y, sigma : array_like, shape (m, n)
        Curves and their errors (None: all weigh the same).
    bounds : (lower, upper), shape (2, p)
        A parameter that is not fitted has the value of its upper bound.
    fit_flag : sequence of bool, length p
        True where a parameter is fitted.
    fit_x : array_like
        Where the fits are drawn.
    p0 : array_like, shape (p,), optional
        Where to start; the middle of the bounds otherwise.
    n_jobs : int, optional
        Threads, for functions that are not compiled.
    absolute_sigma : bool
        Take errors as they are; else only their ratios count, as in `scipy.optimize.curve_fit`.

    Returns
    -------
    list of dict
        ``fit_x``, ``fit_y`` (None without a fit), ``success`` and ``msg``, one a column.
    array, shape (n, 2, p)
        Values and errors. Errors are 0 where a parameter is held, and -1 where there is no fit: the values are then the
        start, as in pyXpcsViewer.
    """
    grid, flag = np.asarray(x), np.asarray(fit_flag, dtype=bool)
    columns = _table("y", y, grid.shape[-1])
    errors = None if sigma is None else _table("sigma", sigma, grid.shape[-1])
    if errors is not None and errors.shape != columns.shape:
        raise ConfigError(f"sigma is {errors.shape}, but y is {columns.shape}; give one error a point")
    lower, upper = sides_of(bounds, flag.size, getattr(base_func, "__name__", "f"))
    start = 0.5 * (lower + upper) if p0 is None else np.array(p0, dtype=np.float64)
    if start.shape != flag.shape:
        raise ConfigError(f"p0 has {start.size} values, but fit_flag {flag.size}; give one each a parameter")
    lower, start = np.where(flag, lower, upper), np.where(flag, start, upper)
    found = fit_columns(base_func, grid, columns, errors, (lower, upper), start, n_jobs, absolute_sigma=absolute_sigma)
    drawn = np.asarray(fit_x)
    lines: list[dict[str, Any]] = []
    fit_val = np.zeros((columns.shape[1], 2, flag.size))
    for k, message in enumerate(found.message):
        good = message == DONE
        fit_val[k] = (found.value[k], found.stderr[k]) if good else (start, np.full(flag.size, -1.0))
        fit_y = base_func(drawn, *found.value[k]) if good else None
        text = message if good else f"Fitting failed: {message}"
        lines.append(LineRecord(fit_x=drawn, fit_y=fit_y, success=good, msg=text))
    return lines, fit_val


def fit_columns(
    func: Callable[..., Any], x: Any, y: Floats, sigma: Floats | None, box: tuple[Floats, Floats], start: Floats,
    n_jobs: int | None = None, *, absolute_sigma: bool = False,
) -> Columns:  # fmt: skip
    """Fit every column of y (m, n) in a box whose sides are equal where a parameter is held."""
    model = as_model(func, box, start.size)
    if model.compiled and np.ndim(x) == 1 and not (np.asarray(x) < 0).any():
        return _compiled(model, x, y, sigma, start, absolute_sigma)
    free = box[0] < box[1]

    def reduced(x: Any, *parameters: float) -> Any:
        whole = start.copy()
        whole[free] = parameters
        return func(x, *whole)

    def one(k: int) -> tuple[Floats, Floats, str]:
        if not free.any():
            return start, np.zeros(start.size), DONE
        error = None if sigma is None else sigma[:, k]
        inside = np.clip(start[free], box[0][free], box[1][free])
        value, stderr = start.copy(), np.zeros(start.size)
        try:
            used = np.isfinite(y[:, k]) if error is None else np.isfinite(y[:, k]) & (error > 0) & np.isfinite(error)
            if used.sum() <= free.sum():
                return np.full_like(value, np.nan), np.full_like(value, np.nan), WHY[Status.TOO_FEW_POINTS]
            popt, pcov = robust_curve_fit(
                reduced, x[..., used], y[used, k], inside, (box[0][free], box[1][free]),
                None if error is None else error[used], absolute_sigma=absolute_sigma and error is not None,
            )  # fmt: skip
        except Exception as failure:  # one column must not stop its neighbours
            return np.full_like(value, np.nan), np.full_like(value, np.nan), f"{type(failure).__name__}: {failure}"
        value[free], stderr[free] = popt, np.sqrt(np.diag(pcov))
        return value, stderr, DONE

    with warnings.catch_warnings():  # a covariance that cannot be told is an infinite error
        warnings.simplefilter("ignore", OptimizeWarning)
        found = in_threads(one, range(y.shape[1]), n_jobs)
    shape = (y.shape[1], start.size)
    value, stderr = (np.array([row[i] for row in found], dtype=np.float64).reshape(shape) for i in (0, 1))
    return Columns(value, stderr, [row[2] for row in found])


def in_threads(work: Callable[[Any], Any], items: Any, n_jobs: int | None) -> list[Any]:
    """Return ``[work(item) for item in items]``, made by `n_jobs` threads where that is more than 1 (-1: all cores)."""
    import os

    number = (os.cpu_count() or 1) if n_jobs is not None and n_jobs < 0 else (n_jobs or 1)
    if number <= 1:
        return [work(item) for item in items]
    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(work, items))


def drawn_delays(delay: Floats) -> Floats:
    """Return delays at which a fit is drawn: half a decade beyond what was measured, on both sides."""
    positive = delay[delay > 0]
    if not positive.size:
        raise ConfigError("no delay is above 0 s; give delays in seconds")
    return np.logspace(np.log10(positive.min()) - 0.5, np.log10(positive.max()) + 0.5, POINTS)


def _compiled(
    model: FunctionModel, x: Any, y: Floats, sigma: Floats | None, start: Floats, absolute_sigma: bool
) -> Columns:
    """Fit all columns in one call; two components are looked for from many starts."""
    found = fit_curves(
        x, y.T, None if sigma is None else sigma.T, model.record,
        bounds=model.bounds, fixed=model.fixed, start=model.inward(start),
        absolute_sigma=absolute_sigma and sigma is not None,
        search="thorough" if model.record.family == "double" else "fast",
    )  # fmt: skip
    message = [DONE if code == Status.CONVERGED else WHY[Status(code)] for code in found.status]
    return Columns(model.outward(found.value), model.outward(found.stderr), message)


def _table(name: str, given: ArrayLike, m: int) -> Floats:
    """Columns (m, n) of numbers; one curve (m,) is one column."""
    array = np.asarray(given, dtype=np.float64)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or len(array) != m:
        raise ConfigError(f"{name} has shape {np.shape(given)}; give ({m}, number of curves)")
    return array
