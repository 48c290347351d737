"""What a kernel is asked and what it answers: a model seen as its family, and the fits of a stack.

A family is the parameter list that a kernel knows. A model of that family is the same curve with some of them held.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.models import DOUBLE, SINGLE, Floats, Model

FAMILIES = {"single": SINGLE, "double": DOUBLE}
FAR = 1e20
"""Where an open bound ends for the kernels, which compute with the box."""


@dataclass(frozen=True, slots=True)
class KernelFit:
    """What a kernel returns for n curves of p family parameters z (relaxation times as logarithms)."""

    z: Floats
    chi2: Floats
    covariance: Floats
    """(n, p, p), of z, for absolute errors (robust losses: their sandwich)."""
    n_used: NDArray[np.int32]
    evaluations: NDArray[np.int32]
    converged: NDArray[np.bool_]
    f_statistic: Floats
    """F of the second component (double), infinite for other families."""
    disagree: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Family:
    """A model seen as its family: positions of its parameters and the box of all family parameters."""

    record: Model
    position: NDArray[np.intp]
    lower: Floats
    upper: Floats
    kernel_time: float = 1.0
    """What delays are divided by to be those of the family."""

    def delays(self, x: Floats) -> Floats:
        """Delays as the kernel takes them, with which its relaxation times are those of the model."""
        return x if self.kernel_time == 1.0 else x / self.kernel_time

    def table(self, of_lags: tuple[Any, ...]) -> tuple[Any, ...]:
        """`theory.Lags.table`, whose times come first and as logarithms, as the kernel takes it."""
        log_time, *rest = of_lags
        return (log_time if self.kernel_time == 1.0 else log_time - np.log(self.kernel_time), *rest)

    @property
    def times(self) -> NDArray[np.bool_]:
        """Which family parameters are relaxation times."""
        return np.array([p.relaxation_time for p in self.record.parameters])

    def z(self, theta: Floats) -> Floats:
        """Family parameters, times as logarithms, of model parameters ``(…, p)``."""
        full = np.zeros((*theta.shape[:-1], len(self.record.parameters)))
        for name, value in self.held:
            full[..., self.record.index(name)] = value
        full[..., self.position] = theta
        full[..., self.times] = np.log(np.maximum(full[..., self.times], 1e-300))
        return full

    @property
    def held(self) -> list[tuple[str, float]]:
        """Family parameters that the model does not have, with their values."""
        own = set(self.position.tolist())
        return [(p.name, float(self.lower[k])) for k, p in enumerate(self.record.parameters) if k not in own]

    @property
    def log_box(self) -> tuple[Floats, Floats]:
        """The box in z."""
        lower, upper = np.clip(self.lower, -FAR, FAR), np.clip(self.upper, -FAR, FAR)
        lower[self.times], upper[self.times] = np.log(lower[self.times]), np.log(upper[self.times])
        return lower, upper


def family_of(model: Model, lower: Floats, upper: Floats) -> Family:
    """View of a model that has a family, with the box of its own parameters filled in."""
    record = FAMILIES[model.family]
    position = np.array([record.index(p.kernel or p.name) for p in model.parameters], dtype=np.intp)
    low, high = np.empty(len(record.parameters)), np.empty(len(record.parameters))
    for name, value in model.held:
        low[record.index(name)] = high[record.index(name)] = value
    low[position], high[position] = lower, upper
    return Family(record, position, low, high, model.kernel_time)
