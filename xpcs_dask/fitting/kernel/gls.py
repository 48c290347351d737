"""Compiled generalised least squares: points weighed by the inverse of the covariance that theory says their noise has.

The correlation R between delays comes from the decay of a fit that is given, once; then ``r' R^-1 r`` is made small, r
being residuals in units of their errors. A few tens of delays: Cholesky's factor of R, curve by curve, in plain loops.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpcs_dask.fitting.kernel.apart import apart
from xpcs_dask.fitting.kernel.box import box_step
from xpcs_dask.fitting.kernel.columns import weighted_columns
from xpcs_dask.fitting.kernel.compiled import careful, compiled
from xpcs_dask.fitting.kernel.covariance import invert_free
from xpcs_dask.fitting.kernel.newton import ROUNDED, SMALL_DAMPING, move, new_damping, normal_equations, rounding_floor
from xpcs_dask.fitting.kernel.sandwich import covariance_row, inverse_deviations, overlaps, slow_factor

SHRINK = 0.02
"""Share by which correlations are made smaller: theory is not exact, and its inverse is sensitive."""
LEAST_PIVOT = 1e-8
"""Share of a point's variance that those before it must leave unexplained."""
SETTLED = 1e-18
"""Predicted decrease, over the objective, at which nothing is left to gain."""
MAX_PASSES = 200
DONE, NOT_KNOWN, NOT_POSITIVE, NOT_CONVERGED = range(4)
"""How it went: counts are not known, R is no correlation matrix, or no minimum was reached."""


def workspace(m: int, p: int) -> tuple[Any, ...]:
    """Arrays of one curve: matrices over points and over parameters, vectors over both; an even number of rows."""
    even = p + p % 2
    points = (apart(m) for _ in range(6))
    matrices = (np.zeros((even, even)) for _ in range(4))
    vectors = (np.zeros(even) for _ in range(6))
    others = (np.ones(m), np.zeros(even, dtype=np.int8))
    return (apart(m, m), apart(even, m), *points, *matrices, *vectors, *others)


@compiled
def _dot(a, b):
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@careful
def factor_correlation(w, z, counts, length, width, near, apart, level, e_lag, s_lag, s_zero, one, row, use, R):
    """Fill the lower triangle of R with Cholesky's factor of the shrunk correlation of the used points, in order.

    Its diagonal is stored as its reciprocal. Returns the number of points; 0 where R is not positive. `one` stands for
    the mean decay within a channel: variances without that average are those that go with the covariances, and make R
    positive; with it bright R are not.
    """
    speckle, mixed = z[0] * z[0], 2.0 * z[0] / counts
    if not inverse_deviations(w, speckle, mixed, counts, length, width, apart, level, e_lag, s_lag, s_zero, one, use):
        return 0
    n = 0
    for j in range(w.size):
        if use[j] == 0.0:
            continue
        covariance_row(j, use, near, apart, length, e_lag, s_lag, speckle, mixed, row)
        i = 0
        for k in range(j):
            if use[k] > 0.0:
                found = (1.0 - SHRINK) * use[j] * row[k]
                R[n, i] = (found - _dot(R[n, :i], R[i, :i])) * R[i, i]
                i += 1
        pivot = 1.0 - _dot(R[n, :n], R[n, :n])
        if not pivot > LEAST_PIVOT:
            return 0
        R[n, n] = 1.0 / math.sqrt(pivot)
        n += 1
    return n


@careful
def whiten(R, n, v):
    """Replace residuals or derivatives v of the used points by independent ones of the same objective."""
    for i in range(n):
        v[i] = (v[i] - _dot(R[i, :i], v[:i])) * R[i, i]


@careful
def evaluate(u, y, w, z, p, R, J, r, H, g):
    """Objective, half gradient (downhill) and Gauss-Newton Hessian at z; all points are used."""
    n = u.size
    weighted_columns(u, y, w, z, p, J, r)
    whiten(R, n, r)
    for k in range(p):
        whiten(R, n, J[k])
    return normal_equations(J, r, p, H, g)


@careful
def descend(u, y, w, z, p, lower, upper, R, J, r, H, H2, L, g, g2, damping, step, trial, free):
    """Levenberg and Marquardt's way to the minimum from z, changed in place; returns objective, evaluations, if it is.

    The H that it leaves is that of the end.
    """
    cost = evaluate(u, y, w, z, p, R, J, r, H, g)
    floor = rounding_floor(y, w, 0.0, z[3])
    damp, growth, floor_damp, last = 0.0, 2.0, 0.0, np.inf
    for evaluations in range(1, MAX_PASSES + 1):
        while True:
            for k in range(p):
                damping[k] = damp * H[k, k]
            predicted = box_step(H, g, damping, z, lower, upper, p, step, free, L, trial)
            if predicted > SETTLED * cost and cost > floor:
                break
            if damp <= max(SMALL_DAMPING, 2.0 * floor_damp) or cost <= floor:
                return cost, evaluations, True
            damp *= 1e-3  # a short step gains nothing: is it short because it is damped?
        tiny = predicted <= ROUNDED * cost  # the objective cannot tell such steps any more, the gradient can
        if tiny and predicted >= last:
            return cost, evaluations, True
        last = predicted
        move(z, step, free, lower, upper, p)
        new = evaluate(u, y, w, step, p, R, J, r, H2, g2)
        if new < cost or (tiny and new <= cost * (1.0 + ROUNDED)):
            damp = new_damping(damp, cost - new, predicted)
            growth, floor_damp = 2.0, 0.0
            cost = new
            for k in range(p):
                z[k] = step[k]
                g[k] = g2[k]
                for i in range(p):
                    H[k, i] = H2[k, i]
        else:
            floor_damp = damp
            damp = max(damp * growth, 1e-4)
            growth *= 2.0
            if damp > 1e10:
                break
    return cost, MAX_PASSES, False


@careful
def gls_stack(u, y, weight, lower, upper, z, counts, frames, share, length, width, level, near, apart, table, space,
              work, chi2, covariance, evaluations, code):  # fmt: skip
    """Bring every z (n, p) from the fit with diagonal weights to the minimum of generalised least squares.

    Parameters
    ----------
    z, chi2, covariance, evaluations, code
        Written: parameters (n, p), objective (n,), covariance (n, p, p) in z, evaluations of the model (n,), and how it
        went (n,); rows that are not `DONE` mean nothing.
    counts, frames, share, length, width, level, near, apart, table, space
        As in `sandwich.robust_covariances`.
    work
        Of `workspace`.
    """
    R, J, r, row, use, ub, yb, wb, H, H2, L, V, g, g2, damping, step, trial, root, one, free = work
    p = z.shape[1]
    for i in range(len(z)):
        evaluations[i] = 0
        code[i] = NOT_KNOWN
        if not (counts[i] > 0.0 and z[i, 0] > 0.0):
            continue
        w = weight[i]
        integral = overlaps(z[i], table, space)
        factor = slow_factor(z[i, 0], integral, frames[i], share[i])
        n = factor_correlation(
            w, z[i], counts[i], length[i], width, near, apart, level, space[0], space[1], space[2][0], one, row,
            use, R,
        )  # fmt: skip
        code[i] = NOT_POSITIVE
        if n == 0:
            continue
        k = 0
        for j in range(w.size):
            if w[j] > 0.0:
                ub[k], yb[k], wb[k] = u[j], y[i, j], w[j]
                k += 1
        cost, evaluations[i], found = descend(
            ub[:n], yb[:n], wb[:n], z[i], p, lower, upper, R, J, r[:n], H, H2, L, g, g2, damping, step, trial, free
        )
        code[i] = DONE if found else NOT_CONVERGED
        chi2[i] = cost
        invert_free(H, z[i], lower, upper, p, free, root, L, V)
        for a in range(p):
            for b in range(p):
                covariance[i, a, b] = V[a, b] * factor
