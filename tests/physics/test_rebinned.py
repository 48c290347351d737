"""Other bins for the same sums: g2 by hand in NumPy, coordinates of the new bins, nothing left of the old ones."""

from __future__ import annotations

import json

import dask
import h5py
import numpy as np
import pytest
import xarray as xr

import xpcs_dask as xd
from tests.conftest import carried
from tests.physics.pixel_file import DIFFUSION, FRAME_TIME, MODES, speckle_file
from xpcs_dask.errors import ConfigError, FileRejected, MismatchError
from xpcs_dask.physics.qmaps import open_qmap, qmap
from xpcs_dask.physics.regroup import regroup

WITH_G2 = carried("boost_corr/S0004_withG2_a0000_f002048_r00001_results.hdf")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return speckle_file(tmp_path_factory.mktemp("speckle") / "a_results.hdf", frames=256)


def merged(made):
    """Bins 1 and 2 in one, bin 3 as it is."""
    return np.where(made.dynamic > 0, np.maximum(made.dynamic - 1, 1), 0)


def test_merged_bins_are_pooled_by_hand(made):
    found = regroup(made.path, qmap=(merged(made), [0.006, 0.012]))
    assert found.g2.shape == (1, 2, made.sums.shape[0])
    for k, inside in enumerate([(made.dynamic == 1) | (made.dynamic == 2), made.dynamic == 3]):
        np.testing.assert_allclose(found.g2.values[0, k], made.pooled(inside), rtol=1e-6)
    static = regroup(made.path, qmap=qmap(merged(made), [0.006, 0.012], static=made.static))
    inside = (made.dynamic == 1) | (made.dynamic == 2)
    np.testing.assert_allclose(static.g2.values[0, 0], made.pooled(inside, made.static), rtol=1e-6)
    assert abs(static.g2 - found.g2).max() > 1e-3


def test_a_shuffled_map_takes_the_pixels_that_it_names(made):
    labels = np.random.default_rng(5).permutation(made.dynamic.ravel()).reshape(made.dynamic.shape)
    found = regroup(made.path, "pixel", kind="ratio", qmap=(labels, [0.1, 0.2, 0.3]))
    lit = made.dynamic > 0
    for k in range(3):
        inside = (labels == k + 1) & lit  # masked pixels have no sums
        np.testing.assert_allclose(found.g2.values[0, k], made.pooled(inside), rtol=1e-6)
        sums = made.sums[:, :, inside].astype(float)
        with np.errstate(invalid="ignore"):
            expected = sums[:, 0] / (sums[:, 1] * sums[:, 2])
        got = found.g2_cluster.values[0, k, : inside.sum()].T
        np.testing.assert_allclose(np.where(np.isnan(got), np.nan, expected), got, rtol=1e-6)
        assert found.n_pixels.values[0, k] == inside.sum()
    told = json.loads(found.attrs["qmap"])
    assert told["pixels"] - told["masked_by_files"] == found.n_pixels.values.sum()
    assert told["masked_by_files"] == ((labels > 0) & ~lit).sum() > 0


def test_turning_map_and_detector_changes_nothing(tmp_path, made):
    """Sums and map turned by 180 degrees: pixels come in another order, g2 stays."""
    turned = speckle_file(tmp_path / "b.hdf", frames=256)
    with h5py.File(turned.path, "r+") as file:
        for name in ("multitau/unnormalized_G2", "qmap/dynamic_roi_map", "qmap/static_roi_map"):
            file[f"xpcs/{name}"][...] = file[f"xpcs/{name}"][()][..., ::-1, ::-1]
        file["xpcs/temporal_mean/scattering_2d"][...] = made.mean[None, ::-1, ::-1]
    labels = merged(made)
    one = regroup(made.path, qmap=(labels, [0.006, 0.012]))
    other = regroup(turned.path, qmap=(labels[::-1, ::-1], [0.006, 0.012]))
    for name in ("g2", "g2_err", "rate", "n_pixels"):
        np.testing.assert_allclose(one[name], other[name], rtol=1e-6)


@pytest.mark.parametrize("by", ["pixel", "segment", "static"])
def test_the_map_of_the_file_itself_changes_nothing(made, by):
    own = regroup(made.path, by)
    for given in (made.path, str(made.path), open_qmap(made.path)):
        found = regroup(made.path, by, qmap=given)
        for name in ("g2", "g2_err", "g2_cluster", "q", "phi", "qbin", "n_pixels", "n_clusters", "n_products", "delay"):
            np.testing.assert_array_equal(found[name], own[name])
        np.testing.assert_allclose(found.rate, own.rate, rtol=1e-6)
        assert not np.intersect1d(found.curve_id, own.curve_id).size


def test_g2_of_the_producer_comes_out_of_its_own_map():
    found, stored = regroup(WITH_G2, "segment", qmap=WITH_G2), xd.open_g2(WITH_G2)
    np.testing.assert_allclose(found.g2, stored.g2, rtol=1e-6)
    np.testing.assert_allclose(found.rate, stored.rate, rtol=1e-5)
    np.testing.assert_array_equal(found.n_pixels, stored.n_pixels)


def test_bins_of_the_real_file_merged_by_hand():
    with h5py.File(WITH_G2) as file:
        dynamic = file["xpcs/qmap/dynamic_roi_map"][()]
        sums = file["xpcs/multitau/unnormalized_G2"][()].astype(float)
    found = regroup(WITH_G2, "segment", qmap=(np.where(dynamic > 2, 2, np.minimum(dynamic, 1)), [7e-4, 1.1e-3]))
    for k, inside in enumerate([(dynamic == 1) | (dynamic == 2), dynamic > 2]):
        products, past, future = sums[:, :, inside].mean(axis=-1).T
        np.testing.assert_allclose(found.g2.values[0, k], products / (past * future), rtol=1e-6)


def test_coordinates_are_those_of_the_new_bins(made):
    found = regroup(made.path, "segment", qmap=(merged(made), [0.006, 0.012], [10.0, 20.0]))
    assert found.q.values.tolist() == [0.006, 0.012]
    assert found.phi.values.tolist() == [10.0, 20.0]
    assert found.qbin.values.tolist() == [1, 2]
    expected = [made.mean[inside].mean() ** 2 * inside.sum() for inside in (merged(made) == 1, merged(made) == 2)]
    np.testing.assert_allclose(found.rate.values[0], expected, rtol=1e-6)
    own = xd.open_g2(made.path)
    for name in ("n_products", "frames", "level", "frame_time", "path", "content_hash"):
        xr.testing.assert_identical(found[name].drop_vars(found[name].coords), own[name].drop_vars(own[name].coords))
    assert set(own.coords) <= set(found.coords)
    assert found.g2.attrs["units"] == found.g2_cluster.attrs["units"] == "1"


def test_nothing_of_the_old_bins_is_left(made):
    data = xd.open_g2(made.path, include=["dynamic_map", "scattering_1d", "intensity_vs_time"])
    data = data.assign_coords(name_of_bin=("qbin", ["a", "b", "c"]), sample=("file", ["latex"]))
    data = data.assign(mean_g2=data.g2.mean("delay"))
    found = regroup(data, "segment", qmap=(merged(made), [0.006, 0.012]))
    assert set(found.data_vars) == {"g2", "g2_err", "g2_cluster", "intensity_vs_time"}
    assert "name_of_bin" not in found.coords
    assert found.sample.values.tolist() == ["latex"]
    assert found.sizes["qbin"] == 2


def test_the_mean_intensity_counts_frames_that_were_put_together(tmp_path):
    two = speckle_file(tmp_path / "a.hdf", changed={"xpcs/multitau/config/avg_frame": np.int64(2)})
    one = speckle_file(tmp_path / "b.hdf")
    rates = [regroup(made.path, qmap=(merged(made), [0.1, 0.2])).rate.values for made in (two, one)]
    np.testing.assert_allclose(rates[0], 4 * rates[1])


def test_without_mean_intensities_the_rate_is_not_known(tmp_path):
    made = speckle_file(tmp_path / "a.hdf", changed={"xpcs/temporal_mean/scattering_2d": None})
    found = regroup(made.path, qmap=(merged(made), [0.1, 0.2]))
    assert np.isnan(found.rate).all()
    assert np.isfinite(found.g2).all()


def test_identities_depend_on_file_and_map(tmp_path, made):
    other = speckle_file(tmp_path / "b.hdf", seed=1, frames=256)
    maps = [(merged(made), [0.006, 0.012]), (merged(made), [0.006, 0.013]), (merged(made)[::-1], [0.006, 0.012])]
    ids = [regroup([made.path, other.path], qmap=given).curve_id.values.ravel() for given in maps]
    assert np.unique(np.concatenate(ids)).size == 12
    np.testing.assert_array_equal(regroup([made.path, other.path], qmap=maps[0]).curve_id.values.ravel(), ids[0])


def test_files_of_different_maps_become_one_series(tmp_path, made):
    other = speckle_file(tmp_path / "b.hdf", bins=4, frames=128, seed=2)
    with pytest.raises(MismatchError, match="q-map"):
        regroup([made.path, other.path])
    found = regroup([made.path, other.path], "segment", qmap=(merged(made), [0.006, 0.012]))
    assert found.sizes["file"] == 2
    short = other.sums.shape[0]
    np.testing.assert_allclose(
        found.g2.values[1, 0, :short], other.pooled((merged(made) == 1) & (other.dynamic > 0)), rtol=1e-6
    )
    assert np.isnan(found.g2.values[1, :, short:]).all()


def test_lazy_runs_nothing_and_is_the_same(made):
    def refuse(*args, **kwargs):
        raise AssertionError("something was computed")

    given = (merged(made), [0.006, 0.012])
    with dask.config.set(scheduler=refuse):
        lazy = regroup(made.path, "segment", qmap=given)
    eager = regroup(xd.open_g2(made.path, chunks=None), "segment", qmap=given)
    assert lazy.g2_cluster.chunks is not None
    assert eager.g2_cluster.chunks is None
    for scheduler in ("sync", "threads"):
        xr.testing.assert_identical(lazy.compute(scheduler=scheduler), eager)


def test_a_detector_of_another_size_is_named(made):
    with pytest.raises(FileRejected, match=r"a_results.hdf: its detector has 16 x 20 pixels.*qmap= 4 x 5"):
        regroup(made.path, qmap=(np.ones((4, 5), int), [0.1]))


def test_bins_that_lie_in_the_mask_are_named(made):
    labels = np.where(made.dynamic == 0, 2, 1)
    with pytest.raises(FileRejected, match=r"less the pixels that the file masks, has no pixel in bin 2 \(1 of 2"):
        regroup(made.path, qmap=(labels, [0.1, 0.2]))


def test_curves_without_files_are_refused(made):
    with pytest.raises(ConfigError, match="coordinate 'path'"):
        regroup(xd.simulate.curves(2), qmap=(merged(made), [0.1, 0.2]))


def test_segments_of_merged_rings_know_the_error_of_g2(tmp_path):
    """Truth: 40 runs; what segments say of the error against the scatter between the runs, g2 against 1 + beta e^-x."""
    runs = [speckle_file(tmp_path / f"{k}.hdf", seed=k, frames=64, bins=2) for k in range(40)]
    labels = runs[0].dynamic
    found = regroup([run.path for run in runs], "segment", qmap=(np.where(labels == 1, 1, 0), [0.004])).compute()
    products = found.n_products.values[0]
    used = products >= 8
    ratio = np.sqrt((found.g2_err.values[:, 0] ** 2).mean(axis=0)) / found.g2.values[:, 0].std(axis=0, ddof=1)
    assert 0.8 < ratio[used].mean() < 1.25
    tau = 1 / (DIFFUSION * 0.004**2)
    truth = 1 + np.exp(-2 * found.delay.values / tau) / MODES
    error = found.g2.values[:, 0].std(axis=0, ddof=1) / np.sqrt(40)
    bias = 2 * tau / (64 * FRAME_TIME) / MODES * 2 / np.sqrt(np.bincount(labels.ravel())[1])
    assert (abs(found.g2.values[:, 0].mean(axis=0) - truth)[used] < 4 * error[used] + bias).all()
