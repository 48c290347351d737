"""From the minimum of a curve of two components to that of one of its resamples.

Newton's steps by `double_newton`, the first one bent by `double_bend`: two passes over the delays are enough for most
resamples. In long bent valleys a step along the tangent ends on the slope, higher than it began: where it is free of
bounds and rises little it is kept for once, and taken back unless the next one leads below all before. (Steps onto
bounds are not: they often end in another, higher minimum.)
"""

from __future__ import annotations

from xpcs_dask.fitting.kernel.compiled import compiled
from xpcs_dask.fitting.kernel.double_bend import bend_step
from xpcs_dask.fitting.kernel.double_curvature import fill_curvature
from xpcs_dask.fitting.kernel.double_newton import (
    CHI2,
    FACTOR,
    FOLLOW,
    FREE_A,
    FREE_D,
    SCRATCH,
    STEP,
    A,
    D,
    newton_step,
)
from xpcs_dask.fitting.kernel.double_pass import evaluate
from xpcs_dask.fitting.kernel.double_products import SUM_1, SUM_YY, best_linear
from xpcs_dask.fitting.kernel.replicates_single import SUMS_EXACT
from xpcs_dask.fitting.kernel.single import CONVERGED, EXHAUSTED, LAST_STEP, STALLED

MAX_PASSES = 40
"""Passes after which a refit is left to the residual form, each pass of which costs four of these."""
LAST = 3e-10
"""Predicted decrease over chi2 at which the last step is free: valleys of doubles bend more than those of singles."""
DARING, DARING_STEP = 0.1, 1.0
"""Rise of chi2, as a share of it, that one step may make on the way to a lower point, and its longest coordinate."""
GROWTH = 2.0
"""Growth of the damping at the first refusal; doubled at each further one."""
LEAST_DAMPING, SLOW_DAMPING, REFUSED_DAMPING = 1e-8, 1e-3, 1e-2
"""Damping that does not shorten a step, and the least after a step that was too long or refused."""


@compiled
def set_linear(values, at):
    """Store contrast, baseline, chi2 and whether the two are free, as `best_linear` returns them."""
    values[A], values[D], values[CHI2] = at[0], at[1], at[2]
    values[FREE_A] = 1.0 if at[3] else 0.0
    values[FREE_D] = 1.0 if at[4] else 0.0


@compiled
def copy_point(source, target):
    """Copy coordinates, linear values, products and second derivatives."""
    for k in range(5):
        target[0][k] = source[0][k]
        target[1][k] = source[1][k]
        for j in range(5):
            target[3][k, j] = source[3][k, j]
    for k in range(6):
        for j in range(8):
            target[2][k, j] = source[2][k, j]


@compiled
def step_to(z, step, lower, upper, target):
    """Fill the point that the step leads to; returns its longest coordinate."""
    longest = 0.0
    for k in range(5):
        longest = max(longest, abs(step[k]))
        target[k] = min(max(z[k] + step[k], lower[k]), upper[k])
    return longest


@compiled
def new_damping(damp, actual, predicted):
    """Less where the quadratic was right, more where it promised too much (Nielsen, IMM-REP-1999-05, 1999)."""
    gain = 2.0 * actual / predicted - 1.0
    return damp * max(0.1, 1.0 - gain * gain * gain) if gain > -0.5 else max(2.0 * damp, SLOW_DAMPING)


@compiled
def take_last(here, target, small, linear):
    """Move to the target, contrast and baseline following in proportion."""
    z, values, _, _ = here
    along_a = along_d = 0.0
    for k in range(5):
        along_a += small[FOLLOW][0, k] * small[STEP, k]
        along_d += small[FOLLOW][1, k] * small[STEP, k]
        z[k] = target[k]
    values[A] = min(max(values[A] + along_a, linear[0]), linear[1])
    values[D] = min(max(values[D] + along_d, linear[2]), linear[3])


@compiled
def look(curve, sums, linear, target, E, rows, there):
    """Fill linear values and products at the target; returns chi2."""
    set_linear(there[1], evaluate(curve, sums, linear, target, E, rows, there[2]))
    return there[1][CHI2]


@compiled
def go(curve, target, E, rows, scratch, there, here):
    """Move to the target, where `look` has been."""
    for k in range(5):
        there[0][k] = target[k]
    fill_curvature(curve, target, there[1][A], there[1][D], E, rows, scratch, there[3])
    copy_point(there, here)


@compiled
def refit_double(curve, sums, linear, lower, upper, here, start, rows, third, space):
    """Bring the point `here` from the parent's minimum to that of the curve; returns a code.

    `start` and `rows` are the parent's exponentials, and rows weighed as the curve is; `here` has their products.
    Anything but `CONVERGED` (rounding, no contrast, a Hessian that is not positive) is for the residual form.
    """
    there, home, E, own_rows, scratch, small, free = space
    z, values, products, Q = here
    target = small[SCRATCH]
    set_linear(values, best_linear(products, sums, linear))
    fill_curvature(curve, z, values[A], values[D], start, rows, scratch, Q)
    known = SUMS_EXACT * sums[SUM_YY]
    lowest = values[CHI2]
    damp = refused = 0.0
    growth = GROWTH
    away = False
    for turn in range(MAX_PASSES):
        predicted, newton, inner = newton_step(here, sums[SUM_1], damp, lower, upper, small, free)
        if turn == 0 and newton and inner:
            bend_step(third, small[FACTOR], z, lower, upper, predicted, small[STEP], target)
        longest = step_to(z, small[STEP], lower, upper, target)
        chi2 = values[CHI2]
        settled = predicted <= LAST * max(chi2, known)
        if settled and damp > 2.0 * refused:  # perhaps only the damping keeps the step small
            damp = max(1e-3 * damp, 2.0 * refused) if damp > LEAST_DAMPING else 2.0 * refused
            continue
        if settled and not away and (values[A] == 0.0 or not newton or refused > 0.0):
            return EXHAUSTED
        if settled and not away and longest < LAST_STEP:
            take_last(here, target, small, linear)
            return CONVERGED
        new = look(curve, sums, linear, target, E, own_rows, there)
        down = new <= lowest + known
        if down or (inner and not away and longest < DARING_STEP and new <= chi2 * (1.0 + DARING)):
            if not down:
                copy_point(here, home)
            elif not away:
                damp = new_damping(damp, chi2 - new, predicted)
                growth = GROWTH
            lowest = new if down else lowest
            away = not down
            refused = 0.0
            go(curve, target, E, own_rows, scratch, there, here)
            continue
        if away:
            copy_point(home, here)
            away = False
        refused = damp
        damp = max(damp * growth, REFUSED_DAMPING)
        growth *= 2.0
        if damp > 1e8:
            return STALLED
    return EXHAUSTED
