"""Compiled random numbers that depend on nothing but what is drawn: Philox4x32-10, keyed and counted.

J. K. Salmon, M. A. Moraes, R. O. Dror and D. E. Shaw, Parallel random numbers: as easy as 1, 2, 3, Proc. SC11 (2011).
The key is the seed, the counter is (number of the block of four words, replicate, curve): 64 bits of seed and 64 of
curve all count, and no two (seed, curve, replicate) share a block. `fitting.resample` draws the same bits with NumPy.
"""

from __future__ import annotations

import math

import numpy as np

from xpcs_dask.fitting.kernel.compiled import careful, compiled
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


@compiled
def fill_words(seed, curve, replicate, number, words):
    """Fill `words` with at least `number` words of 32 bits, held as uint64.

    With B blocks (a multiple of four), word t is the one at place ``t // B`` of block ``t % B``: words of one place lie
    side by side, and LLVM makes four blocks at a time.
    """
    blocks = (number + 15) // 16 * 4
    low = curve & LOW
    high = curve >> HALF
    seed_low = seed & LOW
    seed_high = seed >> HALF
    place0 = words[:blocks]  # four arrays that LLVM can tell apart
    place1 = words[blocks : 2 * blocks]
    place2 = words[2 * blocks : 3 * blocks]
    place3 = words[3 * blocks : 4 * blocks]
    for block in range(blocks):
        c0 = np.uint64(block)
        c1 = replicate
        c2 = low
        c3 = high
        k0 = seed_low
        k1 = seed_high
        for _ in range(ROUNDS):
            first = (c0 & LOW) * FIRST_FACTOR
            second = (c2 & LOW) * SECOND_FACTOR
            c0 = (second >> HALF) ^ c1 ^ k0
            c1 = second & LOW
            c2 = (first >> HALF) ^ c3 ^ k1
            c3 = first & LOW
            k0 = (k0 + FIRST_WEYL) & LOW
            k1 = (k1 + SECOND_WEYL) & LOW
        place0[block] = c0
        place1[block] = c1
        place2[block] = c2
        place3[block] = c3


@careful
def _polynomial(c, x):
    return ((((((c[0] * x + c[1]) * x + c[2]) * x + c[3]) * x + c[4]) * x + c[5]) * x + c[6]) * x + c[7]


@careful
def _log(x):
    """Logarithm from basic arithmetic alone, whose bits NumPy gives too; relative error 1e-15."""
    mantissa, exponent = math.frexp(x)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    t = s * s
    p = 1.0 / 39
    for k in range(37, 0, -2):
        p = p * t + 1.0 / k
    return exponent * LN_2 + 2.0 * s * p


@careful
def normal_from(high, low):
    """Return a normal deviate from two words: 52 bits through the inverse of the distribution, good to 1e-15."""
    whole = (high >> np.uint64(6)) * np.uint64(67108864) + (low >> np.uint64(6))
    q = (float(whole) + 0.5) / 4503599627370496.0 - 0.5
    if abs(q) <= MIDDLE:
        r = 0.180625 - q * q
        return q * (_polynomial(CENTRE_TOP, r) / _polynomial(CENTRE_BOTTOM, r))
    r = math.sqrt(-_log(0.5 - abs(q)))
    if r <= 5.0:
        r = r - 1.6
        value = _polynomial(TAIL_TOP, r) / _polynomial(TAIL_BOTTOM, r)
    else:
        r = r - 5.0
        value = _polynomial(FAR_TOP, r) / _polynomial(FAR_BOTTOM, r)
    return -value if q < 0.0 else value
