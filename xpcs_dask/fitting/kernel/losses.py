"""Compiled penalties on residuals, as scipy.optimize.least_squares defines them, and Tukey's biweight.

``C^2 sum rho((r/C)^2)`` is what a fit makes small.
"""

from __future__ import annotations

import math

from xpcs_dask.fitting.kernel.compiled import compiled

LINEAR, SOFT_L1, HUBER, CAUCHY, ARCTAN, TUKEY = range(6)
LOSSES = {"linear": LINEAR, "soft_l1": SOFT_L1, "huber": HUBER, "cauchy": CAUCHY, "arctan": ARCTAN, "tukey": TUKEY}
LEAST_CURVATURE = 0.05
"""Smallest share of rho' that the second derivative of a loss may leave: keeps the Hessian positive."""


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
