"""What the Toolkit's bounds and flags say, by name: a parameter whose flag is False is held at its UPPER bound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.models import DOUBLE, SINGLE, Model
from xpcs_dask.toolkit.models import double_exp_all, single_exp_all

__all__ = ["FUNCTIONS", "Box", "box_of", "fitted_range", "model_of"]

Floats = NDArray[np.float64]

FUNCTIONS: dict[str, tuple[Model, Callable[..., Any]]] = {
    "single": (SINGLE, single_exp_all),
    "double": (DOUBLE, double_exp_all),
}
NEAR_ZERO = 1e-12
"""A relaxation time is fitted in its logarithm: a lower bound of 0 or less is this times the first delay."""


@dataclass(frozen=True, slots=True)
class Box:
    """Bounds and held values of a fit, by name of the parameter."""

    bounds: dict[str, tuple[float, float]]
    fixed: dict[str, float]
    start: tuple[float, ...] | None = None
    """Where pyXpcsViewer starts: mean of the bounds, geometric for relaxation times. One start of several here."""


def model_of(fit_func: str) -> tuple[Model, Callable[..., Any]]:
    """Model and function by the Toolkit's name."""
    if fit_func not in FUNCTIONS:
        raise ConfigError(f"fit_func: {fit_func!r} is none of {', '.join(map(repr, FUNCTIONS))}")
    return FUNCTIONS[fit_func]


def box_of(model: Model, t_el: Floats, bounds: Any = None, fit_flag: Any = None) -> Box:
    """Read ``bounds`` = (lower, upper), each one number a parameter, and ``fit_flag``, one bool a parameter.

    Without bounds those of the model are taken; then every parameter is free.
    """
    names = model.names
    flags = [True] * len(names) if fit_flag is None else [bool(flag) for flag in fit_flag]
    if len(flags) != len(names):
        raise ConfigError(f"fit_flag has {len(flags)} entries; model '{model.name}' has {len(names)}: {_list(names)}")
    if bounds is None:
        if not all(flags):
            raise ConfigError("fit_flag holds parameters at their upper bound; give bounds too")
        return Box({}, {})
    limits = _limits(bounds, model)
    fixed = {n: limits[1, k] for k, n in enumerate(names) if not flags[k] or limits[0, k] == limits[1, k]}
    positive = t_el[t_el > 0]
    least = NEAR_ZERO * float(positive.min()) if positive.size else NEAR_ZERO
    for k, parameter in enumerate(model.parameters):
        if parameter.relaxation_time:
            limits[0, k] = max(limits[0, k], least)
    free = {n: (float(limits[0, k]), float(limits[1, k])) for k, n in enumerate(names) if n not in fixed}
    box = Box(free, {name: float(value) for name, value in fixed.items()}, _start(limits, model, fixed))
    model.box(t_el, box.bounds, box.fixed)  # refuses what cannot be right, before anything is fitted
    return box


def fitted_range(t_el: Floats) -> Floats:
    """Delays (128,) at which fitted curves are drawn: half a decade beyond the data on both sides."""
    positive = t_el[t_el > 0]
    ends = (positive.min(), positive.max()) if positive.size else (1.0, 1.0)
    return np.logspace(np.log10(ends[0]) - 0.5, np.log10(ends[1]) + 0.5, 128)


def _start(limits: Floats, model: Model, fixed: dict[str, Any]) -> tuple[float, ...] | None:
    if not np.isfinite(limits).all():
        return None
    middle = limits.mean(axis=0)
    for k, parameter in enumerate(model.parameters):
        if parameter.relaxation_time:
            middle[k] = np.sqrt(limits[0, k] * limits[1, k])
        if parameter.name in fixed:
            middle[k] = fixed[parameter.name]
    return tuple(middle.tolist())


def _limits(bounds: Any, model: Model) -> Floats:
    p = len(model.parameters)
    try:
        limits = np.array(bounds, dtype=np.float64)
    except (TypeError, ValueError):
        limits = np.empty(0)
    if limits.shape != (2, p):
        raise ConfigError(
            f"bounds must be (lower, upper) with {p} numbers each for model '{model.name}' ({_list(model.names)})"
        )
    return limits


def _list(names: Any) -> str:
    return ", ".join(names)
