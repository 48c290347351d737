"""Products of the rows of a double decay, and what they give at once: the best contrast and baseline, and chi2.

The model ``baseline + contrast * g1^2`` with ``g1 = fraction e1 + (1 - fraction) e2``, ``e = exp(-(t/tau)^stretch)``,
is linear in contrast and baseline, so both are eliminated in closed form (Golub and Pereyra, SIAM J. Numer. Anal. 10,
413 (1973)), and five coordinates are left, ``z = (ln tau1, stretch1, ln tau2, stretch2, fraction)``. The six rows of a
curve are the weighted decay g1^2 and its derivative along each coordinate.
"""

from __future__ import annotations

from xpcs_dask.fitting.kernel.box import linear_box
from xpcs_dask.fitting.kernel.compiled import compiled

# A curve in its own units (weights average 1, y has mean 0 and mean square 1) is an array (5, m) of the logarithms of
# the delays, y, the weights, their roots w, and w * y; its `sums` are the weighted sums of 1, y and y^2.
U, Y, WEIGHT, W, WY = range(5)
SUM_1, SUM_Y, SUM_YY = range(3)
# products of the six rows with each other, with w and with w * y, in one array (6, 8)
WITH_1, WITH_Y = 6, 7
# bounds of the linear parameters in one array
CONTRAST_LOW, CONTRAST_HIGH, BASELINE_LOW, BASELINE_HIGH = range(4)


@compiled
def fill_products(curve, rows, products):
    """Multiply the rows with each other (upper triangle), with w and with w * y: three at a time, for fewest loads."""
    for k in (0, 3):
        own_products(curve, rows, k, products)
    h00 = h01 = h02 = h10 = h11 = h12 = h20 = h21 = h22 = 0.0
    for i in range(rows.shape[1]):
        a, b, c = rows[0, i], rows[1, i], rows[2, i]
        d, e, f = rows[3, i], rows[4, i], rows[5, i]
        h00 += a * d
        h01 += a * e
        h02 += a * f
        h10 += b * d
        h11 += b * e
        h12 += b * f
        h20 += c * d
        h21 += c * e
        h22 += c * f
    products[0, 3], products[0, 4], products[0, 5] = h00, h01, h02
    products[1, 3], products[1, 4], products[1, 5] = h10, h11, h12
    products[2, 3], products[2, 4], products[2, 5] = h20, h21, h22


@compiled
def own_products(curve, rows, k, products):
    """Multiply three rows from k on with each other, with w and with w * y."""
    w = curve[W]
    wy = curve[WY]
    one0 = one1 = one2 = y0 = y1 = y2 = h00 = h01 = h02 = h11 = h12 = h22 = 0.0
    for i in range(w.size):
        a, b, c = rows[k, i], rows[k + 1, i], rows[k + 2, i]
        one0 += a * w[i]
        one1 += b * w[i]
        one2 += c * w[i]
        y0 += a * wy[i]
        y1 += b * wy[i]
        y2 += c * wy[i]
        h00 += a * a
        h01 += a * b
        h02 += a * c
        h11 += b * b
        h12 += b * c
        h22 += c * c
    products[k, WITH_1], products[k + 1, WITH_1], products[k + 2, WITH_1] = one0, one1, one2
    products[k, WITH_Y], products[k + 1, WITH_Y], products[k + 2, WITH_Y] = y0, y1, y2
    products[k, k], products[k, k + 1], products[k, k + 2] = h00, h01, h02
    products[k + 1, k + 1], products[k + 1, k + 2], products[k + 2, k + 2] = h11, h12, h22


@compiled
def best_linear(products, sums, linear):
    """Return contrast, baseline, chi2 and whether each is free, from the products of the rows."""
    ee = products[0, 0]
    e1 = products[0, WITH_1]
    ey = products[0, WITH_Y]
    one = sums[SUM_1]
    y = sums[SUM_Y]
    a, d, _, free_a, free_d = linear_box(ee, e1, one, ey, y, linear[0], linear[1], linear[2], linear[3])
    chi2 = sums[SUM_YY] + a * a * ee + 2.0 * a * d * e1 + d * d * one - 2.0 * a * ey - 2.0 * d * y
    return a, d, chi2, free_a, free_d


@compiled
def linear_inverse(products, one, free_a, free_d):
    """Inverse of the normal matrix of contrast and baseline: (aa, ad, dd), 0 for what is on its bound."""
    ee = products[0, 0]
    e1 = products[0, WITH_1]
    iaa = iad = idd = 0.0
    if free_a and free_d:
        det = ee * one - e1 * e1
        iaa = one / det
        idd = ee / det
        iad = -e1 / det
    elif free_a:
        iaa = 1.0 / ee
    elif free_d:
        idd = 1.0 / one
    return iaa, iad, idd
