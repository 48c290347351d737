"""Compiled refits of resampled curves, two stretched exponentials.

As `replicates_single`: exponentials of the parent's minimum serve the first step of all its replicates, steps are
Newton's in ``(ln tau1, stretch1, ln tau2, stretch2, fraction)`` inside the box by the active set of `box`, contrast and
baseline eliminated. Between components that are hard to tell apart Gauss-Newton creeps; the exact Hessian does not.
"""

from __future__ import annotations

import math

import numpy as np

from xpcs_dask.fitting.kernel.box import PIVOT, box_step
from xpcs_dask.fitting.kernel.compiled import compiled
from xpcs_dask.fitting.kernel.double_curvature import fill_curvature
from xpcs_dask.fitting.kernel.double_refine import (
    SUM_1,
    SUM_Y,
    SUM_YY,
    WITH_1,
    WITH_Y,
    WY,
    U,
    W,
    best_linear,
    fill_products,
    linear_inverse,
)
from xpcs_dask.fitting.kernel.exp import vexp
from xpcs_dask.fitting.kernel.newton import is_indefinite
from xpcs_dask.fitting.kernel.replicates_single import LAST, SUMS_EXACT, unshifted
from xpcs_dask.fitting.kernel.resample import PAIRS, draw
from xpcs_dask.fitting.kernel.single import CONVERGED, EXHAUSTED, LAST_STEP, STALLED

MAX_PASSES = 25
"""Passes after which a refit is left to the residual form."""


@compiled
def fill_exponentials(u, z, E):
    """Fill the rows of E with e1, E1, e2, E2, where e = exp(-E)."""
    for i in range(u.size):
        power1 = vexp(z[1] * (u[i] - z[0]))
        power2 = vexp(z[3] * (u[i] - z[2]))
        E[0, i] = vexp(-power1)
        E[1, i] = power1
        E[2, i] = vexp(-power2)
        E[3, i] = power2


@compiled
def fill_rows(curve, z, E, rows):
    """Weigh the decay g1^2 and its derivatives along z."""
    u = curve[U]
    w = curve[W]
    f = z[4]
    for i in range(u.size):
        e1 = E[0, i]
        e2 = E[2, i]
        g1 = f * e1 + (1.0 - f) * e2
        outer = 2.0 * g1 * w[i]
        slope1 = outer * f * e1 * E[1, i]
        slope2 = outer * (1.0 - f) * e2 * E[3, i]
        rows[0, i] = w[i] * g1 * g1
        rows[1, i] = z[1] * slope1
        rows[2, i] = (z[0] - u[i]) * slope1
        rows[3, i] = z[3] * slope2
        rows[4, i] = (z[2] - u[i]) * slope2
        rows[5, i] = outer * (e1 - e2)


@compiled
def evaluate(curve, sums, linear, z, E, rows, products):
    """Return contrast, baseline, chi2 and whether each is free, from exponentials E at z."""
    fill_rows(curve, z, E, rows)
    fill_products(curve, rows, products)
    return best_linear(products, sums, linear)


@compiled
def newton_problem(products, Q, one, a, d, free_a, free_d, exact, N, g, along, follow):
    """Fill half the gradient (downhill), the reduced Hessian and how contrast and baseline follow each coordinate.

    `exact` is 1 for the Hessian of chi2 with contrast and baseline eliminated, 0 for its Gauss-Newton part.
    """
    iaa, iad, idd = linear_inverse(products, one, free_a, free_d)
    for k in range(5):
        pull = products[k + 1, WITH_Y] - a * products[0, k + 1] - d * products[k + 1, WITH_1]
        g[k] = a * pull
        along_a = a * products[0, k + 1] - exact * pull
        along[k] = along_a
        along_d = a * products[k + 1, WITH_1]
        follow[0, k] = -(along_a * iaa + along_d * iad)
        follow[1, k] = -(along_a * iad + along_d * idd)
        for j in range(k + 1):
            t = a * a * products[j + 1, k + 1] - exact * a * Q[k, j]
            t += along[j] * follow[0, k] + a * products[j + 1, WITH_1] * follow[1, k]
            N[k, j] = t
            N[j, k] = t


@compiled
def inner_step(N, g, damping, z, lower, upper, step, L):
    """Fill the step that solves ``(N + damping) step = g``; whether N is positive and the step stays inside the box.

    That is the step of nearly every refit, and much quicker than `box_step`, which knows bounds. (Cholesky with unit
    columns times pivots: L holds the factor, on its diagonal the reciprocal pivots.)
    """
    for i in range(5):
        right = g[i]
        pivot = N[i, i] + damping[i]
        least = PIVOT * pivot
        for j in range(i):
            element = N[i, j]
            for k in range(j):
                element -= L[i, k] * L[j, k] * L[k, k]
            L[i, j] = element
        for k in range(i):
            scaled = L[i, k] * L[k, k]
            pivot -= L[i, k] * scaled
            right -= scaled * step[k]
        if not pivot > least:
            return False
        L[i, i] = 1.0 / pivot
        step[i] = right
    for i in range(4, -1, -1):
        value = step[i]
        for j in range(i + 1, 5):
            value -= L[j, i] * step[j]
        step[i] = value * L[i, i]
        if not lower[i] < z[i] + step[i] < upper[i]:
            return False
    return True


@compiled
def newton_step(products, Q, one, a, d, free_a, free_d, damp, z, lower, upper, small, free):
    """Fill the step; returns what contrast and baseline do, the predicted decrease, and if the step is Newton's."""
    N = small[:5]
    L = small[5:10]
    follow = small[10:12]
    g = small[12]
    damping = small[13]
    step = small[14]
    trial = small[15]
    exact = 1.0
    predicted = 0.0
    for _ in range(2):
        newton_problem(products, Q, one, a, d, free_a, free_d, exact, N, g, small[17], follow)
        for k in range(5):
            damping[k] = damp * a * a * products[k + 1, k + 1] + 1e-300
        if inner_step(N, g, damping, z, lower, upper, step, L):
            predicted = 0.0
            for k in range(5):
                predicted += step[k] * (g[k] + damping[k] * step[k])
            break
        predicted = box_step(N, g, damping, z, lower, upper, 5, step, free, L, trial)
        if exact == 0.0 or (predicted >= 0.0 and not is_indefinite(N, damping, L, free, 5)):
            break
        exact = 0.0
    sa = sd = 0.0
    for k in range(5):
        sa += follow[0, k] * step[k]
        sd += follow[1, k] * step[k]
    return sa, sd, predicted, exact == 1.0


@compiled
def refit_double(curve, sums, linear, lower, upper, z, start, rows, space):
    """Bring z (changed in place) from the parent's minimum to that of the curve; returns contrast, baseline, a code.

    Anything but `CONVERGED` (rounding, no contrast, a Hessian that is not positive) is for the residual form.
    """
    E, _, rows2, products, products2, Q, small, free, g1 = space
    step = small[14]
    trial = small[16]
    a, d, chi2, free_a, free_d = best_linear(products, sums, linear)
    fill_curvature(curve, z, a, d, start, rows, g1, Q)
    known = SUMS_EXACT * sums[SUM_YY]
    damp = 0.0
    growth = 2.0
    code = EXHAUSTED
    for _ in range(MAX_PASSES):
        sa, sd, predicted, newton = newton_step(
            products, Q, sums[SUM_1], a, d, free_a, free_d, damp, z, lower, upper, small, free
        )
        longest = 0.0
        for k in range(5):
            longest = max(longest, abs(step[k]))
            trial[k] = min(max(z[k] + step[k], lower[k]), upper[k])
        settled = predicted <= LAST * max(chi2, known)
        if settled and damp > 0.0:  # perhaps only the damping keeps the step small
            damp = 0.0
            continue
        if settled and (a == 0.0 or not newton):
            break
        if settled and longest < LAST_STEP:
            for k in range(5):
                z[k] = trial[k]
            a = min(max(a + sa, linear[0]), linear[1])
            d = min(max(d + sd, linear[2]), linear[3])
            code = CONVERGED
            break
        fill_exponentials(curve[U], trial, E)
        a2, d2, chi2_new, fa2, fd2 = evaluate(curve, sums, linear, trial, E, rows2, products2)
        if chi2_new <= chi2 + known:
            gain = 2.0 * (chi2 - chi2_new) / predicted - 1.0
            damp = damp * max(0.1, 1.0 - gain * gain * gain) if gain > -0.5 else max(2.0 * damp, 1e-3)
            growth = 2.0
            for k in range(5):
                z[k] = trial[k]
            a = a2
            d = d2
            free_a = fa2
            free_d = fd2
            chi2 = chi2_new
            fill_curvature(curve, z, a, d, E, rows2, g1, Q)
            for k in range(6):
                for j in range(8):
                    products[k, j] = products2[k, j]
        else:
            damp = max(damp * growth, 1e-2)
            growth *= 2.0
            if damp > 1e8:
                code = STALLED
                break
    return a, d, code


@compiled
def load_parent(u, point, weight, z, curve, start, rows, products):
    """Fill delays and weights of one curve, exponentials, rows and their products at its minimum; returns sum w^2."""
    one = 0.0
    for i in range(weight.size):
        curve[U, i] = u[point[i]]
        curve[W, i] = weight[i]
        curve[WY, i] = 0.0
    for i in range(weight.size):
        one += weight[i] * weight[i]
    fill_exponentials(curve[U], z, start)
    fill_rows(curve, z, start, rows)
    fill_products(curve, rows, products)
    return one


@compiled
def load_values(curve, y, sums):
    """Fill the weighted values of a resample and its sums."""
    w = curve[W]
    wy = curve[WY]
    for i in range(y.size):
        wy[i] = w[i] * y[i]
    total = square = 0.0
    for i in range(y.size):
        total += w[i] * wy[i]
        square += wy[i] * wy[i]
    sums[SUM_Y] = total
    sums[SUM_YY] = square


@compiled
def weigh_again(curve, weight, times):
    """Fill weights of a resample of points; returns how many points are in it, and the sum of the squared weights."""
    w = curve[W]
    for i in range(weight.size):
        w[i] = weight[i] * math.sqrt(times[i])
    kept = one = 0.0
    for i in range(weight.size):
        kept += 1.0 if w[i] > 0.0 else 0.0
        one += w[i] * w[i]
    return kept, one


@compiled
def with_values(curve, rows, shared, products):
    """Copy the products of the rows, and multiply the rows with w * y."""
    wy = curve[WY]
    for k in range(6):
        for j in range(8):
            products[k, j] = shared[k, j]
        total = 0.0
        for i in range(wy.size):
            total += rows[k, i] * wy[i]
        products[k, WITH_Y] = total


@compiled
def refit_doubles(u, point, weight, mean, lower, upper, z, scheme, recipe, curves, seed, first, fewest, draws, space,
                  found, code):  # fmt: skip
    """Refit replicates `first` and on of every curve; fills found (n, B, 7), in z, and code (n, B).

    `point`, `weight` and `mean` are the recipe's.
    """
    curve, y, times, start, shared, sums, linear, low, high, own, own_rows, inner = space
    products = inner[3]
    place = (1, 2, 4, 5, 6)
    for k in range(5):
        low[k] = lower[place[k]]
        high[k] = upper[place[k]]
    linear[0] = lower[0]
    linear[1] = upper[0]
    for j in range(len(weight)):
        linear[2] = lower[3] - mean[j]
        linear[3] = upper[3] - mean[j]
        for k in range(5):
            own[k] = z[j, place[k]]
        sums[SUM_1] = load_parent(u, point[j], weight[j], own, curve, start, own_rows, shared)
        for b in range(found.shape[1]):
            draw(scheme, recipe, j, seed, curves[j], first + np.uint64(b), draws, y, times)
            for k in range(5):
                own[k] = z[j, place[k]]
            rows = own_rows
            if scheme == PAIRS:
                kept, sums[SUM_1] = weigh_again(curve, weight[j], times)
                if kept <= fewest:
                    code[j, b] = EXHAUSTED
                    continue
                load_values(curve, y, sums)
                rows = inner[1]
                fill_rows(curve, own, start, rows)
                fill_products(curve, rows, products)
            else:
                load_values(curve, y, sums)
                with_values(curve, rows, shared, products)
            a, d, code[j, b] = refit_double(curve, sums, linear, low, high, own, start, rows, inner)
            found[j, b, 0] = a
            found[j, b, 3] = unshifted(d, linear[2], linear[3], lower[3], upper[3], mean[j])
            for k in range(5):
                found[j, b, place[k]] = own[k]
