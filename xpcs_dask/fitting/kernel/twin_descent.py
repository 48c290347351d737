"""The descent of the NumPy twin: variable projection of all curves at once; one that has converged drops out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.kernel.table import SUM_ROUNDING
from xpcs_dask.fitting.kernel.twin_curves import Curves, Rows, decay_sums
from xpcs_dask.fitting.models import Floats

TOLERANCE = 1e-8
"""Predicted relative decrease that ends the descent: the step that predicts it is the last one."""
MAX_ITERATIONS = 100
LAST_STEP = 0.05
"""A last step longer than this (in ln tau or stretch) is not taken blindly."""

# rows of the state of a descent, one column a curve
SUMS = slice(0, 12)
A, D, FREE_A, FREE_D, BETA, STRETCH, CHI2 = range(12, 19)
POINT = slice(0, 19)
Z = [A, BETA, STRETCH, D]
DAMP, GROWTH, WW, WY, YY = range(19, 24)
LOW, HIGH = slice(24, 28), slice(28, 32)
STATE = 32
FreeFlags = NDArray[np.bool_]


def linear_box(
    sums: tuple[Floats, Floats, Floats], ww: Floats, wy: Floats, low: tuple[Floats, Floats], high: tuple[Floats, Floats]
) -> tuple[Floats, Floats, FreeFlags, FreeFlags]:
    """Best contrast and baseline in their box ``(low, high)`` for the sums ee, e1, ey, and whether each is free."""
    ee, e1, ey = sums
    det = ee * ww - e1 * e1
    with np.errstate(divide="ignore", invalid="ignore"):
        a, d = (ey * ww - wy * e1) / det, (wy * ee - ey * e1) / det
    inside = (det > 1e-13 * ee * ww) & (low[0] <= a) & (a <= high[0]) & (low[1] <= d) & (d <= high[1])
    inside &= (high[0] > low[0]) & (high[1] > low[1])
    free_a, free_d = inside.copy(), inside.copy()
    k = np.flatnonzero(~inside)
    if k.size:
        a[k], d[k], free_a[k], free_d[k] = _linear_edges(*(t[k] for t in (ee, e1, ww, ey, wy, *low, *high)))
    return a, d, free_a, free_d


def _linear_edges(
    ee: Floats, e1: Floats, ww: Floats, ey: Floats, wy: Floats, al: Floats, dl: Floats, ah: Floats, dh: Floats
) -> tuple[Floats, Floats, FreeFlags, FreeFlags]:
    """Best of the four edges of the box."""
    a, d, best = al.copy(), dl.copy(), np.full(len(ee), np.inf)
    free_a, free_d = np.zeros(len(ee), dtype=np.bool_), np.zeros(len(ee), dtype=np.bool_)
    for edge in range(4):
        if edge < 2:
            ta = al if edge == 0 else ah
            free = (wy - ta * e1) / ww
            td = np.minimum(np.maximum(free, dl), dh)
            fa, fd = np.zeros_like(free_a), (free == td) & (dh > dl)
        else:
            td = dl if edge == 2 else dh
            free = np.divide(ey - td * e1, ee, out=al.copy(), where=ee > 0)
            ta = np.minimum(np.maximum(free, al), ah)
            fa, fd = (free == ta) & (ah > al), np.zeros_like(free_d)
        value = ta * (ta * ee + 2 * (td * e1 - ey)) + td * (td * ww - 2 * wy)
        better = value < best
        for kept, new in ((best, value), (a, ta), (d, td), (free_a, fa), (free_d, fd)):
            np.copyto(kept, new, where=better)
    return a, d, free_a, free_d


def _adjust(x: Floats) -> tuple[Floats, Floats, Floats]:
    """Inverse normal matrix (aa, ad, dd) of those of contrast and baseline that are free."""
    ee, e1, ww, free_a, free_d = x[0], x[1], x[WW], x[FREE_A] > 0, x[FREE_D] > 0
    both = free_a & free_d
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1.0 / (ee * ww - e1 * e1)
        aa = np.where(both, ww * inverse, np.where(free_a, 1.0 / ee, 0.0))
        dd = np.where(both, ee * inverse, np.where(free_d, 1.0 / ww, 0.0))
        return aa, np.where(both, -e1 * inverse, 0.0), dd


def reduced_problem(x: Floats, adjust: tuple[Floats, Floats, Floats]) -> tuple[Floats, ...]:
    """Half gradient and Kaufman Hessian in (ln tau, stretch)."""
    _, _, _, qe, q1, qy, ve, v1, vy, qq, qv, vv = x[SUMS]
    a, d, (aa, ad, dd) = x[A], x[D], adjust
    slope = -a * x[STRETCH]
    g0, g1 = slope * (qy - a * qe - d * q1), a * (vy - a * ve - d * v1)
    b0a, b0d, b1a, b1d = slope * qe, slope * q1, a * ve, a * v1
    x0a, x0d = b0a * aa + b0d * ad, b0a * ad + b0d * dd
    h00 = slope * slope * qq - b0a * x0a - b0d * x0d
    h01 = slope * a * qv - b1a * x0a - b1d * x0d
    h11 = a * a * vv - b1a * b1a * aa - 2 * b1a * b1d * ad - b1d * b1d * dd
    return g0, g1, h00, h01, h11


def plane_step(
    g: tuple[Floats, Floats], h: tuple[Floats, Floats, Floats], low: tuple[Floats, Floats], high: tuple[Floats, Floats]
) -> tuple[Floats, Floats]:
    """Minimiser of the quadratic in the 2-D box of steps (ln tau, stretch); h = (h00, h01, h11), damping included."""
    (g0, g1), (a00, h01, a11) = g, h
    det = a00 * a11 - h01 * h01
    with np.errstate(divide="ignore", invalid="ignore"):
        s0, s1 = (g0 * a11 - g1 * h01) / det, (g1 * a00 - g0 * h01) / det
    inside = (det > 1e-14 * a00 * a11) & (low[0] <= s0) & (s0 <= high[0]) & (low[1] <= s1) & (s1 <= high[1])
    k = np.flatnonzero(~inside)
    if k.size:
        s0[k], s1[k] = _plane_edges(*(t[k] for t in (g0, g1, a00, h01, a11, *low, *high)))
    return s0, s1


def _plane_edges(
    g0: Floats, g1: Floats, a00: Floats, h01: Floats, a11: Floats, l0: Floats, l1: Floats, u0: Floats, u1: Floats
) -> tuple[Floats, Floats]:
    """Best of the four edges of the box."""
    s0, s1, best = np.zeros_like(g0), np.zeros_like(g0), np.full(len(g0), np.inf)
    for edge in range(4):
        if edge < 2:
            t0 = l0 if edge == 0 else u0
            t1 = np.divide(g1 - h01 * t0, a11, out=np.zeros_like(t0), where=a11 > 0)
            t1 = np.minimum(np.maximum(t1, l1), u1)
        else:
            t1 = l1 if edge == 2 else u1
            t0 = np.divide(g0 - h01 * t1, a00, out=np.zeros_like(t1), where=a00 > 0)
            t0 = np.minimum(np.maximum(t0, l0), u0)
        value = t0 * (a00 * t0 + 2 * (h01 * t1 - g0)) + t1 * (a11 * t1 - 2 * g1)
        better = value < best
        for kept, new in ((best, value), (s0, t0), (s1, t1)):
            np.copyto(kept, new, where=better)
    return s0, s1


def _evaluate(u: Floats, c: Curves, rows: Rows, beta: Floats, stretch: Floats, x: Floats) -> Floats:
    """Point of every curve at (beta, stretch), contrast and baseline at their best; x holds its constants."""
    point = np.empty((POINT.stop, rows.size))
    point[SUMS] = decay_sums(u, c, rows, beta, stretch)
    ee, e1, ey = point[:3]
    low, high = x[LOW], x[HIGH]
    a, d, free_a, free_d = linear_box((ee, e1, ey), x[WW], x[WY], (low[0], low[3]), (high[0], high[3]))
    point[A], point[D], point[FREE_A], point[FREE_D], point[BETA], point[STRETCH] = a, d, free_a, free_d, beta, stretch
    point[CHI2] = x[YY] + a * (a * ee + 2 * (d * e1 - ey)) + d * (d * x[WW] - 2 * x[WY])
    return point


def _finish(x: Floats, s0: Floats, s1: Floats, adjust: tuple[Floats, Floats, Floats]) -> Floats:
    """Return z ``(4, n)`` after the last steps, which are taken without an evaluation; contrast and baseline follow."""
    short = (np.abs(s0) <= LAST_STEP) & (np.abs(s1) <= LAST_STEP)
    s0, s1 = np.where(short, s0, 0.0), np.where(short, s1, 0.0)
    _, _, _, qe, q1, _, ve, v1 = x[:8]
    slope, (aa, ad, dd) = -x[A] * x[STRETCH], adjust
    ra, rd = -(slope * qe * s0 + x[A] * ve * s1), -(slope * q1 * s0 + x[A] * v1 * s1)
    z = np.stack([x[A] + aa * ra + ad * rd, x[BETA] + s0, x[STRETCH] + s1, x[D] + ad * ra + dd * rd])
    return np.minimum(np.maximum(z, x[LOW]), x[HIGH])


def refine(u: Floats, c: Curves, rows: Rows, beta: Floats, stretch: Floats) -> tuple[Floats, Floats, NDArray[np.int32]]:
    """Levenberg-Marquardt from one start for each of some curves; returns z ``(4, n)``, chi2 and evaluations."""
    n = rows.size
    x = np.empty((STATE, n))
    x[DAMP], x[GROWTH], x[WW], x[WY], x[YY] = 1e-3, 2.0, c.ww[rows], c.wy[rows], c.yy[rows]
    x[LOW], x[HIGH] = c.low[:, rows], c.high[:, rows]
    x[POINT] = _evaluate(u, c, rows, beta, stretch, x)
    z, chi2, evaluations = np.empty((4, n)), np.empty(n), np.ones(n, dtype=np.int32)
    active = np.arange(n)

    def drop(out: NDArray[np.bool_], end: Floats) -> None:
        nonlocal x, active
        z[:, active[out]], chi2[active[out]] = end, x[CHI2, out]
        x, active = x[:, ~out], active[~out]

    for _ in range(MAX_ITERATIONS):
        if not active.size:
            break
        adjust = _adjust(x)
        g0, g1, h00, h01, h11 = reduced_problem(x, adjust)
        floor = 1e-14 * x[WW]
        damped = h00 + x[DAMP] * np.maximum(h00, 0) + floor, h01, h11 + x[DAMP] * np.maximum(h11, 0) + floor
        here, low, high = (x[BETA], x[STRETCH]), x[LOW], x[HIGH]
        room = (low[1] - here[0], low[2] - here[1]), (high[1] - here[0], high[2] - here[1])
        s0, s1 = plane_step((g0, g1), damped, *room)
        predicted = 2 * (g0 * s0 + g1 * s1) - (h00 * s0 * s0 + 2 * h01 * s0 * s1 + h11 * s1 * s1)
        done = predicted <= TOLERANCE * x[CHI2]
        if done.any():
            drop(done, _finish(x[:, done], s0[done], s1[done], tuple(t[done] for t in adjust)))
            s0, s1, predicted = s0[~done], s1[~done], predicted[~done]
        evaluations[active] += 1
        stuck = _move(u, c, rows[active], x, s0, s1, predicted)
        if stuck.any():
            drop(stuck, x[Z][:, stuck])
    else:
        z[:, active], chi2[active] = x[Z], x[CHI2]
    return z, chi2, evaluations


def _move(u: Floats, c: Curves, rows: Rows, x: Floats, s0: Floats, s1: Floats, predicted: Floats) -> NDArray[np.bool_]:
    """Take the steps that lower chi2, raise the damping of the others (in place); returns which cannot go on."""
    low, high = x[LOW], x[HIGH]
    beta = np.minimum(np.maximum(x[BETA] + s0, low[1]), high[1])
    stretch = np.minimum(np.maximum(x[STRETCH] + s1, low[2]), high[2])
    point = _evaluate(u, c, rows, beta, stretch, x)
    decrease = x[CHI2] - point[CHI2]
    better = decrease > 0
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        gain = 2 * decrease / predicted - 1
        lower_damp = np.maximum(x[DAMP] * np.maximum(0.1, 1 - gain**3), 1e-12)
    damp = np.where(better, np.where(gain > -0.5, lower_damp, x[DAMP] * 2), x[DAMP] * x[GROWTH])
    # sums have cancelled where they cannot be lowered; the residual form goes on from there
    rounded = predicted <= 1e-6 * np.abs(x[CHI2]) + SUM_ROUNDING * x[YY]
    stuck: NDArray[np.bool_] = ~better & (rounded | (damp >= 1e12))
    x[DAMP], x[GROWTH] = damp, np.where(better, 2.0, x[GROWTH] * 2)
    np.copyto(x[POINT], point, where=better)
    return stuck
