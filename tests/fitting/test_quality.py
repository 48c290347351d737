"""Which points are used, with which weight, and why not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xpcs_dask.fitting.quality import PointFlag, equal, quoted

MISSING, ZERO_COUNT, ZERO_ERROR, FEW = (
    PointFlag.MISSING,
    PointFlag.ZERO_COUNT,
    PointFlag.ZERO_ERROR,
    PointFlag.FEW_PRODUCTS,
)
UNUSED = PointFlag.NOT_USED
NAN, INF = np.nan, np.inf

CASES = [
    (1.2, 0.5, 100, 0),
    (-1.2, 0.5, 100, 0),
    (NAN, 0.5, 100, MISSING),
    (INF, 0.5, 100, MISSING),
    (-INF, 0.5, 100, MISSING),
    (1.2, NAN, 100, MISSING),
    (1.2, INF, 100, MISSING),
    (NAN, NAN, 100, MISSING),
    (1.2, 0.0, 100, ZERO_ERROR),
    (1.2, -0.0, 100, ZERO_ERROR),
    (1.2, -0.5, 100, ZERO_ERROR),
    (1.2, -INF, 100, MISSING | ZERO_ERROR),
    (0.0, 0.5, 100, ZERO_COUNT),
    (-0.0, 0.5, 100, ZERO_COUNT),
    (0.0, 0.0, 100, ZERO_COUNT | ZERO_ERROR),
    (1.2, 0.5, 4, 0),
    (1.2, 0.5, 3, FEW),
    (1.2, 0.5, 0, FEW),
    (1.2, 0.5, NAN, 0),
    (1.2, 0.0, 1, ZERO_ERROR | FEW),
    (NAN, NAN, 0, MISSING | FEW),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("g2", "err", "products", "flag"), CASES)
def test_each_rule(g2, err, products, flag, dtype):
    weight, flags = quoted(np.array([[g2]], dtype), np.array([[err]], dtype), np.array([[products]]), 4)
    assert flags.tolist() == [[int(flag | UNUSED if flag else 0)]]
    assert weight.tolist() == [[0.0 if flag else 1 / err]]
    assert (weight.dtype, flags.dtype) == (np.float64, np.uint8)


def test_bits_are_those_that_are_stored():
    assert [int(flag) for flag in PointFlag] == [1, 2, 4, 8, 16, 32, 64, 128]


def test_weight_is_computed_in_float64():
    err = np.float32(0.1)
    assert quoted(np.ones((1, 1), np.float32), np.array([[err]]))[0][0, 0] == 1 / np.float64(err)


def test_error_without_a_finite_inverse_is_not_used():
    weight, flags = quoted(np.ones((1, 2)), np.array([[5e-324, 1e-3]]))
    assert weight.tolist() == [[0.0, 1e3]]
    assert flags.tolist() == [[ZERO_ERROR | UNUSED, 0]]


def test_curve_with_only_infinite_errors_has_no_data():
    weight, flags = quoted(np.ones((2, 3), np.float32), np.array([[INF] * 3, [1.0] * 3], np.float32))
    assert weight.tolist() == [[0.0] * 3, [1.0] * 3]
    assert flags.tolist() == [[MISSING | UNUSED] * 3, [0] * 3]


def test_products_and_errors_may_be_shared_by_curves():
    g2, err, products = np.ones((2, 3)), np.array([[0.5, 0.25, 0.0]]), np.array([9, 3, 9])
    weight, flags = quoted(g2, err, products, 4)
    assert weight.tolist() == [[2.0, 0.0, 0.0]] * 2
    assert flags.tolist() == [[0, FEW | UNUSED, ZERO_ERROR | UNUSED]] * 2


def test_inputs_are_not_changed():
    g2, err = np.array([[1.0, np.nan]]), np.array([[0.0, 1.0]])
    g2.flags.writeable = err.flags.writeable = False
    quoted(g2, err, np.array([1, 1]))
    equal(g2, err, np.array([1, 1]))


def test_equal_weights_believe_no_error():
    g2 = np.array([[1.2, 1.2, 1.2, 0.0, 0.0, NAN, 1.2]], np.float32)
    err = np.array([[0.5, 0.0, NAN, 0.0, 0.5, 0.5, 0.5]], np.float32)
    weight, flags = equal(g2, err, np.array([9, 9, 9, 9, 9, 9, 3]), 4)
    assert weight.tolist() == [[1, 1, 1, 1, 1, 0, 0]]
    assert flags.tolist() == [[0, 0, 0, 0, 0, MISSING | UNUSED, FEW | UNUSED]]


def test_equal_weights_without_errors_keep_zeros():
    weight, flags = equal(np.array([[0.0, 1.0, INF]]))
    assert weight.tolist() == [[1.0, 1.0, 0.0]]
    assert flags.tolist() == [[0, 0, MISSING | UNUSED]]


values = st.sampled_from([NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0, 1e-3, 5e-324, 1e308]) | st.floats(width=32)


@given(hnp.arrays("f8", (3, 5), elements=values), hnp.arrays("f8", (3, 5), elements=values), st.integers(1, 6))
def test_a_point_is_used_exactly_where_nothing_is_wrong(g2, err, least):
    products = np.array([1, 2, 3, 4, 5])
    weight, flags = quoted(g2, err, products, least)
    # One point at a time, in words: this is the definition.
    for k in np.ndindex(3, 5):
        good = np.isfinite(g2[k]) and g2[k] != 0 and 0 < err[k] < INF and err[k] > 1e-308 and products[k[1]] >= least
        assert (weight[k] > 0) == good
        assert (flags[k] == 0) == good
        assert (flags[k] & UNUSED == 0) == good
    assert np.isfinite(weight).all()
