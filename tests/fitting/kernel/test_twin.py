"""The NumPy twin and the compiled kernel are two writings of one algorithm."""

import numpy as np
import pytest

from tests.fitting.kernel.bench_sets import single_set
from tests.fitting.kernel.curves import BOX, DELAYS, single_curves
from xpcs_dask.fitting.kernel import twin_confirm, twin_curves, twin_descent
from xpcs_dask.fitting.kernel.family import family_of
from xpcs_dask.fitting.kernel.run import run_kernel
from xpcs_dask.fitting.kernel.twin import run_twin
from xpcs_dask.fitting.models import SIMPLE, SINGLE

FAMILY = family_of(SINGLE, *BOX["single"])


def both(y, weight, family=FAMILY, start=None):
    return (
        run_kernel(family, DELAYS, y, weight, "linear", 1.0, start, thorough=False),
        run_twin(family, DELAYS, y, weight, start),
    )


@pytest.mark.parametrize("model", [SINGLE, SIMPLE], ids=lambda m: m.name)
def test_same_minima(model):
    _, y, sigma = single_curves(1500, seed=2)
    rng = np.random.default_rng(0)
    weight = np.where(rng.random(y.shape) < 0.1, 0.0, 1 / sigma)
    y = np.where(rng.random(y.shape) < 0.05, np.nan, y)
    low, high = (b[[0, 1, 2, 3] if model is SINGLE else [0, 1, 3]] for b in BOX["single"])
    compiled, twin = both(y, weight, family_of(model, low, high))
    assert compiled.converged.all()
    assert twin.converged.all()
    np.testing.assert_allclose(twin.chi2, compiled.chi2, rtol=1e-9)
    error = np.sqrt(np.einsum("nkk->nk", compiled.covariance))
    shift = np.abs(twin.z - compiled.z) / np.where(error > 0, error, np.inf)
    assert np.nanmax(shift) < 5e-3
    np.testing.assert_allclose(np.einsum("nkk->nk", twin.covariance), error**2, rtol=0.02)


def test_same_kind_of_answer_on_noise():
    y = 1 + 1e-3 * np.random.default_rng(1).normal(size=(300, 64))
    y[0] = np.nan
    compiled, twin = both(y, np.full(y.shape, 1e3))
    assert not compiled.converged[0]
    assert not twin.converged[0]
    close = np.isclose(twin.chi2[1:], compiled.chi2[1:], rtol=1e-6)
    assert close.mean() > 0.9  # separate minima of noise: rounding may choose between equals


def test_the_twin_keeps_its_bits_alone():
    _, y, sigma = single_curves(20, seed=3)
    whole = run_twin(FAMILY, DELAYS, y, 1 / sigma, None)
    alone = np.array([run_twin(FAMILY, DELAYS, y[j : j + 1], 1 / sigma[j : j + 1], None).z[0] for j in range(20)])
    np.testing.assert_array_equal(alone, whole.z)


def test_a_given_start_is_tried():
    _, y, sigma = single_curves(10, seed=4)
    start = np.tile([0.2, -3.0, 1.0, 1.0], (10, 1))
    plain, helped = run_twin(FAMILY, DELAYS, y, 1 / sigma, None), run_twin(FAMILY, DELAYS, y, 1 / sigma, start)
    assert np.all(helped.evaluations > plain.evaluations)
    np.testing.assert_allclose(helped.chi2, plain.chi2, rtol=1e-9)


def test_a_full_step_that_is_too_long_is_halved():
    """Curves of the benchmark whose model bends so much that Gauss-Newton jumps to and fro over the minimum."""
    data = single_set(20_000)
    rows = [5849, 18444, 18448]
    assert run_twin(
        family_of(SINGLE, data.lower, data.upper), data.x, data.y[rows], data.weight[rows], None
    ).converged.all()


def test_exact_curves_are_minima():
    truth, *_ = single_curves(40, seed=18)
    y = np.stack([SINGLE.evaluate(DELAYS, *t) for t in truth])
    assert run_twin(FAMILY, DELAYS, y, np.full(y.shape, 1e3), None).converged.all()


@pytest.mark.parametrize("share", [0.0, 0.02])
def test_only_minima_are_called_so(monkeypatch, share):
    """The last word, given points beside the minimum and no pass to get there, must not call them minima."""
    _, y, sigma = single_curves(60, seed=5)
    lower, upper = FAMILY.log_box
    c = twin_curves.load(y, 1 / sigma, lower, upper)
    found = run_twin(FAMILY, DELAYS, y, 1 / sigma, None)
    z = found.z.T.copy()
    error = np.sqrt(np.einsum("nkk->kn", found.covariance))
    z[1] += share * error[1]
    z[3] -= c.mean
    monkeypatch.setattr(twin_confirm, "LAST_PASSES", 1)
    *_, minimum = twin_confirm.last_word(np.log(DELAYS), c, z)
    assert minimum.all() if share == 0 else not minimum.any()


def test_a_long_flat_valley_is_no_minimum(monkeypatch):
    """A small gradient is not enough: far along the valley of a decay before the first delay the step is still long."""
    y = SINGLE.evaluate(DELAYS, 0.3, 6e-6, 0.9, 1.0)[None] + 1e-7 * np.random.default_rng(0).normal(size=(30, 64))
    c = twin_curves.load(y, np.full(y.shape, 1e7), *FAMILY.log_box)
    found = run_twin(FAMILY, DELAYS, y, np.full(y.shape, 1e7), None)
    assert found.converged.all()
    loose = np.sqrt(1e-8 * found.chi2)
    direction = np.linalg.eigh(found.covariance)[1][:, :, -1]
    size = np.sqrt(np.linalg.eigvalsh(found.covariance)[:, -1])
    z = (found.z + direction * (size * loose)[:, None]).T.copy()
    z[3] -= c.mean
    monkeypatch.setattr(twin_confirm, "LAST_PASSES", 1)
    *_, minimum = twin_confirm.last_word(np.log(DELAYS), c, z)
    assert not minimum.any()


def test_a_descent_ends_so_near_that_one_pass_confirms_it():
    _, y, sigma = single_curves(300, seed=6)
    c, u = twin_curves.load(y, 1 / sigma, *FAMILY.log_box), np.log(DELAYS)
    z, _, _ = twin_descent.refine(u, c, np.arange(300), np.full(300, -4.0), np.ones(300))
    chi2, H, pull, _ = twin_confirm.normal_equations(u, c, np.arange(300), z)
    cosine = np.abs(pull) / np.sqrt(np.einsum("kkn->kn", H) * chi2)
    free = (z > c.low) & (z < c.high)
    assert np.mean(cosine[free] < 1e-5) > 0.95


def test_a_step_in_the_plane_is_the_lowest_point_of_its_box():
    rng = np.random.default_rng(2)
    n = 200
    g0, g1, a00, a11 = rng.normal(size=n), rng.normal(size=n), rng.uniform(0.5, 2, n), rng.uniform(0.5, 2, n)
    h01 = rng.uniform(-0.95, 0.95, n) * np.sqrt(a00 * a11)
    low, high = -rng.uniform(0, 1, (2, n)), rng.uniform(0, 1, (2, n))
    s0, s1 = twin_descent.plane_step((g0, g1), (a00, h01, a11), (low[0], low[1]), (high[0], high[1]))

    def value(t0, t1):
        return a00 * t0 * t0 + 2 * h01 * t0 * t1 + a11 * t1 * t1 - 2 * g0 * t0 - 2 * g1 * t1

    t = np.linspace(0, 1, 101)
    scan0, scan1 = (low[k] + (high[k] - low[k]) * t[:, None] for k in (0, 1))
    lowest = value(scan0[:, None], scan1[None]).min(axis=(0, 1))
    assert np.all(value(s0, s1) <= lowest + 1e-12)
    assert np.all((low[0] <= s0) & (s0 <= high[0]) & (low[1] <= s1) & (s1 <= high[1]))


def test_a_bound_that_the_gradient_leaves_is_no_minimum(monkeypatch):
    """No decay at all, and the mean as baseline: the only way down is to leave contrast 0."""
    _, y, sigma = single_curves(20, seed=7)
    c = twin_curves.load(y, 1 / sigma, *FAMILY.log_box)
    z = np.repeat(np.array([[0.0], [-4.0], [1.0], [0.0]]), 20, axis=1)
    monkeypatch.setattr(twin_confirm, "LAST_PASSES", 1)
    *_, minimum = twin_confirm.last_word(np.log(DELAYS), c, z)
    assert not minimum.any()
