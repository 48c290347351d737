"""Where the fit of a double decay starts: tables made once per delay grid, and the scores of every pair of components.

A local fit of the double model ends in the best minimum only if it starts in its basin, and random starts are dear
(twelve of them: 96 % of the curves). So every pair of 20 relaxation times (with one stretch) is looked at: all weighted
sums that chi2 needs for a pair are polynomials in the fraction with coefficients ``sum w2 e1^p e2^q`` and
``sum w2 y e1^p e2^q``; one sweep over the table gives chi2 for every pair and fraction, with contrast and baseline at
their best. A dense grid in tau matters; a grid in the stretch does not.

The sums are taken curve by curve in a fixed order, not by a matrix product over many curves, so the start (and with it
every bit of the result) does not depend on what else is in the call. They are float32: this is only a ranking.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.kernel.compiled import compiled
from xpcs_dask.fitting.kernel.double_products import (
    BASELINE_HIGH,
    BASELINE_LOW,
    CONTRAST_HIGH,
    CONTRAST_LOW,
    SUM_1,
    SUM_Y,
    WEIGHT,
    Y,
)
from xpcs_dask.fitting.models import Floats

N_PAIR_NODES = 20
PAIR_STRETCH = 1.7
N_SHARP_NODES = 32
SHARP_STRETCH = 3.0
PAIR_FRACTIONS = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
FINE_FRACTIONS = np.arange(1, 20) * 0.05
MUCH = np.float32(2e38)
NEVER = np.float32(3e38)
"""Score of a candidate that was used, or lies next to a used one."""

# where the sums of e^2 and e^4 of the nodes begin among the sums of a curve, and those of e1^p e2^q of the pairs
E2, E4 = 0, N_PAIR_NODES
N_PAIRS = N_PAIR_NODES * (N_PAIR_NODES - 1) // 2
E11, E31, E22, E13 = range(2 * N_PAIR_NODES, 2 * N_PAIR_NODES + 4 * N_PAIRS, N_PAIRS)
Y2, Y11 = 0, N_PAIR_NODES
"""The same for the sums with y."""


class Table(NamedTuple):
    """Decays of all candidates on one delay grid."""

    ln_tau: Floats
    """Relaxation times that are paired."""
    stretch: float
    products: NDArray[np.float32]
    """``(m, sums)``: e^2, e^4, then e1 e2, e1^3 e2, e1^2 e2^2, e1 e2^3 of each pair."""
    products_y: NDArray[np.float32]
    """``(m, sums)``: e^2, then e1 e2 of each pair: what is summed with y."""
    sharp_ln_tau: Floats
    sharp_stretch: float
    sharp: Floats
    """Decays e ``(nodes, m)`` of sharp components, for `double_starts`."""


def start_table(u: Floats, size: int, ln_tau_box: tuple[float, float], stretch_box: tuple[float, float]) -> Table:
    """Table for delays with logarithm `u`, padded with zeros to `size`, for components anywhere in a box."""
    real = u[u > -600]
    first, last = (real.min(), real.max()) if real.size else (0.0, 1.0)

    def nodes(n: int, beyond: float) -> Floats:
        low, high = np.clip((first - 0.5, last + beyond), *ln_tau_box)
        return np.linspace(low, max(high, low + 1e-3), n)

    def decays(ln_tau: Floats, stretch: float) -> Floats:
        with np.errstate(over="ignore", under="ignore"):
            e = np.exp(-np.exp(stretch * (u - ln_tau[:, None])))
        return np.pad(e, ((0, 0), (0, size - u.size)))

    ln_tau, sharp_ln_tau = nodes(N_PAIR_NODES, 1.5), nodes(N_SHARP_NODES, 1.0)
    stretch, sharp_stretch = (float(np.clip(s, *stretch_box)) for s in (PAIR_STRETCH, SHARP_STRETCH))
    e = decays(ln_tau, stretch)
    i, j = np.triu_indices(N_PAIR_NODES, 1)
    p, q = e[i], e[j]
    return Table(
        ln_tau,
        stretch,
        _columns(e**2, e**4, p * q, p**3 * q, p * p * q * q, p * q**3),
        _columns(e**2, p * q),
        sharp_ln_tau,
        sharp_stretch,
        decays(sharp_ln_tau, sharp_stretch),
    )


def _columns(*rows: Floats) -> NDArray[np.float32]:
    table = np.vstack(rows).T
    return np.ascontiguousarray(np.where(table < 1e-30, 0.0, table), dtype=np.float32)  # subnormal numbers are slow


@compiled
def add_up(weight, products, sums):
    """Fill ``sums = weight @ products``, four rows a sweep; the sums stay in the first-level cache."""
    sums[:] = np.float32(0.0)
    for i in range(0, weight.size, 4):
        r0 = products[i]
        r1 = products[i + 1]
        r2 = products[i + 2]
        r3 = products[i + 3]
        w0 = weight[i]
        w1 = weight[i + 1]
        w2 = weight[i + 2]
        w3 = weight[i + 3]
        for k in range(sums.size):
            sums[k] += w0 * r0[k] + w1 * r1[k] + w2 * r2[k] + w3 * r3[k]


@compiled
def sum_table(curve, products, products_y, s, sy):
    """Fill the weighted sums of one curve over the table, `s` without and `sy` with y."""
    weight = np.empty(curve.shape[1], np.float32)
    weight[:] = curve[WEIGHT]
    add_up(weight, products, s)
    for i in range(weight.size):
        weight[i] = curve[WEIGHT, i] * curve[Y, i]
    add_up(weight, products_y, sy)


@compiled
def centring(sums, linear):
    """How a ranking takes the baseline out: ``(1 / sum of weights, mean y)``, or ``(0, baseline)`` where it is held."""
    if linear[BASELINE_HIGH] <= linear[BASELINE_LOW]:
        return 0.0, linear[BASELINE_LOW]
    return 1.0 / sums[SUM_1], sums[SUM_Y] / sums[SUM_1]


@compiled
def best_contrast(ee, e1, ey, inverse, mean, low, high):
    """Chi2 less a constant at the best contrast in its box, from the sums of decay^2, decay and decay * y."""
    overlap = ey - mean * e1
    norm = max(ee - e1 * e1 * inverse, 1e-12 * ee + 1e-30)
    a = min(max(overlap / norm, low), high)
    return a * (a * norm - 2.0 * overlap)


@compiled
def best_single_node(sums, linear, s, sy):
    """Node that fits best alone: its e^2 is a single decay."""
    inverse, mean = centring(sums, linear)
    node = 0
    least = 1e300
    for k in range(N_PAIR_NODES):
        value = best_contrast(s[E4 + k], s[E2 + k], sy[Y2 + k], inverse, mean, linear[0], linear[1])
        if value < least:
            least = value
            node = k
    return node


@compiled
def score_pairs(sums, linear, s, sy, score):
    """Fill the lowest chi2 (less a constant) over five fractions, for every pair; float32, inner loop contiguous."""
    inverse64, mean64 = centring(sums, linear)
    real = np.float32
    inverse, mean, low, high = real(inverse64), real(mean64), real(linear[CONTRAST_LOW]), real(linear[CONTRAST_HIGH])
    two, small, tiny = real(2.0), real(1e-6), real(1e-30)
    score[:] = NEVER
    for f in PAIR_FRACTIONS:
        g = 1.0 - f
        f40, f31, f22, f13, f04 = (
            real(f**4),
            real(4 * f**3 * g),
            real(6 * f * f * g * g),
            real(4 * f * g**3),
            real(g**4),
        )
        f20, f11, f02 = real(f * f), real(2 * f * g), real(g * g)
        first = 0
        for i in range(N_PAIR_NODES - 1):
            n = N_PAIR_NODES - 1 - i
            own4 = f40 * s[E4 + i]
            own2 = f20 * s[E2 + i]
            own_y = f20 * sy[Y2 + i]
            for k in range(n):
                pair = first + k
                j = i + 1 + k
                ee = own4 + f31 * s[E31 + pair] + f22 * s[E22 + pair] + f13 * s[E13 + pair] + f04 * s[E4 + j]
                e1 = own2 + f11 * s[E11 + pair] + f02 * s[E2 + j]
                overlap = own_y + f11 * sy[Y11 + pair] + f02 * sy[Y2 + j] - mean * e1
                norm = max(ee - e1 * e1 * inverse, small * ee + tiny)
                a = min(max(overlap / norm, low), high)
                score[pair] = min(score[pair], a * (a * norm - two * overlap))
            first += n


@compiled
def best_fraction(sums, linear, s, sy, i, j, pair):
    """Fraction of 19 at which one pair fits best."""
    inverse, mean = centring(sums, linear)
    least = 1e300
    best = 0.5
    for f in FINE_FRACTIONS:
        g = 1.0 - f
        ee = f**4 * s[E4 + i] + g**4 * s[E4 + j] + 4.0 * f**3 * g * s[E31 + pair]
        ee += 6.0 * f * f * g * g * s[E22 + pair] + 4.0 * f * g**3 * s[E13 + pair]
        e1 = f * f * s[E2 + i] + g * g * s[E2 + j] + 2.0 * f * g * s[E11 + pair]
        ey = f * f * sy[Y2 + i] + g * g * sy[Y2 + j] + 2.0 * f * g * sy[Y11 + pair]
        value = best_contrast(ee, e1, ey, inverse, mean, linear[CONTRAST_LOW], linear[CONTRAST_HIGH])
        if value < least:
            least = value
            best = f
    return best


@compiled
def propose_pair(sums, linear, ln_tau, stretch, s, sy, score, z):
    """Write the best pair not used yet into z, and strike out its neighbours; False where none is left."""
    best = np.argmin(score)
    if score[best] >= MUCH:
        return False
    i = 0
    first = 0
    while first + N_PAIR_NODES - 1 - i <= best:
        first += N_PAIR_NODES - 1 - i
        i += 1
    j = i + 1 + best - first
    z[0] = ln_tau[i]
    z[1] = stretch
    z[2] = ln_tau[j]
    z[3] = stretch
    z[4] = best_fraction(sums, linear, s, sy, i, j, best)
    pair = 0
    for k in range(N_PAIR_NODES):
        for other in range(k + 1, N_PAIR_NODES):
            if abs(k - i) <= 2 and abs(other - j) <= 2:
                score[pair] = NEVER
            pair += 1
    return True
