"""The last rungs of the ladder, for one curve: scipy's TRF, LM, and differential evolution, each with its verdict."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import differential_evolution, least_squares

from xpcs_dask.fitting import starts as starting
from xpcs_dask.fitting.layout import Rung
from xpcs_dask.fitting.losses import RHO
from xpcs_dask.fitting.models import Floats
from xpcs_dask.fitting.optimality import GRADIENT, Verdict, judge
from xpcs_dask.fitting.problem import Problem

TOLERANCE = 1e-15
PATIENCE = (100, 1000)
"""Evaluations of one call: TRF creeps along walls, which `_settle` does in a few steps."""
POLISH = 20
SEED = 20240229
_SEED_KEYWORD = "rng" if "rng" in inspect.signature(differential_evolution).parameters else "seed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One attempt and what it is worth."""

    theta: Floats
    objective: float
    evaluations: int
    rung: Rung
    verdict: Verdict


def trf(problem: Problem, start: Floats, rung: Rung = Rung.TRF) -> Try:
    """Trust-region reflective inside the box, then on its faces; with more patience where that was not enough."""
    theta, total = start, 0
    for patience in PATIENCE:
        theta, evaluations = _least_squares(problem, theta, "trf", patience)
        theta, settled = _settle(problem, theta)
        theta, polished = _polish(problem, theta)
        total += evaluations + settled + polished
        tried = _tried(problem, theta, total, rung)
        if tried.verdict.minimum:
            break
    return tried


def lm(problem: Problem, start: Floats) -> Try:
    """Levenberg-Marquardt without the box: it crosses walls, and counts only if it ends inside."""
    theta, evaluations = _least_squares(problem, start, "lm", PATIENCE[-1])
    inside = np.array_equal(theta, problem.clip(theta))
    theta, polished = _polish(problem, theta if inside else problem.clip(start))
    return _tried(problem, theta, evaluations + polished, Rung.LM)


def evolution(problem: Problem, start: Floats) -> Try:
    """Differential evolution (seeded) in the box, or in one around the start, polished by TRF."""
    lower, upper = starting.search_box(problem, start)
    theta = problem.clip(start)

    def cost(point: Floats) -> float:
        theta[problem.free] = starting.from_cube(point, lower, upper)
        found = problem.objective(theta)
        return found if np.isfinite(found) else 1e300

    options: dict[str, Any] = {_SEED_KEYWORD: SEED, "maxiter": 150, "popsize": 10, "tol": 1e-8, "polish": False}
    with np.errstate(all="ignore"):
        found = differential_evolution(cost, [(0.0, 1.0)] * problem.free.size, **options)
    theta[problem.free] = starting.from_cube(found.x, lower, upper)
    polished = trf(problem, theta.copy(), Rung.EVOLUTION)
    return replace(polished, evaluations=polished.evaluations + found.nfev)


def _tried(problem: Problem, theta: Floats, evaluations: int, rung: Rung) -> Try:
    return Try(
        theta=theta,
        objective=problem.objective(theta),
        evaluations=evaluations,
        rung=rung,
        verdict=judge(problem, theta),
    )


def _least_squares(problem: Problem, start: Floats, method: str, patience: int) -> tuple[Floats, int]:
    """One call of scipy's optimiser; where it raises, the start comes back (and is judged)."""
    start = problem.clip(start)
    if not problem.free.size:
        return start, 0
    settings: dict[str, Any] = {"ftol": TOLERANCE, "xtol": TOLERANCE, "gtol": TOLERANCE, "max_nfev": patience}
    if method == "trf":
        settings["bounds"] = problem.inner(problem.lower), problem.inner(problem.upper)
        settings |= {"loss": _scipy_loss(problem), "f_scale": problem.scale}

    def residuals(u: Floats) -> Floats:
        return problem.residuals(problem.outer(u))

    try:
        with np.errstate(all="ignore"):
            found = least_squares(
                residuals, problem.inner(start), problem.inner_jacobian, method=method, x_scale="jac", **settings
            )
    except (ValueError, ArithmeticError, np.linalg.LinAlgError):  # not finite somewhere: judged like any other end
        return start, 1
    theta = problem.outer(found.x)
    return (problem.clip(theta) if method == "trf" else theta), int(found.nfev)


def _scipy_loss(problem: Problem) -> str | Callable[[Floats], Floats]:
    if problem.loss == "linear":
        return "linear"
    rho = RHO[problem.loss]
    return lambda z: np.stack(rho(z))


def _settle(problem: Problem, theta: Floats) -> tuple[Floats, int]:
    """Move parameters that press against a bound onto it, where TRF (which stays strictly inside) cannot go.

    One at a time, as an active-set method does: the one whose bound the full Gauss-Newton step meets first.
    """
    evaluations = 0
    for _ in range(problem.free.size):
        verdict = judge(problem, theta)
        lower, upper = problem.lower[problem.free], problem.upper[problem.free]
        position, step = theta[problem.free], verdict.step
        with np.errstate(all="ignore"):
            share = np.where(step != 0, (np.where(step > 0, upper, lower) - position) / step, np.inf)
        first = int(np.argmin(share))
        if not share[first] < 1:
            break
        held = verdict.held.copy()
        held[first] = True
        position[first] = (upper if step[first] > 0 else lower)[first]
        low, high = problem.lower.copy(), problem.upper.copy()
        low[problem.free[held]] = high[problem.free[held]] = position[held]
        onto = theta.copy()
        onto[problem.free] = position
        moved, more = _least_squares(replace(problem, lower=low, upper=high), onto, "trf", PATIENCE[0])
        evaluations += more
        if not problem.no_higher(moved, theta):
            break
        theta = moved
    return theta, evaluations


def _polish(problem: Problem, theta: Floats) -> tuple[Floats, int]:
    """Gauss-Newton steps in the box while they help: they converge to the last digit, where TRF stops short."""
    verdict = judge(problem, theta)
    for k in range(POLISH):
        target = theta.copy()
        target[problem.free] = verdict.target
        if np.array_equal(target, theta):
            return theta, k
        beyond = judge(problem, target)
        alive = not (beyond.dead & ~verdict.dead).any()
        closer = beyond.offset < 0.9 * verdict.offset and beyond.gradient <= max(verdict.gradient, GRADIENT)
        if not (alive and closer and problem.no_higher(target, theta)):
            return theta, k + 1
        theta, verdict = target, beyond
    return theta, POLISH
