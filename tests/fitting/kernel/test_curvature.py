"""Second derivatives against differences of the models' own (independently tested) Jacobians."""

import numpy as np
import pytest

from tests.fitting.kernel.curves import DELAYS
from xpcs_dask.fitting.kernel.curvature import double_curvature, single_curvature
from xpcs_dask.fitting.kernel.family import FAMILIES

CASES = {
    "single": (single_curvature, np.array([0.3, np.log(0.02), 0.8, 1.02])),
    "double": (double_curvature, np.array([0.3, np.log(0.003), 0.8, 1.02, np.log(0.2), 1.3, 0.35])),
}


@pytest.mark.parametrize("name", CASES)
def test_curvature_is_the_derivative_of_the_jacobian(name):
    function, z = CASES[name]
    model, p = FAMILIES[name], len(z)
    times = np.array([q.relaxation_time for q in model.parameters])
    pull = np.random.default_rng(1).normal(size=DELAYS.size)

    def gradient(z):
        theta = np.where(times, np.exp(z), z)
        return pull @ (model.jacobian(DELAYS, *theta) * np.where(times, theta, 1))

    expected = np.empty((p, p))
    for k in range(p):
        h = np.zeros(p)
        h[k] = 1e-5
        expected[k] = (gradient(z + h) - gradient(z - h)) / 2e-5
    Q = np.full((p + p % 2, p + p % 2), np.nan)
    function(np.log(DELAYS), z, pull, Q)
    np.testing.assert_allclose(Q[:p, :p], expected, atol=1e-7 * np.abs(expected).max())
