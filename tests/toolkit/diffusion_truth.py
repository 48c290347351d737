"""Noise-free decays of the six diffusion models with known parameters, written without the package."""

from __future__ import annotations

import numpy as np

RATES = (1e-3, 1.0, 1e3, 1e6)
Q = 3e-3


def delays(rate, m=60):
    """From a thousandth of the decay to ten times it."""
    return np.geomspace(1e-3, 10, m) / rate


def truth(rate):
    """Parameters of each model, whose decay happens at 1/rate."""
    return {
        "simple_diffusion": (1.0, 0.2, rate),
        "subdiffusion": (1.01, 0.2, rate**0.6, 0.6),
        "hyperdiffusion": (0.99, 0.3, rate**1.4, 1.4),
        "anomalous_diffusion": (1.0, 0.25, rate**0.8, 0.8),
        "stretched_exponential": (1.0, 0.3, 1 / rate, 0.7),
        "double_exponential": (1.0, 0.15, 5 * rate, 0.1, rate / 3),
    }


def curve(name, x, p):
    """g2 by its definition."""
    if name == "double_exponential":
        return p[0] + p[1] * np.exp(-2 * p[2] * x) + p[3] * np.exp(-2 * p[4] * x)
    if name == "stretched_exponential":
        return p[0] + p[1] * np.exp(-2 * (x / p[2]) ** p[3])
    return p[0] + p[1] * np.exp(-2 * p[2] * x ** (p[3] if len(p) > 3 else 1))


def coefficient(name, p):
    """D of the field: |g1|^2 = exp(-2 D q^2 t)."""
    return (1 / p[2] if name == "stretched_exponential" else p[2]) / Q**2
