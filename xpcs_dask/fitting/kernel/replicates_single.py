"""Compiled refits of resampled curves, one stretched exponential.

A replicate starts at the minimum of its parent, where decays are already known: the first step takes no exponential.
Steps are Newton's in (ln tau, stretch), contrast and baseline eliminated, with the exact Hessian: noise in y moves the
minimum by about one standard deviation, two passes later the error is below 1e-7 of it. Gauss-Newton, which is linear
here, needs twice as many. The last step is taken without an evaluation, as in the fit itself.
"""

from __future__ import annotations

import numpy as np

from xpcs_dask.fitting.kernel.box import linear_box, plane_step
from xpcs_dask.fitting.kernel.compiled import compiled
from xpcs_dask.fitting.kernel.exp import vexp
from xpcs_dask.fitting.kernel.resample import PAIRS, draw
from xpcs_dask.fitting.kernel.single import (
    CONVERGED,
    E1,
    EE,
    EXHAUSTED,
    EY,
    LAST_STEP,
    Q1,
    QE,
    QQ,
    QV,
    QY,
    STALLED,
    V1,
    VE,
    VV,
    VY,
    chi2_of,
    moments,
)  # fmt: skip

MAX_PASSES = 16
"""Passes after which a refit is left to the residual form."""
LAST = 1e-9
"""Predicted decrease over chi2 at which the last step is free: an error of 2e-4 standard deviations before it."""
SUMS_EXACT = 1e-14
"""Share of the weighted sum of y^2 to which sums tell chi2."""
POSITIVE = 1e-6
"""Determinant of the reduced Hessian, of unit diagonal, below which Newton's step is not trusted."""


@compiled
def fill_decay(u, beta, stretch, decay, slope, turn):
    """Fill e = exp(-2 E), its slope q = -2 e E and q (1 - 2 E): what first and second derivatives are made of."""
    for i in range(u.size):
        power = vexp(stretch * (u[i] - beta))
        e = vexp(-2.0 * power)
        q = -2.0 * e * power
        decay[i] = e
        slope[i] = q
        turn[i] = q - 2.0 * q * power


@compiled
def turn_sums(u, y, w2, beta, a, d, decay, turn):
    """Weighted sums of residual times `turn` times 1, v and v^2, with v = ln t - beta."""
    t0 = t1 = t2 = 0.0
    for i in range(u.size):
        v = u[i] - beta
        t = w2[i] * (y[i] - d - a * decay[i]) * turn[i]
        tv = t * v
        t0 += t
        t1 += tv
        t2 += tv * v
    return t0, t1, t2


@compiled
def newton_problem(S, ww, stretch, a, d, free_a, free_d, t0, t1, t2, exact):
    """Half gradient (downhill), reduced Hessian and how contrast and baseline follow a unit step in beta and stretch.

    `exact` is 1 for the Hessian of chi2 with contrast and baseline eliminated, 0 for its Gauss-Newton part.
    """
    slope = -a * stretch
    rq = S[QY] - a * S[QE] - d * S[Q1]
    rv = S[VY] - a * S[VE] - d * S[V1]
    h00 = slope * slope * S[QQ] - exact * a * stretch * stretch * t0
    h01 = slope * a * S[QV] + exact * a * (rq + stretch * t1)
    h11 = a * a * S[VV] - exact * a * t2
    b0a = slope * S[QE] + exact * stretch * rq
    b1a = a * S[VE] - exact * rv
    b0d = slope * S[Q1]
    b1d = a * S[V1]
    iaa = iad = idd = 0.0
    if free_a and free_d:
        det = S[EE] * ww - S[E1] * S[E1]
        iaa = ww / det
        idd = S[EE] / det
        iad = -S[E1] / det
    elif free_a:
        iaa = 1.0 / S[EE]
    elif free_d:
        idd = 1.0 / ww
    a0 = -(iaa * b0a + iad * b0d)
    d0 = -(iad * b0a + idd * b0d)
    a1 = -(iaa * b1a + iad * b1d)
    d1 = -(iad * b1a + idd * b1d)
    h00 += b0a * a0 + b0d * d0
    h01 += b0a * a1 + b0d * d1
    h11 += b1a * a1 + b1d * d1
    return slope * rq, a * rv, h00, h01, h11, a0, d0, a1, d1


@compiled
def newton_step(S, ww, beta, stretch, a, d, free_a, free_d, t0, t1, t2, damp, lower, upper):
    """Step in (beta, stretch) inside the box, what contrast and baseline do, predicted decrease, if it is Newton's.

    Where the exact Hessian is not positive definite the step is Gauss-Newton's.
    """
    held0 = upper[1] <= lower[1]
    held1 = upper[2] <= lower[2]
    newton = True
    g0, g1, h00, h01, h11, a0, d0, a1, d1 = newton_problem(
        S, ww, stretch, a, d, free_a, free_d, t0, t1, t2, 1.0
    )  # fmt: skip
    if not (
        (held0 or h00 > 0.0)
        and (held1 or h11 > 0.0)
        and (held0 or held1 or h00 * h11 - h01 * h01 > POSITIVE * h00 * h11)
    ):
        newton = False
        g0, g1, h00, h01, h11, a0, d0, a1, d1 = newton_problem(
            S, ww, stretch, a, d, free_a, free_d, t0, t1, t2, 0.0
        )  # fmt: skip
    if held0:
        h00 = 1.0
        h01 = 0.0
    if held1:
        h11 = 1.0
        h01 = 0.0
    s0, s1 = plane_step(
        g0,
        g1,
        h00,
        h01,
        h11,
        damp * h00 + 1e-300,
        damp * h11 + 1e-300,
        beta,
        stretch,
        lower[1],
        upper[1],
        lower[2],
        upper[2],
    )
    predicted = 2.0 * (g0 * s0 + g1 * s1) - (h00 * s0 * s0 + 2.0 * h01 * s0 * s1 + h11 * s1 * s1)
    return s0, s1, a0 * s0 + a1 * s1, d0 * s0 + d1 * s1, predicted, newton


@compiled
def data_sums(y, w2, shared, S):
    """Fill the sums that y takes part in, from weighted decay, slope and slope times v; returns those of y and y^2."""
    decay, slope, bent = shared
    ey = qy = vy = wy = yy = 0.0
    for i in range(y.size):
        yi = y[i]
        wyi = w2[i] * yi
        ey += decay[i] * yi
        qy += slope[i] * yi
        vy += bent[i] * yi
        wy += wyi
        yy += wyi * yi
    S[EY] = ey
    S[QY] = qy
    S[VY] = vy
    return wy, yy


@compiled
def refit_single(u, y, w2, ww, wy, yy, z, lower, upper, parent, space):
    """Bring z (changed in place) from the parent's minimum to that of y; returns a code.

    The S of `space` holds the sums at z. Anything but `CONVERGED` (rounding, no contrast, a Hessian that is not
    positive) is for the residual form.
    """
    decay, slope, turn, S, S2 = space
    beta = z[1]
    stretch = z[2]
    a, d, _, free_a, free_d = linear_box(S[EE], S[E1], ww, S[EY], wy, lower[0], upper[0], lower[3], upper[3])
    chi2 = chi2_of(S, ww, wy, yy, a, d)
    t0, t1, t2 = turn_sums(u, y, w2, beta, a, d, parent[0], parent[2])
    known = SUMS_EXACT * yy
    damp = 0.0
    growth = 2.0
    code = EXHAUSTED
    for _ in range(MAX_PASSES):
        s0, s1, sa, sd, predicted, newton = newton_step(
            S, ww, beta, stretch, a, d, free_a, free_d, t0, t1, t2, damp, lower, upper
        )
        settled = predicted <= LAST * max(chi2, known)
        if settled and damp > 0.0:  # perhaps only the damping keeps the step small
            damp = 0.0
            continue
        if settled and (a == 0.0 or not newton):
            break
        if settled and abs(s0) < LAST_STEP and abs(s1) < LAST_STEP:
            beta += s0
            stretch += s1
            a += sa
            d += sd
            code = CONVERGED
            break
        new_beta = min(max(beta + s0, lower[1]), upper[1])
        new_stretch = min(max(stretch + s1, lower[2]), upper[2])
        fill_decay(u, new_beta, new_stretch, decay, slope, turn)
        moments(u, y, w2, new_beta, decay, slope, S2)
        a2, d2, _, fa2, fd2 = linear_box(S2[EE], S2[E1], ww, S2[EY], wy, lower[0], upper[0], lower[3], upper[3])
        chi2_new = chi2_of(S2, ww, wy, yy, a2, d2)
        if chi2_new <= chi2 + known:
            gain = 2.0 * (chi2 - chi2_new) / predicted - 1.0
            damp = damp * max(0.1, 1.0 - gain * gain * gain) if gain > -0.5 else max(2.0 * damp, 1e-3)
            growth = 2.0
            beta = new_beta
            stretch = new_stretch
            a = a2
            d = d2
            free_a = fa2
            free_d = fd2
            chi2 = chi2_new
            t0, t1, t2 = turn_sums(u, y, w2, beta, a, d, decay, turn)
            for k in range(12):
                S[k] = S2[k]
        else:
            damp = max(damp * growth, 1e-2)
            growth *= 2.0
            if damp > 1e8:
                code = STALLED
                break
    z[0] = min(max(a, lower[0]), upper[0])
    z[1] = min(max(beta, lower[1]), upper[1])
    z[2] = min(max(stretch, lower[2]), upper[2])
    z[3] = min(max(d, lower[3]), upper[3])
    return code


@compiled
def unshifted(d, low, high, lower, upper, mean):
    """Baseline of the unshifted curve; what sits on a bound sits on it exactly."""
    if d <= low:
        return lower
    if d >= high:
        return upper
    return d + mean


@compiled
def load_parent(u, point, weight, z, own_u, w2, parent, shared, S):
    """Fill delays and weights of one curve, exponentials and sums without y at its minimum; returns the sum of w2."""
    decay, slope, turn = parent
    weighted_decay, weighted_slope, weighted_bent = shared
    for i in range(weight.size):
        own_u[i] = u[point[i]]
        w2[i] = weight[i] * weight[i]
    fill_decay(own_u, z[1], z[2], decay, slope, turn)
    for i in range(weight.size):
        weighted_decay[i] = w2[i] * decay[i]
        weighted_slope[i] = w2[i] * slope[i]
        weighted_bent[i] = weighted_slope[i] * (own_u[i] - z[1])
    moments(own_u, w2, w2, z[1], decay, slope, S)
    ww = 0.0
    for i in range(weight.size):
        ww += w2[i]
    return ww


@compiled
def weigh_again(y, w2, times, drawn):
    """Fill weights of a resample of points; returns how many points are in it and the sums of 1, y and y^2."""
    for i in range(y.size):
        drawn[i] = w2[i] * times[i]
    kept = ww = wy = yy = 0.0
    for i in range(y.size):
        kept += 1.0 if drawn[i] > 0.0 else 0.0
        wyi = drawn[i] * y[i]
        ww += drawn[i]
        wy += wyi
        yy += wyi * y[i]
    return kept, ww, wy, yy


@compiled
def refit_singles(u, point, weight, mean, lower, upper, z, scheme, recipe, curves, seed, first, fewest, draws, space,
                  found, code):  # fmt: skip
    """Refit replicates `first` and on of every curve; fills found (n, B, 4), in z, and code (n, B).

    `point`, `weight` and `mean` are the recipe's.
    """
    own_u, y, times, w2, w2_drawn, S0, low, high, own, parent, shared, inner = space
    S = inner[3]
    for k in range(4):
        low[k] = lower[k]
        high[k] = upper[k]
    for j in range(len(weight)):
        low[3] = lower[3] - mean[j]
        high[3] = upper[3] - mean[j]
        one = load_parent(u, point[j], weight[j], z[j], own_u, w2, parent, shared, S0)
        for b in range(found.shape[1]):
            draw(scheme, recipe, j, seed, curves[j], first + np.uint64(b), draws, y, times)
            weights = w2_drawn if scheme == PAIRS else w2
            ww = one
            if scheme == PAIRS:
                kept, ww, wy, yy = weigh_again(y, w2, times, w2_drawn)
                if kept <= fewest:
                    code[j, b] = EXHAUSTED
                    continue
                moments(own_u, y, w2_drawn, z[j, 1], parent[0], parent[1], S)
            else:
                for k in range(12):
                    S[k] = S0[k]
                wy, yy = data_sums(y, w2, shared, S)
            for k in range(4):
                own[k] = z[j, k]
            code[j, b] = refit_single(own_u, y, weights, ww, wy, yy, own, low, high, parent, inner)
            for k in range(4):
                found[j, b, k] = own[k]
            found[j, b, 3] = unshifted(own[3], low[3], high[3], lower[3], upper[3], mean[j])
