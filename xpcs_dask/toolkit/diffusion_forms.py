"""The diffusion models as records of this package, so that they are fitted by its kernels and in its coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from xpcs_dask.fitting.models import SIMPLE, SINGLE, Model, Parameter
from xpcs_dask.toolkit.diffusion_models import DiffusionModels, Function

__all__ = ["FORMS", "Form", "form_of"]

Floats = NDArray[np.float64]

REACH = 1e4
"""Times are looked for from the first delay over this to the last one times it."""
GRID = 24
"""Times of which pairs are tried as the start of two decays."""


@dataclass(frozen=True)
class Form:
    """How a function of the toolkit and a record of the package are the same model.

    A rate p of the function is ``time^-exponent`` of the record.
    """

    record: Model
    order: tuple[int, ...]
    """Position in the record of each parameter of the function."""
    rates: tuple[int, ...] = ()
    """Parameters of the function that are a rate where the record has a time."""
    exponent: int | None = None
    """Parameter of the function that is the exponent of the rate; it is 1 where there is none."""

    def bounds(self, box: tuple[Floats, Floats], x: Floats) -> dict[str, tuple[float, float]] | None:
        """Bounds of the record by name, of times within reach of the delays `x`; None where these leave nothing."""
        grid = x[x > 0]
        if not grid.size:
            return None
        near, far = grid.min() / REACH, grid.max() * REACH
        lower, upper = (side.copy() for side in box)
        for k in self.rates:
            wide = self.exponent is not None  # a power of a time with a free exponent has no box
            lower[k], upper[k] = (0.0, np.inf) if wide else (1.0 / box[1][k], 1.0 / max(box[0][k], 1e-300))
        for k, place in enumerate(self.order):
            if self.record.parameters[place].relaxation_time:
                lower[k], upper[k] = max(lower[k], near), min(upper[k], far)
        if not (lower < upper).all():
            return None
        names = [self.record.names[place] for place in self.order]
        return {name: (float(low), float(high)) for name, low, high in zip(names, lower, upper, strict=True)}

    def parameters(self, value: Floats, covariance: Floats) -> tuple[Floats, Floats]:
        """Parameters ``(p,)`` of the function and their covariance ``(p, p)`` from those of the record."""
        theta = value[list(self.order)]
        spread = covariance[np.ix_(self.order, self.order)]
        found, slopes = theta.copy(), np.eye(theta.size)
        for k in self.rates:
            power = 1.0 if self.exponent is None else theta[self.exponent]
            found[k] = theta[k] ** -power
            slopes[k, k] = -power * found[k] / theta[k]
            if self.exponent is not None:
                slopes[k, self.exponent] = -np.log(theta[k]) * found[k]
        return found, _carried(slopes, spread)


def _carried(slopes: Floats, covariance: Floats) -> Floats:
    """Covariance of what has these `slopes`; a parameter on its bound (NaN) counts as held for all others."""
    unknown = ~np.isfinite(np.diag(covariance))
    found = slopes @ np.where(np.isfinite(covariance), covariance, 0.0) @ slopes.T
    found[unknown], found[:, unknown] = np.nan, np.nan
    return found


def form_of(func: Function) -> Form | None:
    """Return the form of a function of `DiffusionModels`; None for any other."""
    return FORMS.get(func)


def _two_decays(x: Floats, contrast1: Any, tau1: Any, contrast2: Any, tau2: Any, baseline: Any) -> Any:
    return baseline + contrast1 * np.exp(-2.0 * x / tau1) + contrast2 * np.exp(-2.0 * x / tau2)


def _two_decays_jacobian(
    x: Floats, contrast1: float, tau1: float, contrast2: float, tau2: float, baseline: float
) -> Floats:
    first, second = np.exp(-2.0 * x / tau1), np.exp(-2.0 * x / tau2)
    by_time = [a * e * 2.0 * x / tau**2 for a, e, tau in ((contrast1, first, tau1), (contrast2, second, tau2))]
    return np.stack([first, by_time[0], second, by_time[1], np.ones_like(x)], axis=-1)


def _two_decays_start(x: Floats, y: Floats, weight: Floats) -> Floats:
    """Best pair of times of a grid; amplitudes and the baseline are linear and not negative."""
    delays = x[x > 0]
    times = np.geomspace(delays.min(), 4.0 * delays.max(), GRID)
    decays = np.exp(-2.0 * x / times[:, None])
    best, found = np.inf, np.ones(5)
    for i, j in combinations(range(GRID), 2):
        columns = np.stack([decays[i], decays[j], np.ones_like(x)], axis=1)
        amplitudes, misfit = nnls(columns * weight[:, None], y * weight)
        if misfit < best:
            best, found = misfit, np.array([amplitudes[0], times[i], amplitudes[1], times[j], amplitudes[2]])
    return found


def _decay(number: int) -> tuple[Parameter, Parameter]:
    return (
        Parameter(name=f"contrast{number}", lower=0.0, upper=1.0),
        Parameter(name=f"tau{number}", unit="s", lower=0.1, upper=10.0, relaxation_time=True),
    )


TWO_DECAYS = Model(
    name="two decays of the intensity",
    formula="baseline + contrast1 * exp(-2 * t / tau1) + contrast2 * exp(-2 * t / tau2)",
    parameters=(*_decay(1), *_decay(2), Parameter(name="baseline", lower=0.5, upper=1.5)),
    evaluate=_two_decays,
    jacobian=_two_decays_jacobian,
    start=_two_decays_start,
)

_POWER = Form(SINGLE, (3, 0, 1, 2), rates=(2,), exponent=3)
FORMS: Mapping[Function, Form] = {
    DiffusionModels.simple_diffusion: Form(SIMPLE, (2, 0, 1), rates=(2,)),
    DiffusionModels.subdiffusion: _POWER,
    DiffusionModels.hyperdiffusion: _POWER,
    DiffusionModels.anomalous_diffusion: _POWER,
    DiffusionModels.stretched_exponential: Form(SINGLE, (3, 0, 1, 2)),
    DiffusionModels.double_exponential: Form(TWO_DECAYS, (4, 0, 1, 2, 3), rates=(2, 4)),
}
