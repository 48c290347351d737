from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import aps_file
import dask
import h5py
import numpy as np
import pytest
import xarray as xr
from conftest import CARRIED, carried, shared

from xpcs_dask.errors import ConfigError, FileRejected, MismatchError, NoUsableInputError, XpcsError
from xpcs_dask.io.open import open_g2
from xpcs_dask.io.pack import pack
from xpcs_dask.io.schema import SCALARS, VARIABLES

PLAIN = "boost_corr/S0001_bright_a0000_f004096_r00001_results.hdf"
Q_PHI = "boost_corr/S0002_qphi_a0000_f004096_r00001_results.hdf"
SHORT = "boost_corr/S0006_short_a0000_f000012_r00001_results.hdf"
WITH_G2 = "boost_corr/S0004_withG2_a0000_f002048_r00001_results.hdf"
TWO_TIME = "boost_corr/S0005_twotime_a0000_f000200_r00001_twotime_results.hdf"


def dataset(*args: Any, **options: Any) -> xr.Dataset:
    opened = open_g2(*args, **options)
    assert isinstance(opened, xr.Dataset)
    return opened


def rejected(opened: xr.Dataset | xr.DataTree) -> dict[str, str]:
    return {Path(item["file"]).name: item["reason"] for item in json.loads(opened.attrs["rejected"])}


def test_one_file_has_a_file_dimension() -> None:
    data = dataset(carried(PLAIN))
    assert dict(data.sizes) == {"file": 1, "qbin": 12, "delay": 43}
    assert data.file.item() == Path(PLAIN).name
    assert data.path.item() == str(carried(PLAIN))
    with h5py.File(carried(PLAIN)) as file:
        np.testing.assert_array_equal(data.g2[0].values, file["xpcs/multitau/normalized_g2"][()].T)
        np.testing.assert_array_equal(data.g2_err[0].values, file["xpcs/multitau/normalized_g2_err"][()].T)


def test_names_dims_units_of_everything() -> None:
    data = dataset(carried(PLAIN))
    assert set(data.data_vars) == {"g2", "g2_err"}
    assert set(data.variables) == {*VARIABLES, "temperature"}
    for name, variable in data.variables.items():
        known = VARIABLES.get(str(name)) or SCALARS[str(name)]
        assert variable.dims == known.dims
        assert known.attrs.items() <= variable.attrs.items()
    assert data.g2.dtype == data.g2_err.dtype == np.float32
    assert data.curve_id.dtype == np.uint64
    assert data.start_time.attrs["time_zone"] == "local"
    assert data.start_time.values[0] == np.datetime64("2026-01-02T03:04:05.678901")
    assert data.attrs["source_format"] == "aps_nexus"
    assert data.attrs["xpcs_dask_version"]
    assert data.attrs["rejected"] == "[]"


def test_opening_runs_no_task_and_reads_no_file_twice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for i in range(5):
        aps_file.write(tmp_path / f"r{i}.hdf", seed=i)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a task ran")

    with dask.config.set(scheduler=refuse):
        data = dataset(tmp_path, chunks=2)
        derived = (data.g2 - 1) / data.g2_err
    assert data.g2.chunks == ((2, 2, 1), (3,), (13,))
    reads = aps_file.CountReads(monkeypatch)
    derived.compute(scheduler="sync")
    assert len(reads.paths) == len(set(reads.paths)) == 5


def test_chunks() -> None:
    files = [carried(PLAIN), carried(SHORT)]
    assert dataset(files).g2.chunks == ((2,), (12,), (43,))
    assert dataset(files, chunks=1).g2.chunks == ((1, 1), (12,), (43,))
    eager = dataset(files, chunks=None)
    assert eager.g2.chunks is None
    assert isinstance(eager.g2.data, np.ndarray)
    xr.testing.assert_identical(eager, dataset(files).compute())


def test_series_in_natural_order(tmp_path: Path) -> None:
    for i in (1, 2, 10):
        aps_file.write(tmp_path / f"run{i}.hdf", seed=i)
    data = dataset([tmp_path / "run10.hdf", tmp_path / "run1.hdf", tmp_path / "run2.hdf"])
    assert data.file.values.tolist() == ["run1.hdf", "run2.hdf", "run10.hdf"]
    for row, i in enumerate((1, 2, 10)):
        np.testing.assert_array_equal(data.g2[row], aps_file.contents(i)["xpcs/multitau/normalized_g2"].T)
    xr.testing.assert_identical(dataset(tmp_path).compute(), data.compute())
    xr.testing.assert_identical(dataset(str(tmp_path / "run*.hdf")).compute(), data.compute())


def test_curve_id_is_the_same_alone_and_in_any_series() -> None:
    files = [carried(PLAIN), carried(SHORT), *(CARRIED / "boost_corr").glob("S0003*.hdf")]
    series = dataset(files)
    for path in files:
        alone = dataset(path)
        np.testing.assert_array_equal(alone.curve_id[0], series.curve_id.sel(file=path.name))
        np.testing.assert_array_equal(alone.content_hash[0], series.content_hash.sel(file=path.name))
    assert np.unique(series.curve_id).size == series.curve_id.size == 48


def test_shorter_files_are_padded_with_nan() -> None:
    data = dataset([carried(SHORT), carried(PLAIN)]).compute()
    alone = dataset(carried(SHORT)).compute()
    short = data.sel(file=Path(SHORT).name)
    assert alone.sizes["delay"] == 9
    assert np.isnan(short.g2[:, 9:]).all()
    assert np.isnan(short.g2_err[:, 9:]).all()
    np.testing.assert_array_equal(short.g2[:, :9], alone.g2[0])
    np.testing.assert_array_equal(short.n_products[:9], alone.n_products[0])
    np.testing.assert_array_equal(short.n_products[9:], 0)
    np.testing.assert_array_equal(data.delay, dataset(carried(PLAIN)).delay)


def test_products_unknown_stay_unknown_when_padded(tmp_path: Path) -> None:
    good = aps_file.contents(5)
    short = {name: good[name][:9] for name in good if name.startswith("xpcs/multitau/") and good[name].ndim}
    aps_file.write(tmp_path / "a.hdf", {**short, "xpcs/spatial_mean/intensity_vs_time": None})
    aps_file.write(tmp_path / "b.hdf")
    data = dataset(tmp_path)
    assert np.isnan(data.n_products[0]).all()
    assert np.isfinite(data.n_products[1]).all()


def mismatched(folder: Path) -> dict[str, str]:
    """Write files that differ from a.hdf in one thing each; what it is, by name."""
    aps_file.write(folder / "a.hdf")
    axis = aps_file.contents()["xpcs/qmap/dynamic_v_list_dim0"]
    aps_file.write(folder / "single.hdf", {"entry/instrument/detector_1/frame_time": np.full((1, 1), 0.001, "f4")})
    aps_file.write(folder / "rounded.hdf", {"xpcs/qmap/dynamic_v_list_dim0": axis.astype("f4")})
    aps_file.write(folder / "x_q.hdf", {"xpcs/qmap/dynamic_v_list_dim0": axis * 1.001})
    aps_file.write(folder / "x_phi.hdf", {"xpcs/qmap/dynamic_v_list_dim1": [0.6]})
    aps_file.write(folder / "x_bins.hdf", bins=4)
    aps_file.write(folder / "y_time.hdf", {"entry/instrument/detector_1/frame_time": 0.002})
    stretched = {"xpcs/multitau/config/avg_frame": 2}
    aps_file.write(folder / "z_delay.hdf", stretched)
    return {
        "x_q.hdf": "q-map",
        "x_phi.hdf": "q-map",
        "x_bins.hdf": "q-map",
        "y_time.hdf": "frame time",
        "z_delay.hdf": "delay grid",
    }


def test_mismatch_is_named(tmp_path: Path) -> None:
    for name, what in mismatched(tmp_path).items():
        with pytest.raises(MismatchError, match=f"{what} of .*{name} differs from that of .*a.hdf") as caught:
            open_g2([tmp_path / "a.hdf", tmp_path / name])
        assert "\n" not in str(caught.value)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    with pytest.raises(MismatchError) as caught:
        open_g2(tmp_path)
    assert [Path(path).name for path in caught.value.others] == ["x_bins.hdf", "x_phi.hdf", "x_q.hdf"]


def test_single_precision_is_no_other_grid(tmp_path: Path) -> None:
    mismatched(tmp_path)
    data = dataset([tmp_path / name for name in ("a.hdf", "single.hdf", "rounded.hdf")])
    assert data.sizes["file"] == 3
    np.testing.assert_array_equal(data.delay, dataset(tmp_path / "single.hdf").delay)


def test_split_makes_a_group_of_each_map_and_grid(tmp_path: Path) -> None:
    mismatched(tmp_path)
    (tmp_path / "zz.hdf").write_text("no result")
    tree = open_g2(tmp_path, on_mismatch="split", on_error="skip")
    assert isinstance(tree, xr.DataTree)
    groups = {name: child.file.values.tolist() for name, child in tree.children.items()}
    assert groups == {
        "group_0": ["a.hdf", "rounded.hdf", "single.hdf"],
        "group_1": ["x_bins.hdf"],
        "group_2": ["x_phi.hdf"],
        "group_3": ["x_q.hdf"],
        "group_4": ["y_time.hdf"],
        "group_5": ["z_delay.hdf"],
    }
    assert list(rejected(tree)) == ["zz.hdf"]
    first = tree["group_0"].attrs
    assert (first["files"], first["q_bins"], first["delays"], first["frame_time"]) == (3, 3, 13, 0.001)
    np.testing.assert_allclose(first["q_range"], [0.01, 0.03])
    np.testing.assert_allclose(first["delay_range"], [0.001, 0.02])
    np.testing.assert_array_equal(tree["group_3"].g2[0], aps_file.contents()["xpcs/multitau/normalized_g2"].T)


def test_split_of_one_series_is_a_tree_too() -> None:
    tree = open_g2(carried(PLAIN), on_mismatch="split")
    assert isinstance(tree, xr.DataTree)
    assert list(tree.children) == ["group_0"]


def bad_files(folder: Path) -> dict[str, str]:
    """Write one good file and the bad ones that people send; the reason of each, by name."""
    good = aps_file.write(folder / "good.hdf")
    (folder / "cut.hdf").write_bytes(good.read_bytes()[:-1000])
    (folder / "text.hdf").write_text("q,tau,g2\n0.01,0.1,1.2\n")
    (folder / "empty.hdf").write_bytes(b"")
    (folder / "two_time.hdf").write_bytes(carried(TWO_TIME).read_bytes())
    aps_file.write(folder / "turned.hdf", {"xpcs/multitau/normalized_g2": np.ones((3, 13), "f4")})
    aps_file.write(folder / "falling.hdf", {"xpcs/multitau/delay_list": aps_file.DELAYS[::-1].copy()})
    (folder / "same.hdf").symlink_to(good)
    unmapped = aps_file.write(folder / "unmapped.hdf")
    with h5py.File(unmapped, "a") as file:
        del file["xpcs/qmap"]
    return {
        "cut.hdf": "truncated",
        "text.hdf": "not HDF5",
        "empty.hdf": "empty (0 bytes)",
        "two_time.hdf": "two-time results only",
        "turned.hdf": "it is transposed",
        "falling.hdf": "delays do not increase",
        "same.hdf": "duplicated",
        "unmapped.hdf": "q-map /xpcs/qmap is missing",
    }


def test_bad_files_are_skipped_with_their_reasons(tmp_path: Path) -> None:
    expected = bad_files(tmp_path)
    data = dataset(tmp_path, on_error="skip")
    assert data.file.values.tolist() == ["good.hdf"]
    found = rejected(data)
    assert set(found) == set(expected)
    for name, reason in expected.items():
        assert reason in found[name]
        assert "\n" not in found[name]
    data.compute()


def test_bad_files_are_raised(tmp_path: Path) -> None:
    for name, reason in bad_files(tmp_path).items():
        sources = [tmp_path / "good.hdf", tmp_path / name]
        with pytest.raises(FileRejected) as caught:
            open_g2(sources)
        assert reason in caught.value.reason
        assert Path(caught.value.path).name == name
        again = pickle.loads(pickle.dumps(caught.value))
        assert (again.path, again.reason, str(again)) == (caught.value.path, caught.value.reason, str(caught.value))


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, closed = aps_file.write(tmp_path / "good.hdf"), aps_file.write(tmp_path / "closed.hdf")
    true = h5py.File

    def guarded(path: str, *args: Any, **kwargs: Any) -> h5py.File:
        if path == str(closed):
            raise PermissionError(13, "Permission denied")
        return true(path, *args, **kwargs)

    monkeypatch.setattr(h5py, "File", guarded)
    data = dataset([good, closed], on_error="skip")
    assert rejected(data) == {"closed.hdf": "no permission to read it; ask its owner, or change its mode"}
    with pytest.raises(FileRejected, match=r"closed\.hdf: no permission"):
        open_g2([good, closed])


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_nothing_usable(tmp_path: Path, on_error: Any) -> None:
    for source, reason in {
        "none*.hdf": r"no usable file in .*none\*\.hdf: .*no file matches this pattern",
        "none.hdf": r"no usable file in .*none\.hdf: .*there is no such file",
        "": "the folder holds no file that ends in",
    }.items():
        with pytest.raises(NoUsableInputError, match=reason) as caught:
            open_g2(tmp_path / source, on_error=on_error)
        assert "\n" not in str(caught.value)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    with pytest.raises(NoUsableInputError, match="no file was named"):
        open_g2([], on_error=on_error)


def test_all_files_bad(tmp_path: Path) -> None:
    for i in range(5):
        (tmp_path / f"{i}.hdf").write_text("bad")
    with pytest.raises(NoUsableInputError, match=r"no usable file in .*0\.hdf: it is not HDF5.*; and 2 more"):
        open_g2(iter(tmp_path.glob("*.hdf")), on_error="skip")
    with pytest.raises(FileRejected, match=r"0\.hdf: it is not HDF5"):
        open_g2(tmp_path)


def test_one_lost_name_among_good_ones(tmp_path: Path) -> None:
    good = aps_file.write(tmp_path / "good.hdf")
    data = dataset([good, tmp_path / "lost.hdf"], on_error="skip")
    assert rejected(data) == {"lost.hdf": "there is no such file; check the path"}
    with pytest.raises(FileRejected, match=r"lost\.hdf: there is no such file"):
        open_g2([good, tmp_path / "lost.hdf"])


def test_a_curve_of_nan_is_no_reason_to_refuse(tmp_path: Path) -> None:
    g2 = aps_file.contents()["xpcs/multitau/normalized_g2"]
    g2[:, 1] = np.nan
    data = dataset(aps_file.write(tmp_path / "a.hdf", {"xpcs/multitau/normalized_g2": g2}), chunks=None)
    assert np.isnan(data.g2[0, 1]).all()
    assert np.isfinite(data.g2[0, [0, 2]]).all()


def test_include(tmp_path: Path) -> None:
    aps_file.write(tmp_path / "a.hdf", {"entry/instrument/detector_1/count_time": 0.0009})
    aps_file.write(tmp_path / "b.hdf", {"entry/sample/qnw1_temperature": None})
    data = dataset(tmp_path, include=["count_time", "transmission"])
    np.testing.assert_array_equal(data.count_time, [0.0009, np.nan])
    np.testing.assert_array_equal(data.temperature, [25.0, np.nan])
    np.testing.assert_array_equal(data.transmission, [np.nan, np.nan])
    assert data.count_time.attrs["units"] == "s"
    assert "count_time" not in dataset(tmp_path)
    assert "temperature" not in dataset(tmp_path / "b.hdf")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"include": ["humidity"]}, "include: 'humidity' cannot be read; give a list of temperature, "),
        ({"include": "temperature"}, "include: 'temperature' cannot be read; give a list of"),
        ({"chunks": 0}, "chunks: 0 is none of"),
        ({"chunks": "8MB"}, "chunks: '8MB' is none of"),
        ({"on_error": "warn"}, "on_error: 'warn' is neither 'raise' nor 'skip'"),
        ({"on_mismatch": "skip"}, "on_mismatch: 'skip' is neither 'raise' nor 'split'"),
        ({"format": "nexus"}, "format: 'nexus' is not known; known are aps_nexus"),
    ],
)
def test_unknown_settings(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        open_g2(carried(PLAIN), **options)


def test_named_format_is_not_sniffed(tmp_path: Path) -> None:
    path = tmp_path / "text.hdf"
    path.write_text("bad")
    with pytest.raises(XpcsError, match=r"text\.hdf: it is not HDF5 \(no HDF5 signature\)"):
        open_g2(path, format="aps_nexus")
    assert dataset(carried(PLAIN), format="aps_nexus").sizes["qbin"] == 12


def test_time_zones(tmp_path: Path) -> None:
    aps_file.write(tmp_path / "a.hdf", {"entry/start_time": b"2026-01-02T03:04:05-06:00"})
    aps_file.write(tmp_path / "b.hdf")
    aps_file.write(tmp_path / "c.hdf", {"entry/start_time": None})
    aps_file.write(tmp_path / "d.hdf", {"entry/start_time": b"0001-01-01 00:00:00"})
    assert dataset(tmp_path / "a.hdf").start_time.attrs["time_zone"] == "UTC"
    assert dataset(tmp_path / "c.hdf").start_time.attrs["time_zone"] == "unknown"
    times = dataset(tmp_path).start_time
    assert times.values[0] == np.datetime64("2026-01-02T09:04:05")
    assert times.values[1] == np.datetime64("2026-01-02T03:04:05.5")
    assert np.isnat(times.values[2:]).all()
    assert times.attrs["time_zone"] == "UTC where the file tells, else local"


@pytest.mark.parametrize("kind", ["zarr", "netcdf"])
def test_round_trip(tmp_path: Path, kind: str) -> None:
    data = dataset(
        [carried(PLAIN), carried(SHORT), carried(TWO_TIME)], on_error="skip", include=["count_time"], chunks=1
    )
    if kind == "zarr":
        data.to_zarr(tmp_path / "a.zarr", consolidated=False)
        again = xr.open_zarr(tmp_path / "a.zarr", consolidated=False)
    else:
        data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
        again = xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf")
    with again:
        assert again.attrs == data.attrs
        assert len(rejected(again)) == 1
        for name, variable in data.compute().variables.items():
            assert dict(again[name].attrs) == variable.attrs
            np.testing.assert_array_equal(again[name].values, variable.values)
            if variable.dtype != object:
                assert again[name].dtype == variable.dtype


def test_tree_round_trip(tmp_path: Path) -> None:
    tree = open_g2([carried(PLAIN), carried(Q_PHI)], on_mismatch="split")
    assert isinstance(tree, xr.DataTree)
    tree.to_zarr(tmp_path / "a.zarr", consolidated=False)
    with xr.open_datatree(tmp_path / "a.zarr", engine="zarr", consolidated=False) as again:
        assert again.attrs == tree.attrs
        np.testing.assert_array_equal(again["group_1"].g2, tree["group_1"].g2)
        assert again["group_1"].attrs == tree["group_1"].attrs


def test_real_series() -> None:
    folder = shared("aps")
    data = dataset(folder / "Average*.hdf", chunks=1)
    assert dict(data.sizes) == {"file": 3, "qbin": 27, "delay": 61}
    assert (data.runs > 1).all()
    tree = open_g2(folder, on_mismatch="split")
    assert [child.sizes["file"] for child in tree.children.values()] == [3, 1]
    with pytest.raises(MismatchError, match=r"q-map of .*E0173"):
        open_g2(folder)


def table(path: Path, zero: bool = False) -> Path:
    path.write_text(("0,9,9\n" if zero else "") + "1,1.3,0.1\n2,1.2,0.1\n4,1.1,0.1\n")
    return path


def test_units_are_told(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv")
    with pytest.raises(NoUsableInputError, match="it does not state the unit of its delays; tell it with delay_unit="):
        open_g2(path, on_error="skip")
    data = dataset(path, delay_unit="ms")
    np.testing.assert_allclose(data.delay, [1e-3, 2e-3, 4e-3], rtol=1e-12)
    assert np.isnan(data.q).all()
    np.testing.assert_array_equal(data.g2[0, 0].values, np.array([1.3, 1.2, 1.1], "f4"))
    xr.testing.assert_identical(xr.open_dataset(path, engine="xpcs", delay_unit="ms").load(), data.compute())
    for option, unit in (("delay_unit", "frames"), ("q_unit", "pixel")):
        with pytest.raises(ConfigError, match=f"{option}: '{unit}' is not known; known are"):
            open_g2(path, **{option: unit})
    with pytest.raises(FileRejected, match="delay_unit= does not apply to a file of format aps_nexus; leave it out"):
        open_g2(carried(PLAIN), delay_unit="s")


def test_notes_name_the_file(tmp_path: Path) -> None:
    files = [table(tmp_path / "a.csv"), table(tmp_path / "b.csv", zero=True)]
    data = dataset(files, delay_unit="s")
    assert json.loads(data.attrs["notes"]) == [
        {"file": str(files[1]), "note": "delay 0 is left out: it holds the shot noise"}
    ]
    assert (data.g2 < 2).all()
    assert dataset(carried(PLAIN)).attrs["notes"] == "[]"


def test_error_kind(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("1,1.3\n2,1.2\n4,1.1\n")
    data = dataset([table(tmp_path / "a.csv"), tmp_path / "c.csv"], delay_unit="s")
    assert data.error_kind.values.tolist() == ["quoted", "none"]
    np.testing.assert_array_equal(np.isnan(data.g2_err).all(["qbin", "delay"]), [False, True])
    assert dataset(carried(PLAIN)).error_kind.values.tolist() == ["quoted"]


def test_a_stack_opens_like_its_files(tmp_path: Path) -> None:
    files = dataset(carried(PLAIN))
    stack = pack(carried(PLAIN), tmp_path / "stack.zarr")
    opened = dataset(stack)
    assert opened["g2"].chunks is not None
    xr.testing.assert_identical(opened.compute(), files.compute())
    assert type(dataset(stack, chunks=None)["g2"].data) is np.ndarray
    assert list(open_g2(stack, on_mismatch="split").children) == ["group_0"]


def test_arrays_come_beside_the_curves() -> None:
    data = dataset(carried(WITH_G2), include=["temperature", "dynamic_map", "unnormalized_G2"])
    assert {"g2", "g2_err", "dynamic_map", "unnormalized_G2"} == set(data.data_vars)
    assert data["unnormalized_G2"].chunks is not None
    assert data["dynamic_map"].max() == data.sizes["qbin"]
    with pytest.raises(ConfigError, match=r"include: 'dynamic_map' cannot be read"):
        xr.open_dataset(carried(WITH_G2), engine="xpcs", include=["dynamic_map"])
