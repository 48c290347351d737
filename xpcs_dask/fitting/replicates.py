"""Refits of resampled curves: the replicates that a bootstrap is made of.

A replicate starts at its parent's minimum, where decays are already known; least squares of the compiled families is
refitted in one call for all replicates (`kernel.replicates_single`, `kernel.replicates_double`), all else goes down the
ladder of `strategy`. Replicate k of a curve has the same bits alone, in any range, in any stack.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.config import FitConfig
from xpcs_dask.fitting.families import exact_values, exact_z
from xpcs_dask.fitting.kernel.family import Family
from xpcs_dask.fitting.layout import Status
from xpcs_dask.fitting.models import DOUBLE, Floats, Model
from xpcs_dask.fitting.parents import Parents, make_parents
from xpcs_dask.fitting.recipe import Recipe
from xpcs_dask.fitting.replicate_errors import replicate_errors
from xpcs_dask.fitting.strategy import fit_stack

__all__ = ["replicate_errors", "replicates"]

ROWS = 4096
"""Resamples made at once for what the compiled refit left over."""


def replicates(
    x: Any, y: Floats, weight: Floats, model: Model, config: FitConfig, lower: Floats, upper: Floats,
    rows: NDArray[np.void], scheme: str, curve_id: NDArray[np.uint64], seed: int, first: int, last: int,
    clusters: NDArray[np.floating] | None = None,
) -> Floats:  # fmt: skip
    """Fit replicates ``first`` to ``last - 1`` of every curve, from the minimum of their parent.

    Parameters
    ----------
    x, y, weight, model, config, lower, upper
        As for `strategy.fit_stack`: y and weight have shape (n, m).
    rows : array of `layout.fit_dtype(model, "full")`, shape (n,)
        The fits that are resampled.
    scheme : {"cluster", "residual", "wild", "parametric", "pairs", "blocks"}
        cluster draws the clusters with replacement and moves the curve by what their mean moves, delay by delay;
        residual draws standardised residuals ``r / sqrt(1 - h)``, centred, and puts them back with each point's sigma;
        wild gives ``r / (1 - h)`` a random sign; parametric adds normal noise of the stated sigma; pairs draws points;
        blocks draws runs of neighbouring standardised residuals. h is the leverage in the fit.
    curve_id : array of uint64, shape (n,)
        What random numbers are keyed by, with `seed` and the number of the replicate.
    clusters : array, shape (n, P, m), optional
        NaN where a cluster has no value; needed for the scheme cluster.

    Returns
    -------
    array, shape (n, last - first, p)
        Parameters of the model; NaN where a refit found no minimum, where the parent did not converge, and for curves
        of fewer than two clusters.

    References
    ----------
    A. C. Davison and D. V. Hinkley, Bootstrap Methods and their Application (1997), sections 6.2 and 8.2;
    C. F. J. Wu, Ann. Stat. 14, 1261 (1986).
    """
    parents = make_parents(x, y, weight, model, config, lower, upper, rows, scheme, curve_id, seed, clusters)
    found = np.full((len(y), last - first, len(model.parameters)), np.nan)
    refit = _compiled if parents.compiled and config.loss == "linear" else _one_by_one
    for some in parents.blocks():
        found[some] = refit(parents, some, parents.recipe(some), first, last)
    return found


def _one_by_one(parents: Parents, some: NDArray[np.intp], recipe: Recipe, first: int, last: int) -> Floats:
    """Refit down the whole ladder, curve by curve."""
    found = np.empty((some.size, last - first, parents.value.shape[1]))
    numbers = np.arange(first, last)
    for j, k in enumerate(some):
        y, times = parents.resamples(recipe, np.full(numbers.size, j), np.full(numbers.size, k), numbers)
        found[j] = _ladder(parents, y, parents.weight[k] * np.sqrt(times), parents.value[k])
    return found


def _ladder(parents: Parents, y: Floats, weight: Floats, start: Floats) -> Floats:
    p = parents
    rows = fit_stack(p.x, y, weight, p.model, p.config, p.lower, p.upper, start)
    return np.where((rows["status"] == Status.CONVERGED)[:, None], rows["value"], np.nan)


def _compiled(parents: Parents, some: NDArray[np.intp], recipe: Recipe, first: int, last: int) -> Floats:
    """Refit all at once; what did not end in a proven minimum goes on in residual form, then down the ladder."""
    from xpcs_dask.fitting.kernel.replicates import refit
    from xpcs_dask.fitting.kernel.single import CONVERGED

    family, curves = parents.family, parents.curve_id[some]
    z, code = refit(parents.x, recipe, family, exact_z(family, parents.value[some]), curves, parents.seed, first, last)
    found = model_values(family, z)
    left = np.argwhere(code != CONVERGED)
    for k in range(0, len(left), ROWS):
        curve, replicate = left[k : k + ROWS].T
        found[curve, replicate] = _left_over(
            parents, recipe, some[curve], curve, replicate + first, z[curve, replicate]
        )
    return found


def _left_over(
    parents: Parents, recipe: Recipe, curve: NDArray[np.intp], row: NDArray[np.intp], number: NDArray[np.intp],
    z: Floats,
) -> Floats:  # fmt: skip
    """Fit single replicates, each named by its curve (and its row in the recipe) and its number, from z (N, P)."""
    from xpcs_dask.fitting.kernel.replicates import finish
    from xpcs_dask.fitting.kernel.single import CONVERGED

    family = parents.family
    y, times = parents.resamples(recipe, row, curve, number)
    weight = parents.weight[curve] * np.sqrt(times)
    z, code = finish(parents.x, y, weight, family, z)
    found = model_values(family, z)
    enough = (weight > 0).sum(axis=1) > (parents.lower < parents.upper).sum()
    for k in np.flatnonzero((code != CONVERGED) & enough):
        found[k] = _ladder(parents, y[k : k + 1], weight[k : k + 1], parents.value[curve[k]])[0]
    found[~enough] = np.nan
    return found


def model_values(family: Family, z: Floats) -> Floats:
    """Parameters of the model (…, p) from those of its family; of components in one box the faster is the first."""
    value = exact_values(family, z)
    if family.record is DOUBLE and _one_box(family):
        other = value[..., [0, 4, 5, 3, 1, 2, 6]]
        other[..., 6] = 1.0 - other[..., 6]
        value = np.where(value[..., 1:2] > value[..., 4:5], other, value)
    return value[..., family.position]


def _one_box(family: Family) -> bool:
    """Whether both components of a double family have the same box, so that their labels mean nothing."""
    low, high = family.lower, family.upper
    same = np.array_equal(low[1:3], low[4:6]) and np.array_equal(high[1:3], high[4:6])
    return bool(same and abs(low[6] + high[6] - 1.0) < 1e-12)
