"""Compiled refits of resampled curves, two stretched exponentials.

As `replicates_single`: exponentials of the parent's minimum serve the first step of all its replicates. Steps are those
of `double_descent`, in ``(ln tau1, stretch1, ln tau2, stretch2, fraction)``, contrast and baseline eliminated.
"""

from __future__ import annotations

import math

import numpy as np

from xpcs_dask.fitting.kernel.compiled import compiled
from xpcs_dask.fitting.kernel.double_bend import fill_third
from xpcs_dask.fitting.kernel.double_descent import refit_double
from xpcs_dask.fitting.kernel.double_newton import A, D
from xpcs_dask.fitting.kernel.double_pass import fill_exponentials, fill_rows
from xpcs_dask.fitting.kernel.double_products import SUM_1, SUM_Y, SUM_YY, WITH_Y, WY, U, W, fill_products
from xpcs_dask.fitting.kernel.replicates_single import unshifted
from xpcs_dask.fitting.kernel.resample import PAIRS, draw
from xpcs_dask.fitting.kernel.single import EXHAUSTED

PLACE = (1, 2, 4, 5, 6)
"""Where the coordinates of a point are among the parameters."""


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
def fill_box(lower, upper, mean, low, high, linear):
    """Fill the box of the coordinates and that of contrast and baseline, from which the mean is taken."""
    for k in range(5):
        low[k] = lower[PLACE[k]]
        high[k] = upper[PLACE[k]]
    linear[0] = lower[0]
    linear[1] = upper[0]
    linear[2] = lower[3] - mean
    linear[3] = upper[3] - mean


@compiled
def refit_doubles(u, point, weight, mean, lower, upper, z, scheme, recipe, curves, seed, first, fewest, draws, space,
                  found, code):  # fmt: skip
    """Refit replicates `first` and on of every curve; fills found (n, B, 7), in z, and code (n, B).

    `point`, `weight` and `mean` are the recipe's.
    """
    curve, y, times, start, start_rows, shared, sums, linear, low, high, third, here, inner = space
    own, values, products, _ = here
    there, _, E, scratch_rows, scratch, small, _ = inner
    for j in range(len(weight)):
        fill_box(lower, upper, mean[j], low, high, linear)
        for k in range(5):
            own[k] = z[j, PLACE[k]]
        sums[SUM_1] = load_parent(u, point[j], weight[j], own, curve, start, start_rows, shared)
        load_values(curve, recipe[0][j], sums)
        fill_third(curve, sums, linear, own, there, E, scratch_rows, scratch, small, third)
        for b in range(found.shape[1]):
            draw(scheme, recipe, j, seed, curves[j], first + np.uint64(b), draws, y, times)
            for k in range(5):
                own[k] = z[j, PLACE[k]]
            rows = start_rows
            if scheme == PAIRS:
                kept, sums[SUM_1] = weigh_again(curve, weight[j], times)
                if kept <= fewest:
                    code[j, b] = EXHAUSTED
                    continue
                load_values(curve, y, sums)
                rows = scratch_rows
                fill_rows(curve, own, start, rows)
                fill_products(curve, rows, products)
            else:
                load_values(curve, y, sums)
                with_values(curve, rows, shared, products)
            code[j, b] = refit_double(curve, sums, linear, low, high, here, start, rows, third, inner)
            found[j, b, 0] = values[A]
            found[j, b, 3] = unshifted(values[D], linear[2], linear[3], lower[3], upper[3], mean[j])
            for k in range(5):
                found[j, b, PLACE[k]] = own[k]
