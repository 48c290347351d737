"""Plateaus: their ends, their physics, and why the baseline is held."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from xpcs_dask.fitting.curves import fit_curves
from xpcs_dask.fitting.layout import Flag
from xpcs_dask.fitting.models import MODELS

DELAY = np.geomspace(1e-3, 10, 40)


def test_ends_of_the_decays():
    x = np.array([0.0, 1e9])
    arrested = MODELS["arrested"].evaluate(x, 0.3, 0.1, 0.7, 0.6, 1.0)
    confined = MODELS["confined"].evaluate(x, 0.3, 0.1, 0.7, 1.5, 1.0)
    assert arrested == pytest.approx([1.3, 1.0 + 0.3 * 0.36])
    assert confined == pytest.approx([1.3, 1.0 + 0.3 * np.exp(-1.5)])


def test_confined_is_a_particle_in_a_harmonic_well():
    """Mean-square displacement of a particle on a spring, by its equation of motion: d<r^2>/dt = 6 D - 2 k <r^2>."""
    diffusion, spring, q = 2.0, 5.0, 0.8
    times = np.linspace(0.01, 2, 30)
    found = solve_ivp(
        lambda t, square: 6 * diffusion - 2 * spring * square / 2, (0, 2), [0.0], t_eval=times, rtol=1e-11, atol=1e-13
    )
    square = found.y[0]
    plateau = 6 * diffusion / spring
    expected = np.exp(-(q**2) * square / 3)  # |g1|^2 of Gaussian displacements: exp(-q^2 <r^2> / 3)
    theta = (1.0, 1 / spring, 1.0, q**2 * plateau / 3, 0.0)
    np.testing.assert_allclose(MODELS["confined"].evaluate(times, *theta), expected, rtol=1e-8)


def test_confined_with_a_short_way_keeps_its_digits():
    found = MODELS["confined"].evaluate(np.array([1e-12]), 1.0, 1.0, 1.0, 1.0, -1.0)
    assert found[0] == pytest.approx(-1e-12, rel=1e-4)


@pytest.mark.parametrize("name", ["arrested", "confined"])
def test_the_baseline_is_held_unless_bounds_are_given(name):
    model = MODELS[name]
    shape = {"arrested": [0.7, 0.6], "confined": [0.7, 1.5]}[name]
    y = model.evaluate(DELAY, 0.3, 0.1, *shape, 1.0)
    y = y + 1e-3 * np.random.default_rng(0).normal(size=y.shape)
    held = fit_curves(DELAY, y, 1e-3, model)
    assert held.value[-1] == 1.0
    assert held.stderr[-1] == 0.0
    free = fit_curves(DELAY, y, 1e-3, model, bounds={"baseline": (0.8, 1.2)})
    # The plateau is not told from the baseline: the error of g2 at long times is shared, or a bound is met.
    assert free.flags & Flag.AT_BOUND or free.stderr[0] > 20 * held.stderr[0]
    other = fit_curves(DELAY, y, 1e-3, model, fixed={"baseline": 1.01})
    assert other.value[-1] == 1.01
    assert model.parameters[-1].bounds == "held at 1 unless bounds are given"
