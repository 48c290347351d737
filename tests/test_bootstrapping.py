"""`bootstrap` as users call it: the same bits wherever it runs, clusters where there are any, and nothing unsaid."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from engine.counting import computes_at_most
from engine.stack import stack
from scipy import stats

import xpcs_dask as xd
from xpcs_dask import bootstrapping
from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting import adaptive
from xpcs_dask.fitting.layout import ErrorsFrom, Flag, Status
from xpcs_dask.simulate import speckle


@pytest.fixture(scope="module")
def pixels():
    """Five experiments on 40 pixels; number 3 has only 4 of them."""
    data = speckle(5, frames=512, frame_time=1e-3, pixels=40, counts=1.0, normalization="pixel", clusters=True)
    data["g2_cluster"][3, 0, 4:] = np.nan
    return data


@pytest.fixture(scope="module")
def curves():
    return stack(files=3, bins=4)


@pytest.fixture(scope="module")
def found(pixels):
    return xd.bootstrap(pixels, model="simple", resamples=400, keep_replicates=True)


def test_result_is_that_of_fit_and_more(pixels, found):
    fits = xd.fit(pixels, "simple")
    same = ["value", "chi2", "dof", "n_used", "status", "rung", "evaluations"]
    xr.testing.assert_identical(found[same], fits[same].assign_attrs(found.attrs))
    assert found["interval"].dims == ("file", "qbin", "parameter", "bound")
    assert found["replicate"].dims == ("file", "qbin", "resample", "parameter")
    assert (found["errors_from"] == ErrorsFrom.BOOTSTRAP).all()
    assert (found["resamples"] == 400).all()
    assert (found["failed"] == 0).all()
    inside = (found["interval"].sel(bound="lower") < found["value"]) & (
        found["value"] < found["interval"].sel(bound="upper")
    )
    assert inside.all()


def test_clusters_where_there_are_enough_else_delays(found):
    assert found["clusters"].values.ravel().tolist() == [40, 40, 40, 0, 40]
    over_delays = (found["flags"].values & Flag.DELAYS_ASSUMED_INDEPENDENT) > 0
    assert over_delays.ravel().tolist() == [False, False, False, True, False]


def test_few_clusters_if_they_are_asked_for(pixels):
    asked = xd.bootstrap(pixels, model="simple", resamples=250, over="cluster")
    assert asked["clusters"].values.ravel().tolist() == [40, 40, 40, 4, 40]
    assert (asked["flags"].values.ravel()[3] & Flag.FEW_CLUSTERS) > 0
    assert asked["errors_dof"].values.ravel().tolist() == [39, 39, 39, 3, 39]


def test_errors_agree_with_the_cluster_sandwich(pixels, found):
    """Both estimate the same; 400 refits know a standard error to 3.5 %."""
    sandwich = xd.fit(pixels, "simple", covariance="cluster")
    some = {"file": [0, 1, 2, 4]}
    ratio = (found["stderr"] / sandwich["stderr"]).isel(some)
    assert np.abs(np.log(ratio)).max() < 0.25


def test_intervals_are_the_quantiles_of_the_refits(found):
    """Percentiles of 40 clusters, against numpy's (definition of Weibull)."""
    refits = found["replicate"].isel(file=0, qbin=0)
    for name in ("contrast", "baseline"):
        ends = np.quantile(refits.sel(parameter=name), [0.025, 0.975], method="weibull")
        np.testing.assert_allclose(found["interval"].isel(file=0, qbin=0).sel(parameter=name), ends, rtol=1e-12)
    ends = np.exp(np.quantile(np.log(refits.sel(parameter="tau")), [0.025, 0.975], method="weibull"))
    np.testing.assert_allclose(found["interval"].isel(file=0, qbin=0).sel(parameter="tau"), ends, rtol=1e-12)


def test_covariance_is_that_of_the_refits(found):
    """In ln tau, carried back to tau at the fit."""
    refits = found["replicate"].isel(file=1, qbin=0).values.copy()
    refits[:, 1] = np.log(refits[:, 1])
    expected = np.cov(refits.T)
    tau = float(found["value"].isel(file=1, qbin=0).sel(parameter="tau"))
    expected[1] *= tau
    expected[:, 1] *= tau
    packed = found["covariance"].isel(file=1, qbin=0)
    np.testing.assert_allclose(packed, expected[np.tril_indices(3)], rtol=1e-9)
    np.testing.assert_allclose(found["stderr"].isel(file=1, qbin=0), np.sqrt(np.diag(expected)), rtol=1e-9)


@pytest.mark.parametrize("chunks", [{"file": 2}, {"file": 1, "cluster": 7}, {"delay": 9}])
@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_same_bits_in_any_chunks(pixels, found, chunks, scheduler):
    with computes_at_most(0):
        lazy = xd.bootstrap(pixels.chunk(chunks), model="simple", resamples=400, keep_replicates=True)
    assert lazy["interval"].chunks is not None
    xr.testing.assert_identical(lazy.compute(scheduler=scheduler), found)


@pytest.mark.parametrize("piece", [1, 150])
def test_same_bits_in_pieces(pixels, found, piece, monkeypatch):
    """Many refits of one curve are spread over tasks and come together in one."""
    two, expected = pixels.isel(file=[1, 3]), found.isel(file=[1, 3])
    if piece == 1:
        two, expected = two.isel(file=[0]), expected.isel(file=[0])
    monkeypatch.setattr(bootstrapping, "PIECE", piece)
    monkeypatch.setattr(bootstrapping, "COMBINED_BYTES", 8)
    for data in (two, two.chunk(file=2)):
        again = xd.bootstrap(data, model="simple", resamples=400, keep_replicates=True)
        xr.testing.assert_identical(again.compute(scheduler="threads"), expected)


def test_one_curve_alone_is_the_same(pixels, found):
    alone = xd.bootstrap(pixels.isel(file=[2]), model="simple", resamples=400, keep_replicates=True)
    xr.testing.assert_identical(alone, found.isel(file=[2]))


def test_fewer_refits_are_the_first_of_more(pixels, found):
    fewer = xd.bootstrap(pixels, model="simple", resamples=30, keep_replicates=True)
    np.testing.assert_array_equal(fewer["replicate"], found["replicate"].isel(resample=slice(0, 30)))


def test_seed_and_curve_decide_what_is_drawn(pixels, found):
    other = xd.bootstrap(pixels, model="simple", resamples=400, seed=1)
    assert (other["interval"] != found["interval"]).all()
    twins = xr.concat([pixels.isel(file=[0]), pixels.isel(file=[0])], "file")
    twins = twins.assign_coords(curve_id=(("file", "qbin"), np.array([[1], [2]], np.uint64)))
    pair = xd.bootstrap(twins, model="simple", resamples=50)["interval"]
    assert (pair[0] != pair[1]).all()


def test_rounds_go_on_until_the_ends_are_known(curves):
    loose, tight = (xd.bootstrap(curves, model="simple", tolerance=t, scheme="parametric") for t in (0.2, 0.05))
    assert (loose["resamples"] < tight["resamples"]).all()
    assert (tight["resamples"] % adaptive.ROUND == 0).all()
    assert (tight["monte_carlo_error"] <= 0.05).all()
    short = xd.bootstrap(curves, model="simple", tolerance=0.01, max_resamples=500)
    assert (short["resamples"] == 500).all()
    assert ((short["flags"].values & Flag.TOLERANCE_NOT_REACHED) > 0).all()
    assert ((tight["flags"].values & Flag.TOLERANCE_NOT_REACHED) == 0).all()


def test_failed_curves_are_rows_without_numbers(curves):
    broken = curves.copy(deep=True)
    broken["g2"][1, 2] = np.nan
    found = xd.bootstrap(broken, model="simple", resamples=20)
    row = found.isel(file=1, qbin=2)
    assert int(row["status"]) == Status.NO_DATA
    assert np.isnan(row["interval"]).all()
    assert np.isnan(row["stderr"]).all()
    assert int(row["resamples"]) == 0
    assert not int(row["flags"]) & Flag.TOLERANCE_NOT_REACHED
    assert np.isfinite(found["interval"].isel(file=0)).all()


@pytest.mark.parametrize("scheme", ["residual", "wild", "parametric", "pairs", "blocks"])
def test_schemes_over_delays_agree_where_delays_are_independent(scheme):
    data = stack(files=2, bins=3)
    fits = xd.fit(data, "single", errors="quoted", covariance="wald")
    found = xd.bootstrap(data, fits, resamples=500, scheme=scheme)
    assert ((found["flags"].values & Flag.DELAYS_ASSUMED_INDEPENDENT) > 0).all()
    ratio = (found["stderr"] / fits["stderr"]).values
    assert 0.6 < np.median(ratio) < 1.5


@pytest.mark.parametrize(
    "kind", ["percentile", "basic", "bca", pytest.param("studentised", marks=pytest.mark.slow), "t"]
)
def test_kinds_of_interval_agree_on_a_bright_bin(pixels, found, kind):
    made = xd.bootstrap(pixels.isel(file=[0]), model="simple", resamples=400, interval=kind)["interval"]
    width = (made.sel(bound="upper") - made.sel(bound="lower")).values
    expected = found["interval"].isel(file=[0])
    usual = (expected.sel(bound="upper") - expected.sel(bound="lower")).values
    assert np.abs(np.log(width / usual)).max() < 0.3


def test_t_has_one_degree_of_freedom_less_than_clusters(pixels):
    made = xd.bootstrap(pixels.isel(file=[0]), model="simple", resamples=400, interval="t", level=0.9)
    made = made.sel(parameter="contrast").isel(file=0, qbin=0)
    half = stats.t.ppf(0.95, 39) * float(made["stderr"])
    np.testing.assert_allclose(made["interval"], float(made["value"]) + np.array([-half, half]), rtol=1e-9)


def test_an_end_on_a_bound_is_flagged(pixels, found):
    contrast = float(found["value"].isel(file=0, qbin=0).sel(parameter="contrast"))
    made = xd.bootstrap(
        pixels.isel(file=[0]), model="simple", resamples=400, bounds={"contrast": (0.0, 1.001 * contrast)}
    )
    assert made["interval"].sel(parameter="contrast", bound="upper").item() == 1.001 * contrast
    assert (made["flags"].values & Flag.INTERVAL_OPEN).all()
    assert not (found["flags"].values & Flag.INTERVAL_OPEN).any()


def test_model_and_settings_come_from_the_fit(pixels, found):
    fits = xd.fit(pixels, "simple")
    again = xd.bootstrap(pixels, fits, resamples=400, keep_replicates=True)
    xr.testing.assert_identical(again, found)
    with pytest.raises(ConfigError, match="curve_id differ"):
        xd.bootstrap(pixels.isel(file=[0]), fits)
    with pytest.raises(ConfigError, match="no record of its settings"):
        xd.bootstrap(pixels, xr.Dataset())


def test_repeats_are_averaged_and_resampled():
    data = speckle(1, frames=512, frame_time=1e-3, pixels=30, counts=1.0, repeats=9)
    found = xd.bootstrap(data, model="simple", over="repeat", resamples=200)
    mean = xd.average(data, "repeat")
    xr.testing.assert_identical(
        found.drop_attrs(), xd.bootstrap(mean, model="simple", over="cluster", resamples=200).drop_attrs()
    )
    assert (found["clusters"] == 9).all()
    assert found["interval"].dims == ("file", "qbin", "parameter", "bound")


def test_groups_are_resampled_each_by_itself(curves, pixels):
    tree = xr.DataTree.from_dict({"/a": curves, "/b": pixels})
    found = xd.bootstrap(tree, model="simple", resamples=50)
    xr.testing.assert_identical(found["b"].to_dataset(), xd.bootstrap(pixels, model="simple", resamples=50))


@pytest.mark.parametrize("form", ["zarr", "nc"])
def test_results_come_back_from_disk_as_they_were(found, tmp_path, form):
    path = xd.save(found, tmp_path / f"boot.{form}")
    xr.testing.assert_identical(xd.open_results(path).compute(), found)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"over": "cluster"}, "no clusters to resample"),
        ({"scheme": "cluster"}, "no clusters to resample"),
        ({"over": "pixel"}, "'pixel' is neither"),
        ({"over": "delay", "scheme": "cluster"}, "leave one of them at auto"),
        ({"over": "cluster", "scheme": "wild"}, "leave one of them at auto"),
        ({"resamples": 1}, "resamples"),
        ({"interval": "bca", "over": "delay"}, "acceleration"),
        ({"level": 95}, "level"),
        ({"weights": "gls"}, "diagonal weights"),
    ],
)
def test_what_cannot_be_is_refused(curves, settings, message):
    with pytest.raises(ConfigError, match=message):
        xd.bootstrap(curves, model="simple", **settings)
