"""Diffusion coefficients and their errors from known parameters."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from tests.toolkit.diffusion_truth import RATES, Q, coefficient, truth
from xpcs_dask.errors import ConfigError
from xpcs_dask.toolkit.diffusion_coefficient import DiffusionCoefficientExtractor

EXTRACT = DiffusionCoefficientExtractor()


def test_simple():
    found = EXTRACT.extract_simple_diffusion_coefficient([1, 0.2, 45.0], [0, 0.01, 0.9], 0.03)
    assert found == {
        "diffusion_coefficient": pytest.approx(50_000), "diffusion_coefficient_error": pytest.approx(1000),
        "fitted_rate": 45.0, "fitted_rate_error": 0.9, "q_value": 0.03,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("alpha", "error", "kind"),
    [(0.7, 0.1, "subdiffusive"), (0.85, 0.1, "normal"), (1.3, 0.1, "superdiffusive"), (1.0, np.nan, "normal"),
     (0.9, np.nan, "subdiffusive"), (1.19, 0.1, "normal")],
)  # fmt: skip
def test_anomalous(alpha, error, kind):
    found = EXTRACT.extract_anomalous_diffusion_parameters([1, 0.2, 45.0, alpha], [0, 0.01, 0.9, error], 0.03)
    assert found["diffusion_coefficient"] == pytest.approx(50_000)
    assert found["diffusion_coefficient_error"] == pytest.approx(1000)
    assert found["anomalous_exponent"] == alpha
    assert found["anomalous_exponent_error"] == pytest.approx(error, nan_ok=True)
    assert found["diffusion_type"] == kind


@pytest.mark.parametrize("q", [0, -1, np.nan, np.inf])
def test_q_must_be_positive(q):
    with pytest.raises(ConfigError, match="q_value"):
        EXTRACT.extract_simple_diffusion_coefficient([1, 1, 1], [0, 0, 0], q)


def test_parameters_must_be_as_many_as_their_errors():
    with pytest.raises(ConfigError, match="params"):
        EXTRACT.extract_simple_diffusion_coefficient([1, 1], [0, 0], 1)
    with pytest.raises(ConfigError, match="params"):
        EXTRACT.extract_anomalous_diffusion_parameters([1, 1, 1, 1], [0, 0, 0], 1)


@pytest.mark.parametrize("rate", RATES)
def test_every_model_at_every_rate(rate):
    for name, p in truth(rate).items():
        found = EXTRACT.extract_with_constraints(name, p, np.diag(1e-4 * np.square(p)), Q)
        assert found["diffusion_coefficient"] == pytest.approx(coefficient(name, p), rel=1e-12)
        assert found["diffusion_coefficient_error"] == pytest.approx(0.01 * coefficient(name, p), rel=1e-12)
        assert found["mc_diffusion_coefficient_error"] == pytest.approx(0.01 * coefficient(name, p), rel=0.1)
        assert found["mc_n_successful_samples"] == 1000
        assert "physical_constraint_warning" not in found


def test_a_relaxation_time_is_no_rate():
    time, beta = 4.0, 0.7
    covariance = np.diag([0, 0, 0.2**2, 0.01**2])
    found = EXTRACT.extract_with_constraints("stretched_exponential", [1, 0.2, time, beta], covariance, 2.0)
    assert found["fitted_rate"] == pytest.approx(0.25)
    assert found["fitted_rate_error"] == pytest.approx(0.25 * 0.2 / 4)
    assert found["diffusion_coefficient"] == pytest.approx(0.25 / 4)
    mean, _ = integrate.quad(lambda t: np.exp(-((t / time) ** beta)), 0, np.inf)  # of g1
    assert found["mean_relaxation_time"] == pytest.approx(mean, rel=1e-6)
    assert (found["relaxation_time"], found["stretching_exponent"]) == (time, beta)
    assert (found["relaxation_time_error"], found["stretching_exponent_error"]) == pytest.approx((0.2, 0.01))


def test_two_decays():
    covariance = np.diag([0, 0, 1.0, 0, 0.04])
    found = EXTRACT.extract_with_constraints("double_exponential", [1, 0.1, 20.0, 0.3, 2.0], covariance, 2.0)
    assert (found["diffusion_coefficient"], found["diffusion_coefficient_2"]) == pytest.approx((5.0, 0.5))
    assert (found["diffusion_coefficient_error"], found["diffusion_coefficient_error_2"]) == pytest.approx((0.25, 0.05))
    assert (found["fitted_rate"], found["fitted_rate_2"]) == (20.0, 2.0)
    assert found["amplitude_share"] == pytest.approx(0.25)
    with pytest.raises(ConfigError, match="model_type"):
        EXTRACT.extract_with_constraints("triple", [1], [[0]], 1)


def test_monte_carlo_of_a_linear_function_is_exact_within_its_noise():
    covariance = np.array([[4.0, 1.5, 0], [1.5, 1.0, 0], [0, 0, 1e-12]])
    found = EXTRACT.propagate_uncertainty_monte_carlo(
        lambda p, factor: factor * (p[0] - p[1]), [10, 3, 1e-5], covariance, 20_000, factor=2.0
    )
    spread = 2 * np.sqrt(4 + 1 - 3)
    assert found["mean"] == pytest.approx(14, abs=5 * spread / np.sqrt(20_000))
    assert found["error"] == pytest.approx(spread, rel=0.03)
    assert found["median"] == pytest.approx(14, abs=0.1)
    low, high = stats.norm(14, spread).interval(0.95)
    assert (found["95ci_lower"], found["95ci_upper"]) == pytest.approx((low, high), abs=0.15)
    assert found["n_successful_samples"] == 20_000


def test_monte_carlo_of_a_bent_function():
    found = EXTRACT.propagate_uncertainty_monte_carlo(lambda p: {"e": np.exp(p[0])}, [0.0], [[0.25]], 50_000)
    known = stats.lognorm(0.5)
    assert found["e"] == found["e_mean"] == pytest.approx(known.mean(), rel=0.02)
    assert found["e_error"] == pytest.approx(known.std(), rel=0.05)
    assert found["e_median"] == pytest.approx(1, rel=0.02)
    assert (found["e_95ci_lower"], found["e_95ci_upper"]) == pytest.approx(known.interval(0.95), rel=0.03)


def test_monte_carlo_draws_are_seeded_and_failures_counted():
    def picky(p, errors):
        assert errors == pytest.approx([1.0, 0.0])
        if p[0] < 0:
            raise ValueError("negative")
        assert p[1] == 5.0
        return p[0]

    covariance = np.array([[1.0, np.nan], [np.nan, np.nan]])  # the second one is on its bound
    np.random.seed(0)  # noqa: NPY002
    first = EXTRACT.propagate_uncertainty_monte_carlo(picky, [0.0, 5.0], covariance)
    assert first == EXTRACT.propagate_uncertainty_monte_carlo(picky, [0.0, 5.0], covariance)
    assert 430 < first["n_successful_samples"] < 570
    other = DiffusionCoefficientExtractor(random_state=1).propagate_uncertainty_monte_carlo(
        picky, [0.0, 5.0], covariance
    )
    assert other != first
    assert EXTRACT.propagate_uncertainty_monte_carlo(lambda p: np.nan, [0.0], [[1.0]]) == {"n_successful_samples": 0}
    for count, spread in ((1, [[1.0]]), (10, [1.0])):
        with pytest.raises(ConfigError, match="param_cov"):
            EXTRACT.propagate_uncertainty_monte_carlo(lambda p: p[0], [0.0], spread, count)


@pytest.mark.parametrize(
    ("name", "params", "deviations", "says"),
    [
        ("simple_diffusion", [1, 0.2, -1.0], [0, 0, 0.1], "must be positive"),
        ("simple_diffusion", [1, 0.2, 1.0], [0, 0, np.nan], "has no error"),
        ("simple_diffusion", [1, 0.2, 1.0], [0, 0, 1.1], "larger than its value"),
        ("simple_diffusion", [1, 1.2, 1.0], [0, 0, 0.1], "contrast"),
        ("simple_diffusion", [1, 0.0, 1.0], [0, 0, 0.1], "contrast"),
        ("anomalous_diffusion", [1, 0.2, 1.0, 2.1], [0, 0, 0.1, 0], "exponent"),
        ("stretched_exponential", [1, 0.2, 1.0, 2.5], [0, 0, 0.1, 0], "exponent"),
        ("double_exponential", [1, 0.6, 1.0, 0.6, 0.1], [0, 0, 0.1, 0, 0.01], "contrast"),
    ],
)
def test_what_cannot_be_is_said(name, params, deviations, says):
    covariance = np.diag(np.square(deviations))
    found = EXTRACT.extract_with_constraints(name, params, covariance, 1.0)
    assert says in found["physical_constraint_warning"]
    quiet = EXTRACT.extract_with_constraints(name, params, covariance, 1.0, apply_physical_constraints=False)
    assert "physical_constraint_warning" not in quiet
    assert quiet["diffusion_coefficient"] == found["diffusion_coefficient"]
