"""Second derivatives of a decay of two components: what a Newton step knows beyond Gauss and Newton's."""

from __future__ import annotations

from xpcs_dask.fitting.kernel.compiled import compiled
from xpcs_dask.fitting.kernel.double_refine import WY, U, W


@compiled
def own_curvature(curve, z0, a, d, f, e, power, rows, side):
    """Weighted sums of the second derivatives within one component (1, v, v^2) and of its first one."""
    u = curve[U]
    w = curve[W]
    wy = curve[WY]
    m0 = m1 = m2 = c = 0.0
    for i in range(u.size):
        v = u[i] - z0
        t = 2.0 * w[i] * (wy[i] - d * w[i] - a * rows[0, i])
        g1 = side[i]
        p = e[i] * power[i]
        tg = t * g1 * p
        bend = f * t * p * p + tg * (power[i] - 1.0)
        c += tg
        m0 += bend
        m1 += bend * v
        m2 += bend * v * v
    return m0, m1, m2, c


@compiled
def mixed_curvature(curve, z, a, d, E, rows, Q):
    """Fill the second derivatives between components and with the fraction."""
    u = curve[U]
    w = curve[W]
    wy = curve[WY]
    f = z[4]
    a0 = a1 = a2 = a12 = f1 = f1v = f2 = f2v = ff = 0.0
    for i in range(u.size):
        v1 = u[i] - z[0]
        v2 = u[i] - z[2]
        t = 2.0 * w[i] * (wy[i] - d * w[i] - a * rows[0, i])
        g1 = f * E[0, i] + (1.0 - f) * E[2, i]
        d6 = E[0, i] - E[2, i]
        p1 = E[0, i] * E[1, i]
        p2 = E[2, i] * E[3, i]
        both = t * p1 * p2
        own1 = t * p1 * (f * d6 + g1)
        own2 = t * p2 * ((1.0 - f) * d6 - g1)
        a0 += both
        a1 += both * v1
        a2 += both * v2
        a12 += both * v1 * v2
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
def fill_curvature(curve, z, a, d, E, rows, g1, Q):
    """Fill Q, lower triangle: residuals times second derivatives of g1^2 along z."""
    f = z[4]
    for i in range(g1.size):
        g1[i] = f * E[0, i] + (1.0 - f) * E[2, i]
    m0, m1, m2, c = own_curvature(curve, z[0], a, d, f, E[0], E[1], rows, g1)
    Q[0, 0] = f * z[1] * z[1] * m0
    Q[1, 0] = f * (c - z[1] * m1)
    Q[1, 1] = f * m2
    m0, m1, m2, c = own_curvature(curve, z[2], a, d, 1.0 - f, E[2], E[3], rows, g1)
    Q[2, 2] = (1.0 - f) * z[3] * z[3] * m0
    Q[3, 2] = (1.0 - f) * (c - z[3] * m1)
    Q[3, 3] = (1.0 - f) * m2
    mixed_curvature(curve, z, a, d, E, rows, Q)
