from __future__ import annotations

from datetime import datetime
from pathlib import Path

import aps_file
import h5py
import numpy as np
import pytest
from conftest import CARRIED, carried, shared

from xpcs_dask.errors import FileRejected
from xpcs_dask.io.aps_nexus import read_g2, read_meta, sniff
from xpcs_dask.io.schema import SCALARS

MULTITAU = sorted(path.name for path in (CARRIED / "boost_corr").glob("*.hdf") if not path.name.startswith("S0005"))
TWO_TIME = "boost_corr/S0005_twotime_a0000_f000200_r00001_twotime_results.hdf"


def stored(path: Path, name: str) -> np.ndarray:
    with h5py.File(path) as file:
        return file[name][()]


def everything(path: Path) -> None:
    """Compare all that is read of a file with what plain h5py and a loop over columns and pixels make of it."""
    info = read_meta(str(path))
    with h5py.File(path) as file:
        multitau, qmap = file["xpcs/multitau"], file["xpcs/qmap"]
        delay_list, g2 = multitau["delay_list"][()], multitau["normalized_g2"][()]
        stride, average = (int(multitau["config"][name][()]) for name in ("stride_frame", "avg_frame"))
        frame_time = float(np.ravel(file["entry/instrument/detector_1/frame_time"][()])[0])
        frames = file["xpcs/spatial_mean/intensity_vs_time"].shape[1]
        n0, n1 = qmap["dynamic_num_pts"][()]
        grid = [
            (q, phi) for q in qmap["dynamic_v_list_dim0"][()] for phi in qmap["dynamic_v_list_dim1"][()]
        ]  # dim1 runs fastest
        assert len(grid) == n0 * n1
        columns = [grid[flat] for flat in qmap["dynamic_index_mapping"][()]]
        dynamic, static = qmap["dynamic_roi_map"][()], qmap["static_roi_map"][()]
        counts = file["xpcs/temporal_mean/scattering_1d"][0].astype(float) * average

    assert info.shape == g2.T.shape
    np.testing.assert_allclose(info.delay, delay_list * frame_time * stride * average, rtol=1e-7)
    np.testing.assert_array_equal(info.q, [q for q, _ in columns])
    np.testing.assert_array_equal(info.phi, [phi for _, phi in columns])
    np.testing.assert_array_equal(info.labels, range(1, len(columns) + 1))
    assert info.frames == frames
    assert info.n_products[-1] == 1
    assert info.n_products[0] == frames - 1
    assert (np.diff(info.n_products) < 0).sum() + (np.diff(info.n_products) == 0).sum() == delay_list.size - 1
    for column in {0, len(columns) // 2, len(columns) - 1}:
        inside = static[dynamic == column + 1]
        parts = [(np.sum(inside == part), counts[part - 1]) for part in np.unique(inside)]
        assert info.n_pixels[column] == inside.size == sum(pixels for pixels, _ in parts)
        with np.errstate(divide="ignore"):
            variance = sum(1 / (pixels * np.float64(mean) ** 2) for pixels, mean in parts)
        assert info.rate[column] == pytest.approx(len(parts) ** 2 / variance, rel=1e-9)


@pytest.mark.parametrize("name", MULTITAU)
def test_carried_files(name: str) -> None:
    everything(carried(f"boost_corr/{name}"))


@pytest.mark.parametrize("name", ["E0173", "Average_B0146", "Average_B0147", "Average_D0138"])
def test_real_files(name: str) -> None:
    (path,) = shared("aps").glob(f"{name}*.hdf")
    everything(path)
    info = read_meta(str(path))
    assert info.shape == (36 if name == "E0173" else 27, 61)
    assert info.frame_time == 2e-05  # averaged files keep it as (1, 1) float32
    assert info.runs == (1 if name == "E0173" else len(stored(path, "xpcs/average/file_list")))


@pytest.mark.parametrize("name", MULTITAU)
def test_curves_are_as_stored(name: str) -> None:
    path = carried(f"boost_corr/{name}")
    g2, err = read_g2(str(path))
    assert g2.dtype == err.dtype == np.float32
    np.testing.assert_array_equal(g2, stored(path, "xpcs/multitau/normalized_g2").T)
    np.testing.assert_array_equal(err, stored(path, "xpcs/multitau/normalized_g2_err").T)


def test_columns_of_a_map_with_empty_bins() -> None:
    """S0002 has 48 grid bins and 43 columns; the pixels of each bin, by geometry, tell which ones."""
    path = carried("boost_corr/S0002_qphi_a0000_f004096_r00001_results.hdf")
    info = read_meta(str(path))
    assert info.shape == (43, 43)
    with h5py.File(path) as file:
        qmap = file["xpcs/qmap"]
        roi = qmap["dynamic_roi_map"][()]
        x0, y0, pixel, distance, energy = (
            float(qmap[name][()])
            for name in ("beam_center_x", "beam_center_y", "pixel_size", "detector_distance", "energy")
        )
    down, right = np.indices(roi.shape) - np.array([x0, y0])[:, None, None]  # this producer's x is the row
    q = 4 * np.pi * energy / 12.39841984 * np.sin(np.arctan(np.hypot(down, right) * pixel / distance) / 2)
    turn = np.exp(-1j * np.arctan2(down, right))
    for column, label in enumerate(info.labels):
        here = roi == label
        assert abs(q[here].mean() - info.q[column]) < np.diff(np.unique(info.q)).min() / 2
        assert abs(np.angle(turn[here].mean() / np.exp(1j * np.radians(info.phi[column])), deg=True)) < 360 / 6 / 2


def test_averaging_and_stride_stretch_the_delays() -> None:
    plain, averaged, both = (
        read_meta(str(carried(f"boost_corr/S0001_bright_a0000_f004096_r00001_{kind}results.hdf")))
        for kind in ("", "avg4_", "stride2avg2_")
    )
    assert (plain.stride, plain.average) == (1, 1)
    assert (averaged.stride, averaged.average) == (1, 4)
    assert (both.stride, both.average) == (2, 2)
    assert plain.delay[0] == 0.001
    assert averaged.delay[0] == both.delay[0] == 0.004
    assert averaged.frames == both.frames == 1024


def test_metadata_of_one_file(tmp_path: Path) -> None:
    path = aps_file.write(tmp_path / "a.hdf", {"entry/instrument/detector_1/count_time": np.full((1, 1), 0.0009, "f4")})
    info = read_meta(str(path), include=list(SCALARS))
    assert info.start_time == datetime(2026, 1, 2, 3, 4, 5, 500000)
    assert dict(info.scalars) == {"temperature": 25.0, "count_time": 0.0009}
    assert info.size == path.stat().st_size
    assert info.name == "a.hdf"


def test_time_zone_is_kept(tmp_path: Path) -> None:
    path = aps_file.write(tmp_path / "a.hdf", {"entry/start_time": b"2026-01-02T03:04:05-06:00"})
    start = read_meta(str(path)).start_time
    assert start is not None
    assert start.utcoffset() is not None
    assert read_meta(str(aps_file.write(tmp_path / "b.hdf", {"entry/start_time": b"yesterday"}))).start_time is None


def test_what_may_be_missing(tmp_path: Path) -> None:
    gone = (
        "xpcs/multitau/config/stride_frame",
        "xpcs/multitau/config/avg_frame",
        "xpcs/qmap/dynamic_roi_map",
        "xpcs/spatial_mean/intensity_vs_time",
        "entry/start_time",
    )
    info = read_meta(str(aps_file.write(tmp_path / "a.hdf", dict.fromkeys(gone))))
    assert (info.stride, info.average, info.start_time) == (1, 1, None)
    assert np.isnan([info.frames, *info.n_products, *info.n_pixels, *info.rate]).all()
    np.testing.assert_array_equal(info.level, [0] * 8 + [1] * 4 + [2])


@pytest.mark.parametrize(
    "changed",
    [
        {"xpcs/temporal_mean/scattering_1d": None},
        {"xpcs/temporal_mean/scattering_1d": np.ones((1, 4), "f4")},
        {"xpcs/qmap/static_roi_map": None},
        {"xpcs/qmap/static_roi_map": np.ones((2, 2), "u2")},
        {"xpcs/qmap/static_roi_map": np.tile(np.arange(7, dtype="u2"), 3)[None, :19]},  # not inside dynamic bins
    ],
)
def test_rate_is_unknown_where_it_does_not_follow(tmp_path: Path, changed: dict) -> None:
    info = read_meta(str(aps_file.write(tmp_path / "a.hdf", changed)))
    assert np.isnan(info.rate).all()
    np.testing.assert_array_equal(info.n_pixels, 5)


def test_arrays_kept_as_rows(tmp_path: Path) -> None:
    """Some writers store 1-D arrays as (1, N) and whole numbers as floats."""
    good = aps_file.contents()
    rows = (
        "xpcs/multitau/delay_list",
        "xpcs/qmap/dynamic_index_mapping",
        "xpcs/qmap/dynamic_num_pts",
        "xpcs/qmap/dynamic_v_list_dim0",
    )
    path = aps_file.write(tmp_path / "a.hdf", {name: good[name][None].astype(float) for name in rows})
    info, plain = read_meta(str(path)), read_meta(str(aps_file.write(tmp_path / "b.hdf")))
    np.testing.assert_array_equal(info.delay, plain.delay)
    np.testing.assert_array_equal(info.q, plain.q)


@pytest.mark.parametrize(
    ("unit", "factor"), [("Å⁻¹", 1), ("1/Angstrom", 1), ("A^-1", 1), ("nm⁻¹", 0.1), ("1 / nm", 0.1), ("nm^-1", 0.1)]
)
def test_units_of_q(tmp_path: Path, unit: str, factor: float) -> None:
    path = aps_file.write(tmp_path / "a.hdf", {"xpcs/qmap/map_units": [unit.encode(), b"rad"]})
    info = read_meta(str(path))
    np.testing.assert_allclose(info.q, factor * np.array([0.01, 0.02, 0.03]), rtol=1e-14)
    np.testing.assert_allclose(info.phi, np.degrees(0.5), rtol=1e-14)


def test_axes_in_the_other_order(tmp_path: Path) -> None:
    changed = {
        "xpcs/qmap/map_names": [b"phi", b"q"],
        "xpcs/qmap/map_units": [b"deg", b"1/nm"],
        "xpcs/qmap/dynamic_num_pts": np.array([2, 2]),
        "xpcs/qmap/dynamic_index_mapping": np.array([0, 1, 3]),
        "xpcs/qmap/dynamic_v_list_dim0": np.array([10.0, 20.0]),
        "xpcs/qmap/dynamic_v_list_dim1": np.array([0.1, 0.2]),
    }
    info = read_meta(str(aps_file.write(tmp_path / "a.hdf", changed)))
    np.testing.assert_allclose(info.q, [0.01, 0.02, 0.02])
    np.testing.assert_array_equal(info.phi, [10, 10, 20])
    changed["xpcs/qmap/map_names"] = [b"x", b"q"]
    assert np.isnan(read_meta(str(aps_file.write(tmp_path / "b.hdf", changed))).phi).all()


def test_sniff(tmp_path: Path) -> None:
    assert sniff(str(aps_file.write(tmp_path / "a.hdf")))
    assert sniff(str(carried(TWO_TIME)))
    with h5py.File(tmp_path / "b.hdf", "w") as file:
        file["xpcs/qmap/energy"] = 1.0
    assert not sniff(str(tmp_path / "b.hdf"))
    (tmp_path / "c.hdf").write_text("q,g2\n")
    assert not sniff(str(tmp_path / "c.hdf"))


G2, ERR, DELAY = "xpcs/multitau/normalized_g2", "xpcs/multitau/normalized_g2_err", "xpcs/multitau/delay_list"
WRONG = {
    "transposed": ({G2: np.ones((3, 13), "f4")}, r"normalized_g2 has shape \(3, 13\) for 13 delays.*transposed"),
    "one column": ({G2: np.ones(13, "f4")}, r"normalized_g2 has shape \(13,\) for 13 delays"),
    "short": ({G2: np.ones((12, 3), "f4")}, r"normalized_g2 has shape \(12, 3\) for 13 delays"),
    "err": ({ERR: np.ones((13, 4), "f4")}, r"normalized_g2_err has shape \(13, 4\) for 13 delays and 3 q bins"),
    "no err": ({ERR: None}, "normalized_g2_err is missing"),
    "no g2": ({G2: None}, "normalized_g2 is missing"),
    "text g2": ({G2: np.full((13, 3), b"1.0")}, "normalized_g2 does not hold numbers"),
    "no delays": ({DELAY: None}, "delay_list is missing"),
    "falling": ({DELAY: np.r_[1:9, 8, 12, 14, 16, 20]}, "delays do not increase: number 9 is 0.008 s after 0.008 s"),
    "zero": ({DELAY: np.r_[0:13]}, "delays must be positive numbers, found 0 s"),
    "seconds": ({DELAY: 1e-3 * aps_file.DELAYS}, "delay_list must hold whole numbers, found 0.001"),
    "nan": ({DELAY: np.full(13, np.nan)}, "delay_list must hold whole numbers, found nan"),
    "map size": ({"xpcs/qmap/dynamic_index_mapping": np.arange(2)}, "q-map has 2 bins but g2 has 3 columns"),
    "map place": ({"xpcs/qmap/dynamic_index_mapping": np.array([0, 1, 3])}, "sends a column to 3 of 3 grid bins"),
    "map nan": ({"xpcs/qmap/dynamic_index_mapping": np.full(3, np.nan)}, "index_mapping must hold whole numbers"),
    "grid": ({"xpcs/qmap/dynamic_num_pts": np.array([4, 1])}, "grid of 4 x 1 bins but 3 x 1 bin centres"),
    "q nan": ({"xpcs/qmap/dynamic_v_list_dim0": np.array([0.1, np.nan, 0.3])}, "q of bin 2 is not a number"),
    "no q": ({"xpcs/qmap/map_names": [b"x", b"y"]}, "axes of the q-map are 'x' and 'y': none of them is q"),
    "no names": ({"xpcs/qmap/map_names": None}, "map_units must name two axes"),
    "unit": ({"xpcs/qmap/map_units": [b"furlong", b"deg"]}, "unit 'furlong' of q in /xpcs/qmap/map_units is not known"),
    "phi unit": ({"xpcs/qmap/map_units": [b"1/nm", b"grad"]}, "unit 'grad' of phi in /xpcs/qmap/map_units"),
    "labels": ({"xpcs/qmap/dynamic_roi_map": np.array([[0, 4]])}, "must label pixels by the 3 columns.* up to 4"),
    "no time": ({"entry/instrument/detector_1/frame_time": None}, "frame_time must be a positive number of seconds"),
    "time": ({"entry/instrument/detector_1/frame_time": -1.0}, "positive number of seconds, found -1.0"),
    "stride": ({"xpcs/multitau/config/stride_frame": 0}, "stride_frame must be a whole number from 1, found 0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_files_are_refused(tmp_path: Path, case: str) -> None:
    changed, reason = WRONG[case]
    path = aps_file.write(tmp_path / "wrong.hdf", changed)
    with pytest.raises(FileRejected, match=reason) as caught:
        read_meta(str(path))
    assert caught.value.path == str(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_q_map(tmp_path: Path) -> None:
    path = aps_file.write(tmp_path / "a.hdf")
    with h5py.File(path, "a") as file:
        del file["xpcs/qmap"]
    with pytest.raises(FileRejected, match=r"the q-map /xpcs/qmap is missing"):
        read_meta(str(path))


def test_two_time_only() -> None:
    with pytest.raises(FileRejected, match="two-time results only and no multi-tau g2"):
        read_meta(str(carried(TWO_TIME)))


def test_absurd_size_is_refused_before_reading(tmp_path: Path) -> None:
    path = aps_file.write(tmp_path / "a.hdf", {G2: None})
    with h5py.File(path, "a") as file:
        file.create_dataset(G2, (13, 2**40), "f4", chunks=(1, 1024))
    with pytest.raises(FileRejected, match=r"claims \d+ values, more than"):
        read_meta(str(path))
