"""A stack that is filled piece by piece is one like any other."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr

import xpcs_dask as xd
from xpcs_dask.errors import OutputExistsError
from xpcs_dask.io.stack import open_stack, write_stack
from xpcs_dask.io.stack_fill import fill_stack


@pytest.fixture
def data():
    curves = xd.simulate.curves(3, q=[0.01, 0.02])
    clusters = np.random.default_rng(0).random((3, 2, 5, curves.sizes["delay"])).astype("f4")
    return curves.assign(g2_cluster=(("file", "qbin", "cluster", "delay"), clusters)).drop_attrs()


def chunks(data):
    delays = data.sizes["delay"]
    return {"/": {"g2": (2, 1, delays), "g2_cluster": (1, 1, 2, 3)}}


def nothing(data):
    return data.assign(
        {name: data[name].copy(data=da.zeros(data[name].shape, dtype="f4")) for name in ("g2", "g2_cluster")}
    )


def test_it_opens_like_one_that_was_written_whole(data, tmp_path):
    def fill(store):
        for name in ("g2", "g2_cluster"):
            zarr.open_array(store, path=name, mode="r+")[...] = data[name].values

    filled = fill_stack(nothing(data), tmp_path / "a.zarr", chunks(data), fill)
    written = write_stack(data, tmp_path / "b.zarr")
    xr.testing.assert_identical(open_stack(filled).compute(), open_stack(written).compute())
    opened = open_stack(filled)
    assert opened.g2.data.chunks[:2] == ((2, 1), (1, 1))
    assert opened.g2_cluster.data.chunks == ((2, 1), (1, 1), (5,), (data.sizes["delay"],))
    assert zarr.open_array(filled, path="g2_cluster").chunks == (1, 1, 2, 3)


def test_what_is_not_filled_is_nan(data, tmp_path):
    opened = open_stack(fill_stack(nothing(data), tmp_path / "a.zarr", chunks(data), lambda store: None))
    assert np.isnan(opened.g2_cluster).all()
    np.testing.assert_array_equal(opened.g2_err, data.g2_err)


def test_it_is_there_when_it_is_complete(data, tmp_path):
    def fail(store):
        assert store.is_dir()
        assert not (tmp_path / "a.zarr").exists()
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fill_stack(nothing(data), tmp_path / "a.zarr", chunks(data), fail)
    assert not list(tmp_path.iterdir())
    fill_stack(nothing(data), tmp_path / "a.zarr", chunks(data), lambda store: None)
    with pytest.raises(OutputExistsError):
        fill_stack(nothing(data), tmp_path / "a.zarr", chunks(data), lambda store: None)
    fill_stack(nothing(data), tmp_path / "a.zarr", chunks(data), lambda store: None, overwrite=True)
