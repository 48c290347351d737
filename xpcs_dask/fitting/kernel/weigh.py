"""The error model, compiled: one curve after the other; `fitting.error_model` explains it and is its oracle."""

from __future__ import annotations

import math

import numpy as np

from xpcs_dask.fitting.error_model import (
    COLLAPSE,
    DEGREE,
    EXCESS,
    FADED,
    FEWEST_COINCIDENCES,
    FEWEST_ERRORS,
    FEWEST_POINTS,
    FLAT,
    NO_SIGNAL,
    RANGE,
    REACH,
    SPIKE,
    STARVED,
    UNRELIABLE,
    WEAK,
    Counting,
    Errors,
    Grid,
)
from xpcs_dask.fitting.kernel.compiled import careful, compiled
from xpcs_dask.fitting.kernel.exp import vexp, vlog
from xpcs_dask.fitting.layout import Flag
from xpcs_dask.fitting.models import Floats
from xpcs_dask.fitting.quality import PointFlag

P = DEGREE + 1
RIDGE = 1e-9
HUGE = 1e300
"""Stands for infinity, which fast-math arithmetic must not see."""

MISSING, ZERO_COUNT, ZERO_ERROR = int(PointFlag.MISSING), int(PointFlag.ZERO_COUNT), int(PointFlag.ZERO_ERROR)
FEW_PRODUCTS, FEW_COINCIDENCES = int(PointFlag.FEW_PRODUCTS), int(PointFlag.FEW_COINCIDENCES)
ERROR_COLLAPSE, NOT_USED = int(PointFlag.ERROR_COLLAPSE), int(PointFlag.NOT_USED)
IS_STARVED, IS_UNUSABLE, IS_UNRELIABLE = int(Flag.STARVED), int(Flag.UNUSABLE), int(Flag.ERROR_UNRELIABLE)
IS_SCATTERED, HAS_NO_SIGNAL, IS_WEAK = int(Flag.SCATTER_EXCESS), int(Flag.NO_SIGNAL), int(Flag.WEAK)
IS_COUNTS_UNKNOWN = int(Flag.COUNTS_UNKNOWN)


@compiled
def _dot3(a, b, c):
    """Sum of products of three rows."""
    total = 0.0
    for k in range(a.size):
        total += a[k] * b[k] * c[k]
    return total


@compiled
def _smooth(good, logs, lift, basis, normal, factor, trend):
    """Trend of ln variance over the points where `good` is 1, exponentiated; 0 where they are too few."""
    m = good.size
    low, high, count = HUGE, -HUGE, 0.0
    for k in range(m):
        count += good[k]
        if good[k] > 0.0:
            low, high = min(low, logs[k]), max(high, logs[k])
    if count < FEWEST_ERRORS:
        for k in range(m):
            trend[k] = 0.0
        return
    for a in range(P):
        factor[a] = _dot3(good, logs, basis[a])
        for b in range(a + 1):
            normal[a, b] = _dot3(good, basis[a], basis[b])
        normal[a, a] += RIDGE
    for a in range(P):  # Cholesky, and both substitutions
        for b in range(a + 1):
            t = normal[a, b]
            for c in range(b):
                t -= normal[a, c] * normal[b, c]
            normal[a, b] = math.sqrt(t) if a == b else t / normal[b, b]
    for a in range(P):
        for c in range(a):
            factor[a] -= normal[a, c] * factor[c]
        factor[a] /= normal[a, a]
    for a in range(P - 1, -1, -1):
        for c in range(a + 1, P):
            factor[a] -= normal[c, a] * factor[c]
        factor[a] /= normal[a, a]
    low, high = low - RANGE, high + RANGE
    for k in range(m):
        t = -lift
        for a in range(P):
            t += factor[a] * basis[a, k]
        trend[k] = vexp(min(max(t, low), high))


@compiled
def _logarithms(quoted, good, logs):
    """Ln of the good variances, 0 for others."""
    for k in range(good.size):
        logs[k] = good[k] * vlog(quoted[k] if good[k] > 0.0 else 1.0)


@compiled
def _scatter(left, variance, use, cubic, trimmed, ratio, largest, trim):
    """Mean square of the differences from the neighbours' cubic, over their variance; 1 if too few. `use` is 0 or 1."""
    number, total = 0.0, 0.0
    for k in range(REACH, left.size - REACH):
        d, v, ok = 0.0, 0.0, cubic[REACH, k]
        for j in range(2 * REACH + 1):
            c, at = cubic[j, k], k - REACH + j
            d += c * left[at]
            v += c * c * variance[at]
            ok *= use[at]
        # no sum in a loop that stores: whether it is vectorised would depend on where arrays lie in memory
        ratio[k] = ok * d * d / v if v > 0.0 else -1.0
        ratio[k] = ratio[k] if ok > 0.0 else -1.0
    for k in range(REACH, left.size - REACH):
        number += 1.0 if ratio[k] >= 0.0 else 0.0
        total += max(ratio[k], 0.0)
    if not trim:
        return total / number if number > 4.0 else 1.0
    kept = 0.0
    for j in range(SPIKE):
        largest[j] = 0.0
    for k in range(REACH, left.size - REACH):  # the largest `SPIKE` stand aside, in order; what they push out is added
        if ratio[k] <= largest[SPIKE - 1]:
            kept += max(ratio[k], 0.0)
            continue
        kept += largest[SPIKE - 1]
        j = SPIKE - 1
        while j > 0 and largest[j - 1] < ratio[k]:
            largest[j] = largest[j - 1]
            j -= 1
        largest[j] = ratio[k]
    return kept / max(trimmed[int(number)], 1e-300) if number > 2 * SPIKE + 4 else 1.0


@compiled
def _without_decay(y, w, decays, left):
    """Fill `left` with y less a constant and the best simple decay; returns the chi2 that the decay saves."""
    total, mean = 0.0, 0.0
    for k in range(y.size):
        total += w[k]
        mean += w[k] * y[k]
    total = max(total, 1e-300)
    mean /= total
    for k in range(y.size):
        left[k] = y[k] - mean
    best, amplitude, middle, chosen = 0.0, 0.0, 0.0, 0
    for j in range(decays.shape[0]):
        se, cross, square = 0.0, 0.0, 0.0
        for k in range(y.size):
            we = w[k] * decays[j, k]
            cross += we * left[k]
            se += we
            square += we * decays[j, k]
        spread = square - se * se / total
        seen = square > FADED * total and spread > FLAT * square
        if seen and cross > 0.0 and cross * cross > best * spread:
            best, amplitude, middle, chosen = cross * cross / spread, cross / spread, se / total, j
    for k in range(y.size):
        left[k] -= amplitude * (decays[chosen, k] - middle)
    return best


@careful
def _load(g2, err, products, min_products, use, y, quoted, good):
    """Fill which points are used (0 or 1), their g2, quoted variances and which of these are errors at all.

    Returns whether all numbers of products are known.
    """
    schedule = True
    for k in range(g2.size):
        schedule = schedule and np.isfinite(products[k])
        use[k] = 1.0 if np.isfinite(g2[k]) and not products[k] < min_products else 0.0
        y[k] = g2[k] if use[k] > 0.0 else 1.0
        quoted[k] = err[k] ** 2 if np.isfinite(err[k]) and err[k] > 0.0 else 0.0
        good[k] = use[k] if quoted[k] > 0.0 else 0.0
    return schedule


@careful
def _believe(quoted, good, logs, lift, basis, normal, factor, trend):
    """Trend of the quoted variances; those far below it are not good, and it is taken again without them."""
    _logarithms(quoted, good, logs)
    _smooth(good, logs, lift, basis, normal, factor, trend)
    changed = False
    for k in range(good.size):
        if good[k] > 0.0 and quoted[k] < COLLAPSE**2 * trend[k]:
            good[k], logs[k], changed = 0.0, 0.0, True
    if changed:
        _smooth(good, logs, lift, basis, normal, factor, trend)


@careful
def _shape(products, share, schedule, quoted, good, use, trend, shape):
    """Fill how the counting variance goes with the delay; returns whether no quoted error is of any use.

    Of delays of unknown kind errors need not be smooth: they are taken as quoted, up to the last believable one.
    """
    last = -1
    for k in range(good.size):
        if good[k] > 0.0:
            last = k
    nothing = True
    for k in range(good.size):
        if schedule:
            shape[k] = (share[k] if np.isfinite(share[k]) else 1.0) / max(products[k], 1.0)
        else:
            if k > last >= 0:
                use[k] = 0.0
            if good[k] > 0.0:
                trend[k] = quoted[k]
            shape[k] = trend[k] if last >= 0 else 1.0
        nothing = nothing and trend[k] == 0.0
    return nothing


@careful
def _size_from_scatter(y, use, trend, shape, nothing, schedule, decays, cubic, trimmed, w, left, ratio, largest):
    """Size of the counting variance from the curve itself, but 0 unless the quoted errors fail badly."""
    fails = nothing
    if schedule and not fails:
        for k in range(y.size):
            fails = fails or (use[k] > 0.0 and y[k] == 0.0)
            w[k] = use[k] / trend[k] if trend[k] > 0.0 else 0.0
        if not fails:
            _without_decay(y, w, decays, left)
            fails = _scatter(left, trend, use, cubic, trimmed, ratio, largest, True) > EXCESS
    if not fails:
        return 0.0
    for k in range(y.size):
        w[k] = use[k] / shape[k] if shape[k] > 0.0 else 0.0
    _without_decay(y, w, decays, left)
    return _scatter(left, shape, use, cubic, trimmed, ratio, largest, False)


@careful
def _judge(g2, err, products, min_products, quoted, trend, count, variance, use, points):
    """Fill the flags of points, leave points out.

    Returns how many are used, and whether the quoted errors are far below the counting errors at most delays.
    """
    used, inside, under = 0, 0, 0
    for k in range(g2.size):
        rare = count[k] * FEWEST_COINCIDENCES > 1.0
        stated, finite, few = not np.isnan(err[k]), np.isfinite(g2[k]), products[k] < min_products
        if finite and not few and count[k] > 0.0:
            inside += 1
            under += 1 if stated and trend[k] < UNRELIABLE * count[k] else 0
        bits = MISSING if not finite or (stated and not np.isfinite(err[k])) else 0
        if err[k] == 0.0 and g2[k] == 0.0:
            bits |= ZERO_COUNT
        if -np.inf < err[k] <= 0.0:
            bits |= ZERO_ERROR
        if few:
            bits |= FEW_PRODUCTS
        if finite and rare:
            bits |= FEW_COINCIDENCES
        if err[k] < np.inf and quoted[k] < COLLAPSE**2 * variance[k]:
            bits |= ERROR_COLLAPSE
        if rare or not (0.0 < variance[k] < np.inf):
            use[k] = 0.0
        used += int(use[k])
        points[k] = bits
    return used, 2 * under > inside


@careful
def _weigh_all(
    g2, err, products, rate, lift, share, cubic, basis, decays, trimmed, min_products, counts,
    weight, points, curves,
):  # fmt: skip
    n, m = g2.shape
    use, good, y, quoted, logs = np.empty(m), np.empty(m), np.empty(m), np.empty(m), np.empty(m)
    trend, shape, variance, w, ratio, left = (
        np.empty(m), np.empty(m), np.empty(m), np.empty(m), np.empty(m), np.empty(m)
    )  # fmt: skip
    normal, factor, largest = np.empty((P, P)), np.empty(P), np.empty(SPIKE)
    levels = True
    for k in range(m):
        levels = levels and np.isfinite(share[k])
    for i in range(n):
        schedule = _load(g2[i], err[i], products[i], min_products, use, y, quoted, good)
        _believe(quoted, good, logs, lift[i], basis, normal, factor, trend)
        nothing = _shape(products[i], share, schedule, quoted, good, use, trend, shape)
        told = counts and schedule and levels and np.isfinite(rate[i])
        size = 0.0
        if told:
            size = min(1.0 / rate[i], HUGE) if rate[i] > 0.0 else HUGE
        elif counts:
            size = _size_from_scatter(
                y, use, trend, shape, nothing, schedule, decays, cubic, trimmed, w, left, ratio, largest
            )  # fmt: skip
        for k in range(m):
            shape[k] *= size
            variance[k] = max(trend[k], shape[k])
        used, unreliable = _judge(
            g2[i], err[i], products[i], min_products, quoted, trend, shape, variance, use, points[i]
        )
        usable = used >= FEWEST_POINTS
        for k in range(m):
            use[k] = use[k] if usable else 0.0
            w[k] = 1.0 / variance[k] if use[k] > 0.0 else 0.0
        saving = _without_decay(y, w, decays, left)
        scatter = _scatter(left, variance, use, cubic, trimmed, ratio, largest, True)
        enlarged = scatter if scatter > EXCESS else 1.0
        for k in range(m):
            weight[i, k] = math.sqrt(w[k] / enlarged)
            if use[k] == 0.0:
                points[i, k] |= NOT_USED
        bits = 0 if usable else IS_UNUSABLE
        if usable and saving < WEAK * enlarged:
            bits |= IS_WEAK if saving >= NO_SIGNAL * enlarged else HAS_NO_SIGNAL
        if told and shape[0] * STARVED > 1.0:
            bits |= IS_STARVED
        if told and unreliable:
            bits |= IS_UNRELIABLE
        if enlarged > 1.0:
            bits |= IS_SCATTERED
        if counts and not told:
            bits |= IS_COUNTS_UNKNOWN
        curves[i] = bits


def weigh(
    g2: Floats, err: Floats, counting: Counting, lift: Floats, shared: Grid, min_products: int, *, counts: bool
) -> Errors:
    """`error_model.twin_errors`, compiled."""
    found = Errors(np.empty(g2.shape), np.empty(g2.shape, np.uint8), np.empty(len(g2), np.uint32))
    _weigh_all(
        g2, err, counting.products, counting.rate, lift,
        shared.share, shared.cubic, shared.basis, shared.decays, shared.trimmed,
        float(min_products), counts, found.weight, found.points, found.curves,
    )  # fmt: skip
    return found
