r"""Residuals that are independent again: what a fit leaves, less the dependence that its parameters made.

Residuals of a fit are correlated even where errors are not, so tests made for independent numbers go wrong on them.
Theil's BLUS residuals [1]_ have no such fault: of n points and a fit of rank k they are n - k numbers, independent and
of equal variance if the errors over sigma are, and as close to these errors as linear unbiased numbers can be. The k
points that are given up are those that decide the parameters.

References
----------
.. [1] H. Theil, J. Am. Stat. Assoc. 60, 1067 (1965).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.hat import CERTAIN, Projection, combined, dots
from xpcs_dask.fitting.models import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Sequence:
    """Numbers of n curves in the order of their points, the first `count` of each row; zeros behind."""

    number: Floats
    """(n, m)"""
    point: NDArray[np.int64]
    """(n, m) which point each belongs to."""
    count: NDArray[np.int64]
    """(n,)"""

    @property
    def there(self) -> NDArray[np.bool_]:
        """(n, m) where there is a number."""
        return np.arange(self.number.shape[1]) < self.count[:, None]


def independent(fit: Projection) -> Sequence:
    """BLUS residuals of every curve, in the order of the points."""
    kept = fit.used & ~base(fit)
    p, n, _ = fit.basis.shape
    rows = np.where(kept, fit.basis, 0.0)
    inner, pull = np.zeros((n, p, p)), np.zeros((n, p))
    for i in range(p):
        pull[:, i] = dots(rows[i], fit.residual)
        for j in range(i + 1):
            inner[:, i, j] = inner[:, j, i] = dots(rows[i], rows[j])
    values, vectors = np.linalg.eigh(inner)
    root = np.sqrt(np.clip(1.0 - values, CERTAIN, 1.0))
    turned = np.zeros((n, p))
    for k in range(p):
        along = dots(pull, np.ascontiguousarray(vectors[:, :, k])) / (root[:, k] * (1.0 + root[:, k]))
        turned += along[:, None] * vectors[:, :, k]
    number = fit.residual + combined(rows, turned.T[:, :, None])
    point = np.argsort(~kept, axis=1, kind="stable")
    count = kept.sum(axis=1)
    there = np.arange(number.shape[1]) < count[:, None]
    return Sequence(np.where(there, np.take_along_axis(number, point, axis=1), 0.0), point, count)


def base(fit: Projection) -> NDArray[np.bool_]:
    """Points (n, m) that decide the parameters: as many as the fit has dimensions, far apart in these."""
    rest = fit.basis.copy()
    _, n, m = rest.shape
    found = np.zeros((n, m), np.bool_)
    curve = np.arange(n)
    for _ in range(len(rest)):
        size = combined(rest, rest)
        best = size.argmax(axis=1)
        length = size[curve, best]
        real = length > 1e-12
        found[curve[real], best[real]] = True
        direction = rest[:, curve, best] / np.sqrt(np.where(real, length, 1.0))
        rest -= combined(rest, direction[:, :, None]) * direction[:, :, None]
        rest[:, ~real] = 0.0
    return found
