r"""Standard errors from the scatter of clusters: pixels, segments or repeats whose mean is the curve.

Delays of one curve are correlated, but clusters are independent of each other. To first order cluster c moves the fit
by :math:`i_c = (J^T W J)^{-1} J^T W (g_c - \bar g) / P`, delay by delay over the clusters that have a value, and the
covariance of the fit is :math:`P / (P - 1) \sum_c i_c i_c^T`, with P - 1 degrees of freedom [1]_.

References
----------
.. [1] A. C. Cameron, J. B. Gelbach and D. L. Miller, Rev. Econ. Stat. 90, 414 (2008).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.families import exact_z, numba_found
from xpcs_dask.fitting.kernel.family import family_of
from xpcs_dask.fitting.layout import ErrorsFrom, Flag, Status
from xpcs_dask.fitting.models import Floats, Model
from xpcs_dask.fitting.problem import Problem, choose
from xpcs_dask.fitting.sandwich import put_covariance

ENOUGH = 8
"""Clusters below which their scatter tells a covariance badly."""


def cluster_errors(
    rows: NDArray[np.void], x: Any, y: Floats, weight: Floats, model: Model, lower: Floats, upper: Floats,
    clusters: NDArray[np.floating], least: int = ENOUGH,
) -> NDArray[np.bool_]:  # fmt: skip
    """Replace covariance and standard errors of converged rows with at least `least` clusters.

    Parameters
    ----------
    rows : array of `layout.fit_dtype(model, "full")`, shape (n,)
        Least-squares fits, changed in place.
    x, y, weight, lower, upper
        As for `strategy.fit_stack`.
    clusters : array, shape (n, P, m)
        NaN where a cluster has no value.

    Returns
    -------
    array of bool, shape (n,)
        Rows that it did.
    """
    influence, number = influences(rows, x, y, weight, model, lower, upper, clusters)
    done = (rows["status"] == Status.CONVERGED) & (number >= max(least, 2))
    which = np.flatnonzero(done)
    part, count = influence[which], number[which]
    covariance = np.einsum("nca,ncb->nab", part, part) * (count / (count - 1))[:, None, None]
    put_covariance(rows, which, covariance)
    rows["errors_from"][which] = ErrorsFrom.CLUSTER
    rows["errors_dof"][which] = count - 1
    rows["flags"][which[count < ENOUGH]] |= np.uint32(Flag.FEW_CLUSTERS)
    return done


def influences(
    rows: NDArray[np.void], x: Any, y: Floats, weight: Floats, model: Model, lower: Floats, upper: Floats,
    clusters: NDArray[np.floating],
) -> tuple[Floats, NDArray[np.int64]]:  # fmt: skip
    """First-order change of the parameters that each cluster makes (n, P, p), and the number of clusters (n,).

    NaN for parameters on a bound or unknown to the data; zero for padding and for curves that are not fitted.
    """
    found = np.zeros((*clusters.shape[:2], len(model.parameters)))
    number = np.zeros(len(rows), np.int64)
    fitted = np.flatnonzero(rows["status"] == Status.CONVERGED)
    if not fitted.size:
        return found, number
    take = slice(None) if fitted.size == len(rows) else fitted  # clusters are large: no copy without need
    given = (rows["value"][take], x, y[take], weight[take], model, lower, upper, clusters[take])
    if model.family and numba_found() and np.ndim(x) == 1:
        found[take], number[take] = _compiled(*given)
    else:
        for k in fitted:
            found[k], number[k] = _influence(rows["value"][k], x, y[k], weight[k], model, lower, upper, clusters[k])
    return found, number


def _compiled(
    value: Floats, x: Any, y: Floats, weight: Floats, model: Model, lower: Floats, upper: Floats,
    clusters: NDArray[np.floating],
) -> tuple[Floats, NDArray[np.int64]]:  # fmt: skip
    from xpcs_dask.fitting.kernel import refine
    from xpcs_dask.fitting.kernel.clusters import cluster_influences
    from xpcs_dask.fitting.kernel.table import log_delays

    family = family_of(model, lower, upper)
    u, z = log_delays(family.delays(x)), exact_z(family, value)
    influence, number = np.zeros((*clusters.shape[:2], z.shape[1])), np.zeros(len(y), np.int64)
    space = refine.workspace(y.shape[1], z.shape[1])
    fill: Any = cluster_influences
    fill(
        u, np.where(weight > 0, y, 0.0), weight, *family.log_box, z, np.ascontiguousarray(clusters),
        space, influence, number,
    )  # fmt: skip
    influence *= np.where(family.times, np.exp(z), 1.0)[:, None, :]
    return influence[:, :, family.position], number


def _influence(
    value: Floats, x: Any, y: Floats, weight: Floats, model: Model, lower: Floats, upper: Floats,
    clusters: NDArray[np.floating],
) -> tuple[Floats, int]:  # fmt: skip
    """Any model, one curve."""
    problem = Problem(x=x, y=y, weight=weight, model=model, lower=lower, upper=upper)
    problem = replace(problem, derivative=choose(problem, value))
    inside = (value[problem.free] > lower[problem.free]) & (value[problem.free] < upper[problem.free])
    found = np.zeros((len(clusters), value.size))
    found[:, problem.free] = np.nan
    own = clusters[:, problem.used].astype(np.float64)
    held = np.isfinite(own)
    count = np.maximum(held.sum(axis=0), 1)
    mean = np.where(held, own, 0.0).sum(axis=0) / count
    moved = np.where(held, own - mean, 0.0) / count * problem.weight_used
    jacobian = problem.jacobian(value)[:, inside]
    size = np.linalg.norm(jacobian, axis=0)
    if inside.any() and np.isfinite(jacobian).all() and (size > 0).all():
        found[:, problem.free[inside]] = (np.linalg.pinv(jacobian / size) @ moved.T).T / size
    return found, int(held.any(axis=1).sum())
