"""Random draws of a bootstrap, keyed by what is drawn: the same numbers whatever else is drawn, in whatever order.

The generator is Philox4x32-10 (J. K. Salmon et al., Proc. SC11 (2011)): the key is the seed, the counter is (block of
four words, replicate, low and high half of the curve's number). Seed and curve both count with all their 64 bits, and
no two replicates share a word. `kernel.random` draws the same bits, this module needs NumPy alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.kernel.random_tables import (
    CENTRE_BOTTOM,
    CENTRE_TOP,
    FAR_BOTTOM,
    FAR_TOP,
    FIRST_FACTOR,
    FIRST_WEYL,
    HALF,
    LN_2,
    LOW,
    MIDDLE,
    ROUNDS,
    SECOND_FACTOR,
    SECOND_WEYL,
    TAIL_BOTTOM,
    TAIL_TOP,
)  # fmt: skip
from xpcs_dask.fitting.models import Floats

Words = NDArray[np.uint64]
SCHEMES = ("cluster", "residual", "wild", "parametric", "pairs", "blocks")
"""In the order of the codes of `kernel.resample`."""
LANES = 8
"""Recipes are padded with points of weight 0 to a multiple of this: compiled loops then have no scalar tail."""


LEAST_REST = 1e-3
"""A point whose leverage leaves it less than this (it fits itself) is treated as if it left this much."""


def philox(counter: Words, key: Words) -> Words:
    """Philox4x32-10 of counters (…, 4) and keys (…, 2), all numbers of 32 bits held as uint64; words (…, 4)."""
    c0, c1, c2, c3 = np.moveaxis(np.asarray(counter, np.uint64), -1, 0)
    k0, k1 = np.moveaxis(np.asarray(key, np.uint64), -1, 0)
    for _ in range(ROUNDS):
        first, second = c0 * FIRST_FACTOR, c2 * SECOND_FACTOR
        c0, c1, c2, c3 = (second >> HALF) ^ c1 ^ k0, second & LOW, (first >> HALF) ^ c3 ^ k1, first & LOW
        k0, k1 = (k0 + FIRST_WEYL) & LOW, (k1 + SECOND_WEYL) & LOW
    return np.stack([c0, c1, c2, c3], axis=-1)


def words(seed: int, curve_id: int, replicate: int, number: int) -> Words:
    """First `number` words of 32 bits of one replicate of one curve.

    Parameters
    ----------
    seed, curve_id
        Whole numbers below 2^64; both count in full.
    replicate
        Below 2^32.
    """
    blocks = -(-number // 4)
    counter = np.empty((blocks, 4), np.uint64)
    counter[:, 0] = np.arange(blocks)
    counter[:, 1:] = replicate, curve_id & 0xFFFFFFFF, curve_id >> 32
    key = np.array([seed & 0xFFFFFFFF, seed >> 32], np.uint64)
    return philox(counter, key).reshape(-1)[:number]


def indices(drawn: Words, bound: int) -> NDArray[np.intp]:
    """Whole numbers below `bound`, one from each word (multiply and shift; the bias is bound / 2^32)."""
    return ((drawn * np.uint64(bound)) >> HALF).astype(np.intp)


def signs(drawn: Words) -> Floats:
    """1 or -1 from each word, by its highest bit."""
    return 1.0 - 2.0 * (drawn >> np.uint64(31)).astype(np.float64)


def normals(drawn: Words) -> Floats:
    """Normal deviates, one from each pair of words: 53 bits through the inverse of the normal distribution.

    Wichura, Appl. Stat. 37, 477 (1988), good to 1e-15; the logarithm it needs in the tails is made of basic arithmetic
    here, so that compiled code gives the same bits.
    """
    high, low = drawn[0::2], drawn[1::2]
    whole = (high >> np.uint64(5)) * np.uint64(67108864) + (low >> np.uint64(6))
    q = (whole.astype(np.float64) + 0.5) / 9007199254740992.0 - 0.5
    r = 0.180625 - q * q
    centre = q * (_polynomial(CENTRE_TOP, r) / _polynomial(CENTRE_BOTTOM, r))
    r = np.sqrt(-_log(0.5 - np.abs(q)))
    tail = _polynomial(TAIL_TOP, r - 1.6) / _polynomial(TAIL_BOTTOM, r - 1.6)
    far = _polynomial(FAR_TOP, r - 5.0) / _polynomial(FAR_BOTTOM, r - 5.0)
    return np.where(np.abs(q) <= MIDDLE, centre, np.copysign(np.where(r <= 5.0, tail, far), q))


def _log(x: Floats) -> Floats:
    mantissa, exponent = np.frexp(x)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    t = s * s
    p = np.full_like(t, 1.0 / 39)
    for k in range(37, 0, -2):
        p = p * t + 1.0 / k
    return np.asarray(exponent * LN_2 + 2.0 * s * p)


def _polynomial(c: tuple[float, ...], x: Floats) -> Floats:
    value = np.full_like(x, c[0])
    for next_one in c[1:]:
        value = value * x + next_one
    return value


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """What the resamples of n curves are made of, padded to M points of which the last have weight 0."""

    scheme: str
    weight: Floats
    """(n, M) 1/sigma, scaled to a mean square of 1 over the used points."""
    mean: Floats
    """(n,) weighted mean of the curve, taken from `base`."""
    base: Floats
    """(n, M) the curve (cluster, pairs) or its fit, less `mean`; 0 where a point is not used."""
    pool: Floats
    """(n, M) noise in units of sigma to draw from, in order of delay; the first `used` count."""
    size: Floats
    """(n, M) sigma."""
    slot: NDArray[np.intp]
    """(n, M) column of each used point, in order of delay."""
    used: NDArray[np.intp]
    """(n,) used points."""
    deviation: Floats
    """(n, P, M) clusters less their mean, 0 where they have no value; those with any value first."""
    present: NDArray[np.bool_]
    """(n, P, M) where a cluster has a value."""
    complete: NDArray[np.bool_]
    """(n,) curves all of whose clusters have all values."""
    members: NDArray[np.intp]
    """(n,) clusters with any value."""
    length: NDArray[np.intp]
    """(n,) of a moving block."""

    @property
    def code(self) -> int:
        """The scheme as compiled code knows it."""
        return SCHEMES.index(self.scheme)

    @property
    def arrays(self) -> tuple[NDArray[np.generic], ...]:
        """What compiled code draws from."""
        return (
            self.base, self.pool, self.size, self.slot, self.used, self.deviation, self.present, self.complete,
            self.members, self.length,
        )  # fmt: skip

    def draw(self, j: int, seed: int, curve_id: int, replicate: int) -> tuple[Floats, Floats]:
        """One resample of curve j: y (M,), and how often each point is in it (1 but for pairs)."""
        y, times = self.base[j].copy(), np.ones(self.base.shape[1])
        number = int(self.members[j] if self.scheme == "cluster" else self.used[j])
        slot, drawn = self.slot[j, :number], words(seed, curve_id, replicate, 2 * number)
        if self.scheme == "cluster":
            count = np.bincount(indices(drawn[:number], number), minlength=number).astype(np.float64)[:, None]
            total = np.maximum((count * self.present[j, :number]).sum(axis=0), 1.0)
            return y + (count * self.deviation[j, :number]).sum(axis=0) / total + self.mean[j], times
        if self.scheme == "pairs":
            times[:] = 0.0
            times[slot] = np.bincount(indices(drawn[:number], number), minlength=number)
        else:
            y[slot] += self.size[j, slot] * self._noise(j, number, drawn)
        return y + self.mean[j], times

    def drawn_clusters(self, j: int, seed: int, curve_id: int, replicate: int) -> Floats:
        """Clusters (P, M) of one resample, less their mean before the draw; NaN where one has no value."""
        number = int(self.members[j])
        own = np.where(self.present[j, :number], self.deviation[j, :number], np.nan)
        return own[indices(words(seed, curve_id, replicate, number), number)]

    def _noise(self, j: int, number: int, drawn: Words) -> Floats:
        pool = self.pool[j, :number]
        if self.scheme == "residual":
            return pool[indices(drawn[:number], number)]
        if self.scheme == "wild":
            return pool * signs(drawn[:number])
        if self.scheme == "parametric":
            return normals(drawn)
        length = int(self.length[j])
        place = np.arange(number)
        return pool[indices(drawn[place // length], number - length + 1) + place % length]


def make_recipe(
    scheme: str,
    order: NDArray[np.intp],
    y: Floats,
    weight: Floats,
    residual: Floats,
    leverage: Floats,
    clusters: NDArray[np.floating] | None,
) -> Recipe:
    """Prepare the resampling of n curves.

    Parameters
    ----------
    scheme
        One of `SCHEMES`.
    order : array, shape (m,)
        Columns in order of delay.
    y, weight : array, shape (n, m)
        Curves and 1/sigma; points of weight 0, and those that are not finite, are left out.
    residual, leverage : array, shape (n, m)
        Data less model over sigma of the fit to be resampled, and how much of each point its own value explains; not
        looked at by cluster and pairs.
    clusters : array, shape (n, P, m), or None
        Only for cluster; NaN where a cluster has no value.
    """
    n, m = y.shape
    width = -(-m // LANES) * LANES
    use = (weight > 0) & (weight < 1e150) & (np.abs(y) < 1e150)
    used = use.sum(axis=1)
    weight, y = np.where(use, weight, 0.0), np.where(use, y, 0.0)
    square = weight**2
    total = np.maximum(square.sum(axis=1), 1e-300)
    mean = (square * y).sum(axis=1) / total
    place = np.empty(m, np.intp)
    place[order] = np.arange(m)
    slot = np.argsort(np.where(use, place, m), axis=1, kind="stable")
    with np.errstate(divide="ignore"):
        size = np.where(use, 1.0 / weight, 0.0)
    base = np.where(use, y - mean[:, None] - (0.0 if scheme in ("cluster", "pairs") else residual * size), 0.0)
    pool = np.zeros((n, m))
    if scheme in ("residual", "wild", "blocks"):
        rest = np.maximum(1.0 - leverage, LEAST_REST)
        noise = np.where(use, residual / (rest if scheme == "wild" else np.sqrt(rest)), 0.0)
        if scheme != "wild":
            noise = np.where(use, noise - (noise.sum(axis=1) / np.maximum(used, 1))[:, None], 0.0)
        pool = np.take_along_axis(noise, slot, axis=1)
    deviation, present, members = _deviations(clusters, use, width)
    return Recipe(
        scheme=scheme,
        weight=_padded(weight / np.sqrt(total / np.maximum(used, 1))[:, None], width),
        mean=mean,
        base=_padded(base, width),
        pool=_padded(pool, width),
        size=_padded(size, width),
        slot=_padded(slot, width),
        used=used,
        deviation=deviation,
        present=present,
        complete=_complete(present, use, members),
        members=members,
        length=block_length(used),
    )


def block_length(used: NDArray[np.intp]) -> NDArray[np.intp]:
    """Length of a moving block of `used` points: the least that is at least 1.5 times their cube root (6 of 50)."""
    length = np.arange(1, 10_000)
    return np.minimum(1 + np.searchsorted(8 * length**3, 27 * used), np.maximum(used, 1))


def _deviations(
    clusters: NDArray[np.floating] | None, use: NDArray[np.bool_], width: int
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.intp]]:
    """Deviations (n, P, width) from the mean cluster, where there are values, and how many clusters have any."""
    if clusters is None:
        return np.zeros((len(use), 0, width)), np.zeros((len(use), 0, width), np.bool_), np.zeros(len(use), np.intp)
    value = np.asarray(clusters, np.float64)
    present = np.isfinite(value) & use[:, None, :]
    has = present.any(axis=2)
    if not has.all():
        first = np.argsort(~has, axis=1, kind="stable")[:, :, None]
        value, present = np.take_along_axis(value, first, axis=1), np.take_along_axis(present, first, axis=1)
    value = np.where(present, value, 0.0)
    mean = value.sum(axis=1) / np.maximum(present.sum(axis=1), 1)
    deviation = np.where(present, value - mean[:, None, :], 0.0)
    return _padded(deviation, width), _padded(present, width), has.sum(axis=1)


def _complete(present: NDArray[np.bool_], use: NDArray[np.bool_], members: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Curves whose clusters with any value have one at every used point."""
    return np.asarray(present.sum(axis=(1, 2)) == members * use.sum(axis=1))


def _padded(a: NDArray[Any], width: int) -> NDArray[Any]:
    out = np.zeros((*a.shape[:-1], width), a.dtype)
    out[..., : a.shape[-1]] = a
    return out
