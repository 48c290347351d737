"""The models that are known by name, and how a model is found from what a user gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.catalogue.flow import HETERODYNE, POISEUILLE, SHEAR
from xpcs_dask.fitting.catalogue.kohlrausch import ANOMALOUS, BALLISTIC, DOUBLE, LEVY, SIMPLE, SINGLE
from xpcs_dask.fitting.catalogue.modifiers import MODIFIERS, modified
from xpcs_dask.fitting.catalogue.plateaus import ARRESTED, CONFINED
from xpcs_dask.fitting.catalogue.spread import CUMULANT2, CUMULANT3, SCHULZ
from xpcs_dask.fitting.model_record import Evaluate, Floats, Model, Parameter, signature_of

__all__ = [
    "DOUBLE",
    "MODELS",
    "SIMPLE",
    "SINGLE",
    "Evaluate",
    "Floats",
    "Model",
    "Parameter",
    "by_name",
    "resolve",
    "signature_of",
]

MODELS: Mapping[str, Model] = MappingProxyType(
    {
        m.name: m
        for m in (
            SIMPLE,
            SINGLE,
            DOUBLE,
            CUMULANT2,
            CUMULANT3,
            SCHULZ,
            BALLISTIC,
            LEVY,
            SHEAR,
            POISEUILLE,
            HETERODYNE,
            ANOMALOUS,
            CONFINED,
            ARRESTED,
        )
    }
)
"""Every model by its name."""


def resolve(model: str | Model | Evaluate, *, jac: Evaluate | None = None) -> Model:
    """Record for a name, a record or a callable ``f(x, *parameters)``.

    A name may be followed by modifiers: ``"single+vibration"``, ``"simple+exposure=0.01"`` (s).
    """
    if isinstance(model, Model):
        return model
    if callable(model):
        return Model.from_function(model, jac=jac)
    name, *modifiers = model.split("+")
    if name not in MODELS:
        raise ConfigError(
            f"unknown model '{name}'; known models are {', '.join(MODELS)}, and each of them with {MODIFIERS}"
        )
    found = MODELS[name]
    for modifier in modifiers:
        found = modified(found, modifier)
    return found


def by_name(name: str, parameters: Iterable[object] | None = None) -> Model | None:
    """Record that results with this name of a model were fitted with; None for a function of a user.

    Functions may have the name of a model: `parameters`, the names in the results, tell them apart.
    """
    try:
        found = resolve(name)
    except ConfigError:
        return None
    return found if parameters is None or list(found.names) == [str(one) for one in parameters] else None
