"""Further arrays: what plain h5py reads, padded, mirrored, lazy; and what is said where there is none."""

from __future__ import annotations

import json
import os

import dask
import h5py
import numpy as np
import pytest

from tests.aps_file import DELAYS, FRAMES, write
from tests.conftest import carried, shared
from xpcs_dask.errors import ConfigError, FileRejected, MismatchError, NoUsableInputError
from xpcs_dask.io import aps_nexus, extras
from xpcs_dask.io.extras import ARRAYS, open_arrays
from xpcs_dask.io.formats import reader

PARTIAL = "S0001_bright_a0000_f004096_r00001_partial_results.hdf"
WITH_G2 = "S0004_withG2_a0000_f002048_r00001_results.hdf"
TWO_TIME = "S0005_twotime_a0000_f000200_r00001_twotime_results.hdf"


def infos(*paths):
    return [aps_nexus.read_meta(str(path)) for path in paths]


def boost(name):
    return carried(f"boost_corr/{name}")


@pytest.fixture
def never(monkeypatch):
    """Forbid Dask to compute anything."""

    def refuse(*args, **kwargs):
        raise AssertionError("something was computed")

    with dask.config.set(scheduler=refuse):
        yield


@pytest.mark.parametrize(
    ("name", "path", "pick"),
    [
        ("g2_partial", "multitau/normalized_g2_partial", lambda a: a.swapaxes(1, 2)),
        ("g2_partial_err", "multitau/normalized_g2_partial_err", lambda a: a.swapaxes(1, 2)),
        ("intensity_vs_time", "spatial_mean/intensity_vs_time", lambda a: a[1]),
        ("scattering_1d", "temporal_mean/scattering_1d", lambda a: a[0]),
        ("scattering_2d", "temporal_mean/scattering_2d", lambda a: a[0]),
        ("dynamic_map", "qmap/dynamic_roi_map", lambda a: a),
        ("static_map", "qmap/static_roi_map", lambda a: a),
    ],
)
def test_arrays_are_those_that_h5py_reads(name, path, pick):
    source = boost(PARTIAL)
    with h5py.File(source) as file:
        expected = pick(file[f"xpcs/{path}"][()])
    found = extras.extras(infos(source), [name.removesuffix("_err")])[name]
    assert found.dims[0] == "file"
    np.testing.assert_array_equal(found.values[0], expected)


def test_pixel_sums_and_parts_of_them(monkeypatch):
    source = boost(WITH_G2)
    with h5py.File(source) as file:
        expected = file["xpcs/multitau/unnormalized_G2"][()]
    monkeypatch.setattr("xpcs_dask.io.extras.BLOCK_BYTES", 4 * expected[0].size * 5)
    found = extras.extras(infos(source), ["unnormalized_G2"])["unnormalized_G2"]
    assert found.dims == ("file", "delay", "part", "row", "column")
    assert found.chunks[1] == (5,) * 7 + (4,)
    np.testing.assert_array_equal(found.values[0], expected)
    np.testing.assert_array_equal(found.sel(part="IF").isel(delay=[3, 30]).values[0], expected[[3, 30], 2])


def test_a_part_of_the_pixel_sums_reads_no_other(monkeypatch):
    source = boost(WITH_G2)
    monkeypatch.setattr("xpcs_dask.io.extras.BLOCK_BYTES", 1)
    found = extras.extras(infos(source), ["unnormalized_G2"])["unnormalized_G2"]
    seen = []
    true = extras.Place.read
    monkeypatch.setattr(extras.Place, "read", lambda self, rows: seen.append(list(rows)) or true(self, rows))
    found.isel(delay=7).compute(scheduler="sync")
    assert seen == [[7]]


def test_two_time_maps_are_mirrored_and_carry_the_label_of_their_bin():
    source = boost(TWO_TIME)
    with h5py.File(source) as file:
        upper = file["xpcs/twotime/correlation_map/c2_00002"][()]
    data = open_arrays(source, ["c2", "static_map"])
    assert data.c2_bin.values.tolist() == [2, 5]
    found = data.c2.sel(c2_bin=5).values[0]
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_array_equal(np.triu(found), np.triu(upper))
    np.testing.assert_allclose(data.t2.values[:3], [0, 0.001, 0.002])
    assert data.t1.attrs["units"] == "s"


def test_two_time_maps_give_the_stored_g2():
    """The producer's own g2 from two-time is the mean along the diagonals."""
    source = boost(TWO_TIME)
    with h5py.File(source) as file:
        stored = file["xpcs/twotime/normalized_g2"][()]
    found = open_arrays(source, ["c2"]).c2.values[0, 0].astype(float)
    mine = [np.diagonal(found, k).mean() for k in range(1, 20)]
    np.testing.assert_allclose(mine, stored[1:20, 0], rtol=2e-5)


def maps(bins, frames=3, stride=1):
    maps_of = {
        f"xpcs/twotime/correlation_map/c2_{k:05d}": np.full((frames, frames), k + 10.0) for k in range(1, bins + 1)
    }
    return {**maps_of, "xpcs/twotime/config/stride_frame": np.int64(stride)}


def test_two_time_maps_of_a_series_line_up_by_their_bins(tmp_path):
    first = write(tmp_path / "a.hdf", {**maps(2, 3), "xpcs/twotime/processed_bins": np.array([3, 1])})
    second = write(tmp_path / "b.hdf", {**maps(1, 2), "xpcs/twotime/processed_bins": np.array([2])})
    found = extras.extras(infos(first, second), ["c2"])["c2"]
    assert found.c2_bin.values.tolist() == [1, 2, 3]
    assert found.shape == (2, 3, 3, 3)
    values = found.values
    assert (values[0, 0] == 12).all()
    assert (values[0, 2] == 11).all()
    assert np.isnan(values[0, 1]).all()
    assert (values[1, 1, :2, :2] == 11).all()
    assert np.isnan(values[1, 1, 2]).all()
    assert np.isnan(values[1, [0, 2]]).all()


def test_two_time_maps_with_other_times_do_not_mix(tmp_path):
    paths = [write(tmp_path / f"{stride}.hdf", maps(1, stride=stride)) for stride in (1, 2)]
    with pytest.raises(MismatchError, match=r"two-time maps of .*2\.hdf"):
        extras.extras(infos(*paths), ["c2"])


def test_shorter_arrays_are_padded_and_absent_ones_named(tmp_path):
    short = np.stack([np.arange(10.0), np.full(10, 2.0)]).astype("f4")
    paths = [
        write(tmp_path / "a.hdf"),
        write(tmp_path / "b.hdf", {"xpcs/spatial_mean/intensity_vs_time": short, "xpcs/multitau/delay_list": DELAYS}),
        write(tmp_path / "c.hdf", {"xpcs/spatial_mean/intensity_vs_time": None}),
    ]
    found = extras.extras(infos(*paths), ["intensity_vs_time"])["intensity_vs_time"]
    assert found.shape == (3, FRAMES)
    values = found.values
    assert (values[0] == 1).all()
    assert (values[1, :10] == 2).all()
    assert np.isnan(values[1, 10:]).all()
    assert np.isnan(values[2]).all()
    missing = json.loads(found.attrs["missing"])
    assert [item["file"] for item in missing] == [str(paths[2])]


def test_maps_of_another_size_are_padded_with_masked_pixels(tmp_path):
    narrow = write(tmp_path / "a.hdf")
    with h5py.File(narrow) as file:
        labels = file["xpcs/qmap/dynamic_roi_map"][()]
    other = write(tmp_path / "b.hdf", {"xpcs/qmap/dynamic_roi_map": labels.T, "xpcs/qmap/static_roi_map": None})
    found = extras.extras(infos(narrow, other), ["dynamic_map"])["dynamic_map"]
    assert found.dtype == np.int32
    assert found.shape == (2, labels.size, labels.size)
    np.testing.assert_array_equal(found.values[0, 0], labels[0])
    assert not found.values[0, 1:].any()
    np.testing.assert_array_equal(found.values[1, :, 0], labels[0])


def test_what_no_file_has_is_left_out_and_said(tmp_path, caplog):
    path = write(tmp_path / "a.hdf")
    assert extras.extras(infos(path), ["g2_partial"]) == {}
    assert "none of 1 files holds g2_partial" in caplog.text
    with pytest.raises(NoUsableInputError, match="holds c2"):
        open_arrays(path, ["c2"])


def test_an_array_that_does_not_fit_the_bins_is_named(tmp_path):
    good = write(tmp_path / "a.hdf", {"xpcs/multitau/normalized_g2_partial": np.ones((2, DELAYS.size, 3), "f4")})
    wrong = write(tmp_path / "b.hdf", {"xpcs/multitau/normalized_g2_partial": np.ones((2, 3, DELAYS.size), "f4")})
    found = extras.extras(infos(good, wrong), ["g2_partial"])["g2_partial"]
    assert np.isnan(found.values[1]).all()
    (missing,) = json.loads(found.attrs["missing"])
    assert missing["file"] == str(wrong)
    assert "3 q bins" in missing["reason"]


def test_building_reads_no_values(never, monkeypatch):
    monkeypatch.setattr(extras.Place, "read", lambda self, rows: pytest.fail("values were read"))
    found = extras.extras(infos(boost(PARTIAL)), [name for name in ARRAYS if name not in {"c2", "unnormalized_G2"}])
    assert len(found) == 7
    assert all(array.chunks for array in found.values())


def test_eager_is_what_lazy_computes():
    lazy = extras.extras(infos(boost(PARTIAL)), ["g2_partial"])["g2_partial"]
    eager = extras.extras(infos(boost(PARTIAL)), ["g2_partial"], chunks=None)["g2_partial"]
    assert eager.chunks is None
    assert eager.identical(lazy.compute())
    np.testing.assert_array_equal(eager.partial_products.values[0], 479 + 512 * np.arange(8))


def test_one_task_reads_many_files(tmp_path):
    paths = [write(tmp_path / f"{k}.hdf", seed=k) for k in range(6)]
    assert extras.extras(infos(*paths), ["scattering_1d"], chunks=4)["scattering_1d"].chunks[0] == (4, 2)
    assert extras.extras(infos(*paths), ["scattering_1d"])["scattering_1d"].chunks[0] == (6,)


def test_no_block_is_larger_than_a_task_should_hold(tmp_path, monkeypatch):
    paths = [write(tmp_path / f"{k}.hdf", seed=k) for k in range(6)]
    monkeypatch.setattr("xpcs_dask.io.extras.BLOCK_BYTES", 2 * 4 * FRAMES)
    found = extras.extras(infos(*paths), ["intensity_vs_time"], chunks=5)["intensity_vs_time"]
    assert found.chunks[0] == (2, 2, 2)


def test_static_bins_carry_q_by_their_place_in_the_grid():
    source = boost("S0002_qphi_a0000_f004096_r00001_results.hdf")
    found = extras.extras(infos(source), ["scattering_1d"])["scattering_1d"]
    with h5py.File(source) as file:
        qmap = file["xpcs/qmap"]
        ring, sector = np.divmod(qmap["static_index_mapping"][()].astype(int), qmap["static_num_pts"][1])
        np.testing.assert_array_equal(found.static_q, qmap["static_v_list_dim0"][()][ring])
        np.testing.assert_array_equal(found.static_phi, qmap["static_v_list_dim1"][()][sector])


def test_a_file_that_changed_is_refused(tmp_path):
    path = write(tmp_path / "a.hdf")
    found = extras.extras(infos(path), ["scattering_1d"])["scattering_1d"]
    os.utime(path, ns=(1, 1))
    with pytest.raises(FileRejected, match="changed since it was opened"):
        found.compute(scheduler="sync")


@pytest.mark.parametrize(
    "bad",
    [
        {"xpcs/temporal_mean/scattering_2d": np.ones((4, 4), "f4")},
        {"xpcs/temporal_mean/scattering_2d": h5py.ExternalLink("other.h5", "/a")},
        {"xpcs/temporal_mean/scattering_2d": np.array([b"text"])},
    ],
    ids=["axes", "elsewhere", "text"],
)
def test_what_cannot_be_used_is_a_reason_not_an_error(tmp_path, bad):
    paths = [
        write(tmp_path / "a.hdf", bad),
        write(tmp_path / "b.hdf", {"xpcs/temporal_mean/scattering_2d": np.ones((1, 2, 2))}),
    ]
    found = extras.extras(infos(*paths), ["scattering_2d"])["scattering_2d"]
    (missing,) = json.loads(found.attrs["missing"])
    assert missing["file"] == str(paths[0])
    assert np.isnan(found.values[0]).all()
    assert (found.values[1] == 1).all()


def test_values_that_lie_in_other_files_are_not_followed(tmp_path):
    path, elsewhere = write(tmp_path / "a.hdf", {"xpcs/temporal_mean/scattering_2d": None}), tmp_path / "b.hdf"
    with h5py.File(elsewhere, "w") as file:
        file["image"] = np.ones((1, 2, 2))
    layout = h5py.VirtualLayout((1, 2, 2), "f4")
    layout[...] = h5py.VirtualSource(str(elsewhere), "image", (1, 2, 2))
    with h5py.File(path, "r+") as file:
        file.create_virtual_dataset("xpcs/temporal_mean/scattering_2d", layout)
    good = write(tmp_path / "c.hdf", {"xpcs/temporal_mean/scattering_2d": np.ones((1, 2, 2))})
    found = extras.extras(infos(path, good), ["scattering_2d"])["scattering_2d"]
    assert "keeps its values in other files" in found.attrs["missing"]


def test_names_that_are_not_known_are_refused():
    with pytest.raises(ConfigError, match="'g3' is no array; known are g2_partial"):
        extras.extras([], ["g3"])


def test_every_array_says_what_it_is():
    found = extras.extras(infos(boost(PARTIAL)), ["g2_partial", "scattering_1d", "dynamic_map"])
    for array in found.values():
        assert array.attrs["units"]
        assert array.attrs["long_name"]


def test_legacy_arrays_follow_output_data(tmp_path):
    path = tmp_path / "legacy.hdf"
    with h5py.File(path, "w") as file:
        file["xpcs_1/Version"] = "1.0"
        file["xpcs/Version"] = "1.0"
        file["xpcs_1/output_data"] = "/exchange_1"
        file["exchange/frameSum"] = np.zeros((2, 4))
        file["exchange_1/frameSum"] = np.arange(8.0).reshape(2, 4)
        file["xpcs_1/dqmap"] = np.eye(2, dtype=int)
    info = extras._Bare(str(path), "aps_legacy", "xpcs_1")
    found = extras.extras([info], ["intensity_vs_time", "dynamic_map"])
    assert found["intensity_vs_time"].values.tolist() == [[4, 5, 6, 7]]
    assert found["dynamic_map"].values[0].tolist() == [[1, 0], [0, 1]]
    assert "frameSum as stored" in found["intensity_vs_time"].attrs["remark"]


def test_chx_two_time_has_the_bin_last(tmp_path):
    path = tmp_path / "uid=1_Res.h5"
    c2 = np.random.default_rng(0).random((4, 4, 3))
    with h5py.File(path, "w") as file:
        file["g12b"] = c2
        file["avg_img"] = np.ones((2, 3))
    found = extras.extras([extras._Bare(str(path), "pychx")], ["c2", "scattering_2d"])
    np.testing.assert_allclose(found["c2"].sel(c2_bin=2).values[0], c2[..., 1], rtol=1e-6)
    assert found["scattering_2d"].shape == (1, 2, 3)
    place = extras.places(str(path), "pychx", "", ["c2"])[0]["c2"]
    np.testing.assert_array_equal(place.read([2, 0]), c2[..., [2, 0]].transpose(2, 0, 1))


def test_id02_two_time_of_the_entry_that_is_read(tmp_path):
    path = tmp_path / "id02.h5"
    with h5py.File(path, "w") as file:
        file["entry_0000/correlations/b/twotime/ttcf"] = np.arange(18.0).reshape(2, 3, 3)
    found = extras.extras([extras._Bare(str(path), "esrf_id02", "b")], ["c2"])["c2"]
    assert found.sel(c2_bin=2).values[0, 0].tolist() == [9, 10, 11]


def test_real_files_as_one_series():
    paths = sorted(shared("aps").glob("Average_B014*"))
    found = extras.extras(
        [reader("aps_nexus").read_meta(str(path)) for path in paths], ["scattering_1d", "scattering_2d"]
    )
    assert found["scattering_2d"].shape == (2, 512, 1024)
    assert np.isfinite(found["scattering_1d"].values).all()
