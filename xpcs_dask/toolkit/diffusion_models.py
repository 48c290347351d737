"""Six decays of g2 of one curve, as functions of the delay, and what is known about their parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DiffusionModels"]

Floats = NDArray[np.float64]
Function = Callable[..., Any]

BASELINE, AMPLITUDE = (0.5, 2.0), (0.0, 2.0)
RATE = (1e-20, 1e20)
"""As wide as rates of any delay are, and their powers: what is fitted starts from the data, not from the bounds."""
TIME = (1e-12, 1e12)


class DiffusionModels:
    """The decays that a diffusion analysis compares: plain functions ``f(tau, *parameters)``.

    All are intensity correlations by the Siegert relation: the factor 2 stands beside the rate, so
    ``diffusion_coefficient`` is the rate of the field, D q^2, in 1/s (in 1/s^alpha where there is an exponent).
    The original has the same functions, but took half of the rate for D q^2.
    """

    @staticmethod
    def simple_diffusion(tau: Floats, baseline: float, amplitude: float, diffusion_coefficient: float) -> Floats:
        """``baseline + amplitude exp(-2 D tau)``: Brownian motion, D its rate D q^2 in 1/s."""
        return baseline + amplitude * np.exp(-2.0 * diffusion_coefficient * tau)

    @staticmethod
    def subdiffusion(
        tau: Floats, baseline: float, amplitude: float, diffusion_coefficient: float, alpha: float
    ) -> Floats:
        """``baseline + amplitude exp(-2 D tau^alpha)``, alpha up to 1: mean-square displacements grow as tau^alpha."""
        return baseline + amplitude * np.exp(-2.0 * diffusion_coefficient * tau**alpha)

    @staticmethod
    def hyperdiffusion(
        tau: Floats, baseline: float, amplitude: float, diffusion_coefficient: float, alpha: float
    ) -> Floats:
        """``baseline + amplitude exp(-2 D tau^alpha)``, alpha from 1 (diffusion) to 2 (ballistic)."""
        return baseline + amplitude * np.exp(-2.0 * diffusion_coefficient * tau**alpha)

    @staticmethod
    def anomalous_diffusion(
        tau: Floats, baseline: float, amplitude: float, diffusion_coefficient: float, alpha: float
    ) -> Floats:
        """``baseline + amplitude exp(-2 D tau^alpha)`` with any alpha."""
        return baseline + amplitude * np.exp(-2.0 * diffusion_coefficient * tau**alpha)

    @staticmethod
    def stretched_exponential(
        tau: Floats, baseline: float, amplitude: float, relaxation_time: float, beta: float
    ) -> Floats:
        """``baseline + amplitude exp(-2 (tau / relaxation_time)^beta)``: Kohlrausch's decay, the time in s."""
        return baseline + amplitude * np.exp(-2.0 * (tau / relaxation_time) ** beta)

    @staticmethod
    def double_exponential(
        tau: Floats, baseline: float, amplitude1: float, rate1: float, amplitude2: float, rate2: float
    ) -> Floats:
        """``baseline + amplitude1 exp(-2 rate1 tau) + amplitude2 exp(-2 rate2 tau)``: two decays of the intensity.

        Right where the two scatter to different pixels; two decays of one field add before they are squared.
        """
        return baseline + amplitude1 * np.exp(-2.0 * rate1 * tau) + amplitude2 * np.exp(-2.0 * rate2 * tau)

    @classmethod
    def get_model_info(cls) -> dict[str, dict[str, Any]]:
        """Return ``function``, ``parameters``, ``bounds`` (one pair a parameter) and ``description`` of each model.

        Simpler models come first: the first of equals is the one that a comparison prefers.
        """
        power = ["baseline", "amplitude", "diffusion_coefficient", "alpha"]
        told: dict[str, tuple[Function, list[str], list[tuple[float, float]], str]] = {
            "simple_diffusion": (cls.simple_diffusion, power[:3], [RATE], "Brownian motion: exp(-2 D tau)"),
            "subdiffusion": (cls.subdiffusion, power, [RATE, (0.1, 1.0)], "hindered motion: exp(-2 D tau^alpha)"),
            "hyperdiffusion": (cls.hyperdiffusion, power, [RATE, (1.0, 2.0)], "driven motion: exp(-2 D tau^alpha)"),
            "anomalous_diffusion": (
                cls.anomalous_diffusion,
                power,
                [RATE, (0.1, 2.0)],
                "any alpha: exp(-2 D tau^alpha)",
            ),
            "stretched_exponential": (
                cls.stretched_exponential,
                ["baseline", "amplitude", "relaxation_time", "beta"],
                [TIME, (0.1, 3.0)],
                "Kohlrausch's decay: exp(-2 (tau/relaxation_time)^beta)",
            ),
            "double_exponential": (
                cls.double_exponential,
                ["baseline", "amplitude1", "rate1", "amplitude2", "rate2"],
                [RATE, AMPLITUDE, RATE],
                "two decays of the intensity; the faster one is the first",
            ),
        }
        return {
            name: {
                "function": function,
                "parameters": list(parameters),
                "bounds": [BASELINE, AMPLITUDE, *bounds],
                "description": description,
            }
            for name, (function, parameters, bounds, description) in told.items()
        }
