"""What the refits step by, which a wrong number would only slow down: sums, gradients and exact Hessians."""

from __future__ import annotations

import numpy as np
import pytest

from tests.fitting.kernel.curves import DELAYS, double_curves, single_curves
from xpcs_dask.fitting.kernel import replicates_double as two
from xpcs_dask.fitting.kernel import replicates_single as one
from xpcs_dask.fitting.kernel.single import moments
from xpcs_dask.fitting.models import DOUBLE, SINGLE

U = np.log(DELAYS)
FREE = np.array([-1e3, 1e3, -1e3, 1e3])


def profile(decay, y, w):
    """Chi2 with the best contrast and baseline."""
    return np.linalg.lstsq(np.stack([decay * w, w], 1), y * w, rcond=None)[1][0]


def differences(chi2, z, h=1e-4):
    """Gradient and Hessian of a function by central differences."""
    unit = np.eye(z.size) * h
    hessian = [
        [(chi2(z + a + b) - chi2(z + a - b) - chi2(z - a + b) + chi2(z - a - b)) / (4 * h * h) for a in unit]
        for b in unit
    ]
    return np.array([(chi2(z + a) - chi2(z - a)) / (2 * h) for a in unit]), np.array(hessian)


def test_single_newton_problem_is_that_of_the_profile():
    theta, y, sigma = single_curves(1, seed=3, noise=(-1.8, -1.7))
    y, w = y[0] - 1, 1 / sigma[0] / np.sqrt(np.mean(sigma[0] ** -2.0))
    z = np.array([np.log(theta[0, 1]), theta[0, 2]]) * 1.01
    decay, slope, turn, sums = (np.zeros(k) for k in (64, 64, 64, 12))
    one.fill_decay(U, *z, decay, slope, turn)
    moments(U, y, w * w, z[0], decay, slope, sums)
    a, d = np.linalg.lstsq(np.stack([decay * w, w], 1), y * w, rcond=None)[0]
    t = one.turn_sums(U, y, w * w, z[0], a, d, decay, turn)
    g0, g1, h00, h01, h11, *_ = one.newton_problem(sums, (w * w).sum(), z[1], a, d, True, True, *t, 1.0)
    gradient, hessian = differences(lambda p: profile(SINGLE.evaluate(DELAYS, 1.0, np.exp(p[0]), p[1], 0.0), y, w), z)
    np.testing.assert_allclose([g0, g1], -gradient / 2, rtol=1e-5)
    np.testing.assert_allclose([h00, h01, h11], hessian[[0, 0, 1], [0, 1, 1]] / 2, rtol=1e-4)


def test_sums_shared_by_all_resamples_are_those_of_one():
    rng = np.random.default_rng(0)
    y, w2 = rng.normal(size=64), rng.random(64)
    parent, shared = (tuple(np.zeros(64) for _ in range(3)) for _ in range(2))
    own_u, weights, sums, expected = np.zeros(64), np.zeros(64), np.zeros(12), np.zeros(12)
    z = np.array([0.2, -4.0, 0.9, 1.0])
    ww = one.load_parent(U, np.arange(64), np.sqrt(w2), z, own_u, weights, parent, shared, sums)
    wy, yy = one.data_sums(y, weights, shared, sums)
    moments(U, y, w2, z[1], parent[0], parent[1], expected)
    np.testing.assert_allclose(sums, expected, rtol=1e-12)
    np.testing.assert_allclose([ww, wy, yy], [w2.sum(), w2 @ y, w2 @ y**2], rtol=1e-12)


@pytest.mark.parametrize("exact", [0.0, 1.0])
def test_double_newton_problem_is_that_of_the_profile(exact):
    theta, y, sigma = double_curves(1, seed=3)
    y, w = y[0] - 1, 1 / sigma[0] / np.sqrt(np.mean(sigma[0] ** -2.0))
    # large residuals, so that second derivatives matter; none where Gauss-Newton's is to be the Hessian
    y = y + 0.05 * np.sin(3 * U) if exact else DOUBLE.evaluate(DELAYS, *theta[0]) - 1
    z = np.array([np.log(theta[0, 1]), theta[0, 2], np.log(theta[0, 4]), *theta[0, 5:]]) * (1 + 1e-3 * exact)
    curve = np.zeros((5, 64))
    curve[0], curve[3], curve[4] = U, w, w * y
    sums = np.array([w @ w, w**2 @ y, w**2 @ y**2])
    E, rows, products, Q = (np.zeros(k) for k in ((4, 64), (6, 64), (6, 8), (5, 5)))
    two.fill_exponentials(U, z, E)
    a, d, chi2, *free = two.evaluate(curve, sums, FREE, z, E, rows, products)

    def own_profile(p):
        return profile(DOUBLE.evaluate(DELAYS, 1.0, np.exp(p[0]), p[1], 0.0, np.exp(p[2]), p[3], p[4]), y, w)

    two.fill_curvature(curve, z, a, d, E, rows, np.zeros(64), Q)
    H, g, along, follow = np.zeros((5, 5)), np.zeros(5), np.zeros(5), np.zeros((2, 5))
    two.newton_problem(products, Q, sums[0], a, d, *free, exact, H, g, along, follow)
    gradient, hessian = differences(own_profile, z)
    np.testing.assert_allclose(H, hessian / 2, rtol=1e-3, atol=1e-5 * np.abs(H).min())
    if exact:
        assert chi2 == pytest.approx(own_profile(z), rel=1e-8)
        np.testing.assert_allclose(g, -gradient / 2, rtol=1e-4)


def test_inner_step_solves_and_knows_the_box():
    rng = np.random.default_rng(1)
    root = rng.normal(size=(5, 7))
    N, g, damping = root @ root.T, rng.normal(size=5), rng.random(5)
    z, low, high, step, L = np.zeros(5), np.full(5, -99.0), np.full(5, 99.0), np.zeros(5), np.zeros((5, 5))
    assert two.inner_step(N, g, damping, z, low, high, step, L)
    np.testing.assert_allclose(step, np.linalg.solve(N + np.diag(damping), g), rtol=1e-9)
    high[2] = step[2] - 1e-3
    assert not two.inner_step(N, g, damping, z, low, high, step, L)
    high[2] = 99.0
    assert not two.inner_step(N - 50 * np.eye(5), g, damping, z, low, high, step, L)
