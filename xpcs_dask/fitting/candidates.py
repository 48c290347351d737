"""Models that are compared: each with what is held, and which of them is a special case of which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.models import Evaluate, Floats, Model, resolve

Given: TypeAlias = str | Model | Evaluate | tuple[str | Model | Evaluate, Mapping[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model with some parameters held."""

    model: Model
    fixed: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the model, with what is held."""
        told = ", ".join(f"{name}={value:g}" for name, value in self.fixed.items())
        return f"{self.model.name}({told})" if told else self.model.name

    @property
    def held(self) -> dict[str, float]:
        """Everything that is held, also by the record of the model: simple is single with a stretch of 1."""
        return {**dict(self.model.held), **{self.known_as(name): value for name, value in self.fixed.items()}}

    @property
    def all_known_as(self) -> dict[str, str]:
        """Names of the parameters in the family of the model, with their own."""
        return {p.kernel or p.name: p.name for p in self.model.parameters}

    def known_as(self, name: str) -> str:
        """Name of a parameter in the family of the model."""
        return next(known for known, own in self.all_known_as.items() if own == name)

    @property
    def origin(self) -> Any:
        """What two candidates share that differ in nothing but what is held."""
        return self.model.family or self.model.evaluate


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A candidate that is a special case of another."""

    small: int
    large: int
    """Positions among the candidates."""
    null: Mapping[str, float] = field(default_factory=dict)
    """Values of parameters of the larger model that make it the smaller one; empty where no such point is regular: two
    decays of which one has no share have a relaxation time that means nothing."""


def candidates(given: Sequence[Given]) -> tuple[Candidate, ...]:
    """Return records of what is compared.

    Raises
    ------
    ConfigError
        For fewer than two models, two of the same name, or a held parameter that a model does not have.
    """
    if isinstance(given, str) or len(given) < 2:
        raise ConfigError(f"models: {given!r} leaves nothing to compare; give two models or more")
    found = []
    for one in given:
        model, fixed = one if isinstance(one, tuple) else (one, {})
        record = resolve(model)
        for name in fixed:
            record.index(name)
        found.append(Candidate(model=record, fixed=dict(fixed)))
    names = [one.name for one in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"models: {', '.join(twice)} is given more than once")
    return tuple(found)


def nested(models: Sequence[Candidate], boxes: Sequence[tuple[Floats, Floats]]) -> tuple[Pair, ...]:
    """Pairs of which one is a special case of the other, inside the box (lower, upper) of that one."""
    found = []
    for i, small in enumerate(models):
        for j, large in enumerate(models):
            null = _null(small, large)
            if null is not None and _inside(null, large, *boxes[j]) and _free(*boxes[i]) < _free(*boxes[j]):
                found.append(Pair(small=i, large=j, null=null))
    return tuple(found)


def _null(small: Candidate, large: Candidate) -> dict[str, float] | None:
    """Values that make `large` the same as `small`; None where nothing does."""
    common = all(small.held.get(name) == value for name, value in large.held.items())
    if small.origin == large.origin:
        more = {name: value for name, value in small.held.items() if name not in large.held}
        own = large.all_known_as
        return {own[name]: value for name, value in more.items()} if common and more and set(more) <= set(own) else None
    one_of_two = (small.origin, large.origin) == ("single", "double")
    return {} if one_of_two and common else None


def _inside(null: Mapping[str, float], large: Candidate, lower: Floats, upper: Floats) -> bool:
    places = [(large.model.index(name), value) for name, value in null.items()]
    return all(lower[k] <= value <= upper[k] for k, value in places)


def _free(lower: Floats, upper: Floats) -> int:
    return int((lower < upper).sum())
