from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

import xpcs_dask as xd
from tests.aps_file import write
from xpcs_dask.errors import ConfigError, FileRejected, MismatchError, OutputExistsError
from xpcs_dask.io.pack import pack
from xpcs_dask.io.stack import open_stack


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    for k in (1, 2, 10):
        write(folder / f"run{k}.hdf", seed=k)
    return folder


def test_files_are_opened_and_packed(folder, tmp_path):
    path = pack(folder, tmp_path / "stack.zarr", include=["detector_distance"])
    expected = xd.open_g2(folder, include=["detector_distance"])
    xr.testing.assert_identical(open_stack(path).compute(), expected.compute())
    assert open_stack(path).file.values.tolist() == ["run1.hdf", "run2.hdf", "run10.hdf"]


def test_opened_data_are_packed_as_they_are(folder, tmp_path):
    data = xd.open_g2(folder).isel(qbin=[2, 0])
    path = pack(data, tmp_path / "stack.zarr")
    xr.testing.assert_identical(open_stack(path).compute(), data.compute())


def test_rejected_files_are_kept_in_the_list(folder, tmp_path):
    (folder / "bad.hdf").write_text("nothing")
    with pytest.raises(FileRejected, match=r"bad\.hdf"):
        pack(folder, tmp_path / "stack.zarr")
    path = pack([folder], str(tmp_path / "stack.zarr"), on_error="skip")
    (rejected,) = json.loads(open_stack(path).attrs["rejected"])
    assert rejected["file"].endswith("bad.hdf")


def test_files_of_two_kinds_need_groups(folder, tmp_path):
    write(folder / "other.hdf", bins=2)
    with pytest.raises(MismatchError, match=r"other\.hdf"):
        pack(folder, tmp_path / "stack.zarr")
    path = pack(folder, tmp_path / "stack.zarr", on_mismatch="split")
    assert [group.sizes["qbin"] for group in open_stack(path).children.values()] == [2, 3]


def test_places_and_arguments_are_checked_before_files_are_opened(folder, tmp_path):
    missing = tmp_path / "not there"
    with pytest.raises(ConfigError, match=r"\.zarr"):
        pack(missing, tmp_path / "stack.nc")
    path = pack(folder, tmp_path / "stack.zarr")
    with pytest.raises(OutputExistsError):
        pack(missing, path)
    data = xd.open_g2(folder)
    with pytest.raises(ConfigError, match="include"):
        pack(data, tmp_path / "new.zarr", include=["temperature"])
    with pytest.raises(ConfigError, match="DataArray"):
        pack(data.g2, tmp_path / "new.zarr")
    assert pack(data.isel(file=[0]), path, overwrite=True) == path
    assert open_stack(path).sizes["file"] == 1
    np.testing.assert_array_equal(open_stack(path).g2, data.g2[:1])
