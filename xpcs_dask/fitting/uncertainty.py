"""Covariance of fitted parameters from the Jacobian at the optimum, and the numbers that judge a fit."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xpcs_dask.config import FitConfig
from xpcs_dask.fitting.derivatives import RANK
from xpcs_dask.fitting.losses import RHO
from xpcs_dask.fitting.models import Floats
from xpcs_dask.fitting.problem import Problem

Kind: TypeAlias = Literal["wald", "scaled", "hc3", "theory", "cluster", "m_estimator"]

PRESENCE = 1e-3
"""A parameter with a larger part in such a direction is not known."""


def covariance_kind(config: FitConfig) -> Kind:
    """Which covariance is made: that of an M-estimator for robust losses, else what is asked for.

    ``covariance="auto"`` is theory with the error model, wald with other absolute errors, else scaled.
    """
    if config.loss != "linear":
        return "m_estimator"
    if config.covariance != "auto":
        return config.covariance
    if not config.absolute_sigma or config.errors == "none":
        return "scaled"
    return "theory" if config.errors == "auto" else "wald"


def covariance(problem: Problem, theta: Floats, kind: Kind = "wald") -> Floats:
    r"""Covariance matrix of the parameters, shape ``(p, p)``.

    ``wald`` is :math:`(J^T W J)^{-1}` and trusts the errors; ``scaled`` multiplies it by chi2/dof. A robust loss has
    the sandwich :math:`A^{-1} B A^{-1} n/(n-p)` of an M-estimator, with :math:`A = \sum (\rho' + 2 z \rho'') J J^T` and
    :math:`B = \sum (\rho' r)^2 J J^T`, whichever kind is asked for: it takes the size of the errors from the residuals.

    Other kinds are made from wald by `sandwich`.

    Held parameters have zeros. A free one that ended on its bound has NaN, and the others are conditional on it. So has
    one that takes part in a direction that the data do not determine.
    """
    inside = (theta[problem.free] > problem.lower[problem.free]) & (theta[problem.free] < problem.upper[problem.free])
    free = problem.free[inside]
    found = np.zeros((theta.size, theta.size))
    found[np.ix_(problem.free, problem.free)] = np.nan
    jacobian = problem.jacobian(theta)[:, inside]
    residuals = problem.residuals(theta)
    dof = residuals.size - problem.free.size
    if not free.size or dof < 0 or not np.isfinite(jacobian).all():
        return found
    block, known = _inverse(problem, jacobian, residuals)
    if problem.loss != "linear":
        block *= residuals.size / dof if dof else np.nan
    elif kind == "scaled":
        block *= residuals @ residuals / dof if dof else np.nan
    block[~known, :] = block[:, ~known] = np.nan
    found[np.ix_(free, free)] = block
    return found


def _inverse(problem: Problem, jacobian: Floats, residuals: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Inverse of the normal matrix (or the sandwich) and which parameters it knows, from unit columns."""
    size = np.linalg.norm(jacobian, axis=0)
    unit = jacobian / np.where(size > 0, size, 1.0)
    left, values, right = np.linalg.svd(unit, full_matrices=False)
    keep = values > RANK[problem.derivative] * max(values[0], np.finfo(float).tiny)
    known = (size > 0) & (np.max(np.abs(right[~keep]), axis=0, initial=0.0) < PRESENCE)
    root = right[keep].T / values[keep]
    middle = _middle(problem, left[:, keep], residuals)
    scale = np.where(size > 0, size, 1.0)
    return (root @ middle @ root.T) / np.outer(scale, scale), known


def _middle(problem: Problem, left: Floats, residuals: Floats) -> Floats:
    """Return what stands between the two roots of the inverse normal matrix: 1, or that of the sandwich."""
    if problem.loss == "linear":
        return np.eye(left.shape[1])
    z = (residuals / problem.scale) ** 2
    _, first, second = RHO[problem.loss](z)
    curvature = left.T @ ((first + 2.0 * z * second)[:, None] * left)
    if np.linalg.eigvalsh(curvature)[0] <= 0:  # so many outliers that the loss curves down: take its secant
        curvature = left.T @ (first[:, None] * left)
    meat = left.T @ (((first * residuals) ** 2)[:, None] * left)
    half = np.linalg.solve(curvature, meat)
    return np.linalg.solve(curvature, half.T)


def reduced_chi2(chi2: ArrayLike, dof: ArrayLike) -> Floats:
    """chi2 per degree of freedom; NaN without any."""
    numerator, denominator = np.asarray(chi2, dtype=np.float64), np.asarray(dof, dtype=np.float64)
    return np.where(denominator > 0, numerator / np.maximum(denominator, 1.0), np.nan)
