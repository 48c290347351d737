"""Which fitted values are to be doubted, and the axis that is made for the others."""

import numpy as np
import pytest

from xpcs_dask.fitting.layout import Flag, Status
from xpcs_dask.physics.used_bins import DISTRUSTED
from xpcs_dask.plots import marked


@pytest.mark.parametrize("flag", Flag)
def test_the_flags_that_dispersion_distrusts_make_a_value_doubtful_and_a_poor_fit_too(flag):
    name = flag.name.lower()
    found = marked.kinds(np.array([Status.CONVERGED]), np.array([int(flag)], np.uint32))
    assert found[0] == (name if name in (*DISTRUSTED, "poor_fit") else "")


def test_no_fit_says_more_than_any_flag():
    status = np.array([Status.NO_DATA, Status.NOT_CONVERGED])
    assert marked.kinds(status, np.array([0, int(Flag.SLOW)], np.uint32)).tolist() == ["failed", "failed"]


def test_every_reason_has_a_shape_of_its_own():
    assert len(set(marked.SHAPES.values())) == len(marked.SHAPES)
    assert set(DISTRUSTED) < set(marked.SHAPES)


@pytest.mark.parametrize("log", [True, False])
def test_the_axis_holds_the_good_values_and_their_bars_but_not_wild_ones(log):
    values, kinds = np.array([1.0, 2.0, 3.0, 500.0]), np.array(["", "", "", "slow"])
    bars = np.array([0.9, 2.2, 3.3, 1e5])
    low, high = marked.limits([values], [kinds], log, [bars])
    assert low < 0.9
    assert 3.3 < high < 50


def test_without_a_good_value_the_axis_holds_all():
    low, high = marked.limits([np.array([1.0, 500.0])], [np.array(["slow", "weak"])], True)
    assert low < 1.0
    assert high > 500.0
    assert marked.limits([np.array([np.nan])], [np.array(["failed"])], True) == (0.1, 1.0)
