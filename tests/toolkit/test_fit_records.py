"""Results answer as arrays and as records, and are written as JSON and pickle, whatever became of the fits."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest

from xpcs_dask.fitting.layout import Flag
from xpcs_dask.toolkit.fit_records import FitLines, FitResults, FitTable, FitValues, Record, to_json
from xpcs_dask.toolkit.models import single_exp_all

VALUE = np.array([[0.2, 1e-3, 1.0, 1.0], [0.1, 2e-3, 0.8, 1.1], [np.nan] * 4, [np.nan] * 4])
ERROR = np.array([[0.01, 1e-4, 0.02, np.nan], [0.02, 2e-4, 0.0, 0.003], [-1.0] * 4, [-1.0] * 4])
X = np.geomspace(1e-5, 1, 128)


@pytest.fixture
def table():
    return FitTable(
        value=VALUE,
        stderr=ERROR,
        covariance=np.einsum("ij,ik->ijk", ERROR, ERROR),
        status=["success", "success", "failed", "insufficient_data"],
        message=["FittingSuccess", "FittingSuccess; standard", "Fitting failed: no minimum", "Fitting failed: few"],
        robust=np.array([True, False, False, False]),
        fit_x=X,
        function=single_exp_all,
        diagnostics={
            "flags": np.array([0, Flag.AT_BOUND | Flag.WEAK, 0, 0], np.uint32),
            "rung": np.array([1, 4, 0, 0], np.int8),
            "errors_from": np.array([4, 2, 0, 0], np.int8),
            "chi2": np.array([3.5, 7.0, np.nan, np.nan]),
            "leverage": np.arange(8.0).reshape(4, 2),
        },
        q_val=np.array([0.01, 0.02, 0.03, 0.04]),
    )


@pytest.fixture
def values(table):
    return FitValues(table)


def test_array_pattern(values):
    chosen = np.array([True, False, True, False])
    np.testing.assert_array_equal(values[chosen, 0, 1], VALUE[chosen, 1])
    np.testing.assert_array_equal(values[:, 1, 1], ERROR[:, 1])
    np.testing.assert_array_equal(values[1:3], np.stack([VALUE, ERROR], axis=1)[1:3])
    np.testing.assert_array_equal(np.asarray(values)[0], [VALUE[0], ERROR[0]])
    assert values.shape == (4, 2, 4)
    assert len(values) == 4
    np.testing.assert_array_equal((values * 2)[0, 0], 2 * VALUE[0])
    np.testing.assert_array_equal(values > 0, np.asarray(values) > 0)
    np.testing.assert_array_equal(values.copy(), np.asarray(values))
    assert np.nanmax(values) == 1.1


def test_record_pattern(values):
    first = values[0]
    np.testing.assert_array_equal(first["params"], VALUE[0])
    np.testing.assert_array_equal(first["param_errors"], ERROR[0])
    np.testing.assert_array_equal(first["covariance"], np.outer(ERROR[0], ERROR[0]))
    assert {name: first[name] for name in ("robust_fit", "q_index", "status", "q_value")} == {
        "robust_fit": True, "q_index": 0, "status": "success", "q_value": 0.01,
    }  # fmt: skip
    assert first["diagnostics"]["chi2"] == 3.5
    assert values[1]["diagnostics"]["flags"] == ["at_bound", "weak"]
    assert values[1]["diagnostics"]["rung"] == "trf"
    assert values[1]["diagnostics"]["errors_from"] == "scaled"
    np.testing.assert_array_equal(values[1]["diagnostics"]["leverage"], [2.0, 3.0])
    assert "error" not in first
    assert values[-2]["error"] == "Fitting failed: no minimum"
    assert [record["status"] for record in values] == ["success", "success", "failed", "insufficient_data"]
    assert [record["q_index"] for record in reversed(values)] == [3, 2, 1, 0]
    assert values[np.int64(1)] is values[1]
    with pytest.raises(IndexError):
        values[4]


def test_a_record_is_the_array_of_its_bin_too(values):
    np.testing.assert_array_equal(values[1][0], VALUE[1])
    assert values[1][1, 3] == 0.003
    np.testing.assert_array_equal(np.asarray(values[1]), [VALUE[1], ERROR[1]])
    with pytest.raises(KeyError):
        values[1]["nothing"]


def test_lines(table):
    lines = FitLines(table)
    curves = np.asarray(lines)
    assert curves.shape == (4, 128)
    np.testing.assert_allclose(curves[1], single_exp_all(X, *VALUE[1]), rtol=1e-15)
    assert np.isnan(curves[2:]).all()
    assert set(lines[0]) == {"fit_x", "fit_y", "success", "msg"}
    np.testing.assert_allclose(lines[0]["fit_y"], single_exp_all(X, *VALUE[0]), rtol=1e-15)
    assert lines[0]["success"] is True
    assert lines[2]["success"] is False
    assert lines[2]["fit_y"] is None
    assert lines[1]["msg"] == "FittingSuccess; standard"
    np.testing.assert_array_equal(np.asarray(lines[0:2]), curves[:2])
    np.testing.assert_array_equal(np.asarray(lines[2]), np.full(128, np.nan))
    np.testing.assert_array_equal(lines[:, 5], curves[:, 5])


@pytest.mark.parametrize("kind", [FitValues, FitLines, FitResults])
def test_json_and_pickle(table, kind):
    rows = kind(table)
    summary = Record(rows=rows, q_val=table.q_val, bounds=(np.zeros(4), [np.float32(1)]), deep={"a": np.arange(3)})
    plain = json.loads(json.dumps(summary))
    assert plain["q_val"] == table.q_val.tolist()
    assert plain["bounds"] == [[0, 0, 0, 0], [1]]
    assert plain["deep"] == {"a": [0, 1, 2]}
    assert len(plain["rows"]) == 4
    assert json.loads(json.dumps(summary, indent=1)).keys() == plain.keys()
    strict = json.loads(to_json(summary), parse_constant=pytest.fail)
    assert strict["rows"][0].keys() == plain["rows"][0].keys() == set(rows[0])
    for again in (pickle.loads(pickle.dumps(summary)), copy.deepcopy(summary)):
        assert isinstance(again["q_val"], np.ndarray)
        np.testing.assert_array_equal(np.asarray(again["rows"]), np.asarray(rows))
        assert again["rows"][1].keys() == rows[1].keys()
    assert isinstance(pickle.loads(pickle.dumps(rows[0])), type(rows[0]))


def test_json_says_what_the_records_say(values):
    first, *_, last = json.loads(to_json(values))
    assert first["params"] == VALUE[0].tolist()
    assert first["param_errors"] == [0.01, 1e-4, 0.02, None]
    assert last["params"] == [None] * 4
    assert last["param_errors"] == [-1.0] * 4
    assert last["error"] == "Fitting failed: few"


def test_results_of_the_engine_say_none_for_too_few_points(table):
    results = FitResults(table)
    assert results[3]["params"] is None
    assert results[3]["errors"] is None
    np.testing.assert_array_equal(results[2]["params"], VALUE[2])
    assert json.loads(to_json(results))[3]["params"] is None


def test_summary_keeps_its_arrays(table):
    summary = Record(q_val=table.q_val)
    assert summary.copy()["q_val"] is table.q_val
    assert {**summary}["q_val"] is table.q_val
    assert isinstance(summary.copy(), Record)
