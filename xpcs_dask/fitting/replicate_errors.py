"""Standard errors of replicates, for studentised intervals: of the kind that suits how the replicates were made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.config import FitConfig
from xpcs_dask.fitting.clusters import cluster_errors
from xpcs_dask.fitting.layout import Status, fit_dtype
from xpcs_dask.fitting.models import Floats, Model
from xpcs_dask.fitting.parents import Parents, make_parents
from xpcs_dask.fitting.problem import Problem, choose
from xpcs_dask.fitting.recipe import Recipe
from xpcs_dask.fitting.sandwich import robust_errors
from xpcs_dask.fitting.uncertainty import covariance

SOME = 256
"""Replicates whose clusters are in memory at once."""


def replicate_errors(
    x: Any, y: Floats, weight: Floats, model: Model, config: FitConfig, lower: Floats, upper: Floats,
    rows: NDArray[np.void], scheme: str, curve_id: NDArray[np.uint64], seed: int, first: int, last: int,
    clusters: NDArray[np.floating] | None, values: Floats,
) -> Floats:  # fmt: skip
    """Return the standard errors of replicates.

    Those of cluster come from the drawn clusters (`clusters.cluster_errors`), of wild from HC3 (`sandwich`), of
    residual and blocks from the normal matrix and chi2/dof, of parametric from the normal matrix alone, of pairs from
    HC3 with each drawn point counted as often as it was drawn.

    Parameters
    ----------
    values : array, shape (n, last - first, p)
        What `replicates` found, called with the same other arguments.

    Returns
    -------
    array, shape (n, last - first, p)
        NaN where the replicate is, for parameters on a bound and for those that the data do not determine.
    """
    parents = make_parents(x, y, weight, model, config, lower, upper, rows, scheme, curve_id, seed, clusters)
    found = np.full(values.shape, np.nan)
    for some in parents.blocks():
        recipe = parents.recipe(some)
        for j, k in enumerate(some):
            for begin in range(first, last, SOME):
                numbers = np.arange(begin, min(begin + SOME, last))
                found[k, numbers - first] = _errors(parents, recipe, j, k, numbers, values[k, numbers - first])
    return found


def _errors(p: Parents, recipe: Recipe, j: int, k: int, numbers: NDArray[np.intp], values: Floats) -> Floats:
    """Return the standard errors (B, p) of some replicates of one curve: curve k, j in the recipe."""
    y, times = p.resamples(recipe, np.full(numbers.size, j), np.full(numbers.size, k), numbers)
    weight = np.broadcast_to(p.weight[k], y.shape)
    fits = np.zeros(numbers.size, fit_dtype(p.model, "full"))
    fits["value"], fits["stderr"] = values, np.nan
    fits["status"] = np.where(np.isfinite(values).all(axis=1), Status.CONVERGED, Status.NOT_CONVERGED)
    if p.scheme == "cluster":
        assert p.clusters is not None
        drawn = np.array([recipe.drawn_clusters(j, p.seed, int(p.curve_id[k]), int(b)) for b in numbers])
        clusters = recipe.unpacked(np.full(numbers.size, j), drawn, y.shape[1])
        cluster_errors(fits, p.x, y, weight, p.model, p.lower, p.upper, clusters, 2)
    elif p.scheme == "wild":
        robust_errors(fits, p.x, y, weight, p.model, p.lower, p.upper, None)
    else:
        for b in np.flatnonzero(fits["status"] == Status.CONVERGED):
            fits["stderr"][b] = _plain(p, y[b], p.weight[k], times[b], values[b])
    return np.asarray(fits["stderr"])


def _plain(p: Parents, y: Floats, weight: Floats, times: Floats, value: Floats) -> Floats:
    """Return the standard errors (p,) of one replicate over delays."""
    problem = Problem(x=p.x, y=y, weight=weight * np.sqrt(times), model=p.model, lower=p.lower, upper=p.upper)
    problem = replace(problem, derivative=choose(problem, value))
    found = covariance(problem, value, "wald" if p.scheme in ("parametric", "pairs") else "scaled")
    if p.scheme == "pairs":
        slopes, rest = problem.jacobian(value), problem.residuals(value)
        own = found[np.ix_(problem.free, problem.free)]
        share = np.einsum("ia,ab,ib->i", slopes, np.nan_to_num(own), slopes) / times[problem.used]
        pull = slopes * (rest / (np.maximum(1.0 - share, 1e-3) * np.sqrt(times[problem.used])))[:, None]
        found[np.ix_(problem.free, problem.free)] = own @ np.nan_to_num(pull.T @ pull) @ own
    with np.errstate(invalid="ignore"):
        return np.asarray(np.sqrt(np.diag(found)))
