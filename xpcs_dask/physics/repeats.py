"""Repeats of one curve: which to reject and why, their mean, and its error from their scatter. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Weights: TypeAlias = Literal["none", "error", "counts"]

FEWEST_FOR_OUTLIERS = 5
"""Repeats from which on the median of their distances tells anything; among fewer none is called an outlier."""
FEWEST_PRODUCTS = 4
"""Products of a delay that counts for the baseline: with one, the g2 of each pixel is 1 whatever the sample does."""
MAD_TO_SIGMA = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""


class Reason(IntEnum):
    """Why a repeat does not count in the average of a bin."""

    KEPT = 0
    """It counts."""
    NO_DATA = 1
    """No point of g2 is a number."""
    NO_COUNTS = 2
    """The bin saw no photon: its expected rate of coincidences is 0."""
    BASELINE = 3
    """The mean of g2 at the last delays lies outside the window."""
    OUTLIER = 4
    """Its distance from the median curve is too large among those of the repeats."""
    COPY = 5
    """It is the same curve as an earlier repeat: it adds nothing, and would make the scatter too small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What is rejected, and how the rest is weighed."""

    weights: Weights = "none"
    baseline: tuple[float, float] | None = None
    baseline_delays: int = 5
    outliers: float | None = None


def average_repeats(
    g2: Floats, err: Floats, counts: Floats, products: Floats, copies: NDArray[np.bool_], rules: Rules
) -> tuple[NDArray[np.generic], ...]:
    """Average over repeats.

    Parameters
    ----------
    g2, err : (..., repeat, delay)
        Curves and quoted errors; NaN where there is none.
    counts : (..., repeat)
        Coincidences expected per product at level 0, times the runs in the file; NaN if not known.
    products : (..., repeat, delay)
        Products averaged at each delay; NaN if not known.
    copies : (..., repeat) bool
        Whether an earlier repeat is the same curve.
    rules : Rules

    Returns
    -------
    g2, g2_err, quoted, unweighted, unweighted_err : (..., delay) float32
        Mean as the rules say and its standard error from scatter; the quoted errors combined; the plain mean.
    number : (..., delay) int32
        Repeats that count at each delay.
    reason : (..., repeat) uint8
    value, limit : (..., repeat) float64
        What was judged and where the limit was: mean at the last delays, or distance. NaN where nothing was judged.
    cluster : (..., repeat, delay) float32
        The curves, NaN where rejected.
    """
    g2, err = np.asarray(g2, np.float64), np.asarray(err, np.float64)
    counts, products = np.broadcast_to(counts, g2.shape[:-1]), np.broadcast_to(products, g2.shape)
    reason, value, limit = judge(g2, counts, products, np.broadcast_to(copies, counts.shape), rules)
    curves = np.where((reason == Reason.KEPT)[..., None], g2, np.nan)
    held = np.isfinite(curves)
    filled = fill_errors(err, held)
    equal = np.ones(g2.shape)
    plain, plain_error, quoted = weighted_mean(curves, filled, equal)
    mean, error = plain, plain_error
    if rules.weights != "none":
        raw = filled**-2.0 if rules.weights == "error" else _expected(counts, products)
        mean, error, quoted = weighted_mean(curves, filled, raw)
    single = (np.float32(a) for a in (mean, error, quoted, plain, plain_error))
    number = held.sum(axis=-2).astype(np.int32)
    return (*single, number, reason.astype(np.uint8), value, limit, curves.astype(np.float32))


def judge(
    g2: Floats, counts: Floats, products: Floats, copies: NDArray[np.bool_], rules: Rules
) -> tuple[NDArray[np.intp], Floats, Floats]:
    """Reason, value and limit ``(..., repeat)``; outliers are looked for among those that passed all else."""
    reason = np.where(np.isfinite(g2).any(axis=-1), Reason.KEPT, Reason.NO_DATA)
    reason = np.where((reason == Reason.KEPT) & (counts == 0), Reason.NO_COUNTS, reason)
    reason = np.where((reason == Reason.KEPT) & copies, Reason.COPY, reason)
    value, limit = np.full(reason.shape, np.nan), np.full(reason.shape, np.nan)
    if rules.baseline is not None:
        low, high = rules.baseline
        level = baseline(g2, products, rules.baseline_delays)
        open_ = reason == Reason.KEPT
        value = np.where(open_, level, value)
        out = open_ & ~((level >= low) & (level <= high))
        limit = np.where(open_, np.where(level > 0.5 * (low + high), high, low), limit)
        reason = np.where(out, Reason.BASELINE, reason)
    if rules.outliers is not None:
        far, border = distances(np.where((reason == Reason.KEPT)[..., None], g2, np.nan), rules.outliers)
        out = far > border
        value, limit = np.where(out, far, value), np.where(out, border, limit)
        reason = np.where(out, Reason.OUTLIER, reason)
    return reason, value, limit


def baseline(g2: Floats, products: Floats, delays: int) -> Floats:
    """Average g2 over the last `delays` delays that it has with enough products ``(..., repeat)``; NaN if none."""
    used = np.isfinite(g2) & ~(products < FEWEST_PRODUCTS)
    from_end = np.cumsum(used[..., ::-1], axis=-1)[..., ::-1]
    used &= from_end <= delays
    number = used.sum(axis=-1)
    total = np.where(used, g2, 0.0).sum(axis=-1)
    return np.divide(total, number, out=np.full(number.shape, np.nan), where=number > 0)


def distances(g2: Floats, k: float) -> tuple[Floats, Floats]:
    """Distance of each repeat from the median curve, and the limit of it, ``(..., repeat)``.

    The distance is the root mean square over delays of the difference from the median of the repeats, in units of
    their spread at that delay (1.4826 times the median absolute deviation). Its logarithm is judged: the limit lies
    `k` such spreads of the logarithms above their median (B. Iglewicz and D. Hoaglin, How to Detect and Handle
    Outliers, 1993, recommend 3.5), NaN where there are fewer than `FEWEST_FOR_OUTLIERS` repeats.
    """
    centre = _median(g2, -2)
    off = g2 - centre
    spread = MAD_TO_SIGMA * _median(np.abs(off), -2)
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.where(spread > 0, off / spread, np.nan)
    seen = np.isfinite(z)
    number = seen.sum(axis=-1)
    total = (np.where(seen, z, 0.0) ** 2).sum(axis=-1)
    far = np.sqrt(np.divide(total, number, out=np.full(number.shape, np.nan), where=number > 0))
    log = np.log(far, out=np.full(far.shape, np.nan), where=far > 0)
    middle = _median(log, -1)
    width = MAD_TO_SIGMA * _median(np.abs(log - middle), -1)
    enough = (np.isfinite(log).sum(axis=-1, keepdims=True) >= FEWEST_FOR_OUTLIERS) & (width > 0)
    return far, np.broadcast_to(np.where(enough, np.exp(middle + k * width), np.nan), far.shape)


def fill_errors(err: Floats, held: NDArray[np.bool_]) -> Floats:
    """Quoted errors, where none or 0 is quoted for a point that is held the largest of the other repeats there.

    0 is quoted where no coincidence was counted: that is not exact, and leaving such points out would raise the mean.
    """
    good = held & np.isfinite(err) & (err > 0)
    largest = np.where(good, err, 0.0).max(axis=-2, keepdims=True)
    return np.where(good, err, np.where(largest > 0, largest, np.nan))


def weighted_mean(curves: Floats, err: Floats, raw: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean over repeats ``(..., repeat, delay)``, its standard error from scatter, and from the errors.

    The variance is sum of w^2 (x - mean)^2 / (1 - w) for weights w of sum 1: s^2 / P where they are equal, and without
    bias where they are those of the true variances. Where no repeat has a usable weight they count the same.
    """
    held = np.isfinite(curves)
    usable = held & np.isfinite(raw) & (raw > 0)
    some = usable.any(axis=-2, keepdims=True)
    weight = np.where(some, np.where(usable, raw, 0.0), held.astype(np.float64))
    total = weight.sum(axis=-2, keepdims=True)
    weight = np.divide(weight, total, out=np.zeros(weight.shape), where=total > 0)
    values = np.where(held, curves, 0.0)
    mean = (weight * values).sum(axis=-2)
    left = 1.0 - weight
    share = np.divide(weight**2, left, out=np.zeros(weight.shape), where=left > 0)
    variance = (share * np.where(held, values - mean[..., None, :], 0.0) ** 2).sum(axis=-2)
    quoted = np.where(weight > 0, weight * err, 0.0)
    many = (weight > 0).sum(axis=-2) > 1
    none = ~held.any(axis=-2)
    return (
        np.where(none, np.nan, mean),
        np.where(many, np.sqrt(variance), np.nan),
        np.where(none, np.nan, np.sqrt((quoted**2).sum(axis=-2))),
    )


def _expected(counts: Floats, products: Floats) -> Floats:
    """Give expected coincidences, but for the factor 4**level that repeats share; unknown products count as equal."""
    return counts[..., None] * np.where(np.isfinite(products), products, 1.0)


def _median(values: Floats, axis: int) -> Floats:
    """Median along an axis that stays, NaN left out; NaN where there is nothing else."""
    ordered = np.sort(values, axis=axis)  # NaN comes last
    number = np.isfinite(values).sum(axis=axis, keepdims=True)
    low, high = (np.maximum(number - 1, 0) // 2, number // 2)
    high = np.minimum(high, np.maximum(number - 1, 0))
    both = [np.take_along_axis(ordered, at, axis=axis) for at in (low, high)]
    return 0.5 * (both[0] + both[1])
