"""The last word of the NumPy twin: Gauss-Newton in residual form for all curves at once, and their covariances."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.kernel.table import SINGULAR
from xpcs_dask.fitting.kernel.twin_curves import LARGEST, Curves, Rows, chunks, row_sums
from xpcs_dask.fitting.models import Floats

LAST_PASSES = 20
FREE_STEP = 1e-4
"""Longest last step, which is taken without an evaluation."""
CONFIRMED, STATIONARY, ROUNDING_ERROR = 1e-10, 1e-5, 2e-31
"""A minimum: a Gauss-Newton step gains less than this share of chi2, and the scaled gradient is no larger than that;
or chi2 is the rounding of y."""


def normal_equations(u: Floats, c: Curves, rows: Rows, z: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Chi2, normal matrix ``(4, 4, n)`` and pull ``J r`` ``(4, n)`` of some curves at z, and chi2 of an exact fit."""
    n = rows.size
    chi2, H, pull, exact = np.empty(n), np.empty((4, 4, n)), np.empty((4, n)), np.empty(n)
    for k in chunks(n, u.size):
        w2, (a, beta, stretch, d) = c.w2[rows[k]], z[:, k, None]
        v = u - beta
        double = v * stretch
        np.minimum(double, LARGEST, out=double)
        np.exp(double, out=double)
        double *= -2.0
        e = np.exp(double)
        residual = c.y[rows[k]]
        level = np.abs(residual)
        level += np.abs(c.mean[rows[k], None]) + np.abs(d)
        exact[k] = row_sums(w2 * level, level)
        residual -= d
        residual -= a * e
        slope = np.multiply(e, double, out=double)
        slope *= -a
        J = e, slope * stretch, np.multiply(slope, -v, out=v), np.ones_like(e)
        weighted = [w2 * row for row in J[:3]]
        weighted.append(w2)
        chi2[k] = row_sums(w2 * residual, residual)
        for i in range(4):
            pull[i, k] = row_sums(weighted[i], residual)
            for j in range(i + 1):
                H[i, j, k] = H[j, i, k] = row_sums(weighted[i], J[j])
    return chi2, H, pull, exact * ROUNDING_ERROR


def last_word(u: Floats, c: Curves, z: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Gauss-Newton steps from z ``(4, n)`` (changed in place) until nothing is left to gain.

    Returns chi2, covariance ``(4, 4, n)`` in z (scaled weights; NaN on bounds, 0 where held), and which are minima.
    """
    n = z.shape[1]
    chi2, V, minimum = np.full(n, np.inf), np.full((4, 4, n), np.nan), np.zeros(n, dtype=np.bool_)
    trial, step, share, k = z.copy(), np.zeros_like(z), np.ones(n), np.arange(n)
    for _ in range(LAST_PASSES):
        if not k.size:
            break
        here = trial[:, k]
        new, H, pull, exact = normal_equations(u, c, k, here)
        better = new < chi2[k]
        share[k[~better]] *= 0.5  # too far: the model curves more than Gauss-Newton knows
        if not better.all():
            new, H, pull, exact, here = new[better], H[:, :, better], pull[:, better], exact[better], here[:, better]
        i = k[better]
        low, high = c.low[:, i], c.high[:, i]
        z[:, i], chi2[i] = here, new
        V[:, :, i] = inverse = covariance(H, here, low, high)
        step[:, i] = np.einsum("ijn,jn->in", np.nan_to_num(inverse), pull)
        blocked = ((here <= low) & (pull <= 0)) | ((here >= high) & (pull >= 0)) | (low >= high)
        size = np.sqrt(np.einsum("iin->in", H) * new)
        still = (blocked | (np.abs(pull) <= STATIONARY * size)).all(axis=0)
        gain = np.einsum("in,in->n", step[:, i], pull)
        minimum[i] = (new <= exact) | (still & (gain <= CONFIRMED * new))
        trial[:, k] = np.minimum(np.maximum(z[:, k] + share[k] * step[:, k], c.low[:, k]), c.high[:, k])
        last = i[minimum[i] & (new > exact) & (np.abs(step[:, i]) < FREE_STEP).all(axis=0)]
        z[:, last] = trial[:, last]
        k = k[~minimum[k]]
    return chi2, V, minimum


def covariance(H: Floats, z: Floats, low: Floats, high: Floats) -> Floats:
    """Inverse of the normal matrix over parameters that are free and inside the box; NaN for others, 0 where held.

    A Cholesky factor of the matrix scaled to unit diagonal, element by element over all curves at once.
    """
    diagonal = np.einsum("kkn->kn", H)
    held = low >= high
    free = ~held & (z > low) & (z < high) & (diagonal > 0)
    root = np.where(free, 1.0 / np.sqrt(np.where(free, diagonal, 1.0)), 0.0)
    L, V = np.zeros_like(H), np.empty_like(H)
    singular = np.zeros(H.shape[2], dtype=np.bool_)
    for i in range(4):
        for j in range(i + 1):
            t = H[i, j] * root[i] * root[j] if i != j else free[i].astype(np.float64)
            for k in range(j):
                t -= L[i, k] * L[j, k]
            if i != j:
                L[i, j] = t * L[j, j]  # the diagonal holds reciprocals
                continue
            singular |= free[i] & (t < SINGULAR)
            L[i, i] = np.where(free[i], 1.0 / np.sqrt(np.maximum(t, SINGULAR)), 0.0)
    for j in range(4):  # the inverse factor, in place
        for i in range(j + 1, 4):
            t = L[i, j] * L[j, j]
            for k in range(j + 1, i):
                t += L[i, k] * L[k, j]
            L[i, j] = -t * L[i, i]
    unknown = singular | ~free
    for i in range(4):
        for j in range(i + 1):
            t = L[i, i] * L[i, j]
            for k in range(i + 1, 4):
                t += L[k, i] * L[k, j]
            t *= root[i] * root[j]
            V[i, j] = V[j, i] = np.where(unknown[i] | unknown[j], np.where(held[i] | held[j], 0.0, np.nan), t)
    return V
