"""Newton's step of a curve of two components, contrast and baseline eliminated, inside the box.

Between components that are hard to tell apart Gauss-Newton creeps; the exact Hessian does not. A point is its
coordinates ``z = (ln tau1, stretch1, ln tau2, stretch2, fraction)``, what `LINEAR_VALUES` names, the products of its
rows and its second derivatives (`double_curvature`).
"""

from __future__ import annotations

from xpcs_dask.fitting.kernel.box import PIVOT, box_step
from xpcs_dask.fitting.kernel.compiled import compiled
from xpcs_dask.fitting.kernel.double_products import WITH_1, WITH_Y, linear_inverse
from xpcs_dask.fitting.kernel.newton import is_indefinite

A, D, CHI2, FREE_A, FREE_D = LINEAR_VALUES = range(5)
"""Contrast, baseline, chi2 with both, and whether each is free (1.0) or on its bound."""
HESSIAN = slice(0, 5)
"""Rows of the scratch array of a step: the Hessian that it solved with, and below its factor."""
FACTOR = slice(5, 10)
FOLLOW = slice(10, 12)
G, DAMPING, STEP, TRIAL, ALONG, SCRATCH = range(12, 18)
SMALL = 18
"""Rows of that array."""


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
def set_problem(point, one, damp, exact, small):
    """Fill what `small` knows of a step from a point: Hessian, gradient, damping, and how the linear values follow."""
    _, linear, products, Q = point
    a = linear[A]
    damping = small[DAMPING]
    newton_problem(
        products, Q, one, a, linear[D], linear[FREE_A] > 0.0, linear[FREE_D] > 0.0, exact, small[HESSIAN], small[G],
        small[ALONG], small[FOLLOW],
    )  # fmt: skip
    for k in range(5):
        damping[k] = damp * a * a * products[k + 1, k + 1] + 1e-300


@compiled
def newton_step(point, one, damp, lower, upper, small, free):
    """Fill row STEP of `small`; returns the predicted decrease, if the step is Newton's, and if it ends inside the box.

    Where the exact Hessian is not positive the step is Gauss-Newton's. `one` is the sum of the squared weights.
    """
    z = point[0]
    N = small[HESSIAN]
    L = small[FACTOR]
    g = small[G]
    damping = small[DAMPING]
    step = small[STEP]
    set_problem(point, one, damp, 1.0, small)
    if inner_step(N, g, damping, z, lower, upper, step, L):
        return decrease(g, damping, step), True, True
    exact = 1.0
    while True:
        predicted = box_step(N, g, damping, z, lower, upper, 5, step, free, L, small[TRIAL])
        if exact == 0.0 or (predicted >= 0.0 and not is_indefinite(N, damping, L, free, 5)):
            return predicted, exact == 1.0, False
        exact = 0.0
        set_problem(point, one, damp, exact, small)


@compiled
def safe_step(exact, H, N, g, damping, z, lower, upper, step, free, L, trial):
    """Fill Newton's step with the Hessian N if `exact`, else, or where N is not positive, Gauss-Newton's with H.

    Returns the predicted decrease, and whether it is Newton's.
    """
    if inner_step(N if exact else H, g, damping, z, lower, upper, step, L):
        return decrease(g, damping, step), exact
    while True:
        predicted = box_step(N if exact else H, g, damping, z, lower, upper, 5, step, free, L, trial)
        if not exact or (predicted >= 0.0 and not is_indefinite(N, damping, L, free, 5)):
            return predicted, exact
        exact = False


@compiled
def decrease(g, damping, step):
    """Decrease that a damped step inside the box predicts."""
    total = 0.0
    for k in range(5):
        total += step[k] * (g[k] + damping[k] * step[k])
    return total
