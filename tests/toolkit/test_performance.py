"""The optimizer's estimates against measured memory; the engine and the high-performance path against plain calls."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from conftest import carried
from toolkit.stand_in import StandIn, decays

from xpcs_dask.engine.plan import MemoryBudgetError
from xpcs_dask.errors import ConfigError
from xpcs_dask.toolkit import performance, planned_fits, robust_fits
from xpcs_dask.toolkit.boxes import model_of
from xpcs_dask.toolkit.file_fits import fit_g2, fit_g2_robust, fit_tauq, get_fitting_info, request_of
from xpcs_dask.toolkit.fit_cache import key_of
from xpcs_dask.toolkit.performance import (
    OptimizedXPCSFittingEngine,
    XPCSPerformanceOptimizer,
    fit_g2_high_performance,
)
from xpcs_dask.toolkit.xpcs_file import XpcsFile

SINGLE = ((0.0, 1e-6, 0.1, 0.5), (1.0, 100.0, 3.0, 1.5))
INFO = {
    "use_chunking", "chunk_size", "parallel_jobs", "estimated_memory_mb", "cache_hit", "cached_bins", "cache_key",
}  # fmt: skip
SUMMARY = {
    "dataset_size", "processing_mode", "bootstrap_enabled", "diagnostics_enabled", "performance_overhead_percent",
    "caching_enabled",
}  # fmt: skip


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XPCS_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def no_fits(monkeypatch):
    def forbid():
        for name in ("compute", "quoted_fits"):
            monkeypatch.setattr(robust_fits, name, lambda *_: pytest.fail("it was fitted again"))
        monkeypatch.setattr(performance, "fit_planned", lambda *_: pytest.fail("it was fitted again"))

    return forbid


@pytest.mark.parametrize(
    ("bins", "delays", "samples"),
    [
        (500, 61, 0),
        (2000, 43, 0),
        (500, 61, 200),
        pytest.param(500, 61, 500, marks=pytest.mark.slow),
        pytest.param(5000, 61, 0, marks=pytest.mark.slow),
        pytest.param(50_000, 61, 0, marks=pytest.mark.slow),
        pytest.param(2000, 61, 100, marks=pytest.mark.slow),
        pytest.param(5000, 61, 500, marks=pytest.mark.slow),
        pytest.param(20_000, 61, 100, marks=pytest.mark.slow),
        pytest.param(50_000, 43, 50, marks=pytest.mark.slow),
    ],
)
def test_memory_is_bounded_by_an_estimate_close_to_it(bins, delays, samples):
    made = decays(bins=bins, delays=delays)
    own = XPCSPerformanceOptimizer()
    engine = OptimizedXPCSFittingEngine(own)
    engine.fit_g2_optimized(made.t_el, made.g2[:, :20], made.g2_err[:, :20], bootstrap_samples=samples)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    engine.fit_g2_optimized(made.t_el, made.g2, made.g2_err, bootstrap_samples=samples)
    peak = (tracemalloc.get_traced_memory()[1] - before) / 1e6
    tracemalloc.stop()
    estimate = own.estimate_memory_usage(delays, made.g2.shape, samples)
    assert peak <= estimate <= 1.05 * peak + 2


def test_estimate_counts_bins_not_dimensions():
    own = XPCSPerformanceOptimizer()
    assert own.estimate_memory_usage(50, (50, 20_000)) > own.estimate_memory_usage(50, (50, 2_000)) + 5
    assert own.estimate_memory_usage(50, (50, 500), 500) > own.estimate_memory_usage(50, (50, 500)) + 20
    with pytest.raises(ConfigError, match="50 delays"):
        own.estimate_memory_usage(50, (61, 20))


def test_chunks_keep_to_the_budget():
    assert XPCSPerformanceOptimizer().should_use_chunked_processing(61, (61, 100)) == (False, 100)
    assert XPCSPerformanceOptimizer().should_use_chunked_processing(61, (61, 50_000)) == (True, 1024)
    tight = XPCSPerformanceOptimizer(max_memory_mb=20)
    chunked, rows = tight.should_use_chunked_processing(61, (61, 1000), 500)
    assert chunked
    assert tight.estimate_memory_usage(61, (61, rows), 500) <= 20 < tight.estimate_memory_usage(61, (61, 2 * rows), 500)


def test_one_worker_without_a_cluster():
    assert XPCSPerformanceOptimizer().optimize_parallelization(1000, 500) == 1


def test_cache_key_is_the_content():
    own, tau = XPCSPerformanceOptimizer(), np.geomspace(1e-5, 1, 20)
    given = {"tau": tau, "g2_shape": (20, 3), "fit_func": "single", "bounds": SINGLE, "bootstrap_samples": 0}
    data = {"g2": np.ones((20, 3)), "flag": [True, False, True, True]}
    key = own.get_cache_key(**given, data=data)
    assert key == own.get_cache_key(**{**given, "tau": tau.copy()}, data={"g2": np.ones((20, 3)), "flag": data["flag"]})
    other = np.ones((20, 3))
    other[4, 1] = np.nextafter(1, 2)
    changes = [
        {"tau": tau * 2}, {"g2_shape": (3, 20)}, {"fit_func": "double"}, {"bounds": None}, {"bootstrap_samples": 1},
        {"data": {**data, "g2": other}}, {"data": {**data, "flag": [True, True, False, True]}}, {"data": None},
    ]  # fmt: skip
    keys = {own.get_cache_key(**{**given, "data": data, **change}) for change in changes}
    assert len(keys | {key}) == len(changes) + 1
    code = (
        "import numpy as np; from xpcs_dask.toolkit.performance_optimizer import XPCSPerformanceOptimizer as O;"
        f"print(O().get_cache_key(np.geomspace(1e-5, 1, 20), (20, 3), 'single', {SINGLE!r}, 0,"
        "data={'g2': np.ones((20, 3)), 'flag': [True, False, True, True]}))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == key


def test_least_recently_used_results_go_first():
    own = XPCSPerformanceOptimizer(cache_size=2)
    for name in "ab":
        own.cache_result(name, np.zeros(3))
    assert own.get_cached_result("a") is not None
    own.cache_result("c", np.zeros(3))
    assert [own.is_cached(name) for name in "abc"] == [True, False, True]
    assert own.get_cached_result("b") is None
    own.clear_cache()
    assert not own.is_cached("a")


def test_kept_results_stay_below_the_memory():
    own = XPCSPerformanceOptimizer(max_memory_mb=1)
    own.cache_result("a", {"x": [np.zeros(50_000)]})
    own.cache_result("b", np.zeros(60_000))
    assert [own.is_cached(name) for name in "ab"] == [True, True]
    own.cache_result("c", np.zeros(60_000))
    assert [own.is_cached(name) for name in "abc"] == [False, True, True]
    own.cache_result("d", np.zeros(200_000))
    assert [own.is_cached(name) for name in "bcd"] == [True, True, False]


@pytest.mark.parametrize("settings", [{"cache_size": -1}, {"max_memory_mb": 0}])
def test_budgets_that_make_no_sense_are_refused(settings):
    with pytest.raises(ConfigError):
        XPCSPerformanceOptimizer(**settings)


@pytest.mark.parametrize(("samples", "diagnostics"), [(0, False), (0, True), (20, True)])
def test_engine_fits_as_the_file_does(samples, diagnostics):
    made = decays()
    level = "standard" if diagnostics else "basic"
    found = OptimizedXPCSFittingEngine().fit_g2_optimized(
        made.t_el, made.g2, made.g2_err, made.q, "single", SINGLE, samples, diagnostics
    )
    known = fit_g2(made, bounds=SINGLE, robust_fitting=True, diagnostic_level=level, bootstrap_samples=samples)
    np.testing.assert_array_equal(np.asarray(found["fit_results"]), np.asarray(known["fit_val"]))
    assert set(found) == {"fit_results", "performance_info", "timing", "optimization_summary"}
    assert set(found["performance_info"]) == INFO
    assert set(found["optimization_summary"]) == SUMMARY
    assert found["fit_results"][3]["q_value"] == made.q[3]
    assert found["fit_results"][3]["status"] == "success"
    assert found["timing"]["time_per_q"] == found["timing"]["total_time"] / 12
    assert found["optimization_summary"]["bootstrap_enabled"] is (samples > 0)
    assert found["optimization_summary"]["diagnostics_enabled"] is diagnostics
    json.dumps(found)
    pickle.loads(pickle.dumps(found))


def test_engine_takes_equal_weights_without_errors():
    made = decays(bins=3)
    found = OptimizedXPCSFittingEngine().fit_g2_optimized(made.t_el, made.g2, bounds=SINGLE, enable_diagnostics=False)
    same = fit_g2(StandIn(made.t_el, made.g2, np.full(made.g2.shape, 0.5)), bounds=SINGLE)
    np.testing.assert_allclose(found["fit_results"][:, 0], same["fit_val"][:, 0], rtol=1e-6)


def test_engine_says_which_bins_have_too_few_points():
    made = decays(bins=3)
    made.g2[2:, 1] = np.nan
    found = OptimizedXPCSFittingEngine().fit_g2_optimized(made.t_el, made.g2, made.g2_err, bounds=SINGLE)
    results = found["fit_results"]
    assert [record["status"] for record in results] == ["success", "insufficient_data", "success"]
    assert results[1]["params"] is None
    assert results[1]["errors"] is None


def test_engine_knows_what_it_fitted(cache, no_fits):
    made = decays()
    own = XPCSPerformanceOptimizer()
    first = OptimizedXPCSFittingEngine(own).fit_g2_optimized(made.t_el, made.g2, made.g2_err, bounds=SINGLE)
    assert first["performance_info"]["cache_hit"] is False
    no_fits()
    for optimizer in (own, XPCSPerformanceOptimizer()):  # in memory, and on disk
        again = OptimizedXPCSFittingEngine(optimizer).fit_g2_optimized(made.t_el, made.g2, made.g2_err, bounds=SINGLE)
        assert again["performance_info"]["cache_hit"] is True
        assert again["performance_info"]["cached_bins"] == 12
        np.testing.assert_array_equal(np.asarray(again["fit_results"]), np.asarray(first["fit_results"]))
    changed = made.g2.copy()
    changed[10, 2] *= 1.001
    with pytest.raises(pytest.fail.Exception):
        OptimizedXPCSFittingEngine(own).fit_g2_optimized(made.t_el, changed, made.g2_err, bounds=SINGLE)
    with pytest.raises(pytest.fail.Exception):
        OptimizedXPCSFittingEngine(own).fit_g2_optimized(
            made.t_el, made.g2, made.g2_err, bounds=SINGLE, use_caching=False
        )


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"g2_data": np.ones((5, 3))}, "48 delays"),
        ({"g2_data": np.ones((48, 3)), "q_values": [1.0]}, "q_values"),
        ({"g2_data": np.ones((48, 3)), "fit_func": "triple"}, "triple"),
    ],
)
def test_engine_refuses_what_does_not_fit_together(given, says):
    with pytest.raises(ConfigError, match=says):
        OptimizedXPCSFittingEngine().fit_g2_optimized(np.geomspace(1e-5, 1, 48), **given)


@pytest.mark.parametrize("func", ["single", "double"])
def test_high_performance_is_the_robust_fit_with_figures(func):
    xf = XpcsFile(carried("boost_corr/S0001_bright_a0000_f004096_r00001_results.hdf"))
    found = xf.fit_summary = fit_g2_high_performance(xf, fit_func=func, bootstrap_samples=20)
    known = fit_g2_robust(xf, fit_func=func, bootstrap_samples=20)
    np.testing.assert_array_equal(np.asarray(found["fit_val"]), np.asarray(known["fit_val"]))
    more = {"performance_info", "timing", "optimization_summary", "high_performance_fit", "fit_x"}
    assert set(found) == set(known) | more
    assert found["high_performance_fit"] is True
    assert set(found["performance_info"]) == INFO
    assert set(found["optimization_summary"]) == SUMMARY
    assert found["optimization_summary"]["dataset_size"] == "12 bins of 43 delays"
    assert found["optimization_summary"]["processing_mode"] == "blocks"
    assert {record["status"] for record in found["fit_val"]} == {"success"}
    np.testing.assert_array_equal(found["fit_x"], found["fit_line"][0]["fit_x"])
    assert fit_tauq(xf, (0, 1), None, None) is found
    assert "fit_val" in get_fitting_info(xf)
    json.dumps(found)


def test_second_identical_call_is_read_from_the_cache(cache, no_fits):
    made = decays()
    flags = [True, True, False, True]
    bounds = (SINGLE[0], (1.0, 100.0, 1.0, 1.5))
    first = fit_g2_high_performance(made, bounds=bounds, fit_flag=flags, bootstrap_samples=10)
    assert first["performance_info"]["cache_hit"] is False
    no_fits()
    again = fit_g2_high_performance(made, bounds=bounds, fit_flag=flags, bootstrap_samples=10)
    assert again["performance_info"]["cache_hit"] is True
    assert again["performance_info"]["cached_bins"] >= 0.95 * 12
    assert again["performance_info"]["cache_key"] == first["performance_info"]["cache_key"]
    assert again["optimization_summary"]["processing_mode"] == "cache"
    np.testing.assert_array_equal(np.asarray(again["fit_val"]), np.asarray(first["fit_val"]))
    with pytest.raises(pytest.fail.Exception):
        fit_g2_high_performance(made, bounds=bounds, fit_flag=[True, False, True, True], bootstrap_samples=10)
    held_elsewhere = (SINGLE[0], (1.0, 100.0, 1.1, 1.5))
    with pytest.raises(pytest.fail.Exception):
        fit_g2_high_performance(made, bounds=held_elsewhere, fit_flag=flags, bootstrap_samples=10)
    made.g2[20, 5] *= 1 + 1e-9
    with pytest.raises(pytest.fail.Exception):
        fit_g2_high_performance(made, bounds=bounds, fit_flag=flags, bootstrap_samples=10)


def test_only_blocks_that_changed_are_fitted_again(cache, monkeypatch):
    made = decays(bins=40)
    monkeypatch.setattr(XPCSPerformanceOptimizer, "should_use_chunked_processing", lambda *_: (True, 10))
    first = fit_g2_high_performance(made, bounds=SINGLE, bootstrap_samples=0)
    made.g2[20, 25] += 0.01
    again = fit_g2_high_performance(made, bounds=SINGLE, bootstrap_samples=0)
    assert again["performance_info"]["cached_bins"] == 30
    assert again["performance_info"]["cache_hit"] is False
    before, after = (np.asarray(summary["fit_val"]) for summary in (first, again))
    np.testing.assert_array_equal(np.delete(after, 25, axis=0), np.delete(before, 25, axis=0))
    assert (after[25] != before[25]).any()


def test_many_results_go_through_a_store(monkeypatch):
    made = decays(bins=30)
    known = fit_g2_robust(made, bounds=SINGLE, bootstrap_samples=10)
    real = planned_fits.plan_fits

    def streamed(*given):
        return replace(real(*given), bins=8, streamed=True)

    monkeypatch.setattr(performance, "plan_fits", streamed)
    stored = []
    write = planned_fits._streamed
    monkeypatch.setattr(planned_fits, "_streamed", lambda *given: stored.append(1) or write(*given))
    found = fit_g2_high_performance(made, bounds=SINGLE, bootstrap_samples=10)
    assert stored
    assert found["optimization_summary"]["processing_mode"] == "streaming"
    np.testing.assert_array_equal(np.asarray(found["fit_val"]), np.asarray(known["fit_val"]))
    assert found["fit_val"][3]["diagnostics"].keys() == known["fit_val"][3]["diagnostics"].keys()


@pytest.mark.cluster
def test_an_active_client_does_the_work():
    from distributed import Client, LocalCluster

    made = decays(bins=30)
    known = fit_g2_robust(made, bounds=SINGLE, bootstrap_samples=10)
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        assert XPCSPerformanceOptimizer().optimize_parallelization(1000) == 2
        found = fit_g2_high_performance(made, bounds=SINGLE, bootstrap_samples=10)
    assert found["optimization_summary"]["processing_mode"] == "distributed"
    np.testing.assert_array_equal(np.asarray(found["fit_val"]), np.asarray(known["fit_val"]))


def test_a_budget_that_is_too_small_is_refused():
    with pytest.raises(MemoryBudgetError, match="max_memory_mb"):
        fit_g2_high_performance(decays(), bounds=SINGLE, max_memory_mb=0.5)


def test_overhead_is_a_measurement(monkeypatch):
    made = decays(bins=600)
    _, request = performance.request_of(made, None, None, SINGLE, None, "single", "basic", 0)
    real = performance.quoted_fits

    def three_times(*given):
        real(*given), real(*given)
        return real(*given)

    plain = performance.robust_overhead(request)
    monkeypatch.setattr(performance, "quoted_fits", three_times)
    slower = performance.robust_overhead(request)
    assert slower > plain + 80


@pytest.mark.parametrize(
    "other", [{"level": "comprehensive"}, {"samples": 7}, {"floored": np.ones(3)}, {"box": "held"}, {"model": "double"}]
)
def test_all_that_is_asked_decides_the_name_in_the_cache(other):
    _, request = request_of(decays(), None, None, None, None, "single", "standard", 5)
    other = {**other}
    if "box" in other:
        other["box"] = replace(request.box, fixed={"baseline": 1.0})
    if "model" in other:
        other["model"] = model_of("double")[0]
    assert key_of(request) == key_of(replace(request))
    assert key_of(replace(request, **other)) != key_of(request)
