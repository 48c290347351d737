"""How relaxation times depend on q: the laws that `physics.dispersion` fits, with exact derivatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.models import Floats

UM2_PER_ANGSTROM2 = 1e-8
"""Square micrometres in a square angstrom."""
DIFFUSION = ("D", "D_um2")
"""A diffusion coefficient is always given in both units."""
DIFFUSION_UNITS = ("angstrom^2/s", "um^2/s")


@dataclass(frozen=True, kw_only=True)
class Law:
    """One law. With x = ln(q / q0) it is either straight in ln tau, or a sum of powers of q that is the rate 1/tau."""

    name: str
    formula: str
    powers: tuple[int, ...] = ()
    """Powers of q whose coefficients, the parameters u, make the rate; none for the straight laws."""
    exponent: float | None = None
    """Straight laws: ln tau = -u0 - exponent x; None fits the exponent as u1."""
    parameters: tuple[str, ...]
    """What is reported, in these `units`."""
    units: tuple[str, ...]
    test: str = ""
    """The null hypothesis that the last fitted parameter is tested against."""

    @property
    def count(self) -> int:
        """Parameters that are fitted."""
        return len(self.powers) or (2 if self.exponent is None else 1)


class Line(NamedTuple):
    """A law at some u: values over x, shape (n, m), and derivatives by each of the u."""

    value: Floats
    """ln tau."""
    by_u: tuple[Floats, ...]
    slope: Floats
    """d ln tau / d ln q: what an error of q does."""
    slope_by_u: tuple[Floats, ...]


LAWS: Mapping[str, Law] = MappingProxyType(
    {
        law.name: law
        for law in (
            Law(
                name="diffusion",
                formula="tau = 1 / (D q^2)",
                exponent=2.0,
                parameters=DIFFUSION,
                units=DIFFUSION_UNITS,
            ),
            Law(
                name="ballistic",
                formula="tau = 1 / (velocity q)",
                exponent=1.0,
                parameters=("velocity",),
                units=("angstrom/s",),
            ),
            Law(
                name="power",
                formula="tau = amplitude q^-exponent",
                parameters=("amplitude", "exponent"),
                units=("s angstrom^-exponent", "1"),
                test="exponent = 2",
            ),
            Law(
                name="diffusion+constant",
                formula="tau = 1 / (D q^2 + rate)",
                powers=(2, 0),
                parameters=(*DIFFUSION, "rate"),
                units=(*DIFFUSION_UNITS, "1/s"),
                test="rate = 0",
            ),
            Law(
                name="diffusion+flow",
                formula="tau = 1 / (D q^2 + velocity q)",
                powers=(2, 1),
                parameters=(*DIFFUSION, "velocity"),
                units=(*DIFFUSION_UNITS, "angstrom/s"),
                test="velocity = 0",
            ),
        )
    }
)
"""Every law by its name."""


def law_of(name: str) -> Law:
    """Look a law up; raises `ConfigError` that names those there are."""
    if name not in LAWS:
        raise ConfigError(f"law: {name!r} is none of {', '.join(map(repr, LAWS))}")
    return LAWS[name]


def evaluate(law: Law, x: Floats, u: Sequence[Floats]) -> Line:
    """Evaluate a law at x (n, m) with parameters u, each (n, 1); not finite where the rate is not positive."""
    if law.powers:
        return _rate(law.powers, x, u)
    one, none = np.ones_like(x), np.zeros_like(x)
    if law.exponent is not None:
        return Line(-u[0] - law.exponent * x, (-one,), -law.exponent * one, (none,))
    return Line(-u[0] - u[1] * x, (-one, -x), -u[1] * one, (none, -one))


def _rate(powers: tuple[int, ...], x: Floats, u: Sequence[Floats]) -> Line:
    terms = [np.exp(power * x) for power in powers]
    rate = sum((b * term for b, term in zip(u, terms, strict=True)), np.zeros_like(x))
    steep = sum((power * b * term for power, b, term in zip(powers, u, terms, strict=True)), np.zeros_like(x))
    with np.errstate(divide="ignore", invalid="ignore"):
        return Line(
            -np.log(np.where(rate > 0, rate, np.nan)),
            tuple(-term / rate for term in terms),
            -steep / rate,
            tuple(-(power * rate - steep) * term / rate**2 for power, term in zip(powers, terms, strict=True)),
        )


def reported(
    law: Law, u: Sequence[Floats], covariance: Floats, centre: Floats, level: Floats
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Parameters in their units from those of the fit.

    Parameters
    ----------
    u : sequence of array, shape (n,)
        Fitted with x = ln q - centre and ln tau - level.
    covariance : array, shape (n, k, k)
        Of u.

    Returns
    -------
    value, variance : array, shape (n, p)
        The variance is of the logarithm where `logarithmic` says so, shape (p,).
    """
    scale = np.exp(-level)
    if law.powers:
        factors = [scale * np.exp(-power * centre) for power in law.powers]
        values = [b * factor for b, factor in zip(u, factors, strict=True)]
        variances = [covariance[:, k, k] * factor**2 for k, factor in enumerate(factors)]
        small = UM2_PER_ANGSTROM2
        return (
            np.stack([values[0], small * values[0], *values[1:]], axis=-1),
            np.stack([variances[0], small**2 * variances[0], *variances[1:]], axis=-1),
            np.zeros(len(law.parameters), dtype=bool),
        )
    if law.exponent is not None:
        coefficient = np.exp(u[0] - level - law.exponent * centre)
        units = (1.0, UM2_PER_ANGSTROM2) if law.parameters == DIFFUSION else (1.0,)
        variance = np.repeat(covariance[:, :1, 0], len(units), axis=1)
        return np.multiply.outer(coefficient, units), variance, np.ones(len(units), dtype=bool)
    amplitude = np.exp(level - u[0] + u[1] * centre)
    far = covariance[:, 0, 0] - 2.0 * centre * covariance[:, 0, 1] + centre**2 * covariance[:, 1, 1]
    value = np.stack([amplitude, u[1]], axis=-1)
    return value, np.stack([far, covariance[:, 1, 1]], axis=-1), np.array([True, False])
