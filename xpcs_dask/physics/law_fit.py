"""ln tau over ln q, many files at once: the numbers behind `physics.law_record`.

The weighted sum of squares is made small with the errors of both axes ("effective variance"): a bin has the variance
sigma_ln^2 + (d ln tau / d ln q)^2 (q_err / q)^2, which for straight laws is orthogonal regression. Every file goes its
own way: what it gets never depends on which others are in the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.models import Floats
from xpcs_dask.physics.laws import Law, Line, evaluate

STEPS = 200
"""Steps of Gauss and Newton; straight laws take one, two with errors of q a handful."""
HALVINGS = 40
SMALL, SETTLED = 1e-11, 1e-8
"""Relative steps at which a fit has ended, and below which rounding may keep it from getting there."""
ROUNDING, NOTHING = 1e-13, 1e-20
"""Rise of the sum of squares, relative and absolute, that is none."""


class Points(NamedTuple):
    """Bins of n files, shape (n, m); x and y are ln q and ln tau less their weighted means, 0 where not used."""

    x: Floats
    y: Floats
    variance: Floats
    q_variance: Floats
    """Squares of the errors of ln tau and ln q."""
    used: NDArray[np.bool_]
    centre: Floats
    level: Floats
    """Weighted means of ln q and ln tau, shape (n,)."""

    @classmethod
    def of(cls, tau: Floats, stderr: Floats, q: Floats, q_err: Floats, used: NDArray[np.bool_]) -> Points:
        """Take logarithms and centre, bins that are not used out of the way."""
        tau, stderr, q = (np.where(used, values, 1.0) for values in (tau, stderr, q))
        variance = (stderr / tau) ** 2
        q_variance = np.where(used, q_err / q, 0.0) ** 2
        weight = used / (variance + 4.0 * q_variance)
        total = weight.sum(axis=-1)
        weight = weight / np.where(total > 0, total, 1.0)[:, None]
        centre, level = ((weight * np.log(values)).sum(axis=-1) for values in (q, tau))
        x = np.where(used, np.log(q) - centre[:, None], 0.0)
        y = np.where(used, np.log(tau) - level[:, None], 0.0)
        return cls(x, y, variance, q_variance, used, centre, level)

    def at(self, rows: NDArray[np.intp]) -> Points:
        """Take some of the files."""
        fields: tuple[Any, ...] = tuple(array[rows] for array in self)
        return Points(*fields)

    def spread(self, line: Line) -> Floats:
        """Find the standard deviation of every bin about a law, the error of q included."""
        return np.sqrt(self.variance + line.slope**2 * self.q_variance)

    def residuals(self, line: Line) -> Floats:
        """Distance from a law in standard deviations, 0 where not used."""
        return np.where(self.used, (self.y - line.value) / self.spread(line), 0.0)


class Solution(NamedTuple):
    """Where the fits ended."""

    u: tuple[Floats, ...]
    """Parameters, each shape (n,)."""
    residuals: Floats
    """Standardised, shape (n, m)."""
    share: Floats
    """Part of the weight that the heaviest bin holds, shape (n,)."""
    covariance: Floats
    """From the weights, shape (n, k, k); NaN where the bins do not tell."""
    converged: NDArray[np.bool_]


def solve(law: Law, points: Points) -> Solution:
    """Gauss-Newton with halved steps; each file stops by itself."""
    u = _start(law, points)
    live = np.arange(len(points.x))
    converged = np.zeros(len(points.x), dtype=bool)
    for _ in range(STEPS):
        some = points.at(live)
        now = tuple(values[live] for values in u)
        step = _step(law, some, now)
        new, moved = _halved(law, some, now, step)
        for values, better in zip(u, new, strict=True):
            values[live] = better
        size = np.max([np.abs(d) / (1.0 + np.abs(v)) for d, v in zip(step, now, strict=True)], axis=0)
        done: NDArray[np.bool_] = np.asarray((size <= SMALL) | ~moved)
        converged[live] = np.isfinite(size) & (done | (size <= SETTLED))
        live = live[~done]
        if not live.size:
            break
    line = evaluate(law, points.x, _columns(u))
    weight = np.where(points.used, 1.0 / points.spread(line) ** 2, 0.0)
    share = weight.max(axis=-1) / weight.sum(axis=-1)
    normal = _normal(line.by_u, weight)
    return Solution(u, points.residuals(line), share, _inverse(normal), converged)


def _columns(u: Sequence[Floats]) -> tuple[Floats, ...]:
    return tuple(values[:, None] for values in u)


def _start(law: Law, points: Points) -> tuple[Floats, ...]:
    """Pure diffusion; for sums of powers the linear fit of tau times rate to 1, where its rate is positive."""
    n = len(points.x)
    weight = np.where(points.used, 1.0 / (points.variance + 4.0 * points.q_variance), 0.0)
    total = weight.sum(axis=-1)
    height = -(weight * (points.y + 2.0 * points.x)).sum(axis=-1) / total
    if not law.powers:
        return (height,) if law.exponent is not None else (height, np.full(n, 2.0))
    terms = [np.exp(points.y + power * points.x) for power in law.powers]
    sides = np.stack([(weight * term).sum(axis=-1) for term in terms], axis=-1)
    linear = np.einsum("nij,nj->ni", _inverse(_normal(terms, weight)), sides)
    line = evaluate(law, points.x, [linear[:, k, None] for k in range(law.count)])
    good = np.asarray(np.isfinite(np.where(points.used, line.value, 0.0)).all(axis=-1))
    plain = np.zeros_like(linear)
    plain[:, 0] = np.exp(height)
    chosen = np.where(good[:, None], linear, plain)
    return tuple(chosen[:, k].copy() for k in range(law.count))


def _step(law: Law, points: Points, u: Sequence[Floats]) -> tuple[Floats, ...]:
    """Take the step of Gauss and Newton for residuals whose spread moves with the slope of the law."""
    line = evaluate(law, points.x, _columns(u))
    spread, residuals = points.spread(line), points.residuals(line)
    by_u = [
        np.where(points.used, (d + residuals * line.slope * g * points.q_variance / spread) / spread, 0.0)
        for d, g in zip(line.by_u, line.slope_by_u, strict=True)
    ]
    side = np.stack([(d * residuals).sum(axis=-1) for d in by_u], axis=-1)
    step = np.einsum("nij,nj->ni", _inverse(_normal(by_u, np.ones_like(spread))), side)
    return tuple(step[:, k] for k in range(law.count))


def _halved(
    law: Law, points: Points, u: Sequence[Floats], step: Sequence[Floats]
) -> tuple[tuple[Floats, ...], NDArray[np.bool_]]:
    """Go along the step as far as the sum of squares does not rise; whether there is such a place."""

    def cost(at: Sequence[Floats]) -> Floats:
        found = (points.residuals(evaluate(law, points.x, _columns(at))) ** 2).sum(axis=-1)
        return np.where(np.isfinite(found), found, np.inf)

    before = cost(u) * (1.0 + ROUNDING) + NOTHING
    part = np.ones(len(points.x))
    for _ in range(HALVINGS):
        new = tuple(v + part * d for v, d in zip(u, step, strict=True))
        worse = ~(cost(new) <= before)
        if not worse.any():
            break
        part = np.where(worse, 0.5 * part, part)
    kept = tuple(np.where(worse, v, w) for v, w in zip(u, new, strict=True))
    return kept, ~worse


def _normal(by_u: Sequence[Floats], weight: Floats) -> Floats:
    """Make normal matrices, shape (n, k, k); sums run along the bins, the same for a file in any block."""
    rows = [[(weight * a * b).sum(axis=-1) for b in by_u] for a in by_u]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def _inverse(matrix: Floats) -> Floats:
    """Inverses of symmetric 1 x 1 or 2 x 2 matrices, NaN where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if matrix.shape[-1] == 1:
            return np.where(matrix > 0, 1.0 / matrix, np.nan)
        a, b, d = matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 1]
        determinant = a * d - b * b
        good = determinant > 1e-14 * a * d
        inverse = np.stack([np.stack([d, -b], axis=-1), np.stack([-b, a], axis=-1)], axis=-2)
        return np.where(good[:, None, None], inverse / determinant[:, None, None], np.nan)
