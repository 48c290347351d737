"""What is said of a covariance does not change with units, and gets worse as parameters are told apart less."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from xpcs_dask.errors import ConfigError
from xpcs_dask.toolkit.covariance_analysis import CovarianceAnalyzer

ANALYZER = CovarianceAnalyzer()
UNITS = np.array([1e-9, 1.0, 1e7])


def matrix(correlation, errors=(0.1, 0.02, 0.3)):
    c = np.eye(3)
    c[0, 1] = c[1, 0] = correlation
    c[1, 2] = c[2, 1] = 0.2
    return c * np.outer(errors, errors)


POPT = np.array([1.0, -0.5, 2.0])


def test_numbers_are_those_of_numpy():
    found = ANALYZER.analyze_covariance_matrix(matrix(0.6), POPT, "decay")
    correlation = matrix(0.6, (1, 1, 1))
    values = np.linalg.eigvalsh(correlation)
    assert found["function_name"] == "decay"
    assert found["n_parameters"] == 3
    np.testing.assert_allclose(found["parameter_errors"], [0.1, 0.02, 0.3])
    np.testing.assert_allclose(found["relative_errors"], [0.1, 0.04, 0.15])
    np.testing.assert_allclose(found["correlation_matrix"], correlation)
    assert found["correlation_matrix"][0, 1] == pytest.approx(0.6)
    assert found["condition_number"] == pytest.approx(np.linalg.cond(correlation))
    assert found["determinant"] == pytest.approx(np.linalg.det(correlation))
    np.testing.assert_allclose(found["eigenvalues"], values)
    vectors = found["eigenvectors"]
    np.testing.assert_allclose(correlation @ vectors, vectors * values, atol=1e-12)
    metrics = found["stability_metrics"]
    assert metrics["log_determinant"] == pytest.approx(np.linalg.slogdet(correlation)[1])
    assert metrics["frobenius_norm"] == pytest.approx(np.linalg.norm(matrix(0.6)))
    assert metrics["spectral_norm"] == pytest.approx(np.linalg.norm(matrix(0.6), 2))
    assert metrics["min_variance"] == pytest.approx(4e-4)
    assert metrics["max_variance"] == pytest.approx(0.09)
    assert metrics["variance_ratio"] == pytest.approx(225)
    assert metrics["matrix_rank"] == 3
    assert metrics["rank_deficiency"] == 0
    assert found["is_numerically_stable"]
    assert found["stability_issues"] == []
    assert metrics["n_stability_issues"] == 0


def test_components_are_those_of_the_correlations_the_widest_first():
    found = ANALYZER.analyze_covariance_matrix(matrix(0.9), POPT)["principal_components"]
    shares = [part["explained_variance"] for part in found]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1)
    np.testing.assert_allclose(np.sum(np.square(list(found[0]["loadings"].values()))), 1)
    assert found[0]["dominant_parameter"] in (0, 1)


def test_units_change_nothing_but_the_errors():
    plain = ANALYZER.analyze_covariance_matrix(matrix(0.97), POPT)
    scaled = ANALYZER.analyze_covariance_matrix(matrix(0.97) * np.outer(UNITS, UNITS), POPT * UNITS)
    for name in ("condition_number", "determinant", "eigenvalues", "correlation_matrix", "relative_errors"):
        np.testing.assert_allclose(scaled[name], plain[name], rtol=1e-8)
    assert scaled["is_numerically_stable"] == plain["is_numerically_stable"] is True
    assert scaled["stability_issues"] == plain["stability_issues"]
    assert scaled["stability_metrics"]["stability_score"] == pytest.approx(
        plain["stability_metrics"]["stability_score"]
    )


def test_the_score_goes_down_as_an_eigenvalue_gets_tiny():
    analyzer = CovarianceAnalyzer(1e6)
    scores = [
        analyzer.analyze_covariance_matrix(matrix(np.sqrt(0.96) * (1 - tiny)), POPT)["stability_metrics"][
            "stability_score"
        ]
        for tiny in (1.0, 0.3, 1e-2, 1e-4, 1e-6, 1e-9)
    ]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.9
    assert scores[-1] == 0.0


def test_parameters_that_are_not_told_apart_are_not_stable():
    singular = np.outer([0.1, 0.02, 0.3], [0.1, 0.02, 0.3])
    found = ANALYZER.analyze_covariance_matrix(singular, POPT)
    assert not found["is_numerically_stable"]
    assert found["stability_metrics"]["stability_score"] == 0
    assert found["stability_metrics"]["rank_deficiency"] == 2
    assert len(found["high_correlations"]) == 3
    assert found["high_correlations"][0] == {"parameter_1": 0, "parameter_2": 1, "correlation": pytest.approx(1)}
    assert any("correlated" in text for text in ANALYZER.suggest_parameter_constraints(found, POPT))


def test_the_threshold_is_the_condition_number_of_the_correlations():
    condition = np.linalg.cond(matrix(0.9, (1, 1, 1)))
    for threshold, stable in ((condition * 1.01, True), (condition * 0.99, False)):
        found = CovarianceAnalyzer(threshold).analyze_covariance_matrix(matrix(0.9), POPT)
        assert found["is_numerically_stable"] is stable
        assert any("condition number" in issue for issue in found["stability_issues"]) is not stable


@pytest.mark.parametrize("missing", [np.nan, np.inf, 0.0])
def test_a_parameter_without_an_error_is_named_and_the_others_are_judged(missing):
    pcov = matrix(0.6)
    pcov[2, :] = pcov[:, 2] = 0.0 if missing == 0 else np.nan
    pcov[2, 2] = missing
    found = ANALYZER.analyze_covariance_matrix(pcov, POPT)
    assert any("parameter 2" in issue for issue in found["stability_issues"])
    assert found["condition_number"] == pytest.approx((1 + 0.6) / (1 - 0.6))
    assert not found["is_numerically_stable"]
    assert found["stability_metrics"]["stability_score"] == 0
    advice = ANALYZER.suggest_parameter_constraints(found, POPT)
    assert bool([text for text in advice if "parameter 2 has no error" in text]) == (missing != 0)
    json.dumps(found)


def test_a_covariance_of_infinities_is_answered():
    found = ANALYZER.analyze_covariance_matrix(np.full((3, 3), np.inf), POPT)
    assert not found["is_numerically_stable"]
    assert found["condition_number"] == np.inf
    assert len(ANALYZER.suggest_parameter_constraints(found, POPT)) == 3


def test_matrices_that_are_none_are_told():
    crooked = matrix(0.6)
    crooked[0, 1] *= 1.5
    assert "the matrix is not symmetric" in ANALYZER.analyze_covariance_matrix(crooked, POPT)["stability_issues"]
    negative = matrix(0.9)
    negative[1, 2] = negative[2, 1] = -0.9 * 0.02 * 0.3
    negative[0, 2] = negative[2, 0] = 0.9 * 0.1 * 0.3
    found = ANALYZER.analyze_covariance_matrix(negative, POPT)
    assert any("not positive" in issue for issue in found["stability_issues"])
    assert not found["is_numerically_stable"]


def test_vague_parameters_are_to_be_bounded_and_good_ones_are_left_alone():
    found = ANALYZER.analyze_covariance_matrix(matrix(0.1), np.array([0.05, -0.5, 2.0]))
    advice = ANALYZER.suggest_parameter_constraints(found, np.array([0.05, -0.5, 2.0]))
    assert len(advice) == 1
    assert "parameter 0 is known to 200%" in advice[0]
    good = ANALYZER.analyze_covariance_matrix(matrix(0.1), POPT)
    assert ANALYZER.suggest_parameter_constraints(good, POPT) == []


def test_it_is_stored_whole():
    found = ANALYZER.analyze_covariance_matrix(matrix(0.6), POPT)
    assert json.loads(json.dumps(found))["correlation_matrix"][0][1] == pytest.approx(0.6)
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again["eigenvectors"], found["eigenvectors"])


def test_shapes_must_fit():
    with pytest.raises(ConfigError, match="there are 2 parameters"):
        ANALYZER.analyze_covariance_matrix(matrix(0.6), POPT[:2])
    with pytest.raises(ConfigError, match="above 1"):
        CovarianceAnalyzer(0.5)
