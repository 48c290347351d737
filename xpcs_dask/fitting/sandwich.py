"""Standard errors of fitted curves that do not trust the stated errors alone: from theory of the noise, else HC3.

`fitting.theory` says what the noise of a multi-tau curve is like; where the counts are not known, or the model is not
one of the compiled families, HC3 takes the noise from the residuals, delay by delay, as if delays were independent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.families import exact_z, numba_found
from xpcs_dask.fitting.kernel.family import family_of
from xpcs_dask.fitting.layout import ErrorsFrom, Flag, Status, pairs
from xpcs_dask.fitting.models import Floats, Model
from xpcs_dask.fitting.problem import Problem, choose
from xpcs_dask.fitting.theory import NO_LAGS, Lags, workspace


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """What is known of the noise of n curves of m delays; NaN where it is not."""

    lags: Lags
    counts: Floats
    """(n,) mean counts per pixel and correlated frame, of one run."""
    frames: Floats
    """(n,) correlated frames of one run."""
    products: Floats
    """(n, m) averaged at each delay."""
    rate: Floats
    """(n,) coincidences per product at level 0, all runs together."""

    def take(self, rows: NDArray[np.intp] | slice) -> Noise:
        """Return some of the curves."""
        return Noise(self.lags, self.counts[rows], self.frames[rows], self.products[rows], self.rate[rows])

    def share(self, weight: Floats) -> Floats:
        """(n,) mean share of counting in the variance of the points that are used."""
        with np.errstate(divide="ignore", invalid="ignore"):
            counting = 1.0 / (self.rate[:, None] * self.products * self.lags.width**2)
            part = np.minimum(counting * weight**2, 1.0)
            used = weight > 0
            return np.where(used, part, 0.0).sum(axis=1) / used.sum(axis=1)


def robust_errors(
    rows: NDArray[np.void], x: Any, y: Floats, weight: Floats, model: Model, lower: Floats, upper: Floats,
    noise: Noise | None,
) -> None:  # fmt: skip
    """Replace covariance and standard errors of the converged rows, and flag those that had to take HC3.

    Parameters
    ----------
    rows : array of `layout.fit_dtype(model, "full")`, shape (n,)
        Least-squares fits, changed in place.
    x, y, weight, lower, upper
        As for `strategy.fit_stack`.
    noise : Noise or None
        None for HC3 throughout.
    """
    fitted = np.flatnonzero(rows["status"] == Status.CONVERGED)
    if not fitted.size:
        return
    if model.family and numba_found():
        known = None if noise is None else noise.take(fitted)
        covariance, theory = _compiled(rows["value"][fitted], x, y[fitted], weight[fitted], model, lower, upper, known)
    else:
        covariance = np.stack([_hc3(x, y[k], weight[k], rows["value"][k], model, lower, upper) for k in fitted])
        theory = np.zeros(fitted.size, np.bool_)
    put_covariance(rows, fitted, covariance)
    rows["errors_from"][fitted] = np.where(theory, ErrorsFrom.THEORY, ErrorsFrom.HC3)
    rows["errors_dof"][fitted] = np.where(theory, np.inf, rows["dof"][fitted])
    rows["flags"][fitted[~theory]] |= np.uint32(Flag.DELAYS_ASSUMED_INDEPENDENT)


def put_covariance(rows: NDArray[np.void], which: NDArray[np.intp], covariance: Floats) -> None:
    """Write covariances (k, p, p) of some rows, and the standard errors that follow."""
    p = covariance.shape[1]
    row, column = np.tril_indices(p)
    packed = covariance[:, row, column]
    rows["covariance"][which] = packed
    with np.errstate(invalid="ignore"):
        rows["stderr"][which] = np.sqrt(packed[:, [pairs(k + 1) - 1 for k in range(p)]])


def _compiled(
    value: Floats, x: Any, y: Floats, weight: Floats, model: Model, lower: Floats, upper: Floats, noise: Noise | None
) -> tuple[Floats, NDArray[np.bool_]]:
    """Covariance (n, p, p) of the model's parameters, and which of them theory gave."""
    from xpcs_dask.fitting.kernel import refine, sandwich
    from xpcs_dask.fitting.kernel.table import log_delays

    family = family_of(model, lower, upper)
    u, z = log_delays(family.delays(x)), exact_z(family, value)
    found = NO_LAGS if noise is None else noise.lags
    counts = frames = share = np.zeros(len(y))
    length = np.zeros((len(y), 0))
    if noise is not None:
        counts, frames, share = np.nan_to_num(noise.counts), noise.frames, noise.share(weight)
        length = noise.products * found.width
    covariance, kind = np.empty((*z.shape, z.shape[1])), np.zeros(len(y), np.int8)
    fill: Any = sandwich.robust_covariances
    fill(
        u, np.where(weight > 0, y, 0.0), weight, *family.log_box, z, counts, frames, share, length,
        found.width, found.level, found.near, found.apart, family.table(found.table), workspace(found),
        refine.workspace(y.shape[1], z.shape[1]), covariance, kind,
    )  # fmt: skip
    unit = np.where(family.times, np.exp(z), 1.0)
    covariance *= unit[:, :, None] * unit[:, None, :]
    return covariance[:, family.position[:, None], family.position], kind == sandwich.THEORY


def _hc3(x: Any, y: Floats, weight: Floats, value: Floats, model: Model, lower: Floats, upper: Floats) -> Floats:
    """Covariance (p, p) of one curve, after MacKinnon and White, J. Econometrics 29, 305 (1985)."""
    problem = Problem(x=x, y=y, weight=weight, model=model, lower=lower, upper=upper)
    problem = replace(problem, derivative=choose(problem, value))
    inside = (value[problem.free] > lower[problem.free]) & (value[problem.free] < upper[problem.free])
    free = problem.free[inside]
    found = np.zeros((value.size, value.size))
    found[np.ix_(problem.free, problem.free)] = np.nan
    jacobian, residuals = problem.jacobian(value)[:, inside], problem.residuals(value)
    size = np.linalg.norm(jacobian, axis=0)
    if not free.size or not (size > 0).all() or not np.isfinite(jacobian).all():
        return found
    basis, triangle = np.linalg.qr(jacobian / size)
    leverage = np.einsum("ij,ij->i", basis, basis)
    if np.abs(np.diag(triangle)).min() < 1e-7:
        return found
    half = (
        np.linalg.solve(triangle, (basis * (residuals / np.maximum(1.0 - leverage, 1e-3))[:, None]).T) / size[:, None]
    )
    found[np.ix_(free, free)] = half @ half.T
    return found
