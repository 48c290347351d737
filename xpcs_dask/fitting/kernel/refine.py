"""Compiled last word on every fit: all parameters, residual form, any loss.

Variable projection works with sums, which cancel when the noise is very small, and only for least squares. Here one
pass computes the residuals and every derivative, so chi2, the gradient and the covariance are as exact as the data; for
least squares the start is already the minimum and one pass confirms it; for robust losses this is the fit.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpcs_dask.fitting.kernel.apart import apart, empty_apart
from xpcs_dask.fitting.kernel.columns import weighted_columns
from xpcs_dask.fitting.kernel.compiled import careful, compiled
from xpcs_dask.fitting.kernel.covariance import invert_free, multiply_sandwich, sandwich_middle
from xpcs_dask.fitting.kernel.losses import CAUCHY, LINEAR, SOFT_L1, TUKEY, loss_weights
from xpcs_dask.fitting.kernel.newton import confirm
from xpcs_dask.fitting.kernel.scales import BIWEIGHT_95, CAUCHY_95, MAD_TO_SIGMA
from xpcs_dask.fitting.kernel.single import EXHAUSTED, load_curve


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
    points = (apart(m) for _ in range(4))
    matrices = (np.zeros((even, even)) for _ in range(6))
    vectors = (np.zeros(even) for _ in range(7))
    return (apart(even, m), *points, *matrices, *vectors, np.zeros(even, dtype=np.int8))


@compiled
def refine_stack(u, y, weight, lower, upper, loss, loss_scale, z, chi2, covariance, n_used, evaluations, code, space):
    """Bring every z (n, p) to its minimum; writes chi2, covariance (n, p, p) in z, and how it went.

    Tukey's biweight is the second half of an MM estimate: a Cauchy fit gives the start and, by its median absolute
    residual, the scale. Non-convex losses also start from the soft_l1 minimum; the lower cost is kept.
    """
    n, m = y.shape
    p = z.shape[1]
    J, r, first, second, _, H, H2, V, L, _, _, _, _, _, step, _, _, _, free = space
    shifted = empty_apart(m)
    w = empty_apart(m)
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
                C = BIWEIGHT_95 * loss_scale * max(MAD_TO_SIGMA * median_absolute(r, w, second), 1e-12 * unit)
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
