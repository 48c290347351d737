"""What a joint fit of all bins of a file holds: a packed record of numbers, errors and notes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.models import Floats
from xpcs_dask.physics.joint_fit import (
    Curves,
    Projected,
    Sharing,
    jackknife_covariance,
    own_variances,
    project,
    solve,
    weights_covariance,
)
from xpcs_dask.physics.law_record import DOUBTFUL, NARROW, Note
from xpcs_dask.physics.laws import UM2_PER_ANGSTROM2

BIN = "bin"
"""Stands for the dimension along which q changes."""
CLUSTERS = 6
"""Bins from which on they serve as clusters."""
FEWEST_POINTS = 4
"""Points that a bin needs."""
DOMINANT = 0.5
"""Share of the information on D that one bin may hold."""

REPORTED = {
    "D": "angstrom^2/s",
    "D_um2": "um^2/s",
    "n": "1",
    "stretch": "1",
    "contrast": "1",
    "baseline": "1",
}
"""Units of what can be shared."""


def reported_names(sharing: Sharing) -> tuple[str, ...]:
    """Names of the shared parameters, D in both units."""
    return ("D", "D_um2", *sharing.names[1:])


def joint_dtype(sharing: Sharing, bins: int) -> np.dtype[np.void]:
    """Structured dtype of one file."""
    p = len(reported_names(sharing))
    per_bin = ("tau", "contrast", "contrast_stderr", "baseline", "baseline_stderr", "chi2_bin")
    return np.dtype(
        [
            *((name, "<f8", (p,)) for name in ("value", "stderr", "stderr_weights", "stderr_cluster")),
            ("interval", "<f8", (p, 2)),
            *((name, "<f8") for name in ("chi2", "q_reference")),
            *((name, "<i4") for name in ("dof", "n_used", "n_bins")),
            ("flags", "<u4"),
            *((name, "<f8", (bins,)) for name in per_bin),
            ("n_points", "<i4", (bins,)),
        ]
    )


def fit_file(
    out: NDArray[np.void],
    delay: Floats,
    g2: Floats,
    sigma: Floats,
    q: Floats,
    sharing: Sharing,
    covariance: str,
    level: float,
    absolute: bool,
) -> None:
    """Fill the record of one file, ``out`` (1,); a file that cannot be fitted has NaN and a note.

    Parameters
    ----------
    g2, sigma : array, shape (bins, delays)
        Curves and their errors, infinite or NaN where a point is not used.
    q : array, shape (bins,)
    absolute : bool
        Whether errors are more than relative.
    """
    for name in out.dtype.names or ():
        out[name] = np.nan if out.dtype[name].base.kind == "f" else 0
    used = np.isfinite(g2) & np.isfinite(sigma) & (sigma > 0)
    used &= (np.isfinite(q) & (q > 0))[:, None]
    used &= (used.sum(axis=-1) >= FEWEST_POINTS)[:, None]
    held = np.flatnonzero(used.any(axis=-1))
    out["n_points"] = used.sum(axis=-1)
    out["n_used"], out["n_bins"] = used.sum(), held.size
    own = (2 - len({"contrast", "baseline"} & set(sharing.names))) * held.size
    dof = int(used.sum()) - own - len(sharing.names)
    if held.size < (2 if "n" in sharing.names else 1) or dof < 1:
        out["flags"] = Note.TOO_FEW_BINS
        return
    q0 = float(np.exp(np.log(q[held]).mean()))
    weight = np.where(used, 1.0 / np.where(used, sigma, 1.0), 0.0)[held]
    curves = Curves(delay, np.log(q[held] / q0), np.where(used, g2, 0.0)[held], weight)
    theta, ended = solve(curves, sharing)
    at = project(theta, curves, sharing)
    plain = weights_covariance(at)
    if not ended or not np.isfinite(plain).all():
        out["flags"] = Note.NOT_CONVERGED
        return
    chi2 = float((at.residuals**2).sum())
    out["chi2"], out["dof"], out["q_reference"] = chi2, dof, q0
    scale = chi2 / dof if not absolute else max(1.0, chi2 / dof)
    plain = plain if absolute else scale * plain
    _shared(out, theta, plain, scale if absolute else 1.0, at, sharing, q0, covariance, level)
    _bins(out, held, theta, at, curves, sharing, plain, 1.0 if absolute else scale)
    known = all(out[name][0, 0] <= out["value"][0, 0] for name in ("stderr", "stderr_weights"))
    vague = Note(0) if known else Note.UNDETERMINED
    out["flags"] = vague | _notes(at, curves, sharing, chi2, dof, absolute)


def _shared(
    out: NDArray[np.void],
    theta: Floats,
    plain: Floats,
    scale: float,
    at: Projected,
    sharing: Sharing,
    q0: float,
    covariance: str,
    level: float,
) -> None:
    """Shared parameters, their errors both ways, and intervals."""
    from scipy.special import ndtri, stdtrit

    bins = len(at.residuals)
    clustered = jackknife_covariance(at) if bins > 1 else np.full_like(plain, np.nan)
    which = np.array([0, 0, *range(1, len(theta))])
    value = np.array([np.exp(theta[0]) / q0**2, UM2_PER_ANGSTROM2 * np.exp(theta[0]) / q0**2, *theta[1:]])
    factor = np.where(which == 0, value, 1.0)
    weights, cluster = (np.sqrt(np.diag(matrix))[which] for matrix in (plain, clustered))
    by_bins = covariance == "cluster" or (covariance == "auto" and bins >= CLUSTERS)
    chosen = cluster if by_bins else weights * np.sqrt(scale)
    tail = 0.5 + level / 2
    reach = (stdtrit(bins - 1.0, tail) if by_bins and bins > 1 else ndtri(tail)) * chosen
    out["value"], out["stderr"] = value, factor * chosen
    out["stderr_weights"], out["stderr_cluster"] = factor * weights, factor * cluster
    with np.errstate(over="ignore"):
        low = np.where(which == 0, value * np.exp(-reach), value - reach)
        high = np.where(which == 0, value * np.exp(reach), value + reach)
    out["interval"] = np.stack([low, high], axis=-1)


def _bins(
    out: NDArray[np.void],
    held: NDArray[np.intp],
    theta: Floats,
    at: Projected,
    curves: Curves,
    sharing: Sharing,
    plain: Floats,
    scale: float,
) -> None:
    """Relaxation time, contrast and baseline of every bin used."""
    row: Any = out[0]
    row["tau"][held] = np.exp(-theta[0] - sharing.of(theta, "n", 2.0) * curves.log_q)
    row["chi2_bin"][held] = (at.residuals**2).sum(axis=-1)
    variances = own_variances(at._replace(own_covariance=scale * at.own_covariance), plain)
    for k, name in enumerate(at.own):
        row[name][held] = at.own[name]
        row[f"{name}_stderr"][held] = np.sqrt(variances[:, k])
    for name in ("contrast", "baseline"):
        if (place := sharing.index(name)) is not None:
            row[name][held] = theta[place]
            row[f"{name}_stderr"][held] = np.sqrt(plain[place, place])


def _notes(at: Projected, curves: Curves, sharing: Sharing, chi2: float, dof: int, absolute: bool) -> Note:
    from scipy.special import chdtrc

    share = (at.tangent[0] ** 2).sum(axis=-1)
    found = Note(0)
    if absolute and chdtrc(dof, chi2) < DOUBTFUL:
        found |= Note.LAW_DOUBTFUL
    if len(share) > 1 and share.max() > DOMINANT * share.sum():
        found |= Note.ONE_BIN_DOMINATES
    if "n" in sharing.names and np.ptp(curves.log_q) < np.log(NARROW):
        found |= Note.NARROW_RANGE
    return found
