r"""Tests of the residuals of a fit, with null distributions that know of the fitted parameters; many curves at once.

Most take an `independent.Sequence`: residuals that are independent again, for which the textbook's null distributions
hold. `lag1` and `durbin_watson` take the residuals as they are, the used points first in each row
(`Projection.together`). What all of them assume is that errors of different delays are independent; bright data violate
that, and a small p then speaks of the noise, not of the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.hat import Projection, dots
from xpcs_dask.fitting.independent import Sequence
from xpcs_dask.fitting.models import Floats

Whole: TypeAlias = NDArray[np.int64]

FEWEST = 8
"""Numbers that a test needs; below, it says nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Test:
    """Outcome for n curves; NaN where there are too few points."""

    statistic: Floats
    p: Floats


def _told(known: NDArray[np.bool_], statistic: Floats, p: Floats) -> Test:
    return Test(np.where(known, statistic, np.nan), np.where(known, np.clip(p, 0.0, 1.0), np.nan))


def lag1(fit: Projection) -> tuple[Floats, Test]:
    r"""Correlation of weighted residuals with their neighbours, its z, and p of both sides.

    With :math:`\hat\epsilon = M \epsilon`, :math:`M = 1 - Q Q^T`, the ratio :math:`\epsilon^T M A M \epsilon /
    \epsilon^T M \epsilon` is independent of its denominator [1]_, so its moments are ratios of moments:
    :math:`\mathrm{tr}(MA)/\nu` and :math:`[\mathrm{tr}^2(MA) + 2\,\mathrm{tr}(MAMA)]/[\nu(\nu+2)]`,
    :math:`\nu = n - k`. A beta distribution with both gives p.

    References
    ----------
    .. [1] J. Durbin and G. S. Watson, Biometrika 37, 409 (1950).
    """
    from scipy.special import betainc

    residual, basis, count = fit.residual, fit.basis, fit.used.sum(axis=1)
    beside = np.where(fit.used, _beside(basis), 0.0)
    nu = (count - fit.rank).astype(np.float64)
    first = -dots(basis, beside).sum(axis=0)
    second = 0.5 * np.maximum(count - 1, 0) - 2.0 * dots(beside, beside).sum(axis=0)
    for a in range(len(basis)):
        for b in range(a + 1):
            second += (1.0 if a == b else 2.0) * dots(basis[a], beside[b]) ** 2
    chi2 = dots(residual, residual)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = dots(residual, _beside(residual)) / chi2
        mean = first / nu
        variance = (first**2 + 2.0 * second) / (nu * (nu + 2.0)) - mean**2
        edge = np.cos(np.pi / (count + 1))
        centre, width = 0.5 * (mean / edge + 1.0), variance / (4.0 * edge**2)
        total = centre * (1.0 - centre) / width - 1.0
        below = betainc(centre * total, (1.0 - centre) * total, np.clip(0.5 * (value / edge + 1.0), 0.0, 1.0))
        z = (value - mean) / np.sqrt(variance)
    known = (nu >= FEWEST) & (chi2 > 0) & (variance > 0)
    return np.where(known, value, np.nan), _told(known, z, 2.0 * np.minimum(below, 1.0 - below))


def durbin_watson(fit: Projection) -> Floats:
    """Sum of squared differences of neighbouring residuals over the sum of squares; 2 where they are independent."""
    step = np.where(fit.used[:, 1:], np.diff(fit.residual, axis=1), 0.0)
    chi2 = dots(fit.residual, fit.residual)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(chi2 > 0, dots(step, step) / chi2, np.nan)


def _beside(row: Floats) -> Floats:
    """Mean of both neighbours along the last axis, 0 beyond the ends."""
    found = np.zeros_like(row)
    found[..., 1:] += 0.5 * row[..., :-1]
    found[..., :-1] += 0.5 * row[..., 1:]
    return found


def runs(sequence: Sequence) -> Test:
    """Wald and Wolfowitz's test of the number of runs of one sign: z (negative: too few), and the exact mid-p.

    References
    ----------
    .. [1] A. Wald and J. Wolfowitz, Ann. Math. Stat. 11, 147 (1940).
    """
    there, count = sequence.there, sequence.count
    sign = sequence.number > 0
    change = (sign[:, 1:] != sign[:, :-1]) & there[:, 1:]
    found = 1 + change.sum(axis=1)
    plus = (sign & there).sum(axis=1)
    minus = count - plus
    with np.errstate(divide="ignore", invalid="ignore"):
        both = 2.0 * plus * minus
        mean = 1.0 + both / count
        variance = both * (both - count) / (count**2 * (count - 1.0))
        z = (found - mean) / np.sqrt(variance)
    chance = _runs_chance(plus, minus, sequence.number.shape[1])
    number = np.arange(chance.shape[1])
    equal = 0.5 * np.take_along_axis(chance, found[:, None], axis=1)[:, 0]
    below = np.where(number < found[:, None], chance, 0.0).sum(axis=1) + equal
    above = np.where(number > found[:, None], chance, 0.0).sum(axis=1) + equal
    known = (count >= FEWEST) & (plus > 0) & (minus > 0)
    return _told(known, z, 2.0 * np.minimum(below, above))


def _runs_chance(plus: Whole, minus: Whole, m: int) -> Floats:
    """Probability of 0, 1, … m + 1 runs, ``(n, m + 2)``."""
    from scipy.special import gammaln

    log_factorial = gammaln(np.arange(m + 2) + 1.0)

    def log_choose(n: Whole, k: Whole) -> Floats:
        fits = (k >= 0) & (k <= n) & (n >= 0)
        n, k = np.where(fits, n, 0), np.where(fits, k, 0)
        return np.where(fits, log_factorial[n] - log_factorial[k] - log_factorial[n - k], -np.inf)

    half = np.arange(m // 2 + 1)
    a, b = plus[:, None] - 1, minus[:, None] - 1
    all_ways = log_choose(plus + minus, plus)[:, None]
    first, second = log_choose(a, half), log_choose(b, half)
    first_less, second_less = (np.hstack([np.full((len(x), 1), -np.inf), x[:, :-1]]) for x in (first, second))
    chance = np.zeros((len(plus), 2 * (m // 2) + 4))
    chance[:, 2 : 2 + 2 * half.size : 2] = 2.0 * np.exp(first + second - all_ways)
    chance[:, 1 : 1 + 2 * half.size : 2] = np.exp(first + second_less - all_ways) + np.exp(
        first_less + second - all_ways
    )
    return chance


def normality(sequence: Sequence) -> Test:
    """Anderson and Darling's test with mean and variance from the numbers themselves; A^2 with Stephens' factor, and p.

    References
    ----------
    .. [1] R. B. D'Agostino and M. A. Stephens, Goodness-of-Fit Techniques (Dekker, 1986), table 4.9.
    """
    from scipy.special import ndtr

    count, there = sequence.count.astype(np.float64), sequence.there
    deviation, size = _deviations(sequence)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.sort(np.where(there, deviation / size[:, None], np.inf), axis=1)
        z = np.where(there, z, 0.0)
        odd = 2.0 * np.arange(z.shape[1]) + 1.0
        log_below, log_above = (np.log(np.maximum(ndtr(s), 1e-300)) for s in (z, -z))
        terms = np.where(there, odd * log_below + (2.0 * count[:, None] - odd) * log_above, 0.0)
        square = -count - terms.sum(axis=1) / count
        square *= 1.0 + 0.75 / count + 2.25 / count**2
        return _told((sequence.count >= FEWEST) & (size > 0), square, _stephens(square))


def _stephens(square: Floats) -> Floats:
    """Chance of a modified A^2 as large as this."""
    with np.errstate(over="ignore"):
        return np.select(
            [square < 0.2, square < 0.34, square < 0.6],
            [
                1.0 - np.exp(-13.436 + 101.14 * square - 223.73 * square**2),
                1.0 - np.exp(-8.318 + 42.796 * square - 59.938 * square**2),
                np.exp(0.9177 - 4.279 * square - 1.38 * square**2),
            ],
            np.exp(np.minimum(1.2937 - 5.709 * square + 0.0186 * np.minimum(square, 13.0) ** 2, 0.0)),
        )


def _deviations(sequence: Sequence) -> tuple[Floats, Floats]:
    """Numbers less their mean, and their standard deviation."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = sequence.number.sum(axis=1) / sequence.count
        deviation = np.where(sequence.there, sequence.number - mean[:, None], 0.0)
        return deviation, np.sqrt(dots(deviation, deviation) / (sequence.count - 1.0))


def heteroscedasticity(sequence: Sequence, at: Floats) -> Test:
    """Koenker's score test: do squares go with the abscissa `at` (n, m)? z, positive where they grow with it, and p.

    References
    ----------
    .. [1] R. Koenker, J. Econometrics 17, 107 (1981).
    """
    from scipy.special import ndtr

    there, count = sequence.there, sequence.count
    with np.errstate(divide="ignore", invalid="ignore"):
        square = sequence.number**2
        off = np.where(there, square - (square.sum(axis=1) / count)[:, None], 0.0)
        place = np.where(there, at, 0.0)
        place = np.where(there, place - (place.sum(axis=1) / count)[:, None], 0.0)
        norm = dots(off, off) * dots(place, place)
        z = np.sqrt(count) * dots(off, place) / np.sqrt(norm)
    return _told((count >= FEWEST) & (norm > 0), z, 2.0 * ndtr(-np.abs(z)))


def changepoint(sequence: Sequence) -> tuple[Test, Whole]:
    """Largest excursion of the cumulated sum from a straight line, p of a Brownian bridge, and the number before it.

    The bridge is looked at in as many places as there are numbers only: 0.583 standard deviations of one step are added
    for what it does between them [1]_, and 0.7/n of the excursion (from simulation) for the variance that is estimated.

    References
    ----------
    .. [1] D. Siegmund, Sequential Analysis (Springer, 1985).
    """
    from scipy.special import kolmogorov

    deviation, size = _deviations(sequence)
    count = np.maximum(sequence.count, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        path = np.abs(np.cumsum(deviation, axis=1)) / (size * np.sqrt(count))[:, None]
    known = (sequence.count >= FEWEST) & (size > 0)
    path[~known] = 0.0
    place = path.argmax(axis=1)[:, None]
    reached = np.take_along_axis(path, place, axis=1)[:, 0]
    found = _told(known, reached, kolmogorov(reached * (1.0 + 0.7 / count) + 0.583 / np.sqrt(count)))
    return found, place[:, 0]
