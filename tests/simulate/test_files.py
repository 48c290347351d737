"""Simulated result files against one that boost-corr wrote, and against the facts of its format."""

import json

import h5py
import numpy as np
import pytest
from conftest import carried

from xpcs_dask.errors import ConfigError
from xpcs_dask.io import aps_nexus
from xpcs_dask.simulate.curves import curves
from xpcs_dask.simulate.files import write_aps, write_series

REAL = "boost_corr/S0001_bright_a0000_f004096_r00001_results.hdf"
SOME = {"frames": 4096, "frame_time": 1e-3, "pixels": 100, "counts": 2.0}
Q = np.geomspace(0.003, 0.03, 6)


def tree(path):
    """What is where: kind, type, number of dimensions, compression and names of attributes of every object."""
    found = {}

    def note(name, item):
        if isinstance(item, h5py.Group):
            found[name] = ("group", sorted(item.attrs))
        else:
            found[name] = (item.dtype, item.ndim, item.compression, sorted(item.attrs))

    with h5py.File(path) as file:
        file.visititems(note)
    return found


def test_same_tree_as_the_producer(tmp_path):
    ours = tree(write_aps(tmp_path / "a_results.hdf", curves(1, Q, **SOME)))
    assert ours == tree(carried(REAL))


def test_same_shapes_as_the_producer(tmp_path):
    path = write_aps(tmp_path / "a_results.hdf", curves(1, **SOME))
    with h5py.File(path) as ours, h5py.File(carried(REAL)) as real:
        for name in ("multitau/delay_list", "multitau/normalized_g2", "multitau/normalized_g2_err",
                     "qmap/dynamic_index_mapping", "qmap/dynamic_num_pts", "qmap/static_num_pts",
                     "temporal_mean/scattering_1d", "temporal_mean/scattering_1d_segments",
                     "spatial_mean/intensity_vs_time", "qmap/static_index_mapping"):  # fmt: skip
            assert ours[f"xpcs/{name}"].shape == real[f"xpcs/{name}"].shape, name
        for name in ("map_names", "map_units"):
            np.testing.assert_array_equal(ours[f"xpcs/qmap/{name}"][:], real[f"xpcs/qmap/{name}"][:])
        np.testing.assert_array_equal(ours["xpcs/multitau/delay_list"], real["xpcs/multitau/delay_list"])
        for axis in "01":
            attrs = real[f"xpcs/qmap/dynamic_v_list_dim{axis}"].attrs
            assert {k: attrs[k] for k in ("name", "unit")} == {
                k: ours[f"xpcs/qmap/dynamic_v_list_dim{axis}"].attrs[k] for k in ("name", "unit")
            }
        assert len(ours["entry/definition"]) == len(ours["entry/schema_version"]) == 0


def rings_and_sectors():
    q, phi = np.repeat(Q, 3), np.tile([-90.0, 0.0, 90.0], 6)
    data = curves(1, q, phi, frames=4096, counts=np.linspace(1, 3, 18), pixels=np.arange(101, 119), average=2)
    return data.isel(qbin=[0, 2, 3, 4, 7, 11, 17])


def test_columns_are_placed_in_the_grid_without_empty_bins(tmp_path):
    data = rings_and_sectors()
    with h5py.File(write_aps(tmp_path / "a.hdf", data)) as file:
        qmap = file["xpcs/qmap"]
        n0, n1 = qmap["dynamic_num_pts"][:]
        place = qmap["dynamic_index_mapping"][:].astype(int)
        assert (n0, n1) == (5, 3)  # the fifth ring lost its last column and is not in the map
        q, phi = (qmap[f"dynamic_v_list_dim{k}"][:] for k in "01")
        np.testing.assert_array_equal(q[place // n1], data.q)
        np.testing.assert_array_equal(phi[place % n1], data.phi)
        pixels = np.bincount(qmap["dynamic_roi_map"][:].ravel())
        np.testing.assert_array_equal(pixels[1:], data.n_pixels[0])
        assert pixels[0] > 0


def test_rings_without_a_column(tmp_path):
    rings = np.geomspace(0.001, 0.03, 9)
    data = curves(1, rings[[2, 3, 6]], **SOME)
    with h5py.File(write_aps(tmp_path / "a.hdf", data, q_rings=rings)) as file:
        np.testing.assert_array_equal(file["xpcs/qmap/dynamic_index_mapping"], [2, 3, 6])
        np.testing.assert_array_equal(file["xpcs/qmap/dynamic_num_pts"], [9, 1])
        np.testing.assert_array_equal(file["xpcs/qmap/dynamic_v_list_dim0"], rings)
    with pytest.raises(ConfigError, match=r"q_rings must hold every q of the data; 0\.005 1/angstrom is not there"):
        write_aps(tmp_path / "b.hdf", curves(1, [0.005], **SOME), q_rings=rings)


def test_static_bins_lie_inside_dynamic_ones_in_order_of_the_grid(tmp_path):
    data = rings_and_sectors()
    with h5py.File(write_aps(tmp_path / "a.hdf", data, static_per_bin=4)) as file:
        qmap = file["xpcs/qmap"]
        dynamic, static = qmap["dynamic_roi_map"][:], qmap["static_roi_map"][:]
        place = qmap["static_index_mapping"][:].astype(int)
        mean = file["xpcs/temporal_mean/scattering_1d"][0]
    assert (np.diff(place) > 0).all()
    assert place.size == mean.size == static.max() == 28
    np.testing.assert_array_equal(static > 0, dynamic > 0)
    for label in range(1, 29):
        (parent,) = np.unique(dynamic[static == label])
        np.testing.assert_allclose(mean[label - 1], data.counts[0, parent - 1], rtol=1e-6)


def test_the_reader_finds_what_was_simulated(tmp_path):
    data = rings_and_sectors()
    path = str(write_aps(tmp_path / "a.hdf", data, averaged=["one", "two"]))
    assert aps_nexus.sniff(path)
    info = aps_nexus.read_meta(path, ["temperature"])
    g2, err = aps_nexus.read_g2(path)
    np.testing.assert_array_equal(g2, data.g2[0])
    np.testing.assert_array_equal(err, data.g2_err[0])
    for name in ("delay", "q", "phi"):
        np.testing.assert_allclose(getattr(info, name), np.squeeze(data[name]), rtol=1e-6)
    np.testing.assert_allclose(info.rate, data.rate[0], rtol=1e-3)  # static bins differ by a pixel
    for name in ("level", "n_products", "n_pixels", "frames", "stride", "average"):
        np.testing.assert_array_equal(getattr(info, name), np.squeeze(data[name]))
    assert (info.runs, info.scalars["temperature"]) == (2, 25.0)


def test_averaged_files_keep_the_frame_time_as_they_do(tmp_path):
    with h5py.File(write_aps(tmp_path / "a.hdf", curves(1, Q, **SOME), averaged=["one", "two"])) as file:
        time = file["entry/instrument/detector_1/frame_time"]
        assert (time.shape, time.dtype) == ((1, 1), np.float32)
        assert file["xpcs/average/file_list"].asstr()[:].tolist() == ["one", "two"]


@pytest.mark.parametrize("average", [1, 2])
def test_intensity_has_the_right_mean_and_shot_noise(tmp_path, average):
    frames = 4096 // average
    with h5py.File(write_aps(tmp_path / "a.hdf", curves(1, Q, average=average, **SOME))) as file:
        index, mean = file["xpcs/spatial_mean/intensity_vs_time"][:]
    np.testing.assert_array_equal(index, np.arange(frames))
    variance = 2.0 / 600 / average
    assert abs(mean.mean() - 2.0) < 4 * np.sqrt(variance / frames)
    np.testing.assert_allclose(mean.std(), np.sqrt(variance), rtol=0.06)


def contents(path):
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def test_a_series_holds_the_files_that_single_calls_write(tmp_path):
    settings = {"diffusion": np.array([[1e6], [2e6], [3e6]]), "counts": np.array([[1.0], [2.0], [3.0]])}
    settings |= {"q": Q, "frames": 512, "pixels": 50, "average": 2}
    paths = write_series(tmp_path / "new" / "series", 3, seed=5, first_file=7, **settings)
    assert [p.name[:6] for p in paths] == ["X00007", "X00008", "X00009"]
    data = curves(3, seed=5, first_file=7, **settings)
    for k, path in enumerate(paths):
        alone = tmp_path / path.name
        write_aps(alone, data.isel(file=[k]))
        ours, theirs = contents(path), contents(alone)
        assert ours.keys() == theirs.keys()
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
        assert path.stem.encode().removesuffix(b"_results") == ours["entry/entry_identifier"]


def test_truth_stands_beside(tmp_path):
    paths = write_series(tmp_path, 2, seed=5, q=Q, model="double", frames=512, diffusion=[[1e6], [2e6]], stride=2)
    truth = json.loads((tmp_path / "truth.json").read_text())
    assert list(truth) == [path.name for path in paths]
    data = curves(2, seed=5, q=Q, model="double", frames=512, diffusion=[[1e6], [2e6]], stride=2)
    for k, record in enumerate(truth.values()):
        np.testing.assert_array_equal(record["true_value"], data.true_value[k])
        assert record["parameters"] == data.parameter.values.tolist()
        assert record["diffusion"][0] == [1e6, 2e6][k]
        assert (record["model"], record["stride_frame"], record["seed"]) == ("double", 2, 5)


def test_same_bytes_twice(tmp_path):
    first, second = (write_series(tmp_path / name, 3, seed=1, q=Q, frames=256) for name in "ab")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def test_refused(tmp_path):
    with pytest.raises(ConfigError, match="one file holds one run, the data hold 2"):
        write_aps(tmp_path / "a.hdf", curves(2, Q, **SOME))
    with pytest.raises(ConfigError, match="5 static bins in a bin of 3 pixels; lower static_per_bin"):
        write_aps(tmp_path / "a.hdf", curves(1, Q, pixels=3, frames=64))
    assert not (tmp_path / "a.hdf").exists()
