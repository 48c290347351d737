r"""Penalties on residuals, as defined by `scipy.optimize.least_squares`, and Tukey's biweight.

With weighted residuals :math:`r` and scale :math:`C` the objective is :math:`C^2 \sum \rho(z)`, :math:`z = (r/C)^2`.
Every :math:`\rho` starts as :math:`z`, so small residuals count as in chi2, and the linear objective is chi2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from xpcs_dask.config import Loss
from xpcs_dask.fitting.models import Floats

Rho = Callable[[Floats], tuple[Floats, Floats, Floats]]


def _linear(z: Floats) -> tuple[Floats, Floats, Floats]:
    return z, np.ones_like(z), np.zeros_like(z)


def _soft_l1(z: Floats) -> tuple[Floats, Floats, Floats]:
    t = 1.0 + z
    root = np.sqrt(t)
    return 2.0 * z / (root + 1.0), 1.0 / root, -0.5 / (t * root)


def _huber(z: Floats) -> tuple[Floats, Floats, Floats]:
    inside = z <= 1.0
    t = np.where(inside, 1.0, z)
    root = np.sqrt(t)
    return (
        np.where(inside, z, 2.0 * root - 1.0),
        1.0 / root,
        np.where(inside, 0.0, -0.5 / (t * root)),
    )


def _cauchy(z: Floats) -> tuple[Floats, Floats, Floats]:
    t = 1.0 / (1.0 + z)
    return np.log1p(z), t, -t * t


def _arctan(z: Floats) -> tuple[Floats, Floats, Floats]:
    t = 1.0 / (1.0 + z * z)
    return np.arctan(z), t, -2.0 * z * t * t


def _tukey(z: Floats) -> tuple[Floats, Floats, Floats]:
    left = np.maximum(1.0 - z, 0.0)
    # z (1 - z + z^2/3) is (1 - (1 - z)^3) / 3 without cancellation at small z.
    inner = np.minimum(z, 1.0)
    return inner * (1.0 - inner + inner * inner / 3.0), left * left, -2.0 * left


RHO: Mapping[Loss, Rho] = MappingProxyType(
    {
        "linear": _linear,
        "soft_l1": _soft_l1,
        "huber": _huber,
        "cauchy": _cauchy,
        "arctan": _arctan,
        "tukey": _tukey,
    }
)
"""rho, rho' and rho'' of z = (r/C)^2 by name of the loss."""


def objective(residuals: Floats, loss: Loss = "linear", scale: float = 1.0) -> float:
    """Return ``scale**2 * sum(rho((residuals / scale)**2))``: what a fit makes small; chi2 where the loss is linear."""
    if loss == "linear":
        return float(residuals @ residuals)
    return float(scale**2 * np.sum(RHO[loss]((residuals / scale) ** 2)[0]))
