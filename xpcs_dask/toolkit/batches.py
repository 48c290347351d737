"""Starts, batches and residuals of many curves."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import OptimizeWarning

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.curves import CurveFits, fit_curves
from xpcs_dask.fitting.layout import Rung, Status
from xpcs_dask.fitting.models import Floats
from xpcs_dask.toolkit.curve_fit import robust_curve_fit
from xpcs_dask.toolkit.fit_records import Record
from xpcs_dask.toolkit.fitting import WHY, in_threads
from xpcs_dask.toolkit.function_model import as_model, parameter_count

Function = Callable[..., Any]


def batch_curve_fitting(
    x_data_list: Sequence[ArrayLike],
    y_data_list: Sequence[ArrayLike],
    func: Function,
    p0_list: Sequence[ArrayLike] | None = None,
    bounds_list: Sequence[Any] | None = None,
    n_jobs: int | None = None,
    method: str = "vectorized",
) -> list[dict[str, Any]]:
    """Fit one function to many data sets.

    Parameters
    ----------
    x_data_list, y_data_list : sequence of array_like
        As many of one as of the other.
    func : callable
        ``func(x, *parameters)``.
    p0_list, bounds_list : sequence, optional
        One start and one (lower, upper) a data set.
    n_jobs : int, optional
        Threads of "parallel".
    method : {"vectorized", "parallel"}
        vectorized fits data sets that share x and bounds in one call of `xpcs_dask.fit_curves`; parallel fits each with
        `robust_curve_fit`. They find the same minima.

    Returns
    -------
    list of dict
        One a data set, in their order: ``success``, and ``popt``, ``pcov``, ``perr``, or ``message``.

    Raises
    ------
    ConfigError
        If the lists are not of one length, or the method is not known. A data set that cannot be fitted never raises.

    Notes
    -----
    The Toolkit returned an empty list for more than ten data sets.
    """
    if method not in ("vectorized", "parallel"):
        raise ConfigError(f"method is '{method}'; give 'vectorized' or 'parallel'")
    xs, ys = [np.asarray(x, dtype=np.float64) for x in x_data_list], list(y_data_list)
    for name, given in (("y_data_list", ys), ("p0_list", p0_list), ("bounds_list", bounds_list)):
        if given is not None and len(given) != len(xs):
            raise ConfigError(f"{name} has {len(given)} entries, x_data_list {len(xs)}; give one each")
    starts = [None] * len(xs) if p0_list is None else [np.atleast_1d(np.asarray(p, np.float64)) for p in p0_list]
    boxes = [None] * len(xs) if bounds_list is None else list(bounds_list)
    if method == "vectorized":
        return _stacked(xs, ys, func, starts, boxes)
    with warnings.catch_warnings():  # infinite errors say it
        warnings.simplefilter("ignore", OptimizeWarning)
        return in_threads(lambda k: _alone(func, xs[k], ys[k], starts[k], boxes[k]), range(len(xs)), n_jobs)


def _alone(func: Function, x: Floats, y: ArrayLike, start: Any, bounds: Any) -> dict[str, Any]:
    """Fit one data set by itself."""
    try:
        popt, pcov = robust_curve_fit(func, x, y, start, bounds)
    except Exception as failure:  # one data set must not stop its neighbours
        return {"success": False, "message": f"{type(failure).__name__}: {failure}"}
    return Record(success=True, popt=popt, pcov=pcov, perr=np.sqrt(np.diag(pcov)))


def _stacked(
    xs: list[Floats], ys: list[Any], func: Function, starts: list[Any], boxes: list[Any]
) -> list[dict[str, Any]]:
    """Fit what shares x and bounds in one call."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for k, x in enumerate(xs):
        groups.setdefault((x.tobytes(), x.shape, np.shape(ys[k]), repr(boxes[k]), starts[k] is None), []).append(k)
    found: list[dict[str, Any]] = [{}] * len(xs)
    for members in groups.values():
        first = members[0]
        try:
            start = None if starts[first] is None else np.stack([starts[k] for k in members])
            model = as_model(func, boxes[first], None if start is None else start.shape[1])
            fits = fit_curves(
                xs[first], np.stack([np.asarray(ys[k], dtype=np.float64) for k in members]), None, model.record,
                bounds=model.bounds, fixed=model.fixed, start=None if start is None else model.inward(start),
            )  # fmt: skip
        except (ValueError, TypeError) as failure:
            for k in members:
                found[k] = {"success": False, "message": f"{type(failure).__name__}: {failure}"}
            continue
        for row, k in enumerate(members):
            found[k] = _answer(fits, row, model.order)
    return found


def _answer(fits: CurveFits, row: int, order: Any) -> dict[str, Any]:
    if fits.status[row] != Status.CONVERGED:
        return {"success": False, "message": WHY[Status(fits.status[row])]}
    return Record(
        success=True,
        popt=fits.value[row][order],
        pcov=fits.covariance[row][np.ix_(order, order)],
        perr=fits.stderr[row][order],
    )


def optimize_fitting_convergence(
    func: Function, x_data: ArrayLike, y_data: ArrayLike, p0_bounds: tuple[Any, Any], max_attempts: int = 5
) -> dict[str, Any]:
    """Fit from several starts and keep the lowest minimum.

    Parameters
    ----------
    func : callable
    x_data, y_data : array_like
    p0_bounds : (p0_list, bounds)
        Starts, of which the first `max_attempts` are used (None: those of the package), and (lower, upper) or None.
    max_attempts : int

    Returns
    -------
    dict
        ``success``; ``popt``, ``pcov``, ``perr``, ``chi_squared``, ``method`` (the rung of the ladder that won);
        ``attempts``, one ``{p0, success, chi_squared, method}`` a start; ``n_minima``, how many different sums of
        squares were reached; ``message``.
    """
    p0_list, bounds = p0_bounds
    starts = [None] if p0_list is None else [np.atleast_1d(np.asarray(p, np.float64)) for p in p0_list][:max_attempts]
    if not starts or max_attempts < 1:
        raise ConfigError("there is no start: p0_list is empty, or max_attempts below 1")
    count = parameter_count(func) if starts[0] is None else starts[0].size
    model = as_model(func, bounds, count)
    attempts: list[dict[str, Any]] = []
    best: CurveFits | None = None
    for start in starts:
        fits = fit_curves(
            x_data, y_data, None, model.record, bounds=model.bounds, fixed=model.fixed,
            start=None if start is None else model.inward(start), search="thorough" if start is None else "fast",
        )  # fmt: skip
        good = bool(fits.status == Status.CONVERGED)
        attempts.append(
            {
                "p0": None if start is None else start.tolist(),
                "success": good,
                "chi_squared": float(fits.chi2),
                "method": Rung(int(fits.rung)).name.lower(),
            }
        )
        if good and (best is None or fits.chi2 < best.chi2):
            best = fits
    sums = np.sort([a["chi_squared"] for a in attempts if a["success"]])
    minima = int(sums.size and 1 + np.sum(np.diff(sums) > 1e-6 * sums[1:]))
    if best is None:
        text = f"none of {len(starts)} starts ended in a minimum"
        return {"success": False, "attempts": attempts, "n_minima": 0, "message": text}
    return Record(
        success=True,
        popt=model.outward(best.value),
        pcov=best.covariance[np.ix_(model.order, model.order)],
        perr=model.outward(best.stderr),
        chi_squared=float(best.chi2),
        method=Rung(int(best.rung)).name.lower(),
        attempts=attempts,
        n_minima=minima,
        message=f"{len(sums)} of {len(starts)} starts ended in a minimum, {minima} different",
    )
