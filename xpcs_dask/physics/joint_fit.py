r"""One fit of all bins of a file: decays of rate D q^n with shared parameters; NumPy in, numbers out.

Contrasts and baselines of bins of their own are linear; they are eliminated bin by bin (variable projection), so that
scipy sees only what the bins share, with the exact Jacobian of the projected residuals.

References
----------
G. H. Golub and V. Pereyra, SIAM J. Numer. Anal. 10, 413 (1973).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.models import Floats

GRID = 96
"""Diffusion coefficients tried for the start."""
STRETCH = (0.1, 3.0)
"""Bounds of a shared stretching exponent."""
USUAL = {"contrast": 0.1, "baseline": 1.0}
"""Where nothing tells them."""
TOLERANCE = 1e-14
TINY = 1e-150
"""Length below which a column of weighted decays is nothing: its inverse would overflow."""
SAME = 1e-10
"""Part of a column below which what is left of it beside the other one is rounding."""


@dataclass(frozen=True)
class Sharing:
    """Which parameters the bins share; the others of contrast and baseline are each bin's own."""

    names: tuple[str, ...]
    """Of D, n, stretch, contrast, baseline, in that order; D is always among them."""

    def index(self, name: str) -> int | None:
        """Position of a shared parameter; None if it is not shared."""
        return self.names.index(name) if name in self.names else None

    def of(self, theta: Floats, name: str, default: float) -> float:
        """Value of a shared parameter."""
        k = self.index(name)
        return default if k is None else float(theta[k])


class Curves(NamedTuple):
    """Usable bins of one file."""

    delay: Floats
    log_q: Floats
    """ln(q / q0), shape (bins,)."""
    y: Floats
    weight: Floats
    """g2 and 1/sigma, shape (bins, delays); both are 0 where a point is not used."""


class Projected(NamedTuple):
    """What the shared parameters leave when each bin's own ones are at their best."""

    residuals: Floats
    """Weighted, shape (bins, delays)."""
    jacobian: Floats
    """Exact derivatives of the projected residuals, shape (shared, bins, delays)."""
    tangent: Floats
    """Weighted derivatives of g2 by the shared parameters, less what the own ones can do; same shape."""
    own: dict[str, Floats]
    """Contrast and baseline of every bin, shape (bins,)."""
    own_pull: Floats
    """Derivatives of the own parameters by the shared ones, shape (bins, own, shared)."""
    own_covariance: Floats
    """Of the own parameters with the shared ones held, shape (bins, own, own)."""


def project(theta: Floats, curves: Curves, sharing: Sharing) -> Projected:
    """Residuals at shared parameters theta, shape (shared,): ln of D q0^2 in 1/s, and the others as they are."""
    decay, by_shape = _decay(theta, curves, sharing)
    w = curves.weight
    shared = {name: sharing.of(theta, name, 0.0) for name in ("contrast", "baseline") if name in sharing.names}
    columns = {"contrast": decay, "baseline": np.ones_like(decay)}
    own_names = [name for name in columns if name not in shared]
    target = w * (curves.y - sum((value * columns[name] for name, value in shared.items()), np.zeros_like(decay)))
    phi = np.stack([w * columns[name] for name in own_names] or [np.zeros_like(decay)], axis=-1)
    q, inverse = _orthogonal(phi)
    coefficients = np.einsum("bij,bjk,bk->bi", inverse, np.swapaxes(q, 1, 2), target)
    residuals = target - np.einsum("bmk,bk->bm", phi, coefficients)
    own = dict(zip(own_names, coefficients.T, strict=False))
    contrast = own["contrast"][:, None] if "contrast" in own else np.full((len(w), 1), shared["contrast"])
    steep = [w * (columns[name] if name in shared else contrast * by_shape[name]) for name in sharing.names]
    direct = np.stack(steep)
    pull = np.einsum("bij,bmj,sbm->bis", inverse, q, direct)
    tangent = direct - np.einsum("bmi,bis->sbm", phi, pull)
    # Second term of Golub and Pereyra: moving the decay turns the plane that residuals are projected out of.
    turn = np.zeros((len(sharing.names), len(w), phi.shape[-1]))
    if "contrast" in own:
        for k, name in enumerate(sharing.names):
            if name in by_shape:
                turn[k, :, own_names.index("contrast")] = (w * by_shape[name] * residuals).sum(axis=-1)
    jacobian = -tangent - np.einsum("bmj,bij,sbi->sbm", q, inverse, turn)
    return Projected(residuals, jacobian, tangent, own, -pull, np.einsum("bij,bkj->bik", inverse, inverse))


def _decay(theta: Floats, curves: Curves, sharing: Sharing) -> tuple[Floats, dict[str, Floats]]:
    """exp[-2 (t rate)^stretch] of every bin, and its derivatives by ln D, n and stretch."""
    n, stretch = sharing.of(theta, "n", 2.0), sharing.of(theta, "stretch", 1.0)
    log_rate = theta[0] + n * curves.log_q
    with np.errstate(divide="ignore"):
        log_x = log_rate[:, None] + np.log(curves.delay)
    with np.errstate(over="ignore", invalid="ignore"):
        power = np.exp(stretch * log_x)
        decay = np.exp(-2.0 * power)
        slope = np.where(decay > 0, -2.0 * power * decay, 0.0)
    finite = np.where(np.isfinite(log_x), log_x, 0.0)
    return decay, {
        "D": stretch * slope,
        "n": stretch * slope * curves.log_q[:, None],
        "stretch": finite * slope,
    }


def _orthogonal(phi: Floats) -> tuple[Floats, Floats]:
    """Orthonormal columns q (bins, delays, k) and what makes them of phi, (bins, k, k): Gram and Schmidt, twice.

    A column that is nothing, or the other one over again, is left out as zeros.
    """
    q, made_of = np.zeros_like(phi), np.zeros((len(phi), phi.shape[-1], phi.shape[-1]))
    done: list[int] = []
    for j in reversed(range(phi.shape[-1])):
        left = phi[:, :, j].copy()
        share = np.zeros((len(phi), phi.shape[-1]))
        share[:, j] = 1.0
        length = np.sqrt((left**2).sum(axis=-1))
        for i in (*done, *done):
            along = (q[:, :, i] * left).sum(axis=-1)[:, None]
            left -= along * q[:, :, i]
            share -= along * made_of[:, :, i]
        norm = np.sqrt((left**2).sum(axis=-1))
        there = norm > np.maximum(SAME * length, TINY)
        factor = np.divide(1.0, norm, out=np.zeros_like(norm), where=there)[:, None]
        q[:, :, j], made_of[:, :, j] = factor * left, factor * share
        done.append(j)
    return q, made_of


def start(curves: Curves, sharing: Sharing) -> Floats:
    """Shared parameters to begin with: the best of a grid of D, each bin with its own contrast and baseline."""
    t = curves.delay[curves.delay > 0]
    low = -np.log(10.0 * t[-1]) - 2.0 * curves.log_q.max()
    high = -np.log(0.1 * t[0]) - 2.0 * curves.log_q.min()
    tried = np.linspace(low, high, GRID)
    best = tried[int(np.argmax([_explained(d, curves) for d in tried]))]
    found = project(np.array([best]), curves, Sharing(("D",)))
    theta = {"D": best, "n": 2.0, "stretch": 1.0}
    for k, name in enumerate(("contrast", "baseline")):
        variance = found.own_covariance[:, k, k]
        trust = np.divide(1.0, variance, out=np.zeros_like(variance), where=variance > 0)
        total = trust.sum()
        theta[name] = float((trust * found.own[name]).sum() / total) if total > 0 else USUAL[name]
    return np.array([theta[name] for name in sharing.names])


def _explained(log_rate: float, curves: Curves) -> float:
    """Sum of squares that decays of this rate save, over all bins."""
    rate = np.exp(log_rate + 2.0 * curves.log_q)
    w = curves.weight**2
    total = w.sum(axis=-1, keepdims=True)
    decay = np.exp(-2.0 * curves.delay * rate[:, None])
    decay -= (w * decay).sum(axis=-1, keepdims=True) / total
    square = (w * decay**2).sum(axis=-1)
    along = (w * decay * curves.y).sum(axis=-1)
    return float(np.divide(along**2, square, out=np.zeros_like(square), where=square > TINY).sum())


def solve(curves: Curves, sharing: Sharing) -> tuple[Floats, bool]:
    """Shared parameters at the minimum, and whether it is one."""
    from scipy.optimize import least_squares

    lower = np.full(len(sharing.names), -np.inf)
    upper = -lower
    if (k := sharing.index("stretch")) is not None:
        lower[k], upper[k] = STRETCH
    count = len(sharing.names)

    @lru_cache(maxsize=4)
    def at(theta: bytes) -> Projected:
        return project(np.frombuffer(theta), curves, sharing)

    found = least_squares(
        lambda theta: at(theta.tobytes()).residuals.reshape(-1),
        start(curves, sharing),
        lambda theta: at(theta.tobytes()).jacobian.reshape(count, -1).T,
        bounds=(lower, upper),
        x_scale="jac",
        ftol=TOLERANCE,
        xtol=TOLERANCE,
        gtol=TOLERANCE,
        max_nfev=500,
    )
    inside = bool(((found.x > lower) & (found.x < upper)).all())
    return found.x, bool(found.status > 0 and inside and np.isfinite(found.x).all())


def weights_covariance(at: Projected) -> Floats:
    """Covariance of the shared parameters if errors are as told and independent; NaN where there is none."""
    return _inverse(_information(at).sum(axis=0))


def jackknife_covariance(at: Projected) -> Floats:
    r"""Sandwich with bins as clusters (CV3): what leaving out one bin after the other does, to first order.

    .. math:: V = \frac{B - 1}{B} \sum_b (A - A_b)^{-1} g_b g_b^T (A - A_b)^{-1}

    with the information A_b and the score g_b of bin b. It trusts neither errors nor the independence of delays.
    """
    information = _information(at)
    scores = np.einsum("sbm,bm->bs", at.tangent, at.residuals)
    bins = len(scores)
    total = information.sum(axis=0)
    moved = np.stack([_inverse(total - one) @ g for one, g in zip(information, scores, strict=True)])
    return np.asarray((bins - 1) / bins * moved.T @ moved)


def _information(at: Projected) -> Floats:
    return np.einsum("sbm,tbm->bst", at.tangent, at.tangent)


def _inverse(matrix: Floats) -> Floats:
    scale = np.sqrt(np.diag(matrix))
    if not (scale > 0).all():
        return np.full_like(matrix, np.nan)
    scaled = matrix / np.outer(scale, scale)
    if not np.isfinite(scaled).all() or np.linalg.cond(scaled) > 1e13:
        return np.full_like(matrix, np.nan)
    return np.asarray(np.linalg.inv(scaled) / np.outer(scale, scale))


def own_variances(at: Projected, shared: Floats) -> NDArray[np.float64]:
    """Variances of the own parameters, those of the shared ones included; shape (bins, own)."""
    carried = np.einsum("bis,st,bit->bi", at.own_pull, shared, at.own_pull)
    return np.asarray(np.einsum("bii->bi", at.own_covariance) + carried)
