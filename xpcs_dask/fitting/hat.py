r"""Geometry of a least-squares fit at its minimum, for many curves at once: residuals, directions of the fit, leverage.

The fit is a projection there: with the weighted Jacobian J the weighted residuals are :math:`(1 - H) \epsilon`,
:math:`H = J (J^T J)^{-1} J^T = Q Q^T`. Everything is done in NumPy along the points of each curve, so the bits of a
curve do not depend on its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.models import Floats, Model
from xpcs_dask.fitting.problem import Problem, choose

DEPENDENT = 1e-9
"""Part of a unit column that is not in those before it, below which it is taken for rounding."""
CERTAIN = 1e-9
"""A residual with a smaller variance, in units of that of its error, is always zero: the point decides a parameter."""


def dots(a: Floats, b: Floats) -> Floats:
    """Scalar products along the points of each direction and curve, (p, n, m) to (p, n); or (n, m) to (n,)."""
    return np.einsum("...j,...j->...", a, b)


def combined(directions: Floats, factors: Floats) -> Floats:
    """Sum over directions (p, n, m), each times its factor (p, n, m) or (p, n, 1), in this order whatever n is."""
    total = np.zeros(directions.shape[1:])
    for direction, factor in zip(directions, factors, strict=True):
        total += direction * factor
    return total


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """Residuals of n fits of m points and the space that the parameters span; zeros where a point is not used."""

    residual: Floats
    """(n, m) data less model, over sigma."""
    used: NDArray[np.bool_]
    """(n, m)"""
    unit: Floats
    """(p, n, m) derivatives in the parameters that are free and not on a bound, each of unit length, else 0."""
    basis: Floats
    """(p, n, m) orthonormal directions of the same space; 0 for a column that depends on those before it."""

    def take(self, rows: NDArray[np.intp]) -> Projection:
        """Return some of the curves."""
        if rows.size == len(self.residual):
            return self
        return Projection(self.residual[rows], self.used[rows], self.unit[:, rows], self.basis[:, rows])

    def together(self, at: Floats) -> tuple[Projection, NDArray[np.intp]]:
        """Return the same with the used points of each curve first, in the order of their abscissa `at` (m,).

        Also returns which point (n, m) each was.
        """
        in_order = bool((at[1:] >= at[:-1]).all())
        if in_order and self.used.all():
            return self, np.broadcast_to(np.arange(at.size), self.used.shape)
        point = np.argsort(np.where(self.used, at, np.inf), axis=1, kind="stable")

        def moved(part: NDArray[Any]) -> NDArray[Any]:
            return np.take_along_axis(part, point if part.ndim == point.ndim else point[None], axis=-1)

        return Projection(moved(self.residual), moved(self.used), moved(self.unit), moved(self.basis)), point

    @property
    def rank(self) -> NDArray[np.int64]:
        """(n,) dimensions of the space."""
        return np.rint(dots(self.basis, self.basis).sum(axis=0)).astype(np.int64)

    @property
    def leverage(self) -> Floats:
        """(n, m) diagonal of H."""
        return np.minimum(combined(self.basis, self.basis), 1.0)


def project(value: Floats, x: Any, y: Floats, weight: Floats, model: Model, lower: Floats, upper: Floats) -> Projection:
    """Residuals and derivatives of fitted curves at their parameters ``value (n, p)``; other arguments as in a fit.

    A curve with residuals or derivatives that are not finite has NaN residuals, and no directions.
    """
    used = np.isfinite(y) & np.isfinite(weight) & (weight > 0)
    residual, columns = (
        _together if model.of_delays and model.jacobian is not None and np.shape(x) == y.shape[1:] else _one_by_one
    )(value, x, np.where(used, y, 0.0), np.where(used, weight, 0.0), model)
    inside = (lower < upper) & (value > lower) & (value < upper)
    columns = np.where(inside.T[:, :, None] & used, columns, 0.0)
    size = np.sqrt(dots(columns, columns))
    residual = np.where(used, residual, 0.0)
    lost = ~(np.isfinite(size).all(axis=0) & np.isfinite(residual).all(axis=1))
    residual[lost], columns[:, lost] = np.nan, 0.0
    unit = columns / np.where((size > 0) & ~lost, size, 1.0)[:, :, None]
    return Projection(residual, used, unit, orthonormal(unit))


def _together(value: Floats, x: Any, y: Floats, weight: Floats, model: Model) -> tuple[Floats, Floats]:
    """Residuals (n, m) and derivatives (p, n, m) of all curves, of models that are made of NumPy's functions."""
    delay = np.broadcast_to(np.asarray(x, dtype=np.float64), y.shape)
    parameters = [value[:, k, None] for k in range(value.shape[1])]
    assert model.jacobian is not None
    with np.errstate(all="ignore"):
        residual = weight * (y - model.evaluate(delay, *parameters))
        columns = weight[:, :, None] * model.jacobian(delay, *parameters)
    return residual, np.ascontiguousarray(np.moveaxis(columns, -1, 0))


def _one_by_one(value: Floats, x: Any, y: Floats, weight: Floats, model: Model) -> tuple[Floats, Floats]:
    """Return the same for any model, with the best derivative there is."""
    n, p = value.shape
    free, fixed = np.full(p, -np.inf), np.full(p, np.inf)
    residual, columns = np.zeros(y.shape), np.zeros((p, *y.shape))
    for i in range(n):
        problem = Problem(x=x, y=y[i], weight=weight[i], model=model, lower=free, upper=fixed)
        problem = replace(problem, derivative=choose(problem, value[i]))
        residual[i, problem.used] = -problem.residuals(value[i])
        columns[:, i, problem.used] = problem.jacobian(value[i]).T
    return residual, columns


def orthonormal(columns: Floats) -> Floats:
    """Gram and Schmidt's basis of unit columns ``(p, n, m)`` along m, orthogonalised twice; 0 where nothing is new."""
    basis = np.zeros_like(columns)
    for k in range(len(columns)):
        rest = columns[k].copy()
        for _ in range(2):
            for j in range(k):
                rest -= dots(basis[j], rest)[:, None] * basis[j]
        size = np.sqrt(dots(rest, rest))
        new = size > DEPENDENT
        basis[k] = np.where(new[:, None], rest / np.where(new, size, 1.0)[:, None], 0.0)
    return basis


@dataclass(frozen=True, slots=True, eq=False)
class Influence:
    """What each point does to the fit, ``(n, m)``; NaN where it is not used or not defined."""

    standardised: Floats
    """Residual over its own standard deviation."""
    leverage: Floats
    cook: Floats
    dffits: Floats


def influence(fit: Projection, absolute: bool) -> Influence:
    """Leverage, Cook's distance and DFFITS of every point.

    Errors taken as they are (`absolute`) standardise the residuals; else, and always for the distances, the root of
    chi2/dof does.

    References
    ----------
    .. [1] R. D. Cook, Technometrics 19, 15 (1977).
    .. [2] D. A. Belsley, E. Kuh and R. E. Welsch, Regression Diagnostics (Wiley, 1980).
    """
    leverage, rank = fit.leverage, fit.rank[:, None]
    chi2 = dots(fit.residual, fit.residual)[:, None]
    dof = fit.used.sum(axis=1)[:, None] - rank
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(fit.used & (leverage < 1.0 - CERTAIN), 1.0 - leverage, np.nan)
        pure = fit.residual / np.sqrt(share)
        variance = np.where(dof > 0, chi2 / dof, np.nan)
        without = np.where(dof > 1, (chi2 - pure**2) / (dof - 1), np.nan)
        cook = pure**2 * leverage / (share * rank * variance)
        dffits = pure / np.sqrt(without) * np.sqrt(leverage / share)
        standardised = pure if absolute else pure / np.sqrt(variance)
    return Influence(standardised, np.where(fit.used, leverage, np.nan), cook, dffits)


@dataclass(frozen=True, slots=True, eq=False)
class Entanglement:
    """How far the parameters can be told apart."""

    condition_number: Floats
    """(n,) ratio of the largest to the smallest singular value of the unit columns."""
    correlation: Floats
    """(n, p, p) of the estimates, for independent errors of the stated ratio; NaN for a parameter without error."""


def entanglement(fit: Projection) -> Entanglement:
    """Condition number and correlations in parameters scaled to unit columns: no unit and no logarithm changes them."""
    p, n, _ = fit.unit.shape
    gram = np.zeros((n, p, p))
    for i in range(p):
        for j in range(i + 1):
            gram[:, i, j] = gram[:, j, i] = dots(fit.unit[i], fit.unit[j])
    real = np.einsum("iaa->ia", gram) > 0.5
    gram[:, np.arange(p), np.arange(p)] = 1.0
    values, vectors = np.linalg.eigh(gram)
    known = values[:, 0] > DEPENDENT**2
    with np.errstate(divide="ignore", invalid="ignore"):
        condition = np.where(known, np.sqrt(values[:, -1] / values[:, 0]), np.inf)
        inverse = np.zeros((n, p, p))
        for k in range(p):
            inverse += vectors[:, :, None, k] * (vectors[:, None, :, k] / values[:, k, None, None])
        size = np.sqrt(np.einsum("iaa->ia", inverse))
        correlation = inverse / (size[:, :, None] * size[:, None, :])
    told = known[:, None, None] & real[:, :, None] & real[:, None, :]
    return Entanglement(condition, np.where(told, np.clip(correlation, -1.0, 1.0), np.nan))
