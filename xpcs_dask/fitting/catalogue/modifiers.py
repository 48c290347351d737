"""What an instrument does to g2 of any model: vibration, and frames that average over their exposure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.catalogue.periodogram import VibrationStart, frequencies
from xpcs_dask.fitting.model_record import Evaluate, Floats, Model, Parameter

MODIFIERS = "+vibration, or +exposure= with seconds"
"""What may follow the name of a model."""
NODES = 32
"""Nodes of the Gauss-Legendre rule on each side of a delay."""
CROWDING = 4
"""Power that crowds the nodes towards short times, where a decay may be steep."""


def with_vibration(model: Model) -> Model:
    """Return the model whose decay is multiplied by ``1 + amplitude * cos(2 pi frequency t)``.

    Parameters ``amplitude`` and ``frequency`` (Hz) come last; ``contrast`` stays that of the model, so that g2 at no
    delay is ``baseline + contrast * (1 + amplitude)``. A known frequency is held with ``fixed={"frequency": 60}``.

    Raises
    ------
    ConfigError
        If the model has no contrast and baseline, or vibrates already.
    """
    _check(model, "vibration")
    if "frequency" in model.names:
        raise ConfigError(f"model '{model.name}' has a vibration already")
    return Model(
        name=f"{model.name}+vibration",
        formula=f"{model.formula}, its decay (g2 - baseline) times 1 + amplitude * cos(2 * pi * frequency * t)",
        parameters=(
            *model.parameters,
            Parameter(name="amplitude", lower=0.0, upper=1.0, description="share of the decay that oscillates"),
            Parameter(name="frequency", unit="Hz", lower=0.25, upper=0.5, rate=True, description="of the vibration"),
        ),
        evaluate=Vibrating(model.evaluate, model.index("baseline")),
        jacobian=None if model.jacobian is None else VibratingSlopes(model),
        grid=model.grid and VibratingGrid(model.grid),
        start=VibrationStart(model),
        starts=4,
        source=model.source,
    )


def frame_averaged(model: Model, exposure: float) -> Model:
    r"""Return the model as frames see it that each average over `exposure` s.

    g2 at a delay t is the mean of g2 over :math:`|t + u|` with the triangular weight of two exposures,
    :math:`(1 - |u|/T)/T` for u between -T and T [1]_. It matters for decays not much slower than the exposure; the
    contrast is then that of an infinitely short one.

    Parameters
    ----------
    model : Model
        A record that takes delays in s.
    exposure : float
        s.

    Raises
    ------
    ConfigError
        If the exposure is not above 0, or the model has no contrast and baseline.

    References
    ----------
    .. [1] R. Bandyopadhyay et al., Rev. Sci. Instrum. 76, 093110 (2005).
    """
    _check(model, "exposure")
    if not 0 < exposure < np.inf:
        raise ConfigError(f"exposure is {exposure:g} s; it must be above 0 and finite")
    return replace(
        model,
        name=f"{model.name}+exposure={exposure!r}",
        formula=f"mean over exposures of {exposure:g} s of {model.formula}",
        evaluate=Averaged(model.evaluate, exposure),
        jacobian=None if model.jacobian is None else Averaged(model.jacobian, exposure, columns=True),
        family="",
        held=(),
        kernel_time=1.0,
    )


def modified(model: Model, modifier: str) -> Model:
    """Return the model with a modifier such as ``"vibration"`` or ``"exposure=0.01"``; raises `ConfigError`."""
    name, equals, value = modifier.partition("=")
    if name == "vibration" and not equals:
        return with_vibration(model)
    if name == "exposure" and (exposure := _number(value)) is not None:
        return frame_averaged(model, exposure)
    raise ConfigError(f"'+{modifier}' says nothing of model '{model.name}'; give {MODIFIERS}")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _check(model: Model, what: str) -> None:
    if not model.of_delays or not {"contrast", "baseline"} <= set(model.names):
        raise ConfigError(f"+{what}: model '{model.name}' is no decay between a contrast and a baseline over delays")


@dataclass(frozen=True, slots=True)
class VibratingGrid:
    """Shapes of a model, with a vibration that is hardly there."""

    grid: Callable[[Floats], Floats]

    def __call__(self, x: Floats) -> Floats:
        """Return shapes (k, p) for delays."""
        shapes, tried = self.grid(x), frequencies(x)
        return np.hstack([shapes, np.broadcast_to([0.01, tried[tried.size // 2]], (len(shapes), 2))])


@dataclass(frozen=True, slots=True)
class Vibrating:
    """Values of a model whose decay is modulated."""

    evaluate: Evaluate
    baseline: int

    def __call__(self, x: Any, *parameters: Any) -> Any:
        """Evaluate at delays."""
        *own, amplitude, frequency = parameters
        level = own[self.baseline]
        return level + (self.evaluate(x, *own) - level) * (1.0 + amplitude * np.cos(2.0 * np.pi * frequency * x))


@dataclass(frozen=True, slots=True)
class VibratingSlopes:
    """Derivatives ``(..., m, p)`` of a model whose decay is modulated."""

    model: Model

    def __call__(self, x: Any, *parameters: Any) -> Floats:
        """Evaluate at delays."""
        *own, amplitude, frequency = parameters
        at = self.model.index("baseline")
        assert self.model.jacobian is not None
        columns = np.moveaxis(np.asarray(self.model.jacobian(x, *own)), -1, 0)
        decay = self.model.evaluate(x, *own) - own[at]
        wave = np.cos(2.0 * np.pi * frequency * x)
        found = [column * (1.0 + amplitude * wave) for column in columns]
        found[at] = np.ones_like(decay)
        found.append(decay * wave)
        found.append(-2.0 * np.pi * decay * amplitude * x * np.sin(2.0 * np.pi * frequency * x))
        return np.stack(np.broadcast_arrays(*found), axis=-1)


@dataclass(frozen=True, slots=True)
class Averaged:
    """A function of delays ``(..., m)``, or its columns ``(..., m, p)``, averaged over the exposures of two frames."""

    function: Evaluate
    exposure: float
    columns: bool = False

    def __call__(self, x: Any, *parameters: Any) -> Any:
        """Evaluate at delays."""
        delays = np.asarray(x, dtype=np.float64)
        times, weight = triangle(delays, self.exposure)
        count = times.shape[-1]
        flat = times.reshape(*delays.shape[:-1], -1)
        values = np.asarray(self.function(flat, *parameters))
        if self.columns:
            values = values.reshape(*values.shape[:-2], -1, count, values.shape[-1])
            return np.einsum("...kp,...k->...p", values, weight)
        values = values.reshape(*values.shape[:-1], -1, count)
        return np.einsum("...k,...k->...", values, weight)


def triangle(delays: Floats, exposure: float) -> tuple[Floats, Floats]:
    """Return times ``(..., m, k)`` and weights of the mean over |t + u| with a triangle from -exposure to exposure."""
    node, share = np.polynomial.legendre.leggauss(NODES)
    unit = 0.5 * (node + 1.0)
    place, jacobian = unit**CROWDING, 0.5 * share * CROWDING * unit ** (CROWDING - 1)
    t = delays[..., None]
    # Between these, in time, the weight is a straight line: nothing crosses the top of the triangle or time zero.
    edges = [np.maximum(t - exposure, 0.0), t, t + exposure]
    times, weights = [], []
    for low, high in pairwise(edges):
        at = low + (high - low) * place
        height = np.maximum(exposure - np.abs(at - t), 0.0) / exposure**2
        times.append(at)
        weights.append((high - low) * jacobian * height)
    # What lies before time zero folds over.
    far = np.maximum(exposure - t, 0.0)
    at = far * place
    times.append(at)
    weights.append(far * jacobian * np.maximum(exposure - t - at, 0.0) / exposure**2)
    return np.concatenate(times, axis=-1), np.concatenate(weights, axis=-1)
