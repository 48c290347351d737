"""Flow: particles that diffuse and are carried along, at velocities that differ over the beam or from a reference.

``rate`` is always q times a velocity along q, in 1/s.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import comb, factorial
from typing import Any

import numpy as np

from xpcs_dask.fitting.catalogue.siegert import (
    BASELINE,
    CONTRAST,
    HELD_BASELINE,
    Siegert,
    SiegertSlopes,
    tau,
    times_over,
)
from xpcs_dask.fitting.model_record import Floats, Model, Parameter

NEAR = 1.0
"""Phase below which the averages are summed as power series."""
PER_DECADE = 24
"""Rates of a grid of starts."""


def _rate(what: str, upper: float) -> Parameter:
    return Parameter(name="rate", unit="1/s", lower=0.0, upper=upper, rate=True, description=what)


@dataclass(frozen=True, slots=True)
class FlowGrid:
    """Relaxation times, and rates from a phase that the run hardly tells from none to `upper` over the first delay."""

    upper: float
    statics: tuple[float, ...] = ()
    times: int = 10

    def __call__(self, x: Floats) -> Floats:
        """Return shapes (k, p) for delays."""
        times = times_over(x, self.times)
        low, high = 0.5 / times[-1], self.upper / times[0]
        rates = np.geomspace(low, high, max(2, int(PER_DECADE * np.log10(high / low))))
        rows = [(1.0, *shape, 0.0) for shape in product(times, rates, *([self.statics] if self.statics else []))]
        return np.array(rows, dtype=np.float64)


def _sinc(y: Any) -> tuple[Any, Any]:
    """sin(y)/y and its derivative."""
    small = np.abs(y) < 0.1
    near, far = np.where(small, y, 0.0), np.where(small, 1.0, y)
    square = near**2
    value = 1.0 - square / 6.0 * (1.0 - square / 20.0 * (1.0 - square / 42.0 * (1.0 - square / 72.0)))
    slope = -near / 3.0 * (1.0 - square / 10.0 * (1.0 - square / 28.0 * (1.0 - square / 54.0 * (1.0 - square / 88.0))))
    sine = np.sin(far)
    return np.where(small, value, sine / far), np.where(small, slope, (np.cos(far) - sine / far) / far)


def _shear(x: Any, tau: Any, rate: Any) -> Any:
    return np.exp(-2.0 * x / tau) * _sinc(rate * x / 2.0)[0] ** 2


def _shear_slopes(x: Any, tau: Any, rate: Any) -> tuple[Any, ...]:
    fall = np.exp(-2.0 * x / tau)
    sinc, slope = _sinc(rate * x / 2.0)
    decay = fall * sinc**2
    return decay, decay * 2.0 * x / tau**2, fall * sinc * slope * x


def _moment(n: int) -> Fraction:
    """Mean of (s^2 - s'^2)^n, s and s' uniform between 0 and 1."""
    return sum(
        (Fraction((-1) ** j * comb(n, j), (2 * (n - j) + 1) * (2 * j + 1)) for j in range(n + 1)), start=Fraction(0)
    )


_PARABOLA = np.array([float((-1) ** k * _moment(2 * k) / factorial(2 * k)) for k in range(10)][::-1])
"""Coefficients of the average over a parabola in powers of the square of the phase, highest first."""


def _parabola(phase: Any) -> tuple[Any, Any]:
    """|integral of exp(-i phase s^2), s from 0 to 1|^2, and its derivative."""
    from scipy.special import fresnel

    small = np.abs(phase) < NEAR
    square = np.where(small, phase, 0.0) ** 2
    far = np.where(small, NEAR, phase)
    z = np.sqrt(2.0 * far / np.pi)
    sine, cosine = fresnel(z)
    value = (cosine**2 + sine**2) / z**2
    slope = ((cosine * np.cos(far) + sine * np.sin(far)) / z - value) / far
    series = np.polyval(_PARABOLA, square)
    slope_series = 2.0 * np.where(small, phase, 0.0) * np.polyval(np.polyder(_PARABOLA), square)
    return np.where(small, series, value), np.where(small, slope_series, slope)


def _poiseuille(x: Any, tau: Any, rate: Any) -> Any:
    return np.exp(-2.0 * x / tau) * _parabola(rate * x)[0]


def _poiseuille_slopes(x: Any, tau: Any, rate: Any) -> tuple[Any, ...]:
    fall = np.exp(-2.0 * x / tau)
    average, slope = _parabola(rate * x)
    decay = fall * average
    return decay, decay * 2.0 * x / tau**2, fall * slope * x


def _heterodyne(x: Any, tau: Any, rate: Any, static: Any) -> Any:
    g1, moving = np.exp(-x / tau), 1.0 - static
    return static**2 + moving * g1 * (moving * g1 + 2.0 * static * np.cos(rate * x))


def _heterodyne_slopes(x: Any, tau: Any, rate: Any, static: Any) -> tuple[Any, ...]:
    g1, moving, wave = np.exp(-x / tau), 1.0 - static, np.cos(rate * x)
    return (
        static**2 + moving * g1 * (moving * g1 + 2.0 * static * wave),
        2.0 * moving * g1 * (moving * g1 + static * wave) * x / tau**2,
        -2.0 * static * moving * g1 * np.sin(rate * x) * x,
        2.0 * (static - moving * g1**2 + (moving - static) * g1 * wave),
    )


SHEAR = Model(
    name="shear",
    formula="baseline + contrast * exp(-2 * t / tau) * (sin(rate * t / 2) / (rate * t / 2))**2",
    parameters=(CONTRAST, tau(), _rate("q times the spread of the velocities along q over the beam", 10.0), BASELINE),
    evaluate=Siegert(_shear),
    jacobian=SiegertSlopes(_shear_slopes),
    grid=FlowGrid(10.0),
    starts=2,
    source="G. G. Fuller, J. M. Rallison, R. L. Schmidt and L. G. Leal, J. Fluid Mech. 100, 555 (1980); "
    "S. Busch et al., Eur. Phys. J. E 26, 55 (2008)",
)

POISEUILLE = Model(
    name="poiseuille",
    formula="baseline + contrast * exp(-2 * t / tau) * pi / (4 * rate * t) * abs(erf(sqrt(1j * rate * t)))**2",
    parameters=(CONTRAST, tau(), _rate("q times the velocity along q on the axis of the capillary", 10.0), BASELINE),
    evaluate=Siegert(_poiseuille),
    jacobian=SiegertSlopes(_poiseuille_slopes),
    grid=FlowGrid(10.0),
    starts=2,
    source="A. Fluerasu et al., J. Synchrotron Rad. 15, 378 (2008)",
)

HETERODYNE = Model(
    name="heterodyne",
    formula="baseline + contrast * (static**2 + (1 - static)**2 * exp(-2 * t / tau) "
    "+ 2 * static * (1 - static) * exp(-t / tau) * cos(rate * t))",
    parameters=(
        CONTRAST,
        tau(),
        _rate("q times the velocity along q relative to the reference", float(np.pi)),
        Parameter(name="static", lower=0.0, upper=1.0, description="share of the reference in the scattered intensity"),
        HELD_BASELINE,
    ),
    evaluate=Siegert(_heterodyne),
    jacobian=SiegertSlopes(_heterodyne_slopes),
    grid=FlowGrid(float(np.pi), (0.1, 0.3, 0.6, 0.9)),
    starts=4,
    source="C. Gutt et al., Phys. Rev. Lett. 91, 076104 (2003); F. Livet et al., J. Synchrotron Rad. 13, 453 (2006)",
)
