"""Fits with one parameter held: what a profile likelihood is made of, compiled or by scipy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.families import exact_z, numba_found
from xpcs_dask.fitting.kernel.family import family_of
from xpcs_dask.fitting.models import Floats, Model
from xpcs_dask.fitting.problem import Problem, choose
from xpcs_dask.fitting.rungs import trf
from xpcs_dask.fitting.uncertainty import covariance


class Profiled(Protocol):
    """Fits of n curves at their minima, and fits of the same curves with one parameter held.

    Coordinates z ``(…, q)`` are those of the fit: relaxation times as logarithms.
    """

    z: Floats
    """(n, q) the minima."""
    chi2: Floats
    """(n,)"""
    covariance: Floats
    """(n, q, q) at the minima; NaN where there is none."""
    lower: Floats
    upper: Floats
    """(q,) the box."""
    position: NDArray[np.intp]
    """(p,) where in z the parameters of the model are."""
    times: NDArray[np.bool_]
    """(q,) which are logarithms."""

    def fit(
        self, curve: NDArray[np.intp], held: NDArray[np.intp], value: Floats, start: Floats
    ) -> tuple[Floats, Floats]:
        """Chi2 ``(t,)`` and minima ``(t, q)`` of some curves, with ``z[held] = value``, from starts ``(t, q)``."""
        ...


def profiled(x: Any, y: Floats, weight: Floats, value: Floats, model: Model, lower: Floats, upper: Floats) -> Profiled:
    """Fits of a stack from its minima `value` (n, p): compiled for models that have a family, else by scipy."""
    if model.family and np.ndim(x) == 1 and numba_found():
        return CompiledFits(x, y, weight, value, model, lower, upper)
    return ScipyFits(x, y, weight, value, model, lower, upper)


class CompiledFits:
    """By the compiled kernels, in the parameters of the model's family."""

    def __init__(
        self, x: Floats, y: Floats, weight: Floats, value: Floats, model: Model, lower: Floats, upper: Floats
    ) -> None:
        from xpcs_dask.fitting.kernel import refine
        from xpcs_dask.fitting.kernel.losses import LOSSES
        from xpcs_dask.fitting.kernel.table import log_delays

        family = family_of(model, lower, upper)
        self.position, self.times, (self.lower, self.upper) = family.position, family.times, family.log_box
        self.u, self.y, self.weight = (
            log_delays(family.delays(x)),
            np.ascontiguousarray(y),
            np.ascontiguousarray(weight),
        )
        self.z = exact_z(family, value)
        n, q = self.z.shape
        self.chi2, self.covariance = np.full(n, np.nan), np.full((n, q, q), np.nan)
        self.space = refine.workspace(len(self.u), q)
        spare = np.zeros(n, np.int32), np.zeros(n, np.int32), np.ones(n, np.int8)
        minimise: Any = refine.refine_stack
        minimise(
            self.u, self.y, self.weight, self.lower, self.upper, LOSSES["linear"], 1.0, self.z, self.chi2,
            self.covariance, *spare, self.space,
        )  # fmt: skip

    def fit(
        self, curve: NDArray[np.intp], held: NDArray[np.intp], value: Floats, start: Floats
    ) -> tuple[Floats, Floats]:
        """Fit with one parameter held; see `Profiled`."""
        from xpcs_dask.fitting.kernel import profile

        z, chi2 = np.array(np.clip(start, self.lower, self.upper), order="C"), np.empty(len(curve))
        fit_held: Any = profile.fit_held
        fit_held(self.u, self.y, self.weight, self.lower, self.upper, curve, held, value, z, chi2, self.space)
        return chi2, z


class ScipyFits:
    """By scipy's trust region and polish, one curve after the other, for any model."""

    def __init__(
        self, x: Any, y: Floats, weight: Floats, value: Floats, model: Model, lower: Floats, upper: Floats
    ) -> None:
        self.times = np.array([p.relaxation_time for p in model.parameters])
        self.position = np.arange(len(lower), dtype=np.intp)
        self.box = lower, upper
        self.lower, self.upper, self.z = (self._inner(a) for a in (lower, upper, value))
        self.problems = []
        matrices = []
        for k, theta in enumerate(value):
            problem = Problem(x=x, y=y[k], weight=weight[k], model=model, lower=lower, upper=upper)
            problem = replace(problem, derivative=choose(problem, theta))
            self.problems.append(problem)
            matrices.append(covariance(problem, theta))
        self.chi2 = np.array([p.objective(theta) for p, theta in zip(self.problems, value, strict=True)])
        with np.errstate(invalid="ignore", divide="ignore"):
            unit = np.where(self.times, 1.0 / value, 1.0)
        self.covariance = np.array(matrices).reshape(len(value), len(lower), len(lower))
        self.covariance = self.covariance * unit[:, :, None] * unit[:, None, :]

    def _inner(self, theta: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.times, np.log(np.where(self.times, theta, 1.0)), theta)

    def _outer(self, z: Floats) -> Floats:
        with np.errstate(over="ignore"):
            return np.where(self.times, np.exp(np.where(self.times, z, 0.0)), z)

    def fit(
        self, curve: NDArray[np.intp], held: NDArray[np.intp], value: Floats, start: Floats
    ) -> tuple[Floats, Floats]:
        """Fit with one parameter held; see `Profiled`."""
        chi2, z = np.empty(len(curve)), start.copy()
        z[np.arange(len(curve)), held] = value
        for i, (j, k) in enumerate(zip(curve, held, strict=True)):
            theta = self._outer(z[i])
            lower, upper = (bound.copy() for bound in self.box)
            lower[k] = upper[k] = theta[k]
            problem = replace(self.problems[j], lower=lower, upper=upper)
            theta = problem.clip(theta)
            if problem.free.size:
                theta = trf(problem, theta).theta
            chi2[i], z[i] = problem.objective(theta), self._inner(theta)
        return chi2, z
