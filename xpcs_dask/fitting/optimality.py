"""Whether a point is a minimum: what every rung of the ladder is judged by.

Two scale-free measures, both 0 at a minimum. The gradient: the largest cosine between the residual vector and a column
of the Jacobian. The relative offset of Bates and Watts: the share of the residual vector that a full Gauss-Newton step
would remove; unlike the gradient it sees a long narrow valley.

References
----------
D. M. Bates and D. G. Watts, Technometrics 23, 179 (1981).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.derivatives import RANK
from xpcs_dask.fitting.losses import RHO
from xpcs_dask.fitting.models import Floats
from xpcs_dask.fitting.problem import Problem

GRADIENT = 1e-6
OFFSET = {"own": 1e-5, "complex": 1e-5, "difference": 1e-4}
EPS = float(np.finfo(float).eps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How far from a minimum a point is."""

    gradient: float
    """Largest cosine of the residuals with a column of the Jacobian, over parameters that may move; inf if unknown."""
    offset: float
    """Length of the full Gauss-Newton step in residual space, over the length of the residuals."""
    dead: NDArray[np.bool_]
    """Free parameters that do not change the model at all here, shape (q,)."""
    held: NDArray[np.bool_]
    """Free parameters on a bound that the gradient presses against, shape (q,)."""
    step: Floats
    """Full Gauss-Newton step of the free parameters, whatever the box, shape (q,)."""
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
    tolerance = OFFSET[problem.derivative]
    if not (np.isfinite(residuals).all() and np.isfinite(jacobian).all()):
        none = np.zeros(q, dtype=bool)
        return Verdict(gradient=np.inf, offset=np.inf, dead=none, held=none, step=np.zeros(q), tolerance=tolerance)
    root = np.sqrt(RHO[problem.loss]((residuals / problem.scale) ** 2)[1])
    residuals, jacobian = residuals * root, jacobian * root[:, None]
    # Rounding of model and data, in residual space: nothing below it can be called a gradient.
    signal = float(np.linalg.norm((np.abs(residuals) + np.abs(problem.y_used) * problem.weight_used) * root))
    noise = 8 * EPS * signal
    size = np.linalg.norm(jacobian, axis=0)
    dead = size * _reach(problem, theta) <= EPS * signal
    gradient = residuals @ jacobian
    position = theta[problem.free]
    held = np.where(gradient > 0, position <= problem.lower[problem.free], position >= problem.upper[problem.free])
    move = ~dead & ~held
    cosine = np.abs(gradient[move]) / size[move]
    step = np.zeros(q)
    unit_step, offset = _gauss_newton(jacobian[:, move] / size[move], residuals, RANK[problem.derivative])
    step[move] = unit_step / size[move]
    length = max(float(np.linalg.norm(residuals)), noise)
    return Verdict(
        gradient=max(0.0, float(np.max(cosine, initial=0.0)) - noise) / length if length else 0.0,
        offset=max(0.0, offset - noise) / length if length else 0.0,
        dead=dead,
        held=held,
        step=step,
        tolerance=tolerance,
    )


def _reach(problem: Problem, theta: Floats) -> Floats:
    """Return a change of each free parameter that would matter if the parameter did."""
    size = np.abs(theta[problem.free])
    span = problem.upper[problem.free] - problem.lower[problem.free]
    return np.where(size > 0, size, np.minimum(span, 1.0))


def _gauss_newton(jacobian: Floats, residuals: Floats, rank: float) -> tuple[Floats, float]:
    """Full step for unit columns and the length of the residuals it removes; singular directions are left alone."""
    if not jacobian.shape[1]:
        return np.zeros(0), 0.0
    left, values, right = np.linalg.svd(jacobian, full_matrices=False)
    keep = values > rank * values[0]
    removed = left[:, keep].T @ residuals
    return -(right[keep].T @ (removed / values[keep])), float(np.linalg.norm(removed))


def optimality(problem: Problem, theta: Floats) -> float:
    """Projected gradient, scale-free: 0 at a minimum, at most 1; see `Verdict.gradient`."""
    return judge(problem, theta).gradient


def is_minimum(problem: Problem, theta: Floats) -> bool:
    """Whether gradient and offset are both nothing, within rounding."""
    return judge(problem, theta).minimum
