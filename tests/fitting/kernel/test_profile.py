"""Fits with one parameter held, against whole fits in a box of that width."""

from __future__ import annotations

import numpy as np
import pytest

from tests.fitting.kernel.curves import BOX, DELAYS, double_curves, single_curves
from xpcs_dask.config import FitConfig
from xpcs_dask.fitting.kernel import profile, refine
from xpcs_dask.fitting.kernel.family import FAMILIES, family_of
from xpcs_dask.fitting.kernel.table import log_delays
from xpcs_dask.fitting.strategy import fit_stack

CURVES = {"single": single_curves, "double": double_curves}


@pytest.mark.parametrize("family", ["single", "double"])
def test_a_held_fit_is_the_fit_with_that_parameter_fixed(family):
    theta, y, sigma = CURVES[family](3, seed=1)
    model, (lower, upper), config = FAMILIES[family], BOX[family], FitConfig(errors="quoted")
    view = family_of(model, lower, upper)
    p = len(lower)
    curve, held = (a.ravel() for a in np.meshgrid(np.arange(3), np.arange(p), indexing="ij"))
    z = view.z(theta)[curve]  # the truth is near enough
    value = z[np.arange(len(curve)), held] * 1.01
    chi2 = np.empty(len(curve))
    profile.fit_held(
        log_delays(DELAYS), y, 1 / sigma, *view.log_box, curve, held, value, z, chi2, refine.workspace(DELAYS.size, p)
    )
    found = np.where(view.times, np.exp(z), z)
    for i, (j, k) in enumerate(zip(curve, held, strict=True)):
        low, high = lower.copy(), upper.copy()
        low[k] = high[k] = np.exp(value[i]) if view.times[k] else value[i]
        rows = fit_stack(DELAYS, y[j : j + 1], 1 / sigma[j : j + 1], model, config, low, high, found[i])
        assert chi2[i] == pytest.approx(rows["chi2"][0], rel=1e-9)
        np.testing.assert_allclose(found[i], rows["value"][0], rtol=1e-5)
        assert z[i, k] == value[i] or k == 3  # the baseline is moved to the mean and back


def test_the_box_of_the_others_is_kept():
    _, y, sigma = single_curves(1, seed=2)
    view = family_of(FAMILIES["single"], *BOX["single"])
    lower, upper = (b.copy() for b in view.log_box)
    upper[2] = 0.3
    z, chi2 = np.array([[0.2, -5.0, 0.25, 1.0]]), np.empty(1)
    first = np.zeros(1, dtype=np.intp)
    profile.fit_held(
        log_delays(DELAYS), y, 1 / sigma, lower, upper, first, first, np.array([0.35]), z, chi2,
        refine.workspace(DELAYS.size, 4),
    )  # fmt: skip
    assert z[0, 0] == 0.35
    assert (z[0] >= lower).all()
    assert (z[0] <= upper).all()
    assert z[0, 2] == 0.3
