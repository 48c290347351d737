"""Compiled descent of the double model to a minimum, by variable projection inside a box.

The model ``baseline + contrast * g1^2`` with ``g1 = fraction e1 + (1 - fraction) e2``, ``e = exp(-(t/tau)^stretch)`` is
linear in contrast and baseline, so both are eliminated in closed form (Golub and Pereyra, SIAM J. Numer. Anal. 10, 413
(1973)); the Levenberg-Marquardt runs in five coordinates ``z = (ln tau1, stretch1, ln tau2, stretch2, fraction)``. One
pass over the delays fills six rows: the weighted decay g1^2 and its derivative along each coordinate. Their products
give chi2, its gradient and Kaufman's Hessian (BIT 15, 49 (1975)) with contrast and baseline re-adjusted.

The step is the exact minimum of the damped quadratic in the box (`box_step`). Clipping all violated bounds at once is
much simpler, but is no minimum: 40 % of the failures of such a fit were not minima at all.
"""

from __future__ import annotations

import numpy as np

from xpcs_dask.fitting.kernel.box import box_step, linear_box
from xpcs_dask.fitting.kernel.compiled import compiled
from xpcs_dask.fitting.kernel.exp import near_exp
from xpcs_dask.fitting.kernel.single import CONVERGED, EXHAUSTED, STALLED

HOPELESS, REPEATED = 3, 4
"""How a start may also end: cut short because it cannot beat the best one, or because it runs into a known minimum."""
MAX_ITERATIONS = 200
TOLERANCE = 1e-9
"""Predicted decrease over chi2 that ends the descent (flat valleys need it this small)."""
PATIENCE = 5.0
"""How many decreases of the size predicted a later start may hope for before it is given up."""
SAME = 0.03
"""Two points this near in every coordinate run into the same minimum."""

# A curve in its own units (weights average 1, y has mean 0 and mean square 1) is an array (5, m) of the logarithms of
# the delays, y, the weights, their roots w, and w * y; its `sums` are the weighted sums of 1, y and y^2.
U, Y, WEIGHT, W, WY = range(5)
SUM_1, SUM_Y, SUM_YY = range(3)
# products of the six rows with each other, with w and with w * y, in one array (6, 8)
WITH_1, WITH_Y = 6, 7
# bounds of the linear parameters in one array
CONTRAST_LOW, CONTRAST_HIGH, BASELINE_LOW, BASELINE_HIGH = range(4)


@compiled
def fill_rows(curve, z, rows):
    """Weigh the decay g1^2 and its derivatives along z: the only pass that takes exponentials."""
    u = curve[U]
    w = curve[W]
    ln_tau1 = z[0]
    stretch1 = z[1]
    ln_tau2 = z[2]
    stretch2 = z[3]
    f = z[4]
    for i in range(u.size):
        v1 = u[i] - ln_tau1
        v2 = u[i] - ln_tau2
        power1 = near_exp(stretch1 * v1)
        power2 = near_exp(stretch2 * v2)
        e1 = near_exp(-power1)
        e2 = near_exp(-power2)
        g1 = f * e1 + (1.0 - f) * e2
        outer = 2.0 * g1 * w[i]
        slope1 = outer * f * e1 * power1
        slope2 = outer * (1.0 - f) * e2 * power2
        rows[0, i] = w[i] * g1 * g1
        rows[1, i] = stretch1 * slope1
        rows[2, i] = -v1 * slope1
        rows[3, i] = stretch2 * slope2
        rows[4, i] = -v2 * slope2
        rows[5, i] = outer * (e1 - e2)


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
def evaluate(curve, sums, linear, z, rows, products):
    """Return the best contrast and baseline at z, chi2 there, and whether each of the two is free."""
    fill_rows(curve, z, rows)
    fill_products(curve, rows, products)
    return best_linear(products, sums, linear)


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


@compiled
def reduce_problem(products, one, a, d, free_a, free_d, H, g):
    """Fill half the gradient (downhill) and Kaufman's Hessian in z, with contrast and baseline re-adjusted if free."""
    iaa, iad, idd = linear_inverse(products, one, free_a, free_d)
    for k in range(5):
        along_a = a * products[0, k + 1]
        along_d = a * products[k + 1, WITH_1]
        g[k] = a * products[k + 1, WITH_Y] - a * along_a - d * along_d
        xa = along_a * iaa + along_d * iad
        xd = along_a * iad + along_d * idd
        for j in range(k, 5):
            t = a * a * products[k + 1, j + 1] - a * products[0, j + 1] * xa - a * products[j + 1, WITH_1] * xd
            H[k, j] = t
            H[j, k] = t


@compiled
def known_minimum(z, step, minima, found, swappable):
    """Whether the step leads next to a minimum found before, under either labelling where the two boxes are equal."""
    for k in range(found):
        straight = 0.0
        swapped = 0.0
        for i in range(5):
            target = z[i] + step[i]
            other = 1.0 - minima[k, 4] if i == 4 else minima[k, (i + 2) % 4]
            straight = max(straight, abs(target - minima[k, i]))
            swapped = max(swapped, abs(target - other))
        if straight < SAME or (swappable and swapped < SAME):
            return True
    return False


@compiled
def cut_short(z, step, predicted, chi2, damp, best, minima, found, swappable):
    """`HOPELESS` or `REPEATED` where going on cannot pay, else 0."""
    if damp <= 1e-2 and chi2 - PATIENCE * predicted > best:
        return HOPELESS
    near = predicted < 0.05 * chi2 and chi2 - predicted < 1.02 * best and chi2 > best
    if near and known_minimum(z, step, minima, found, swappable):
        return REPEATED
    return 0


@compiled
def refine_double(curve, sums, linear, lower, upper, z, best, minima, found, swappable):
    """Levenberg-Marquardt from z (changed in place) until the predicted decrease is `TOLERANCE` of chi2.

    A start that cannot pay is cut short, which saves a quarter of the evaluations: when even `PATIENCE` times the
    predicted decrease would not bring it below `best`, or when it runs into one of the `minima` found before. Returns
    contrast, baseline, chi2, evaluations and a code.
    """
    rows = np.empty((6, curve.shape[1]))
    products = np.empty((6, 8))
    small = np.empty((15, 5))
    H = small[:5]
    L = small[5:10]
    g = small[10]
    size = small[11]
    damping = small[12]
    step = small[13]
    trial = small[14]
    free = np.empty(5, np.int8)
    a, d, chi2, free_a, free_d = evaluate(curve, sums, linear, z, rows, products)
    reduce_problem(products, sums[SUM_1], a, d, free_a, free_d, H, g)
    evaluations = 1
    size[:] = 0.0
    damp = 0.1
    growth = 2.0
    moved = True
    only_damped = False
    code = EXHAUSTED
    while evaluations < MAX_ITERATIONS:
        if not only_damped:
            for k in range(5):
                size[k] = max(H[k, k], 0.1 * size[k]) + 1e-14 * sums[SUM_1]
        for k in range(5):
            damping[k] = damp * size[k]
        predicted = box_step(H, g, damping, z, lower, upper, 5, step, free, L, trial)
        if moved and found > 0 and evaluations >= 4:
            code = cut_short(z, step, predicted, chi2, damp, best, minima, found, swappable)
            if code != EXHAUSTED:
                break
        if predicted <= TOLERANCE * chi2:
            if only_damped or damp <= 1e-6 or predicted <= 1e-14 * chi2:
                code = CONVERGED
                break
            damp *= 1e-3  # perhaps only the damping keeps the step small: look once more
            only_damped = True
            continue
        only_damped = False
        for k in range(5):
            trial[k] = min(max(z[k] + step[k], lower[k]), upper[k])
        a_new, d_new, chi2_new, free_a, free_d = evaluate(curve, sums, linear, trial, rows, products)
        evaluations += 1
        moved = chi2_new < chi2
        if moved:
            gain = 2.0 * (chi2 - chi2_new) / predicted - 1.0
            z[:] = trial
            a = a_new
            d = d_new
            chi2 = chi2_new
            reduce_problem(products, sums[SUM_1], a, d, free_a, free_d, H, g)
            damp = max(damp * max(0.1, 1.0 - gain * gain * gain), 1e-12) if gain > -0.5 else 2.0 * damp
            growth = 2.0
        else:
            damp *= growth
            growth *= 2.0
            if damp > 1e10:
                code = STALLED
                break
    return a, d, chi2, evaluations, code
