"""Attributes and g2 of `XpcsFile`: what plain h5py reads from the same file, read late, and nothing invented."""

from __future__ import annotations

import json
import os
import pickle
import shutil

import h5py
import numpy as np
import pytest

from tests.aps_file import write
from tests.conftest import CARRIED, SHARED, carried
from xpcs_dask.errors import ConfigError, FileRejected, NoUsableInputError
from xpcs_dask.io import hdf5
from xpcs_dask.toolkit import lazy
from xpcs_dask.toolkit.memory_monitor import DataCache
from xpcs_dask.toolkit.xpcs_file import XpcsFile

BRIGHT = "S0001_bright_a0000_f004096_r00001_results.hdf"
PARTIAL = "S0001_bright_a0000_f004096_r00001_partial_results.hdf"
STRIDE = "S0001_bright_a0000_f004096_r00001_stride2avg2_results.hdf"
QPHI = "S0002_qphi_a0000_f004096_r00001_results.hdf"
WITH_G2 = "S0004_withG2_a0000_f002048_r00001_results.hdf"
TWO_TIME = "S0005_twotime_a0000_f000200_r00001_twotime_results.hdf"
SHORT = "S0006_short_a0000_f000012_r00001_results.hdf"
STARVED = "S0007_starved_a0014_f008192_r00001_results.hdf"

FILES = [*sorted((CARRIED / "boost_corr").glob("*.hdf")), *sorted((SHARED / "aps").glob("*.hdf"))]
MULTITAU = [path for path in FILES if path.name != TWO_TIME]
PATHS = {
    "tau": "/xpcs/multitau/delay_list",
    "g2": "/xpcs/multitau/normalized_g2",
    "g2_err": "/xpcs/multitau/normalized_g2_err",
    "g2_partial": "/xpcs/multitau/normalized_g2_partial",
    "g2_partial_err": "/xpcs/multitau/normalized_g2_partial_err",
    "g2_partial_labels": "/xpcs/multitau/normalized_g2_partial_labels",
    "Int_t": "/xpcs/spatial_mean/intensity_vs_time",
    "dqlist": "/xpcs/qmap/dynamic_v_list_dim0",
    "sqlist": "/xpcs/qmap/static_v_list_dim0",
    "dplist": "/xpcs/qmap/dynamic_v_list_dim1",
    "splist": "/xpcs/qmap/static_v_list_dim1",
    "dqmap": "/xpcs/qmap/dynamic_roi_map",
    "sqmap": "/xpcs/qmap/static_roi_map",
    "mask": "/xpcs/qmap/mask",
    "bcx": "/xpcs/qmap/beam_center_x",
    "bcy": "/xpcs/qmap/beam_center_y",
    "det_dist": "/xpcs/qmap/detector_distance",
    "pixel_size": "/xpcs/qmap/pixel_size",
    "X_energy": "/xpcs/qmap/energy",
    "dynamic_num_pts": "/xpcs/qmap/dynamic_num_pts",
    "static_num_pts": "/xpcs/qmap/static_num_pts",
    "c2_g2": "/xpcs/twotime/normalized_g2",
    "c2_g2_segments": "/xpcs/twotime/normalized_g2_segments",
    "c2_processed_bins": "/xpcs/twotime/processed_bins",
}


@pytest.fixture(autouse=True)
def cache(monkeypatch):
    own = DataCache()
    monkeypatch.setattr(lazy, "SHARED", own)
    monkeypatch.setattr("xpcs_dask.toolkit.xpcs_file.SHARED", own)
    monkeypatch.setattr("xpcs_dask.toolkit.file_memory.SHARED", own)
    return own


def boost(name):
    return XpcsFile(carried(f"boost_corr/{name}"))


def raw(path, name):
    with h5py.File(path) as file:
        return np.asarray(file[name][()])


def changed(tmp_path, name, edit):
    """Copy of a carried file, edited with h5py."""
    path = tmp_path / name
    shutil.copyfile(carried(f"boost_corr/{name}"), path)
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name[:24])
def test_every_attribute_is_what_the_file_holds(path):
    xf = XpcsFile(path)
    for name, where in PATHS.items():
        with h5py.File(path) as file:
            stored = file[where][()] if where in file else None
        found = getattr(xf, name)
        if stored is None:
            assert found is None, name
        else:
            assert np.array_equal(found, stored, equal_nan=True), name
    image = raw(path, "/xpcs/temporal_mean/scattering_2d")[0]
    assert np.array_equal(xf.saxs_2d, image)
    lit = image > 0
    assert np.allclose(10.0 ** xf.saxs_2d_log[lit], image[lit], rtol=1e-5)
    assert np.allclose(xf.saxs_2d_log[~lit], np.log10(image[lit].min()), rtol=1e-5)
    assert xf.map_names == ["q", "phi"]
    assert xf.map_units == ["Å⁻¹", "deg"]
    assert xf.start_time == raw(path, "/entry/start_time").item().decode()
    assert float(xf.t1) == pytest.approx(raw(path, "/entry/instrument/detector_1/count_time").item(), rel=1e-7)


@pytest.mark.parametrize("path", MULTITAU, ids=lambda path: path.name[:24])
def test_delays_are_frames_times_the_time_between_them(path):
    frame = raw(path, "/entry/instrument/detector_1/frame_time").item()
    frame *= raw(path, "/xpcs/multitau/config/stride_frame") * raw(path, "/xpcs/multitau/config/avg_frame")
    xf = XpcsFile(path)
    assert xf.atype == ("Multitau",)
    assert xf.t0 == xf.g2_t0 == pytest.approx(frame, rel=1e-7)
    assert np.allclose(xf.t_el, raw(path, PATHS["tau"]) * frame, rtol=1e-7)


def test_stride_and_average_count():
    assert boost(STRIDE).t0 == pytest.approx(0.004)
    assert boost(STRIDE).t_el[0] == pytest.approx(0.004)
    assert boost(BRIGHT).t0 == 0.001


@pytest.mark.parametrize("path", MULTITAU, ids=lambda path: path.name[:24])
def test_g2_within_ranges(path):
    xf = XpcsFile(path)
    g2, errors, delay = raw(path, PATHS["g2"]), raw(path, PATHS["g2_err"]), xf.t_el
    grid = raw(path, PATHS["dynamic_num_pts"])
    place = raw(path, "/xpcs/qmap/dynamic_index_mapping").astype(int) // grid[1]
    q = raw(path, PATHS["dqlist"])[place]
    found = xf.get_g2_data()
    for ours, truth in zip(found[:4], (q, delay, g2, errors), strict=True):
        assert np.array_equal(ours, truth)
    low, high = np.unique(q)[[1, -2]]
    first, last = delay[[1, -3]]
    columns, rows = (q >= low) & (q <= high), (delay >= first) & (delay <= last)
    assert 0 < columns.sum() < q.size
    assert 0 < rows.sum() < delay.size
    part = xf.get_g2_data(qrange=(low, high), trange=(first, last))
    for ours, truth in zip(
        part[:4], (q[columns], delay[rows], g2[rows][:, columns], errors[rows][:, columns]), strict=True
    ):
        assert np.array_equal(ours, truth)
    assert part[4] == [label for label, kept in zip(found[4], columns, strict=True) if kept]


def test_empty_bins_of_the_map_do_not_shift_q():
    """43 columns of a grid of 8 x 6: pyXpcsViewer hands out 48 q."""
    xf = boost(QPHI)
    q, _, g2, _, labels = xf.get_g2_data()
    assert q.shape == (43,)
    assert g2.shape[1] == len(labels) == 43
    place = np.divmod(raw(xf.fname, "/xpcs/qmap/dynamic_index_mapping").astype(int), 6)
    for column in (0, 1, 6, 42):
        first, second = xf.dqlist[place[0][column]], xf.dplist[place[1][column]]
        assert labels[column] == f"qbin={column + 1}, q={first:.5f} Å⁻¹, φ={second:.1f} deg"
        assert q[column] == first


def test_columns_at_a_place_of_the_first_axis():
    xf = boost(QPHI)
    place = raw(xf.fname, "/xpcs/qmap/dynamic_index_mapping").astype(int) // 6
    for index in range(8):
        columns = np.flatnonzero(place == index).tolist()
        assert xf.get_qbinlist_at_qindex(index) == columns
        assert xf.get_qbinlist_at_qindex(index, zero_based=False) == [column + 1 for column in columns]
    with pytest.raises(ConfigError, match="qindex 8 does not exist: it goes from 0 to 7"):
        xf.get_qbinlist_at_qindex(8)


def test_labels_of_bins():
    xf = boost(BRIGHT)
    assert xf.get_qbin_label(3) == f"q={xf.dqlist[2]:.5f} Å⁻¹"
    assert xf.get_qbin_label(3, append_qbin=True) == f"qbin=3, q={xf.dqlist[2]:.5f} Å⁻¹"
    for qbin in (0, 13, -1):
        with pytest.raises(ConfigError, match=f"qbin {qbin} does not exist: bins .* are 1 to 12"):
            xf.get_qbin_label(qbin)


def test_a_range_that_holds_nothing_is_an_error_and_not_everything():
    xf = boost(BRIGHT)
    with pytest.raises(NoUsableInputError, match=r"has q from 1 to 2 1/angstrom; it goes from 0\.0006"):
        xf.get_g2_data(qrange=(1, 2))
    with pytest.raises(NoUsableInputError, match="has delay from 100 to 200 s"):
        xf.get_g2_data(trange=(100, 200))
    with pytest.raises(ConfigError, match="smaller first"):
        xf.get_g2_data(qrange=(0.003, 0.001))
    with pytest.raises(ConfigError, match="two numbers"):
        xf.get_g2_data(trange=(0.1,))


def test_parts_of_the_run():
    xf = boost(PARTIAL)
    g2, errors = raw(xf.fname, PATHS["g2_partial"]), raw(xf.fname, PATHS["g2_partial_err"])
    q, t_el, part, part_err, labels, frames = xf.get_g2_stability_data((0.001, 0.003), (0.002, 0.1))
    columns = (xf.dqlist >= 0.001) & (xf.dqlist <= 0.003)
    rows = (xf.t_el >= 0.002) & (xf.t_el <= 0.1)
    assert np.array_equal(part, g2[:, rows][:, :, columns], equal_nan=True)
    assert np.array_equal(part_err, errors[:, rows][:, :, columns], equal_nan=True)
    assert np.array_equal(frames, raw(xf.fname, PATHS["g2_partial_labels"]))
    assert (q.size, t_el.size, len(labels)) == (columns.sum(), rows.sum(), columns.sum())
    assert labels[0].startswith("qbin=3, ")
    with pytest.raises(FileRejected, match="num_partial_g2"):
        boost(BRIGHT).get_g2_stability_data()


def test_short_and_starved_files_are_handed_out_as_they_are():
    short, starved = boost(SHORT), boost(STARVED)
    assert short.get_g2_data()[2].shape == (9, 12)
    zero = raw(starved.fname, PATHS["g2_err"]) == 0
    assert zero.any()
    assert (starved.g2_err[zero] == 0).all(), "pyXpcsViewer puts means in their place"


def test_opening_reads_no_array(monkeypatch):
    reads = []
    stored = hdf5.Stored.read
    monkeypatch.setattr(hdf5.Stored, "read", lambda self: (reads.append(self.shape), stored(self))[1])
    xf = boost(BRIGHT)
    assert reads == []
    assert xf.tau.shape == (43,)
    assert reads == [(43,)]
    assert xf.tau is xf.tau
    assert reads == [(43,)]
    assert xf.mask.shape == (96, 128)
    assert reads == [(43,), (96, 128)]


def test_fields_are_read_at_once():
    path = carried(f"boost_corr/{BRIGHT}")
    xf = XpcsFile(path, fields=["Int_t", "mask"])
    assert {"Int_t", "mask"} <= xf.get_memory_usage_report()["arrays"].keys()
    assert "g2" not in xf.get_memory_usage_report()["arrays"]
    assert set(xf.load_data(["g2", "bcx"])) == {"g2", "bcx"}
    assert xf.load_data() == {}
    with pytest.raises(ConfigError, match=r"'g3' is not known; known are .*saxs_2d"):
        XpcsFile(path, fields=["g3"])
    with pytest.raises(ConfigError, match="'fit_g2' is not known"):
        XpcsFile(path, fields="fit_g2")


def test_unnormalized_g2_stays_on_disk():
    xf = boost(WITH_G2)
    stored = raw(xf.fname, "/xpcs/multitau/unnormalized_G2")
    assert xf.G2.shape == stored.shape
    assert not isinstance(xf.G2, np.ndarray)
    assert np.array_equal(xf.G2[3, 1].compute(scheduler="sync"), stored[3, 1])
    assert boost(BRIGHT).G2 is None


def test_attributes_may_be_set():
    xf = boost(BRIGHT)
    xf.g2 = xf.g2 * 2
    xf.bcx = 63.8
    assert np.array_equal(xf.get_g2_data()[2], 2 * raw(xf.fname, PATHS["g2"]))
    assert xf.bcx == xf.qmap.bcx == 63.8


def test_pickled_it_is_small_and_reads_for_itself():
    xf = boost(BRIGHT)
    assert xf.get_g2_data()
    assert xf.saxs_2d.size
    xf.fit_summary = {"fit_func": "single"}
    xf.X_energy = 11.0
    packed = pickle.dumps(xf)
    assert len(packed) < 1500
    found = pickle.loads(packed)
    assert found.fit_summary == {"fit_func": "single"}
    assert found.label == xf.label
    assert found.X_energy == 11.0
    assert np.array_equal(found.g2, xf.g2)
    assert np.array_equal(found.dqmap, xf.dqmap)


def test_a_relative_path_holds_after_a_change_of_folder(tmp_path, monkeypatch):
    shutil.copyfile(carried(f"boost_corr/{SHORT}"), tmp_path / SHORT)
    monkeypatch.chdir(tmp_path)
    xf = XpcsFile(SHORT)
    assert xf.fname == SHORT
    monkeypatch.chdir("/")
    assert xf.get_g2_data()[2].shape == (9, 12)


def test_a_file_that_changes_is_not_mixed(tmp_path):
    path = tmp_path / SHORT
    shutil.copyfile(carried(f"boost_corr/{SHORT}"), path)
    xf = XpcsFile(path)
    g2 = xf.g2
    os.utime(path, ns=(1, 1))
    assert xf.g2 is g2
    for name in ("saxs_2d", "mask", "g2_partial"):
        with pytest.raises(FileRejected, match="has changed since it was opened; open it again"):
            getattr(xf, name)
    assert XpcsFile(path).saxs_2d.shape == (96, 128)


@pytest.mark.parametrize(
    ("gone", "asked", "said"),
    [
        ("/xpcs/qmap", "dqlist", "/xpcs/qmap/.* is missing.*q-map"),
        ("/xpcs/qmap", "g2", "q-map /xpcs/qmap is missing"),
        ("/xpcs/qmap/map_names", "dqlist", "map_names must name two axes"),
        ("/xpcs/qmap/mask", "mask", "/xpcs/qmap/mask is missing"),
        ("/xpcs/qmap/energy", "X_energy", "/xpcs/qmap/energy is missing"),
        ("/xpcs/multitau/normalized_g2_err", "g2_err", "normalized_g2_err is missing"),
        ("/xpcs/temporal_mean/scattering_2d", "saxs_2d", "scattering_2d is missing: the file is not complete"),
        ("/entry/instrument/detector_1/frame_time", "t0", "frame_time is missing"),
    ],
)
def test_what_is_missing_is_said_and_nothing_put_in_its_place(tmp_path, gone, asked, said):
    path = changed(tmp_path, BRIGHT, lambda file: file.__delitem__(gone))
    xf = XpcsFile(path)
    with pytest.raises(FileRejected, match=said) as raised:
        getattr(xf, asked)
    assert raised.value.path == str(path)
    assert xf.Int_t.shape == (2, 4096)


def test_stride_and_average_are_1_where_they_are_not_told(tmp_path):
    path = changed(tmp_path, BRIGHT, lambda file: file.__delitem__("/xpcs/multitau/config/stride_frame"))
    assert XpcsFile(path).t0 == 0.001


def put(file, name, value):
    del file[name]
    file[name] = value


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("/xpcs/multitau/normalized_g2", np.ones((12, 43), "f4"), "transposed"),
        ("/xpcs/qmap/map_units", [b"furlong", b"deg"], "'furlong' of q .*not known"),
        ("/xpcs/qmap/map_names", [b"x", b"y"], "none of them is q"),
        ("/xpcs/qmap/dynamic_index_mapping", np.arange(1, 13), "sends"),
        ("/xpcs/qmap/dynamic_num_pts", np.array([11, 1]), "grid of 11 x 1"),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path, name, value, said):
    xf = XpcsFile(changed(tmp_path, BRIGHT, lambda file: put(file, name, value)))
    with pytest.raises(FileRejected, match=said):
        xf.get_g2_data()


def test_q_in_other_units_is_converted(tmp_path):
    path = changed(tmp_path, BRIGHT, lambda file: put(file, "/xpcs/qmap/map_units", ["nm⁻¹".encode(), b"deg"]))
    stored = raw(path, PATHS["dqlist"])
    assert np.allclose(XpcsFile(path).dqlist, 0.1 * stored)
    assert np.allclose(XpcsFile(path).get_g2_data()[0], 0.1 * stored)


def test_q_may_be_the_second_axis(tmp_path):
    def turn(file):
        names = [f"/xpcs/qmap/dynamic_v_list_dim{axis}" for axis in (0, 1)]
        first, second = (file[name][()] for name in names)
        for name, value in zip(names, (second, first), strict=True):
            put(file, name, value)
        put(file, "/xpcs/qmap/map_names", [b"phi", b"q"])
        put(file, "/xpcs/qmap/map_units", [b"deg", b"1/A"])
        put(file, "/xpcs/qmap/dynamic_num_pts", np.array([1, 12]))

    q, _, _, _, labels = XpcsFile(changed(tmp_path, BRIGHT, turn)).get_g2_data((0.001, 0.002))
    truth = raw(carried(f"boost_corr/{BRIGHT}"), PATHS["dqlist"])
    assert np.array_equal(q, truth[(truth >= 0.001) & (truth <= 0.002)])
    assert labels[0].endswith(f"q={q[0]:.3f} 1/A")


def test_files_that_are_no_results_are_refused_when_opened(tmp_path):
    with pytest.raises(FileRejected, match="there is no such file"):
        XpcsFile(tmp_path / "none.hdf")
    (tmp_path / "text.hdf").write_text("no HDF5 at all")
    with pytest.raises(FileRejected, match="not HDF5"):
        XpcsFile(tmp_path / "text.hdf")
    with h5py.File(tmp_path / "empty.hdf", "w") as file:
        file.create_group("xpcs/multitau")
    with pytest.raises(FileRejected, match=r"neither /xpcs/multitau/normalized_g2 nor .*not complete"):
        XpcsFile(tmp_path / "empty.hdf")
    with h5py.File(tmp_path / "esrf.h5", "w") as file:
        file.attrs["MagicString"] = "XPCSResultFile_v2.0"
        file.create_group("entry_0000/correlations")
    with pytest.raises(FileRejected, match="format esrf_id02; XpcsFile reads APS 8-ID-I results"):
        XpcsFile(tmp_path / "esrf.h5")


def test_a_q_map_manager_is_asked():
    first = boost(BRIGHT)

    class Manager:
        def get_qmap(self, fname):
            self.asked = fname
            return first.qmap

    manager, path = Manager(), str(carried(f"boost_corr/{PARTIAL}"))
    xf = XpcsFile(path, qmap_manager=manager)
    assert manager.asked == path
    assert xf.qmap is first.qmap
    assert xf.get_g2_data()[0].size == 12


def test_label():
    xf = XpcsFile(carried(f"boost_corr/{BRIGHT}"), label_style="0_1")
    assert xf.label == "S0001_bright"
    assert xf.saxs_1d["labels"] == ["S0001_bright"]
    assert xf.update_label("1") == "bright"
    assert xf.label == "bright"
    assert xf.saxs_1d["labels"] == ["bright"]
    assert repr(xf).startswith("<XpcsFile bright: Multitau, ")
    assert "saxs_1d" in str(xf)


def test_what_the_beamline_noted():
    xf = boost(BRIGHT)
    info = xf.get_hdf_info()
    assert set(info) == {"/entry/instrument", "/xpcs/multitau/config", "/entry/sample", "/entry/user"}
    assert info["/entry/instrument"]["detector_1"]["frame_time"] == 0.001
    assert info["/entry/user"]["name"] == "nobody"
    assert info["/xpcs/multitau/config"]["avg_frame"] == 1
    some = xf.get_hdf_info(["detector_1/frame_time", "/entry/sample"])
    assert some == {
        "/entry/instrument": {"detector_1": {"frame_time": 0.001}},
        "/entry/sample": {"qnw1_temperature": 25.0},
    }
    assert xf.get_hdf_info("no such thing") == {}


def test_notes_with_units_and_large_ones(tmp_path):
    def add(file):
        file["/entry/sample/pressure"] = np.array([[2.5]], "f4")
        file["/entry/sample/pressure"].attrs["units"] = b"bar"
        file["/entry/sample/trace"] = np.zeros(5000)
        file["/entry/sample/names"] = [b"a", b"b"]
        file["/entry/sample/outside"] = h5py.ExternalLink("other.hdf", "/x")

    info = XpcsFile(changed(tmp_path, BRIGHT, add)).get_hdf_info("sample")["/entry/sample"]
    assert info["pressure (bar)"] == 2.5
    assert info["trace"] == "array of shape (5000,), float64"
    assert list(info["names"]) == ["a", "b"]
    assert "outside" not in info


def test_energy_is_that_of_the_q_map_not_of_the_beamline(tmp_path):
    path = changed(tmp_path, BRIGHT, lambda file: put(file, "/entry/instrument/incident_beam/incident_energy", 99.0))
    assert XpcsFile(path).X_energy == 10.9


def test_dataset_is_for_the_verbs_of_the_package():
    from xpcs_dask import fit

    xf = boost(BRIGHT)
    truth = json.loads(carried("boost_corr/truth.json").read_text())
    assert truth
    fits = fit(xf.dataset.isel(file=0, qbin=[5]))
    assert fits.sizes["qbin"] == 1
    assert {"n_products", "n_pixels", "curve_id"} <= set(xf.dataset.coords)


def test_memory_report_and_giving_it_back(cache, monkeypatch):
    monkeypatch.setattr(lazy, "KEPT", 10_000)
    xf = boost(BRIGHT)
    assert xf.get_memory_usage_report()["total_mb"] == 0
    assert xf.g2.size
    assert xf.saxs_2d.size
    assert xf.mask.size
    xf.Int_t = np.ones((2, 10))
    report = xf.get_memory_usage_report()
    kept = {name: entry["kept_by"] for name, entry in report["arrays"].items()}
    assert kept == {"dataset": "object", "g2": "object", "saxs_2d": "cache", "mask": "cache", "Int_t": "user"}
    assert report["arrays"]["g2"] == {
        "memory_mb": 43 * 12 * 4 / 2**20, "kept_by": "object", "shape": (43, 12), "dtype": "float32",
    }  # fmt: skip
    assert report["total_mb"] == pytest.approx(sum(entry["memory_mb"] for entry in report["arrays"].values()))
    assert report["process_mb"] > 20
    stats = xf.get_cache_stats()
    assert (stats["file_items"], stats["file_mb"]) == (2, pytest.approx((96 * 128 * 5) / 2**20))

    freed = xf.optimize_memory_usage()
    assert freed["narrowed"] == ["Int_t"]
    assert xf.Int_t.dtype == np.float32
    assert freed["after_mb"] == pytest.approx(80 / 2**20)
    assert freed["freed_mb"] == pytest.approx(freed["before_mb"] - freed["after_mb"])
    assert freed["before_mb"] == pytest.approx(report["total_mb"])
    assert cache.get_stats()["items"] == 0
    assert np.array_equal(xf.g2, raw(xf.fname, PATHS["g2"]))


def test_narrowing_never_changes_a_number():
    xf = boost(BRIGHT)
    xf.g2 = xf.g2.astype(float) + 1e-12
    xf.g2_err = np.array([[1e300, np.nan]])
    before = xf.g2.copy()
    assert xf.optimize_memory_usage()["narrowed"] == []
    assert np.array_equal(xf.g2, before)
    xf.g2 = np.array([[0.5, np.nan]])
    assert xf.optimize_memory_usage(optimize_dtypes=False)["narrowed"] == []
    assert xf.g2.dtype == np.float64


@pytest.mark.parametrize(
    ("kind", "left"),
    [
        ("g2", {"saxs_2d", "dqmap"}),
        ("saxs", {"dataset", "g2", "dqmap"}),
        ("qmap", {"dataset", "g2", "saxs_2d"}),
        ("twotime", {"dataset", "g2", "saxs_2d", "dqmap"}),
        ("all", set()),
    ],
)
def test_clearing_one_kind(kind, left):
    xf = boost(BRIGHT)
    assert xf.g2.size
    assert xf.saxs_2d.size
    assert xf.dqmap.size
    xf.fit_summary = {"kept": True}
    xf.clear_cache(kind)
    assert set(xf.get_memory_usage_report()["arrays"]) == left
    assert xf.fit_summary == {"kept": True}
    with pytest.raises(ConfigError, match="'images' is none of 'all', 'g2', 'saxs', 'twotime', 'qmap'"):
        xf.clear_cache("images")


def test_a_small_file_of_plain_h5py(tmp_path):
    """Without static axes, mask and images: what is there works, what is not says so."""
    xf = XpcsFile(write(tmp_path / "a_results.hdf"))
    q, t_el, g2, _, labels = xf.get_g2_data()
    assert np.allclose(q, [0.01, 0.02, 0.03])
    assert t_el[0] == 0.001
    assert g2.shape == (13, 3)
    assert labels[1] == "qbin=2, q=0.02000 Å⁻¹"
    with pytest.raises(FileRejected, match=r"static_v_list_dim0 is missing|static_index_mapping is missing"):
        assert xf.saxs_1d


def test_an_array_of_one_row_is_flattened(tmp_path):
    """As files look that pyXpcsViewer wrote back."""

    def flat(file):
        for name in ("/xpcs/multitau/delay_list", "/xpcs/qmap/dynamic_v_list_dim0"):
            put(file, name, file[name][()][None])

    xf = XpcsFile(changed(tmp_path, BRIGHT, flat))
    assert xf.tau.shape == (43,)
    assert xf.dqlist.shape == (12,)
    assert xf.get_g2_data()[2].shape == (43, 12)
