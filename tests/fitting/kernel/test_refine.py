"""The last word: gradients, robust losses and covariances against scipy and the package's own NumPy definitions."""

import numpy as np
import pytest

from tests.fitting.kernel.curves import BOX, DELAYS, double_curves, projected_gradient, scipy_best, single_curves
from xpcs_dask.fitting.kernel import refine
from xpcs_dask.fitting.kernel.family import FAMILIES, family_of
from xpcs_dask.fitting.kernel.run import run_kernel
from xpcs_dask.fitting.losses import RHO
from xpcs_dask.fitting.models import SINGLE
from xpcs_dask.fitting.problem import Problem
from xpcs_dask.fitting.uncertainty import covariance

ROBUST = ["soft_l1", "huber", "cauchy", "arctan"]


def natural(z, family):
    times = np.array([p.relaxation_time for p in FAMILIES[family].parameters])
    return np.where(times, np.exp(np.where(times, z, 0)), z)


def fit(family, y, sigma, loss="linear", scale=1.0):
    model = FAMILIES[family]
    return run_kernel(family_of(model, *BOX[family]), DELAYS, y, 1 / sigma, loss, scale, None, thorough=False)


def outliers(y, sigma, seed=0, share=0.1):
    rng = np.random.default_rng(seed)
    hit = rng.random(y.shape) < share
    return y + hit * sigma * rng.uniform(5, 20, y.shape) * rng.choice([-1, 1], y.shape)


@pytest.mark.parametrize("loss", [*ROBUST, "tukey"])
def test_loss_weights_are_the_numpy_definitions(loss):
    r = np.linspace(-6, 6, 41)
    first, second = np.empty(41), np.empty(41)
    cost = refine.loss_weights(refine.LOSSES[loss], 1.7, r, first, second)
    z = (r / 1.7) ** 2
    rho, rho1, rho2 = RHO[loss](z)
    assert cost == pytest.approx(1.7**2 * rho.sum(), rel=1e-12)
    np.testing.assert_allclose(first, rho1, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(second, rho1 + 2 * z * rho2, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("family", ["single", "double"])
def test_columns_are_the_models_jacobian(family):
    model, z = FAMILIES[family], np.array([0.3, np.log(0.003), 0.8, 1.02, np.log(0.2), 1.3, 0.35])
    z = z[: len(model.parameters)]
    theta = natural(z, family)
    w, y = np.linspace(1, 2, 64), np.linspace(1, 1.4, 64)
    J, r = np.zeros((len(z) + len(z) % 2, 64)), np.empty(64)
    refine.weighted_columns(np.log(DELAYS), y, w, z, len(z), J, r)
    times = np.array([p.relaxation_time for p in model.parameters])
    expected = model.jacobian(DELAYS, *theta) * np.where(times, theta, 1) * w[:, None]
    np.testing.assert_allclose(J[: len(z)].T, expected, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(r, w * (y - model.evaluate(DELAYS, *theta)), rtol=1e-11, atol=1e-13)


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


@pytest.mark.parametrize("loss", ROBUST)
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


@pytest.mark.parametrize("loss", ["linear", *ROBUST])
@pytest.mark.parametrize("family", ["single", "double"])
def test_covariance_is_the_one_of_the_generic_path(family, loss):
    make = single_curves if family == "single" else double_curves
    _, y, sigma = make(25, seed=8)
    if loss != "linear":
        y = outliers(y, sigma, share=0.05)
    found = fit(family, y, sigma, loss, 2.0)
    model, (low, high) = FAMILIES[family], BOX[family]
    compared = 0
    for j in np.flatnonzero(found.converged):
        theta = natural(found.z[j], family)
        if np.isnan(found.covariance[j]).any():
            continue
        problem = Problem(
            x=DELAYS, y=y[j], weight=1 / sigma[j], model=model, lower=low, upper=high, loss=loss, scale=2.0
        )
        expected = covariance(problem, theta)
        times = np.array([p.relaxation_time for p in model.parameters])
        unit = np.where(times, theta, 1)
        if np.isnan(expected).any():
            continue
        np.testing.assert_allclose(found.covariance[j] * np.outer(unit, unit), expected, rtol=2e-3, atol=1e-12)
        compared += 1
    assert compared >= 10


def test_a_parameter_on_its_bound_has_no_error_and_a_useless_one_neither():
    y = np.tile(1 - 0.1 * np.exp(-2 * DELAYS / 0.01), (1, 1))  # a rise: the best contrast is its lower bound 0
    found = fit("single", y, np.full((1, 64), 1e-3))
    assert found.z[0, 0] == 0.0
    assert np.isnan(np.diag(found.covariance[0])[:3]).all()
    assert np.isfinite(found.covariance[0, 3, 3])
