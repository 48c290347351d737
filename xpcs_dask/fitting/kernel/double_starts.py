"""Later starts of a double decay: bumps on the single fit, and swaps of one component of the best fit so far.

What a noisy curve cannot decide between are minima of the kind "one broad decay and a small sharp one", which no coarse
grid of pairs sees.

- **Bumps**: the single fit plus a small, sharp component at each of 32 delays, scored by the decrease of chi2 to first
  order, with the single fit re-adjusted (projected out).
- **Swaps**: one component of the best fit is kept, the other replaced by a sharp one at each node, with the best
  fraction: mends about half of what pairs and bumps missed.
"""

from __future__ import annotations

import math

import numpy as np

from xpcs_dask.fitting.kernel.apart import empty_apart
from xpcs_dask.fitting.kernel.compiled import compiled
from xpcs_dask.fitting.kernel.double_pairs import best_contrast, centring
from xpcs_dask.fitting.kernel.double_products import WEIGHT, U, W, Y
from xpcs_dask.fitting.kernel.exp import near_exp

SWAP_FRACTIONS = np.array([0.05, 0.15, 0.3, 0.45, 0.6, 0.75, 0.85, 0.92, 0.97])
"""Of the component that is kept."""
SMALLEST_BUMP, LARGEST_BUMP = 0.03, 0.5
SAME_TAU = 0.7
"""A sharp component this near (in ln tau) to the one it replaces is the same."""
STRUCK = 1e300
GAIN, SIZE = 0, 1
"""Rows of the scores of bumps: decrease of chi2, and share of the added component."""
# sums of weight e^p row^q (y^r) of the component kept with a sharp one
S11, S02, S31, S22, S13, S04, Y11, Y02 = range(8)


@compiled
def bump_columns(curve, a, ln_tau, stretch, d, columns):
    """Fill what bumps are projected on, all weighted but the last.

    0..3: derivatives of the single fit (baseline, contrast, ln tau, stretch), orthonormal; 4: its residuals, less what
    those can explain; 5: derivative of the model with respect to g1; 6: g1.
    """
    m = curve.shape[1]
    for i in range(m):
        v = curve[U, i] - ln_tau
        power = near_exp(stretch * v)
        e = near_exp(-power)
        w = curve[W, i]
        slope = 2.0 * a * e * e * power * w
        columns[0, i] = w
        columns[1, i] = w * e * e
        columns[2, i] = slope
        columns[3, i] = slope * v
        columns[4, i] = w * (curve[Y, i] - a * e * e - d)
        columns[5, i] = 2.0 * a * e * w
        columns[6, i] = e
    for k in range(5):
        before = 0.0
        for i in range(m):
            before += columns[k, i] * columns[k, i]
        for j in range(k):
            t = 0.0
            for i in range(m):
                t += columns[k, i] * columns[j, i]
            for i in range(m):
                columns[k, i] -= t * columns[j, i]
        after = 0.0
        for i in range(m):
            after += columns[k, i] * columns[k, i]
        t = 1.0 / math.sqrt(after) if after > 1e-12 * before + 1e-300 else 0.0
        for i in range(m):
            columns[k, i] *= 1.0 if k == 4 else t


@compiled
def score_bumps(curve, sharp, a, ln_tau, stretch, d, score):
    """Fill the first-order decrease of chi2 when a share of each sharp component is mixed into the single fit."""
    Q = np.empty((7, curve.shape[1]))
    bump_columns(curve, a, ln_tau, stretch, d, Q)
    for k in range(sharp.shape[0]):
        norm = p0 = p1 = p2 = p3 = overlap = 0.0
        for i in range(sharp.shape[1]):
            x = Q[5, i] * (sharp[k, i] - Q[6, i])
            norm += x * x
            p0 += x * Q[0, i]
            p1 += x * Q[1, i]
            p2 += x * Q[2, i]
            p3 += x * Q[3, i]
            overlap += x * Q[4, i]
        left = max(norm - p0 * p0 - p1 * p1 - p2 * p2 - p3 * p3, 1e-12 * norm + 1e-300)
        size = min(max(overlap / left, 0.0), 1.0)
        score[SIZE, k] = size
        score[GAIN, k] = size * (2.0 * overlap - size * left)


@compiled
def propose_bump(sharp_ln_tau, sharp_stretch, ln_tau, stretch, score, z):
    """Write the best bump not used yet into z, and strike out its neighbours; False where none helps."""
    node = np.argmax(score[GAIN])
    if score[GAIN, node] <= 0.0:
        return False
    z[0] = ln_tau
    z[1] = stretch
    z[2] = sharp_ln_tau[node]
    z[3] = sharp_stretch
    z[4] = 1.0 - min(max(score[SIZE, node], SMALLEST_BUMP), LARGEST_BUMP)
    for k in range(score.shape[1]):
        if abs(k - node) <= 2:
            score[GAIN, k] = 0.0
    return True


@compiled
def swap_sums(curve, sharp, ln_tau, stretch, e, M):
    """Fill the sums of the component kept with every sharp one; returns those of the component alone."""
    m = curve.shape[1]
    weight = curve[WEIGHT]
    y = curve[Y]
    own2 = own4 = own_y = 0.0
    for i in range(m):
        e[i] = near_exp(-near_exp(stretch * (curve[U, i] - ln_tau)))
        square = e[i] * e[i]
        t = weight[i] * square
        own2 += t
        own4 += t * square
        own_y += t * y[i]
    for k in range(sharp.shape[0]):
        s11 = s02 = s31 = s22 = s13 = s04 = y11 = y02 = 0.0
        for i in range(m):
            p = e[i]
            q = sharp[k, i]
            once = weight[i] * p * q
            twice = weight[i] * q * q
            s11 += once
            s02 += twice
            s31 += once * p * p
            s22 += once * p * q
            s13 += once * q * q
            s04 += twice * q * q
            y11 += once * y[i]
            y02 += twice * y[i]
        M[S11, k] = s11
        M[S02, k] = s02
        M[S31, k] = s31
        M[S22, k] = s22
        M[S13, k] = s13
        M[S04, k] = s04
        M[Y11, k] = y11
        M[Y02, k] = y02
    return own2, own4, own_y


@compiled
def score_swaps(curve, sums, linear, sharp_ln_tau, sharp, best, score, fraction):
    """Fill the lowest chi2 (less a constant) and its fraction when one component of the fit becomes each sharp one.

    Row 0 keeps the first component, row 1 the second.
    """
    inverse, mean = centring(sums, linear)
    M = np.empty((8, sharp.shape[0]))
    e = empty_apart(curve.shape[1])
    score[:] = STRUCK
    fraction[:] = 0.5
    for side in range(2):
        own2, own4, own_y = swap_sums(curve, sharp, best[2 * side], best[2 * side + 1], e, M)
        for f in SWAP_FRACTIONS:
            g = 1.0 - f
            f40, f31, f22, f13, f04 = f**4, 4.0 * f**3 * g, 6.0 * f * f * g * g, 4.0 * f * g**3, g**4
            for k in range(sharp.shape[0]):
                ee = f40 * own4 + f31 * M[S31, k] + f22 * M[S22, k] + f13 * M[S13, k] + f04 * M[S04, k]
                e1 = f * f * own2 + 2.0 * f * g * M[S11, k] + g * g * M[S02, k]
                ey = f * f * own_y + 2.0 * f * g * M[Y11, k] + g * g * M[Y02, k]
                value = best_contrast(ee, e1, ey, inverse, mean, linear[0], linear[1])
                fraction[side, k] = f if value < score[side, k] else fraction[side, k]
                score[side, k] = min(score[side, k], value)
        for k in range(sharp.shape[0]):
            if abs(sharp_ln_tau[k] - best[2 - 2 * side]) < SAME_TAU:
                score[side, k] = STRUCK


@compiled
def propose_swap(sharp_ln_tau, sharp_stretch, best, score, fraction, z):
    """Write the best swap not used yet into z, and strike out its neighbours; False where none is left."""
    side = 0 if score[0].min() <= score[1].min() else 1
    node = np.argmin(score[side])
    if score[side, node] >= STRUCK:
        return False
    z[0] = best[2 * side]
    z[1] = best[2 * side + 1]
    z[2] = sharp_ln_tau[node]
    z[3] = sharp_stretch
    z[4] = fraction[side, node]
    for k in range(score.shape[1]):
        if abs(k - node) <= 2:
            score[side, k] = STRUCK
    return True
