from __future__ import annotations

import json
import pickle

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr

import xpcs_dask as xd
from tests.aps_file import write
from tests.conftest import carried
from xpcs_dask.errors import ConfigError, FileRejected, MismatchError, NoUsableInputError, OutputExistsError
from xpcs_dask.io import stack
from xpcs_dask.io.stack import check_place, inputs_of, is_stack, open_stack, packed_from, stack_of, write_stack
from xpcs_dask.simulate import curves, speckle

NAMES = ("results", "partial_results")


@pytest.fixture
def files():
    return [carried(f"boost_corr/S0001_bright_a0000_f004096_r00001_{name}.hdf") for name in NAMES]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "stack.zarr"


def same(found, expected):
    """Assert that two Datasets hold the same bits, types, attributes and coordinates."""
    xr.testing.assert_identical(found.compute(), expected.compute())
    assert set(found.coords) == set(expected.coords)
    for name, variable in expected.variables.items():
        assert found[name].dtype == variable.dtype, name
        assert found[name].dims == variable.dims, name
        if variable.dtype.kind != "O":
            assert found[name].values.tobytes() == variable.values.tobytes(), name


def uneven(folder):
    """Three files: one shorter (its curves are padded), one without a start, one with a name that is not ASCII."""
    short = {
        "xpcs/multitau/delay_list": np.arange(1, 8),
        "xpcs/multitau/normalized_g2": np.ones((7, 3), "f4"),
        "xpcs/multitau/normalized_g2_err": np.full((7, 3), 0.01, "f4"),
        "xpcs/spatial_mean/intensity_vs_time": np.ones((2, 12), "f4"),
    }
    return [
        write(folder / "a1.hdf", seed=1),
        write(folder / "a2 ü.hdf", short, seed=2),
        write(folder / "a3.hdf", {"entry/start_time": None, "entry/sample/qnw1_temperature": None}, seed=3),
    ]


def test_the_dataset_comes_back_as_it_was(files, path):
    data = xd.open_g2(files, include=["detector_distance"])
    assert write_stack(data, path) == path
    found = open_stack(path)
    same(found, data)
    assert not any(variable.encoding for variable in found.variables.values())


def test_padding_missing_times_and_names_come_back(tmp_path, path):
    data = xd.open_g2(uneven(tmp_path))
    assert np.isnan(data.g2.values).any()
    assert np.isnat(data.start_time.values).tolist() == [False, False, True]
    write_stack(data, path)
    found = open_stack(path)
    same(found, data)
    assert found.file.values.tolist() == ["a1.hdf", "a2 ü.hdf", "a3.hdf"]
    assert found.start_time.attrs["time_zone"] == "local"


def test_fits_are_the_same_bits(files, path):
    data = xd.open_g2(files)
    write_stack(data, path)
    for settings in ({"detail": "full"}, {"model": "double", "loss": "soft_l1", "detail": "core"}):
        expected = xd.fit(data, **settings).compute()
        for chunks in ("auto", 1, None):
            same(xd.fit(open_stack(path, chunks), **settings), expected)


def test_every_bit_pattern_survives(path):
    special = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-45, 3.4e38, 1.0], "f4")
    dims = ("file", "qbin", "delay")
    data = xr.Dataset(
        {"g2": (dims, np.tile(special, (2, 3, 1))), "g2_err": (dims, np.full((2, 3, 8), -0.0, "f4"))},
        {"delay": np.arange(1.0, 9), "curve_id": (("file", "qbin"), np.full((2, 3), 2**64 - 1, np.uint64))},
    )  # fmt: skip
    write_stack(data, path)
    same(open_stack(path, None), data)


def test_simulated_data_keep_their_truth_and_other_dimensions(path):
    for number, data in enumerate((curves(2, seed=1), speckle(2, frames=256, pixels=4, repeats=2, clusters=True))):
        place = path.with_name(f"{number}.zarr")
        write_stack(data, place)
        found = open_stack(place)
        xr.testing.assert_identical(found.compute(), data)
        assert found.g2.dims == data.g2.dims
        assert found.attrs["seed"] == data.attrs["seed"]


def test_a_stack_without_files_is_cut_along_its_first_dimension(path, monkeypatch):
    monkeypatch.setattr(stack, "BLOCK_BYTES", 8 * 10 * 5)
    data = xr.Dataset(
        {"g2": (("curve", "delay"), np.random.default_rng(0).random((23, 10)))}, {"delay": np.arange(1.0, 11)}
    )
    write_stack(data, path)
    found = open_stack(path)
    same(found, data)
    assert found.g2.chunks == ((5, 5, 5, 5, 3), (10,))


def test_one_curve_alone_is_a_stack_too(path):
    data = xr.Dataset({"g2": ("delay", np.linspace(1.2, 1, 5))}, {"delay": np.arange(1.0, 6)})
    write_stack(data, path)
    same(open_stack(path), data)


def test_blocks_are_stored_and_read_whole(tmp_path, path, monkeypatch):
    paths = [write(tmp_path / f"r{k}.hdf", seed=k) for k in range(5)]
    data = xd.open_g2(paths, chunks=1)
    monkeypatch.setattr(stack, "BLOCK_BYTES", 8 * data.g2.size // 5 * 2)
    write_stack(data, path)
    assert zarr.open_array(path, path="g2", mode="r").chunks == (2, *data.g2.shape[1:])
    assert zarr.open_array(path, path="curve_id", mode="r").chunks == data.curve_id.shape
    assert open_stack(path).g2.chunks[0] == (2, 2, 1)
    assert open_stack(path, 3).g2.chunks[0] == (3, 2)
    for chunks in ("auto", 1, 3, 100):
        same(open_stack(path, chunks), data)


def test_of_more_than_five_gigabytes_some_pieces_are_a_block(tmp_path, path, monkeypatch):
    data = curves(14, q=np.geomspace(0.003, 0.03, 3), seed=2)
    monkeypatch.setattr(stack, "BLOCK_BYTES", 8 * data.g2.size // 14)  # one file
    monkeypatch.setattr(stack, "LARGE", data["n_products"].size)
    write_stack(data, path)
    assert open_stack(path).g2.chunks[0] == (1,) * 14
    monkeypatch.setattr(stack, "mode_of", {data.g2.nbytes + data.g2_err.nbytes: "streaming"}.get)
    large = open_stack(path)
    assert large.g2.chunks[0] == large.g2_err.chunks[0] == large.n_products.chunks[0] == (4, 4, 4, 2)
    assert large.rate.chunks is None  # fewer values than make it large
    assert open_stack(path, 3).g2.chunks[0] == (3, 3, 3, 3, 2)
    xr.testing.assert_identical(large.compute(), data)
    xr.testing.assert_identical(xd.fit(large).compute(), xd.fit(data))


def test_opening_reads_no_curves_and_runs_no_task(files, path, monkeypatch):
    write_stack(xd.open_g2(files), path)
    for array in ("g2", "g2_err"):
        for piece in (path / array / "c").rglob("*"):
            if piece.is_file():
                piece.write_bytes(b"no curves")

    def refuse(*_, **__):
        raise AssertionError("a task ran")

    with dask.config.set(scheduler=refuse):
        found = open_stack(path)
        assert isinstance(xd.fit(found).value.data, da.Array)
    assert found.curve_id.chunks is None
    assert found.n_products.chunks is None


def test_reading_now_gives_arrays_in_memory(files, path):
    write_stack(xd.open_g2(files), path)
    found = open_stack(path, None)
    assert found.g2.chunks is None
    assert isinstance(found.g2.data, np.ndarray)


def test_tasks_travel_to_other_processes(files, path):
    data = xd.open_g2(files)
    write_stack(data, path)
    same(pickle.loads(pickle.dumps(open_stack(path))), data)


@pytest.mark.cluster
def test_worker_processes_read_it(files, path):
    from xpcs_dask.cluster import connect

    data = xd.open_g2(files)
    with connect("processes:2"):
        write_stack(data.chunk(file=1), path)
        found = xd.fit(open_stack(path, 1)).compute()
    same(found, xd.fit(data))


def test_groups_come_back_with_what_was_rejected(tmp_path, path):
    (tmp_path / "bad.hdf").write_text("nothing")
    sources = [carried("boost_corr"), tmp_path]
    tree = xd.open_g2(sources, on_mismatch="split", on_error="skip")
    assert len(tree.children) > 2
    write_stack(tree, path)
    found = open_stack(path)
    assert list(found.children) == list(tree.children)
    assert found.attrs == tree.attrs
    assert "bad.hdf" in found.attrs["rejected"]
    for name in tree.children:
        same(found[name].to_dataset(), tree[name].to_dataset())


def test_groups_are_put_as_open_g2_puts_them(tmp_path, files, path):
    flat = xd.open_g2(files)
    write_stack(flat, path)
    split = open_stack(path, on_mismatch="split")
    assert list(split.children) == ["group_0"]
    same(split["group_0"].to_dataset(), flat)
    assert json.loads(split.attrs["rejected"]) == []
    same(open_stack(path, on_mismatch="raise"), flat)

    tree = xd.open_g2(carried("boost_corr"), on_mismatch="split", on_error="skip")
    several = write_stack(tree, tmp_path / "several.zarr")
    with pytest.raises(MismatchError, match=r"several\.zarr/group_1.*several\.zarr/group_0") as raised:
        open_stack(several, on_mismatch="raise")
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)
    one = write_stack(xd.open_g2(files, on_mismatch="split"), tmp_path / "one.zarr")
    curves_alone = open_stack(one, on_mismatch="raise")
    assert isinstance(curves_alone, xr.Dataset)
    assert curves_alone.attrs["rejected"] == "[]"


def test_a_stack_is_known_by_its_content(files, path, tmp_path):
    assert not is_stack(path)
    assert not is_stack(["a"])
    fits = xd.save(xd.fit(xd.open_g2(files)), tmp_path / "fits.zarr")
    assert not is_stack(fits)
    write_stack(xd.open_g2(files), path)
    assert is_stack(path)
    assert is_stack(str(path))


def test_a_stack_is_opened_alone(files, path):
    write_stack(xd.open_g2(files), path)
    for source in (path, str(path), [path], (str(path),)):
        assert stack_of(source) == path
    assert stack_of(files) is stack_of(files[0]) is stack_of(iter([path])) is None
    with pytest.raises(FileRejected, match="open it alone"):
        stack_of([files[0], path])


def test_what_is_asked_for_must_have_been_packed(files, path):
    write_stack(xd.open_g2(files, include=["detector_distance"]), path)
    assert "detector_distance" in open_stack(path, include=["detector_distance", "temperature"]).coords
    with pytest.raises(ConfigError, match="packed without photon_energy"):
        open_stack(path, include=["photon_energy"])


def test_inputs_are_remembered_with_their_state(tmp_path, path):
    good = write(tmp_path / "good.hdf")
    (tmp_path / "bad.hdf").write_text("nothing")
    data = xd.open_g2(tmp_path, on_error="skip")
    write_stack(data, path)
    first, second = packed_from(path)
    assert first["file"] == str(good.resolve())
    assert (first["size"], first["modified"]) == (good.stat().st_size, good.stat().st_mtime_ns)
    assert first["content"] == f"{int(data.content_hash.values[0]):016x}"
    assert second["file"].endswith("bad.hdf")
    assert "HDF5" in second["rejected"]
    good.touch()
    assert inputs_of(data) != packed_from(path)


def test_what_is_no_stack_is_refused_in_words(tmp_path, path, files):
    with pytest.raises(FileRejected, match=r"nothing\.zarr: there is no stack"):
        open_stack(tmp_path / "nothing.zarr")
    write_stack(xd.open_g2(files), path)
    root = json.loads((path / "zarr.json").read_text())
    changed = {**root, "attributes": {**root["attributes"], "conventions": "xpcs_dask-g2-9"}}
    (path / "zarr.json").write_text(json.dumps(changed))
    with pytest.raises(FileRejected, match="xpcs_dask-g2-9"):
        open_stack(path)
    mark = json.loads(root["attributes"][stack.MARK])
    changed = {**root, "attributes": {**root["attributes"], stack.MARK: json.dumps({**mark, "version": 99})}}
    (path / "zarr.json").write_text(json.dumps(changed))
    with pytest.raises(FileRejected, match="version 99"):
        open_stack(path)
    (path / "zarr.json").write_text(json.dumps(root))
    (path / "q" / "zarr.json").write_text("{")
    with pytest.raises(FileRejected, match="cannot be read as a stack"):
        open_stack(path)


def test_a_stack_that_was_replaced_is_not_mixed_with_the_old_one(files, path):
    write_stack(xd.open_g2(files), path)
    found = open_stack(path)
    write_stack(xd.open_g2(files[:1]), path, overwrite=True)
    with pytest.raises(FileRejected, match="replaced since"):
        found.g2.compute()
    same(open_stack(path), xd.open_g2(files[:1]))


def test_nothing_else_is_ever_overwritten(files, path, tmp_path):
    data = xd.open_g2(files)
    write_stack(data, path)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        write_stack(data, path)
    other = tmp_path / "other.zarr"
    other.mkdir()
    (other / "precious").write_text("x")
    for overwrite in (False, True):
        with pytest.raises(OutputExistsError, match="no stack") as raised:
            write_stack(data, other, overwrite=overwrite)
        assert "--overwrite" not in str(raised.value)
    assert (other / "precious").read_text() == "x"
    with pytest.raises(ConfigError, match=r"\.zarr"):
        check_place(tmp_path / "stack.h5", False)


def test_a_failed_pack_leaves_what_was_there(files, path):
    data = xd.open_g2(files)
    write_stack(data, path)

    def fail(block):
        raise RuntimeError("the disk fell off")

    broken = data.assign(
        g2=data.g2.copy(data=data.g2.data.map_blocks(fail, dtype="f4", meta=np.empty((0, 0, 0), "f4")))
    )
    with pytest.raises(RuntimeError, match="fell off"):
        write_stack(broken, path, overwrite=True)
    same(open_stack(path), data)
    with pytest.raises(RuntimeError, match="fell off"):
        write_stack(broken, path.with_name("new.zarr"))
    assert [item.name for item in path.parent.iterdir()] == ["stack.zarr"]


def test_data_without_curves_are_refused(path):
    with pytest.raises(NoUsableInputError, match="g2"):
        write_stack(xr.Dataset({"intensity": ("x", [1.0])}), path)
    assert not path.exists()
