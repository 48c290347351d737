"""Which rungs one curve climbs, and which answer is kept: the lowest minimum of all that were found.

A rung is believed because its answer is a minimum (`optimality`), not because it did not raise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from xpcs_dask.config import Search
from xpcs_dask.fitting.kernel.scales import BIWEIGHT_95, CAUCHY_95, MAD_TO_SIGMA
from xpcs_dask.fitting.layout import Rung, Status
from xpcs_dask.fitting.models import Floats
from xpcs_dask.fitting.problem import Problem
from xpcs_dask.fitting.rungs import Try, evolution, lm, trf
from xpcs_dask.fitting.starts import around

SAME = 1e-6
"""Two minima whose objectives differ by less than this share are one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """Where the ladder ended."""

    theta: Floats
    objective: float
    evaluations: int
    rung: Rung
    status: Status
    scale: float
    """Scale of the loss in the end; Tukey's is found from the data."""
    disagree: bool = False
    """Two starts ended in different minima."""


def solve(problem: Problem, starts: list[Floats], search: Search = "fast") -> Solution:
    """Climb until a minimum is found (fast), or until all starts lead to the same one (thorough); keep the lowest."""
    if problem.loss == "tukey":
        return _solve_tukey(problem, starts, search)
    if search == "thorough" and len(starts) < 2:
        starts = [*starts, *around(problem, starts[0], 3)]
    tries: list[Try] = []
    for attempt in _ladder(problem, starts):
        tries.append(attempt)
        if _enough(problem, tries, len(starts), search):
            break
    minima = [t for t in tries if t.verdict.minimum]
    best = min(minima or tries, key=lambda t: t.objective if np.isfinite(t.objective) else np.inf)
    return Solution(
        theta=best.theta,
        objective=best.objective,
        evaluations=sum(t.evaluations for t in tries),
        rung=best.rung,
        status=Status.CONVERGED if minima else Status.NOT_CONVERGED,
        scale=problem.scale,
        disagree=not _agree(problem, [t for t in minima if t.verdict.regular]),
    )


def _ladder(problem: Problem, starts: list[Floats]) -> Iterator[Try]:
    """Yield attempts in order, each made only when it is asked for."""
    for start in starts:
        yield trf(problem, start)
    if problem.loss == "linear":
        yield lm(problem, starts[0])
    for start in around(problem, starts[0], 3):
        yield trf(problem, start)
    yield evolution(problem, starts[0])


def _enough(problem: Problem, tries: list[Try], n_starts: int, search: Search) -> bool:
    if len(tries) < n_starts:
        return False
    regular = [t for t in tries if t.verdict.regular]
    if search == "thorough":
        return len(regular) >= 2 and _agree(problem, regular)
    if regular:
        return True
    # Two ways into the same singular minimum: the curve does not hold the parameter.
    singular = [t for t in tries if t.verdict.minimum]
    return len(singular) >= 2 and _agree(problem, singular)


def _agree(problem: Problem, tries: list[Try]) -> bool:
    """Whether the objectives are one, within rounding: on exact data all are nothing, and none equals another."""
    cost = [t.objective for t in tries]
    return not cost or max(cost) - min(cost) <= SAME * max(cost) + problem.rounding(max(cost))


def _solve_tukey(problem: Problem, starts: list[Floats], search: Search) -> Solution:
    """MM estimate: a Cauchy fit finds the scale, a biweight fit starts where it ended.

    The scale is 1.4826 times the median absolute weighted residual. V. J. Yohai, Ann. Statist. 15, 642 (1987).
    """
    first = solve(replace(problem, loss="cauchy", scale=CAUCHY_95), starts, search)
    spread = MAD_TO_SIGMA * float(np.median(np.abs(problem.residuals(first.theta))))
    scale = BIWEIGHT_95 * problem.scale * spread
    if first.status != Status.CONVERGED or not scale > 0:  # 0: more than half of the points lie on the curve
        return first
    tried = trf(replace(problem, scale=scale), first.theta)
    return replace(
        first,
        theta=tried.theta,
        objective=tried.objective,
        evaluations=first.evaluations + tried.evaluations,
        rung=tried.rung,
        status=Status.CONVERGED if tried.verdict.minimum else Status.NOT_CONVERGED,
        scale=scale,
    )
