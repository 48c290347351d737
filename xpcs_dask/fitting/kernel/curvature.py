"""Second derivatives of the models, contracted with the residuals.

Gauss-Newton leaves this part of the Hessian out. It is small where the model follows the data, but on noise without a
decay it is as large as the rest: Gauss-Newton then creeps for a hundred passes where Newton needs five.
"""

from __future__ import annotations

from xpcs_dask.fitting.kernel.compiled import compiled
from xpcs_dask.fitting.kernel.exp import vexp


@compiled
def single_curvature(u, z, pull, Q):
    """Fill ``Q = sum pull * d2 model`` over (contrast, ln tau, stretch, baseline); all arrays per point."""
    a = z[0]
    stretch = z[2]
    s0 = s1 = t0 = t1 = t2 = 0.0
    for i in range(u.size):
        v = u[i] - z[1]
        power = vexp(stretch * v)
        bend = pull[i] * vexp(-2.0 * power) * power
        turn = bend * (2.0 * power - 1.0)
        s0 += bend
        s1 += bend * v
        t0 += turn
        t1 += turn * v
        t2 += turn * v * v
    for k in range(4):
        for j in range(4):
            Q[k, j] = 0.0
    Q[1, 0] = Q[0, 1] = 2.0 * stretch * s0
    Q[2, 0] = Q[0, 2] = -2.0 * s1
    Q[1, 1] = 2.0 * a * stretch * stretch * t0
    Q[2, 1] = Q[1, 2] = 2.0 * a * (s0 - stretch * t1)
    Q[2, 2] = 2.0 * a * t2


@compiled
def double_curvature(u, z, pull, Q):
    """Fill the same over (contrast, ln tau1, stretch1, baseline, ln tau2, stretch2, fraction)."""
    a = z[0]
    f = z[6]
    for k in range(7):
        for j in range(7):
            Q[k, j] = 0.0
    for i in range(u.size):
        v1 = u[i] - z[1]
        v2 = u[i] - z[4]
        power1 = vexp(z[2] * v1)
        power2 = vexp(z[5] * v2)
        e1 = vexp(-power1)
        e2 = vexp(-power2)
        p1 = e1 * power1
        p2 = e2 * power2
        g1 = f * e1 + (1.0 - f) * e2
        d1 = f * z[2] * p1
        d2 = -f * v1 * p1
        d4 = (1.0 - f) * z[5] * p2
        d5 = -(1.0 - f) * v2 * p2
        d6 = e1 - e2
        t = 2.0 * pull[i]
        w = t * a
        tg = t * g1
        wg = w * g1
        Q[1, 0] += tg * d1
        Q[2, 0] += tg * d2
        Q[4, 0] += tg * d4
        Q[5, 0] += tg * d5
        Q[6, 0] += tg * d6
        Q[1, 1] += w * d1 * d1 + wg * z[2] * d1 * (power1 - 1.0)
        Q[2, 1] += w * d1 * d2 + wg * (f * p1 + v1 * d1 * (1.0 - power1))
        Q[2, 2] += w * d2 * d2 + wg * v1 * d2 * (1.0 - power1)
        Q[4, 1] += w * d1 * d4
        Q[4, 2] += w * d2 * d4
        Q[4, 4] += w * d4 * d4 + wg * z[5] * d4 * (power2 - 1.0)
        Q[5, 1] += w * d1 * d5
        Q[5, 2] += w * d2 * d5
        Q[5, 4] += w * d4 * d5 + wg * ((1.0 - f) * p2 + v2 * d4 * (1.0 - power2))
        Q[5, 5] += w * d5 * d5 + wg * v2 * d5 * (1.0 - power2)
        Q[6, 1] += w * d1 * d6 + wg * z[2] * p1
        Q[6, 2] += w * d2 * d6 - wg * v1 * p1
        Q[6, 4] += w * d4 * d6 - wg * z[5] * p2
        Q[6, 5] += w * d5 * d6 + wg * v2 * p2
        Q[6, 6] += w * d6 * d6
    for k in range(7):
        for j in range(k):
            Q[j, k] = Q[k, j]
