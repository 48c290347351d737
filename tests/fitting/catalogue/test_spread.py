"""Spreads of rates: against integrals over the distributions, and where their formulas are 0/0."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import gamma, lognorm

from xpcs_dask.fitting.catalogue import spread
from xpcs_dask.fitting.models import MODELS

TAU = Decimal.from_float(0.7)
U = np.array([0.0, 1e-9, 1e-3, 0.1, 0.5, 1.0, 3.0, 8.0])


def of_distribution(density, u):
    """|g1|^2 at delays u, in units of one over the mean rate, of rates with this density; all by quadrature."""
    g1 = [quad(lambda rate, t=t: density(rate) * np.exp(-rate * t), 0, np.inf, epsabs=0, epsrel=1e-11)[0] for t in u]
    return np.array(g1) ** 2


@pytest.mark.parametrize("polydispersity", [0.03, 0.3, 0.9])
def test_schulz_is_a_gamma_distribution_of_rates(polydispersity):
    shape = 1.0 / polydispersity
    expected = of_distribution(gamma(shape, scale=polydispersity).pdf, U)
    np.testing.assert_allclose(MODELS["schulz"].evaluate(U * 2.5, 1.0, 2.5, polydispersity, 0.0), expected, rtol=1e-9)


@pytest.mark.parametrize("polydispersity", [0.0, 1e-40, 1e-12, 1e-6, 0.01, 0.3, 2.25])
def test_schulz_and_its_derivatives_to_the_last_digits(polydispersity):
    """Against 120 digits, with no polydispersity its limit."""
    delays = np.array([0.0, 1e-12, 1e-4, 0.03, 0.2, 1.0, 4.0, 40.0])
    value, by_tau, by_spread = spread._schulz_slopes(delays, 0.7, polydispersity)
    with localcontext() as context:
        context.prec = 120
        for k, t in enumerate(delays):
            u = Decimal(float(t)) / TAU
            s = Decimal(polydispersity) or Decimal("1e-50")
            log = (1 + s * u).ln()
            exact = (-2 * log / s).exp()
            assert value[k] == pytest.approx(float(exact), rel=1e-13)
            assert by_tau[k] == pytest.approx(float(exact * 2 * u / (1 + s * u) / TAU), rel=1e-13)
            assert by_spread[k] == pytest.approx(float(exact * 2 * (log - s * u / (1 + s * u)) / s**2), rel=1e-11)
    assert spread._schulz(delays, 0.7, polydispersity) == pytest.approx(value, rel=1e-14)


def test_cumulants_are_those_of_a_narrow_distribution():
    """The error of n cumulants is of the next order in the width: it falls by its power when that is halved."""
    error = {}
    u = np.array([0.2, 0.5, 1.0])
    for width in (0.1, 0.05):
        rates = lognorm(np.sqrt(np.log1p(width**2)), scale=1 / np.sqrt(1 + width**2))
        exact = of_distribution(rates.pdf, u)
        second, third = rates.var(), rates.moment(3) - 3 * rates.moment(2) + 2
        assert rates.mean() == pytest.approx(1.0)
        error[width] = [
            np.abs(MODELS["cumulant2"].evaluate(u, 1.0, 1.0, second, 0.0) - exact).max(),
            np.abs(MODELS["cumulant3"].evaluate(u, 1.0, 1.0, second, third, 0.0) - exact).max(),
        ]
    ratio = np.array(error[0.1]) / error[0.05]
    assert ratio == pytest.approx(
        [16.0, 16.0], rel=0.15
    )  # both of order width^4: the third cumulant is 3 width^4 + ...
    assert error[0.05][1] < 0.5 * error[0.05][0]


def test_cumulants_end_at_the_baseline():
    far = np.array([1e2, 1e4, 1e100, 1e300])
    for name, shape in (("cumulant2", (1.0,)), ("cumulant3", (1.0, 2.0))):
        with np.errstate(all="raise", under="ignore"):
            assert (MODELS[name].evaluate(far, 0.3, 0.01, *shape, 1.1) == 1.1).all()
            slopes = MODELS[name].jacobian(far, 0.3, 0.01, *shape, 1.1)
        assert (slopes[:, :-1] == 0).all()


def test_without_a_spread_all_are_the_simple_decay():
    delays = np.geomspace(1e-3, 3, 20)
    simple = MODELS["simple"].evaluate(delays, 0.3, 0.2, 1.01)
    for name, shape in (("cumulant2", (0.0,)), ("cumulant3", (0.0, 0.0)), ("schulz", (0.0,))):
        np.testing.assert_allclose(MODELS[name].evaluate(delays, 0.3, 0.2, *shape, 1.01), simple, rtol=1e-14)


def test_no_distribution_has_less_asymmetry_than_the_bound():
    """Two rates, one of them 0, are the extreme: mu3 >= mu2^2 - mu2 for a mean of 1, and -1/4 at most below 0."""
    share = np.linspace(0.01, 0.99, 99)
    rate = 1 / share
    second, third = share * rate**2 - 1, share * rate**3 - 3 * share * rate**2 + 2
    np.testing.assert_allclose(third, second**2 - second, atol=1e-9)
    lowest = MODELS["cumulant3"].parameters[3].lower
    assert third.min() == pytest.approx(lowest, abs=1e-3)
