"""How the valley of a curve of two components bends: what the first step of its resamples knows beyond Newton's.

Newton's step from the parent's minimum ends about ``|step|^2`` off the minimum of a resample. Third derivatives, made
once for a parent and nearly those of all its resamples, take the next order away (Chebyshev's method), which saves many
refits a pass over the delays.
"""

from __future__ import annotations

from xpcs_dask.fitting.kernel.compiled import compiled
from xpcs_dask.fitting.kernel.double_curvature import fill_curvature
from xpcs_dask.fitting.kernel.double_newton import ALONG, FOLLOW, HESSIAN, G, newton_problem
from xpcs_dask.fitting.kernel.double_pass import evaluate
from xpcs_dask.fitting.kernel.double_products import SUM_1

DIFFERENCE = 1e-3
"""Shift of a coordinate either way for the third derivatives."""
LARGEST = 0.25
"""A bend is trusted up to this share of the step, both squared in the metric of the Hessian."""


@compiled
def fill_third(curve, sums, linear, z, point, E, rows, scratch, small, third):
    """Fill half the derivatives of the reduced Hessian along z, by central differences.

    `point` and the rows of E, `rows` and `small` are scratch.
    """
    shifted, _, products, Q = point
    N = small[HESSIAN]
    for k in range(5):
        for i in range(5):
            shifted[i] = z[i]
        for side in (-1.0, 1.0):
            shifted[k] = z[k] + side * DIFFERENCE
            a, d, _, free_a, free_d = evaluate(curve, sums, linear, shifted, E, rows, products)
            fill_curvature(curve, shifted, a, d, E, rows, scratch, Q)
            newton_problem(
                products, Q, sums[SUM_1], a, d, free_a, free_d, 1.0, N, small[G], small[ALONG], small[FOLLOW]
            )
            for i in range(5):
                for j in range(5):
                    before = third[k, i, j] if side > 0.0 else 0.0
                    third[k, i, j] = before + side * N[i, j] * (0.25 / DIFFERENCE)


@compiled
def bend_step(third, L, z, lower, upper, predicted, step, extra):
    """Bend Newton's step, unless that leads out of the box.

    `L` is the factor and `predicted` the square of the step, as `inner_step` left them; `extra` is scratch.
    """
    square = 0.0
    for k in range(5):
        right = 0.0
        for i in range(5):
            row = 0.0
            for j in range(5):
                row += third[k, i, j] * step[j]
            right -= row * step[i]
        for j in range(k):
            right -= L[k, j] * L[j, j] * extra[j]
        extra[k] = right
        square += right * right * L[k, k]
    if square > LARGEST * predicted:
        return
    for i in range(4, -1, -1):
        value = extra[i]
        for j in range(i + 1, 5):
            value -= L[j, i] * extra[j]
        extra[i] = value * L[i, i]
    for i in range(5):
        if not lower[i] < z[i] + step[i] + extra[i] < upper[i]:
            return
    for i in range(5):
        step[i] += extra[i]
