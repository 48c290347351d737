"""Curves of the NumPy twin as both its halves need them: scaled, shifted, and taken in chunks that fit the cache."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.models import Floats

POINTS = 32768
"""Points of a chunk: few enough for the cache, many enough to pay for the calls."""
LARGEST = 5.0
"""Largest logarithm of (t/tau)^stretch: the decay is 1e-129 by then, and products of two do not underflow (slow)."""
Rows = NDArray[np.intp]


def row_sums(a: Floats, b: Floats) -> Floats:
    """Sum a * b along each row: one row after the other and without BLAS, so that neighbours never change the bits."""
    return np.einsum("ij,ij->i", a, b)


def chunks(n: int, m: int) -> Iterator[slice]:
    """Cut n rows of m points into chunks."""
    size = max(1, POINTS // max(m, 1))
    return (slice(first, min(first + size, n)) for first in range(0, n, size))


@dataclass(slots=True)
class Curves:
    """Loaded curves ``(n, m)``: squared weights that average 1, y less its weighted mean; and what belongs to a curve.

    The box ``(4, n)`` follows the shift of the baseline.
    """

    y: Floats
    w2: Floats
    ww: Floats
    wy: Floats
    yy: Floats
    low: Floats
    high: Floats
    mean: Floats
    scale: Floats


def load(y: Floats, weight: Floats, lower: Floats, upper: Floats) -> Curves:
    """Scale and shift curves as the compiled kernel does."""
    n, m = y.shape
    shifted, w2 = np.empty((n, m)), np.empty((n, m))
    ww, wy, yy, mean, scale = (np.empty(n) for _ in range(5))
    for k in chunks(n, m):
        good = np.isfinite(y[k]) & np.isfinite(weight[k]) & (weight[k] > 0)
        square = np.where(good, weight[k], 0.0) ** 2
        clean = np.where(good, y[k], 0.0)
        total, used = square.sum(axis=1), good.sum(axis=1)
        mean[k], scale[k], ww[k] = row_sums(square, clean) / total, total / used, used
        square /= scale[k, None]
        np.subtract(clean, mean[k, None], out=clean, where=good)
        weighted = square * clean
        shifted[k], w2[k], wy[k], yy[k] = clean, square, weighted.sum(axis=1), row_sums(weighted, clean)
    low, high = np.repeat(lower[:, None], n, axis=1), np.repeat(upper[:, None], n, axis=1)
    low[3] -= mean
    high[3] -= mean
    return Curves(shifted, w2, ww, wy, yy, low, high, mean, scale)


def decay_sums(u: Floats, c: Curves, rows: Rows, beta: Floats, stretch: Floats) -> Floats:
    """Return the twelve sums ``(12, n)`` of some curves, in the order of the compiled kernel."""
    sums = np.empty((12, rows.size))
    for k in chunks(rows.size, u.size):
        y, w2 = c.y[rows[k]], c.w2[rows[k]]
        v = u - beta[k, None]
        double = v * stretch[k, None]
        np.minimum(double, LARGEST, out=double)
        np.exp(double, out=double)
        double *= -2.0
        e = np.exp(double)
        q = np.multiply(e, double, out=double)
        s = np.multiply(q, v, out=v)
        we, wq, ws = w2 * e, w2 * q, w2 * s
        for row, (left, right) in enumerate(
            (
                *((we, e), (w2, e), (we, y)),
                *((wq, e), (w2, q), (wq, y)),
                *((ws, e), (w2, s), (ws, y)),
                *((wq, q), (wq, s), (ws, s)),
            )
        ):
            sums[row, k] = row_sums(left, right)
    return sums
