"""Compiled descent of the double model to a minimum, by variable projection inside a box.

Products of the rows (`double_products`) give chi2, its gradient and Kaufman's Hessian (BIT 15, 49 (1975)) with contrast
and baseline re-adjusted. From far away a Levenberg-Marquardt with it goes down most safely. Near a minimum between
components that are hard to tell apart it creeps, for hundreds of steps: there the exact Hessian takes over
(`double_newton`).

The step is the exact minimum of the damped quadratic in the box (`box_step`). Clipping all violated bounds at once is
much simpler, but is no minimum: 40 % of the failures of such a fit were not minima at all.
"""

from __future__ import annotations

import numpy as np

from xpcs_dask.fitting.kernel.compiled import compiled
from xpcs_dask.fitting.kernel.double_curvature import fill_curvature
from xpcs_dask.fitting.kernel.double_newton import (
    ALONG,
    DAMPING,
    FACTOR,
    FOLLOW,
    HESSIAN,
    SCRATCH,
    SMALL,
    STEP,
    TRIAL,
    G,
    newton_problem,
    safe_step,
)
from xpcs_dask.fitting.kernel.double_pass import evaluate
from xpcs_dask.fitting.kernel.double_products import SUM_1
from xpcs_dask.fitting.kernel.single import CONVERGED, EXHAUSTED, STALLED

HOPELESS, REPEATED = 3, 4
"""How a start may also end: cut short because it cannot beat the best one, or because it runs into a known minimum."""
MAX_ITERATIONS = 200
NEWTON_FROM = 4
"""Evaluations after which steps use the exact Hessian."""
TOLERANCE = 1e-9
"""Predicted decrease over chi2 that ends the descent (flat valleys need it this small)."""
PATIENCE = 5.0
"""How many decreases of the size predicted a later start may hope for before it is given up."""
SAME = 0.03
"""Two points this near in every coordinate run into the same minimum."""


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
    """Go down from z (changed in place) until the predicted decrease is `TOLERANCE` of chi2.

    A start that cannot pay is cut short, which saves a quarter of the evaluations: when even `PATIENCE` times the
    predicted decrease would not bring it below `best`, or when it runs into one of the `minima` found before. Returns
    contrast, baseline, chi2, evaluations and a code.
    """
    E = np.empty((4, curve.shape[1]))
    rows = np.empty((6, curve.shape[1]))
    scratch = np.empty((2, curve.shape[1]))
    products = np.empty((6, 8))
    Q = np.zeros((5, 5))
    H = np.empty((5, 5))
    small = np.empty((SMALL, 5))
    N = small[HESSIAN]
    g = small[G]
    size = small[SCRATCH]
    damping = small[DAMPING]
    step = small[STEP]
    trial = small[TRIAL]
    free = np.empty(5, np.int8)
    one = sums[SUM_1]
    a, d, chi2, free_a, free_d = evaluate(curve, sums, linear, z, E, rows, products)
    newton_problem(products, Q, one, a, d, free_a, free_d, 0.0, H, g, small[ALONG], small[FOLLOW])
    evaluations = 1
    size[:] = 0.0
    damp = 0.1
    growth = 2.0
    moved = True
    exact = only_damped = False
    code = EXHAUSTED
    while evaluations < MAX_ITERATIONS:
        if not only_damped:
            for k in range(5):
                size[k] = max(H[k, k], 0.1 * size[k]) + 1e-14 * one
        for k in range(5):
            damping[k] = damp * size[k]
        predicted, exact = safe_step(exact, H, N, g, damping, z, lower, upper, step, free, small[FACTOR], trial)
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
        a_new, d_new, chi2_new, free_a, free_d = evaluate(curve, sums, linear, trial, E, rows, products)
        evaluations += 1
        moved = chi2_new < chi2
        if moved:
            gain = 2.0 * (chi2 - chi2_new) / predicted - 1.0
            z[:] = trial
            a = a_new
            d = d_new
            chi2 = chi2_new
            newton_problem(products, Q, one, a, d, free_a, free_d, 0.0, H, g, small[ALONG], small[FOLLOW])
            exact = evaluations >= NEWTON_FROM
            if exact:
                fill_curvature(curve, z, a, d, E, rows, scratch, Q)
                newton_problem(products, Q, one, a, d, free_a, free_d, 1.0, N, g, small[ALONG], small[FOLLOW])
            damp = max(damp * max(0.1, 1.0 - gain * gain * gain), 1e-12) if gain > -0.5 else 2.0 * damp
            growth = 2.0
        else:
            damp *= growth
            growth *= 2.0
            if damp > 1e10:
                code = STALLED
                break
    return a, d, chi2, evaluations, code
