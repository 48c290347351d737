"""The schedule against files that boost-corr wrote."""

import h5py
import numpy as np
import pytest
from conftest import CARRIED

from xpcs_dask.errors import ConfigError
from xpcs_dask.simulate.multitau import schedule

FILES = sorted(path.name for path in (CARRIED / "boost_corr").glob("*.hdf") if "twotime" not in path.name)


@pytest.mark.parametrize("name", FILES)
def test_delays_of_the_producer(name):
    with h5py.File(CARRIED / "boost_corr" / name) as file:
        delay = file["xpcs/multitau/delay_list"][:]
        frames = file["xpcs/spatial_mean/intensity_vs_time"].shape[1]
    np.testing.assert_array_equal(schedule(frames).delay, delay)


@pytest.mark.parametrize(("frames", "delays"), [(100_000, 61), (4096, 43), (12, 9), (9, 8), (8, 7), (2, 1)])
def test_number_of_delays(frames, delays):
    assert schedule(frames).delay.size == delays


@pytest.mark.parametrize("frames", [2, 12, 200, 6000, 8191, 8192, 100_000])
def test_products_are_the_pairs_of_channels_that_exist(frames):
    plan = schedule(frames)
    for delay, level, products in zip(plan.delay, plan.level, plan.n_products, strict=True):
        channels = np.arange(frames)[: frames >> level << level].reshape(-1, 1 << level)[:, 0]
        assert products == np.isin(channels + delay, channels).sum() >= 1


def test_levels():
    plan = schedule(100_000)
    assert plan.level[:8].max() == 0
    np.testing.assert_array_equal(plan.level[8:], np.repeat(np.arange(1, 15), 4)[:53])
    assert plan.n_products[-1] == 1


def test_end_of_a_run_of_6000_frames():
    np.testing.assert_array_equal(schedule(6000).n_products[-3:], [5, 4, 3])


def test_too_short():
    with pytest.raises(ConfigError, match="a run of 1 correlated frames has no delay"):
        schedule(1)
