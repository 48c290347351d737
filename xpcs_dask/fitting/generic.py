"""Fits of any model, one curve after the other, through scipy's rungs of the ladder."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.config import FitConfig
from xpcs_dask.fitting.criteria import aicc, bic, scale_known
from xpcs_dask.fitting.flags import flags_of
from xpcs_dask.fitting.ladder import Solution, solve
from xpcs_dask.fitting.layout import Flag, Status, fit_dtype
from xpcs_dask.fitting.models import Floats, Model
from xpcs_dask.fitting.problem import Problem, choose, confirm
from xpcs_dask.fitting.starts import propose
from xpcs_dask.fitting.uncertainty import covariance, covariance_kind, reduced_chi2

logger = logging.getLogger(__name__)


def fit_generic(
    x: Any,
    y: Floats,
    weight: Floats,
    model: Model,
    config: FitConfig,
    lower: Floats,
    upper: Floats,
    start: Floats | None = None,
) -> NDArray[np.void]:
    """Fit every curve of a stack by itself; a failed curve is a row of NaN with a status that says why.

    Parameters
    ----------
    x : array
        What the model takes, the same for all curves.
    y, weight : array, shape (n, m)
        Curves and 1/sigma of their points; a weight of 0 means that the point is not used.
    lower, upper : array, shape (p,)
        The box; equal where a parameter is held.
    start : array, shape (p,) or (n, p), optional
        Where to start. Otherwise the model's own start, a spread over the box, or ones.

    Returns
    -------
    array of `layout.fit_dtype(model, "full")`, shape (n,)
    """
    rows = empty_rows(len(y), model)
    notes = _Notes()
    given = None if start is None else np.broadcast_to(np.asarray(start, dtype=np.float64), (len(y), lower.size))
    for i in range(len(y)):
        problem = Problem(
            x=x,
            y=y[i],
            weight=weight[i],
            model=model,
            lower=lower,
            upper=upper,
            loss=config.loss,
            scale=config.loss_scale,
        )
        _fit_one(rows[i], problem, config, None if given is None else given[i], notes)
    notes.log(model.name, len(y))
    rows["flags"] = flags_of(rows, x, y, weight, lower, upper, model, config)
    return rows


@dataclass(slots=True)
class _Notes:
    """What is said once a call, however many curves it happened to."""

    failures: list[str] = field(default_factory=list)
    doubted: int = 0
    """Curves at whose minimum the model's own jacobian is wrong."""

    def log(self, name: str, n: int) -> None:
        if self.failures:
            text = "model '%s' cannot be evaluated for %d of %d curves; the first: %s"
            logger.warning(text, name, len(self.failures), n, self.failures[0])
        if self.doubted:
            text = "the jacobian of model '%s' disagrees with differences and is not used for %d of %d curves"
            logger.warning(text, name, self.doubted, n)


def empty_rows(n: int, model: Model) -> NDArray[np.void]:
    """`n` curves that have not been fitted: NaN, zeros and a status."""
    rows = np.zeros(n, dtype=fit_dtype(model, "full"))
    for name in ("value", "stderr", "chi2", "covariance", "reduced_chi2", "aicc", "bic"):
        rows[name] = np.nan
    return rows


def _fit_one(row: Any, problem: Problem, config: FitConfig, start: Floats | None, notes: _Notes) -> None:
    """Fill one row."""
    row["n_used"] = problem.y_used.size
    if problem.y_used.size <= problem.free.size:
        row["status"] = Status.TOO_FEW_POINTS if problem.y_used.size else Status.NO_DATA
        return
    starts = propose(problem, start, config.search)
    usable = [theta for theta in starts if np.isfinite(problem.residuals(theta)).all()]
    if not usable:
        row["status"] = Status.MODEL_FAILED
        notes.failures.append(problem.failure(starts[0]))
        return
    problem, found = _solve_confirmed(problem, usable, config, notes)
    row["evaluations"] = found.evaluations
    row["status"] = found.status
    if found.status == Status.CONVERGED:
        fill(row, problem, found, config)


def _solve_confirmed(
    problem: Problem, starts: list[Floats], config: FitConfig, notes: _Notes
) -> tuple[Problem, Solution]:
    """Climb the ladder with the best derivative there is, and again with a safer one where that proves to be wrong."""
    problem = replace(problem, derivative=choose(problem, starts[0]))
    found = solve(problem, starts, config.search)
    safer = confirm(problem, found.theta)
    if safer == problem.derivative:
        return problem, found
    notes.doubted += problem.derivative == "own"
    again = replace(problem, derivative=safer)
    second = solve(again, [found.theta, *starts], config.search)
    return again, replace(second, evaluations=found.evaluations + second.evaluations)


def fill(row: Any, problem: Problem, found: Solution, config: FitConfig) -> None:
    """Write a solution, its covariance and its criteria into one row."""
    problem = replace(problem, scale=found.scale)
    matrix = covariance(problem, found.theta, covariance_kind(config))
    n_used, n_free = problem.y_used.size, problem.free.size
    row["value"] = found.theta
    row["covariance"] = matrix[np.tril_indices(len(matrix))]
    with np.errstate(invalid="ignore"):
        row["stderr"] = np.sqrt(np.diag(matrix))
    row["chi2"], row["dof"], row["rung"] = found.objective, n_used - n_free, found.rung
    row["flags"] = Flag.STARTS_DISAGREE if found.disagree else 0
    row["reduced_chi2"] = reduced_chi2(found.objective, n_used - n_free)
    for name, criterion in (("aicc", aicc), ("bic", bic)):
        row[name] = criterion(found.objective, n_free, n_used, scale_known(config))
