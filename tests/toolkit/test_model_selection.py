"""Criteria against statsmodels, cross-validation against folds made by hand, and which model is chosen."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from statsmodels.tools import eval_measures

from tests.toolkit.diffusion_truth import RATES, curve, delays, truth
from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting import criteria
from xpcs_dask.toolkit.diffusion_models import DiffusionModels
from xpcs_dask.toolkit.model_selection import ModelSelectionFramework

CHOOSE = ModelSelectionFramework()
INFO = DiffusionModels.get_model_info()
X = np.linspace(-1, 1, 40)


def line(x, a, b):
    return a + b * x


def parabola(x, a, b, c):
    return a + b * x + c * x**2


def bent(seed=0, curvature=1.0):
    return 1 + X + curvature * X**2 + 0.1 * np.random.default_rng(seed).standard_normal(40)


def test_criteria_are_those_of_statsmodels_but_for_a_constant():
    y = bent()
    constant = 40 * (1 + np.log(2 * np.pi))  # of the Gaussian likelihood
    fits = [sm.OLS(y, np.vander(X, k)).fit() for k in (2, 3, 4)]
    for name in ("aic", "bic"):
        own = [
            getattr(CHOOSE, f"calculate_{name}")(k, 40, f.ssr, scale_known=False)
            for k, f in zip((2, 3, 4), fits, strict=True)
        ]
        known = [getattr(eval_measures, name)(f.llf, 40, k + 1) for k, f in zip((2, 3, 4), fits, strict=True)]
        np.testing.assert_allclose(own, np.array(known) - constant, rtol=1e-9)
    own = [CHOOSE.calculate_aicc(k, 40, f.ssr, scale_known=False) for k, f in zip((2, 3, 4), fits, strict=True)]
    known = [eval_measures.aicc(f.llf, 40, k + 1) for k, f in zip((2, 3, 4), fits, strict=True)]
    np.testing.assert_allclose(own, np.array(known) - constant, rtol=1e-9)


def test_criteria_of_known_errors_and_of_the_package():
    assert CHOOSE.calculate_aic(3, 50, 47.0) == pytest.approx(47 + 6)
    assert CHOOSE.calculate_bic(3, 50, 47.0) == pytest.approx(47 + 3 * np.log(50))
    assert CHOOSE.calculate_aicc(3, 50, 47.0) == pytest.approx(47 + 6 + 24 / 46)
    for known in (True, False):
        assert CHOOSE.calculate_bic(4, 60, 33.0, scale_known=known) == criteria.bic(33.0, 4, 60, known)
        assert CHOOSE.calculate_aicc(4, 60, 33.0, scale_known=known) == criteria.aicc(33.0, 4, 60, known)
    # as the number of points grows the correction vanishes
    assert CHOOSE.calculate_aicc(4, 10**9, 33.0) == pytest.approx(CHOOSE.calculate_aic(4, 10**9, 33.0))


@pytest.mark.parametrize("errors", [False, True])
def test_cross_validation_predicts_blocks_that_were_left_out(errors):
    y = bent()
    sigma = np.where(X < 0, 0.05, 0.2) if errors else None
    found = CHOOSE.cross_validate_model(parabola, X, y, [1, 1, 1], k_folds=5, sigma=sigma)
    weight = np.ones(40) if sigma is None else 1 / sigma
    assert found["n_successful_folds"] == 5
    left, total = [], 0.0
    for p, score in zip(found["cv_parameters"], found["cv_scores"], strict=True):
        off = (y - parabola(X, *p)) * weight
        # which points were unseen is found again from the parameters: these minimise over the others
        fold = next(m for m in _folds() if np.allclose(np.polyfit(X[~m], y[~m], 2, w=weight[~m])[::-1], p, rtol=1e-6))
        assert score == pytest.approx(np.mean(off[fold] ** 2), rel=1e-6)
        total += np.sum(off[fold] ** 2)
        left.append(fold)
    np.testing.assert_array_equal(np.sum(left, axis=0), 1)
    assert found["mean_cv_score"] == pytest.approx(total / 40, rel=1e-6)
    assert found["std_cv_score"] == pytest.approx(np.std(found["cv_scores"], ddof=1))


def _folds():
    """Every pair of blocks of four neighbours, one of each half."""
    for first in range(5):
        for second in range(5, 10):
            mask = np.zeros(40, bool)
            mask[4 * first : 4 * first + 4] = mask[4 * second : 4 * second + 4] = True
            yield mask


def test_folds_are_the_same_every_time_and_do_not_touch_the_global_generator():
    y = bent()
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again = (CHOOSE.cross_validate_model(line, X, y, [1, 1])["cv_scores"] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    other = ModelSelectionFramework(random_state=5).cross_validate_model(line, X, y, [1, 1])["cv_scores"]
    assert not np.array_equal(first, other)


def test_a_fold_that_fails_is_counted():
    calls = []

    def moody(x, a, b):
        calls.append(len(x))
        if X[2] not in np.asarray(x) and len(x) > 20:
            raise ValueError("not without this point")
        return a + b * x

    found = CHOOSE.cross_validate_model(moody, X, bent(), [1, 1])
    assert found["n_successful_folds"] == 4
    assert np.isnan(found["mean_cv_score"])
    assert np.isnan(found["cv_scores"]).sum() == 1
    for folds in (1, 21):
        with pytest.raises(ConfigError, match="k_folds"):
            CHOOSE.cross_validate_model(line, X, bent(), [1, 1], k_folds=folds)


def test_what_a_comparison_tells():
    y, sigma = bent(), np.full(40, 0.1)
    models = {"line": {"function": line}, "parabola": {"func": parabola, "bounds": [(-9, 9)] * 3, "p0": [0, 0, 0]},
              "bad": {"function": lambda x, a: 1 / 0}}  # fmt: skip
    found = CHOOSE.compare_models(models, X, y, sigma)
    known = sm.WLS(y, np.vander(X, 3, increasing=True), weights=sigma**-2.0).fit()
    told = found["parabola"]
    np.testing.assert_allclose(told["parameters"], known.params, rtol=1e-7)
    np.testing.assert_allclose(told["covariance"], known.normalized_cov_params, rtol=1e-5, atol=1e-12)
    assert told["r_squared"] == pytest.approx(known.rsquared)
    assert told["rmse"] == pytest.approx(np.sqrt(np.mean(known.resid**2)))
    assert told["chi_squared"] == pytest.approx(np.sum(known.resid**2 / sigma**2))
    assert told["bic"] == pytest.approx(told["chi_squared"] + 3 * np.log(40))
    assert (told["n_parameters"], told["n_data_points"], told["errors_known"]) == (3, 40, True)
    assert told["fitted_successfully"]
    assert told["cross_validation"]["n_successful_folds"] == 5
    assert not found["bad"]["fitted_successfully"]
    assert "ZeroDivisionError" in found["bad"]["error"]
    assert "cross_validation" not in CHOOSE.compare_models(models, X, y, sigma, use_cross_validation=False)["line"]
    with pytest.raises(ConfigError, match="function"):
        CHOOSE.compare_models({"empty": {}}, X, y)


@pytest.mark.parametrize("criterion", ["aic", "bic", "aicc", "cv", "combined"])
@pytest.mark.parametrize("sigma", [None, 0.1])
def test_the_right_model_is_chosen(criterion, sigma):
    models = {"line": {"function": line}, "parabola": {"function": parabola}}
    for curvature, right in ((1.0, "parabola"), (0.0, "line")):
        told = CHOOSE.compare_models(models, X, bent(2, curvature), None if sigma is None else np.full(40, sigma))
        found = CHOOSE.select_best_model(told, criterion)
        assert found["best_model"] == right
        assert found["best_model_results"] is told[right]
        assert found["all_model_results"] == told
        info = found["selection_info"]
        assert info["criterion"] == criterion
        assert info["differences"][right] == 0
        assert info["score"] == info["scores"][right]


def test_the_combined_score():
    y = bent()
    for sigma in (None, np.full(40, 0.1)):
        told = CHOOSE.compare_models({"line": {"function": line}}, X, y, sigma)["line"]
        mean = told["cross_validation"]["mean_cv_score"]
        misfit = 40 * (np.log(mean) if sigma is None else mean)
        for weight in (0.0, 0.3, 1.0):
            found = CHOOSE.select_best_model({"line": told}, "combined", weight)
            assert found["selection_info"]["score"] == pytest.approx((1 - weight) * told["bic"] + weight * misfit)


def test_the_simplest_within_one_standard_error_is_chosen_by_prediction():
    def told(mean, spread, count):
        return {"fitted_successfully": True, "n_parameters": count,
                "cross_validation": {"mean_cv_score": mean, "std_cv_score": spread,
                                     "n_successful_folds": 4}}  # fmt: skip

    results = {"large": told(1.0, 0.4, 5), "small": told(1.19, 0.4, 3), "tiny": told(1.21, 0.4, 2)}
    assert CHOOSE.select_best_model(results, "cv")["best_model"] == "small"  # 1.0 + 0.4 / sqrt(4)


def test_of_equals_the_first_is_chosen_and_failures_are_told():
    told = {"fitted_successfully": True, "n_parameters": 2}
    results = {"a": {**told, "bic": 5.0 + 1e-9}, "b": {**told, "bic": 5.0}, "c": {**told, "bic": np.nan}}
    assert CHOOSE.select_best_model(results)["best_model"] == "a"
    failed = {"a": {"error": "x", "fitted_successfully": False}}
    found = CHOOSE.select_best_model(failed)
    assert found["best_model"] is None
    assert found["reason"] == "no model could be fitted"
    assert "bic" in CHOOSE.select_best_model({"c": results["c"]})["reason"]
    with pytest.raises(ConfigError, match="criterion"):
        CHOOSE.select_best_model(results, "best")
    with pytest.raises(ConfigError, match="cv_weight"):
        CHOOSE.select_best_model(results, "combined", 1.5)


@pytest.mark.parametrize("rate", RATES)
def test_all_six_models_are_compared_at_every_rate(rate):
    x = delays(rate)
    for name, p in truth(rate).items():
        told = CHOOSE.compare_models(INFO, x, curve(name, x, p), use_cross_validation=False)
        assert all(one["fitted_successfully"] for one in told.values())
        np.testing.assert_allclose(told[name]["parameters"], p, rtol=1e-9)
        best = CHOOSE.select_best_model(told)["best_model"]
        same = {"anomalous_diffusion": "subdiffusion", "stretched_exponential": "subdiffusion"}  # one function
        assert best == same.get(name, name)


@pytest.mark.parametrize("name", INFO)
def test_all_six_models_are_cross_validated(name):
    x, p = delays(1e3), truth(1e3)[name]
    found = CHOOSE.cross_validate_model(INFO[name]["function"], x, curve(name, x, p), p, INFO[name]["bounds"])
    assert found["n_successful_folds"] == 5
    assert found["mean_cv_score"] < 1e-20
