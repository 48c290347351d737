"""The single kernel's algorithm in NumPy alone: oracle of the compiled one in tests, and its stand-in without Numba.

All curves of a block advance together; one that has converged drops out. Sums are taken row by row (`einsum`, no BLAS),
so a curve's bits do not depend on its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.kernel.family import Family, KernelFit
from xpcs_dask.fitting.kernel.table import (
    CERTAIN,
    FAST_STARTS,
    N_TABLE,
    SAME_MINIMUM,
    SAME_STRETCH,
    SAME_TAU,
    SINGULAR,
    STRUCK,
    SUM_ROUNDING,
    THOROUGH_STARTS,
    log_delays,
    start_table,
)
from xpcs_dask.fitting.models import Floats

BLOCK = 1024
"""Curves at a time: enough to pay for an iteration, few enough for the cache."""
TOLERANCE = 1e-11
MAX_ITERATIONS = 100
LAST_PASSES = 12
CONFIRMED, STATIONARY, ROUNDING_ERROR = 1e-10, 1e-5, 2e-31
"""A minimum: a Gauss-Newton step gains less than this share of chi2, and the scaled gradient is no larger than that;
or chi2 is the rounding of y."""


def _sum(a: Floats, b: Floats) -> Floats:
    return np.einsum("ij,ij->i", a, b)


@dataclass(slots=True)
class Curves:
    """Loaded curves of one block: squared weights that average 1, y less its weighted mean, and their sums."""

    y: Floats
    w2: Floats
    ww: Floats
    wy: Floats
    yy: Floats
    low: Floats
    high: Floats
    mean: Floats
    scale: Floats

    def take(self, rows: NDArray[np.intp]) -> Curves:
        """Return some of the curves."""
        return Curves(*(getattr(self, f.name)[rows] for f in fields(self)))


def load(y: Floats, weight: Floats, lower: Floats, upper: Floats) -> Curves:
    """Scale and shift curves as the compiled kernel does; bounds follow the shift of the baseline."""
    good = np.isfinite(y) & np.isfinite(weight) & (weight > 0)
    w2 = np.where(good, weight, 0.0) ** 2
    y = np.where(good, y, 0.0)
    total, used = w2.sum(axis=1), good.sum(axis=1)
    mean, scale = _sum(w2, y) / total, total / used
    w2 = w2 / scale[:, None]
    y = np.where(good, y - mean[:, None], 0.0)
    low, high = np.tile(lower, (len(y), 1)), np.tile(upper, (len(y), 1))
    low[:, 3] -= mean
    high[:, 3] -= mean
    return Curves(y, w2, used.astype(np.float64), _sum(w2, y), _sum(w2 * y, y), low, high, mean, scale)


def linear_box(
    c: Curves, ee: Floats, e1: Floats, ey: Floats
) -> tuple[Floats, Floats, NDArray[np.bool_], NDArray[np.bool_]]:
    """Best contrast and baseline in their box, and whether each is free."""
    det = ee * c.ww - e1 * e1
    with np.errstate(divide="ignore", invalid="ignore"):
        a, d = (ey * c.ww - c.wy * e1) / det, (c.wy * ee - ey * e1) / det
    al, ah, dl, dh = c.low[:, 0], c.high[:, 0], c.low[:, 3], c.high[:, 3]
    inside = (det > 1e-13 * ee * c.ww) & (al <= a) & (a <= ah) & (dl <= d) & (d <= dh) & (ah > al) & (dh > dl)
    free_a, free_d = inside.copy(), inside.copy()
    k = np.flatnonzero(~inside)
    if k.size:
        a[k], d[k], free_a[k], free_d[k] = _linear_edges(
            ee[k], e1[k], c.ww[k], ey[k], c.wy[k], al[k], ah[k], dl[k], dh[k]
        )
    return a, d, free_a, free_d


def _linear_edges(
    ee: Floats, e1: Floats, ww: Floats, ey: Floats, wy: Floats, al: Floats, ah: Floats, dl: Floats, dh: Floats
) -> tuple[Floats, Floats, NDArray[np.bool_], NDArray[np.bool_]]:
    """Best of the four edges of the box."""
    a, d, best = al.copy(), dl.copy(), np.full(len(ee), np.inf)
    free_a, free_d = np.zeros(len(ee), dtype=np.bool_), np.zeros(len(ee), dtype=np.bool_)
    for edge in range(4):
        if edge < 2:
            ta = al if edge == 0 else ah
            free = (wy - ta * e1) / ww
            td = np.clip(free, dl, dh)
            fa, fd = np.zeros_like(free_a), (free == td) & (dh > dl)
        else:
            td = dl if edge == 2 else dh
            free = np.divide(ey - td * e1, ee, out=al.copy(), where=ee > 0)
            ta = np.clip(free, al, ah)
            fa, fd = (free == ta) & (ah > al), np.zeros_like(free_d)
        value = ta * ta * ee + 2 * ta * td * e1 + td * td * ww - 2 * ta * ey - 2 * td * wy
        better = value < best
        best = np.where(better, value, best)
        a, d = np.where(better, ta, a), np.where(better, td, d)
        free_a, free_d = np.where(better, fa, free_a), np.where(better, fd, free_d)
    return a, d, free_a, free_d


def decay_sums(u: Floats, c: Curves, beta: Floats, stretch: Floats) -> Floats:
    """Return the twelve sums ``(12, n)`` in the order of the compiled kernel."""
    v = u - beta[:, None]
    power = np.exp(np.clip(stretch[:, None] * v, -708.0, 6.5))
    e = np.exp(-2.0 * power)
    q = -2.0 * e * power
    s = q * v
    we, wq, ws = c.w2 * e, c.w2 * q, c.w2 * s
    return np.array(
        [
            *(_sum(we, e), we.sum(axis=1), _sum(we, c.y)),
            *(_sum(wq, e), wq.sum(axis=1), _sum(wq, c.y)),
            *(_sum(ws, e), ws.sum(axis=1), _sum(ws, c.y)),
            *(_sum(wq, q), _sum(wq, s), _sum(ws, s)),
        ]
    )


def reduced_problem(
    S: Floats, c: Curves, stretch: Floats, a: Floats, d: Floats, free_a: NDArray[np.bool_], free_d: NDArray[np.bool_]
) -> tuple[Floats, ...]:
    """Half gradient and Kaufman Hessian in (ln tau, stretch)."""
    ee, e1, _, qe, q1, qy, ve, v1, vy, qq, qv, vv = S
    slope = -a * stretch
    g0, g1 = slope * (qy - a * qe - d * q1), a * (vy - a * ve - d * v1)
    h00, h01, h11 = slope * slope * qq, slope * a * qv, a * a * vv
    both = free_a & free_d
    with np.errstate(divide="ignore", invalid="ignore"):
        det = ee * c.ww - e1 * e1
        iaa = np.where(both, c.ww / det, np.where(free_a, 1.0 / ee, 0.0))
        idd = np.where(both, ee / det, np.where(free_d, 1.0 / c.ww, 0.0))
        iad = np.where(both, -e1 / det, 0.0)
    b0a, b0d, b1a, b1d = slope * qe, slope * q1, a * ve, a * v1
    h00 = h00 - b0a * b0a * iaa - 2 * b0a * b0d * iad - b0d * b0d * idd
    h01 = h01 - b0a * b1a * iaa - (b0a * b1d + b0d * b1a) * iad - b0d * b1d * idd
    h11 = h11 - b1a * b1a * iaa - 2 * b1a * b1d * iad - b1d * b1d * idd
    return g0, g1, h00, h01, h11


def plane_step(
    g: tuple[Floats, Floats], h: tuple[Floats, Floats, Floats], z: Floats, c: Curves
) -> tuple[Floats, Floats]:
    """Exact minimiser of the quadratic in the 2-D box of (ln tau, stretch); h = (h00, h01, h11), damping included."""
    (g0, g1), (a00, h01, a11) = g, h
    det = a00 * a11 - h01 * h01
    with np.errstate(divide="ignore", invalid="ignore"):
        s0, s1 = (g0 * a11 - g1 * h01) / det, (g1 * a00 - g0 * h01) / det
    l0, u0, l1, u1 = c.low[:, 1] - z[0], c.high[:, 1] - z[0], c.low[:, 2] - z[1], c.high[:, 2] - z[1]
    outside = ~((det > 1e-14 * a00 * a11) & (l0 <= s0) & (s0 <= u0) & (l1 <= s1) & (s1 <= u1))
    k = np.flatnonzero(outside)
    best = np.full(k.size, np.inf)
    g0, g1, a00, h01, a11, l0, u0, l1, u1 = (t[k] for t in (g0, g1, a00, h01, a11, l0, u0, l1, u1))
    for edge in range(4 if k.size else 0):
        if edge < 2:
            t0 = l0 if edge == 0 else u0
            t1 = np.clip(np.divide(g1 - h01 * t0, a11, out=np.zeros_like(t0), where=a11 > 0), l1, u1)
        else:
            t1 = l1 if edge == 2 else u1
            t0 = np.clip(np.divide(g0 - h01 * t1, a00, out=np.zeros_like(t1), where=a00 > 0), l0, u0)
        value = a00 * t0 * t0 + 2 * h01 * t0 * t1 + a11 * t1 * t1 - 2 * g0 * t0 - 2 * g1 * t1
        better = value < best
        best = np.where(better, value, best)
        s0[k], s1[k] = np.where(better, t0, s0[k]), np.where(better, t1, s1[k])
    return s0, s1


def chi2_of(S: Floats, c: Curves, a: Floats, d: Floats) -> Floats:
    """Weighted sum of squares from the sums."""
    return c.yy + a * a * S[0] + 2 * a * d * S[1] + d * d * c.ww - 2 * a * S[2] - 2 * d * c.wy


def refine(u: Floats, c: Curves, beta: Floats, stretch: Floats) -> tuple[Floats, Floats, NDArray[np.int32]]:
    """Levenberg-Marquardt from one start a curve; returns z (n, 4), chi2 and evaluations."""
    n = len(beta)
    S = decay_sums(u, c, beta, stretch)
    a, d, fa, fd = linear_box(c, S[0], S[1], S[2])
    chi2 = chi2_of(S, c, a, d)
    damp, growth, evaluations = np.full(n, 1e-3), np.full(n, 2.0), np.ones(n, dtype=np.int32)
    active = np.arange(n)
    z = np.stack([a, beta, stretch, d], axis=1)
    for _ in range(MAX_ITERATIONS):
        if not active.size:
            break
        k = active
        part = c.take(k)
        g0, g1, h00, h01, h11 = reduced_problem(S[:, k], part, z[k, 2], z[k, 0], z[k, 3], fa[k], fd[k])
        tiny = 1e-14 * part.ww
        a00, a11 = h00 + damp[k] * np.maximum(h00, 0) + tiny, h11 + damp[k] * np.maximum(h11, 0) + tiny
        s0, s1 = plane_step((g0, g1), (a00, h01, a11), z[k, 1:3].T, part)
        predicted = 2 * (g0 * s0 + g1 * s1) - (h00 * s0 * s0 + 2 * h01 * s0 * s1 + h11 * s1 * s1)
        done = predicted <= TOLERANCE * chi2[k]
        if done.all():
            break
        if done.any():
            k, s0, s1, predicted = k[~done], s0[~done], s1[~done], predicted[~done]
            part = part.take(np.flatnonzero(~done))
        new_beta = np.clip(z[k, 1] + s0, part.low[:, 1], part.high[:, 1])
        new_stretch = np.clip(z[k, 2] + s1, part.low[:, 2], part.high[:, 2])
        T = decay_sums(u, part, new_beta, new_stretch)
        evaluations[k] += 1
        a2, d2, fa2, fd2 = linear_box(part, T[0], T[1], T[2])
        new = chi2_of(T, part, a2, d2)
        better = new < chi2[k]
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = np.nan_to_num(2 * (chi2[k] - new) / predicted - 1)
        i, worse = k[better], k[~better]
        z[i] = np.stack([a2, new_beta, new_stretch, d2], axis=1)[better]
        fa[i], fd[i], S[:, i], chi2[i] = fa2[better], fd2[better], T[:, better], new[better]
        good = gain[better]
        damp[i] = np.where(good > -0.5, np.maximum(damp[i] * np.maximum(0.1, 1 - good**3), 1e-12), damp[i] * 2)
        growth[i] = 2.0
        damp[worse] *= growth[worse]
        growth[worse] *= 2.0
        # sums have cancelled where they cannot be lowered; the residual form goes on from there
        rounded = ~better & (predicted <= 1e-6 * np.abs(chi2[k]) + SUM_ROUNDING * part.yy)
        active = k[~rounded & (better | (damp[k] < 1e12))]
    return z, chi2, evaluations


def score_nodes(c: Curves, decays: Floats) -> Floats:
    """Chi2 (less a constant) of every node, contrast and baseline at their best: (n, nodes)."""
    score = np.empty((len(c.y), len(decays)))
    wy = c.w2 * c.y
    for k, row in enumerate(decays):
        ee, e1, ey = (np.einsum("ij,j->i", left, right) for left, right in ((c.w2, row * row), (c.w2, row), (wy, row)))
        a, d, _, _ = linear_box(c, ee, e1, ey)
        score[:, k] = a * a * ee + 2 * a * d * e1 + d * d * c.ww - 2 * a * ey - 2 * d * c.wy
    return score


def between_nodes(score: Floats, node_tau: Floats, node: NDArray[np.intp]) -> Floats:
    """Ln tau at the bottom of the parabola through the best node of the first row and its neighbours."""
    rows, k = np.arange(len(score)), np.clip(node, 1, N_TABLE - 2)
    left, middle, right = score[rows, k - 1], score[rows, k], score[rows, k + 1]
    curvature = left - 2 * middle + right
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.where((k == node) & (curvature > 0), np.clip(0.5 * (left - right) / curvature, -1, 1), 0.0)
    return node_tau[node] + shift * (node_tau[1] - node_tau[0])


def search(
    u: Floats, c: Curves, lower: Floats, upper: Floats, given: Floats | None, starts: tuple[int, int]
) -> tuple[Floats, NDArray[np.int32], NDArray[np.bool_]]:
    """Best of `starts` starts a curve (significant decay, or not) and of the user's; z, evaluations, disagreement."""
    node_tau, node_stretch, decays = start_table(u, lower, upper)
    score = score_nodes(c, decays[:N_TABLE])
    node = score.argmin(axis=1)
    z, chi2, evaluations = refine(u, c, between_nodes(score, node_tau, node), node_stretch[node])
    disagree = np.zeros(len(z), dtype=np.bool_)

    def attempt(rows: NDArray[np.intp], beta: Floats, stretch: Floats) -> None:
        part = c.take(rows)
        beta, stretch = (
            np.clip(beta, part.low[:, 1], part.high[:, 1]),
            np.clip(stretch, part.low[:, 2], part.high[:, 2]),
        )
        z2, chi2_2, more = refine(u, part, beta, stretch)
        evaluations[rows] += more
        disagree[rows] |= np.abs(chi2_2 - chi2[rows]) > SAME_MINIMUM * chi2[rows] + SUM_ROUNDING * part.yy
        won = chi2_2 < chi2[rows]
        z[rows[won]], chi2[rows[won]] = z2[won], chi2_2[won]

    doubtful = (c.yy - chi2) * (c.ww - 4) < CERTAIN * chi2
    tries = np.where(doubtful, starts[1], starts[0])
    again = np.flatnonzero(tries > 1)
    if again.size:
        score = np.hstack([score[again], score_nodes(c.take(again), decays[N_TABLE:])])
        last = node[again]
        for k in range(1, max(starts)):
            near = np.abs(node_tau - node_tau[last][:, None]) < SAME_TAU
            near &= np.abs(node_stretch - node_stretch[last][:, None]) < SAME_STRETCH
            score[near] = STRUCK
            last = score.argmin(axis=1)
            left = (score[np.arange(len(last)), last] < STRUCK) & (tries[again] > k)
            attempt(again[left], node_tau[last[left]], node_stretch[last[left]])
    if given is not None:
        attempt(np.arange(len(z)), given[:, 1], given[:, 2])
    return z, evaluations, disagree


def columns(u: Floats, c: Curves, z: Floats) -> tuple[Floats, Floats]:
    """Weighted residuals (n, m) and derivatives (n, 4, m) in z."""
    v = u - z[:, 1, None]
    power = np.exp(np.clip(z[:, 2, None] * v, -708.0, 6.5))
    e = np.exp(-2.0 * power)
    slope = 2.0 * z[:, 0, None] * e * power
    w = np.sqrt(c.w2)
    residual = w * (c.y - z[:, 3, None] - z[:, 0, None] * e)
    return residual, np.stack([w * e, w * slope * z[:, 2, None], -w * slope * v, w], axis=1)


def last_word(u: Floats, c: Curves, z: Floats) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    """Gauss-Newton steps in residual form until nothing is left to gain.

    Returns z, chi2, covariance (n, 4, 4) in z (scaled weights; NaN on bounds, 0 where held), and which are minima.
    """
    n = len(z)
    chi2, V, minimum = np.full(n, np.inf), np.full((n, 4, 4), np.nan), np.zeros(n, dtype=np.bool_)
    trial, k = z.copy(), np.arange(n)
    for _ in range(LAST_PASSES):
        part = c if k.size == n else c.take(k)
        residual, J = columns(u, part, trial[k])
        new = _sum(residual, residual)
        better = new < chi2[k]
        k, J, residual = k[better], J[better], residual[better]
        if not k.size:
            break
        part = c.take(k)
        z[k], chi2[k] = trial[k], new[better]
        pull = np.einsum("nki,ni->nk", J, residual)
        V[k] = covariance(part, z[k], J)
        step = np.einsum("nkj,nj->nk", np.nan_to_num(V[k]), pull)
        blocked = (z[k] <= part.low) & (pull <= 0) | (z[k] >= part.high) & (pull >= 0) | (part.low >= part.high)
        size = np.sqrt(np.einsum("nki,nki->nk", J, J) * chi2[k, None])
        still = (blocked | (np.abs(pull) <= STATIONARY * size)).all(axis=1)
        level = np.abs(part.y) + (np.abs(part.mean) + np.abs(z[k, 3]))[:, None]
        exact = chi2[k] <= ROUNDING_ERROR * _sum(part.w2 * level, level)
        minimum[k] = exact | (still & (_sum(step, pull) <= CONFIRMED * chi2[k]))
        trial[k] = np.clip(z[k] + step, part.low, part.high)
        k = k[~minimum[k]]
    return z, chi2, V, minimum


def covariance(c: Curves, z: Floats, J: Floats) -> Floats:
    """Inverse of the normal matrix over parameters that are free and inside the box; NaN for others, 0 where held.

    A Cholesky factor of the matrix scaled to unit diagonal, element by element over all curves at once.
    """
    H = np.einsum("nki,nji->kjn", J, J)
    held = (c.low >= c.high).T
    free = ~held & ((z > c.low) & (z < c.high)).T & (np.einsum("kkn->kn", H) > 0)
    root = np.where(free, 1.0 / np.sqrt(np.where(free, np.einsum("kkn->kn", H), 1.0)), 0.0)
    L, V = np.zeros_like(H), np.empty_like(H)
    singular = np.zeros(H.shape[2], dtype=np.bool_)
    for i in range(4):
        for j in range(i + 1):
            t = H[i, j] * root[i] * root[j] if i != j else free[i].astype(np.float64)
            t = t - np.einsum("kn,kn->n", L[i, :j], L[j, :j])
            if i != j:
                L[i, j] = t * L[j, j]  # the diagonal holds reciprocals
                continue
            singular |= free[i] & (t < SINGULAR)
            L[i, i] = np.where(free[i], 1.0 / np.sqrt(np.maximum(t, SINGULAR)), 0.0)
    for j in range(4):  # the inverse factor, in place
        for i in range(j + 1, 4):
            t = L[i, j] * L[j, j] + np.einsum("kn,kn->n", L[i, j + 1 : i], L[j + 1 : i, j])
            L[i, j] = -t * L[i, i]
    for i in range(4):
        for j in range(i + 1):
            t = np.einsum("kn,kn->n", L[i:, i], L[i:, j]) * root[i] * root[j]
            unknown = singular | ~free[i] | ~free[j]
            V[i, j] = V[j, i] = np.where(unknown, np.where(held[i] | held[j], 0.0, np.nan), t)
    return V.transpose(2, 0, 1)


def run_twin(
    family: Family, x: Floats, y: Floats, weight: Floats, start: Floats | None, *, thorough: bool = False
) -> KernelFit:
    """Fit a stack of the single family by least squares; the interface of the compiled kernel's `run_kernel`."""
    n, p = y.shape[0], len(family.lower)
    lower, upper = family.log_box
    u = log_delays(x)
    z, covariances = np.zeros((n, p)), np.full((n, p, p), np.nan)
    chi2, evaluations = np.full(n, np.nan), np.zeros(n, dtype=np.int32)
    converged, disagree = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
    n_used = (np.isfinite(y) & np.isfinite(weight) & (weight > 0)).sum(axis=1, dtype=np.int32)
    starts = THOROUGH_STARTS if thorough else FAST_STARTS
    for rows in np.array_split(np.flatnonzero(n_used), max(1, -(-n // BLOCK))):
        if not rows.size:
            continue
        c = load(y[rows], weight[rows], lower, upper)
        begin = None if start is None else start[rows]
        near, evaluations[rows], disagree[rows] = search(u, c, lower, upper, begin, starts)
        z[rows], found, V, converged[rows] = last_word(u, c, near)
        z[rows, 3] += c.mean
        chi2[rows], covariances[rows] = found * c.scale, V / c.scale[:, None, None]
    return KernelFit(z, chi2, covariances, n_used, evaluations, converged, np.full(n, np.inf), disagree)
