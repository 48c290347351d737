"""Compiled search for the best minimum of the double model: which starts a curve gets, and what is kept of them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.kernel.apart import empty_apart
from xpcs_dask.fitting.kernel.compiled import compiled
from xpcs_dask.fitting.kernel.double_pairs import N_PAIRS, best_single_node, propose_pair, score_pairs, sum_table
from xpcs_dask.fitting.kernel.double_products import SUM_1, SUM_Y, SUM_YY, WEIGHT, WY, U, W, Y
from xpcs_dask.fitting.kernel.double_refine import HOPELESS, refine_double
from xpcs_dask.fitting.kernel.double_starts import propose_bump, propose_swap, score_bumps, score_swaps
from xpcs_dask.fitting.kernel.single import CONVERGED, load_curve, refine_single
from xpcs_dask.fitting.models import Floats

PAIR, BUMP, SWAP = range(3)
NO_DATA = -1
"""Code of a curve without a point."""
# a minimum is a row: z, then
CONTRAST, BASELINE, CHI2, CODE = range(5, 9)
# counts of one curve: minima found, the best of them, evaluations
FOUND, BEST, EVALUATIONS = range(3)
SINGLE_TOLERANCE, SINGLE_ITERATIONS = 1e-4, 30
"""The single fit is only a base for starts and for F."""


class Search(NamedTuple):
    """What is tried, the same for every curve."""

    moves: NDArray[np.int64]
    """Kinds of start, in order."""
    gates: Floats
    """Highest F at which each is made."""
    swappable: bool
    """Both components have the same box: labels mean nothing, and the faster one is called the first."""


@compiled
def load(y, weight, lower, upper, curve, sums, linear):
    """Bring one curve and the box of its contrast and baseline into the curve's own units.

    Returns the used points, the scale of the weights, and mean and size of y.
    """
    m = y.size
    used, scale, mean, square = load_curve(y, weight, curve[Y, :m], curve[W, :m])
    if used == 0:
        return 0, 1.0, 0.0, 1.0
    varies = square > 1e-28 * used * mean * mean
    size = math.sqrt(square / used) if varies else max(abs(mean), 1.0)
    total = 0.0
    total_square = 0.0
    for i in range(m):
        t = curve[Y, i] / size
        w = curve[W, i]
        curve[Y, i] = t
        curve[WEIGHT, i] = w * w
        curve[WY, i] = w * t
        total += w * w * t
        total_square += w * w * t * t
    sums[SUM_1] = used
    sums[SUM_Y] = total
    sums[SUM_YY] = total_square
    linear[0] = lower[0] / size
    linear[1] = upper[0] / size
    linear[2] = (lower[3] - mean) / size
    linear[3] = (upper[3] - mean) / size
    return used, scale, mean, size


@compiled
def descend(curve, sums, linear, lower, upper, start, swappable, minima, counts):
    """Go downhill from a start, and where labels matter (different boxes) also with the two components exchanged.

    Appends what is found to `minima` and keeps `counts`.
    """
    for label in range(1 if swappable else 2):
        z = np.empty(5)
        for k in range(5):
            value = start[k]
            if label == 1:
                value = 1.0 - start[4] if k == 4 else start[(k + 2) % 4]
            z[k] = min(max(value, lower[k]), upper[k])
        found = counts[FOUND]
        lowest = minima[counts[BEST], CHI2] if found > 0 else 1e300
        a, d, chi2, evaluations, code = refine_double(
            curve, sums, linear, lower, upper, z, lowest, minima, found, swappable
        )
        counts[EVALUATIONS] += evaluations
        if code < HOPELESS:
            minima[found, :5] = z
            minima[found, CONTRAST] = a
            minima[found, BASELINE] = d
            minima[found, CHI2] = chi2
            minima[found, CODE] = code
            counts[FOUND] = found + 1
            if chi2 < lowest:
                counts[BEST] = found


@compiled
def significance(chi2_single, chi2, sums):
    """F of the second component; chi2 is floored where its sums have cancelled."""
    residual = max(chi2, 1e-15 * sums[SUM_YY] + 1e-300)
    return (chi2_single - chi2) * max(sums[SUM_1] - 7.0, 1.0) / residual


@compiled
def fit_one_component(curve, sums, linear, low, high, ln_tau, stretch):
    """Fit a single decay (in a box that holds both components): base of the bumps, and what F compares with."""
    m = curve.shape[1]
    space = (empty_apart(m), empty_apart(m), np.empty(12), np.empty(12))
    single_low = np.empty(4)
    single_high = np.empty(4)
    single_low[0] = linear[0]
    single_high[0] = linear[1]
    single_low[1] = min(low[0], low[2])
    single_high[1] = max(high[0], high[2])
    single_low[2] = min(low[1], low[3])
    single_high[2] = max(high[1], high[3])
    single_low[3] = linear[2]
    single_high[3] = linear[3]
    return refine_single(
        curve[U], curve[Y], curve[WEIGHT], sums[SUM_1], sums[SUM_Y], sums[SUM_YY], ln_tau, stretch,
        single_low, single_high, SINGLE_TOLERANCE, SINGLE_ITERATIONS, space,
    )  # fmt: skip


@compiled
def search_curve(curve, sums, linear, lower, upper, table, search, start, given, minima, counts):
    """Make the starts that this curve needs, beginning with the one given, if any.

    Fills `minima` and `counts`; returns F of the best.
    """
    s = np.empty(table.products.shape[1], np.float32)
    sy = np.empty(table.products_y.shape[1], np.float32)
    pairs = np.empty(N_PAIRS, np.float32)
    bumps = np.empty((2, table.sharp_ln_tau.size))
    swaps = np.empty((2, table.sharp_ln_tau.size))
    fractions = np.empty((2, table.sharp_ln_tau.size))
    z = np.empty(5)
    sum_table(curve, table.products, table.products_y, s, sy)
    score_pairs(sums, linear, s, sy, pairs)
    a = ln_tau = stretch = d = chi2_single = 0.0
    counts[:] = 0
    bumps_scored = False
    swaps_of = -1
    for k in range(-1, search.moves.size):
        move = search.moves[max(k, 0)]
        if k == 1:
            node = best_single_node(sums, linear, s, sy)
            a, ln_tau, stretch, d, chi2_single, _, _ = fit_one_component(
                curve, sums, linear, lower, upper, table.ln_tau[node], table.stretch
            )
        if k >= 1 and significance(chi2_single, minima[counts[BEST], CHI2], sums) > search.gates[k]:
            continue
        if k < 0:
            proposed = given
            z[:] = start
        elif move == PAIR:
            proposed = propose_pair(sums, linear, table.ln_tau, table.stretch, s, sy, pairs, z)
        elif move == BUMP:
            if not bumps_scored:
                score_bumps(curve, table.sharp, a, ln_tau, stretch, d, bumps)
                bumps_scored = True
            proposed = propose_bump(table.sharp_ln_tau, table.sharp_stretch, ln_tau, stretch, bumps, z)
        else:
            best = counts[BEST]
            if swaps_of < 0 or minima[best, CHI2] < (1.0 - 1e-6) * minima[swaps_of, CHI2]:
                swaps_of = best
                score_swaps(curve, sums, linear, table.sharp_ln_tau, table.sharp, minima[best], swaps, fractions)
            proposed = propose_swap(table.sharp_ln_tau, table.sharp_stretch, minima[swaps_of], swaps, fractions, z)
        if proposed or (k == 0 and counts[FOUND] == 0):  # at worst from z = 0, moved into the box
            descend(curve, sums, linear, lower, upper, z, search.swappable, minima, counts)
    return significance(chi2_single, minima[counts[BEST], CHI2], sums)


@compiled
def starts_disagree(minima, counts, sums):
    """Whether a start converged to a minimum that is higher than the best, beyond rounding."""
    limit = minima[counts[BEST], CHI2] * (1.0 + 1e-6) + 1e-14 * sums[SUM_YY]
    worst = 0.0
    for k in range(counts[FOUND]):
        if minima[k, CODE] == CONVERGED:
            worst = max(worst, minima[k, CHI2])
    return worst > limit


@compiled
def store(minimum, linear, lower, upper, mean, size, swappable, z):
    """Write a minimum in the units of the data; what sits on a bound sits on it exactly."""
    a = minimum[CONTRAST]
    d = minimum[BASELINE]
    z[0] = lower[0] if a <= linear[0] else (upper[0] if a >= linear[1] else a * size)
    z[3] = lower[3] if d <= linear[2] else (upper[3] if d >= linear[3] else d * size + mean)
    exchange = swappable and minimum[0] > minimum[2]
    first = 2 if exchange else 0
    z[1] = minimum[first]
    z[2] = minimum[first + 1]
    z[4] = minimum[2 - first]
    z[5] = minimum[3 - first]
    z[6] = 1.0 - minimum[4] if exchange else minimum[4]


@compiled
def fit_stack(u, y, weight, lower, upper, given, start, search, table, fit):
    """Fit every curve; writes into the arrays of `fit` (`DoubleFit`), and leaves rows without a point as they are."""
    curve = np.zeros((5, u.size))
    curve[U] = u
    sums = np.empty(3)
    linear = np.empty(4)
    order = np.array([1, 2, 4, 5, 6])
    z_lower = lower[order]
    z_upper = upper[order]
    minima = np.empty((2 * search.moves.size + 2, 9))
    counts = np.zeros(3, np.int64)
    for j in range(y.shape[0]):
        used, scale, mean, size = load(y[j], weight[j], lower, upper, curve, sums, linear)
        if used == 0:
            continue
        fit.f_statistic[j] = search_curve(
            curve, sums, linear, z_lower, z_upper, table, search, start[j], given[j], minima, counts
        )
        best = minima[counts[BEST]]
        store(best, linear, lower, upper, mean, size, search.swappable, fit.z[j])
        fit.chi2[j] = max(best[CHI2], 0.0) * size * size * scale
        fit.evaluations[j] = counts[EVALUATIONS]
        fit.code[j] = best[CODE]
        fit.disagree[j] = starts_disagree(minima, counts, sums)
