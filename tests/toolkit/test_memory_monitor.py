"""The cache holds no more than its limit, gives up the oldest first, and gives way under pressure."""

from __future__ import annotations

import os
import pickle
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest

from xpcs_dask.errors import ConfigError
from xpcs_dask.toolkit import memory_monitor
from xpcs_dask.toolkit.memory_monitor import CacheItem, DataCache, MemoryMonitor, size_of


def megabytes(count):
    return np.zeros(count * 2**20, np.uint8)


@pytest.fixture
def calm(monkeypatch):
    monkeypatch.setattr(memory_monitor, "used_here", lambda: 0.2)


def test_use_is_that_of_this_process():
    used, free = MemoryMonitor.get_memory_usage()
    resident = psutil.Process(os.getpid()).memory_info().rss / 2**20
    assert abs(used - resident) < 30
    assert 0 < free <= psutil.virtual_memory().total / 2**20


def test_a_container_that_is_nearly_full_leaves_what_it_has_left(monkeypatch):
    monkeypatch.setattr(memory_monitor, "groups", lambda: iter([(90 * 2**20, 100 * 2**20), (5, 2**50)]))
    assert MemoryMonitor.get_memory_usage()[1] == 10


def test_pressure_is_a_share(monkeypatch):
    assert 0 < MemoryMonitor.get_memory_pressure() < 1
    monkeypatch.setattr(memory_monitor, "used_here", lambda: 0.85)
    assert not MemoryMonitor.is_memory_pressure_high()
    assert MemoryMonitor.is_memory_pressure_high(0.8)


@pytest.mark.parametrize("dtype", ["f4", "f8", "?", "c16"])
def test_size_of_an_array_to_come(dtype):
    estimate = MemoryMonitor.estimate_array_memory((100, 3, 7), np.dtype(dtype))
    assert estimate == np.empty((100, 3, 7), dtype).nbytes / 2**20


def test_an_item_counts_its_use():
    item = CacheItem([1], 0.5)
    item.last_accessed -= 100
    before = item.last_accessed
    item.touch()
    item.touch()
    assert (item.data, item.size_mb, item.access_count) == ([1], 0.5, 2)
    assert item.last_accessed >= before + 100 - 1e-3
    assert item.created <= item.last_accessed


def test_what_was_put_comes_back(calm):
    cache, data = DataCache(), megabytes(1)
    assert cache.put("a", "g2", data)
    assert cache.get("a", "g2") is data
    assert cache.get("a", "saxs") is None
    assert cache.get("b", "g2") is None
    stats = cache.get_stats()
    assert (stats["hits"], stats["misses"], stats["hit_rate"]) == (1, 2, pytest.approx(1 / 3))
    assert (stats["items"], stats["memory_mb"], stats["by_file"]) == (1, 1.0, {"a": 1.0})
    assert stats["utilization"] == pytest.approx(1 / 500)


def test_the_least_recently_used_goes_first(calm):
    cache = DataCache(max_memory_mb=3)
    for name in "abc":
        cache.put(name, "x", megabytes(1))
    cache.get("a", "x")
    assert cache.put("d", "x", megabytes(1))
    assert [cache.get(name, "x") is not None for name in "abcd"] == [True, False, True, True]
    assert cache.get_stats()["evictions"] == 1
    assert cache.get_stats()["memory_mb"] == 3


def test_it_never_holds_more_than_its_limit(calm):
    cache = DataCache(max_memory_mb=5)
    for number, size in enumerate([1, 2, 3, 1, 4, 2, 5, 1, 1, 1]):
        assert cache.put("a", str(number), megabytes(size))
        assert cache.get_stats()["memory_mb"] <= 5
    assert not cache.put("a", "too much", megabytes(6))
    assert cache.get("a", "too much") is None
    assert cache.get("a", "9") is not None


def test_a_second_value_replaces_the_first(calm):
    cache = DataCache(max_memory_mb=3)
    cache.put("a", "x", megabytes(2))
    cache.put("a", "x", megabytes(3))
    assert cache.get("a", "x").nbytes == 3 * 2**20
    assert cache.get_stats()["evictions"] == 0
    assert not cache.put("a", "x", megabytes(4))
    assert cache.get("a", "x") is None, "the value before is not the one that was put last"


def test_clearing(calm):
    cache = DataCache()
    for path, name in [("a", "x"), ("a", "y"), ("b", "x")]:
        cache.put(path, name, megabytes(1))
    cache.drop("a", "y")
    assert set(cache.held("a")) == {"x"}
    cache.clear_file("a")
    assert cache.get("a", "x") is None
    assert cache.get("b", "x") is not None
    cache.clear()
    assert cache.get_stats()["items"] == 0


def test_cleanup_goes_down_to_what_is_asked(calm):
    cache = DataCache(max_memory_mb=8)
    for name in "abcdefgh":
        cache.put(name, "x", megabytes(1))
    cache.force_cleanup()
    assert cache.get_stats()["memory_mb"] == 4
    assert cache.get("h", "x") is not None
    cache.force_cleanup(1.5)
    assert set(cache.get_stats()["by_file"]) == {"h"}
    cache.force_cleanup(0)
    assert cache.get_stats()["items"] == 0


def test_pressure_frees_half_of_the_room_first(monkeypatch):
    cache = DataCache(max_memory_mb=8, memory_pressure_threshold=0.7)
    for name in "abcdefg":
        cache.put(name, "x", megabytes(1))
    monkeypatch.setattr(memory_monitor, "used_here", lambda: 0.75)
    assert cache.put("h", "x", megabytes(1))
    assert sorted(cache.get_stats()["by_file"]) == list("defgh")
    assert cache.get_stats()["memory_pressure"] == 0.75


@pytest.mark.parametrize("settings", [{"max_memory_mb": -1}, {"max_memory_mb": float("nan")}])
def test_limits_that_make_no_sense(settings):
    with pytest.raises(ConfigError, match="max_memory_mb"):
        DataCache(**settings)
    with pytest.raises(ConfigError, match="memory_pressure_threshold"):
        DataCache(memory_pressure_threshold=0)


def test_a_cache_travels_empty(calm):
    cache = DataCache(7.0, 0.5)
    cache.put("a", "x", megabytes(1))
    found = pickle.loads(pickle.dumps(cache))
    assert (found.max_memory_mb, found.memory_pressure_threshold) == (7.0, 0.5)
    assert found.get("a", "x") is None
    assert found.put("a", "x", megabytes(1))


def test_many_threads_at_once(calm):
    cache, failed = DataCache(max_memory_mb=4), []

    def work(number):
        for turn in range(50):
            cache.put(str(number), str(turn % 3), np.full(2**18, number, np.uint8))
            found = cache.get(str(number), str(turn % 3))
            if found is not None and found[0] != number:
                failed.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert cache.get_stats()["memory_mb"] <= 4


def test_size_counts_what_is_inside():
    array = np.zeros(10)
    assert size_of({"a": array, "b": [array, (array,)]}) == 240
    assert size_of("text") > 4
    assert size_of(Path("x")) > 0
