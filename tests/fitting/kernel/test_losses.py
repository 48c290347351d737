"""Compiled losses against the package's own NumPy definitions."""

import numpy as np
import pytest

from xpcs_dask.fitting.kernel import losses
from xpcs_dask.fitting.losses import RHO


@pytest.mark.parametrize("loss", ["soft_l1", "huber", "cauchy", "arctan", "tukey"])
def test_loss_weights_are_the_numpy_definitions(loss):
    r = np.linspace(-6, 6, 41)
    first, second = np.empty(41), np.empty(41)
    cost = losses.loss_weights(losses.LOSSES[loss], 1.7, r, first, second)
    z = (r / 1.7) ** 2
    rho, rho1, rho2 = RHO[loss](z)
    assert cost == pytest.approx(1.7**2 * rho.sum(), rel=1e-12)
    np.testing.assert_allclose(first, rho1, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(second, rho1 + 2 * z * rho2, rtol=1e-9, atol=1e-12)
