"""Refits of resampled curves of any model: a few Gauss-Newton steps from the minimum of their parent.

A resample has its minimum near that of its parent, so the whole ladder is seldom needed: a refit is kept where it is
proven to be a minimum in which every parameter matters, and goes down the ladder otherwise.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.config import FitConfig
from xpcs_dask.fitting.derivatives import RANK
from xpcs_dask.fitting.layout import Status
from xpcs_dask.fitting.models import Floats, Model
from xpcs_dask.fitting.optimality import judge, least_squares
from xpcs_dask.fitting.parents import make_parents
from xpcs_dask.fitting.problem import Problem, choose
from xpcs_dask.fitting.strategy import fit_stack

STEPS = 20
NOTHING = 1e-7
"""Share of the residuals that a step would remove, below which it is the last: far below a standard error."""


def near_refits(
    x: Any, y: Floats, weight: Floats, model: Model, config: FitConfig, lower: Floats, upper: Floats,
    rows: NDArray[np.void], scheme: str, curve_id: NDArray[np.uint64], seed: int, first: int, last: int,
) -> Floats:  # fmt: skip
    """Fit replicates ``first`` to ``last - 1`` of every curve; arguments and result as of `replicates.replicates`.

    Least squares only, and no clusters. The resamples are those of `replicates`, and so are the minima, to 1e-4
    standard errors.
    """
    parents = make_parents(x, y, weight, model, config, lower, upper, rows, scheme, curve_id, seed, None)
    found = np.full((len(y), last - first, len(model.parameters)), np.nan)
    number = np.arange(first, last)
    for some in parents.blocks():
        recipe = parents.recipe(some)
        for j, k in enumerate(some):
            drawn, times = parents.resamples(recipe, np.full(number.size, j), np.full(number.size, k), number)
            scaled = weight[k] * np.sqrt(times)
            start = rows["value"][k]
            whole = Problem(x=x, y=y[k], weight=weight[k], model=model, lower=lower, upper=upper)
            whole = replace(whole, derivative=choose(whole, start))
            for b in range(number.size):
                theta = descend(replace(whole, y=drawn[b], weight=scaled[b]), start)
                if theta is None:
                    theta = _ladder(x, drawn[b], scaled[b], model, config, lower, upper, start)
                found[k, b] = theta
    return found


def descend(problem: Problem, theta: Floats) -> Floats | None:
    """Minimum that Gauss-Newton steps inside the box lead to; None where they lead up, or to no regular minimum."""
    theta = _inside(problem, theta)
    verdict = judge(problem, theta)
    for _ in range(STEPS):
        if verdict.minimum:
            break
        target = theta.copy()
        target[problem.free] = verdict.target
        if np.array_equal(target, theta) or not problem.no_higher(target, theta):
            break
        theta, verdict = target, judge(problem, target)
    return theta if verdict.regular else None


@np.errstate(all="ignore")
def _inside(problem: Problem, theta: Floats) -> Floats:
    """Where full steps end that meet no wall and never lead up; unproven."""
    free, rank = problem.free, RANK[problem.derivative]
    residuals = problem.residuals(theta)
    for _ in range(STEPS):
        jacobian = problem.jacobian(theta)
        size = np.linalg.norm(jacobian, axis=0)
        if not (np.isfinite(jacobian).all() and (size > 0).all()):
            break
        unit = jacobian / size
        step = least_squares(unit, -residuals, rank)
        target = theta.copy()
        target[free] += step / size
        found = problem.residuals(target)
        if not (np.array_equal(target, problem.clip(target)) and found @ found <= residuals @ residuals):
            break
        theta, residuals = target, found
        if np.linalg.norm(unit @ step) <= NOTHING * np.linalg.norm(found):
            break
    return theta


def _ladder(
    x: Any, y: Floats, weight: Floats, model: Model, config: FitConfig, lower: Floats, upper: Floats, start: Floats
) -> Floats:
    row = fit_stack(x, y[None], weight[None], model, config, lower, upper, start)[0]
    return np.asarray(row["value"]) if row["status"] == Status.CONVERGED else np.full(start.size, np.nan)
