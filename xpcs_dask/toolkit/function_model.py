"""A function of the Toolkit's kind as one of the package's models: compiled where it is one of these, else itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.models import DOUBLE, SIMPLE, SINGLE, Floats, Model, Parameter
from xpcs_dask.fitting.problem import Problem, choose
from xpcs_dask.toolkit.models import double_exp_all, single_exp, single_exp_all

Function = Callable[..., Any]

COMPILED: Mapping[Function, tuple[Model, tuple[int, ...]]] = MappingProxyType(
    {
        single_exp: (SIMPLE, (1, 2, 0)),
        single_exp_all: (SINGLE, (0, 1, 2, 3)),
        double_exp_all: (DOUBLE, (0, 1, 2, 3, 4, 5, 6)),
    }
)
"""Functions that kernels fit, and where their parameters are in the model."""


@dataclass(frozen=True, slots=True, eq=False)
class FunctionModel:
    """A model, and where in it the parameters of the function are."""

    record: Model
    order: NDArray[np.intp]
    """(p,) parameter k of the function is parameter ``order[k]`` of the record."""
    lower: Floats
    upper: Floats
    """(p,) box in the order of the record; equal where a parameter is held."""

    @property
    def compiled(self) -> bool:
        """Whether a kernel fits it."""
        return bool(self.record.family)

    def outward(self, values: Floats) -> Floats:
        """Parameters (…, p) of the record, in the order of the function."""
        return values[..., self.order]

    def inward(self, values: ArrayLike) -> Floats:
        """Parameters (…, p) of the function, in the order of the record."""
        given = np.asarray(values, dtype=np.float64)
        found = np.empty_like(given)
        found[..., self.order] = given
        return found

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Bounds by name of what is free, as `fit_curves` takes them."""
        return {
            name: (float(low), float(high))
            for name, low, high in zip(self.record.names, self.lower, self.upper, strict=True)
            if low < high
        }

    @property
    def fixed(self) -> dict[str, float]:
        """Values by name of what is held."""
        sides = zip(self.record.names, self.lower, self.upper, strict=True)
        return {name: float(low) for name, low, high in sides if not low < high}


def as_model(
    func: Function, bounds: Any = None, count: int | None = None, jac: Function | None = None
) -> FunctionModel:
    """Return the model of a function.

    Parameters
    ----------
    func : callable
        ``func(x, *parameters)``.
    bounds : (lower, upper) or scipy.optimize.Bounds, optional
        Each one number or one a parameter; equal where a parameter is held.
    count : int, optional
        Number of parameters; read from the signature where it is not given.
    jac : callable, optional
        ``jac(x, *parameters)``, shape (m, p).

    Raises
    ------
    ConfigError
        If parameters cannot be counted, or bounds do not fit them or are crossed.
    """
    lower, upper = sides_of(bounds, parameter_count(func) if count is None else count, getattr(func, "__name__", "f"))
    known = _known(func, lower, upper)
    if known is not None:
        record, order = known
        place = np.asarray(order, dtype=np.intp)
        low, high = np.empty_like(lower), np.empty_like(upper)
        low[place], high[place] = lower, upper
        return FunctionModel(record, place, low, high)
    parameters = tuple(
        Parameter(name=f"p{k}", unit="", lower=float(low), upper=float(high))
        for k, (low, high) in enumerate(zip(lower, upper, strict=True))
    )
    name = str(getattr(func, "__name__", "f"))
    record = Model(name=name, formula="", parameters=parameters, evaluate=func, jacobian=jac)
    return FunctionModel(record, np.arange(lower.size), lower, upper)


def jacobian_of(func: Function, x: Any, popt: Floats, bounds: Any = None, jac: Function | None = None) -> Floats:
    """Differentiate a function in its parameters at `popt` (m, q), those on a bound left out."""
    model = as_model(func, bounds, popt.size, jac)
    theta = model.inward(popt)
    free = (model.lower < theta) & (theta < model.upper)
    y = np.asarray(model.record.evaluate(x, *theta), dtype=np.float64)
    problem = Problem(
        x=x, y=y, weight=np.ones_like(y), model=model.record, lower=np.full(popt.size, -np.inf),
        upper=np.full(popt.size, np.inf),
    )  # fmt: skip
    problem = replace(problem, derivative=choose(problem, theta))
    return problem.jacobian(theta)[:, model.order[free[model.order]]]


def parameter_count(func: Function) -> int:
    """Count the parameters behind x, as `scipy.optimize.curve_fit` does."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        named = [p for p in inspect.signature(func).parameters.values() if p.kind in kinds]
    except (TypeError, ValueError):
        named = []
    if len(named) < 2:
        raise ConfigError("the number of parameters cannot be read from the function; give p0")
    return len(named) - 1


def sides_of(bounds: Any, count: int, name: str = "f") -> tuple[Floats, Floats]:
    """Lower and upper bounds (count,) each, from what `scipy.optimize.curve_fit` takes."""
    if bounds is None:
        return np.full(count, -np.inf), np.full(count, np.inf)
    try:
        low, high = (bounds.lb, bounds.ub) if hasattr(bounds, "lb") else bounds
        lower, upper = (np.array(np.broadcast_to(np.asarray(s, dtype=np.float64), (count,))) for s in (low, high))
    except (TypeError, ValueError):
        raise ConfigError(
            f"bounds of '{name}' must be (lower, upper), each one number or {count} of them, one a parameter"
        ) from None
    bad = np.flatnonzero(~(lower <= upper))
    if bad.size:
        k = int(bad[0])
        raise ConfigError(f"bounds of parameter {k} of '{name}' are crossed: ({lower[k]:g}, {upper[k]:g})")
    return lower, upper


def _known(func: Function, lower: Floats, upper: Floats) -> tuple[Model, tuple[int, ...]] | None:
    """Compiled model that the function is, and the order of its parameters there; only in a finite box of times > 0."""
    try:
        record, order = COMPILED[func]
    except (KeyError, TypeError):
        return None
    times = [k for k, place in enumerate(order) if record.parameters[place].relaxation_time]
    sound = np.isfinite(lower).all() and np.isfinite(upper).all() and len(order) == lower.size
    return (record, order) if sound and (lower[times] > 0).all() else None
