"""Starts: inside the box, the same every time, and good enough."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xpcs_dask.fitting import starts
from xpcs_dask.fitting.models import DOUBLE, SIMPLE, SINGLE, Model, Parameter
from xpcs_dask.fitting.problem import Problem

DELAY = np.geomspace(1e-4, 1, 40)


def problem_of(model, theta=None, fixed=None, x=DELAY, **changes):
    lower, upper = model.box(x, fixed=fixed)
    y = np.ones(x.shape[-1]) if theta is None else model.evaluate(x, *theta)
    fields = {"x": x, "y": y, "weight": np.ones(y.size), "model": model, "lower": lower, "upper": upper}
    return Problem(**(fields | changes))


def user(x, a, b):
    return a * x + b


def test_given_start_is_used_and_clipped():
    problem = problem_of(Model.from_function(user), lower=np.array([0.0, 0.0]), upper=np.array([1.0, 1.0]))
    found = starts.propose(problem, np.array([0.3, 5.0]))
    assert [s.tolist() for s in found] == [[0.3, 1.0]]


def test_unbounded_user_model_starts_at_ones():
    assert starts.propose(problem_of(Model.from_function(user)), None)[0].tolist() == [1.0, 1.0]


def test_models_own_start_sees_the_points_that_count():
    seen = {}

    def own(x, y, weight):
        seen.update(x=x, y=y, weight=weight)
        return [0.5, 2.0]

    model = Model.from_function(user, start=own)
    weight = np.ones(DELAY.size)
    weight[3] = 0.0
    assert starts.propose(problem_of(model, weight=weight), None)[0].tolist() == [0.5, 2.0]
    assert DELAY[3] not in seen["x"]
    assert seen["x"].shape == seen["y"].shape == seen["weight"].shape == (39,)


def test_failing_own_start_is_survived():
    def own(x, y, weight):
        raise RuntimeError("no idea")

    assert starts.propose(problem_of(Model.from_function(user, start=own)), None)[0].tolist() == [1.0, 1.0]


def test_spread_fills_the_box():
    model = Model.from_function(
        user, [Parameter(name="a", lower=1e-6, upper=1.0), Parameter(name="b", lower=-1, upper=1)]
    )
    points = np.array(starts.spread(problem_of(model), np.ones(2), 64))
    assert (points >= [1e-6, -1]).all()
    assert (points <= 1).all()
    decades = np.histogram(np.log10(points[:, 0]), bins=6, range=(-6, 0))[0]
    quarters = np.histogram(points[:, 1], bins=4, range=(-1, 1))[0]
    assert decades.min() >= 8
    assert quarters.min() >= 12
    joint = np.histogram2d(np.log10(points[:, 0]), points[:, 1], bins=4)[0]
    assert joint.min() >= 1


def test_negative_decades_are_negative():
    found = starts.from_cube(np.array([[0.0], [0.5], [1.0]]), np.array([-1e4]), np.array([-1.0]))
    np.testing.assert_allclose(found[:, 0], [-1e4, -1e2, -1.0])


def test_search_box_has_an_end():
    problem = problem_of(Model.from_function(user), lower=np.array([0.0, -np.inf]))
    lower, upper = starts.search_box(problem, np.array([2.0, 0.0]))
    assert lower.tolist() == [0.0, -10.0]
    assert upper.tolist() == [22.0, 10.0]


@pytest.mark.parametrize("tau", [3e-4, 0.01, 0.3])
@pytest.mark.parametrize("model", [SIMPLE, SINGLE], ids=lambda m: m.name)
def test_first_start_of_a_decay_is_near(model, tau):
    truth = {"contrast": 0.2, "tau": tau, "stretch": 0.9, "baseline": 1.02}
    problem = problem_of(model, [truth[name] for name in model.names])
    first = starts.propose(problem, None)[0]
    assert np.abs(np.log(first[model.index("tau")] / tau)) < 0.5
    assert first[model.index("baseline")] == pytest.approx(1.02, abs=0.05)


def test_starts_of_double_keep_the_order_and_the_box():
    problem = problem_of(DOUBLE, [0.2, 1e-3, 1.0, 1.0, 0.1, 1.0, 0.5], fixed={"stretch1": 1.3, "baseline": 1.0})
    found = np.array(starts.propose(problem, None, "thorough"))
    assert len(found) == 8
    assert (found >= problem.lower).all()
    assert (found <= problem.upper).all()
    assert (found[:, 1] < found[:, 4]).all()
    assert (found[:, 2] == 1.3).all()
    assert (found[:, 3] == 1.0).all()
    cost = [problem.objective(theta) for theta in found]
    assert cost == sorted(cost)


def test_same_starts_every_time():
    problem = problem_of(SINGLE, [0.2, 0.01, 1.0, 1.0])
    np.testing.assert_array_equal(starts.propose(problem, None), starts.propose(replace(problem), None))


def test_around_stays_inside_and_differs():
    problem = problem_of(SINGLE, [0.2, 0.01, 1.0, 1.0])
    found = starts.around(problem, np.array([0.2, 0.01, 1.0, 1.0]), 3)
    assert len({tuple(theta) for theta in found}) == 3
    assert all((theta >= problem.lower).all() and (theta <= problem.upper).all() for theta in found)
