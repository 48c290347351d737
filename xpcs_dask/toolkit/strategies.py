"""The rungs of the ladder, one by one, with a record of how each does."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from xpcs_dask.fitting.models import Floats
from xpcs_dask.fitting.problem import Problem
from xpcs_dask.fitting.rungs import Try, evolution, lm, trf
from xpcs_dask.fitting.starts import around

__all__ = ["Attempt", "OptimizationStrategy", "climb", "ladder"]

FURTHER = 3
"""Starts near the given one that the trust region tries after it."""


class OptimizationStrategy:
    """One way to a minimum, and how often it got there.

    Parameters
    ----------
    name : str
    method : {"trf", "lm", "differential_evolution"}
    config : dict
        What it is told; for the record.
    """

    def __init__(self, name: str, method: str, config: dict[str, Any]) -> None:
        self.name, self.method, self.config = name, method, config
        self.clear()

    def clear(self) -> None:
        """Forget all attempts."""
        self.success_count, self.total_attempts, self.avg_time, self.avg_iterations = 0, 0, 0.0, 0.0

    @property
    def success_rate(self) -> float:
        """Share of the attempts that ended in a minimum; 0 without any."""
        return self.success_count / self.total_attempts if self.total_attempts else 0.0

    def update_stats(self, success: bool, time_taken: float, iterations: int) -> None:
        """Count one attempt; means are over all of them, failed ones too."""
        self.total_attempts += 1
        self.success_count += bool(success)
        self.avg_time += (time_taken - self.avg_time) / self.total_attempts
        self.avg_iterations += (iterations - self.avg_iterations) / self.total_attempts

    def __repr__(self) -> str:
        return f"OptimizationStrategy({self.name!r}, {self.method!r}, {self.config!r})"


def ladder(tolerance_factor: float, max_iterations: int) -> list[OptimizationStrategy]:
    """Return the strategies in the order in which they are tried."""
    told = {"optimality": "projected gradient and relative offset", "tolerance_factor": tolerance_factor}
    return [
        OptimizationStrategy("Trust Region Reflective", "trf", {**told, "max_nfev": max_iterations}),
        OptimizationStrategy("Levenberg-Marquardt", "lm", {**told, "max_nfev": max_iterations}),
        OptimizationStrategy("Differential Evolution", "differential_evolution", {"seeded": True, "polished": True}),
    ]


def _trusted(problem: Problem, starts: list[Floats]) -> Try:
    """Trust region from the first start, and from others until one ends in a minimum."""
    tries: list[Try] = []
    for start in [*starts, *around(problem, starts[0], FURTHER)]:
        tries.append(trf(problem, start))
        if tries[-1].verdict.regular:
            break
    return min(tries, key=lambda t: (not t.verdict.minimum, t.objective))


METHODS: Mapping[str, Callable[[Problem, list[Floats]], Try]] = MappingProxyType(
    {
        "trf": _trusted,
        "lm": lambda problem, starts: lm(problem, starts[0]),
        "differential_evolution": lambda problem, starts: evolution(problem, starts[0]),
    }
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one strategy found."""

    strategy: OptimizationStrategy
    found: Try
    seconds: float


def climb(
    problem: Problem, starts: list[Floats], strategies: list[OptimizationStrategy], max_iterations: int, track: bool
) -> list[Attempt]:
    """Try strategies until one ends in a minimum in which every parameter matters, or the evaluations are spent.

    What was found is kept whatever stopped the search: all attempts come back, each with its verdict.
    """
    made: list[Attempt] = []
    for strategy in strategies:
        begin = time.perf_counter()
        found = METHODS[strategy.method](problem, starts)
        made.append(Attempt(strategy, found, time.perf_counter() - begin))
        if track:
            strategy.update_stats(found.verdict.minimum, made[-1].seconds, found.evaluations)
        if found.verdict.regular or sum(a.found.evaluations for a in made) >= max_iterations:
            break
    return made
