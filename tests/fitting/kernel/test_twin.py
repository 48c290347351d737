"""The NumPy twin and the compiled kernel are two writings of one algorithm."""

import numpy as np
import pytest

from tests.fitting.kernel.curves import BOX, DELAYS, single_curves
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
