"""Random draws of a bootstrap, keyed by what is drawn: the same numbers whatever else is drawn, in whatever order.

The generator is Philox4x32-10 (J. K. Salmon et al., Proc. SC11 (2011)): the key is the seed, the counter is (block of
four words, replicate, low and high half of the curve's number). Seed and curve both count with all their 64 bits, and
no two replicates share a word. `kernel.random` draws the same bits, this module needs NumPy alone.
"""

from __future__ import annotations

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

    With B blocks, the least multiple of four that is enough, word t is the one at place ``t // B`` of block ``t % B``.

    Parameters
    ----------
    seed, curve_id
        Whole numbers below 2^64; both count in full.
    replicate
        Below 2^32.
    """
    blocks = (number + 15) // 16 * 4
    counter = np.empty((blocks, 4), np.uint64)
    counter[:, 0] = np.arange(blocks)
    counter[:, 1:] = replicate, curve_id & 0xFFFFFFFF, curve_id >> 32
    key = np.array([seed & 0xFFFFFFFF, seed >> 32], np.uint64)
    return philox(counter, key).T.reshape(-1)[:number]


def indices(drawn: Words, bound: int) -> NDArray[np.intp]:
    """Whole numbers below `bound`, one from each word (multiply and shift; the bias is bound / 2^32)."""
    return ((drawn * np.uint64(bound)) >> HALF).astype(np.intp)


def signs(drawn: Words) -> Floats:
    """1 or -1 from each word, by its highest bit."""
    return 1.0 - 2.0 * (drawn >> np.uint64(31)).astype(np.float64)


def normals(drawn: Words) -> Floats:
    """Return normal deviates, one from each word of the first half and its partner in the second.

    52 bits go through the inverse of the normal distribution (Wichura, Appl. Stat. 37, 477 (1988)), good to 1e-15. The
    logarithm that it needs in the tails is made of basic arithmetic, so that compiled code gives the same bits.
    """
    high, low = np.split(drawn, 2)
    whole = (high >> np.uint64(6)) * np.uint64(67108864) + (low >> np.uint64(6))
    q = (whole.astype(np.float64) + 0.5) / 4503599627370496.0 - 0.5
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
