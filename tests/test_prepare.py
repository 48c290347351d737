"""What the block functions are given: errors, counts and the length of the run, each from where the data have it."""

from __future__ import annotations

import numpy as np
import pytest
from engine.stack import stack

import xpcs_dask as xd
from xpcs_dask.config import FitConfig
from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.layout import Flag
from xpcs_dask.prepare import levels, operands

AUTO, QUOTED = FitConfig(), FitConfig(errors="quoted")
DATA = stack(files=3, bins=4)
TOLD = DATA.assign_coords(
    rate=(("file", "qbin"), np.full((3, 4), 2.0)),
    runs=("file", [1, 10, 100]),
    n_pixels=("qbin", np.arange(1.0, 5.0)),
    frames=("file", [1000.0, 2000.0, np.nan]),
    frame_time=("file", [1e-3, 1e-3, 1e-3]),
    stride=("file", [1, 2, 1]),
    average=("file", [1, 4, 1]),
    error_kind=("file", np.array(["quoted", "placeholder", "none"])),
)


def given(data=TOLD, config=AUTO):
    _, others = operands(data, config)
    return dict(zip(("err", "products", "rate", "pixels", "run", "counts", "frames", "clusters"), others, strict=True))


def test_coincidences_are_those_of_all_runs():
    assert given()["rate"].dims == ("file", "qbin")
    np.testing.assert_array_equal(given()["rate"].data, 2.0 * np.array([[1], [10], [100]]) * np.ones((3, 4)))
    np.testing.assert_array_equal(given(TOLD.drop_vars("runs"))["rate"].data, 2.0)


def test_a_run_lasts_all_its_raw_frames():
    np.testing.assert_allclose(given()["run"].data, [1.0, 16.0, np.nan])
    np.testing.assert_allclose(given(TOLD.drop_vars(["stride", "average"]))["run"].data, [1.0, 2.0, np.nan])


def test_counts_are_those_of_one_pixel_in_one_run():
    """Every pixel contributes the square of its counts to the rate."""
    expected = np.sqrt(2.0 / np.arange(1.0, 5.0)) * np.ones((3, 1))
    np.testing.assert_allclose(given()["counts"].data, expected)
    np.testing.assert_array_equal(given()["frames"].data, [1000.0, 2000.0, np.nan])


def test_errors_that_measure_nothing_are_not_believed_unless_asked_for():
    seen = np.isfinite(given()["err"].data).all(axis=(1, 2))
    assert seen.tolist() == [True, False, False]
    assert np.isfinite(given(config=QUOTED)["err"].data).all()


def test_what_data_lack_is_none():
    _, others = operands(DATA.drop_vars(["n_products", "g2_err"]), AUTO)
    assert others == [None] * 8
    assert levels(DATA) is None
    assert levels(DATA.assign_coords(level=("delay", np.arange(32)))).tolist() == list(range(32))
    assert levels(DATA.assign_coords(level=0)) is None


def test_counts_along_other_dimensions_are_refused():
    with pytest.raises(ConfigError, match="n_pixels has dimensions"):
        operands(DATA.assign_coords(n_pixels=("other", [1.0])), AUTO)


def test_the_same_fits_from_lazy_counts():
    lazy = xd.fit(TOLD.chunk(file=1, qbin=3).reset_coords("rate").set_coords("rate"), "simple").compute()
    eager = xd.fit(TOLD, "simple")
    for name in ("value", "flags", "quality"):
        np.testing.assert_array_equal(lazy[name].values, eager[name].values)


def test_pixels_and_counts_reach_the_error_model():
    few, many = (xd.quality(TOLD.assign_coords(n_pixels=n))["sigma"].isel(file=0) for n in (3.0, 1000.0))
    assert (few > 1.2 * many).any()
    dim = TOLD.assign_coords(level=("delay", np.zeros(32)), rate=TOLD["rate"] * 1e-5)
    assert (xd.fit(dim, "simple")["flags"][0] & int(Flag.STARVED) > 0).all()
    assert (xd.fit(dim, "simple", errors="smoothed")["flags"][0] & int(Flag.STARVED) == 0).all()
