"""Whether a point is a minimum: what every rung of the ladder is judged by.

Two scale-free measures, both 0 at a minimum. The gradient: the largest cosine between the residual vector and a column
of the Jacobian. The relative offset of Bates and Watts: the share of the residual vector that a full Gauss-Newton step
would remove; unlike the gradient it sees a long narrow valley. Both count only what the box allows: a step through a
wall gains nothing.

References
----------
D. M. Bates and D. G. Watts, Technometrics 23, 179 (1981).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.derivatives import RANK
from xpcs_dask.fitting.losses import RHO
from xpcs_dask.fitting.models import Floats
from xpcs_dask.fitting.problem import Problem

GRADIENT = 1e-6
OFFSET = 1e-4
RELEASE = 1e-5
"""Share of the step, in residual space, that a wall must cost before its parameter is released."""
EPS = float(np.finfo(float).eps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How far from a minimum a point is."""

    gradient: float
    """Largest share that moving one parameter inside the box would remove: inside it the largest cosine of the
    residuals with a column of the Jacobian; inf if unknown."""
    offset: float
    """Share that the Gauss-Newton step inside the box would remove: the square root of the relative decrease of the
    objective that it predicts. Where no wall is met, the length of the step in residual space over that of the
    residuals."""
    dead: NDArray[np.bool_]
    """Free parameters that do not change the model at all here, shape (q,)."""
    held: NDArray[np.bool_]
    """Free parameters on a bound that the gradient presses against, shape (q,)."""
    step: Floats
    """Full Gauss-Newton step of the free parameters, whatever the box, shape (q,)."""
    target: Floats
    """Free parameters after the Gauss-Newton step that stays in the box, shape (q,)."""
    tolerance: float
    """Largest offset that counts as none."""

    @property
    def minimum(self) -> bool:
        """Nothing is to be gained by moving a little."""
        return self.gradient <= GRADIENT and self.offset <= self.tolerance

    @property
    def regular(self) -> bool:
        """A minimum in which every parameter matters: no runaway to where the model is flat, none unidentified."""
        return self.minimum and not self.dead.any()


@np.errstate(all="ignore")
def judge(problem: Problem, theta: Floats) -> Verdict:
    """Judge a point of the box; nothing is assumed about where it came from."""
    q = problem.free.size
    residuals, jacobian = problem.residuals(theta), problem.jacobian(theta)
    tolerance, position = OFFSET, theta[problem.free]
    if not (np.isfinite(residuals).all() and np.isfinite(jacobian).all()):
        none = {"dead": np.zeros(q, dtype=bool), "held": np.zeros(q, dtype=bool), "step": np.zeros(q)}
        return Verdict(gradient=np.inf, offset=np.inf, target=position, tolerance=tolerance, **none)
    root = np.sqrt(RHO[problem.loss]((residuals / problem.scale) ** 2)[1])
    residuals, jacobian = residuals * root, jacobian * root[:, None]
    # Rounding of model and data, in residual space: nothing below it can be called a gradient.
    signal = float(np.linalg.norm((np.abs(residuals) + np.abs(problem.y_used) * problem.weight_used) * root))
    noise = 8 * EPS * signal
    size = np.linalg.norm(jacobian, axis=0)
    dead = size * _reach(problem, theta) <= EPS * signal
    gradient = residuals @ jacobian
    lower, upper = problem.lower[problem.free], problem.upper[problem.free]
    held = np.where(gradient > 0, position <= lower, position >= upper)
    alive, rank = ~dead, RANK[problem.derivative]
    orthogonal, unit = np.linalg.qr(jacobian[:, alive] / size[alive])
    pull = orthogonal.T @ residuals
    step = np.zeros(q)
    step[alive & ~held] = least_squares(unit[:, ~held[alive]], -pull, rank) / size[alive & ~held]
    # From here in the coordinates of the optimiser, where the kernels make their steps too.
    stretch = size * np.where(problem.logarithmic, np.abs(position), 1.0)
    low, high = (room[alive] for room in _rooms(problem, theta, stretch))
    one = np.clip(-gradient[alive] / size[alive], low, high)
    alone = -one * (2.0 * gradient[alive] / size[alive] + one)
    moves = box_step(unit, pull, low, high, rank)
    change = unit @ moves
    length = max(float(np.linalg.norm(residuals)), noise)
    shares = np.sqrt([max(0.0, float(np.max(alone, initial=0.0))), max(0.0, -float(change @ (2.0 * pull + change)))])
    found = np.maximum(0.0, shares - noise) / length if length else np.zeros(2)
    return Verdict(
        gradient=float(found[0]),
        offset=float(found[1]),
        dead=dead,
        held=held,
        step=step,
        target=_moved(problem, theta, alive, moves / stretch[alive], moves <= low, moves >= high),
        tolerance=tolerance,
    )


def _rooms(problem: Problem, theta: Floats, stretch: Floats) -> tuple[Floats, Floats]:
    """How far each free parameter may go down and up, in residual space."""
    here, logarithmic = problem.inner(theta), problem.logarithmic
    lower, upper = problem.lower[problem.free], problem.upper[problem.free]
    low = np.where(logarithmic, np.log(np.maximum(lower, 0.0)), lower) - here
    high = np.where(logarithmic, np.log(np.maximum(upper, 0.0)), upper) - here
    return np.minimum(low, 0.0) * stretch, np.maximum(high, 0.0) * stretch


def _moved(problem: Problem, theta: Floats, alive: NDArray[np.bool_], moves: Floats, low: Any, high: Any) -> Floats:
    """Free parameters after a step in the coordinates of the optimiser, exactly on the walls that it reaches."""
    here = problem.inner(theta)
    here[alive] += moves
    found = np.where(problem.logarithmic, np.exp(here), here)
    found[~alive] = theta[problem.free][~alive]
    for wall, bound in ((low, problem.lower), (high, problem.upper)):
        on = np.flatnonzero(alive)[wall]
        found[on] = bound[problem.free][on]
    return np.clip(found, problem.lower[problem.free], problem.upper[problem.free])


def _reach(problem: Problem, theta: Floats) -> Floats:
    """Return a change of each free parameter that would matter if the parameter did."""
    size = np.abs(theta[problem.free])
    span = problem.upper[problem.free] - problem.lower[problem.free]
    return np.where(size > 0, size, np.minimum(span, 1.0))


def least_squares(columns: Floats, target: Floats, rank: float) -> Floats:
    """Shortest s with ``columns @ s`` nearest to `target`; directions singular within `rank` are left alone."""
    if not columns.shape[1]:
        return np.zeros(0)
    left, values, right = np.linalg.svd(columns, full_matrices=False)
    keep = values > rank * values[0]
    found: Floats = right[keep].T @ ((left[:, keep].T @ target) / values[keep])
    return found


def box_step(columns: Floats, residuals: Floats, low: Floats, high: Floats, rank: float) -> Floats:
    """Step s with ``low <= s <= high`` (0 is inside) that makes ``residuals + columns @ s`` shortest; unit columns.

    Primal active set, as in the compiled kernels: the first wall that is met holds its parameter, and the wall whose
    release would gain most lets it go.
    """
    step = least_squares(columns, -residuals, rank)
    if ((step >= low) & (step <= high)).all():
        return step
    gradient = residuals @ columns
    step = np.zeros_like(step)
    held = ((low >= 0) & (gradient > 0)) | ((high <= 0) & (gradient < 0))
    for _ in range(4 * step.size):
        free = np.flatnonzero(~held)
        move = least_squares(columns[:, free], -(residuals + columns @ step), rank)
        wall = np.where(move > 0, high[free], low[free])
        share = np.where(move != 0, (wall - step[free]) / move, np.inf)
        if free.size and share.min() < 1:
            first = int(np.argmin(share))
            step[free] += max(float(share[first]), 0.0) * move
            step[free[first]], held[free[first]] = wall[first], True
            continue
        step[free] += move
        gradient = (residuals + columns @ step) @ columns
        gain = np.where(held & (step <= low), -gradient, np.where(held & (step >= high), gradient, 0.0))
        worst = int(np.argmax(gain))
        if not gain[worst] > RELEASE * np.linalg.norm(columns @ step):
            break
        held[worst] = False
    return np.clip(step, low, high)


def optimality(problem: Problem, theta: Floats) -> float:
    """Projected gradient, scale-free: 0 at a minimum, at most 1; see `Verdict.gradient`."""
    return judge(problem, theta).gradient


def is_minimum(problem: Problem, theta: Floats) -> bool:
    """Whether gradient and offset are both nothing, within rounding."""
    return judge(problem, theta).minimum
