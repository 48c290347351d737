"""Natural scales: what is transformed, there and back, and the derivative against differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from xpcs_dask.fitting.models import DOUBLE, SIMPLE, SINGLE, Model, Parameter
from xpcs_dask.fitting.scales import Scale, back, forward, natural_scales, slope

DOUBLE_VALUES = np.array([[0.2, 1e-3, 0.9, 1.0, 5e-2, 1.1, 0.4], [0.05, 1e-6, 1.5, 0.98, 1.0, 0.6, 0.999]])


def test_times_are_logarithms_and_fractions_logits():
    scales = natural_scales(DOUBLE)
    expected = DOUBLE_VALUES.copy()
    expected[:, [1, 4]] = np.log(expected[:, [1, 4]])
    expected[:, 6] = logit(expected[:, 6])
    np.testing.assert_allclose(forward(DOUBLE_VALUES, scales), expected, rtol=1e-14)
    assert natural_scales(SIMPLE) == (Scale.IDENTITY, Scale.LOG, Scale.IDENTITY)


@pytest.mark.parametrize(("lower", "upper"), [(0.0, 2.0), (-1.0, 1.0), (-np.inf, np.inf)])
def test_only_a_fraction_of_one_is_a_logit(lower, upper):
    model = Model.from_function(lambda x, f: f * x, [Parameter(name="fraction", lower=lower, upper=upper)])
    assert natural_scales(model) == (Scale.IDENTITY,)


def test_contrast_is_no_logit_though_it_ranges_from_0_to_1():
    assert natural_scales(SINGLE)[0] == Scale.IDENTITY


def test_there_and_back():
    scales = natural_scales(DOUBLE)
    np.testing.assert_allclose(back(forward(DOUBLE_VALUES, scales), scales), DOUBLE_VALUES, rtol=1e-14)
    assert back(np.full((1, 7), 3.0), scales)[0, 6] == pytest.approx(expit(3.0), rel=1e-15)


def test_ends_of_the_scales_are_infinite_and_come_back():
    scales = natural_scales(DOUBLE)
    ends = DOUBLE_VALUES.copy()
    ends[:, 6] = [0.0, 1.0]
    natural = forward(ends, scales)
    assert natural[:, 6].tolist() == [-np.inf, np.inf]
    assert back(natural, scales)[:, 6].tolist() == [0.0, 1.0]
    assert np.isnan(forward(np.full((1, 7), -1.0), scales)[0, [1, 4, 6]]).all()


def test_slope_is_that_of_differences():
    scales = natural_scales(DOUBLE)
    step = 1e-6 * DOUBLE_VALUES * (1 - np.where(DOUBLE_VALUES < 1, DOUBLE_VALUES, 0))
    differences = (forward(DOUBLE_VALUES + step, scales) - forward(DOUBLE_VALUES - step, scales)) / (2 * step)
    np.testing.assert_allclose(slope(DOUBLE_VALUES, scales), differences, rtol=1e-7)


def test_the_argument_is_left_alone():
    values = DOUBLE_VALUES.copy()
    forward(values, natural_scales(DOUBLE))
    back(values, natural_scales(DOUBLE))
    np.testing.assert_array_equal(values, DOUBLE_VALUES)
