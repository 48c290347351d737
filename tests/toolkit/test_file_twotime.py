"""Two-time maps: what plain h5py reads, mirrored, without its diagonal, thinned out; and which bin is which."""

from __future__ import annotations

import shutil

import h5py
import numpy as np
import pytest

from tests.conftest import carried
from xpcs_dask.errors import ConfigError, FileRejected
from xpcs_dask.toolkit import lazy
from xpcs_dask.toolkit.file_twotime import without_diagonal
from xpcs_dask.toolkit.memory_monitor import DataCache
from xpcs_dask.toolkit.xpcs_file import XpcsFile

TWO_TIME = "S0005_twotime_a0000_f000200_r00001_twotime_results.hdf"
BRIGHT = "S0001_bright_a0000_f004096_r00001_results.hdf"


@pytest.fixture
def xf(monkeypatch):
    monkeypatch.setattr(lazy, "SHARED", DataCache())
    return XpcsFile(carried(f"boost_corr/{TWO_TIME}"))


def stored(name):
    with h5py.File(carried(f"boost_corr/{TWO_TIME}")) as file:
        return file[f"/xpcs/{name}"][()]


def mirrored(number):
    half = stored(f"twotime/correlation_map/c2_{number:05d}")
    return half + half.T - np.diag(np.diag(half))


def test_a_two_time_file_has_no_multi_tau_g2(xf):
    assert xf.atype == ("Twotime",)
    for name in ("g2", "g2_err", "tau", "t_el", "g2_t0"):
        assert getattr(xf, name) is None
    assert xf.t0 == xf.c2_t0 == 0.001
    with pytest.raises(ConfigError, match="has two-time results only: there is no multi-tau g2"):
        xf.get_g2_data()
    assert xf.saxs_1d["Iq"].shape == (1, 60)
    assert xf.Int_t.shape == (2, 200)


@pytest.mark.parametrize("selection", [0, 1])
def test_a_map_is_whole(xf, selection):
    found = xf.get_twotime_c2(selection, correct_diag=False)
    assert np.array_equal(found["c2_mat"], mirrored(selection + 1))
    assert np.array_equal(found["g2_full"], stored("twotime/normalized_g2")[:, selection])
    segments = stored("twotime/normalized_g2_segments")
    assert found["g2_partial"].shape == (5, 40)
    assert np.array_equal(found["g2_partial"][3], segments[:, 3, selection])
    assert (found["delta_t"], found["acquire_period"], found["dq_selection"]) == (0.001, 0.001, selection)


def test_the_diagonal_becomes_the_mean_beside_it(xf):
    c2, truth = xf.get_twotime_c2(0)["c2_mat"], mirrored(1)
    off = ~np.eye(200, dtype=bool)
    assert np.array_equal(c2[off], truth[off])
    assert c2[0, 0] == truth[0, 1]
    assert c2[199, 199] == truth[198, 199]
    for at in (1, 77, 198):
        assert c2[at, at] == pytest.approx((truth[at - 1, at] + truth[at, at + 1]) / 2, rel=1e-6)


def test_thinned_out_after_the_diagonal_is_mended(xf):
    whole = xf.get_twotime_c2(0)["c2_mat"]
    found = xf.get_twotime_c2(0, max_size=64)
    assert np.array_equal(found["c2_mat"], whole[::4, ::4])
    assert found["delta_t"] == pytest.approx(0.004)
    assert found["acquire_period"] == 0.001
    assert xf.get_twotime_c2(0, max_size=200)["c2_mat"].shape == (200, 200)
    assert xf.get_twotime_c2(0, max_size=199)["c2_mat"].shape == (100, 100)
    assert xf.get_twotime_c2(0, max_size=-1)["c2_mat"].shape == (200, 200)


def test_a_map_is_read_once(xf):
    first = xf.get_twotime_c2(1)
    assert xf.get_twotime_c2(1) is first
    assert xf.get_twotime_c2(0) is not first
    xf.clear_cache("twotime")
    assert xf.get_twotime_c2(1) is not first


def test_a_bin_that_has_no_map(xf):
    for selection in (2, -1):
        with pytest.raises(ConfigError, match=rf"selection {selection} does not exist: .* 2 bins \(2, 5\)"):
            xf.get_twotime_c2(selection)
    multitau = XpcsFile(carried(f"boost_corr/{BRIGHT}"))
    assert multitau.c2_processed_bins is None
    assert multitau.c2_t0 is None
    for call in (multitau.get_twotime_c2, multitau.get_twotime_stream, multitau.get_twotime_qbin_labels):
        with pytest.raises(ConfigError, match="has no two-time results"):
            call()


def test_labels_are_those_of_the_bins_with_a_map(xf):
    q = stored("qmap/dynamic_v_list_dim0")
    assert xf.get_twotime_qbin_labels() == [f"qbin=2, q={q[1]:.5f} Å⁻¹", f"qbin=5, q={q[4]:.5f} Å⁻¹"]


def test_a_stream_of_maps(xf):
    names, maps = xf.get_twotime_stream()
    assert names == ["c2_00001", "c2_00002"]
    numbers, found = zip(*maps, strict=True)
    assert numbers == (1, 2)
    for selection in (0, 1):
        assert np.array_equal(found[selection], xf.get_twotime_c2(selection)["c2_mat"])
    _, maps = xf.get_twotime_stream(max_size=50, correct_diag=False)
    assert np.array_equal(next(maps)[1], mirrored(1)[::4, ::4])


def test_bins_out_of_order_are_each_their_own(tmp_path):
    path = tmp_path / TWO_TIME
    shutil.copyfile(carried(f"boost_corr/{TWO_TIME}"), path)
    with h5py.File(path, "r+") as file:
        file["/xpcs/twotime/processed_bins"][...] = [7, 3]
        file["/xpcs/twotime/config/stride_frame"][...] = 3
    xf = XpcsFile(path)
    assert xf.get_twotime_qbin_labels()[0].startswith("qbin=7, ")
    assert np.array_equal(xf.get_twotime_c2(0, correct_diag=False)["c2_mat"], mirrored(1))
    assert np.array_equal(xf.get_twotime_c2(1, correct_diag=False)["c2_mat"], mirrored(2))
    assert xf.get_twotime_c2(0)["acquire_period"] == pytest.approx(0.003)
    assert xf.t0 == 0.001


def test_maps_beside_it(xf):
    dqmap, image = stored("qmap/dynamic_roi_map"), stored("temporal_mean/scattering_2d")[0]
    rows, columns = np.nonzero(dqmap)
    crop = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    for auto_crop, cut in ((True, crop), (False, np.s_[:, :])):
        shown, saxs, chosen = xf.get_twotime_maps(scale="linear", auto_crop=auto_crop, selection=1)
        labels = np.flipud(dqmap[cut])
        assert chosen == 1
        assert np.array_equal(np.isnan(shown), labels == 0)
        assert (shown[labels == 5] == 13).all(), "selection 1 is bin 5"
        others = (labels != 5) & (labels != 0)
        assert np.array_equal(shown[others], labels[others])
        assert np.array_equal(saxs, image[cut])
    assert np.array_equal(xf.get_twotime_maps()[1], xf.saxs_2d_log[crop])


def test_the_map_is_cut_to_its_bins(xf):
    xf.qmap.dqmap = np.pad(stored("qmap/dynamic_roi_map")[20:60, 30:90], ((20, 36), (30, 38)))
    shown, saxs, _ = xf.get_twotime_maps()
    assert shown.shape == saxs.shape == (40, 60)
    assert np.array_equal(saxs, xf.saxs_2d_log[20:60, 30:90])


def test_a_bin_chosen_by_a_pixel(xf):
    labels = np.flipud(stored("qmap/dynamic_roi_map"))
    for label, number in ((2, 0), (5, 1)):
        row, column = np.argwhere(labels == label)[3]
        shown, _, chosen = xf.get_twotime_maps(auto_crop=False, highlight_xy=(column, row))
        assert chosen == number
        assert shown[row, column] == 13
    row, column = np.argwhere(labels == 7)[0]
    shown, _, chosen = xf.get_twotime_maps(auto_crop=False, highlight_xy=(column, row))
    assert chosen is None, "bin 7 has no two-time map"
    assert np.nanmax(shown) == 12
    assert xf.get_twotime_maps(highlight_xy=(500, 500))[2] is None
    row, column = np.argwhere(labels == 0)[0]
    assert xf.get_twotime_maps(auto_crop=False, highlight_xy=(column, row))[2] is None


def test_maps_of_a_multi_tau_file_choose_among_all_bins():
    xf = XpcsFile(carried(f"boost_corr/{BRIGHT}"))
    shown, _, chosen = xf.get_twotime_maps(auto_crop=False, selection=6)
    assert chosen == 6
    assert (shown[np.flipud(xf.dqmap) == 7] == 13).all()


def test_what_makes_no_sense_is_refused(xf):
    with pytest.raises(ConfigError, match="'cube' is neither 'log' nor 'linear'"):
        xf.get_twotime_maps(scale="cube")
    with pytest.raises(ConfigError, match="selection 2 does not exist: it goes from 0 to 1"):
        xf.get_twotime_maps(selection=2)
    with pytest.raises(ConfigError, match="'mask' is neither"):
        xf.qmap.crop("mask")
    xf.qmap.dqmap = np.zeros((96, 128), int)
    with pytest.raises(FileRejected, match="dqmap has no pixel in any bin"):
        xf.get_twotime_maps()


def test_a_map_of_one_frame_keeps_its_diagonal():
    assert np.array_equal(without_diagonal(np.array([[2.0]], "f4")), [[2.0]])
