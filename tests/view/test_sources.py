from __future__ import annotations

import shutil

import numpy as np
import pytest

import xpcs_dask as xd
from tests.conftest import carried
from xpcs_dask.errors import ConfigError, FileRejected, NoUsableInputError
from xpcs_dask.view.sources import Missing, open_all, settings_of


def test_files_are_listed_and_read_one_by_one(series):
    files, _ = series
    opened = open_all(list(map(str, files)))
    assert opened.store is None
    assert [entry.label for entry in opened.entries] == [file.name for file in files]
    curves, origin = opened.entries[1].read()
    expected = xd.open_g2(files[1], chunks=None)
    assert curves["g2"].dims == ("qbin", "delay")
    np.testing.assert_array_equal(curves["g2"], expected["g2"].isel(file=0))
    assert (origin.path, origin.at) == (str(files[1]), {})


def test_files_of_several_kinds_and_bad_ones_stand_beside_each_other(tmp_path):
    names = ["S0001_bright_a0000_f004096_r00001_results.hdf", "S0002_qphi_a0000_f004096_r00001_results.hdf"]
    bad = tmp_path / "bad_results.hdf"
    bad.write_text("nothing")
    opened = open_all([*(str(carried(f"boost_corr/{name}")) for name in names), str(bad)])
    assert [entry.label for entry in opened.entries] == names
    assert [entry.read()[0].sizes["qbin"] for entry in opened.entries] == [12, 43]
    assert len(opened.rejected) == 1
    assert str(bad) in opened.rejected[0]


def test_a_store_finds_the_files_that_it_names(series):
    files, store = series
    opened = open_all([str(store)])
    assert opened.store == store
    entry = opened.entries[1]
    curves, origin = entry.read()
    np.testing.assert_array_equal(curves["curve_id"], entry.stored["curve_id"])
    assert origin.path == str(files[1])
    assert settings_of(entry.stored)[0] == "single"


def moved(series, tmp_path):
    """The store and its data, somewhere else than when they were fitted."""
    files, store = series
    shutil.copytree(store, tmp_path / "fits.zarr")
    results = xd.open_results(store).load()
    lost = [f"/nowhere/{file.name}" for file in files]
    return xd.save(results.assign_coords(path=("file", lost)), tmp_path / "moved.zarr"), files


def test_data_that_moved_are_found_beside_the_store_or_where_one_says(series, tmp_path):
    store, files = moved(series, tmp_path)
    with pytest.raises(Missing, match=r"/nowhere/.* is not there any more; name its folder"):
        open_all([str(store)]).entries[0].read()
    given = open_all([str(store), str(files[0].parent)])
    assert given.entries[1].read()[1].path == str(files[1])
    shutil.copy(files[0], tmp_path / files[0].name)
    curves, _ = open_all([str(store)]).entries[0].read()
    np.testing.assert_array_equal(curves["curve_id"], given.entries[0].stored["curve_id"])


def test_a_file_that_is_another_now_is_not_taken(series, tmp_path):
    store, files = moved(series, tmp_path)
    shutil.copy(files[1], tmp_path / files[0].name)  # the name of the first, the content of the second
    with pytest.raises(Missing, match="holds other curves than those that were fitted"):
        open_all([str(store)]).entries[0].read()


def test_a_manifest_tells_where_files_are_when_the_folder_is_another(series, tmp_path, monkeypatch):
    files, _ = series
    monkeypatch.chdir(files[0].parent)
    xd.run(inputs=[files[0].name], output=str(tmp_path / "run.zarr"))
    monkeypatch.chdir(tmp_path)
    assert open_all(["run.zarr"]).entries[0].read()[1].path == str(files[0])


def test_a_stack_is_data_and_the_store_of_its_fits_finds_it(series, tmp_path):
    files, _ = series
    xd.pack(xd.open_g2(files), tmp_path / "stack.zarr")
    opened = open_all([str(tmp_path / "stack.zarr")])
    curves, origin = opened.entries[1].read()
    assert origin.at == {"file": files[1].name}
    np.testing.assert_array_equal(curves["g2"], xd.open_g2(files[1], chunks=None)["g2"].isel(file=0))
    xd.run(inputs=[str(tmp_path / "stack.zarr")], output=str(tmp_path / "fits.zarr"))
    assert open_all([str(tmp_path / "fits.zarr")]).entries[0].read()[1].path == str(tmp_path / "stack.zarr")


def test_what_cannot_be_shown_is_refused(series, tmp_path):
    _, store = series
    with pytest.raises(ConfigError, match="one store of results is shown at a time, not 2"):
        open_all([str(store), str(store)])
    with pytest.raises(FileRejected, match="there is no such file or folder"):
        open_all([str(tmp_path / "no.zarr")])
    with pytest.raises(NoUsableInputError):
        open_all([str(tmp_path / "no.hdf")])


def test_segments_are_entries_of_their_own(series):
    curves = xd.open_g2(series[0][0], chunks=None)
    two = curves.assign(g2=curves["g2"].expand_dims(segment=[3, 8]), g2_err=curves["g2_err"])
    from xpcs_dask.view.sources import _entries

    labels = [entry.label for entry in _entries(two.transpose("file", "segment", ...), "", "", {})]
    assert [label.split(", ")[1] for label in labels] == ["segment 3", "segment 8"]
