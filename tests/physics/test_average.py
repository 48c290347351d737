"""Averages of repeats: the mean that NumPy takes, errors that cover the truth, the log, and what the average keeps."""

from __future__ import annotations

import json

import dask
import numpy as np
import pytest
import xarray as xr
from scipy import stats

import xpcs_dask as xd
from tests.conftest import carried
from xpcs_dask.errors import ConfigError
from xpcs_dask.physics.average import average, rejections
from xpcs_dask.physics.repeats import Reason


@pytest.fixture(scope="module")
def speckle():
    return xd.simulate.speckle(1, q=[0.004, 0.01], repeats=8, frames=512, pixels=[24, 32], seed=3)


@pytest.fixture(scope="module")
def files():
    return xd.simulate.curves(6, q=[0.004, 0.006, 0.01], seed=2)


def test_the_mean_and_its_error(speckle):
    found = average(speckle)
    assert found.g2.dims == ("file", "qbin", "delay")
    x = speckle.g2.transpose("file", "qbin", "repeat", "delay").values.astype(float)
    np.testing.assert_allclose(found.g2, x.mean(axis=2), rtol=1e-6)
    np.testing.assert_allclose(found.g2_err, stats.sem(x, axis=2), rtol=1e-4, atol=1e-9)
    np.testing.assert_array_equal(found.g2_cluster, x.astype(np.float32))
    assert (found.n_repeats == 8).all()
    assert found.g2.dtype == found.g2_err.dtype == np.float32


def test_files_are_the_repeats_where_there_is_no_other_dimension(files):
    files = files.isel(delay=slice(None, -1))  # the last quoted error is 0
    found = average(files, weights="error")
    assert found.g2.dims == ("qbin", "delay")
    weights = files.g2_err.values.astype(float) ** -2.0
    expected = np.average(files.g2.values.astype(float), axis=0, weights=weights)
    np.testing.assert_allclose(found.g2, expected, rtol=1e-6)
    np.testing.assert_allclose(found.g2_err_quoted, weights.sum(axis=0) ** -0.5, rtol=1e-5)
    np.testing.assert_allclose(found.g2_unweighted, files.g2.values.astype(float).mean(axis=0), rtol=1e-6)
    assert found.cluster.values.tolist() == files.file.values.tolist()
    assert "g2_unweighted" not in average(files)


def test_counts_as_weights(files):
    data = files.assign_coords(rate=files.rate * xr.DataArray([1, 2, 3, 4, 5, 6.0], dims="file"))
    expected = np.average(data.g2.values.astype(float), axis=0, weights=[1, 2, 3, 4, 5, 6])
    np.testing.assert_allclose(average(data, weights="counts").g2, expected, rtol=1e-6)


@pytest.mark.slow
def test_intervals_cover_the_grand_mean():
    """150 averages of 6 repeats each. The quoted errors fall short of it, delays are correlated: no matter."""
    data = xd.simulate.speckle(150, repeats=6, frames=256, pixels=16, counts=0.5, seed=9)
    found = average(data)
    truth = data.g2.values.astype(float).mean(axis=(0, 1))
    used = data.n_products.values[0] >= 8
    half = stats.t.ppf(0.975, 5) * found.g2_err.values
    covered = (np.abs(found.g2.values - truth) < half)[..., used]
    assert 0.92 < covered.mean() < 0.98
    quoted = stats.norm.ppf(0.975) * found.g2_err_quoted.values
    assert (np.abs(found.g2.values - truth) < quoted)[..., used].mean() < covered.mean() - 0.03


def spoiled(speckle):
    data = speckle.copy(deep=True)
    data.g2[0, 4, 1] += 0.3
    data.g2[0, 6, 0, 3] += 5
    data.g2[0, 2, 1] = np.nan
    return data


def test_the_log_says_what_was_rejected_and_why(speckle):
    found = average(spoiled(speckle), baseline=(0.9, 1.1), outliers=5)
    table = {(item["qbin"], item["repeat"]): item for item in rejections(found)}
    assert {key: item["reason"] for key, item in table.items()} == {
        (1, 6): "outlier",
        (2, 2): "no_data",
        (2, 4): "baseline",
    }
    assert table[2, 4]["limit"] == 1.1
    assert table[2, 4]["value"] == pytest.approx(1.3, abs=0.1)
    assert table[2, 4]["q"] == 0.01
    assert table[2, 4]["file"] == "run00000"
    assert table[2, 2]["value"] is None
    assert table[1, 6]["value"] > table[1, 6]["limit"]
    json.dumps(rejections(found))


def test_rejected_curves_count_nowhere_and_only_there(speckle):
    found = average(spoiled(speckle), baseline=(0.9, 1.1), outliers=5)
    assert found.n_repeats.values[0, :, 0].tolist() == [7, 6]
    kept = speckle.g2.isel(repeat=[0, 1, 3, 5, 6, 7], qbin=1).values[0].astype(float)
    np.testing.assert_allclose(found.g2.values[0, 1], kept.mean(axis=0), rtol=1e-6)
    assert np.isnan(found.g2_cluster.values[0, 1, [2, 4]]).all()
    assert np.isfinite(found.g2_cluster.values[0, 0, [2, 4]]).all()
    assert found.runs.values.tolist() == [[7, 6]]


def test_nothing_is_rejected_unasked(speckle):
    data = spoiled(speckle)
    assert [item["reason"] for item in rejections(average(data))] == ["no_data"]


@pytest.mark.parametrize("lazy", [False, True])
def test_a_bin_of_which_all_is_rejected_is_nan(speckle, lazy):
    data = speckle.copy(deep=True)
    data.g2[0, :, 1] += 1
    found = average(data.chunk() if lazy else data, baseline=(0.9, 1.1), outliers=3.5).compute(scheduler="sync")
    assert np.isnan(found.g2.values[0, 1]).all()
    assert np.isnan(found.g2_err.values[0, 1]).all()
    assert np.isnan(found.rate.values[0, 1])
    assert found.runs.values[0].tolist() == [8, 0]
    assert np.isfinite(found.g2.values[0, 0]).all()


def test_copies_of_a_file_are_no_repeats(tmp_path):
    paths = []
    for k, name in enumerate(("results", "partial_results")):
        source = carried(f"boost_corr/S0001_bright_a0000_f004096_r00001_{name}.hdf")
        paths += [tmp_path / f"{k}.hdf", tmp_path / f"{k}_copy.hdf"]
        for path in paths[-2:]:
            path.write_bytes(source.read_bytes())
    found = average(xd.open_g2(paths, chunks=None))
    reasons = {item["repeat"]: item["reason"] for item in rejections(found)}
    assert {reasons["0_copy.hdf"], reasons["1_copy.hdf"]} == {"copy"}


def test_lazy_is_the_same_bits_and_runs_nothing(speckle):
    def refuse(*args, **kwargs):
        raise AssertionError("something was computed")

    settings = {"weights": "error", "baseline": (0.9, 1.1), "outliers": 4}
    eager = average(spoiled(speckle), **settings)
    with dask.config.set(scheduler=refuse):
        lazy = average(spoiled(speckle).chunk(qbin=1, repeat=3, delay=5), **settings)
    assert lazy.g2.chunks is not None
    computed = lazy.compute(scheduler="sync")
    for name in eager.variables:
        xr.testing.assert_identical(computed[name].variable, eager[name].variable)
    assert eager.g2.chunks is None


def test_blocks_hold_all_repeats_of_some_bins(speckle, monkeypatch):
    monkeypatch.setattr("xpcs_dask.physics.average.MOST_BYTES", 1)
    assert average(speckle.chunk()).g2.chunks[1] == (1, 1)


def test_the_order_of_repeats_and_dimensions_does_not_matter(speckle):
    found = average(speckle)
    turned = average(speckle.transpose("delay", "repeat", ...).isel(repeat=slice(None, None, -1)))
    np.testing.assert_allclose(turned.g2.transpose(*found.g2.dims), found.g2, rtol=1e-6)
    np.testing.assert_array_equal(turned.curve_id.values, found.curve_id.values)


def counting_variance(data):
    return 1 / (data.runs * data.rate * data.n_products * 4**data.level)


@pytest.mark.parametrize("weights", ["none", "counts"])
def test_the_counting_variance_is_that_of_the_average(files, weights):
    """Known truth: of independent repeats of variance v_r the mean has sum(w^2 v_r)."""
    data = files.assign_coords(
        rate=files.rate * xr.DataArray([1, 2, 3, 4, 5, 6.0], dims="file"),
        runs=("file", [1, 1, 2, 1, 1, 1]),
    )
    found = average(data, weights=weights)
    each = counting_variance(data)
    expected = each.mean("file") / 6 if weights == "none" else 1 / (1 / each).sum("file")
    np.testing.assert_allclose(*(a.transpose("qbin", "delay").values for a in (counting_variance(found), expected)))
    assert (found.runs == 7).all()


@pytest.mark.slow
def test_the_counting_variance_holds_in_dim_speckle():
    """Photon-starved repeats: the scatter between averages of 4 is the counting variance of the average."""
    data = xd.simulate.speckle(80, repeats=4, frames=512, pixels=64, counts=0.02, seed=4)
    found = average(data)
    used = data.n_products.values[0] >= 16
    scatter = found.g2.values[:, 0].var(axis=0, ddof=1)
    ratio = scatter / counting_variance(found).isel(qbin=0).mean("file").values
    assert 0.8 < np.median(ratio[used]) < 1.4


def test_repeats_of_other_lengths_count_where_they_reach(files):
    data = files.copy(deep=True)
    data.g2[0, :, 20:] = np.nan
    products = data.n_products.values.copy()
    products[0, 20:] = 0
    data = data.assign_coords(n_products=(("file", "delay"), products))
    found = average(data)
    assert found.n_repeats.values[0, [0, 19, 20]].tolist() == [6, 6, 5]
    np.testing.assert_allclose(found.g2.values[0, 20:], data.g2.values[1:, 0, 20:].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.n_products[:20], files.n_products[0, :20])
    np.testing.assert_allclose(found.n_products[20:], files.n_products[0, 20:] * 5 / 6)


def test_coordinates_of_repeats_stay_with_the_clusters(files):
    data = files.assign_coords(temperature=("file", [20.0, 21, 22, 23, 24, 25], {"units": "degC"}))
    found = average(data)
    assert found.cluster_temperature.values.tolist() == [20, 21, 22, 23, 24, 25]
    assert found.temperature.item() == 22.5
    assert found.temperature.attrs["units"] == "degC"
    assert found.frame_time.item() == files.frame_time[0].item()
    assert found.frames.item() == files.frames[0].item()
    assert found.n_pixels.dims == ("qbin",)
    np.testing.assert_array_equal(found.q, files.q)
    assert json.loads(found.attrs["average"])["over"] == "file"


def test_what_repeats_do_not_share_is_not_claimed_for_all(files):
    found = average(files.assign_coords(stride=("file", [1, 1, 1, 2, 1, 1])))
    assert "stride" not in found.coords
    assert found.cluster_stride.values.tolist() == [1, 1, 1, 2, 1, 1]
    assert found.average.item() == 1


def test_every_variable_says_what_it_is(speckle):
    found = average(speckle, weights="error", outliers=3.5)
    for variable in found.data_vars.values():
        assert variable.attrs["units"]
        assert variable.attrs["long_name"]
    assert found.rejected.attrs["flag_meanings"].split() == [reason.name.lower() for reason in Reason]


def test_averages_can_be_fitted_and_tell_the_truth():
    data = xd.simulate.speckle(1, q=[0.008, 0.012], repeats=24, frames=2048, pixels=32, seed=1)
    found = average(data)
    fits = xd.fit(found.isel(delay=slice(None, -4)), "simple")
    assert fits.value.dims == ("file", "qbin", "parameter")
    tau = fits.value.sel(parameter="tau").values
    np.testing.assert_allclose(tau, data.true_value.sel(parameter="tau").values, rtol=0.05)


def test_a_series_of_files_keeps_its_provenance(tmp_path):
    paths = xd.simulate.write_series(tmp_path, n_files=3, q=[0.004, 0.008], seed=1)
    del paths
    data = xd.open_g2(sorted(tmp_path.glob("*.hdf")))
    found = average(data)
    assert found.cluster_path.values.tolist() == data.path.values.tolist()
    assert found.attrs["source_format"] == "aps_nexus"
    assert xd.fit(found.compute(scheduler="sync")).value.dims == ("qbin", "parameter")


def test_what_is_not_averaged_stays(speckle):
    found = average(speckle)
    xr.testing.assert_identical(found.true_value.variable, speckle.true_value.variable)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"over": "age"}, "needs g2 over 'age'"),
        ({"weights": "quoted"}, "weights: 'quoted' is none of 'none', 'error', 'counts'"),
        ({"baseline": (1.05, 0.95)}, "baseline: .* is no window"),
        ({"baseline_delays": 0}, "baseline_delays is 0"),
        ({"outliers": 0.0}, "outliers: 0 is no threshold"),
        ({"over": "qbin", "weights": "error"}, "'qbin' has length 1"),
    ],
)
def test_settings_that_mean_nothing(speckle, settings, message):
    with pytest.raises(ConfigError, match=message):
        average(speckle.isel(qbin=[0]), **settings)


def test_weights_that_the_data_lack_are_named(files):
    with pytest.raises(ConfigError, match="needs g2_err"):
        average(files.drop_vars("g2_err"), weights="error")
    rate = files.rate.copy()
    rate[2] = np.nan
    with pytest.raises(ConfigError, match=r"not known for run00002$"):
        average(files.assign_coords(rate=rate), weights="counts")
    with pytest.raises(ConfigError, match="not known for"):
        average(files.drop_vars("rate"), weights="counts")


def test_a_tree_is_refused(files):
    with pytest.raises(ConfigError, match="average each group"):
        average(xr.DataTree(files))


@pytest.mark.parametrize("lazy", [False, True])
def test_errors_that_all_repeats_share(speckle, lazy):
    data = speckle.assign(g2_err=speckle.g2_err.isel(repeat=0))
    found = average(data.chunk() if lazy else data)
    expected = data.g2_err.values[..., :-1] / np.sqrt(8)
    np.testing.assert_allclose(found.g2_err_quoted.compute(scheduler="sync").values[..., :-1], expected, rtol=1e-6)


def test_plain_arrays_are_enough():
    g2 = xr.DataArray(1 + np.random.default_rng(0).random((4, 5)), {"delay": np.arange(1, 6)}, ("repeat", "delay"))
    found = average(g2.to_dataset(name="g2"), outliers=3.5)
    np.testing.assert_allclose(found.g2, g2.mean("repeat"), rtol=1e-6)
    assert np.isnan(found.g2_err_quoted).all()
