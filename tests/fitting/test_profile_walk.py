"""Ways along profiles of known shape: where they end, and in how many steps."""

from __future__ import annotations

import numpy as np
import pytest

from xpcs_dask.fitting.profile_walk import OUTWARD, Walk


class Shape:
    """Fits of one curve with one parameter, whose rise has the root ``f(v)``."""

    def __init__(self, f, low=-np.inf, high=np.inf, variance=1.0, start=0.0):
        self.f = f
        self.z, self.chi2, self.covariance = np.array([[start]]), np.array([7.0]), np.array([[[variance]]])
        self.lower, self.upper = np.array([low]), np.array([high])
        self.position, self.times = np.array([0]), np.array([False])
        self.seen = []

    def fit(self, curve, held, value, start):
        self.seen += value.tolist()
        return 7.0 + np.array([self.f(v) for v in value]) ** 2, value[:, None].copy()


def walked(shape, side=1.0, rise=2.0):
    walk = Walk(shape, np.zeros(1, np.intp), np.zeros(1, np.intp), np.array([side]), np.array([rise]))
    walk.run()
    return float(walk.end[0]), bool(walk.open[0]), len(shape.seen)


@pytest.mark.parametrize("side", [-1.0, 1.0])
@pytest.mark.parametrize(
    ("f", "end", "most"),
    [
        (abs, 2.0, 1),
        (lambda v: abs(v) ** 0.5, 4.0, 12),
        (lambda v: abs(v) ** 12, 2 ** (1 / 12), 25),
        (lambda v: np.expm1(9 * abs(v)), np.log(3) / 9, 25),
        (lambda v: np.log1p(abs(v)), np.expm1(2), 15),
    ],
    ids=["straight", "root", "wall", "exponential", "logarithm"],
)
def test_ends_are_roots(f, end, most, side):
    found, is_open, steps = walked(Shape(f), side)
    assert found == pytest.approx(side * end, rel=2e-6)
    assert not is_open
    assert steps <= most + 1  # one more, to look at a bent way again


@pytest.mark.parametrize("variance", [1e-12, 1e12, np.nan, 0.0, np.inf])
def test_a_wrong_covariance_costs_steps_and_no_more(variance):
    found, is_open, steps = walked(Shape(lambda v: abs(v - 3.0), variance=variance, start=3.0))
    assert found == pytest.approx(5.0, rel=1e-6)
    assert not is_open
    assert steps <= 50


@pytest.mark.parametrize("beyond", [50.0, np.nan, np.inf])
def test_a_jump_is_found_by_halves(beyond):
    found, is_open, steps = walked(Shape(lambda v: 0.5 * v if v < 1.3 else beyond))
    assert found == pytest.approx(1.3, rel=2e-7)
    assert not is_open
    assert steps <= (60 if np.isfinite(beyond) else 35)


def test_a_box_that_ends_first_is_an_open_end():
    shape = Shape(lambda v: 0.1 * abs(v), low=-5.0, high=30.0)
    assert walked(shape, -1.0) == (-5.0, True, len(shape.seen))
    assert walked(shape)[:2] == (pytest.approx(20.0), False)
    edge = Shape(lambda v: abs(v - 1.0), low=0.0, high=1.0, start=1.0)
    assert walked(edge) == (1.0, True, 0)


def test_a_rise_that_levels_off_is_open_where_there_is_no_box():
    found, is_open, steps = walked(Shape(np.tanh))
    assert is_open
    assert found > 1e6
    assert steps <= OUTWARD + 1


def test_steps_outward_grow_slowly_and_cross_no_more_than_an_eighth_of_the_box():
    shape = Shape(lambda v: 1e-3 * v, low=0.0, high=80.0, variance=1e-6)
    walked(shape)
    places = np.array([0.0, *shape.seen])
    steps = np.diff(places)
    assert steps.max() < 10.0 + 1e-9
    assert (steps[1:] <= 3.0 * places[1:-1] + 1e-12).all()
    assert len(steps) >= 8


def test_no_rise_asked_for_is_no_way():
    assert walked(Shape(abs), rise=0.0) == (0.0, False, 0)
