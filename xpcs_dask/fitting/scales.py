r"""Natural scale of a parameter: the one on which its estimates scatter about symmetrically.

The logarithm for relaxation times, the logit :math:`\ln f/(1-f)` for a share `fraction` between 0 and 1, the value
itself for all others. Intervals are made on this scale and carried back, so that they never leave what the parameter
can be, and mean the same for a time and for its rate.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from xpcs_dask.fitting.models import Floats, Model, Parameter


class Scale(IntEnum):
    """What a parameter is transformed by."""

    IDENTITY = 0
    LOG = 1
    LOGIT = 2


def natural_scales(model: Model) -> tuple[Scale, ...]:
    """Scale of each parameter: logarithm of a relaxation time, logit of a `fraction` that may range from 0 to 1."""
    return tuple(_scale(p) for p in model.parameters)


def _scale(parameter: Parameter) -> Scale:
    if parameter.relaxation_time:
        return Scale.LOG
    share = parameter.name == "fraction" and (parameter.lower, parameter.upper) == (0.0, 1.0)
    return Scale.LOGIT if share else Scale.IDENTITY


def forward(value: Floats, scales: tuple[Scale, ...]) -> Floats:
    """Parameters ``(…, p)`` on their natural scales; infinite at the ends of these, NaN beyond."""
    found = np.array(value, dtype=np.float64)
    for k, scale in enumerate(scales):
        if scale != Scale.IDENTITY:
            found[..., k] = naturally(found[..., k], scale)
    return found


def naturally(values: Floats, scale: Scale) -> Floats:
    """Values of one parameter, of any shape, on its natural scale."""
    whole = np.array(values, order="C")  # contiguous: the same instructions whatever the neighbours
    with np.errstate(divide="ignore", invalid="ignore"):
        if scale == Scale.LOGIT:
            return np.asarray(np.log(whole) - np.log1p(-whole))
        return np.log(whole) if scale == Scale.LOG else whole


def back(natural: Floats, scales: tuple[Scale, ...]) -> Floats:
    """Parameters ``(…, p)`` from their natural scales."""
    found = np.array(natural, dtype=np.float64)
    with np.errstate(over="ignore"):
        for k, scale in enumerate(scales):
            if scale == Scale.LOG:
                found[..., k] = np.exp(found[..., k].copy())
            elif scale == Scale.LOGIT:
                found[..., k] = 1.0 / (1.0 + np.exp(-found[..., k].copy()))
    return found


def slope(value: Floats, scales: tuple[Scale, ...]) -> Floats:
    """Return the derivative of the natural scale ``(…, p)``: standard errors times it are those there."""
    found = np.ones(np.shape(value))
    with np.errstate(divide="ignore"):
        for k, scale in enumerate(scales):
            if scale == Scale.LOG:
                found[..., k] = 1.0 / value[..., k]
            elif scale == Scale.LOGIT:
                found[..., k] = 1.0 / (value[..., k] * (1.0 - value[..., k]))
    return found
