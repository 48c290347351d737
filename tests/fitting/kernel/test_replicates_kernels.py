"""What the refits step by, which a wrong number would only slow down: sums, gradients and exact Hessians."""

from __future__ import annotations

import numpy as np
import pytest

from tests.fitting.kernel.curves import DELAYS, double_curves, single_curves
from xpcs_dask.fitting.kernel import replicates_single as one
from xpcs_dask.fitting.kernel.double_bend import bend_step, fill_third
from xpcs_dask.fitting.kernel.double_curvature import fill_curvature
from xpcs_dask.fitting.kernel.double_newton import inner_step, newton_problem
from xpcs_dask.fitting.kernel.double_pass import evaluate
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


class Double:
    """One curve of two components as the kernels see it, and scratch arrays."""

    def __init__(self, wave=0.0):
        self.theta, y, sigma = double_curves(1, seed=3)
        self.w = 1 / sigma[0] / np.sqrt(np.mean(sigma[0] ** -2.0))
        self.y = (y[0] if wave else DOUBLE.evaluate(DELAYS, *self.theta[0])) - 1 + wave * np.sin(3 * U)
        t = self.theta[0]
        self.z = np.array([np.log(t[1]), t[2], np.log(t[4]), *t[5:]])
        self.curve = np.zeros((5, 64))
        self.curve[0], self.curve[3], self.curve[4] = U, self.w, self.w * self.y
        self.sums = np.array([self.w @ self.w, self.w**2 @ self.y, self.w**2 @ self.y**2])
        self.E, self.rows, self.products, self.Q = (np.zeros(k) for k in ((4, 64), (6, 64), (6, 8), (5, 5)))
        self.small, self.scratch = np.zeros((18, 5)), np.zeros((2, 64))

    def profile(self, p):
        return profile(DOUBLE.evaluate(DELAYS, 1.0, np.exp(p[0]), p[1], 0.0, np.exp(p[2]), p[3], p[4]), self.y, self.w)

    def newton(self, z, exact=1.0):
        """Chi2, half gradient (downhill) and half Hessian at z."""
        a, d, chi2, *free = evaluate(self.curve, self.sums, FREE, z, self.E, self.rows, self.products)
        fill_curvature(self.curve, z, a, d, self.E, self.rows, self.scratch, self.Q)
        H, g = np.zeros((5, 5)), np.zeros(5)
        newton_problem(self.products, self.Q, self.sums[0], a, d, *free, exact, H, g, np.zeros(5), np.zeros((2, 5)))
        return chi2, g, H


@pytest.mark.parametrize("exact", [0.0, 1.0])
def test_double_newton_problem_is_that_of_the_profile(exact):
    """Large residuals, so that second derivatives matter; none where Gauss-Newton's is to be the Hessian."""
    curve = Double(wave=0.05 * exact)
    z = curve.z * (1 + 1e-3 * exact)
    chi2, g, H = curve.newton(z, exact)
    gradient, hessian = differences(curve.profile, z)
    np.testing.assert_allclose(H, hessian / 2, rtol=1e-3, atol=1e-5 * np.abs(H).min())
    if exact:
        assert chi2 == pytest.approx(curve.profile(z), rel=1e-8)
        np.testing.assert_allclose(g, -gradient / 2, rtol=1e-4)


def third_derivatives(curve):
    point = np.zeros(5), np.zeros(5), curve.products, curve.Q
    third = np.full((5, 5, 5), np.nan)
    fill_third(curve.curve, curve.sums, FREE, curve.z, point, curve.E, curve.rows, curve.scratch, curve.small, third)
    return third


def test_third_derivatives_are_those_of_the_hessian():
    """A quarter of those of chi2, and the same along whichever coordinates they are taken in turn."""
    curve = Double(wave=0.05)
    third = third_derivatives(curve)
    np.testing.assert_allclose(third, third.transpose(1, 0, 2), atol=1e-4 * np.abs(third).max())
    h, direction = 1e-3, np.array([0.3, -0.2, 0.5, 0.1, 0.2])
    change = curve.newton(curve.z + h * direction)[2] - curve.newton(curve.z - h * direction)[2]
    np.testing.assert_allclose(
        np.tensordot(direction, third, 1), change / (4 * h), atol=1e-5 * np.abs(third).max(), rtol=1e-4
    )


def factor_of(H, g):
    step, L = np.zeros(5), np.zeros((5, 5))
    far = np.full(5, 99.0)
    assert inner_step(H, g, np.zeros(5), np.zeros(5), -far, far, step, L)
    return step, L


def test_a_bent_step_solves_the_next_order():
    rng = np.random.default_rng(4)
    root = rng.normal(size=(5, 9))
    H, s = root @ root.T, 0.01 * rng.normal(size=5)
    third = rng.normal(size=(5, 5, 5))
    step, L = factor_of(H, H @ s)
    far = np.full(5, 99.0)
    bend_step(third, L, np.zeros(5), -far, far, s @ H @ s, step, np.zeros(5))
    bend = -np.linalg.solve(H, np.einsum("kij,i,j->k", third, s, s))
    np.testing.assert_allclose(step, s + bend, rtol=1e-9)


def test_a_step_is_not_bent_much_nor_out_of_the_box():
    rng = np.random.default_rng(4)
    H, s, third = np.eye(5), np.full(5, 0.01), np.abs(rng.normal(size=(5, 5, 5)))
    far, wall = np.full(5, 99.0), np.full(5, -99.0)
    step, L = factor_of(H, s.copy())
    bend_step(1e3 * third, L, np.zeros(5), -far, far, s @ s, step, np.zeros(5))
    np.testing.assert_allclose(step, s, rtol=1e-12)
    wall[3] = 0.01 * (1 - 1e-9)
    bend_step(third, L, np.zeros(5), wall, far, s @ s, step, np.zeros(5))
    np.testing.assert_allclose(step, s, rtol=1e-12)


def test_inner_step_solves_and_knows_the_box():
    rng = np.random.default_rng(1)
    root = rng.normal(size=(5, 7))
    N, g, damping = root @ root.T, rng.normal(size=5), rng.random(5)
    z, low, high, step, L = np.zeros(5), np.full(5, -99.0), np.full(5, 99.0), np.zeros(5), np.zeros((5, 5))
    assert inner_step(N, g, damping, z, low, high, step, L)
    np.testing.assert_allclose(step, np.linalg.solve(N + np.diag(damping), g), rtol=1e-9)
    high[2] = step[2] - 1e-3
    assert not inner_step(N, g, damping, z, low, high, step, L)
    high[2] = 99.0
    assert not inner_step(N - 50 * np.eye(5), g, damping, z, low, high, step, L)
