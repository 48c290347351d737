from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import run_file
import xarray as xr
from run_file import err_of, g2_of

from xpcs_dask.errors import FileRejected
from xpcs_dask.io.aps_legacy import read_g2, read_meta, sniff
from xpcs_dask.io.formats import identify
from xpcs_dask.io.reader import Told

PERIOD = "measurement/instrument/detector/exposure_period"


def contents(data: xr.Dataset) -> dict[str, Any]:
    frames = np.round(data["delay"].to_numpy() / 1e-3)
    nq = data.sizes["qbin"]
    return {
        "exchange/norm-0-g2": g2_of(data).T,
        "exchange/norm-0-stderr": err_of(data).T,
        "exchange/tau": frames[None].astype("f4"),
        "xpcs/Version": np.bytes_("1.0"),
        "xpcs/output_data": np.bytes_("/exchange"),
        "xpcs/dqlist": data["q"].to_numpy()[None],
        "xpcs/dphilist": np.linspace(0, 90, nq)[None],
        "xpcs/dqmap": np.repeat(np.arange(nq + 1), np.arange(nq + 1) + 7)[None].astype("u4"),
        "xpcs/data_begin_todo": np.array([[1]], "u8"),
        "xpcs/data_end_todo": np.array([[run_file.FRAMES]], "u8"),
        PERIOD: np.array([[1e-3]]),
        "measurement/instrument/detector/exposure_time": np.array([[9e-4]]),
        "measurement/instrument/source_begin/energy": np.array([[11.0]]),
        "measurement/instrument/source_begin/datetime": np.bytes_("Sat Mar 29 18:02:23 2025"),
    }


@pytest.fixture
def data() -> xr.Dataset:
    return run_file.run()


def write(path: Path, data: xr.Dataset, **changed: Any) -> str:
    return str(run_file.write(path / "renamed.dat", contents(data), changed))


def test_everything(tmp_path: Path, data: xr.Dataset) -> None:
    path = write(tmp_path, data)
    assert identify(path) == "aps_legacy"
    info = read_meta(path, ["count_time", "photon_energy", "temperature"])
    np.testing.assert_allclose(info.delay, data["delay"], rtol=1e-12)
    np.testing.assert_array_equal(info.q, data["q"])
    np.testing.assert_array_equal(info.phi, np.linspace(0, 90, 12))
    np.testing.assert_array_equal(info.n_pixels, np.arange(8, 20))
    np.testing.assert_array_equal(info.level, data["level"])
    np.testing.assert_array_equal(info.n_products, data["n_products"][0])
    assert (info.frames, info.stride, info.average, info.frame_time) == (400, 1, 1, 1e-3)
    assert info.scalars == {"count_time": 9e-4, "photon_energy": 11.0}
    assert info.start_time == datetime(2025, 3, 29, 18, 2, 23)
    assert (info.error_kind, info.notes) == ("quoted", ())
    g2, err = read_g2(path, info.entry)
    np.testing.assert_array_equal(g2, g2_of(data))
    np.testing.assert_array_equal(err, err_of(data))


def test_one_q_keeps_its_axis(tmp_path: Path) -> None:
    data = run_file.run(1)
    path = write(tmp_path, data)
    assert read_meta(path).shape == (1, data.sizes["delay"])
    np.testing.assert_array_equal(read_g2(path)[0], g2_of(data))


def test_stride_and_average_stretch_delays(tmp_path: Path, data: xr.Dataset) -> None:
    thinned = {"xpcs/stride_frames": np.array([[2]], "u8"), "xpcs/avg_frames": np.array([[3]], "u8")}
    info = read_meta(write(tmp_path, data, **thinned, **{"xpcs/data_end_todo": np.array([[6 * run_file.FRAMES + 1]])}))
    np.testing.assert_allclose(info.delay, 6 * data["delay"], rtol=1e-12)
    assert (info.stride, info.average, info.frames) == (2, 3, run_file.FRAMES)
    np.testing.assert_array_equal(info.n_products, data["n_products"][0])
    with pytest.raises(FileRejected, match="/xpcs/stride_frames must be a whole number from 1, found 0"):
        read_meta(write(tmp_path, data, **{"xpcs/stride_frames": np.array([[0]])}))


def test_frames_that_are_not_told_or_do_not_fit(tmp_path: Path, data: xr.Dataset) -> None:
    info = read_meta(write(tmp_path, data, **{"xpcs/data_end_todo": None}))
    assert np.isnan(info.frames)
    assert np.isnan(info.n_products).all()
    np.testing.assert_array_equal(info.level, data["level"])
    assert np.isnan(read_meta(write(tmp_path, data, **{"xpcs/data_end_todo": np.array([[5]])})).n_products).all()


@pytest.mark.parametrize(
    "place", ["entry/instrument/bluesky/metadata/t0", "entry/instrument/detector_1/acquire_period"]
)
def test_time_in_hybrid_files(tmp_path: Path, data: xr.Dataset, place: str) -> None:
    info = read_meta(write(tmp_path, data, **{PERIOD: None, place: 1e-3}))
    np.testing.assert_allclose(info.delay, data["delay"], rtol=1e-12)
    assert info.frame_time == 1e-3


def test_time_that_is_missing_or_absurd(tmp_path: Path, data: xr.Dataset) -> None:
    with pytest.raises(FileRejected, match=r"the time between frames is in none of /measurement/.*/acquire_period"):
        read_meta(write(tmp_path, data, **{PERIOD: None}))
    with pytest.raises(FileRejected, match="must be a positive number of seconds, found 0"):
        read_meta(write(tmp_path, data, **{PERIOD: 0.0}))


def test_output_data_names_the_results(tmp_path: Path, data: xr.Dataset) -> None:
    good = contents(data)
    moved = {name.replace("exchange/", "exchange_1/"): good[name] for name in good if name.startswith("exchange/")}
    wrong = {"exchange/norm-0-g2": good["exchange/norm-0-g2"] + 5}
    path = write(tmp_path, data, **moved, **wrong, **{"xpcs/output_data": np.bytes_("/exchange_1")})
    np.testing.assert_array_equal(read_g2(path)[0], g2_of(data))
    np.testing.assert_array_equal(read_g2(write(tmp_path, data, **{"xpcs/output_data": None}))[0], g2_of(data))


def test_reprocessed_results_are_chosen_by_entry(tmp_path: Path, data: xr.Dataset) -> None:
    good = contents(data)
    again = {name.replace("exchange/", "exchange_1/"): good[name] for name in good if name.startswith("exchange/")}
    again |= {name.replace("xpcs/", "xpcs_1/"): good[name] for name in good if name.startswith("xpcs/")}
    again |= {"exchange_1/norm-0-g2": good["exchange/norm-0-g2"] + 5, "xpcs_1/output_data": np.bytes_("/exchange_1")}
    path = write(tmp_path, data, **{**again, "xpcs_1/dqlist": 2 * good["xpcs/dqlist"]})
    first = read_meta(path)
    assert first.entry == "xpcs"
    assert first.notes == ("of the entries xpcs, xpcs_1 the first is read; entry= chooses another",)
    second = read_meta(path, told=Told(entry="xpcs_1"))
    assert (second.entry, second.notes) == ("xpcs_1", ())
    np.testing.assert_array_equal(second.q, 2 * data["q"])
    np.testing.assert_array_equal(read_g2(path, second.entry)[0], g2_of(data) + 5)
    np.testing.assert_array_equal(read_g2(path, first.entry)[0], g2_of(data))
    with pytest.raises(FileRejected, match="entry= names 'xpcs_2', but it has xpcs, xpcs_1"):
        read_meta(path, told=Told(entry="xpcs_2"))


def test_oldest_files_hold_records(tmp_path: Path, data: xr.Dataset) -> None:
    records = np.empty(g2_of(data).T.shape, [("g2", "f4"), ("g2StdErr", "f4")])
    records["g2"], records["g2StdErr"] = g2_of(data).T, err_of(data).T
    without = {"exchange/norm-0-g2": None, "exchange/norm-0-stderr": None, "xpcs/Version": None}
    path = write(tmp_path, data, **without, **{"exchange/norm": records})
    assert identify(path) == "aps_legacy"
    assert read_meta(path).error_kind == "quoted"
    np.testing.assert_array_equal(read_g2(path)[0], g2_of(data))
    np.testing.assert_array_equal(read_g2(path)[1], err_of(data))
    for wrong in (records[:-1], records["g2"]):
        with pytest.raises(FileRejected, match="/exchange/norm must hold records of g2 and g2StdErr"):
            read_meta(write(tmp_path, data, **without, **{"exchange/norm": wrong}))


def test_missing_errors_and_azimuths(tmp_path: Path, data: xr.Dataset) -> None:
    path = write(tmp_path, data, **{"exchange/norm-0-stderr": None, "xpcs/dphilist": None})
    info = read_meta(path)
    assert info.error_kind == "none"
    assert np.isnan(info.phi).all()
    assert np.isnan(read_g2(path)[1]).all()
    assert read_g2(path)[1].shape == info.shape


def test_a_map_of_other_bins_counts_nothing(tmp_path: Path, data: xr.Dataset) -> None:
    for wrong in (np.arange(30), np.array([-1, 12]), np.linspace(0, 12, 5)):
        assert np.isnan(read_meta(write(tmp_path, data, **{"xpcs/dqmap": wrong})).n_pixels).all()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"exchange/norm-0-g2": None}, "/exchange/norm-0-g2 is missing: the file is not complete"),
        ({"exchange/tau": None}, "/exchange/tau is missing"),
        ({"xpcs/dqlist": None}, "/xpcs/dqlist is missing"),
        ({"xpcs/dqlist": np.ones((1, 3))}, r"norm-0-g2 has shape \(29, 12\) for 29 delays and 3 q bins"),
        ({"exchange/norm-0-g2": np.ones((12, 29))}, r"\(delay, q\) is expected: it is transposed"),
        ({"exchange/norm-0-stderr": np.ones((2, 12))}, "norm-0-stderr has shape"),
        ({"exchange/norm-0-g2": None, "exchange/C2T_all/g2_00001": np.ones((3, 3))}, "two-time results only"),
    ],
)
def test_refused(tmp_path: Path, data: xr.Dataset, changed: dict[str, Any], reason: str) -> None:
    path = write(tmp_path, data, **changed)
    assert sniff(path)
    with pytest.raises(FileRejected, match=reason):
        read_meta(path)


def test_sniff_is_by_content(tmp_path: Path, data: xr.Dataset) -> None:
    (tmp_path / "text.hdf").write_text("no HDF5")
    assert not sniff(str(tmp_path / "text.hdf"))
    with h5py.File(tmp_path / "other.hdf", "w") as file:
        file["exchange/data"] = 1
    assert not sniff(str(tmp_path / "other.hdf"))
    assert sniff(write(tmp_path, data, **{"xpcs/Version": None}))
