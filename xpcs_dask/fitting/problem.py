"""One curve to fit: its points, its model, its box; residuals and exact Jacobian, and the coordinates of the fit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.config import Loss
from xpcs_dask.fitting import derivatives
from xpcs_dask.fitting.derivatives import Derivative
from xpcs_dask.fitting.losses import objective
from xpcs_dask.fitting.models import Floats, Model

ROUNDING = 4e-16
"""Relative rounding of a residual, in units of the value."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One curve to fit.

    The model is called in its own parameters, theta ``(p,)``; optimisers see the free ones only, in coordinates u
    ``(q,)`` in which relaxation times are logarithms.
    """

    x: Any
    """What the model takes: delays in s, or anything."""
    y: Floats
    """Values, shape (m,)."""
    weight: Floats
    """1/sigma, shape (m,); 0 means that the point is not used."""
    model: Model
    lower: Floats
    upper: Floats
    """The box, shape (p,); equal where a parameter is held."""
    loss: Loss = "linear"
    scale: float = 1.0
    """Weighted residual beyond which a robust loss takes over."""
    derivative: Derivative = "difference"
    """How the Jacobian is made; see `choose`."""

    @cached_property
    def used(self) -> NDArray[np.bool_]:
        """Points that count, shape (m,)."""
        return np.isfinite(self.y) & np.isfinite(self.weight) & (self.weight > 0)

    @cached_property
    def free(self) -> NDArray[np.intp]:
        """Indices of the parameters that are fitted, shape (q,)."""
        return np.flatnonzero(self.lower < self.upper)

    @cached_property
    def logarithmic(self) -> NDArray[np.bool_]:
        """Which of the free parameters are fitted in their logarithm, shape (q,)."""
        return np.array([self.model.parameters[k].relaxation_time for k in self.free], dtype=bool)

    @cached_property
    def y_used(self) -> Floats:
        """Values of the points that count."""
        return self.y[self.used]

    @cached_property
    def weight_used(self) -> Floats:
        """Weights of the points that count."""
        return self.weight[self.used]

    def values(self, theta: Floats) -> Floats:
        """Model at the points that count; NaN where it raises or returns another shape than that of y."""
        try:
            return self._evaluate(theta)[self.used]
        except Exception:  # the neighbours must not suffer from one bad trial of a user's function
            return np.full_like(self.y_used, np.nan)

    def failure(self, theta: Floats) -> str:
        """Why the model cannot be used at `theta`, in words; empty where it can."""
        try:
            found = self._evaluate(theta)
        except Exception as error:  # the reason is what is wanted
            return f"{type(error).__name__}: {error}"
        return "" if np.isfinite(found[self.used]).all() else "it is not finite at the start"

    def _evaluate(self, theta: Floats) -> Floats:
        with np.errstate(all="ignore"):
            found = np.asarray(self.model.evaluate(self.x, *theta))
        if found.shape != self.y.shape or found.dtype.kind not in "fiu":
            raise TypeError(f"it returned {found.dtype} {found.shape} instead of real numbers {self.y.shape}")
        return found.astype(np.float64)

    def residuals(self, theta: Floats) -> Floats:
        """Weighted residuals, model minus data, of the points that count."""
        with np.errstate(all="ignore"):
            return (self.values(theta) - self.y_used) * self.weight_used

    def jacobian(self, theta: Floats) -> Floats:
        """Weighted derivative in the free parameters, shape (n_used, q); NaN where it fails."""
        try:
            with np.errstate(all="ignore"):
                found = self._slopes(theta)
                return found[self.used] * self.weight_used[:, None]
        except Exception:  # as in `values`
            return np.full((self.y_used.size, self.free.size), np.nan)

    def _slopes(self, theta: Floats) -> Floats:
        if self.derivative == "own":
            return derivatives.own(self.model, self.x, theta, self.free)
        if self.derivative == "complex":
            return derivatives.complex_step(self.model, self.x, theta, self.free)
        return derivatives.differences(self.model, self.x, theta, self.free, self.lower, self.upper)

    def objective(self, theta: Floats) -> float:
        """Sum that the fit makes small, C^2 sum rho; NaN where the model fails."""
        with np.errstate(all="ignore"):
            return objective(self.residuals(theta), self.loss, self.scale)

    def rounding(self, objective: float) -> float:
        """Difference between two objectives of about this size that rounding of the values alone can make."""
        floor = ROUNDING**2 * float(np.sum((self.y_used * self.weight_used) ** 2))
        return floor + 2.0 * float(np.sqrt(floor * objective))

    def no_higher(self, theta: Floats, than: Floats) -> bool:
        """Whether the objective at `theta` is not above that at `than`, within rounding."""
        limit = self.objective(than) * (1 + 1e-10)
        return self.objective(theta) <= limit + self.rounding(limit)

    def clip(self, theta: Floats) -> Floats:
        """`theta` moved into the box."""
        return np.clip(theta, self.lower, self.upper)

    def inner(self, theta: Floats) -> Floats:
        """Coordinates of the optimiser."""
        u = theta[self.free].astype(np.float64)
        with np.errstate(all="ignore"):
            u[self.logarithmic] = np.log(u[self.logarithmic])
        return u

    def outer(self, u: Floats) -> Floats:
        """Parameters of the model; the logarithm of a bound may come back just outside of it (`clip`)."""
        theta = self.lower.copy()
        with np.errstate(all="ignore"):
            theta[self.free] = np.where(self.logarithmic, np.exp(u), u)
        return theta

    def inner_jacobian(self, u: Floats) -> Floats:
        """Jacobian in the coordinates of the optimiser, shape (n_used, q)."""
        theta = self.outer(u)
        return self.jacobian(theta) * np.where(self.logarithmic, theta[self.free], 1.0)


def choose(problem: Problem, theta: Floats) -> Derivative:
    """Best derivative of the model that can be used at `theta`: its own, else a complex step, else differences.

    A complex step is used only where it agrees with differences: ``abs``, ``np.real`` and the like swallow the
    imaginary part without a word.
    """
    if problem.model.jacobian is not None:
        return "own"
    return "complex" if _agrees(replace(problem, derivative="complex"), theta) else "difference"


def confirm(problem: Problem, theta: Floats) -> Derivative:
    """Return the derivative in use if it is right at `theta` too, else the next safer one."""
    if problem.derivative == "difference" or _agrees(problem, theta):
        return problem.derivative
    complex_step = replace(problem, derivative="complex")
    if problem.derivative == "own" and _same(problem, complex_step, theta):  # differences fail on fast oscillations
        return "own"
    return "complex" if problem.derivative == "own" and _agrees(complex_step, theta) else "difference"


def _same(problem: Problem, other: Problem, theta: Floats) -> bool:
    """Whether two exact derivatives are one."""
    exact = other.jacobian(theta)
    if not np.isfinite(exact).all():
        return False
    value = problem.values(theta) * problem.weight_used
    return derivatives.agree(problem.jacobian(theta), exact, value, theta[problem.free])


def _agrees(problem: Problem, theta: Floats) -> bool:
    """Whether the derivative in use is that of differences, for the points that count."""
    rough = replace(problem, derivative="difference").jacobian(theta)
    if not np.isfinite(rough).all():
        return bool(np.isfinite(problem.jacobian(theta)).all())
    value = problem.values(theta) * problem.weight_used
    return derivatives.agree(problem.jacobian(theta), rough, value, theta[problem.free])
