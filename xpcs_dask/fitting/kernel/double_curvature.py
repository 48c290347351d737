"""Second derivatives of a decay of two components: what a Newton step knows beyond Gauss and Newton's."""

from __future__ import annotations

from xpcs_dask.fitting.kernel.compiled import compiled
from xpcs_dask.fitting.kernel.double_products import WY, U, W

RESIDUAL, DECAY = range(2)
"""Rows of the scratch array of a curve: twice the weighted residual times w, and g1."""


@compiled
def fill_scratch(curve, f, a, d, E, rows, scratch):
    """Fill what all second derivatives have in common."""
    w = curve[W]
    wy = curve[WY]
    for i in range(w.size):
        scratch[RESIDUAL, i] = 2.0 * w[i] * (wy[i] - d * w[i] - a * rows[0, i])
        scratch[DECAY, i] = f * E[0, i] + (1.0 - f) * E[2, i]


@compiled
def own_curvature(u, z0, f, e, power, scratch):
    """Weighted sums of the second derivatives within one component (1, v, v^2) and of its first one."""
    m0 = m1 = m2 = c = 0.0
    for i in range(u.size):
        v = u[i] - z0
        p = e[i] * power[i]
        tp = scratch[RESIDUAL, i] * p
        tg = tp * scratch[DECAY, i]
        bend = f * tp * p + tg * (power[i] - 1.0)
        along = bend * v
        c += tg
        m0 += bend
        m1 += along
        m2 += along * v
    return m0, m1, m2, c


@compiled
def mixed_curvature(u, z, E, scratch, Q):
    """Fill the second derivatives between components and with the fraction."""
    f = z[4]
    a0 = a1 = a2 = a12 = f1 = f1v = f2 = f2v = ff = 0.0
    for i in range(u.size):
        v1 = u[i] - z[0]
        v2 = u[i] - z[2]
        t = scratch[RESIDUAL, i]
        g1 = scratch[DECAY, i]
        d6 = E[0, i] - E[2, i]
        t1 = t * E[0, i] * E[1, i]
        p2 = E[2, i] * E[3, i]
        both = t1 * p2
        along = both * v1
        own1 = t1 * (f * d6 + g1)
        own2 = t * p2 * ((1.0 - f) * d6 - g1)
        a0 += both
        a1 += along
        a2 += both * v2
        a12 += along * v2
        f1 += own1
        f1v += own1 * v1
        f2 += own2
        f2v += own2 * v2
        ff += t * d6 * d6
    share = f * (1.0 - f)
    Q[2, 0] = share * z[1] * z[3] * a0
    Q[2, 1] = -share * z[3] * a1
    Q[3, 0] = -share * z[1] * a2
    Q[3, 1] = share * a12
    Q[4, 0] = z[1] * f1
    Q[4, 1] = -f1v
    Q[4, 2] = z[3] * f2
    Q[4, 3] = -f2v
    Q[4, 4] = ff


@compiled
def fill_curvature(curve, z, a, d, E, rows, scratch, Q):
    """Fill Q, lower triangle: residuals times second derivatives of g1^2 along z. `scratch` is (2, m)."""
    f = z[4]
    fill_scratch(curve, f, a, d, E, rows, scratch)
    m0, m1, m2, c = own_curvature(curve[U], z[0], f, E[0], E[1], scratch)
    Q[0, 0] = f * z[1] * z[1] * m0
    Q[1, 0] = f * (c - z[1] * m1)
    Q[1, 1] = f * m2
    m0, m1, m2, c = own_curvature(curve[U], z[2], 1.0 - f, E[2], E[3], scratch)
    Q[2, 2] = (1.0 - f) * z[3] * z[3] * m0
    Q[3, 2] = (1.0 - f) * (c - z[3] * m1)
    Q[3, 3] = (1.0 - f) * m2
    mixed_curvature(curve[U], z, E, scratch, Q)
