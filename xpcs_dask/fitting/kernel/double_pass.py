"""One pass over the delays of a curve of two components: exponentials as precise as numbers are, rows, products.

Exponentials are kept apart from what they are weighed with: those of a parent's minimum serve all its resamples.
"""

from __future__ import annotations

from xpcs_dask.fitting.kernel.compiled import compiled
from xpcs_dask.fitting.kernel.double_products import U, W, best_linear, fill_products
from xpcs_dask.fitting.kernel.exp import estrin_exp


@compiled
def fill_exponentials(u, z, E):
    """Fill the rows of E with e1, E1, e2, E2, where e = exp(-E)."""
    ln_tau1 = z[0]
    stretch1 = z[1]
    ln_tau2 = z[2]
    stretch2 = z[3]
    for i in range(u.size):
        power1 = estrin_exp(stretch1 * (u[i] - ln_tau1))
        power2 = estrin_exp(stretch2 * (u[i] - ln_tau2))
        E[0, i] = estrin_exp(-power1)
        E[1, i] = power1
        E[2, i] = estrin_exp(-power2)
        E[3, i] = power2


@compiled
def fill_rows(curve, z, E, rows):
    """Weigh the decay g1^2 and its derivatives along z."""
    u = curve[U]
    w = curve[W]
    ln_tau1 = z[0]
    stretch1 = z[1]
    ln_tau2 = z[2]
    stretch2 = z[3]
    f = z[4]
    for i in range(u.size):
        e1 = E[0, i]
        e2 = E[2, i]
        g1 = f * e1 + (1.0 - f) * e2
        outer = 2.0 * g1 * w[i]
        slope1 = outer * f * e1 * E[1, i]
        slope2 = outer * (1.0 - f) * e2 * E[3, i]
        rows[0, i] = w[i] * g1 * g1
        rows[1, i] = stretch1 * slope1
        rows[2, i] = (ln_tau1 - u[i]) * slope1
        rows[3, i] = stretch2 * slope2
        rows[4, i] = (ln_tau2 - u[i]) * slope2
        rows[5, i] = outer * (e1 - e2)


@compiled
def evaluate(curve, sums, linear, z, E, rows, products):
    """Fill exponentials, rows and products at z; returns contrast, baseline, chi2 and whether each is free."""
    fill_exponentials(curve[U], z, E)
    fill_rows(curve, z, E, rows)
    fill_products(curve, rows, products)
    return best_linear(products, sums, linear)
