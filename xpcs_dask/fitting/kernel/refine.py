"""Compiled last word on every fit: all parameters, residual form, any loss.

Variable projection works with sums, which cancel when the noise is very small, and only for least squares. Here one
pass computes the residuals and every derivative, so chi2, the gradient and the covariance are as exact as the data; for
least squares the start is already the minimum and one pass confirms it; for robust losses this is the fit.
Losses follow scipy.optimize.least_squares, ``C^2 sum rho((r/C)^2)``; Tukey's biweight is added.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpcs_dask.fitting.kernel.box import box_step
from xpcs_dask.fitting.kernel.compiled import careful, compiled
from xpcs_dask.fitting.kernel.curvature import double_curvature, single_curvature
from xpcs_dask.fitting.kernel.exp import vexp
from xpcs_dask.fitting.kernel.single import CONVERGED, EXHAUSTED, STALLED, load_curve
from xpcs_dask.fitting.kernel.table import SINGULAR

LINEAR, SOFT_L1, HUBER, CAUCHY, ARCTAN, TUKEY = range(6)
LOSSES = {"linear": LINEAR, "soft_l1": SOFT_L1, "huber": HUBER, "cauchy": CAUCHY, "arctan": ARCTAN, "tukey": TUKEY}
LEAST_CURVATURE = 0.05
"""Smallest share of rho' that the second derivative of a loss may leave: keeps the Hessian positive."""
CONFIRMED = 1e-12
"""Predicted decrease, over chi2, below which the last step is taken without another evaluation."""
ROUNDING_ERROR = 2e-31
"""Squared relative rounding of a residual: a cost below it cannot be lowered."""
ROUNDED = 1e-10
"""The same where a step fails only because the cost is known no better."""
FREE_STEP = 1e-4
"""Longest step that is taken so: in a flat valley one that gains nothing may be long."""
MAX_PASSES = 200
SINGLE_SIZE = 4
"""Number of parameters of the single family; the double one has 7."""
CAUCHY_95 = 2.385
BIWEIGHT_95 = 4.685
"""Scales, in standard deviations, with 95 % efficiency for Gaussian noise (Holland and Welsch, 1977)."""


@compiled
def single_columns(u, y, w, z, J, r):
    """Weighted residuals and weighted derivatives in (contrast, ln tau, stretch, baseline)."""
    a = z[0]
    beta = z[1]
    stretch = z[2]
    d = z[3]
    for i in range(u.size):  # exponentials first: with all the rest they need more registers than there are
        power = vexp(stretch * (u[i] - beta))
        J[0, i] = vexp(-2.0 * power)
        J[1, i] = power
    for i in range(u.size):
        e = w[i] * J[0, i]
        slope = 2.0 * a * e * J[1, i]
        r[i] = w[i] * (y[i] - d) - a * e
        J[0, i] = e
        J[1, i] = stretch * slope
        J[2, i] = (beta - u[i]) * slope
        J[3, i] = w[i]


@compiled
def double_columns(u, y, w, z, J, r):
    """Weighted residuals and derivatives in (contrast, ln tau1, stretch1, baseline, ln tau2, stretch2, fraction)."""
    a = z[0]
    d = z[3]
    f = z[6]
    for i in range(u.size):
        v1 = u[i] - z[1]
        v2 = u[i] - z[4]
        power1 = vexp(z[2] * v1)
        power2 = vexp(z[5] * v2)
        e1 = vexp(-power1)
        e2 = vexp(-power2)
        g1 = f * e1 + (1.0 - f) * e2
        outer = 2.0 * w[i] * a * g1
        slope1 = outer * f * e1 * power1
        slope2 = outer * (1.0 - f) * e2 * power2
        r[i] = w[i] * (y[i] - d - a * g1 * g1)
        J[0, i] = w[i] * g1 * g1
        J[1, i] = z[2] * slope1
        J[2, i] = -v1 * slope1
        J[3, i] = w[i]
        J[4, i] = z[5] * slope2
        J[5, i] = -v2 * slope2
        J[6, i] = outer * (e1 - e2)


@compiled
def weighted_columns(u, y, w, z, p, J, r):
    """Residuals and derivatives of the family with p parameters; J has an even number of rows, the spare one zero."""
    if p == SINGLE_SIZE:
        single_columns(u, y, w, z, J, r)
    else:
        double_columns(u, y, w, z, J, r)


@compiled
def loss_weights(loss, scale, r, first, second):
    """Fill rho' and ``rho' + 2 z rho''`` of every weighted residual, ``z = (r / scale)^2``; returns the cost."""
    cost = 0.0
    inverse = 1.0 / scale
    for i in range(r.size):
        z = (r[i] * inverse) * (r[i] * inverse)
        if loss == SOFT_L1:
            t = math.sqrt(1.0 + z)
            cost += 2.0 * z / (t + 1.0)  # 2 (t - 1) cancels where z is small
            first[i] = 1.0 / t
            second[i] = 1.0 / (t * t * t)
        elif loss == HUBER:
            t = math.sqrt(max(z, 1.0))
            cost += z if z <= 1.0 else 2.0 * t - 1.0
            first[i] = 1.0 / t
            second[i] = 1.0 if z <= 1.0 else 0.0
        elif loss == CAUCHY:
            t = 1.0 / (1.0 + z)
            cost += math.log1p(z)
            first[i] = t
            second[i] = (1.0 - z) * t * t
        elif loss == ARCTAN:
            t = 1.0 / (1.0 + z * z)
            cost += math.atan(z)
            first[i] = t
            second[i] = t - 4.0 * z * z * t * t
        else:
            inside = min(z, 1.0)
            t = 1.0 - inside
            cost += inside * (1.0 - inside + inside * inside / 3.0)
            first[i] = t * t
            second[i] = t * (1.0 - 5.0 * z)
    return cost * scale * scale


@compiled
def apply_loss(loss, scale, r, J, p, first, second):
    """Turn weighted residuals and derivatives into those of the locally equivalent least-squares problem.

    `r` becomes ``rho' r / sqrt(h)`` and `J` ``sqrt(h) J`` with ``h = rho' + 2 z rho''``, kept positive; returns the
    cost.
    """
    cost = loss_weights(loss, scale, r, first, second)
    for i in range(r.size):
        root = math.sqrt(max(second[i], LEAST_CURVATURE * first[i]))
        r[i] = first[i] * r[i] / root if root > 0.0 else 0.0
        second[i] = root
    for k in range(p):
        for i in range(r.size):
            J[k, i] *= second[i]
    return cost


@compiled
def normal_equations(J, r, p, H, g):
    """``H = J J'`` and ``g = J r``, two rows at a time; returns r'r."""
    square = 0.0
    for i in range(r.size):
        square += r[i] * r[i]
    for k in range(p):
        total = 0.0
        for i in range(r.size):
            total += J[k, i] * r[i]
        g[k] = total
    for k in range(0, p, 2):
        for j in range(k, p, 2):
            h00 = h01 = h10 = h11 = 0.0
            for i in range(r.size):
                a = J[k, i]
                b = J[k + 1, i]
                c = J[j, i]
                d = J[j + 1, i]
                h00 += a * c
                h01 += a * d
                h10 += b * c
                h11 += b * d
            H[k, j] = h00
            H[k, j + 1] = h01
            H[k + 1, j] = h10
            H[k + 1, j + 1] = h11
            H[j, k] = h00
            H[j + 1, k] = h01
            H[j, k + 1] = h10
            H[j + 1, k + 1] = h11
    return square


@compiled
def evaluate(u, y, w, z, p, loss, scale, J, r, first, second, H, g):
    """Cost, half gradient (downhill) and Gauss-Newton Hessian at z."""
    weighted_columns(u, y, w, z, p, J, r)
    if loss == LINEAR:
        return normal_equations(J, r, p, H, g)
    cost = apply_loss(loss, scale, r, J, p, first, second)
    normal_equations(J, r, p, H, g)
    return cost


@compiled
def newton_matrix(u, w, z, p, loss, r, second, H, pull, N):
    """Fill N with H less the curvature of the model; r, second and H as `evaluate` left them at z."""
    for i in range(u.size):
        pull[i] = w[i] * r[i] if loss == LINEAR else w[i] * r[i] * second[i]
    if p == SINGLE_SIZE:
        single_curvature(u, z, pull, N)
    else:
        double_curvature(u, z, pull, N)
    for k in range(p):
        for i in range(p):
            N[k, i] = H[k, i] - N[k, i]


@compiled
def rounding_floor(y, w, mean, baseline):
    """Cost of an exact fit: what rounding of y leaves."""
    total = 0.0
    for i in range(y.size):
        level = w[i] * (abs(y[i]) + abs(mean) + abs(baseline))
        total += level * level
    return total * ROUNDING_ERROR


@compiled
def confirm(u, y, w, mean, z, p, lower, upper, loss, scale, space):
    """Damped Newton to the minimum from z (changed in place); returns cost, evaluations, code.

    The first step is Gauss-Newton: after variable projection it is only there to say that nothing is left to gain.
    Later ones use the exact Hessian; where the first step was refused, z is evaluated once more for it. The H of
    `space` ends as the Gauss-Newton Hessian. (There is one call of `evaluate`, because every call is inlined and
    compiled.)
    """
    J, r, first, second, pull, H, H2, N, L, g, g2, damping, step, trial, free = space
    rounding = rounding_floor(y, w, mean, z[3])
    cost = 1e300
    predicted = 0.0
    damp = 0.0 if loss == LINEAR else 1e-3
    growth = 2.0
    exact = False
    for k in range(p):
        step[k] = z[k]
    for evaluations in range(1, MAX_PASSES + 1):
        new = evaluate(u, y, w, step, p, loss, scale, J, r, first, second, H2, g2)
        if new < cost or (not exact and evaluations == 3):
            if evaluations > 1 and new < cost:
                gain = 2.0 * (cost - new) / predicted - 1.0
                damp = damp * max(0.1, 1.0 - gain * gain * gain) if gain > -0.5 else max(damp * 2.0, 1e-6)
                growth = 2.0
            cost = new
            for k in range(p):
                z[k] = step[k]
                g[k] = g2[k]
                for i in range(p):
                    H[k, i] = H2[k, i]
                    N[k, i] = H2[k, i]
            if evaluations > 1:
                newton_matrix(u, w, z, p, loss, r, second, H, pull, N)
                exact = True
        else:
            if exact and predicted <= ROUNDED * cost and new <= cost * (1.0 + 1e-14 * u.size):
                return cost, evaluations, CONVERGED
            damp = max(damp * growth, 1e-4)
            growth *= 2.0
            if damp > 1e10:
                return cost, evaluations, STALLED
            if not exact:
                for k in range(p):
                    step[k] = z[k]
                continue
        settled = False
        while True:
            for k in range(p):
                damping[k] = damp * H[k, k]
            predicted = box_step(N, g, damping, z, lower, upper, p, step, free, L, trial)
            settled = predicted <= CONFIRMED * cost or cost <= rounding
            if not settled or damp <= 1e-6:
                break
            damp *= 1e-3
        longest = 0.0
        for k in range(p):
            longest = max(longest, abs(step[k]))
            step[k] = min(max(z[k] + step[k], lower[k]), upper[k])
        if settled:
            if predicted > 0.0 and cost > rounding and loss == LINEAR and longest < FREE_STEP:
                for k in range(p):
                    z[k] = step[k]
                cost -= predicted
            return cost, evaluations, CONVERGED
    return cost, MAX_PASSES, EXHAUSTED


@careful
def invert_free(H, z, lower, upper, p, kept, root, L, V):
    """Inverse of H over the parameters that are free and not on a bound; NaN for the others, 0 for held ones.

    Works on the matrix scaled to unit diagonal. A parameter without effect is NaN; where the rest is singular, all are.
    """
    for k in range(p):
        on_bound = z[k] <= lower[k] or z[k] >= upper[k]
        kept[k] = 1 if (upper[k] > lower[k] and not on_bound and H[k, k] > 0.0) else 0
    for k in range(p):
        root[k] = 1.0 / math.sqrt(H[k, k]) if kept[k] else 0.0
    singular = False
    for i in range(p):
        for j in range(i + 1):
            t = H[i, j] * root[i] * root[j] if i != j else float(kept[i])
            for k in range(j):
                t -= L[i, k] * L[j, k]
            if i != j:
                L[i, j] = t * L[j, j]
            elif kept[i]:
                singular = singular or t < SINGULAR
                L[i, i] = 1.0 / math.sqrt(max(t, SINGULAR))
            else:
                L[i, i] = 0.0
    for j in range(p):  # the inverse factor, in place: columns of the unknown times the reciprocal diagonal
        for i in range(j + 1, p):
            t = L[i, j] * L[j, j]
            for k in range(j + 1, i):
                t += L[i, k] * L[k, j]
            L[i, j] = -t * L[i, i]
    for i in range(p):
        for j in range(i + 1):
            t = 0.0
            for k in range(i, p):
                t += L[k, i] * L[k, j]
            t *= root[i] * root[j]
            if singular or not (kept[i] and kept[j]):
                t = 0.0 if lower[i] >= upper[i] or lower[j] >= upper[j] else np.nan
            V[i, j] = t
            V[j, i] = t
    return singular


@compiled
def sandwich_middle(J, r, first, second, p, H, B):
    """Fill ``H = sum h J J'``, curvatures negative where they are, and ``B = sum (rho' r)^2 J J'``."""
    for k in range(p):
        for j in range(p):
            h = 0.0
            b = 0.0
            for i in range(r.size):
                c = J[k, i] * J[j, i]
                pull = first[i] * r[i]
                h += second[i] * c
                b += pull * pull * c
            H[k, j] = h
            B[k, j] = b


@careful
def multiply_sandwich(V, B, p, used, fitted, T):
    """Replace V by ``V B V * used / (used - fitted)``; rows that are NaN or held stay as they are."""
    for i in range(p):
        for j in range(p):
            total = 0.0
            for k in range(p):
                if V[i, k] == V[i, k]:
                    total += V[i, k] * B[k, j]
            T[i, j] = total
    share = used / (used - fitted) if used > fitted else np.nan
    for i in range(p):
        for j in range(i + 1):
            total = 0.0
            for k in range(p):
                if V[k, j] == V[k, j]:
                    total += T[i, k] * V[k, j]
            if V[i, j] == V[i, j]:
                B[i, j] = total * share
            else:
                B[i, j] = np.nan
    for i in range(p):
        for j in range(i + 1):
            V[i, j] = B[i, j]
            V[j, i] = B[i, j]


@careful
def median_absolute(r, w, work):
    """Median of the absolute r over the points with weight."""
    count = 0
    for i in range(r.size):
        if w[i] > 0.0:
            value = abs(r[i])
            k = count
            while k > 0 and work[k - 1] > value:
                work[k] = work[k - 1]
                k -= 1
            work[k] = value
            count += 1
    middle = count // 2
    return work[middle] if count % 2 else 0.5 * (work[middle - 1] + work[middle])


def workspace(m: int, p: int) -> tuple[Any, ...]:
    """Arrays of one curve's fit, made once for a stack: per point, square (an even number of rows), per parameter."""
    even = p + p % 2
    points = (np.zeros(m) for _ in range(4))
    matrices = (np.zeros((even, even)) for _ in range(4))
    vectors = (np.zeros(even) for _ in range(5))
    return (np.zeros((even, m)), *points, *matrices, *vectors, np.zeros(even, dtype=np.int8))


@compiled
def refine_stack(u, y, weight, lower, upper, loss, loss_scale, z, chi2, covariance, n_used, evaluations, code, space):
    """Bring every z (n, p) to its minimum; writes chi2, covariance (n, p, p) in z, and how it went.

    Tukey's biweight is the second half of an MM estimate: a Cauchy fit gives the scale (1.4826 MAD) and the start.
    Non-convex losses also start from the soft_l1 minimum; the lower cost is kept.
    """
    n, m = y.shape
    p = z.shape[1]
    J, r, first, second, _, H, H2, V, L, _, _, _, step, _, free = space
    shifted = np.empty(m)
    w = np.empty(m)
    other = np.zeros(p)
    low = lower.copy()
    high = upper.copy()
    fitted = 0
    for k in range(p):
        fitted += 1 if upper[k] > lower[k] else 0
    for j in range(n):
        used, scale, mean, _ = load_curve(y[j], weight[j], shifted, w)
        n_used[j] = used
        if used == 0:
            code[j] = EXHAUSTED
            continue
        low[3] = lower[3] - mean
        high[3] = upper[3] - mean
        zj = z[j]
        zj[3] -= mean
        unit = 1.0 / math.sqrt(scale)
        C = loss_scale * unit
        # a loss with several minima: from where z is (0), from the soft_l1 minimum (1, 2), the better of them (3)
        kind = CAUCHY if loss == TUKEY else loss
        pilot_scale = CAUCHY_95 * unit if loss == TUKEY else C
        here = 0.0
        for k in range(p):
            other[k] = zj[k]
        for stage in range(0 if loss >= CAUCHY else 3, 4):
            if stage == 3 and loss == TUKEY:
                weighted_columns(u, shifted, w, zj, p, J, r)
                C = BIWEIGHT_95 * loss_scale * max(1.4826 * median_absolute(r, w, second), 1e-12 * unit)
            cost, spent, code[j] = confirm(
                u, shifted, w, mean, other if stage in (1, 2) else zj, p, low, high,
                loss if stage == 3 else SOFT_L1 if stage == 1 else kind, C if stage == 3 else pilot_scale, space,
            )  # fmt: skip
            evaluations[j] += spent
            if stage == 0:
                here = cost
            elif stage == 2 and cost < here:
                for k in range(p):
                    zj[k] = other[k]
        chi2[j] = cost * scale
        if loss != LINEAR:
            weighted_columns(u, shifted, w, zj, p, J, r)
            loss_weights(loss, C, r, first, second)
        for _ in range(2):
            if loss != LINEAR:
                sandwich_middle(J, r, first, second, p, H, H2)
            singular = invert_free(H, zj, low, high, p, free, step, L, V)
            if loss == LINEAR or not singular:
                break
            for i in range(m):  # so many outliers that the loss curves down: take its secant
                second[i] = first[i]
        if loss != LINEAR:
            multiply_sandwich(V, H2, p, used, fitted, L)
        share = 1.0 / scale if loss == LINEAR else 1.0
        for k in range(p):
            for i in range(p):
                covariance[j, k, i] = V[k, i] * share
        zj[3] += mean
