"""What to distrust about fitted curves, from their results and their points; all curves at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.config import FitConfig
from xpcs_dask.fitting.layout import Flag, Status
from xpcs_dask.fitting.models import Floats, Model

POOR = 1e-6
"""Probability of a chi2 as large as this by chance, below which a fit is called poor."""
DOMINANT = 0.25
"""Share of the weight that one point may hold."""
SLOW = 0.1
"""Relaxation time over length of the run above which the run holds too few decays."""

Bits = NDArray[np.uint32]


def flags_of(
    packed: NDArray[np.void],
    x: Any,
    y: Floats,
    weight: Floats,
    lower: Floats,
    upper: Floats,
    model: Model,
    config: FitConfig,
) -> Bits:
    """Return the flags of every curve, those already in ``packed["flags"]`` included.

    Parameters
    ----------
    packed : array of `layout.fit_dtype`, shape (n,)
        Results; value, stderr, chi2, dof, n_used and status are read.
    x : array
        Abscissa; a relaxation time is compared with it only where its shape is ``(m,)``.
    y, weight : array, shape (n, m)
        Points and 1/sigma; the weight is finite, and 0 where a point was not used (a point that is NaN never is).
    lower, upper : array, shape (p,)
        The box of the fit.

    Returns
    -------
    array of uint32, shape (n,)
        Bits of `layout.Flag`.
    """
    fitted = packed["status"] == Status.CONVERGED
    holes = np.flatnonzero(packed["n_used"] < weight.shape[1])
    used = weight[holes] > 0
    value, stderr = packed["value"], packed["stderr"]
    bound = (lower < upper) & ((value <= lower) | (value >= upper))
    unknown = ((lower < upper) & ~bound & np.isnan(stderr)).any(axis=1)
    unknown |= _outside(value, x, holes, used, model, lower, upper)
    dominant = weight.max(axis=1, initial=0.0) ** 2 > DOMINANT * np.einsum("ij,ij->i", weight, weight)
    excluded = np.zeros(len(packed), dtype=bool)
    excluded[holes] = (np.isfinite(y[holes]) & ~used).any(axis=1)
    # What was noted on the way says nothing about a curve that came to nothing.
    kept = np.where(fitted, ~np.uint32(0), np.uint32(Flag.POINTS_EXCLUDED))
    found = packed["flags"].astype(np.uint32) & kept
    for flag, where in (
        (Flag.AT_BOUND, fitted & bound.any(axis=1)),
        (Flag.UNIDENTIFIABLE, fitted & unknown),
        (Flag.POOR_FIT, fitted & _poor(packed["chi2"], packed["dof"], config)),
        (Flag.ONE_POINT_DOMINATES, fitted & dominant),
        (Flag.POINTS_EXCLUDED, excluded),
        (Flag.FEW_POINTS, fitted & (packed["n_used"] < 2 * (packed["n_used"] - packed["dof"]))),
    ):
        found |= np.where(where, np.uint32(flag), np.uint32(0))
    return found


def _outside(
    value: Floats,
    x: Any,
    holes: NDArray[np.intp],
    used: NDArray[np.bool_],
    model: Model,
    lower: Floats,
    upper: Floats,
) -> NDArray[np.bool_]:
    """Curves with a fitted relaxation time that is shorter than the first used delay or longer than the last.

    `holes` are the curves that do not use every delay, and `used` the delays that these use.
    """
    times = [k for k, p in enumerate(model.parameters) if p.relaxation_time and lower[k] < upper[k]]
    if not times or np.shape(x) != used.shape[1:]:
        return np.zeros(len(value), dtype=bool)
    delay = np.asarray(x, dtype=np.float64)
    order = np.argsort(delay, kind="stable")
    order = order[delay[order] > 0]
    if not order.size:
        return np.zeros(len(value), dtype=bool)
    delay, used = delay[order], used[:, order]
    first, last = np.full((len(value), 1), delay[0]), np.full((len(value), 1), delay[-1])
    first[holes, 0] = delay[used.argmax(axis=1)]
    last[holes, 0] = delay[order.size - 1 - used[:, ::-1].argmax(axis=1)]
    return np.logical_or.reduce((value[:, times] < first) | (value[:, times] > last), axis=1)


def slow(packed: NDArray[np.void], model: Model, y: Floats, delay: Floats, run: Any = None) -> Bits:
    """`Flag.SLOW` for curves with a relaxation time longer than `SLOW` of the run, else 0; shape (n,).

    Parameters
    ----------
    packed : array of `layout.fit_dtype`, shape (n,)
        Fitted curves.
    y : array, shape (n, m)
        Curves.
    delay : array, shape (m,)
        In s.
    run : array, broadcastable to (n, 1), optional
        Length of the run in s. Where it is not known (NaN), the longest delay that has a value stands for it: a run is
        at least as long.
    """
    times = [k for k, parameter in enumerate(model.parameters) if parameter.relaxation_time]
    if not times or delay.shape != y.shape[1:]:
        return np.zeros(len(packed), np.uint32)
    reached = np.where(np.isfinite(y), delay, 0.0).max(axis=1, initial=0.0)
    told = np.full(1, np.nan) if run is None else np.asarray(run, dtype=np.float64).reshape(-1)
    length = np.where(np.isfinite(told), told, reached)
    late = (packed["value"][:, times] > SLOW * length[:, None]).any(axis=1)
    return np.where(late, np.uint32(Flag.SLOW), np.uint32(0))


def _poor(chi2: Floats, dof: NDArray[np.int32], config: FitConfig) -> NDArray[np.bool_]:
    """Curves whose chi2 is improbably large; only errors that are taken as they are can tell."""
    if config.covariance == "scaled" or not config.absolute_sigma or config.errors == "none":
        return np.zeros(len(chi2), dtype=bool)
    from scipy.special import chdtrc

    # no chi2 within three standard deviations of its mean is improbable: the exact tail is for the others
    high = np.flatnonzero((dof > 0) & np.isfinite(chi2) & (chi2 > dof + 3.0 * np.sqrt(2.0 * np.maximum(dof, 0))))
    poor = np.zeros(len(chi2), dtype=bool)
    poor[high] = chdtrc(dof[high], chi2[high]) < POOR
    return poor
