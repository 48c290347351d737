"""The compiled Newton: its parts against plain formulas, and curves on which simpler methods creep or stop short."""

import numpy as np
import pytest

from tests.fitting.kernel.bench_sets import double_set, with_outliers
from tests.fitting.kernel.curves import natural
from xpcs_dask.fitting.kernel import newton
from xpcs_dask.fitting.kernel.box import box_step
from xpcs_dask.fitting.kernel.family import family_of
from xpcs_dask.fitting.kernel.run import run_kernel
from xpcs_dask.fitting.optimality import judge
from xpcs_dask.fitting.problem import Problem

FREE = np.ones(8, dtype=np.int8)


def matrix(eigenvalues, seed=0):
    """Symmetric matrix (8, 8) with these eigenvalues."""
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=(8, 8)))[0]
    return q @ np.diag(eigenvalues) @ q.T


@pytest.mark.parametrize(("smallest", "expected"), [(1e-3, False), (-1e-3, True), (-2.0, True)])
def test_a_negative_direction_is_noticed(smallest, expected):
    N, vectors = matrix([smallest, *range(1, 8)]), [np.zeros(8) for _ in range(4)]
    damping, step, trial, z = vectors
    L, free = np.zeros((8, 8)), FREE.copy()
    box_step(N, np.full(8, 1e-3), damping, z, z - 10, z + 10, 8, step, free, L, trial)
    assert newton.is_indefinite(N, damping, L, free, 8) == expected


def test_the_gain_of_one_parameter_is_the_best_of_a_fine_scan():
    rng = np.random.default_rng(1)
    H, g, z = matrix(np.arange(1.0, 9)), rng.normal(size=8), np.zeros(8)
    lower, upper = -rng.uniform(0, 0.3, 8), rng.uniform(0, 0.3, 8)
    lower[2] = upper[2] = 0.0
    scan = np.linspace(lower, upper, 20001)
    expected = np.max(2 * g * scan - np.diag(H) * scan**2)
    assert newton.single_gain(H, g, z, lower, upper, 8) == pytest.approx(expected, rel=1e-6)


def test_damping_is_curvature_or_coupling_where_there_is_none():
    H, N = np.diag([4.0, 0.0, 9.0]), np.array([[4.0, 2.0, 5.0], [2.0, 0.0, 6.0], [5.0, 6.0, 9.0]])
    damping = np.empty(3)
    newton.fill_damping(H, N, 0.5, 3, damping)
    np.testing.assert_allclose(damping, [0.5 * max(4, 25 / 9), 0.5 * max(4 / 4, 36 / 9), 0.5 * 9])
    damped = N + np.diag(damping * 8)
    assert np.linalg.eigvalsh(damped)[0] > 0


def test_contrast_and_fraction_move_along_straight_amplitudes():
    z, step = np.array([0.2, -8.0, 1.0, 1.0, -3.0, 1.2, 0.6]), np.array([0.1, 0.3, 0.0, 0.01, -0.2, 0.1, -0.05])
    lower, upper = np.array([0, -14, 0.2, 0.9, -14, 0.2, 0.0]), np.array([1, 4, 3.0, 1.1, 4, 3, 1.0])
    end = step.copy()
    newton.move(z, end, FREE, lower, upper, 7)
    np.testing.assert_allclose(end[1:6], (z + step)[1:6])

    def amplitudes(v):
        return np.sqrt(v[0]) * np.array([v[6], 1 - v[6]])

    h = 1e-6
    slope = (amplitudes(z + h * step) - amplitudes(z - h * step)) / (2 * h)
    np.testing.assert_allclose(amplitudes(end), amplitudes(z) + slope, rtol=1e-7)
    on_a_wall = FREE.copy()
    on_a_wall[6] = 0
    end = step.copy()
    newton.move(z, end, on_a_wall, lower, upper, 7)
    np.testing.assert_allclose(end, z + step)
    far = np.array([5.0, 0, 0, 0, 0, 0, 3.0])
    newton.move(z, far, FREE, lower, upper, 7)
    assert np.all((far >= lower) & (far <= upper))


def judged(data, found, loss, j):
    """Verdict on a kernel's answer, in the model's own parameters."""
    low, high = family_of(data.model, data.lower, data.upper).log_box
    z = found.z[j]
    theta = np.where(z <= low, data.lower, np.where(z >= high, data.upper, natural(z, data.model.name)))
    problem = Problem(
        x=data.x, y=data.y[j], weight=data.weight[j], model=data.model, lower=data.lower, upper=data.upper,
        loss=loss, derivative="own",
    )  # fmt: skip
    return judge(problem, theta), problem.objective(theta)


VALLEYS = {
    "soft_l1": [226, 248, 287, 439, 747, 1093, 1140, 1336, 1348, 1372, 1545, 1743, 1887],
    "huber": [226, 248, 439, 640, 645, 747, 817, 1068, 1093, 1140, 1142, 1336, 1348, 1545, 1743, 1887],
    "cauchy": [392, 439, 626, 831, 1140, 1241, 1322, 1337, 1342, 1372, 1540, 1691, 1887],
    "arctan": [336, 392, 394, 439, 745, 887, 1144, 1147, 1337, 1342, 1372, 1684, 1691, 1832, 1887, 1941],
}
"""Curves of the benchmark with outliers whose minimum lies at the end of a long bent valley, beside one where the
contrast runs onto zero, or where a component is nearly gone: a Newton that never climbs gives up on all of them."""


@pytest.fixture(scope="module")
def bent():
    return with_outliers(double_set(2000))


@pytest.mark.parametrize("loss", VALLEYS)
def test_bent_valleys_end_in_minima(bent, loss):
    data = bent._replace(y=bent.y[VALLEYS[loss]], sigma=bent.sigma[VALLEYS[loss]])
    family = family_of(data.model, data.lower, data.upper)
    found = run_kernel(family, data.x, data.y, data.weight, loss, 1.0, None, thorough=False)
    assert found.converged.all()
    for j in range(len(data.y)):
        verdict, objective = judged(data, found, loss, j)
        assert verdict.minimum, (VALLEYS[loss][j], verdict)
        assert found.chi2[j] == pytest.approx(objective, rel=1e-9)
    assert np.median(found.evaluations) < 450


@pytest.mark.parametrize("loss", ["soft_l1", "huber", "cauchy", "arctan"])
def test_robust_double_fits_are_minima(bent, loss):
    data = bent._replace(y=bent.y[:200], sigma=bent.sigma[:200])
    family = family_of(data.model, data.lower, data.upper)
    found = run_kernel(family, data.x, data.y, data.weight, loss, 1.0, None, thorough=False)
    assert found.converged.all()
    assert all(judged(data, found, loss, j)[0].minimum for j in range(200))
