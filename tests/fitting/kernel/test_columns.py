"""Compiled residuals and derivatives against those of the model records."""

import numpy as np
import pytest

from tests.fitting.kernel.curves import DELAYS, natural
from xpcs_dask.fitting.kernel import columns
from xpcs_dask.fitting.kernel.family import FAMILIES


@pytest.mark.parametrize("family", ["single", "double"])
def test_columns_are_the_models_jacobian(family):
    model, z = FAMILIES[family], np.array([0.3, np.log(0.003), 0.8, 1.02, np.log(0.2), 1.3, 0.35])
    z = z[: len(model.parameters)]
    theta = natural(z, family)
    w, y = np.linspace(1, 2, 64), np.linspace(1, 1.4, 64)
    J, r = np.zeros((len(z) + len(z) % 2, 64)), np.empty(64)
    columns.weighted_columns(np.log(DELAYS), y, w, z, len(z), J, r)
    times = np.array([p.relaxation_time for p in model.parameters])
    expected = model.jacobian(DELAYS, *theta) * np.where(times, theta, 1) * w[:, None]
    np.testing.assert_allclose(J[: len(z)].T, expected, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(r, w * (y - model.evaluate(DELAYS, *theta)), rtol=1e-11, atol=1e-13)
