"""Seeded curves, and scipy as the judge of a minimum."""

from __future__ import annotations

import numpy as np
from scipy.optimize import least_squares

from xpcs_dask.fitting.kernel.family import FAMILIES, family_of
from xpcs_dask.fitting.kernel.run import run_kernel
from xpcs_dask.fitting.models import Model

DELAYS = np.logspace(-5, 1, 64)
BOX = {
    "single": (np.array([0.0, 1e-6, 0.2, 0.9]), np.array([1.0, 1e2, 3.0, 1.1])),
    "double": (np.array([0.0, 1e-6, 0.2, 0.9, 1e-6, 0.2, 0.0]), np.array([1.0, 1e2, 3.0, 1.1, 1e2, 3.0, 1.0])),
}


def single_curves(n, seed=0, noise=(-3.0, -1.7)):
    """Decays of known parameters (n, 4) with Gaussian noise of known size."""
    rng = np.random.default_rng(seed)
    theta = np.stack(
        [rng.uniform(0.05, 0.4, n), 10 ** rng.uniform(-4, 0, n), rng.uniform(0.6, 1.6, n), rng.normal(1, 0.005, n)], 1
    )
    return theta, *with_noise(FAMILIES["single"], theta, rng, noise)


def double_curves(n, seed=0, noise=(-3.5, -2.5)):
    """The same for two components, a factor 10 to 300 apart."""
    rng = np.random.default_rng(seed)
    tau = 10 ** rng.uniform(-4, -1.5, n)
    theta = np.stack(
        [
            *(rng.uniform(0.1, 0.4, n), tau, rng.uniform(0.7, 1.5, n), rng.normal(1, 0.005, n)),
            *(tau * 10 ** rng.uniform(1, 2.5, n), rng.uniform(0.7, 1.5, n), rng.uniform(0.3, 0.7, n)),
        ],
        1,
    )
    return theta, *with_noise(FAMILIES["double"], theta, rng, noise)


def with_noise(model, theta, rng, noise):
    """Curves and their errors, which shrink with delay as counting noise does."""
    y = np.stack([model.evaluate(DELAYS, *t) for t in theta])
    size = 10 ** rng.uniform(*noise, len(theta))[:, None] * np.sqrt((DELAYS[0] / DELAYS) ** 0.8 + 1e-2)
    sigma = size * np.exp(rng.normal(0, 0.1, y.shape))
    return y + sigma * rng.normal(size=y.shape), sigma


def chi2(model: Model, y, sigma, theta):
    """Weighted sum of squares of every curve."""
    return np.array(
        [np.sum(((a - model.evaluate(DELAYS, *t)) / s) ** 2) for a, s, t in zip(y, sigma, theta, strict=True)]
    )


def scipy_best(model, y, sigma, lower, upper, starts=8, seed=0, loss="linear", loss_scale=1.0):
    """Lowest objective of `starts` random starts on the common delays."""
    return scipy_best_on(DELAYS, model, y, sigma, lower, upper, starts, seed, loss, loss_scale)


def scipy_best_on(x, model, y, sigma, lower, upper, starts=8, seed=0, loss="linear", loss_scale=1.0):
    """Lowest objective of `starts` random starts, exact Jacobian, tight tolerances; relaxation times as logarithms."""
    rng = np.random.default_rng(seed)
    times = np.array([p.relaxation_time for p in model.parameters])
    low, high = (
        np.where(times, np.log(np.where(times, lower, 1)), lower),
        np.where(times, np.log(np.where(times, upper, 1)), upper),
    )

    def theta(z):
        return np.where(times, np.exp(np.where(times, z, 0)), z)

    def residual(z):
        return (y - model.evaluate(x, *theta(z))) / sigma

    def jacobian(z):
        return -model.jacobian(x, *theta(z)) * np.where(times, theta(z), 1) / sigma[:, None]

    best, where = np.inf, None
    for _ in range(starts):
        with np.errstate(all="ignore"):  # scipy divides by zero in flat directions
            found = least_squares(
                residual, rng.uniform(low, high), jacobian, (low, high), x_scale="jac", loss=loss, f_scale=loss_scale,
                ftol=1e-14, xtol=1e-14, gtol=1e-14, max_nfev=2000,
            )  # fmt: skip
        if 2 * found.cost < best:
            best, where = 2 * found.cost, theta(found.x)
    return best, where


def projected_gradient(model, y, sigma, theta, lower, upper):
    """Largest cosine between residuals and a free column of the Jacobian; 0 at a minimum in the box.

    A column that is nothing but rounding (two components that are one: their fraction) has no direction.
    """
    times = np.array([p.relaxation_time for p in model.parameters])
    r = (y - model.evaluate(DELAYS, *theta)) / sigma
    J = model.jacobian(DELAYS, *theta) * np.where(times, theta, 1) / sigma[:, None]
    size = np.linalg.norm(J, axis=0)
    pull = J.T @ r / np.maximum(size * np.linalg.norm(r), 1e-300)
    pull[size < 1e-15 * np.linalg.norm(y / sigma)] = 0
    blocked = (lower >= upper) | ((theta <= lower) & (pull < 0)) | ((theta >= upper) & (pull > 0))
    return np.abs(np.where(blocked, 0, pull)).max()


def natural(z, family):
    """Parameters of a family from those of its kernel."""
    times = np.array([p.relaxation_time for p in FAMILIES[family].parameters])
    return np.where(times, np.exp(np.where(times, z, 0)), z)


def fit(family, y, sigma, loss="linear", scale=1.0):
    """Fit a stack on the common delays with its compiled kernel."""
    model = FAMILIES[family]
    return run_kernel(family_of(model, *BOX[family]), DELAYS, y, 1 / sigma, loss, scale, None, thorough=False)


def outliers(y, sigma, seed=0, share=0.1):
    """Put a share of the points 5 to 20 sigma off."""
    rng = np.random.default_rng(seed)
    hit = rng.random(y.shape) < share
    return y + hit * sigma * rng.uniform(5, 20, y.shape) * rng.choice([-1, 1], y.shape)
