from __future__ import annotations

import numba
import numpy as np
import pytest

from xpcs_dask.fitting.kernel.apart import AWAY, apart, empty_apart
from xpcs_dask.fitting.kernel.gls import workspace as gls_workspace
from xpcs_dask.fitting.kernel.refine import workspace

WIDEST = 512
"""Bytes within which the beginnings of two arrays may turn SIMD off: eight vectors of 64 bytes."""


def owner(array):
    while array.base is not None:
        array = array.base
    return array


def room(array):
    """Bytes that belong to an array before its first and after its last number."""
    first, all_of_it = array.__array_interface__["data"][0], owner(array)
    before = first - all_of_it.__array_interface__["data"][0]
    return before, all_of_it.nbytes - before - array.nbytes


@pytest.mark.parametrize("shape", [(1,), (24,), (64,), (4, 24)])
def test_nothing_else_begins_near_it(shape):
    found = apart(*shape)
    assert (found.shape, found.flags.c_contiguous, np.count_nonzero(found)) == (shape, True, 0)
    assert min(room(found)) >= WIDEST


def test_the_same_inside_kernels():
    assert numba.typeof(empty_apart(24)) == numba.typeof(np.empty(24))  # else each kernel is compiled a second time
    inside = empty_apart.py_func(24)
    assert inside.shape == (24,)
    assert min(room(inside)) >= WIDEST == 8 * AWAY


@pytest.mark.parametrize("make", [workspace, gls_workspace])
def test_whatever_has_a_number_for_each_delay_lies_apart(make):
    long = [array for array in make(24, 4) if array.ndim == 1 and array.size == 24 and not array.all()]
    assert len(long) >= 4
    assert all(min(room(array)) >= WIDEST for array in long)
