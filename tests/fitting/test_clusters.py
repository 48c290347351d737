"""Standard errors from clusters: against the sandwich written out, against scatter, and whichever way it is asked."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import xpcs_dask as xd
from xpcs_dask.config import FitConfig
from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.clusters import ENOUGH, cluster_errors, influences
from xpcs_dask.fitting.layout import ErrorsFrom, Flag, Status
from xpcs_dask.fitting.models import MODELS, Model
from xpcs_dask.fitting.strategy import fit_stack
from xpcs_dask.simulate import speckle

X = np.geomspace(1e-3, 1.0, 30)
SINGLE = MODELS["single"]


def decay(x, contrast, tau, stretch, baseline):
    return baseline + contrast * np.exp(-2 * (x / tau) ** stretch)


def pixels(n=4, p=12, seed=3):
    """Clusters whose noise is correlated over delays, and their mean."""
    rng = np.random.default_rng(seed)
    white = rng.standard_normal((n, p, X.size))
    noise = np.cumsum(white, axis=-1) * 0.004 + 0.01 * white
    clusters = decay(X, 0.2, 0.05, 0.9, 1.0) + noise
    return clusters, clusters.mean(axis=1)


def fitted(y, weight, model=SINGLE, **settings):
    config = FitConfig.make(errors="quoted", **settings)
    box = model.box(X, config.bounds, config.fixed)
    return fit_stack(X, y, weight, model, config, *box), box


def written_out(value, weight, clusters):
    """The textbook sandwich of one curve in (contrast, tau, stretch, baseline), derivatives by central differences."""
    step = 1e-6 * np.abs(value)
    jacobian = np.stack(
        [(decay(X, *(value + h)) - decay(X, *(value - h))) / (2 * h.sum()) for h in np.diag(step)], axis=1
    )
    bread = np.linalg.inv((jacobian * weight[:, None] ** 2).T @ jacobian)
    of_mean = np.cov(clusters.T) / len(clusters)
    middle = (jacobian * weight[:, None] ** 2).T @ of_mean @ (jacobian * weight[:, None] ** 2)
    return bread @ middle @ bread


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_is_the_sandwich_of_the_covariance_of_the_mean(dtype):
    clusters, y = pixels()
    clusters = clusters.astype(dtype)
    weight = np.full(y.shape, 100.0)
    rows, box = fitted(y, weight)
    assert cluster_errors(rows, X, y, weight, SINGLE, *box, clusters).all()
    for k in range(len(y)):
        expected = written_out(rows["value"][k], weight[k], clusters[k].astype(float))
        np.testing.assert_allclose(rows["covariance"][k], expected[np.tril_indices(4)], rtol=1e-5)
        np.testing.assert_allclose(rows["stderr"][k], np.sqrt(np.diag(expected)), rtol=1e-5)
    assert (rows["errors_from"] == ErrorsFrom.CLUSTER).all()
    assert (rows["errors_dof"] == 11).all()


def test_any_model_agrees_with_the_compiled_ones():
    clusters, y = pixels()
    weight = np.full(y.shape, 100.0)
    rows, box = fitted(y, weight)
    compiled, number = influences(rows, X, y, weight, SINGLE, *box, clusters)
    free = Model.from_function(decay, SINGLE.parameters)
    other, count = influences(rows, X, y, weight, free, *box, clusters)
    np.testing.assert_allclose(other, compiled, rtol=1e-6, atol=1e-12)
    assert number.tolist() == count.tolist() == [12] * 4


def test_clusters_without_values_are_not_counted():
    clusters, y = pixels()
    weight = np.full(y.shape, 100.0)
    padded = np.concatenate([clusters, np.full((4, 5, X.size), np.nan)], axis=1)
    results = []
    for given in (clusters, padded):
        rows, box = fitted(y, weight)
        cluster_errors(rows, X, y, weight, SINGLE, *box, given)
        results.append(rows)
    assert (results[0]["stderr"] == results[1]["stderr"]).all()
    assert (results[1]["errors_dof"] == 11).all()


def test_unused_delays_and_gaps_change_nothing_else():
    """A delay of weight 0 may hold anything; a gap in one cluster leaves that delay to the others."""
    clusters, y = pixels()
    weight = np.full(y.shape, 100.0)
    weight[:, -1] = 0.0
    rows, box = fitted(y, weight)
    before, _ = influences(rows, X, y, weight, SINGLE, *box, clusters)
    wild = clusters.copy()
    wild[:, :, -1] = 1e30
    after, _ = influences(rows, X, y, weight, SINGLE, *box, wild)
    assert (before == after).all()
    wild[:, 0, 3] = np.nan
    gap, number = influences(rows, X, y, weight, SINGLE, *box, wild)
    assert (number == 12).all()
    np.testing.assert_allclose(gap.sum(axis=1), 0.0, atol=1e-10)
    assert not np.allclose(gap, after)


def test_too_few_clusters_leave_other_errors():
    clusters, y = pixels(p=ENOUGH - 1)
    weight = np.full(y.shape, 100.0)
    rows, box = fitted(y, weight)
    before = rows["stderr"].copy()
    assert not cluster_errors(rows, X, y, weight, SINGLE, *box, clusters).any()
    assert (rows["stderr"] == before).all()
    assert cluster_errors(rows, X, y, weight, SINGLE, *box, clusters, least=2).all()
    assert (rows["flags"] & Flag.FEW_CLUSTERS).all()


def test_failed_rows_and_bounds_have_no_errors():
    clusters, y = pixels()
    weight = np.full(y.shape, 100.0)
    weight[1] = 0.0
    rows, box = fitted(y, weight, bounds={"stretch": (0.95, 2.0)}, fixed={"baseline": 1.0})
    done = cluster_errors(rows, X, y, weight, SINGLE, *box, clusters)
    assert done.tolist() == [True, False, True, True]
    assert rows["status"][1] == Status.NO_DATA
    stuck = rows["value"][:, 2] == 0.95
    assert stuck[[0, 2, 3]].any()
    assert np.isnan(rows["stderr"][stuck, 2]).all()
    assert (rows["stderr"][[0, 2, 3], 3] == 0).all()
    assert np.isfinite(rows["stderr"][[0, 2, 3]][:, :2]).all()


@pytest.fixture(scope="module")
def experiments():
    return speckle(60, frames=1024, frame_time=1e-3, pixels=24, counts=0.5, normalization="pixel", clusters=True)


def test_fit_takes_clusters_where_there_are_any(experiments):
    fits = xd.fit(experiments, "simple")
    assert (fits["errors_from"] == ErrorsFrom.CLUSTER).all()
    assert (fits["errors_dof"] == 23).all()
    without = xd.fit(experiments.drop_vars("g2_cluster"), "simple")
    assert (without["errors_from"] == ErrorsFrom.THEORY).all()
    assert np.isinf(without["errors_dof"]).all()
    assert (fits["value"] == without["value"]).all()


def test_errors_are_those_of_repeated_experiments(experiments):
    """The scatter over experiments is what a standard error promises; independent delays promise too little."""
    fits = xd.fit(experiments, "simple").sel(parameter="tau")
    wald = xd.fit(experiments, "simple", covariance="wald").sel(parameter="tau")
    scatter = np.log(fits["value"]).std(ddof=1)
    told, naive = (np.sqrt(((f["stderr"] / f["value"]) ** 2).mean()) for f in (fits, wald))
    assert 0.75 < told / scatter < 1.3
    assert naive < 0.8 * told


def test_chunks_change_no_bit(experiments):
    whole = xd.fit(experiments, "simple")
    for chunks in ({"file": 7}, {"file": 60, "cluster": 5}, {"delay": 9}):
        lazy = xd.fit(experiments.chunk(chunks), "simple")
        assert lazy["stderr"].chunks is not None
        xr.testing.assert_identical(lazy.compute(scheduler="sync"), whole)


def test_asked_for_without_any(experiments):
    with pytest.raises(ConfigError, match="'cluster' needs a variable g2_cluster"):
        xd.fit(experiments.drop_vars("g2_cluster"), "simple", covariance="cluster")
    with pytest.raises(ConfigError, match="'cluster' needs clusters"):
        xd.fit_curves(X, np.ones(X.size), 0.1, covariance="cluster")


def test_one_cluster_tells_no_error(experiments):
    alone = experiments.isel(file=slice(0, 3)).copy(deep=True)
    alone["g2_cluster"][0, 0, 1:] = np.nan
    fits = xd.fit(alone, "simple", covariance="cluster")
    assert np.isnan(fits["stderr"][0]).all()
    assert int(fits["flags"][0, 0]) & Flag.FEW_CLUSTERS
    assert np.isfinite(fits["stderr"][1:]).all()
    auto = xd.fit(alone, "simple")
    assert auto["errors_from"].values.ravel().tolist() == [ErrorsFrom.THEORY, ErrorsFrom.CLUSTER, ErrorsFrom.CLUSTER]


def test_the_interval_of_a_fit_is_students(experiments):
    """With the degrees of freedom of the clusters, of the level that is asked for, symmetric in ln tau."""
    fits = xd.fit(experiments, "simple", interval="covariance", level=0.9)
    value, error = (fits[name].sel(parameter=["contrast", "tau"]).values for name in ("value", "stderr"))
    half = stats.t.ppf(0.95, 23) * error
    ends = fits["interval"].sel(parameter=["contrast", "tau"]).values
    np.testing.assert_allclose(ends[..., 0, 0], value[..., 0] - half[..., 0], rtol=1e-9)
    np.testing.assert_allclose(ends[..., 0, 1], value[..., 0] + half[..., 0], rtol=1e-9)
    np.testing.assert_allclose(ends[..., 1, 1], value[..., 1] * np.exp(half[..., 1] / value[..., 1]), rtol=1e-9)
    assert not (fits["flags"].values & Flag.INTERVAL_OPEN).any()


@pytest.mark.parametrize("kind", ["covariance", "profile"])
def test_an_interval_that_ends_on_a_bound_is_flagged(experiments, kind):
    one = experiments.isel(file=[0])
    bound = 1.001 * xd.fit(one, "simple")["value"].sel(parameter="contrast").item()
    fits = xd.fit(one, "simple", interval=kind, bounds={"contrast": (0.0, bound)})
    assert fits["interval"].sel(parameter="contrast", bound="upper").item() == bound
    assert (fits["flags"].values & Flag.INTERVAL_OPEN).all()


def test_a_few_clusters_are_taken_only_if_asked_for(experiments):
    few = experiments.isel(file=slice(0, 3), cluster=slice(0, ENOUGH - 1))
    auto, asked = (xd.fit(few, "simple", covariance=kind) for kind in ("auto", "cluster"))
    assert (auto["errors_from"] == ErrorsFrom.THEORY).all()
    assert (asked["errors_from"] == ErrorsFrom.CLUSTER).all()
    assert (asked["errors_dof"] == ENOUGH - 2).all()
    assert ((asked["flags"].values & Flag.FEW_CLUSTERS) > 0).all()


def test_robust_losses_keep_their_own(experiments):
    fits = xd.fit(experiments.isel(file=slice(0, 3)), "simple", loss="huber")
    assert (fits["errors_from"] == ErrorsFrom.M_ESTIMATOR).all()
