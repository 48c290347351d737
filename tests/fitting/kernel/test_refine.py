"""The last word: gradients and robust minima against scipy."""

import numpy as np
import pytest

from tests.fitting.kernel.curves import (
    BOX,
    double_curves,
    fit,
    natural,
    outliers,
    projected_gradient,
    scipy_best,
    single_curves,
)
from xpcs_dask.fitting.kernel.family import FAMILIES, family_of
from xpcs_dask.fitting.models import SINGLE

ROBUST = ["soft_l1", "huber", "cauchy", "arctan"]


@pytest.mark.parametrize("family", ["single", "double"])
def test_no_success_has_a_gradient(family):
    make = single_curves if family == "single" else double_curves
    _, y, sigma = make(300, seed=1)
    y[:40] = 1 + sigma[:40] * np.random.default_rng(0).normal(size=(40, 64))
    found = fit(family, y, sigma)
    assert found.converged.mean() > 0.99
    model, (low, high) = FAMILIES[family], BOX[family]
    theta = natural(found.z, family)
    log_low, log_high = family_of(model, low, high).log_box
    theta = np.where(found.z <= log_low, low, np.where(found.z >= log_high, high, theta))
    gradient = np.array([projected_gradient(model, *c, low, high) for c in zip(y, sigma, theta, strict=True)])
    assert gradient[found.converged].max() < 1e-5


SLOW = {"huber", "cauchy", "arctan"}


@pytest.mark.parametrize("loss", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in ROBUST])
def test_robust_minima_are_scipys(loss):
    _, y, sigma = single_curves(25, seed=3)
    y = outliers(y, sigma)
    found = fit("single", y, sigma, loss, 1.5)
    assert found.converged.all()
    best = np.array(
        [
            scipy_best(SINGLE, a, s, *BOX["single"], 8, loss=loss, loss_scale=1.5)[0]
            for a, s in zip(y, sigma, strict=True)
        ]
    )
    # scipy's own robust loss sometimes stops early; the compiled one must never be higher than both
    assert np.mean(found.chi2 <= best * (1 + 1e-6)) >= 0.96


@pytest.mark.parametrize("loss", [*ROBUST, "tukey"])
def test_robust_fits_survive_outliers(loss):
    truth, y, sigma = single_curves(400, seed=5, noise=(-3, -2.5))
    shift = np.log(np.exp(fit("single", outliers(y, sigma), sigma, loss, 1.0).z[:, 1]) / truth[:, 1])
    plain = np.log(np.exp(fit("single", outliers(y, sigma), sigma).z[:, 1]) / truth[:, 1])
    assert np.abs(np.median(shift)) < 0.01
    assert np.median(np.abs(shift)) < 0.6 * np.median(np.abs(plain))


def test_tukey_of_clean_data_is_nearly_least_squares():
    _, y, sigma = single_curves(300, seed=6)
    plain, robust = fit("single", y, sigma), fit("single", y, sigma, "tukey")
    error = np.sqrt(plain.covariance[:, 1, 1])
    assert np.nanstd((robust.z[:, 1] - plain.z[:, 1]) / error) < 0.5
