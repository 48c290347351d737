"""Steps of the double search inside a box: Newton's where the Hessian is positive, else Gauss-Newton's."""

import numpy as np
import pytest
from scipy.optimize import minimize

from xpcs_dask.fitting.kernel.double_newton import safe_step

WIDE = np.full(5, -1e9), np.full(5, 1e9)


def positive(seed, spread=1.0):
    root = np.random.default_rng(seed).standard_normal((5, 5)) * spread
    return root @ root.T + 0.1 * np.eye(5)


def step_of(exact, H, N, g, damping, z, lower, upper):
    step, space = np.empty(5), (np.empty(5, np.int8), np.empty((5, 5)), np.empty(5))
    predicted, newton = safe_step(exact, H, N, g, damping, z, lower, upper, step, *space)
    return step, predicted, newton


def decrease(hessian, g, step):
    return 2 * g @ step - step @ hessian @ step


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_a_positive_problem_is_solved(exact, seed):
    H, N, g = positive(seed), positive(seed + 50), np.random.default_rng(seed).standard_normal(5)
    damping = np.linspace(0.01, 0.5, 5)
    step, predicted, newton = step_of(exact, H, N, g, damping, np.zeros(5), *WIDE)
    used = N if exact else H
    assert newton == exact
    assert np.allclose(step, np.linalg.solve(used + np.diag(damping), g))
    assert predicted == pytest.approx(decrease(used, g, step))


@pytest.mark.parametrize("exact", [True, False])
def test_a_step_that_meets_walls_is_the_minimum_in_the_box(exact):
    H, N, g = positive(1), positive(2), np.array([3.0, -2.0, 1.0, 4.0, -1.0])
    z, lower, upper = np.full(5, 0.1), np.zeros(5), np.full(5, 0.3)
    step, predicted, newton = step_of(exact, H, N, g, np.zeros(5), z, lower, upper)
    used = N if exact else H
    best = minimize(
        lambda s: -decrease(used, g, s), np.zeros(5), jac=lambda s: 2 * (used @ s - g), method="L-BFGS-B",
        bounds=list(zip(lower - z, upper - z, strict=True)), options={"ftol": 1e-15, "gtol": 1e-12},
    )  # fmt: skip
    assert newton == exact
    assert np.allclose(step, best.x, atol=1e-7)
    assert predicted == pytest.approx(-best.fun)


@pytest.mark.parametrize("walls", [False, True])
def test_where_the_hessian_is_not_positive_the_step_is_that_of_gauss_and_newton(walls):
    H, g = positive(3), np.array([0.3, -0.2, 0.1, 0.4, -0.1])
    N = H - 2 * np.linalg.eigvalsh(H)[-1] * np.eye(5)
    box = (np.full(5, -0.05), np.full(5, 0.05)) if walls else WIDE
    step, predicted, newton = step_of(True, H, N, g, np.zeros(5), np.zeros(5), *box)
    alone, expected, _ = step_of(False, H, N, g, np.zeros(5), np.zeros(5), *box)
    assert not newton
    assert np.allclose(step, alone, rtol=1e-12)
    assert predicted == pytest.approx(expected)
    assert expected > 0
