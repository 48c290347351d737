"""Rules for outliers against their definitions in scipy and statsmodels."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
from scipy import stats

from xpcs_dask.errors import ConfigError
from xpcs_dask.toolkit.outlier_detection import OutlierDetection

FIND = OutlierDetection()
DATA = np.concatenate([np.random.default_rng(0).standard_t(2, 200), [40.0, -35.0]])


def test_iqr():
    low, high = stats.scoreatpercentile(DATA, [25, 75])
    width = stats.iqr(DATA)
    for k in (1.5, 3.0):
        known = (low - DATA > k * width) | (DATA - high > k * width)
        np.testing.assert_array_equal(FIND.detect_outliers_iqr(DATA, k), known)


def test_mad():
    spread = stats.median_abs_deviation(DATA, scale="normal")
    for threshold in (3.5, 2.0):
        known = np.abs(DATA - np.median(DATA)) > threshold * spread
        np.testing.assert_array_equal(FIND.detect_outliers_mad(DATA, threshold), known)
    assert FIND.detect_outliers_mad(DATA).sum() > 2


def test_zscore():
    for threshold in (3.0, 1.0):
        np.testing.assert_array_equal(
            FIND.detect_outliers_zscore(DATA, threshold), np.abs(stats.zscore(DATA)) > threshold
        )


@pytest.mark.parametrize("method", ["iqr", "mad", "zscore"])
def test_shift_and_unit_change_nothing(method):
    find = FIND.methods[method]
    np.testing.assert_array_equal(find(DATA), find(DATA * 1e-9 + 7))


@pytest.mark.parametrize("method", ["iqr", "mad", "zscore"])
def test_what_is_no_number_is_an_outlier(method):
    find = FIND.methods[method]
    found = find(np.array([1.0, np.nan, 1.1, 0.95, 1.0, np.inf, 1.05]))
    assert found.tolist() == [False, True, False, False, False, True, False]
    assert find(np.full(3, np.nan)).all()
    assert not find(np.ones(5)).any()


def test_the_isolation_forest_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(ConfigError, match="pip install scikit-learn"):
        FIND.detect_outliers_isolation_forest(DATA)


def test_the_isolation_forest_is_called_with_a_seed(monkeypatch):
    class Forest:
        def __init__(self, contamination, random_state):
            assert (contamination, random_state) == (0.2, 0)

        def fit_predict(self, values):
            assert values.shape == (3, 1)
            return np.array([1, -1, 1])

    module = ModuleType("sklearn.ensemble")
    module.IsolationForest = Forest
    monkeypatch.setitem(sys.modules, "sklearn", ModuleType("sklearn"))
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", module)
    found = FIND.detect_outliers_isolation_forest([1, np.nan, 9, 1], contamination=0.2)
    assert found.tolist() == [False, True, True, False]


def test_the_real_isolation_forest():
    pytest.importorskip("sklearn")
    found = FIND.detect_outliers_isolation_forest(DATA, contamination=0.02)
    assert found[[-1, -2]].all()
    assert found.sum() <= 5


def test_residuals():
    y = np.ones(20)
    y[7] = 3
    predicted = 1 + 1e-3 * np.random.default_rng(1).standard_normal(20)
    assert np.flatnonzero(FIND.detect_residual_outliers(y, predicted)).tolist() == [7]
    assert FIND.detect_residual_outliers(y, predicted, "zscore", threshold=99).sum() == 0
    with pytest.raises(ConfigError, match="method"):
        FIND.detect_residual_outliers(y, predicted, "none")


def test_the_consensus_is_more_than_half(monkeypatch):
    x, flat = np.arange(4.0), np.ones(4)
    votes = {"mad": [1, 1, 1, 0], "iqr": [1, 1, 0, 0], "zscore": [1, 0, 0, 0]}
    monkeypatch.setattr(FIND, "methods", {name: lambda r, v=v: np.array(v, bool) for name, v in votes.items()})
    found = FIND.robust_outlier_detection(x, flat, lambda t, a: a + 0 * t, [1.0])
    assert list(found) == ["mad", "iqr", "zscore", "consensus"]
    assert found["consensus"].tolist() == [True, True, False, False]
    two = FIND.robust_outlier_detection(x, flat, lambda t, a: a + 0 * t, [1.0], methods=["mad", "iqr"])
    assert two["consensus"].tolist() == [True, True, False, False]
    with pytest.raises(ConfigError, match="methods"):
        FIND.robust_outlier_detection(x, flat, lambda t, a: a + 0 * t, [1.0], methods=[])


def test_residuals_are_judged_in_units_of_their_errors():
    rng = np.random.default_rng(3)
    error = np.where(np.arange(200) < 150, 0.01, 1.0)
    y = 1 + error * rng.uniform(-2, 2, 200)
    y[20] = 1.3
    constant = lambda t, a: a + 0 * t  # noqa: E731
    found = FIND.robust_outlier_detection(np.arange(200.0), y, constant, [1.0], sigma=error)
    assert np.flatnonzero(found["consensus"]).tolist() == [20]
    blind = FIND.robust_outlier_detection(np.arange(200.0), y, constant, [1.0])
    assert not blind["consensus"][20] or blind["consensus"].sum() > 10
