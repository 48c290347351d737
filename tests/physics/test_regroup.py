"""Regrouped g2: the producer's own to single precision, and what cannot be regrouped is said."""

from __future__ import annotations

import dask
import h5py
import numpy as np
import pytest
import xarray as xr

import xpcs_dask as xd
from tests.aps_file import DELAYS, write
from tests.conftest import carried
from xpcs_dask.engine.plan import MemoryBudgetError
from xpcs_dask.errors import ConfigError, FileRejected
from xpcs_dask.physics.regroup import regroup

WITH_G2 = "boost_corr/S0004_withG2_a0000_f002048_r00001_results.hdf"
WITHOUT = "boost_corr/S0001_bright_a0000_f004096_r00001_results.hdf"


@pytest.fixture(scope="module")
def opened():
    return xd.open_g2(carried(WITH_G2), chunks=None)


@pytest.mark.parametrize("by", ["pixel", "segment", "static"])
@pytest.mark.parametrize("kind", ["linear", "ratio"])
def test_g2_is_that_of_the_producer(opened, by, kind):
    found = regroup(opened, by, kind=kind)
    np.testing.assert_allclose(found.g2.values, opened.g2.values, rtol=1e-6)


def test_errors_of_pixel_ratios_are_those_of_the_producer(opened):
    """boost-corr quotes the scatter of the pixels' own g2; the last delay has one product, and no scatter."""
    found = regroup(opened, "pixel", kind="ratio")
    np.testing.assert_allclose(found.g2_err.values[..., :-1], opened.g2_err.values[..., :-1], rtol=1e-5)


def test_the_pooled_g2_has_a_larger_error_than_quoted(opened):
    """Pooling does not divide out how bright each pixel was: the quoted error is that of another average."""
    found = regroup(opened)
    assert ((found.g2_err / opened.g2_err).values[..., :30].mean(axis=(0, 2)) > 1.2).all()


def test_clusters_average_to_g2_and_are_padded(opened):
    found = regroup(opened)
    assert found.g2_cluster.dims == ("file", "qbin", "cluster", "delay")
    assert found.g2_cluster.dtype == np.float32
    np.testing.assert_allclose(found.g2_cluster.mean("cluster").values, found.g2.values, rtol=2e-6)
    held = np.isfinite(found.g2_cluster.values[0, :, :, 0])
    np.testing.assert_array_equal(held.sum(axis=1), found.n_clusters)
    np.testing.assert_array_equal(found.n_clusters, opened.n_pixels.values[0])
    assert all(row[:n].all() for row, n in zip(held, found.n_clusters.values, strict=True))


def test_a_cluster_is_the_pixel_of_the_map(opened):
    found = regroup(opened, kind="ratio")
    with h5py.File(carried(WITH_G2)) as file:
        labels = file["xpcs/qmap/dynamic_roi_map"][()].ravel()
        static = file["xpcs/qmap/static_roi_map"][()].ravel()
        sums = file["xpcs/multitau/unnormalized_G2"][()].astype(float)
    sums = sums.reshape(*sums.shape[:2], -1)
    pixel = np.lexsort((np.arange(labels.size), static, labels != 3))[10]
    expected = sums[:, 0, pixel] / (sums[:, 1, pixel] * sums[:, 2, pixel])
    np.testing.assert_allclose(found.g2_cluster.sel(qbin=3).values[0, 10], expected, rtol=1e-6)


def test_parts_of_the_sums_give_the_same(opened, monkeypatch):
    whole = regroup(opened, "segment")
    monkeypatch.setattr("xpcs_dask.physics.pixel_sums.GATHERED", 1)
    assert regroup(opened, "segment").identical(whole)


def test_lazy_is_the_same_and_runs_nothing(opened):
    def refuse(*args, **kwargs):
        raise AssertionError("something was computed")

    with dask.config.set(scheduler=refuse):
        lazy = regroup(carried(WITH_G2), "segment", segments=8)
    assert lazy.g2_cluster.chunks is not None
    eager = regroup(opened, "segment", segments=8)
    for name in ("g2", "g2_err", "g2_cluster"):
        np.testing.assert_array_equal(lazy[name].compute(scheduler="sync"), eager[name])


def test_some_bins_of_opened_data(opened):
    part = regroup(opened.isel(qbin=[2, 0]), "segment")
    whole = regroup(opened, "segment")
    xr.testing.assert_equal(part.g2_cluster, whole.g2_cluster.isel(qbin=[2, 0]))


def test_the_result_can_be_fitted_and_gives_the_truth(opened):
    """truth.json: D = 1e5 angstrom^2/s for this file; the first bin decays well within the run."""
    import json

    truth = json.loads(carried("boost_corr/truth.json").read_text())
    fits = xd.fit(regroup(opened, "segment", segments=32).isel(delay=slice(None, -3)), "simple")
    diffusion = 1 / (fits.value.sel(parameter="tau") * fits.q**2)
    known = next(value for name, value in truth.items() if "S0004" in name)
    assert abs(float(diffusion.mean()) / known["D"] - 1) < 0.1


def pixel_sums(delays, seed=0):
    return 1 + np.random.default_rng(seed).random((delays, 3, 1, 19)).astype("f4")


def test_shorter_files_of_a_series_are_padded(tmp_path):
    short = DELAYS.size - 3
    paths = [
        write(tmp_path / "a.hdf", {"xpcs/multitau/unnormalized_G2": pixel_sums(DELAYS.size)}),
        write(
            tmp_path / "b.hdf",
            {
                "xpcs/multitau/unnormalized_G2": pixel_sums(short, 1),
                "xpcs/multitau/delay_list": DELAYS[:short],
                "xpcs/multitau/normalized_g2": np.ones((short, 3), "f4"),
                "xpcs/multitau/normalized_g2_err": np.ones((short, 3), "f4"),
            },
        ),
    ]
    found = regroup(paths).compute(scheduler="sync")
    assert found.g2.shape == (2, 3, DELAYS.size)
    assert np.isfinite(found.g2[0]).all()
    assert np.isnan(found.g2.values[1, :, short:]).all()
    assert np.isfinite(found.g2_err.values[1, :, :short]).all()


def test_a_file_without_sums_is_named():
    with pytest.raises(FileRejected, match=r"S0001.*holds no unnormalized_G2; correlate it again with save_G2"):
        regroup(carried(WITHOUT))


def test_sums_that_do_not_fit_the_maps_are_refused(tmp_path):
    path = write(tmp_path / "a.hdf", {"xpcs/multitau/unnormalized_G2": pixel_sums(DELAYS.size)[..., :10]})
    with pytest.raises(FileRejected, match="unnormalized_G2 has shape"):
        regroup(path)


def test_what_does_not_fit_into_memory_is_refused_before_it_starts(opened):
    need = 4 * (352 + 2) * 4 * opened.sizes["delay"]
    message = rf"352 clusters in each of 4 bins needs {need:,} bytes.*only {need - 1:,} .*by='segment'.*write_regrouped"
    with pytest.raises(MemoryBudgetError, match=message):
        regroup(opened, memory=need - 1)
    assert regroup(opened, memory=need).g2.shape == opened.g2.shape
    with pytest.raises(MemoryBudgetError):
        regroup(opened, memory="1 kB")


def test_delays_that_were_cut_off_are_not_guessed(opened):
    with pytest.raises(FileRejected, match="for 10 delays"):
        regroup(opened.isel(delay=slice(10)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"by": "row"}, "by: 'row' is none of 'pixel'"),
        ({"kind": "log"}, "kind: 'log' is none of"),
        ({"by": "segment", "segments": 1}, "segments is 1"),
    ],
)
def test_settings_that_mean_nothing(opened, settings, message):
    with pytest.raises(ConfigError, match=message):
        regroup(opened, **settings)


def test_curves_without_files_are_refused():
    with pytest.raises(ConfigError, match="coordinate 'path'"):
        regroup(xd.simulate.curves(2))
