"""Functions are fitted as scipy fits them, with a kernel of the package or without, and bounds in any form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import Bounds, curve_fit

from tests.toolkit.diffusion_truth import RATES, curve, delays, truth
from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.derivatives import complex_step
from xpcs_dask.toolkit.diffusion_forms import TWO_DECAYS
from xpcs_dask.toolkit.diffusion_models import DiffusionModels
from xpcs_dask.toolkit.function_fits import box_of, fit_function, usable

INFO = DiffusionModels.get_model_info()
FORMS = {
    "pairs": [(0, 1), (2, 5), (-1, np.inf)],
    "tuple of pairs": ((0, 1), (2, 5), (-1, np.inf)),
    "array of pairs": np.array([(0, 1), (2, 5), (-1, np.inf)]),
    "scipy": ([0, 2, -1], [1, 5, np.inf]),
    "record": Bounds([0, 2, -1], [1, 5, np.inf]),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("count", [3, None])
def test_bounds_in_any_form(form, count):
    low, high = box_of(FORMS[form], count)
    np.testing.assert_array_equal(low, [0, 2, -1])
    np.testing.assert_array_equal(high, [1, 5, np.inf])


def test_two_parameters_a_list_holds_pairs_and_a_tuple_sides():
    np.testing.assert_array_equal(box_of([(0, 1), (2, 5)], 2), [[0, 2], [1, 5]])
    np.testing.assert_array_equal(box_of(([0, 1], [2, 5]), 2), [[0, 1], [2, 5]])
    np.testing.assert_array_equal(box_of((0, np.inf), 2), [[0, 0], [np.inf, np.inf]])
    assert box_of(None, 2) is None


@pytest.mark.parametrize("bounds", [[(0, 1), (2, 3)], ([0, 1], [2, 3, 4]), [(1, 0), (0, 1), (0, 1)], [(0, 1, 2)] * 3])
def test_bounds_that_make_no_sense(bounds):
    with pytest.raises(ConfigError, match="bounds"):
        box_of(bounds, 3)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", INFO)
def test_noise_free_parameters_are_found(name, rate):
    x, p = delays(rate), truth(rate)[name]
    found = fit_function(INFO[name]["function"], x, curve(name, x, p), bounds=INFO[name]["bounds"])
    np.testing.assert_allclose(found.value, p, rtol=1e-10)
    assert found.chi2 < found.rounding


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("name", INFO)
def test_parameters_and_covariance_are_those_of_scipy(name, absolute):
    x, p = delays(20.0), truth(20.0)[name]
    error = 1e-3 * (1 + x / x.max())
    y = curve(name, x, p) + error * np.random.default_rng(4).standard_normal(x.size)
    known, covariance = curve_fit(
        INFO[name]["function"],
        x,
        y,
        p,
        error,
        absolute,
        ftol=1e-15,
        xtol=1e-15,
        gtol=1e-15,
        method="trf",
        x_scale="jac",
    )
    found = fit_function(INFO[name]["function"], x, y, error, bounds=INFO[name]["bounds"], absolute_sigma=absolute)
    np.testing.assert_allclose(found.value, known, rtol=1e-5)
    np.testing.assert_allclose(found.covariance, covariance, rtol=2e-4, atol=1e-5 * np.abs(covariance).min())
    assert found.chi2 == pytest.approx(np.sum(((y - curve(name, x, known)) / error) ** 2), rel=1e-9)


def test_without_errors_the_scatter_counts():
    x, p = delays(3.0), truth(3.0)["simple_diffusion"]
    y = curve("simple_diffusion", x, p) + 1e-3 * np.random.default_rng(1).standard_normal(x.size)
    known, covariance = curve_fit(DiffusionModels.simple_diffusion, x, y, p)
    found = fit_function(DiffusionModels.simple_diffusion, x, y)
    np.testing.assert_allclose(found.value, known, rtol=1e-6)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-4)


def test_bounds_of_a_power_hold():
    """A rate with a free exponent has no box among times and exponents: the function itself is fitted then."""
    x, p = delays(1.0), truth(1.0)["anomalous_diffusion"]
    y = curve("anomalous_diffusion", x, p)
    box = ([0.5, 0, 1.2, 0.1], [2, 2, 9.0, 2])
    known, _ = curve_fit(
        DiffusionModels.anomalous_diffusion, x, y, (1, 0.2, 1.5, 0.9), bounds=box, xtol=1e-14, ftol=1e-14
    )
    found = fit_function(DiffusionModels.anomalous_diffusion, x, y, bounds=box)
    assert known[2] == pytest.approx(1.2, rel=1e-6)
    np.testing.assert_allclose(found.value, known, rtol=1e-5)


def test_bounds_of_a_rate_hold():
    x, p = delays(1.0), truth(1.0)["simple_diffusion"]
    found = fit_function(
        DiffusionModels.simple_diffusion, x, curve("simple_diffusion", x, p), bounds=[(0, 2), (0, 1), (2, 9)]
    )
    assert found.value[2] == pytest.approx(2, rel=1e-9)
    assert np.isnan(found.covariance[2, 2])
    assert np.isfinite(found.covariance[:2, :2]).all()


def test_the_first_decay_is_the_faster_one_unless_bounds_say_otherwise():
    x = delays(1.0)
    p = truth(1.0)["double_exponential"]
    y = curve("double_exponential", x, p)
    turned = [(0.5, 2), (0, 1), (0.01, 1), (0, 1), (1, 100)]
    function = DiffusionModels.double_exponential
    np.testing.assert_allclose(fit_function(function, x, y).value, p, rtol=1e-9)
    np.testing.assert_allclose(
        fit_function(function, x, y, bounds=turned).value, np.array(p)[[0, 3, 4, 1, 2]], rtol=1e-9
    )


def test_the_derivatives_of_two_decays_are_those_of_complex_steps():
    x, theta = delays(1.0), np.array([0.15, 0.2, 0.1, 3.0, 1.0])
    exact = complex_step(TWO_DECAYS, x, theta, np.arange(5))
    np.testing.assert_allclose(TWO_DECAYS.jacobian(x, *theta), exact, rtol=1e-12, atol=1e-300)


def test_points_that_cannot_be_used_are_left_out():
    x, p = delays(1.0), truth(1.0)["simple_diffusion"]
    y, error = curve("simple_diffusion", x, p), np.full(x.size, 0.01)
    y[3], error[5], error[7], x[9], error[11] = np.nan, 0, np.inf, np.nan, -1
    y[[5, 7, 11]] += 9
    assert np.flatnonzero(~usable(x, y, error)).tolist() == [3, 5, 7, 9, 11]
    np.testing.assert_allclose(fit_function(DiffusionModels.simple_diffusion, x, y, error).value, p, rtol=1e-9)


def test_a_function_of_ones_own():
    x = np.linspace(0, 1, 30)
    found = fit_function(lambda t, a, b: a + b * t, x, 2 + 3 * x, np.full(30, 0.1), bounds=[(0, 10), (0, 10)])
    np.testing.assert_allclose(found.value, [2, 3], rtol=1e-10)
    inverse = np.linalg.inv(np.stack([np.ones(30), x]) @ np.stack([np.ones(30), x]).T) * 0.01
    np.testing.assert_allclose(found.covariance, inverse, rtol=1e-6)


def test_too_few_points_raise():
    with pytest.raises(RuntimeError, match="too few points"):
        fit_function(DiffusionModels.simple_diffusion, [1, 2, 3], [1.2, 1.1, 1.0])
