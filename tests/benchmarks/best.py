"""The best known objective of every curve: many starts of scipy with exact Jacobian and tight tolerances."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.optimize import least_squares, leastsq

from tests.benchmarks.methods import relaxation_times
from tests.fitting.kernel.bench_sets import BenchSet, Floats
from xpcs_dask.fitting.losses import RHO


def objective(data: BenchSet, parameters: Floats, loss: str = "linear", scale: float = 1.0) -> Floats:
    """``C^2 sum rho((r/C)^2)`` of every curve; infinite where the fit failed."""
    with np.errstate(all="ignore"):
        fit = np.stack([data.model.evaluate(data.x, *p) for p in parameters])
        z = ((data.y - fit) / data.sigma / scale) ** 2
        total = (z if loss == "linear" else RHO[loss](z)[0]).sum(axis=1) * scale**2
    return np.where(np.isfinite(total), total, np.inf)


def random_starts(data: BenchSet, j: int, starts: int, loss: str = "linear", seed: int = 0) -> float:
    """Lowest objective of curve j from `starts` random starts of scipy, relaxation times as logarithms.

    Least squares runs MINPACK's Levenberg-Marquardt first, which is quick but knows no bounds; where that leaves the
    box, and for robust losses, the trust region goes from the same start.
    """
    rng = np.random.default_rng([seed, j])
    times, model, x = relaxation_times(data.model), data.model, data.x
    y, weight = data.y[j], 1.0 / data.sigma[j]
    low = np.where(times, np.log(np.where(times, data.lower, 1)), data.lower)
    high = np.where(times, np.log(np.where(times, data.upper, 1)), data.upper)
    inside = np.where(times, np.log(x[0]) - 0.5, low), np.where(times, np.log(x[-1]) + 1, high)

    def theta(z: Floats) -> Floats:
        return np.where(times, np.exp(np.where(times, z, 0)), z)

    def residual(z: Floats) -> Floats:
        return (y - model.evaluate(x, *theta(z))) * weight

    def jacobian(z: Floats) -> Floats:
        return -model.jacobian(x, *theta(z)) * np.where(times, theta(z), 1) * weight[:, None]

    best = np.inf
    tight = {"ftol": 1e-13, "xtol": 1e-13, "gtol": 1e-13}
    with np.errstate(all="ignore"), warnings.catch_warnings():  # scipy divides by zero in flat directions
        warnings.simplefilter("ignore")
        for _ in range(starts):
            start = rng.uniform(*inside)
            if loss == "linear":
                found = leastsq(residual, start, Dfun=jacobian, maxfev=400, **tight)[0]
                if np.all((found >= low) & (found <= high)):
                    best = min(best, float(np.sum(residual(found) ** 2)))
                    continue
            refined = least_squares(
                residual, start, jacobian, (low, high), x_scale="jac", loss=loss, max_nfev=400, **tight
            )
            best = min(best, 2 * refined.cost)
    return best


def best_known(data: BenchSet, starts: int, loss: str, others: list[Floats]) -> Floats:
    """Lowest of `others` and of random starts."""
    scipy = np.array([random_starts(data, j, starts, loss) for j in range(len(data.y))])
    return np.minimum.reduce([scipy, *others])
