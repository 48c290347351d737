"""Five kinds of interval from replicates, on natural scales; `fitting.intervals` says what they are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtrit

from xpcs_dask.fitting.interval_ends import Parents
from xpcs_dask.fitting.models import Floats
from xpcs_dask.fitting.quantiles import quantile, sparsity
from xpcs_dask.fitting.scales import Scale, back, forward, natural_scales, naturally, slope


class Sample:
    """Replicates on their natural scales, sorted."""

    def __init__(self, replicates: Floats, parents: Parents) -> None:
        self.parents, self.scales = parents, natural_scales(parents.model)
        self.spread = columns(replicates)
        """(n, p, B) on the scale in use; NaN where a refit failed."""
        good = np.asarray(np.isfinite(self.spread).all(axis=1))
        self.spread[np.broadcast_to(~good[:, None], self.spread.shape)] = np.nan
        self.count = np.repeat(good.sum(axis=1)[:, None], self.spread.shape[1], axis=1)
        self.centre = forward(parents.value, self.scales)
        self.natural = np.isfinite(self.centre)
        """(n, p) whether the natural scale can be used."""
        for k, scale in enumerate(self.scales):
            if scale != Scale.IDENTITY:
                natural = naturally(self.spread[:, k], scale)
                self.natural[:, k] &= (np.isfinite(natural) == good).all(axis=-1)
                self.spread[:, k] = np.where(self.natural[:, k, None], natural, self.spread[:, k])
        self.centre = np.where(self.natural, self.centre, parents.value)

    @cached_property
    def ordered(self) -> Floats:
        """(n, p, B) sorted, NaN last."""
        return np.sort(self.spread, axis=-1)

    def slope(self, value: Floats, plain: Any) -> Floats:
        """Return the derivative of the scale in use."""
        return np.where(plain, 1.0, slope(value, self.scales))

    def back(self, end: Floats) -> Floats:
        """Return ends in the unit of the parameter."""
        return np.where(self.natural, back(end, self.scales), end)


def columns(array: Floats) -> Floats:
    """``(n, B, p)`` as contiguous ``(n, p, B)``: sums then run over one curve's numbers alone, always the same way."""
    return np.array(np.swapaxes(array, 1, 2), dtype=np.float64, order="C")


@dataclass(frozen=True, slots=True, eq=False)
class Raw:
    """Intervals on the scale in use."""

    lower: Floats
    upper: Floats
    error: Floats
    """(n, p, 2) Monte-Carlo standard errors of the ends."""
    extreme: NDArray[np.bool_]
    """(n, p, 2) ends that are the smallest or largest replicate, for want of more."""


def percentile(sample: Sample, alpha: float) -> Raw:
    """Quantiles of the replicates."""
    return _quantiles(sample.ordered, sample.count, alpha)


def _quantiles(ordered: Floats, count: Floats, alpha: float) -> Raw:
    fractions = (alpha, 1.0 - alpha)
    low, high = (quantile(ordered, count, f) for f in fractions)
    unit = np.sqrt(alpha * (1.0 - alpha) / np.maximum(count, 1))
    errors = [unit * sparsity(ordered, count, np.full(count.shape, f)) for f in fractions]
    few = (count + 1.0) * alpha < 1.0 - 1e-12  # 39 replicates are enough for 95 %
    return Raw(low, high, np.stack(errors, axis=-1), np.stack([few, few], axis=-1))


def basic(sample: Sample, alpha: float) -> Raw:
    """Quantiles of the replicates, mirrored at the estimate."""
    made = percentile(sample, alpha)
    twice = 2.0 * sample.centre
    return Raw(twice - made.upper, twice - made.lower, made.error[..., ::-1], made.extreme)


def studentised(sample: Sample, alpha: float, stderr: Floats, replicates: Floats, replicate_stderr: Floats) -> Raw:
    """Quantiles of the replicates in standard errors of their own, mirrored at the estimate."""
    plain = ~sample.natural
    unit = stderr * sample.slope(sample.parents.value, plain)
    units = columns(replicate_stderr * sample.slope(replicates, plain[:, None, :]))
    pivot = np.where(units > 0, (sample.spread - sample.centre[..., None]) / units, np.nan)
    pivot[~np.isfinite(pivot)] = np.nan
    made = _quantiles(np.sort(pivot, axis=-1), np.isfinite(pivot).sum(axis=-1), alpha)
    low, high = sample.centre - unit * made.upper, sample.centre - unit * made.lower
    return Raw(low, high, made.error[..., ::-1] * unit[..., None], made.extreme)


def t_scaled(sample: Sample, alpha: float) -> Raw:
    """Estimate -+ t times the standard deviation of the replicates; its error follows from their kurtosis."""
    count, dof = sample.count, sample.parents.dof
    factor = student_quantile(np.full(len(count), np.inf) if dof is None else dof, alpha)[:, None]
    known = np.isfinite(sample.spread)
    mean = np.where(known, sample.spread, 0.0).sum(axis=-1) / count
    square = np.where(known, sample.spread - mean[..., None], 0.0) ** 2
    total = square.sum(axis=-1)
    half = factor * np.sqrt(total / np.maximum(count - 1, 1))
    kurtosis = np.where(total > 0, count * (square**2).sum(axis=-1) / total**2, 1.0)
    error = half * np.sqrt(np.maximum(kurtosis - 1.0, 0.0) / (4.0 * np.maximum(count, 1)))
    few = np.zeros((*count.shape, 2), np.bool_)
    return Raw(sample.centre - half, sample.centre + half, np.stack([error, error], axis=-1), few)


def bca(sample: Sample, alpha: float, a: Floats) -> Raw:
    """Percentile with corrected fractions; the number of replicates is felt in the bias correction z0, too."""
    ordered, count = sample.ordered, sample.count
    share = mid_share(sample.spread, count, sample.centre)
    z0 = ndtri(share)
    ends, errors, few = [], [], []
    for z in (ndtri(alpha), -ndtri(alpha)):
        stretch = 1.0 - a * (z0 + z)
        at = z0 + (z0 + z) / stretch
        fraction = np.where(np.isfinite(z0) & (stretch > 0), ndtr(at), np.nan)
        pull = np.exp(0.5 * (z0 * z0 - at * at)) * (1.0 + stretch**-2)  # d fraction / d share
        both = np.minimum(fraction, share) - fraction * share
        variance = fraction * (1.0 - fraction) + pull**2 * share * (1.0 - share) - 2.0 * pull * both
        error = np.sqrt(np.maximum(variance, 0.0) / np.maximum(count, 1)) * sparsity(ordered, count, fraction)
        ends.append(np.where(np.isnan(fraction), np.nan, quantile(ordered, count, fraction)))
        errors.append(error)
        few.append((count + 1.0) * np.minimum(fraction, 1.0 - fraction) < 1.0 - 1e-12)
    return Raw(ends[0], ends[1], np.stack(errors, axis=-1), np.stack(few, axis=-1))


def mid_share(spread: Floats, count: Floats, centre: Floats) -> Floats:
    """Share of the replicates below the estimate, those equal to it by half; shapes (n, p, B), (n, p), (n, p)."""
    below = (spread < centre[..., None]).sum(axis=-1)
    return (below + 0.5 * (spread == centre[..., None]).sum(axis=-1)) / np.maximum(count, 1)


def student_quantile(dof: Any, alpha: float) -> Floats:
    """Return the quantile 1 - `alpha` of t, normal for infinite `dof`, NaN for none."""
    degrees = np.asarray(dof, dtype=np.float64)
    return np.where(degrees > 0, stdtrit(np.maximum(degrees, 1e-3), 1.0 - alpha), np.nan)


def acceleration(influence: Floats) -> Floats:
    r"""Acceleration of BCa by the infinitesimal jackknife: :math:`\sum I^3 / 6 (\sum I^2)^{3/2}`.

    Parameters
    ----------
    influence : array, shape (n, P, p)
        Influence of each cluster on each parameter, on any linear scale; NaN for clusters that a curve lacks.

    Returns
    -------
    array, shape (n, p)
        The natural scale of a parameter has the same; 0 where no cluster matters (a parameter that is held), NaN
        without clusters.
    """
    if not influence.shape[1]:
        return np.full(influence.shape[::2], np.nan)
    known = columns(influence)
    empty = ~np.isfinite(known).any(axis=-1)
    known = np.where(np.isfinite(known), known, 0.0)
    largest = np.max(np.abs(known), axis=-1, initial=0.0)
    known = known / np.where(largest > 0, largest, 1.0)[..., None]
    # cumulated one by one: padding must not change how a sum is split
    third, second = (np.cumsum(known**k, axis=-1)[..., -1] for k in (3, 2))
    found = third / (6.0 * np.where(second > 0, second, 1.0) ** 1.5)
    return np.where(empty, np.nan, found)
