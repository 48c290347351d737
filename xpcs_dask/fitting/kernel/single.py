"""Compiled fit of one stretched exponential by variable projection.

The model ``baseline + contrast * exp(-2 (t/tau)^stretch)`` is linear in contrast and baseline. With u = ln t, beta = ln
tau, E = exp(stretch (u - beta)), e = exp(-2E), q = -2eE and v = u - beta, the best contrast and baseline in their box,
chi2, its gradient and the reduced Hessian in (beta, stretch) all follow from twelve weighted sums, so one pass over the
delays (two exponentials each) is all an iteration costs (Golub and Pereyra, SIAM J. Numer. Anal. 10, 413 (1973);
Kaufman, BIT 15, 49 (1975)). All curves share the delays, so the start is read from a table of decays computed once.
"""

from __future__ import annotations

import math

import numpy as np

from xpcs_dask.fitting.kernel.apart import empty_apart
from xpcs_dask.fitting.kernel.box import linear_box, plane_step
from xpcs_dask.fitting.kernel.compiled import careful, compiled
from xpcs_dask.fitting.kernel.exp import near_exp
from xpcs_dask.fitting.kernel.table import (
    CERTAIN,
    N_TABLE,
    NO_START,
    SAME_MINIMUM,
    SAME_STRETCH,
    SAME_TAU,
    STRUCK,
    SUM_ROUNDING,
)

MAX_ITERATIONS = 60
LAST_STEP = 0.05
"""A last step longer than this (in ln tau or stretch) is not taken blindly."""
CONVERGED, STALLED, EXHAUSTED = 1, 2, 0

# positions of the twelve sums
EE, E1, EY, QE, Q1, QY, VE, V1, VY, QQ, QV, VV = range(12)


@careful
def clean_curve(y, weight, shifted, w):
    """Copy one curve, with weight 0 and y 0 where a point is not used: NaN and infinity stay out of compiled sums."""
    for i in range(y.size):
        wi = weight[i]
        yi = y[i]
        good = (wi > 0.0) & (wi < 1e150) & (abs(yi) < 1e150)
        w[i] = wi if good else 0.0
        shifted[i] = yi if good else 0.0


@compiled
def load_curve(y, weight, shifted, w):
    """Scale and shift one curve so that its fit depends neither on the unit of sigma nor on the level of g2.

    Writes weights whose used squares average 1 and y minus its weighted mean. Returns the number of used points, the
    scale (true squared weight = scale * w * w), the mean, and chi2 of a constant.
    """
    clean_curve(y, weight, shifted, w)
    total = 0.0
    moment = 0.0
    used = 0.0
    for i in range(y.size):
        w2 = w[i] * w[i]
        used += 1.0 if w[i] > 0.0 else 0.0
        total += w2
        moment += w2 * shifted[i]
    if not total > 0.0:
        return 0, 1.0, 0.0, 0.0
    mean = moment / total
    scale = total / used
    inverse = 1.0 / math.sqrt(scale)
    constant = 0.0
    for i in range(y.size):
        w[i] *= inverse
        shifted[i] = shifted[i] - mean if w[i] > 0.0 else 0.0
        t = w[i] * shifted[i]
        constant += t * t
    return int(used), scale, mean, constant


@compiled
def decay_sums(u, y, w2, beta, stretch, decay, slope, S):
    """Fill the twelve weighted sums at (beta, stretch), two exponentials a delay.

    Exponentials first, sums after (`decay` and `slope` are scratch): together they need more registers than there are.
    """
    for i in range(u.size):
        power = near_exp(stretch * (u[i] - beta))
        e = near_exp(-2.0 * power)
        decay[i] = e
        slope[i] = -2.0 * e * power
    moments(u, y, w2, beta, decay, slope, S)


@compiled
def moments(u, y, w2, beta, decay, slope, S):
    """Fill the twelve weighted sums of a decay and its slope."""
    ee = e1 = ey = qe = q1 = qy = ve = v1 = vy = qq = qv = vv = 0.0
    for i in range(u.size):
        e = decay[i]
        q = slope[i]
        s = q * (u[i] - beta)
        w = w2[i]
        yi = y[i]
        we = w * e
        wq = w * q
        ws = w * s
        e1 += we
        ee += we * e
        ey += we * yi
        q1 += wq
        qe += wq * e
        qy += wq * yi
        qq += wq * q
        v1 += ws
        ve += ws * e
        vy += ws * yi
        qv += ws * q
        vv += ws * s
    S[EE] = ee
    S[E1] = e1
    S[EY] = ey
    S[QE] = qe
    S[Q1] = q1
    S[QY] = qy
    S[VE] = ve
    S[V1] = v1
    S[VY] = vy
    S[QQ] = qq
    S[QV] = qv
    S[VV] = vv


@compiled
def reduced_problem(S, ww, stretch, a, d, free_a, free_d):
    """Half gradient (downhill) and Kaufman Hessian of chi2 in (beta, stretch), contrast and baseline eliminated."""
    slope = -a * stretch
    g0 = slope * (S[QY] - a * S[QE] - d * S[Q1])
    g1 = a * (S[VY] - a * S[VE] - d * S[V1])
    h00 = slope * slope * S[QQ]
    h01 = slope * a * S[QV]
    h11 = a * a * S[VV]
    b0a = slope * S[QE]
    b0d = slope * S[Q1]
    b1a = a * S[VE]
    b1d = a * S[V1]
    if free_a and free_d:
        det = S[EE] * ww - S[E1] * S[E1]
        iaa = ww / det
        idd = S[EE] / det
        iad = -S[E1] / det
        h00 -= b0a * b0a * iaa + 2.0 * b0a * b0d * iad + b0d * b0d * idd
        h01 -= b0a * b1a * iaa + (b0a * b1d + b0d * b1a) * iad + b0d * b1d * idd
        h11 -= b1a * b1a * iaa + 2.0 * b1a * b1d * iad + b1d * b1d * idd
    elif free_a:
        h00 -= b0a * b0a / S[EE]
        h01 -= b0a * b1a / S[EE]
        h11 -= b1a * b1a / S[EE]
    elif free_d:
        h00 -= b0d * b0d / ww
        h01 -= b0d * b1d / ww
        h11 -= b1d * b1d / ww
    return g0, g1, h00, h01, h11


@compiled
def chi2_of(S, ww, wy, yy, a, d):
    """Weighted sum of squares from the sums."""
    return yy + a * a * S[EE] + 2.0 * a * d * S[E1] + d * d * ww - 2.0 * a * S[EY] - 2.0 * d * wy


@compiled
def last_step(S, ww, beta, stretch, a, d, free_a, free_d, g0, g1, h00, h01, h11, lower, upper):
    """Undamped step that is too small to be worth an evaluation; contrast and baseline follow to first order."""
    s0, s1 = plane_step(
        g0, g1, h00, h01, h11, 1e-14 * ww, 1e-14 * ww, beta, stretch, lower[1], upper[1], lower[2], upper[2]
    )
    if abs(s0) > LAST_STEP or abs(s1) > LAST_STEP:
        return a, beta, stretch, d
    slope = -a * stretch
    ra = -(slope * S[QE] * s0 + a * S[VE] * s1)
    rd = -(slope * S[Q1] * s0 + a * S[V1] * s1)
    if free_a and free_d:
        det = S[EE] * ww - S[E1] * S[E1]
        a += (ra * ww - rd * S[E1]) / det
        d += (rd * S[EE] - ra * S[E1]) / det
    elif free_a:
        a += ra / S[EE]
    elif free_d:
        d += rd / ww
    a = min(max(a, lower[0]), upper[0])
    d = min(max(d, lower[3]), upper[3])
    return a, min(max(beta + s0, lower[1]), upper[1]), min(max(stretch + s1, lower[2]), upper[2]), d


@compiled
def refine_single(u, y, w2, ww, wy, yy, beta, stretch, lower, upper, tolerance, max_iterations, space):
    """Levenberg-Marquardt in (beta, stretch) from one start; bounds in the order contrast, ln tau, stretch, baseline.

    Ends when the predicted decrease is below `tolerance` of chi2, and then takes that last Gauss-Newton step without
    evaluating it: the error left is of second order. Returns contrast, beta, stretch, baseline, chi2, the number of
    evaluations and a code.
    """
    decay, slope, S, T = space
    decay_sums(u, y, w2, beta, stretch, decay, slope, S)
    a, d, _, free_a, free_d = linear_box(S[EE], S[E1], ww, S[EY], wy, lower[0], upper[0], lower[3], upper[3])
    chi2 = chi2_of(S, ww, wy, yy, a, d)
    evaluations = 1
    damp = 1e-3
    growth = 2.0
    code = EXHAUSTED
    for _ in range(max_iterations):
        g0, g1, h00, h01, h11 = reduced_problem(S, ww, stretch, a, d, free_a, free_d)
        d0 = max(h00, 0.0)
        d1 = max(h11, 0.0)
        improved = False
        while damp < 1e12:
            s0, s1 = plane_step(
                g0, g1, h00, h01, h11, damp * d0 + 1e-14 * ww, damp * d1 + 1e-14 * ww,
                beta, stretch, lower[1], upper[1], lower[2], upper[2],
            )  # fmt: skip
            predicted = 2.0 * (g0 * s0 + g1 * s1) - (h00 * s0 * s0 + 2.0 * h01 * s0 * s1 + h11 * s1 * s1)
            if predicted <= tolerance * chi2:
                code = CONVERGED
                break
            new_beta = min(max(beta + s0, lower[1]), upper[1])
            new_stretch = min(max(stretch + s1, lower[2]), upper[2])
            decay_sums(u, y, w2, new_beta, new_stretch, decay, slope, T)
            evaluations += 1
            a2, d2, _, fa2, fd2 = linear_box(T[EE], T[E1], ww, T[EY], wy, lower[0], upper[0], lower[3], upper[3])
            chi2_new = chi2_of(T, ww, wy, yy, a2, d2)
            if chi2_new < chi2:
                gain = 2.0 * (chi2 - chi2_new) / predicted - 1.0
                beta = new_beta
                stretch = new_stretch
                a = a2
                d = d2
                free_a = fa2
                free_d = fd2
                chi2 = chi2_new
                for k in range(12):  # S[:] = T compiles ten seconds of broadcasting
                    S[k] = T[k]
                damp = max(damp * max(0.1, 1.0 - gain * gain * gain), 1e-12) if gain > -0.5 else damp * 2.0
                growth = 2.0
                improved = True
                break
            damp *= growth
            growth *= 2.0
        if code == CONVERGED:
            a, beta, stretch, d = last_step(
                S, ww, beta, stretch, a, d, free_a, free_d, g0, g1, h00, h01, h11, lower, upper
            )
            break
        if not improved:
            code = STALLED
            break
    return a, beta, stretch, d, chi2, evaluations, code


@compiled
def scan_table(y, w2, ww, wy, decays, first, last, lower, upper, weighted, score):
    """Chi2 (less a constant) of nodes first..last of the table, each with its best contrast and baseline.

    Four nodes at a time (their number is a multiple of four), so that weights are loaded once for them; `weighted` is
    scratch for weight times y.
    """
    for i in range(y.size):
        weighted[i] = w2[i] * y[i]
    for node in range(first, last, 4):
        row0 = decays[node]
        row1 = decays[node + 1]
        row2 = decays[node + 2]
        row3 = decays[node + 3]
        a0 = a1 = a2 = b0 = b1 = b2 = c0 = c1 = c2 = d0 = d1 = d2 = 0.0
        for i in range(y.size):
            w = w2[i]
            v = weighted[i]
            t = w * row0[i]
            a0 += t * row0[i]
            a1 += t
            a2 += v * row0[i]
            t = w * row1[i]
            b0 += t * row1[i]
            b1 += t
            b2 += v * row1[i]
            t = w * row2[i]
            c0 += t * row2[i]
            c1 += t
            c2 += v * row2[i]
            t = w * row3[i]
            d0 += t * row3[i]
            d1 += t
            d2 += v * row3[i]
        al = lower[0]
        ah = upper[0]
        dl = lower[3]
        dh = upper[3]
        _, _, score[node], _, _ = linear_box(a0, a1, ww, a2, wy, al, ah, dl, dh)
        _, _, score[node + 1], _, _ = linear_box(b0, b1, ww, b2, wy, al, ah, dl, dh)
        _, _, score[node + 2], _, _ = linear_box(c0, c1, ww, c2, wy, al, ah, dl, dh)
        _, _, score[node + 3], _, _ = linear_box(d0, d1, ww, d2, wy, al, ah, dl, dh)


@compiled
def best_node(score, last):
    """Position of the smallest score before `last`."""
    node = 0
    for k in range(1, last):
        if score[k] < score[node]:
            node = k
    return node


@compiled
def between_nodes(score, node_tau, node):
    """Ln tau at the bottom of the parabola through a node of the first row and its neighbours."""
    beta = node_tau[node]
    if 0 < node < N_TABLE - 1:
        curvature = score[node - 1] - 2.0 * score[node] + score[node + 1]
        if curvature > 0.0:
            shift = 0.5 * (score[node - 1] - score[node + 1]) / curvature
            beta += min(max(shift, -1.0), 1.0) * (node_tau[1] - node_tau[0])
    return beta


@compiled
def strike_out(score, node_tau, node_stretch, node, last):
    """Remove the neighbourhood of a used start: it is the same basin."""
    for k in range(last):
        if abs(node_tau[k] - node_tau[node]) < SAME_TAU and abs(node_stretch[k] - node_stretch[node]) < SAME_STRETCH:
            score[k] = STRUCK


@compiled
def fit_single(u, y, weight, lower, upper, table, start, starts, tolerance, z, evaluations, code, disagree):
    """Fit every curve of a stack; writes z = (contrast, ln tau, stretch, baseline) and how it went.

    `starts` says how many starts a curve gets whose decay is significant, and one whose decay is not: noise has many
    minima. `start` (n, 2) holds a further start of the user's, `NO_START` where there is none.
    """
    node_tau, node_stretch, decays = table
    n, m = y.shape
    shifted = empty_apart(m)
    w2 = empty_apart(m)
    space = (empty_apart(m), empty_apart(m), np.empty(12), np.empty(12))
    score = np.empty(node_tau.size)
    low = lower.copy()
    high = upper.copy()
    for j in range(n):
        used, _, mean, constant = load_curve(y[j], weight[j], shifted, w2)
        code[j] = EXHAUSTED
        evaluations[j] = 0
        disagree[j] = False
        if used == 0:
            continue
        ww = float(used)
        wy = 0.0
        for i in range(m):
            w2[i] *= w2[i]
            wy += w2[i] * shifted[i]
        low[3] = lower[3] - mean
        high[3] = upper[3] - mean
        scan_table(shifted, w2, ww, wy, decays, 0, N_TABLE, low, high, space[0], score)
        scanned = N_TABLE
        own = starts[0]
        given = 1 if start[j, 0] < NO_START else 0
        best = STRUCK
        attempt = 0
        while attempt < own + given:
            if attempt == own:
                beta = min(max(start[j, 0], low[1]), high[1])
                stretch = min(max(start[j, 1], low[2]), high[2])
            else:
                node = best_node(score, scanned)
                if score[node] >= STRUCK:
                    attempt = own
                    continue
                beta = between_nodes(score, node_tau, node) if attempt == 0 else node_tau[node]
                beta = min(max(beta, low[1]), high[1])
                stretch = node_stretch[node]
                strike_out(score, node_tau, node_stretch, node, scanned)
            a, beta, stretch, d, chi2, cost, ending = refine_single(
                u, shifted, w2, ww, wy, constant, beta, stretch, low, high, tolerance, MAX_ITERATIONS, space
            )
            evaluations[j] += cost
            if attempt > 0 and ending == CONVERGED and abs(chi2 - best) > SAME_MINIMUM * best + SUM_ROUNDING * constant:
                disagree[j] = True
            if chi2 < best:
                best = chi2
                z[j, 0] = a
                z[j, 1] = beta
                z[j, 2] = stretch
                z[j, 3] = d + mean
                code[j] = ending
            if attempt == 0:
                if (constant - best) * (used - 4) < CERTAIN * best:
                    own = starts[1]
                if own > 1:
                    scan_table(shifted, w2, ww, wy, decays, N_TABLE, node_tau.size, low, high, space[0], score)
                    scanned = node_tau.size
            attempt += 1
