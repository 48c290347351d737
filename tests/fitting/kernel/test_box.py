"""The box steps against scipy's bounded least squares and a brute search."""

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from xpcs_dask.fitting.kernel.box import box_step, free_solve, linear_box, plane_step


def quadratic(H, g, s):
    return s @ H @ s - 2 * g @ s


@pytest.mark.parametrize("seed", range(200))
@pytest.mark.parametrize("n", [4, 7])
def test_box_step_is_the_bounded_minimum(seed, n):
    rng = np.random.default_rng([seed, n])
    A = rng.normal(size=(n + 3, n)) * 10 ** rng.uniform(-2, 2, n)
    b = rng.normal(size=n + 3)
    width = np.abs(np.linalg.lstsq(A, b)[0])
    lower, upper = -width * rng.uniform(0, 2, n), width * rng.uniform(0, 2, n)
    held = rng.random(n) < 0.2
    lower[held] = upper[held]
    z = np.clip(np.zeros(n), lower, upper)
    H, g = A.T @ A, A.T @ (b - A @ z)
    step, free, L, trial = np.empty(n), np.empty(n, np.int8), np.empty((n, n)), np.empty(n)
    predicted = box_step(H, g, np.zeros(n), z, lower, upper, n, step, free, L, trial)
    assert np.all(z + step >= lower - 1e-12 * width)
    assert np.all(z + step <= upper + 1e-12 * width)
    assert predicted == pytest.approx(-quadratic(H, g, step), rel=1e-9, abs=1e-12)
    best = np.zeros(n)
    if not held.all():
        rest = b - A[:, held] @ upper[held]
        best[~held] = lsq_linear(A[:, ~held], rest, (lower[~held], upper[~held]), tol=1e-14, method="bvls").x
    best[~held] -= z[~held]
    assert quadratic(H, g, step) <= quadratic(H, g, best) + 1e-8 * abs(quadratic(H, g, best))
    np.testing.assert_array_equal(step[held], 0.0)


@pytest.mark.parametrize("seed", range(100))
def test_plane_step_is_the_general_one(seed):
    rng = np.random.default_rng(seed)
    A, b = rng.normal(size=(5, 2)), rng.normal(size=5)
    H, g = A.T @ A, A.T @ b
    lower, upper = -rng.uniform(0, 0.5, 2), rng.uniform(0, 0.5, 2)
    s = np.array(
        plane_step(g[0], g[1], H[0, 0], H[0, 1], H[1, 1], 0.0, 0.0, 0.0, 0.0, lower[0], upper[0], lower[1], upper[1])
    )
    best = lsq_linear(A, b, (lower, upper), tol=1e-14, method="bvls").x
    np.testing.assert_allclose(s, best, atol=1e-9)


@pytest.mark.parametrize("case", ["free", "contrast held", "baseline held", "both held", "tight"])
@pytest.mark.parametrize("seed", range(20))
def test_linear_box_is_the_bounded_minimum(seed, case):
    rng = np.random.default_rng([seed, len(case)])
    e, y, w = np.exp(-np.linspace(0, 3, 20)), rng.normal(1, 0.5, 20), rng.uniform(0.5, 2, 20)
    low, high = np.array([-10.0, -10.0]), np.array([10.0, 10.0])
    if case == "tight":
        low, high = np.array([0.0, 0.4]), np.array([0.3, 0.6])
    if case in {"contrast held", "both held"}:
        low[0] = high[0] = 0.2
    if case in {"baseline held", "both held"}:
        low[1] = high[1] = 1.1
    a, d, value, free_a, free_d = linear_box(
        (w * e * e).sum(), (w * e).sum(), w.sum(), (w * e * y).sum(), (w * y).sum(), low[0], high[0], low[1], high[1]
    )
    found = (w * (y - a * e - d) ** 2).sum()
    assert value == pytest.approx(found - (w * y * y).sum(), rel=1e-9)
    A = np.stack([e, np.ones(20)], 1) * np.sqrt(w)[:, None]
    free = low < high
    best = low.copy()
    if free.any():
        rest = np.sqrt(w) * y - A[:, ~free] @ low[~free]
        best[free] = lsq_linear(A[:, free], rest, (low[free], high[free]), tol=1e-14, method="bvls").x
    assert found == pytest.approx(((np.sqrt(w) * y - A @ best) ** 2).sum(), rel=1e-10)
    assert free_a == (low[0] < a < high[0])
    assert free_d == (low[1] < d < high[1])


def test_free_solve_keeps_held_rows_and_solves_the_rest():
    rng = np.random.default_rng(3)
    A = rng.normal(size=(8, 5))
    H, g, damping = A.T @ A, rng.normal(size=5), rng.uniform(0, 1, 5)
    free = np.array([1, 0, 1, 1, 0], np.int8)
    s, out = np.array([0, 0.3, 0, 0, -0.7]), np.empty(5)
    free_solve(H, damping, g, s, free, 5, np.empty((5, 5)), out)
    np.testing.assert_array_equal(out[free == 0], s[free == 0])
    f = free == 1
    expected = np.linalg.solve((H + np.diag(damping))[np.ix_(f, f)], g[f] - H[np.ix_(f, ~f)] @ s[~f])
    np.testing.assert_allclose(out[f], expected, rtol=1e-10)
