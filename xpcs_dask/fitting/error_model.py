"""Errors of multi-tau g2 that can be trusted: what `errors="auto"` and `errors="smoothed"` do.

The error that a correlator quotes is the scatter between pixels. It is right where every pixel counted many
coincidences, collapses where a delay has one to three products, and means nothing where photons are few. The counting
error, one over the root of the expected coincidences, follows from the mean intensity before g2 is looked at. So

- points are used with enough products and enough expected coincidences; neither rule looks at g2, and a g2 of 0 (no
  coincidence seen) is kept, for leaving it out would bias g2 upward;
- variance = max(smooth trend of the quoted variance, counting variance);
- a curve that scatters more than that from delay to delay has its variance enlarged to match, and is flagged. Scatter
  is what the best simple decay leaves, at each delay less the cubic through the two neighbours on either side: of a
  smooth curve next to nothing, however small its errors and whatever its shape.

What a format does not tell is replaced by the scatter of the curve itself, and flagged. docs/errors.md has the
measurements behind the constants.

This module holds the algorithm in NumPy, all curves of a block at once: the oracle of the compiled form in tests, and
its stand-in without Numba. Sums run along each curve alone, so that its bits do not depend on its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.layout import Flag
from xpcs_dask.fitting.models import Floats
from xpcs_dask.fitting.quality import PointFlag, PointFlags, Weights

DEGREE = 3
"""Of the polynomial through the logarithms of the quoted variances."""
FEWEST_ERRORS = DEGREE + 3
"""Believable errors that a trend needs."""
COLLAPSE = 0.3
"""Quoted error over its trend below which it is not believed."""
RANGE = 1.0
"""How far, in ln variance, the trend may leave the range of the quoted ones."""
EXCESS = 2.0
"""Scatter variance over model variance above which the model is enlarged."""
SPIKE = 5
"""Largest differences that are left out: a false point is part of five."""
FEWEST_COINCIDENCES = 3.0
"""Expected coincidences that a used delay must have; below, one count is an outlier of any Gaussian."""
STARVED = 10.0
"""Expected coincidences at the shortest delay below which the noise is not Gaussian."""
UNRELIABLE = 0.25
"""Quoted variance over counting variance: below this at most delays, the errors are not errors."""
FEWEST_POINTS = 6
"""Used delays below which a curve is not fitted."""
NO_SIGNAL, WEAK = 12.0, 30.0
"""Chi2 that a decay must save over a constant; pure noise passes 12 in less than 1.2 % of curves."""
DECAYS = 32
"""Relaxation times that are tried for it."""
FADED, FLAT = 1e-12, 1e-9
"""Mean square of a decay over the used points, and share of it that a constant leaves, below which it is none."""
GAP = 4.0
"""Steps of ln delay within five points that differ more than this are a gap: no difference across it."""
REACH = 2
"""Neighbours on either side that a point is compared with."""


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """What all curves on the same delays share; m delays."""

    share: Floats
    """(m,) counting variance falls as this over the number of products, 4**-level; NaN where levels are not known."""
    cubic: Floats
    """(2 * REACH + 1, m) 1 for the point itself, and less the weights of its neighbours in the cubic through them; 0
    throughout at both ends and across gaps."""
    basis: Floats
    """(DEGREE + 1, m) Legendre polynomials in the number of the delay."""
    decays: Floats
    """(DECAYS, m) exp(-2 delay / tau)."""
    trimmed: Floats
    """(m + 1,) expected sum of that many squared deviates, the largest `SPIKE` left out."""


def grid(delay: Any, level: Any = None) -> Grid:
    """Work out what all curves on these delays (m,) share; `level` (m,) is that of the multi-tau scheme, if known."""
    delay = np.ascontiguousarray(delay, dtype=np.float64)
    levels = np.full(delay.size, np.nan) if level is None else np.ascontiguousarray(level, dtype=np.float64)
    return _grid(delay.tobytes(), levels.tobytes())


@lru_cache(maxsize=8)
def _grid(delays: bytes, levels: bytes) -> Grid:
    delay, level = np.frombuffer(delays), np.frombuffer(levels)
    m = delay.size
    longest = delay.max(initial=0.0)
    shortest = delay[delay > 0].min() if (delay > 0).any() else 1.0
    tau = np.geomspace(0.6 * shortest, 2 * max(longest, shortest), DECAYS)
    return Grid(
        share=4.0**-level,
        cubic=_cubic(delay),
        basis=np.ascontiguousarray(np.polynomial.legendre.legvander(np.linspace(-1, 1, m), DEGREE).T),
        decays=np.exp(-2.0 * delay / tau[:, None]),
        trimmed=_trimmed(m),
    )


def _cubic(delay: Floats) -> Floats:
    """Differences of points from the cubic in ln delay through their neighbours (Lagrange's weights)."""
    found = np.zeros((2 * REACH + 1, delay.size))
    for k in range(REACH, delay.size - REACH):
        at = delay[k - REACH : k + REACH + 1]
        if at[0] <= 0:
            continue
        x = np.log(at / at[REACH])
        steps = np.diff(x)
        if steps.max() > GAP * steps.min():
            continue
        found[REACH, k] = 1.0
        for j in (j for j in range(x.size) if j != REACH):
            others = np.delete(x, [j, REACH])
            found[j, k] = -np.prod(others / (others - x[j]))
    return found


def _trimmed(m: int) -> Floats:
    """Mean sum of the squares of n normal deviates less the `SPIKE` largest, n = 0 to m.

    The mean of those below the quantile at p is the chi2 distribution of 3 degrees at that quantile.
    """
    from scipy.special import chdtr, chdtri

    n = np.arange(m + 1)
    kept = np.clip(1 - SPIKE / np.maximum(n, 1), 1e-9, 1 - 1e-12)
    return n * chdtr(3, chdtri(1, 1 - kept))


@dataclass(frozen=True, slots=True, eq=False)
class Counting:
    """What is known of the counts of n curves; NaN where a format does not tell."""

    products: Floats
    """(n, m) products averaged at each delay."""
    rate: Floats
    """(n,) coincidences expected per product at level 0 for g2 = 1, all runs together."""
    pixels: Floats
    """(n,) pixels of the bin."""

    @classmethod
    def of(cls, n: int, m: int, products: Any = None, rate: Any = None, pixels: Any = None) -> Counting:
        """Spread what is given, None for not known, over n curves of m delays."""

        def spread(values: Any, shape: tuple[int, ...]) -> Floats:
            given = np.nan if values is None else np.asarray(values, dtype=np.float64).reshape(-1, *shape[1:])
            return _own(np.broadcast_to(given, shape))

        products = None if products is None else np.broadcast_to(products, (*np.shape(products)[:-1], m))
        return cls(spread(products, (n, m)), spread(rate, (n,)), spread(pixels, (n,)))


@dataclass(frozen=True, slots=True, eq=False)
class Errors:
    """What the error model says of n curves of m points."""

    weight: Weights
    """(n, m) 1/sigma, 0 where a point is not used."""
    points: PointFlags
    """(n, m) bits of `quality.PointFlag`."""
    curves: NDArray[np.uint32]
    """(n,) bits of `layout.Flag`."""


def model_errors(
    g2: Any, err: Any, counting: Counting, shared: Grid, min_products: int = 4, *, counts: bool = True
) -> Errors:
    """Errors of curves by the error model; compiled where Numba is installed.

    Parameters
    ----------
    g2 : array, shape (n, m)
        Curves.
    err : array, shape (n, m), or None
        Quoted errors, NaN or None where there are none.
    counting : Counting
        What is known of the counts.
    shared : Grid
        Of the delays, from `grid`.
    min_products : int
        Delays with fewer products are not used.
    counts : bool
        False leaves the counting error out: ``errors="smoothed"``.
    """
    from xpcs_dask.fitting.families import numba_found

    g2 = _own(g2)
    err = np.full(g2.shape, np.nan) if err is None else _own(np.broadcast_to(err, g2.shape))
    lift = chi2_lift(counting.pixels)
    if numba_found():
        from xpcs_dask.fitting.kernel.weigh import weigh

        return weigh(g2, err, counting, lift, shared, min_products, counts=counts)
    return twin_errors(g2, err, counting, lift, shared, min_products, counts=counts)


def _own(values: Any) -> Floats:
    """Float64, contiguous and writeable: of read-only arrays Numba makes another kernel, with another last bit."""
    return np.require(values, np.float64, ["C", "W"])


def chi2_lift(pixels: Floats) -> Floats:
    """Mean of the logarithm of a variance estimated from so many pixels, less that of the true one (<= 0)."""
    from scipy.special import digamma

    half = np.maximum(pixels - 1.0, 1.0) / 2
    return np.where(np.isfinite(pixels), digamma(half) - np.log(half), 0.0)


def twin_errors(
    g2: Floats, err: Floats, counting: Counting, lift: Floats, shared: Grid, min_products: int, *, counts: bool
) -> Errors:
    """`model_errors` in NumPy; `lift` is `chi2_lift` of the pixels."""
    known = np.isfinite(counting.products)
    number = np.where(known, np.maximum(counting.products, 1.0), 1.0)
    schedule: NDArray[np.bool_] = np.asarray(known.all(axis=1))
    share = np.where(np.isfinite(shared.share), shared.share, 1.0)
    finite = np.isfinite(g2)
    few = known & (counting.products < min_products)
    use = finite & ~few
    y = np.where(use, g2, 1.0)
    quoted = np.where(np.isfinite(err) & (err > 0), err, 0.0) ** 2
    good = use & (quoted > 0)
    trend = smooth(quoted, good, lift, shared)
    good &= quoted >= COLLAPSE**2 * trend
    trend = smooth(quoted, good, lift, shared)
    # of delays of unknown kind errors need not be smooth: they are taken as quoted, up to the last believable one
    until = np.cumsum(good[:, ::-1], axis=1)[:, ::-1] > 0
    any_good: NDArray[np.bool_] = np.asarray(good.any(axis=1))
    use &= until | schedule[:, None] | ~any_good[:, None]
    trend = np.where(schedule[:, None], trend, np.where(good, quoted, trend))
    shape = np.where(schedule[:, None], share / number, np.where(any_good[:, None], trend, 1.0))
    told = schedule & np.isfinite(counting.rate) & np.isfinite(shared.share).all() & counts
    with np.errstate(divide="ignore"):
        size = np.where(told, 1.0 / counting.rate, 0.0)
    if counts and not told.all():
        size = np.where(told, size, _size_from_scatter(y, use, trend, shape, schedule, shared))
    count = size[:, None] * shape
    variance = np.maximum(trend, count)
    with np.errstate(divide="ignore"):
        rare = 1.0 / count < FEWEST_COINCIDENCES
    use &= (variance > 0) & np.isfinite(variance) & ~rare
    unusable = use.sum(axis=1) < FEWEST_POINTS
    use &= ~unusable[:, None]
    left, saving = without_decay(y, np.where(use, 1.0 / np.where(use, variance, 1.0), 0.0), shared)
    scatter = scatter_ratio(left, variance, use, shared)
    enlarged = np.where(scatter > EXCESS, scatter, 1.0)
    weight = np.where(use, 1.0 / np.sqrt(np.where(use, variance * enlarged[:, None], 1.0)), 0.0)
    saving = saving / enlarged
    stated = ~np.isnan(err)
    points = [
        (~finite | (stated & ~np.isfinite(err)), PointFlag.MISSING),
        ((g2 == 0) & (err == 0), PointFlag.ZERO_COUNT),
        ((err <= 0) & np.isfinite(err), PointFlag.ZERO_ERROR),
        (few, PointFlag.FEW_PRODUCTS),
        (finite & rare, PointFlag.FEW_COINCIDENCES),
        (stated & (quoted < COLLAPSE**2 * variance) & (err < np.inf), PointFlag.ERROR_COLLAPSE),
        (~use, PointFlag.NOT_USED),
    ]
    inside = finite & ~few & (count > 0)
    under = (inside & stated & (trend < UNRELIABLE * count)).sum(axis=1)
    dim = told & (count[:, 0] * STARVED > 1)
    curves = [
        (dim, Flag.STARVED),
        (unusable, Flag.UNUSABLE),
        (told & (2 * under > inside.sum(axis=1)), Flag.ERROR_UNRELIABLE),
        (scatter > EXCESS, Flag.SCATTER_EXCESS),
        (~unusable & (saving < NO_SIGNAL), Flag.NO_SIGNAL),
        (~unusable & (saving >= NO_SIGNAL) & (saving < WEAK), Flag.WEAK),
        (~told if counts else np.zeros(len(g2), np.bool_), Flag.COUNTS_UNKNOWN),
    ]
    return Errors(weight, _bits(points, np.uint8), _bits(curves, np.uint32))


def _bits(reasons: list[tuple[Any, Any]], dtype: Any) -> Any:
    found = np.zeros(reasons[0][0].shape, dtype)
    for where, flag in reasons:
        found |= np.where(where, dtype(flag), dtype(0))
    return found


def _size_from_scatter(
    y: Floats, use: NDArray[np.bool_], trend: Floats, shape: Floats, schedule: NDArray[np.bool_], shared: Grid
) -> Floats:
    """(n,) counting variance over `shape` from the curve itself, but 0 unless the quoted errors fail badly."""
    nothing = (trend == 0).all(axis=1)
    zeros = ((y == 0) & use).any(axis=1)
    left, _ = without_decay(y, np.where(use & (trend > 0), 1.0 / np.where(trend > 0, trend, 1.0), 0.0), shared)
    fails = (scatter_ratio(left, trend, use, shared) > EXCESS) | zeros
    left, _ = without_decay(y, np.where(use & (shape > 0), 1.0 / np.where(shape > 0, shape, 1.0), 0.0), shared)
    return np.where(nothing | (schedule & fails), scatter_ratio(left, shape, use, shared, trim=False), 0.0)


def smooth(variance: Floats, good: NDArray[np.bool_], lift: Floats, shared: Grid) -> Floats:
    """Trend (n, m) through ln variance over good points; 0 for curves with fewer than `FEWEST_ERRORS` of them."""
    logs = np.log(np.where(good, variance, 1.0))
    weight = good.astype(np.float64)
    normal = np.einsum("nk,ak,bk->nab", weight, shared.basis, shared.basis) + 1e-9 * np.eye(DEGREE + 1)
    pull = np.einsum("nk,ak->na", weight * logs, shared.basis)
    factor = np.linalg.solve(normal, pull[..., None])[..., 0]
    trend = np.einsum("na,ak->nk", factor, shared.basis) - lift[:, None]
    low = np.where(good, logs, np.inf).min(axis=1, initial=np.inf)[:, None] - RANGE
    high = np.where(good, logs, -np.inf).max(axis=1, initial=-np.inf)[:, None] + RANGE
    enough = good.sum(axis=1)[:, None] >= FEWEST_ERRORS
    return np.where(enough, np.exp(np.clip(np.where(enough, trend, 0.0), low, np.maximum(low, high))), 0.0)


def scatter_ratio(left: Floats, variance: Floats, use: NDArray[np.bool_], shared: Grid, *, trim: bool = True) -> Floats:
    """(n,) mean square of the differences from the cubic through the neighbours, over their variance; 1 if too few.

    With `trim` the `SPIKE` largest are left out: a false point is not noise of the whole curve.
    """
    n, m = left.shape
    inner = max(m - 2 * REACH, 0)
    d, v, ok = np.zeros((n, inner)), np.zeros((n, inner)), np.ones((n, inner), np.bool_)
    for j in range(2 * REACH + 1):
        c, at = shared.cubic[j, REACH : REACH + inner], slice(j, j + inner)
        d += c * left[:, at]
        v += c * c * variance[:, at]
        ok &= use[:, at]
    ok &= v > 0
    ratio = np.where(ok, d**2 / np.where(ok, v, 1.0), 0.0)
    number, total = ok.sum(axis=1), ratio.sum(axis=1)
    if not trim:
        return np.where(number > 4, total / np.maximum(number, 1), 1.0)
    if inner > SPIKE:
        total = np.partition(ratio, -SPIKE, axis=1)[:, :-SPIKE].sum(axis=1)
    return np.where(number > 2 * SPIKE + 4, total / np.maximum(shared.trimmed[number], 1e-300), 1.0)


def without_decay(y: Floats, w: Floats, shared: Grid) -> tuple[Floats, Floats]:
    """Curves less a constant and the best simple decay of `DECAYS`, and the chi2 that the decay saves; (n, m), (n,).

    `w` is 1/sigma^2; the decay has no negative amplitude, and none where it saves nothing.
    """
    total = np.maximum(w.sum(axis=1), 1e-300)
    left = y - ((w * y).sum(axis=1) / total)[:, None]
    best, amplitude, mean, chosen = np.zeros(len(w)), np.zeros(len(w)), np.zeros(len(w)), np.zeros(len(w), np.intp)
    for j, e in enumerate(shared.decays):  # one decay at a time: sums that do not depend on the number of curves
        se, cross, square = (np.einsum("nk,k->n", a, b) for a, b in ((w, e), (w * left, e), (w, e * e)))
        spread = square - se**2 / total
        ok = (cross > 0) & (square > FADED * total) & (spread > FLAT * square)
        saving = np.where(ok, cross**2 / np.where(ok, spread, 1.0), 0.0)
        won = saving > best
        best, chosen = np.where(won, saving, best), np.where(won, j, chosen)
        amplitude = np.where(won, cross / np.where(ok, spread, 1.0), amplitude)
        mean = np.where(won, se / total, mean)
    return left - amplitude[:, None] * (shared.decays[chosen] - mean[:, None]), best
