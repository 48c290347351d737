"""Samples whose particles do not go far: g2 that decays to a plateau above the baseline of an ergodic one."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpcs_dask.fitting.catalogue.siegert import CONTRAST, HELD_BASELINE, Grid, Siegert, SiegertSlopes, stretch, tau
from xpcs_dask.fitting.model_record import Model, Parameter


def _fall(x: Any, tau: Any, stretch: Any) -> tuple[Any, Any, Any]:
    """exp(-(x/tau)^stretch) and its derivatives."""
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.log(x / tau)
        power = np.exp(stretch * log)
        fall = np.exp(-power)
        slope = fall * power
        return fall, slope * stretch / tau, -np.where(slope != 0, slope * log, 0.0)


def _arrested(x: Any, tau: Any, stretch: Any, plateau: Any) -> Any:
    return (plateau + (1.0 - plateau) * np.exp(-((x / tau) ** stretch))) ** 2


def _arrested_slopes(x: Any, tau: Any, stretch: Any, plateau: Any) -> tuple[Any, ...]:
    fall, by_tau, by_stretch = _fall(x, tau, stretch)
    g1 = plateau + (1.0 - plateau) * fall
    outer = 2.0 * g1 * (1.0 - plateau)
    return g1**2, outer * by_tau, outer * by_stretch, 2.0 * g1 * (1.0 - fall)


def _confined(x: Any, tau: Any, stretch: Any, depth: Any) -> Any:
    return np.exp(depth * np.expm1(-((x / tau) ** stretch)))


def _confined_slopes(x: Any, tau: Any, stretch: Any, depth: Any) -> tuple[Any, ...]:
    fall, by_tau, by_stretch = _fall(x, tau, stretch)
    decay = np.exp(-depth * (1.0 - fall))
    return decay, decay * depth * by_tau, decay * depth * by_stretch, -decay * (1.0 - fall)


ARRESTED = Model(
    name="arrested",
    formula="baseline + contrast * (plateau + (1 - plateau) * exp(-(t / tau)**stretch))**2",
    parameters=(
        CONTRAST,
        tau(what="relaxation time of what relaxes of g1"),
        stretch(),
        Parameter(name="plateau", lower=0.0, upper=1.0, description="g1 at infinite delay (non-ergodicity factor)"),
        HELD_BASELINE,
    ),
    evaluate=Siegert(_arrested),
    jacobian=SiegertSlopes(_arrested_slopes),
    grid=Grid(((0.5, 1.0, 1.7), (0.0, 0.2, 0.4, 0.6, 0.8, 0.95))),
    source="P. N. Pusey and W. van Megen, Physica A 157, 705 (1989)",
)

CONFINED = Model(
    name="confined",
    formula="baseline + contrast * exp(-depth * (1 - exp(-(t / tau)**stretch)))",
    parameters=(
        CONTRAST,
        tau(what="time to explore the cage"),
        stretch(what="exponent of the approach to the plateau", lower=0.2, upper=1.0),
        Parameter(
            name="depth",
            lower=0.0,
            upper=20.0,
            description="q^2 delta^2 / 3, delta^2 the plateau of the mean-square displacement",
        ),
        HELD_BASELINE,
    ),
    evaluate=Siegert(_confined),
    jacobian=SiegertSlopes(_confined_slopes),
    grid=Grid(((0.4, 0.8), (0.05, 0.3, 1.0, 2.0, 4.0, 8.0))),
    source="A. H. Krall and D. A. Weitz, Phys. Rev. Lett. 80, 778 (1998)",
)
