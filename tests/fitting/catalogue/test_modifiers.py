"""Vibration and frame averaging: against double integrals, closed forms and the names that ask for them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy.integrate import dblquad

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.catalogue.modifiers import frame_averaged, triangle, with_vibration
from xpcs_dask.fitting.curves import fit_curves
from xpcs_dask.fitting.models import MODELS, Model, resolve

DELAY = np.geomspace(1e-3, 3, 40)
THETA = {
    "single+vibration": [0.2, 0.1, 0.8, 1.0, 0.3, 7.0],
    "schulz+exposure=0.02": [0.2, 0.1, 0.4, 1.0],
    "heterodyne+exposure=0.001": [0.2, 0.1, 40.0, 0.3, 1.0],
    "simple+vibration+exposure=0.01": [0.2, 0.1, 1.0, 0.3, 7.0],
}


@pytest.mark.parametrize("name", sorted(set(THETA) - {"schulz+exposure=0.02"}))  # NumPy's complex log1p is not exact
def test_derivatives_are_those_of_complex_steps(name):
    model = resolve(name)
    theta = np.array(THETA[name])
    columns = []
    for k in range(theta.size):
        point = list(theta)
        point[k] = complex(theta[k], 1e-30)
        columns.append(np.imag(model.evaluate(DELAY, *point)) / 1e-30)
    expected = np.stack(columns, axis=-1)
    np.testing.assert_allclose(model.jacobian(DELAY, *theta), expected, rtol=1e-9, atol=1e-13 * np.abs(expected).max())


@pytest.mark.parametrize("name", THETA)
def test_derivatives_are_those_of_differences(name):
    model = resolve(name)
    theta = np.array(THETA[name])
    for k in range(theta.size):
        step = 1e-5 * theta[k]
        up, down = theta.copy(), theta.copy()
        up[k] += step
        down[k] -= step
        expected = (model.evaluate(DELAY, *up) - model.evaluate(DELAY, *down)) / (2 * step)
        np.testing.assert_allclose(
            model.jacobian(DELAY, *theta)[:, k], expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max()
        )


def test_vibration_multiplies_the_decay():
    model = resolve("single+vibration")
    found = model.evaluate(DELAY, 0.2, 0.1, 0.8, 1.01, 0.3, 7.0)
    decay = 0.2 * np.exp(-2 * (DELAY / 0.1) ** 0.8)
    np.testing.assert_allclose(found, 1.01 + decay * (1 + 0.3 * np.cos(2 * np.pi * 7.0 * DELAY)), rtol=1e-14)
    assert model.names == ("contrast", "tau", "stretch", "baseline", "amplitude", "frequency")


@pytest.mark.parametrize("delay", [0.0, 0.004, 0.01, 0.015, 0.1])
def test_frame_average_is_the_double_integral_over_two_exposures(delay):
    """The mean over when in each of two frames, `delay` apart, a photon came."""
    exposure, tau = 0.01, 0.02

    def g2(first, second):
        return 1.0 + 0.2 * np.exp(-2 * (abs(delay + second - first) / tau))

    # The kink where both are one moment is an edge of the parts.
    def edge(second):
        return min(max(delay + second, 0.0), exposure)

    parts = [
        dblquad(g2, 0, exposure, 0, edge, epsabs=1e-15, epsrel=1e-10)[0],
        dblquad(g2, 0, exposure, edge, exposure, epsabs=1e-15, epsrel=1e-10)[0],
    ]
    found = frame_averaged(MODELS["simple"], exposure).evaluate(np.array([delay]), 0.2, tau, 1.0)
    assert found[0] == pytest.approx(sum(parts) / exposure**2, rel=1e-9)


@pytest.mark.parametrize("x", [1e-3, 0.1, 1.0, 10.0, 300.0])
def test_contrast_of_long_exposures_is_the_known_factor(x):
    """(exp(-2x) - 1 + 2x) / (2 x^2) of a simple decay, x = exposure / tau."""
    found = frame_averaged(MODELS["simple"], x).evaluate(np.array([0.0]), 1.0, 1.0, 0.0)
    assert found[0] == pytest.approx((np.expm1(-2 * x) + 2 * x) / (2 * x**2), rel=1e-8 if x < 100 else 1e-6)


@pytest.mark.parametrize("stretch", [0.3, 0.7, 1.6])
@pytest.mark.parametrize("tau", [0.02, 1.0])
def test_frame_average_of_a_cusp(stretch, tau):
    """A stretched decay has a cusp at no delay; by brute force, substituted so that the cusp is gone."""
    exposure, delays = 1.0, np.array([0.0, 0.5, 1.0, 1.3])
    s = (np.arange(400_000) + 0.5) / 400_000
    for t in delays:
        total = 0.0
        for low, high in ((0.0, abs(t - exposure)), (abs(t - exposure), t + exposure)):
            at = low + (high - low) * s**4
            folded = np.maximum(exposure - np.abs(at - t), 0) + np.maximum(exposure - np.abs(at + t), 0)
            total += np.mean(folded * np.exp(-2 * (at / tau) ** stretch) * 4 * s**3) * (high - low)
        found = frame_averaged(MODELS["single"], exposure).evaluate(np.array([t]), 1.0, tau, stretch, 0.0)
        assert found[0] == pytest.approx(total, rel=1e-4, abs=1e-9)


def test_weights_of_the_triangle():
    times, weights = triangle(np.array([0.0, 0.3, 1.0, 5.0]), 1.0)
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, rtol=1e-13)
    assert (times >= 0).all()
    # variance of the triangle, far from time zero
    mean = (weights * times).sum(axis=-1)[2:]
    np.testing.assert_allclose(mean, [1.0, 5.0], rtol=1e-12)
    np.testing.assert_allclose((weights * times**2).sum(axis=-1)[2:] - mean**2, 1 / 6, rtol=1e-10)


def test_short_exposures_change_nothing():
    for name, theta in (("single", [0.2, 0.1, 0.8, 1.0]), ("shear", [0.2, 0.1, 40.0, 1.0])):
        found = frame_averaged(MODELS[name], 1e-9).evaluate(DELAY, *theta)
        np.testing.assert_allclose(found, MODELS[name].evaluate(DELAY, *theta), rtol=1e-6)


@pytest.mark.parametrize("name", THETA)
def test_names_lead_to_the_record_and_back(name):
    model = resolve(name)
    assert model.name == name
    assert resolve(model.name) == model
    assert pickle.loads(pickle.dumps(model)) == model


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("single+wobble", r"'\+wobble' says nothing of model 'single'; give \+vibration, or \+exposure="),
        ("single+exposure", r"'\+exposure' says nothing"),
        ("single+exposure=fast", r"'\+exposure=fast' says nothing"),
        ("single+vibration=60", r"'\+vibration=60' says nothing"),
        ("single+exposure=-1", "exposure is -1 s; it must be above 0"),
        ("single+exposure=nan", "exposure is nan s"),
        ("single+vibration+vibration", "has a vibration already"),
        ("sinlge+vibration", "unknown model 'sinlge'; known models are simple, single"),
    ],
)
def test_nonsense_is_refused(name, message):
    with pytest.raises(ConfigError, match=message):
        resolve(name)


def line(x, slope, baseline):
    return slope * x + baseline


def test_a_function_of_anything_cannot_be_modified():
    for modify in (with_vibration, lambda model: frame_averaged(model, 0.1)):
        with pytest.raises(ConfigError, match="'line' is no decay between a contrast and a baseline"):
            modify(Model.from_function(line))


def test_a_known_frequency_is_held():
    truth = [0.2, 0.3, 1.0, 1.0, 0.1, 50.0]
    model = resolve("single+vibration")
    y = model.evaluate(DELAY, *truth) + 1e-4 * np.random.default_rng(1).normal(size=(3, DELAY.size))
    found = fit_curves(DELAY, y, 1e-4, model, fixed={"frequency": 50.0})
    assert (found.value[:, 5] == 50.0).all()
    assert np.abs((found.value - truth) / np.where(found.stderr > 0, found.stderr, 1.0)).max() < 5


def test_a_long_exposure_that_is_not_told_gives_a_wrong_time():
    """What the modifier is for: relaxation within three exposures."""
    exposure, tau = 0.01, 0.015
    delays = np.geomspace(exposure, 1, 40)
    averaged = frame_averaged(MODELS["simple"], exposure)
    y = averaged.evaluate(delays, 0.2, tau, 1.0)
    right = fit_curves(delays, y, 1e-3, averaged)
    wrong = fit_curves(delays, y, 1e-3, "simple")
    assert right.value == pytest.approx([0.2, tau, 1.0], rel=1e-7)
    assert abs(wrong.value[0] - 0.2) > 0.01
