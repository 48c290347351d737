"""Flow: against averages over the velocities, by quadrature and with many digits."""

from __future__ import annotations

from decimal import Decimal, localcontext
from itertools import count

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import erf

from xpcs_dask.fitting.catalogue import flow
from xpcs_dask.fitting.models import MODELS

DELAY = np.array([0.0, 1e-6, 1e-3, 0.02, 0.1, 0.35, 1.0])
DIFFUSION = np.exp(-2 * DELAY / 0.6)


def average(phase, density):
    """|mean of exp(i phase(s))|^2 of velocities that depend on s between 0 and 1, of this density."""
    real, imaginary = (
        quad(lambda s, part=part: part(phase(s)) * density(s), 0, 1, epsabs=1e-13, epsrel=1e-12, limit=400)[0]
        for part in (np.cos, np.sin)
    )
    return real**2 + imaginary**2


@pytest.mark.parametrize("rate", [0.0, 1.0, 40.0])
def test_shear_is_an_average_over_equal_shares_of_velocities(rate):
    expected = [d * average(lambda s, t=t: rate * t * s, lambda s: 1.0) for t, d in zip(DELAY, DIFFUSION, strict=True)]
    np.testing.assert_allclose(MODELS["shear"].evaluate(DELAY, 1.0, 0.6, rate, 0.0), expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("rate", [0.0, 1.0, 40.0])
def test_poiseuille_is_an_average_over_the_parabola_across_the_capillary(rate):
    """The beam crosses the capillary through its axis; at s of the radius the velocity is 1 - s^2 of that there."""
    expected = [
        d * average(lambda s, t=t: rate * t * (1 - s**2), lambda s: 1.0) for t, d in zip(DELAY, DIFFUSION, strict=True)
    ]
    found = MODELS["poiseuille"].evaluate(DELAY, 1.0, 0.6, rate, 0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("phase", [0.5, 0.999, 1.0, 1.001, 7.0, 300.0])
def test_poiseuille_is_the_published_formula(phase):
    """pi^2 / (16 x) |erf(sqrt(4 i x / pi))|^2 with x = pi/4 rate t."""
    x = np.pi / 4 * phase
    expected = np.pi**2 / (16 * x) * np.abs(erf(np.sqrt(4j * x / np.pi))) ** 2
    assert flow._parabola(np.array([phase]))[0][0] == pytest.approx(expected, rel=1e-12)


def series(term):
    """Sum of terms that fall faster than any power, to the precision of the context."""
    total = Decimal(0)
    for n in count():
        one = term(n)
        total += one
        if n > 400 or (n > 3 and abs(one) < Decimal(10) ** -70):
            return total
    return total


def factorial(n):
    return Decimal(1) if n < 2 else n * factorial(n - 1)


def parabola(p):
    """|integral of exp(-i p s^2)|^2, s from 0 to 1, and its derivative, by power series with 80 digits."""
    part = {}
    for k, name in enumerate(("real", "imaginary")):
        part[name] = series(lambda n, k=k: (-1) ** n * p ** (2 * n + k) / factorial(2 * n + k) / (4 * n + 2 * k + 1))
        part[name + "'"] = series(
            lambda n, k=k: (
                Decimal(0)
                if 2 * n + k == 0
                else (-1) ** n * p ** (2 * n + k - 1) / factorial(2 * n + k - 1) / (4 * n + 2 * k + 1)
            )
        )
    value = part["real"] ** 2 + part["imaginary"] ** 2
    return value, 2 * (part["real"] * part["real'"] + part["imaginary"] * part["imaginary'"])


@pytest.mark.parametrize("phase", [1e-150, 1e-8, 1e-3, 0.3, 0.999, 1.0, 1.001, 7.0, 15.0])
def test_the_parabola_and_its_slope_to_the_last_digits(phase):
    with localcontext() as context:
        context.prec = 100
        expected = [float(v) for v in parabola(Decimal(phase))]
    value, slope = flow._parabola(np.array([phase]))
    assert value[0] == pytest.approx(expected[0], rel=1e-13)
    assert slope[0] == pytest.approx(expected[1], rel=1e-12)


@pytest.mark.parametrize("y", [0.0, 1e-150, 1e-9, 0.01, 0.0999, 0.1, 0.1001, 3.0, 20.0])
def test_sinc_and_its_slope_where_they_are_nothing_over_nothing(y):
    with localcontext() as context:
        context.prec = 100
        z = Decimal(y)
        exact = float(series(lambda n: (-1) ** n * z ** (2 * n) / factorial(2 * n + 1)) if y else 1)
        slope = float(
            series(lambda n: (-1) ** (n + 1) * (2 * n + 2) * z ** (2 * n + 1) / factorial(2 * n + 3)) if y else 0
        )
    value, found = flow._sinc(np.array([y]))
    assert value[0] == pytest.approx(exact, rel=1e-14)
    assert found[0] == pytest.approx(slope, rel=1e-12, abs=1e-300)


@pytest.mark.parametrize("static", [0.0, 0.3, 1.0])
def test_heterodyne_is_the_interference_with_a_reference(static):
    """The normalised correlation of the field of both: g1 of the reference is 1, that of the others turns."""
    tau, rate = 0.6, 25.0
    field = static + (1 - static) * np.exp(-DELAY / tau + 1j * rate * DELAY)
    found = MODELS["heterodyne"].evaluate(DELAY, 0.2, tau, rate, static, 1.01)
    np.testing.assert_allclose(found, 1.01 + 0.2 * np.abs(field) ** 2, rtol=1e-13)


def test_half_of_the_shear_decay_is_where_it_should_be():
    """sinc^2 is a half at 1.39156."""
    found = MODELS["shear"].evaluate(np.array([2 * 1.391557]), 1.0, 1e12, 1.0, 0.0)
    assert found[0] == pytest.approx(0.5, abs=1e-6)
