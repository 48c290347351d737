"""What is known of tau(q) of one file: a packed record of numbers, errors, tests and notes."""

from __future__ import annotations

from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.models import Floats
from xpcs_dask.physics.law_fit import Points, Solution, solve
from xpcs_dask.physics.laws import Law, reported

DOUBTFUL = 0.01
"""Probability of the scatter about the law, below which the law is doubted."""
DOMINANT = 0.5
"""Share of the weight that one bin may hold."""
FEW = 3
"""Degrees of freedom below which the scatter tells little."""
NARROW = 1.5
"""Ratio of the largest to the smallest q used, below which two parameters are hardly told apart."""


class Note(IntFlag):
    """What to distrust about tau(q) of one file; 0 means nothing was found."""

    TOO_FEW_BINS = 1
    """Fewer usable bins than parameters: nothing was fitted."""
    SCATTER_UNKNOWN = 2
    """As many bins as parameters: nothing tells whether the law holds, errors are from the weights alone."""
    FEW_BINS = 4
    """Fewer than three bins beyond the parameters: the scatter tells little."""
    LAW_DOUBTFUL = 8
    """More scatter about the law than the errors of the bins allow (p < 0.01)."""
    ONE_BIN_DOMINATES = 16
    """One bin holds more than half of the weight."""
    NEGATIVE_TERM = 32
    """A coefficient came out negative: the data do not ask for that term, or not for this law."""
    NARROW_RANGE = 64
    """q spans less than a factor of 1.5, which hardly tells two parameters apart."""
    NOT_CONVERGED = 128
    """The fit did not end; there are no numbers."""
    UNDETERMINED = 256
    """The standard error of D (of the velocity, of the exponent) is larger than its value."""


def record_dtype(law: Law, bins: int) -> np.dtype[np.void]:
    """Structured dtype of one file."""
    p = len(law.parameters)
    return np.dtype(
        [
            ("value", "<f8", (p,)),
            ("stderr", "<f8", (p,)),
            ("stderr_weights", "<f8", (p,)),
            ("interval", "<f8", (p, 2)),
            ("correlation", "<f8"),
            ("test_statistic", "<f8"),
            ("test_p", "<f8"),
            ("chi2", "<f8"),
            ("chi2_p", "<f8"),
            ("dof", "<i4"),
            ("n_used", "<i4"),
            ("flags", "<u4"),
            ("residual", "<f8", (bins,)),
        ]
    )


def fit_laws(
    tau: Floats, stderr: Floats, q: Floats, q_err: Floats, used: NDArray[np.bool_], law: Law, level: float
) -> NDArray[np.void]:
    """Fit a law to every file.

    Parameters
    ----------
    tau, stderr, q, q_err, used : array, shape (n, m)
        Relaxation times and their errors (s), q and its error (1/angstrom), and which bins count: there all of them
        are finite and, but for `q_err`, positive.
    law : Law
        From `laws.LAWS`.
    level : float
        Of the intervals.

    Returns
    -------
    array of `record_dtype`, shape (n,)
    """
    out = np.zeros(len(tau), dtype=record_dtype(law, tau.shape[-1]))
    for name in out.dtype.names or ():
        if out.dtype[name].base.kind == "f":
            out[name] = np.nan
    out["n_used"] = used.sum(axis=-1)
    out["dof"] = np.maximum(out["n_used"] - law.count, 0)
    out["flags"] = np.where(out["n_used"] < law.count, Note.TOO_FEW_BINS, 0).astype(np.uint32)
    rows = np.flatnonzero(out["n_used"] >= law.count)
    if rows.size:
        points = Points.of(tau[rows], stderr[rows], q[rows], q_err[rows], used[rows])
        solution = solve(law, points)
        out[rows] = _describe(law, points, solution, out[rows], level)
    return out


def _describe(law: Law, points: Points, found: Solution, out: NDArray[np.void], level: float) -> NDArray[np.void]:
    """Fill the records of files that were fitted."""
    from scipy.special import chdtrc, ndtr, ndtri, stdtr, stdtrit

    good = found.converged & np.isfinite(found.covariance[:, -1, -1])
    dof = out["dof"].astype(np.float64)
    chi2 = np.where(good, (found.residuals**2).sum(axis=-1), np.nan)
    scale = np.maximum(1.0, np.where(dof > 0, chi2 / np.maximum(dof, 1.0), 1.0))
    value, variance, logarithmic = reported(law, found.u, found.covariance, points.centre, points.level)
    by_scatter = scale > 1.0
    # Errors that are taken as they are need no Student's t; those that the scatter enlarged know it from dof numbers.
    quantile = np.where(by_scatter, stdtrit(np.maximum(dof, 1.0), 0.5 + level / 2), ndtri(0.5 + level / 2))
    plain = np.sqrt(variance)
    wide = np.sqrt(variance * scale[:, None])
    reach = quantile[:, None] * wide
    with np.errstate(over="ignore", invalid="ignore"):  # of the form that does not apply, such as 0 times infinity
        low = np.where(logarithmic, value * np.exp(-reach), value - reach)
        high = np.where(logarithmic, value * np.exp(reach), value + reach)
    factor = np.where(logarithmic, np.abs(value), 1.0)
    rows = {
        "value": value,
        "stderr": factor * wide,
        "stderr_weights": factor * plain,
        "interval": np.stack([low, high], axis=-1),
    }
    for name, numbers in rows.items():
        out[name] = np.where(good.reshape(-1, *(1,) * (numbers.ndim - 1)), numbers, np.nan)
    out["chi2"] = chi2
    out["chi2_p"] = np.where(dof > 0, chdtrc(np.maximum(dof, 1.0), chi2), np.nan)
    out["residual"] = np.where(points.used & good[:, None], found.residuals, np.nan)
    if law.test:
        null = 2.0 if not law.powers else 0.0
        t = (value[:, -1] - null) / wide[:, -1]
        tail = np.where(by_scatter, stdtr(np.maximum(dof, 1.0), -np.abs(t)), ndtr(-np.abs(t)))
        out["test_statistic"] = np.where(good, t, np.nan)
        out["test_p"] = np.where(good, 2.0 * tail, np.nan)
        out["correlation"] = np.where(good, _correlation(law, found.covariance, variance, points.centre), np.nan)
    out["flags"] |= _notes(law, points, found, out, good)
    return out


def _correlation(law: Law, covariance: Floats, variance: Floats, centre: Floats) -> Floats:
    """Correlation of the two reported parameters; of ln amplitude with the exponent."""
    both = covariance[:, 0, 1]
    if not law.powers:  # ln amplitude = level - u0 + u1 centre
        both = centre * covariance[:, 1, 1] - both
        return np.asarray(both / np.sqrt(variance[:, 0] * variance[:, -1]))
    return np.asarray(both / np.sqrt(covariance[:, 0, 0] * covariance[:, 1, 1]))


def _notes(
    law: Law, points: Points, found: Solution, out: NDArray[np.void], good: NDArray[np.bool_]
) -> NDArray[np.uint32]:
    with np.errstate(invalid="ignore"):
        negative = (out["value"] < 0).any(axis=-1)
        first = -1 if law.name == "power" else 0
        vague = out["stderr"][:, first] > np.abs(out["value"][:, first])
    notes = np.zeros(len(out), np.uint32)
    for note, where in (
        (Note.SCATTER_UNKNOWN, good & (out["dof"] == 0)),
        (Note.FEW_BINS, good & (out["dof"] > 0) & (out["dof"] < FEW)),
        (Note.LAW_DOUBTFUL, good & (out["chi2_p"] < DOUBTFUL)),
        (Note.ONE_BIN_DOMINATES, good & (found.share > DOMINANT) & (out["n_used"] > 1)),
        (Note.NEGATIVE_TERM, good & bool(law.powers) & negative),
        (Note.NARROW_RANGE, good & (law.count > 1) & (_span(points) < np.log(NARROW))),
        (Note.NOT_CONVERGED, ~good),
        (Note.UNDETERMINED, good & vague),
    ):
        notes |= np.where(where, np.uint32(note), np.uint32(0))
    return notes


def _span(points: Points) -> Floats:
    """Logarithm of the largest over the smallest q used."""
    high = np.where(points.used, points.x, -np.inf).max(axis=-1)
    return np.asarray(high - np.where(points.used, points.x, np.inf).min(axis=-1))
