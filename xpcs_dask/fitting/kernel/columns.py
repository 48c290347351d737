"""Weighted residuals of both families and their derivatives, one pass over the delays."""

from __future__ import annotations

from xpcs_dask.fitting.kernel.compiled import compiled
from xpcs_dask.fitting.kernel.exp import vexp

SINGLE_SIZE = 4
"""Number of parameters of the single family; the double one has 7."""


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
