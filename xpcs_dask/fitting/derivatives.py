"""Derivatives of a model in its parameters: its own, by a complex step, or by differences.

A complex step with h = 1e-30 has no cancellation, so it is exact to rounding for any parameter scale; the steps that
scipy takes (1e-8 relative) are not small enough for parameters near 1e-8 (NIST Hahn1).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.models import Floats, Model

Indices: TypeAlias = NDArray[np.intp]
Derivative: TypeAlias = Literal["own", "complex", "difference"]

STEP = 1e-30
AGREEMENT = 1e-4
RANK: Mapping[Derivative, float] = MappingProxyType({"own": 1e-13, "complex": 1e-13, "difference": 1e-8})
"""Singular values of a Jacobian with unit columns below this share of the largest are rounding."""


def complex_step(model: Model, x: Any, theta: Floats, columns: Indices) -> Floats:
    """Jacobian ``(m, len(columns))`` by complex steps; raises whatever the model raises on complex parameters."""
    found = []
    # A compiled function is compiled again for each new pattern of types: give it one, all complex.
    compiled = hasattr(model.evaluate, "py_func")
    for k in columns:
        point: list[Any] = [complex(v) for v in theta] if compiled else list(theta)
        point[k] = complex(theta[k], STEP)
        found.append(np.imag(np.asarray(model.evaluate(x, *point))) / STEP)
    return np.stack(found, axis=-1).astype(np.float64)


def differences(model: Model, x: Any, theta: Floats, columns: Indices, lower: Floats, upper: Floats) -> Floats:
    """Jacobian by three-point differences that stay inside the box (one-sided beside a bound)."""
    found = []
    base = np.asarray(model.evaluate(x, *theta), dtype=np.float64)
    for k in columns:
        size = abs(theta[k]) or min(1.0, upper[k] - lower[k])
        step = np.finfo(float).eps ** (1 / 3) * size
        if theta[k] + 2 * step > upper[k]:
            step = -step
        inside = lower[k] <= theta[k] - step <= upper[k]
        offsets, factors = ((-1, 1), (-0.5, 0.5)) if inside else ((1, 2), (2.0, -0.5))
        slope = np.zeros_like(base) if inside else -1.5 * base
        for offset, factor in zip(offsets, factors, strict=True):
            point = theta.copy()
            point[k] += offset * step
            slope = slope + factor * np.asarray(model.evaluate(x, *point), dtype=np.float64)
        found.append(slope / step)
    return np.stack(found, axis=-1)


def own(model: Model, x: Any, theta: Floats, columns: Indices) -> Floats:
    """Jacobian that came with the model."""
    assert model.jacobian is not None
    return np.asarray(model.jacobian(x, *theta), dtype=np.float64)[..., columns]


def agree(exact: Floats, rough: Floats, value: Floats, theta: Floats) -> bool:
    """Whether two Jacobians ``(m, q)`` are the same within what differences can tell of `theta` ``(q,)``."""
    if exact.shape != rough.shape or not np.isfinite(exact).all():
        return False
    size = np.linalg.norm(rough, axis=0)
    # Rounding of the values, over the step, is what differences cannot see.
    noise = np.finfo(float).eps ** (2 / 3) * 10 * np.linalg.norm(value)
    error = np.linalg.norm(exact - rough, axis=0)
    return bool(np.all(error <= AGREEMENT * size + noise / np.maximum(np.abs(theta), 1e-300)))
