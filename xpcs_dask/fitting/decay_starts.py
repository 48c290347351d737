"""Starts of decays: shapes on a grid, contrast and baseline solved for each; all curves of a stack share the shapes."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from xpcs_dask.fitting.losses import RHO
from xpcs_dask.fitting.models import Floats, Model
from xpcs_dask.fitting.problem import Problem

FLAT = 1e-12
"""Variance of a shape over the points, of values between 0 and 1, below which it is no decay."""
APART = 0.3
"""Largest relative difference of their parameters below which two starts are one."""
SAME = 0.05
"""Likewise of the squares of their curves, as a share of the sum of squares that they leave."""


def decays(problem: Problem, count: int = 1) -> list[Floats]:
    """Return the `count` best shapes of the model's grid that differ, best first, each with contrast and baseline."""
    model, positive = problem.model, np.asarray(problem.x)[problem.used]
    assert model.grid is not None
    shapes = np.unique(problem.clip(model.grid(positive)), axis=0)
    if "tau1" in model.names:
        ordered = shapes[:, model.index("tau1")] < shapes[:, model.index("tau2")]
        shapes = shapes[ordered] if ordered.any() else shapes
    thetas, residuals = _solved(problem, shapes)
    cost = np.sum(RHO[problem.loss]((residuals / problem.scale) ** 2)[0], axis=1)
    found: list[int] = []
    for k in np.argsort(np.where(np.isfinite(cost), cost, np.inf), kind="stable"):
        if len(found) == count:
            break
        if all(_differ(problem, thetas[[k, other]], residuals[[k, other]]) for other in found):
            found.append(int(k))
    return [thetas[k] for k in found]


def _differ(problem: Problem, thetas: Floats, residuals: Floats) -> bool:
    """Whether two starts may lead to two minima: other shapes (of what oscillates: another rate), and other curves."""
    parameters = problem.model.parameters
    told = [k for k, p in enumerate(parameters) if p.rate] or [
        k for k, p in enumerate(parameters) if p.name not in ("contrast", "baseline")
    ]
    change, size = np.abs(thetas[0] - thetas[1]), np.abs(thetas).max(axis=0)
    between = residuals[0] - residuals[1]
    return bool((change > APART * size)[told].any()) and bool(between @ between > SAME * (residuals[1] @ residuals[1]))


def _solved(problem: Problem, shapes: Floats) -> tuple[Floats, Floats]:
    """`shapes` (k, p) with the best contrast and baseline, clipped to the box; and their weighted residuals."""
    a, b = problem.model.index("contrast"), problem.model.index("baseline")
    values = _values(problem.model, np.asarray(problem.x, dtype=np.float64).tobytes(), _unit(shapes, a, b).tobytes())
    values = values if problem.used.all() else values[:, problem.used]
    w2, y = problem.weight_used**2, problem.y_used
    total = w2.sum()
    mean, level = values @ w2 / total, (w2 @ y) / total
    centred = values - mean[:, None]
    spread = (centred * centred) @ w2
    with np.errstate(divide="ignore", invalid="ignore"):
        contrast = np.where(spread > FLAT * total, centred @ (w2 * (y - level)) / spread, 0.0)
    thetas = shapes.copy()
    thetas[:, a] = np.clip(contrast, problem.lower[a], problem.upper[a])
    thetas[:, b] = np.clip(level - thetas[:, a] * mean, problem.lower[b], problem.upper[b])
    if problem.lower[b] == problem.upper[b]:  # with the baseline held the contrast is another
        square = (values * values) @ w2
        with np.errstate(divide="ignore", invalid="ignore"):
            contrast = np.where(square > FLAT * total, values @ (w2 * (y - problem.lower[b])) / square, 0.0)
        thetas[:, a] = np.clip(contrast, problem.lower[a], problem.upper[a])
    return thetas, (thetas[:, b : b + 1] + thetas[:, a : a + 1] * values - y) * problem.weight_used


def _unit(shapes: Floats, contrast: int, baseline: int) -> Floats:
    unit = shapes.copy()
    unit[:, contrast], unit[:, baseline] = 1.0, 0.0
    return unit


@lru_cache(maxsize=4)
def _values(model: Model, x: bytes, shapes: bytes) -> Floats:
    """Shapes over the delays (k, m): the same for all curves of a stack, whose delays and box are the same."""
    delays, p = np.frombuffer(x), len(model.parameters)
    columns: list[Any] = list(np.frombuffer(shapes).reshape(-1, p).T[..., None])
    with np.errstate(all="ignore"):
        found = np.array(np.broadcast_to(model.evaluate(delays, *columns), (columns[0].shape[0], delays.size)))
    found.setflags(write=False)
    return found
