"""What a model is: a frozen record of module-level functions, and how one is made of any function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.errors import ConfigError, UnknownParameterError
from xpcs_dask.readable import card

Floats: TypeAlias = NDArray[np.float64]
Evaluate: TypeAlias = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a model."""

    name: str
    unit: str = "1"
    lower: float = -np.inf
    """Default lower bound; for a relaxation time, times the first delay."""
    upper: float = np.inf
    """Default upper bound; for a relaxation time, times the last delay."""
    relaxation_time: bool = False
    """True: bounds scale with the delays, the fit runs in its logarithm, and outside the delays it means nothing."""
    rate: bool = False
    """True: the lower bound is over the last delay and the upper one over the first."""
    kernel: str = ""
    """What the compiled kernel of the model's family calls it, where that is another name."""
    description: str = ""

    @property
    def bounds(self) -> str:
        """Default bounds, in words."""
        if self.relaxation_time:
            return f"{self.lower:g} times the first delay to {self.upper:g} times the last"
        if self.rate:
            low = f"{self.lower:g} over the last delay" if self.lower else "0"
            return f"{low} to {self.upper:g} over the first delay"
        if self.lower == self.upper:
            return f"held at {self.lower:g} unless bounds are given"
        return f"{self.lower:g} to {self.upper:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What is fitted: ``evaluate(x, *parameters)`` and what is known about its parameters.

    ``family`` names the compiled kernel that can fit the model ("single" or "double"; "" for none), ``held`` the values
    at which parameters of that kernel are held to make this model of it; ``kernel_time`` is what delays are divided by
    before that kernel sees them. ``jacobian(x, *parameters)`` returns ``(m, p)``; without it a complex step is used
    where the model allows it, else finite differences.

    Where a fit starts: ``start(x, y, weight)`` proposes a parameter vector ``(p,)`` or several ``(k, p)``; ``grid(x)``
    proposes shapes ``(k, p)`` of a decay, whatever the data, for which contrast and baseline are solved. The ``starts``
    best of several are descended from: more than one where a model has several minima.
    """

    name: str
    formula: str
    parameters: tuple[Parameter, ...]
    evaluate: Evaluate
    jacobian: Evaluate | None = None
    start: Callable[[Floats, Floats, Floats], Floats] | None = None
    grid: Callable[[Floats], Floats] | None = None
    starts: int = 1
    family: str = ""
    held: tuple[tuple[str, float], ...] = ()
    kernel_time: float = 1.0
    source: str = ""

    def __repr__(self) -> str:
        formula = f": {self.formula}" if self.formula else ""
        return f"<Model {self.name}({', '.join(self.names)}){formula}>"

    def _repr_html_(self) -> str:
        rows = {
            p.name: f"{p.description or 'any number'}; unit {p.unit or 'unknown'}; {p.bounds}" for p in self.parameters
        }
        title = f"{self.name}: {self.formula}" if self.formula else self.name
        return card(title, {**rows, "source": self.source})

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, in order."""
        return tuple(p.name for p in self.parameters)

    @property
    def units(self) -> tuple[str, ...]:
        """Units of the parameters, in order."""
        return tuple(p.unit for p in self.parameters)

    @property
    def of_delays(self) -> bool:
        """Whether the model takes one-dimensional delays, and any shapes of delays and parameters that broadcast."""
        return bool(self.family) or self.grid is not None

    def index(self, name: str) -> int:
        """Position of a parameter; raises `UnknownParameterError` with the known names."""
        try:
            return self.names.index(name)
        except ValueError:
            raise UnknownParameterError(name, self.name, self.names) from None

    def box(
        self,
        x: Floats | None = None,
        bounds: Mapping[str, tuple[float, float]] | None = None,
        fixed: Mapping[str, float] | None = None,
    ) -> tuple[Floats, Floats]:
        """Lower and upper bounds ``(p,)``; a fixed parameter has both equal to its value.

        Defaults never depend on the data, only on the grid `x`: a relaxation time ranges from a tenth of the first
        positive delay to ten times the last one, and a rate likewise.
        """
        lower = np.array([p.lower for p in self.parameters], dtype=np.float64)
        upper = np.array([p.upper for p in self.parameters], dtype=np.float64)
        times = [k for k, p in enumerate(self.parameters) if p.relaxation_time]
        rates = [k for k, p in enumerate(self.parameters) if p.rate]
        if (times or rates) and x is not None:
            grid = np.asarray(x, dtype=np.float64)
            grid = grid[np.isfinite(grid) & (grid > 0)]
            if grid.size:
                lower[times] *= grid.min()
                upper[times] *= grid.max()
                lower[rates] /= grid.max()
                upper[rates] /= grid.min()
        for name, (low, high) in (bounds or {}).items():
            k = self.index(name)
            if not low < high:
                raise ConfigError(
                    f"bounds of '{name}' are crossed or empty: ({low:g}, {high:g}); "
                    "the lower one must be below the upper one (hold a value with fixed=)"
                )
            if self.parameters[k].relaxation_time and low <= 0:
                raise ConfigError(f"the lower bound of '{name}' is {low:g} s; a relaxation time must stay above 0")
            lower[k], upper[k] = low, high
        for name, value in (fixed or {}).items():
            k = self.index(name)
            if not np.isfinite(value):
                raise ConfigError(f"'{name}' is fixed at {value}, which is not a finite number")
            if self.parameters[k].relaxation_time and value <= 0:
                raise ConfigError(f"'{name}' is fixed at {value:g} s; a relaxation time must be above 0")
            if name in (bounds or {}) and not lower[k] <= value <= upper[k]:
                raise ConfigError(
                    f"'{name}' is fixed at {value:g}, outside its bounds ({lower[k]:g}, {upper[k]:g}); "
                    "change fixed= or leave it out of bounds="
                )
            lower[k] = upper[k] = value
        return lower, upper

    @classmethod
    def from_function(
        cls,
        function: Evaluate,
        parameters: Sequence[str | Parameter] | None = None,
        *,
        jac: Evaluate | None = None,
        start: Callable[[Floats, Floats, Floats], Floats] | None = None,
        name: str | None = None,
    ) -> Model:
        """Record of any callable ``f(x, *parameters)``; names are read from its signature unless given.

        Parameters are the positional arguments after x; keyword-only ones keep their defaults, which is also how
        `functools.partial` binds a value.
        """
        if parameters is None:
            parameters = _argument_names(function)
        records = tuple(p if isinstance(p, Parameter) else Parameter(name=p) for p in parameters)
        names = [p.name for p in records]
        if len(set(names)) < len(names):
            twice = next(n for n in names if names.count(n) > 1)
            raise ConfigError(f"the model has two parameters named '{twice}' in {', '.join(names)}; names must differ")
        return cls(
            name=name or str(getattr(function, "__name__", "user")),
            formula=f"user function {getattr(function, '__name__', repr(function))}",
            parameters=records,
            evaluate=function,
            jacobian=jac,
            start=start,
        )


def _argument_names(function: Evaluate) -> list[str]:
    """Names of the positional arguments after the first one."""
    arguments = signature_of(function)
    names = [a.name for a in arguments if a.kind in (a.POSITIONAL_ONLY, a.POSITIONAL_OR_KEYWORD)][1:]
    needed = [a.name for a in arguments if a.kind is a.KEYWORD_ONLY and a.default is a.empty]
    if needed:
        raise ConfigError(
            f"the model's argument '{needed[0]}' can only be given by keyword and has no default; models are called "
            "f(x, *parameters), so make it positional or give it a value"
        )
    if any(a.kind is a.VAR_POSITIONAL for a in arguments) or not names:
        raise ConfigError("the model's parameters cannot be read from its signature; pass parameters=[names]")
    return names


def signature_of(function: Evaluate) -> list[inspect.Parameter]:
    """Arguments of a callable; empty where it does not tell (a ufunc, some compiled functions)."""
    if isinstance(function, np.ufunc):
        return []
    try:
        return list(inspect.signature(getattr(function, "py_func", function)).parameters.values())
    except (TypeError, ValueError):
        return []
