"""Where fits start when nobody says so; the same starts for the same curve, always."""

from __future__ import annotations

import numpy as np

from xpcs_dask.config import Search
from xpcs_dask.fitting.decay_starts import decays
from xpcs_dask.fitting.models import Floats
from xpcs_dask.fitting.problem import Problem

WIDE = 100.0
REACH = 10.0
COUNT: dict[Search, int] = {"fast": 3, "thorough": 8}


def propose(problem: Problem, start: Floats | None, search: Search = "fast") -> list[Floats]:
    """Propose starts inside the box, a given one first: as many as the search wants to try."""
    if start is None:
        return _own_starts(problem, search)
    given = problem.clip(start)
    if search == "fast" and not problem.model.family:
        return [given]
    return [given, *_own_starts(problem, search)]


def _own_starts(problem: Problem, search: Search) -> list[Floats]:
    count = COUNT[search]
    if problem.model.start is not None:
        own = [problem.clip(theta) for theta in np.atleast_2d(_from_model(problem))]
        return own if len(own) == 1 else ranked(problem, own, max(count, problem.model.starts))
    if problem.model.grid is not None and np.ndim(problem.x) == 1:
        return decays(problem, problem.model.starts if search == "fast" else count)
    ones = problem.clip(np.ones(problem.lower.size))
    if not (np.isfinite(problem.lower) & np.isfinite(problem.upper)).all():
        return [ones]
    return ranked(problem, [ones, *spread(problem, ones, 32 * problem.free.size)], count)


def _from_model(problem: Problem) -> Floats:
    """Start that the model itself proposes, from the points that count."""
    x = np.asarray(problem.x)
    seen = x[..., problem.used] if x.shape[-1:] == problem.y.shape else problem.x
    assert problem.model.start is not None
    try:
        with np.errstate(all="ignore"):
            return np.asarray(problem.model.start(seen, problem.y_used, problem.weight_used), dtype=np.float64)
    except Exception:  # a bad guess must not end the fit
        return np.ones(problem.lower.size)


def ranked(problem: Problem, thetas: list[Floats], count: int) -> list[Floats]:
    """Return the `count` best of some points, best first; points at which the model fails go last."""
    cost = np.array([problem.objective(theta) for theta in thetas])
    order = np.argsort(np.where(np.isfinite(cost), cost, np.inf), kind="stable")
    return [thetas[k] for k in order[:count]]


def search_box(problem: Problem, centre: Floats) -> tuple[Floats, Floats]:
    """Return a finite box of the free parameters: the given one, or around `centre` where that has no end."""
    lower, upper = problem.lower[problem.free], problem.upper[problem.free]
    middle = centre[problem.free]
    reach = REACH * np.where(middle != 0, np.abs(middle), 1.0)
    return (
        np.where(np.isfinite(lower), lower, np.minimum(middle - reach, upper)),
        np.where(np.isfinite(upper), upper, np.maximum(middle + reach, lower)),
    )


def from_cube(points: Floats, lower: Floats, upper: Floats) -> Floats:
    """Map the unit cube ``(…, q)`` into a box; sides that span decades on one side of zero are cut in logarithm."""
    with np.errstate(all="ignore"):
        ratio = np.where(lower > 0, upper / lower, np.where(upper < 0, lower / upper, 0.0))
        wide = ratio > WIDE
        low, high = np.where(wide, np.abs(lower), 1.0), np.where(wide, np.abs(upper), 1.0)
        geometric = np.sign(lower) * low * (high / low) ** points
    return np.clip(np.where(wide, geometric, lower + (upper - lower) * points), lower, upper)


def spread(problem: Problem, centre: Floats, count: int) -> list[Floats]:
    """`count` points that fill the search box evenly: an additive recurrence, the same for every curve.

    References
    ----------
    M. Roberts, The unreasonable effectiveness of quasirandom sequences (2018).
    """
    q = problem.free.size
    golden = 2.0
    for _ in range(60):
        golden = (1.0 + golden) ** (1.0 / (q + 1))
    steps = golden ** -np.arange(1.0, q + 1)
    cube = (0.5 + np.outer(np.arange(count), steps)) % 1.0
    thetas = np.tile(problem.clip(centre), (count, 1))
    thetas[:, problem.free] = from_cube(cube, *search_box(problem, centre))
    return list(thetas)


def around(problem: Problem, centre: Floats, count: int) -> list[Floats]:
    """`count` points near `centre`: a third of its size away at most, and inside the box."""
    q = problem.free.size
    size = np.where(centre != 0, np.abs(centre), 1.0) / 3.0
    thetas = []
    for k in range(count):
        signs = np.where((np.arange(q) * (k + 1) + k) % 3 < 1 + k % 2, 1.0, -1.0)
        theta = centre.copy()
        theta[problem.free] += signs * size[problem.free]
        thetas.append(problem.clip(theta))
    return thetas
