from __future__ import annotations

import numpy as np
import pytest

from xpcs_dask.errors import ConfigError, UnknownParameterError
from xpcs_dask.fitting.candidates import candidates, nested
from xpcs_dask.fitting.models import Model

X = np.geomspace(1e-3, 10, 30)


def pairs(given, **bounds):
    """(smaller, larger, null) of the nested ones."""
    models = candidates(given)
    boxes = [one.model.box(X, {k: v for k, v in bounds.items() if k in one.model.names}, one.fixed) for one in models]
    found = nested(models, boxes)
    return {(models[p.small].name, models[p.large].name): dict(p.null) for p in found}


def test_the_models_known_by_name():
    found = pairs(["simple", "single", "double"])
    assert found == {("simple", "single"): {"stretch": 1.0}, ("simple", "double"): {}, ("single", "double"): {}}


def test_a_special_case_equals_the_larger_model_at_the_null():
    (simple, single), ((_, null),) = candidates(["simple", "single"]), pairs(["simple", "single"]).items()
    values = {"contrast": 0.3, "tau": 0.1, "baseline": 1.02}
    both = [one.model.evaluate(X, *({**values, **null}[name] for name in one.model.names)) for one in (simple, single)]
    np.testing.assert_allclose(both[0], both[1], rtol=1e-15)


def test_what_is_held_makes_a_special_case():
    found = pairs([("single", {"stretch": 1.5}), "single", ("single", {"stretch": 1.5, "baseline": 1.0}), "simple"])
    assert found == {
        ("single(stretch=1.5)", "single"): {"stretch": 1.5},
        ("single(stretch=1.5, baseline=1)", "single"): {"stretch": 1.5, "baseline": 1.0},
        ("single(stretch=1.5, baseline=1)", "single(stretch=1.5)"): {"baseline": 1.0},
        ("simple", "single"): {"stretch": 1.0},
    }


def test_a_null_outside_the_box_is_no_special_case():
    assert ("simple", "single") not in pairs(["simple", "single"], stretch=(1.2, 2.0))
    assert ("simple", "single") in pairs(["simple", "single"], stretch=(0.8, 2.0))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["single", ("double", {"fraction": 0.5})], []),
        (["single", ("double", {"stretch2": 1.0})], []),
        (["single", ("double", {"baseline": 1.0})], []),
        (
            [("single", {"baseline": 1.0}), ("double", {"baseline": 1.0})],
            [("single(baseline=1)", "double(baseline=1)")],
        ),
        ([("single", {"baseline": 1.1}), ("double", {"baseline": 1.0})], []),
    ],
)
def test_one_decay_in_two_that_are_held(given, expected):
    assert list(pairs(given)) == expected


def test_functions_of_ones_own():
    def line(x, a, b):
        return a + b * x

    def other(x, a, b):
        return a - b * x

    assert pairs([(line, {"b": 0.0}), line]) == {("line(b=0)", "line"): {"b": 0.0}}
    assert pairs([(line, {"b": 0.0}), other]) == {}
    records = [Model.from_function(line), (Model.from_function(line), {"b": 0.0})]
    assert pairs(records) == {("line(b=0)", "line"): {"b": 0.0}}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["single"], "two models or more"),
        ("single", "two models or more"),
        (["single", "single"], "single is given more than once"),
        (["single", "triple"], "unknown model 'triple'"),
    ],
)
def test_what_makes_no_comparison_is_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        candidates(given)


def test_a_held_parameter_must_be_there():
    with pytest.raises(UnknownParameterError, match="no parameter 'stretch'"):
        candidates(["single", ("simple", {"stretch": 1.0})])


def test_a_parameter_that_its_bounds_hold_makes_no_larger_model():
    models = candidates(["simple", "single"])
    boxes = [one.model.box(X) for one in models]
    boxes[1][0][2] = boxes[1][1][2] = 1.0
    assert nested(models, boxes) == ()
