r"""What is fitted: a model is data, a frozen record of module-level functions.

Conventions (they differ between tools, so they are part of each record's ``formula``): the Siegert relation
:math:`g_2 = \text{baseline} + \text{contrast}\,|g_1|^2` with :math:`g_1 = \exp[-(t/\tau)^p]`, hence the factor 2 in
:math:`|g_1|^2 = \exp[-2 (t/\tau)^p]`. Delays and relaxation times are in s.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
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
    description: str = ""

    @property
    def bounds(self) -> str:
        """Default bounds, in words."""
        if self.relaxation_time:
            return f"{self.lower:g} times the first delay to {self.upper:g} times the last"
        return f"{self.lower:g} to {self.upper:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What is fitted: ``evaluate(x, *parameters)`` and what is known about its parameters.

    ``family`` names the compiled kernel that can fit the model ("single" or "double"; "" for none) and ``held`` the
    values at which parameters of that kernel are held to make this model of it. ``start(x, y, weight)`` proposes a
    parameter vector. ``jacobian(x, *parameters)`` returns ``(m, p)``; without it a complex step is used where the model
    allows it, else finite differences.
    """

    name: str
    formula: str
    parameters: tuple[Parameter, ...]
    evaluate: Evaluate
    jacobian: Evaluate | None = None
    start: Callable[[Floats, Floats, Floats], Floats] | None = None
    family: str = ""
    held: tuple[tuple[str, float], ...] = ()
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
        positive delay to ten times the last one.
        """
        lower = np.array([p.lower for p in self.parameters], dtype=np.float64)
        upper = np.array([p.upper for p in self.parameters], dtype=np.float64)
        times = [k for k, p in enumerate(self.parameters) if p.relaxation_time]
        if times and x is not None:
            grid = np.asarray(x, dtype=np.float64)
            grid = grid[np.isfinite(grid) & (grid > 0)]
            if grid.size:
                lower[times] *= grid.min()
                upper[times] *= grid.max()
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


def _single(x: Floats, contrast: Any, tau: Any, stretch: Any, baseline: Any) -> Any:
    return baseline + contrast * np.exp(-2.0 * (x / tau) ** stretch)


def _single_jacobian(x: Floats, contrast: float, tau: float, stretch: float, baseline: float) -> Floats:
    with np.errstate(divide="ignore"):
        log = np.log(x / tau)
    power = np.exp(stretch * log)
    decay = np.exp(-2.0 * power)
    slope = 2.0 * contrast * decay * power
    return np.stack([decay, slope * stretch / tau, -np.where(slope != 0, slope * log, 0.0), np.ones_like(x)], axis=-1)


def _simple(x: Floats, contrast: Any, tau: Any, baseline: Any) -> Any:
    return baseline + contrast * np.exp(-2.0 * x / tau)


def _simple_jacobian(x: Floats, contrast: float, tau: float, baseline: float) -> Floats:
    return _single_jacobian(x, contrast, tau, 1.0, baseline)[..., [0, 1, 3]]


def _double(
    x: Floats, contrast: Any, tau1: Any, stretch1: Any, baseline: Any, tau2: Any, stretch2: Any, fraction: Any
) -> Any:
    g1 = fraction * np.exp(-((x / tau1) ** stretch1)) + (1.0 - fraction) * np.exp(-((x / tau2) ** stretch2))
    return baseline + contrast * g1**2


def _double_jacobian(
    x: Floats,
    contrast: float,
    tau1: float,
    stretch1: float,
    baseline: float,
    tau2: float,
    stretch2: float,
    fraction: float,
) -> Floats:
    with np.errstate(divide="ignore"):
        log1, log2 = np.log(x / tau1), np.log(x / tau2)
    power1, power2 = np.exp(stretch1 * log1), np.exp(stretch2 * log2)
    fast, slow = np.exp(-power1), np.exp(-power2)
    g1 = fraction * fast + (1.0 - fraction) * slow
    outer = 2.0 * contrast * g1
    slope1, slope2 = outer * fraction * fast * power1, outer * (1.0 - fraction) * slow * power2
    columns = [
        g1 * g1,
        slope1 * stretch1 / tau1,
        -np.where(slope1 != 0, slope1 * log1, 0.0),
        np.ones_like(x),
        slope2 * stretch2 / tau2,
        -np.where(slope2 != 0, slope2 * log2, 0.0),
        outer * (fast - slow),
    ]
    return np.stack(columns, axis=-1)


CONTRAST = Parameter(name="contrast", lower=0.0, upper=1.0, description="amplitude of the decay (speckle contrast)")
BASELINE = Parameter(name="baseline", lower=0.5, upper=1.5, description="g2 at infinite delay")


def _tau(name: str, what: str) -> Parameter:
    return Parameter(name=name, unit="s", lower=0.1, upper=10.0, relaxation_time=True, description=what)


def _stretch(name: str) -> Parameter:
    return Parameter(name=name, lower=0.1, upper=3.0, description="Kohlrausch exponent of g1")


SIMPLE = Model(
    name="simple",
    formula="baseline + contrast * exp(-2 * t / tau)",
    parameters=(CONTRAST, _tau("tau", "relaxation time of g1"), BASELINE),
    evaluate=_simple,
    jacobian=_simple_jacobian,
    family="single",
    held=(("stretch", 1.0),),
    source="A. J. F. Siegert, MIT Radiation Laboratory Report 465 (1943); "
    "B. J. Berne and R. Pecora, Dynamic Light Scattering (1976)",
)

SINGLE = Model(
    name="single",
    formula="baseline + contrast * exp(-2 * (t / tau)**stretch)",
    parameters=(CONTRAST, _tau("tau", "relaxation time of g1"), _stretch("stretch"), BASELINE),
    evaluate=_single,
    jacobian=_single_jacobian,
    family="single",
    source="G. Williams and D. C. Watts, Trans. Faraday Soc. 66, 80 (1970)",
)

DOUBLE = Model(
    name="double",
    formula="baseline + contrast * (fraction * exp(-(t / tau1)**stretch1) "
    "+ (1 - fraction) * exp(-(t / tau2)**stretch2))**2",
    parameters=(
        CONTRAST,
        _tau("tau1", "relaxation time of the first (faster) component"),
        _stretch("stretch1"),
        BASELINE,
        _tau("tau2", "relaxation time of the second (slower) component"),
        _stretch("stretch2"),
        Parameter(name="fraction", lower=0.0, upper=1.0, description="share of the first component in g1"),
    ),
    evaluate=_double,
    jacobian=_double_jacobian,
    family="double",
    source="B. J. Berne and R. Pecora, Dynamic Light Scattering (1976)",
)

MODELS: Mapping[str, Model] = MappingProxyType({m.name: m for m in (SIMPLE, SINGLE, DOUBLE)})


def resolve(model: str | Model | Evaluate, *, jac: Evaluate | None = None) -> Model:
    """Record for a name, a record or a callable ``f(x, *parameters)``."""
    if isinstance(model, Model):
        return model
    if callable(model):
        return Model.from_function(model, jac=jac)
    try:
        return MODELS[model]
    except KeyError:
        raise ConfigError(f"unknown model '{model}'; known models are {', '.join(MODELS)}") from None
