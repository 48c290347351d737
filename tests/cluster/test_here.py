"""Workers of a local cluster that nobody restarts."""

from __future__ import annotations

import logging
import os
import time
from types import SimpleNamespace

import pytest

from xpcs_dask.cluster import connect, here, watchdog
from xpcs_dask.cluster.here import PATIENCE, RESTART, LocalFleet
from xpcs_dask.errors import SchedulerError


class Cluster:
    def __init__(self, workers):
        self.scheduler, self.worker_spec = SimpleNamespace(workers=dict.fromkeys(range(workers))), [0] * workers
        self.asked = []

    def scale(self, n):
        self.asked.append(n)


def fleet_of(workers):
    cluster, clock = Cluster(workers), SimpleNamespace(now=0.0)
    return cluster, clock, LocalFleet(cluster, workers, clock=lambda: clock.now)


def test_a_nanny_has_time_to_restart_its_worker():
    cluster, clock, fleet = fleet_of(2)
    cluster.scheduler.workers.popitem()
    clock.now = RESTART - 1
    fleet.look()
    assert not cluster.asked
    clock.now = RESTART + 1
    fleet.look()
    fleet.look()
    assert cluster.asked == [3]  # the one that failed still counts there


def test_it_never_asks_for_more_than_twice_as_many():
    cluster, clock, fleet = fleet_of(2)
    cluster.scheduler.workers.popitem()
    for _ in range(10):
        clock.now += RESTART + 1
        fleet.look()
        cluster.worker_spec = [0] * cluster.asked[-1]
    assert max(cluster.asked) == 4


def test_when_no_worker_comes_back_it_is_given_up():
    cluster, clock, fleet = fleet_of(2)
    cluster.scheduler.workers.clear()
    clock.now = PATIENCE
    fleet.look()
    clock.now = PATIENCE + 1
    with pytest.raises(SchedulerError, match="all 2 workers of this machine were lost") as caught:
        fleet.look()
    assert caught.value.exit_code == 7


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore::ResourceWarning")
class TestRealWorkers:
    def test_a_worker_that_left_for_good_is_replaced(self, monkeypatch):
        monkeypatch.setattr(watchdog, "EVERY", 0.1)
        monkeypatch.setattr(here, "RESTART", 0.5)
        with connect("local:2") as connection:
            client = connection.client
            before = set(client.nthreads())
            client.retire_workers([min(before)], close_workers=True)  # its nanny ends too
            ends = time.monotonic() + 60
            while len(client.nthreads()) != 2 or set(client.nthreads()) == before:
                assert time.monotonic() < ends
                time.sleep(0.1)
            assert client.submit(pow, 2, 5).result(30) == 32

    def test_settings_reach_the_workers(self, tmp_path):
        settings = {"memory": "600MiB", "local_directory": str(tmp_path)}
        with connect("local:1", settings) as connection:
            [worker] = connection.client.scheduler_info()["workers"].values()
            threads = connection.client.run(lambda: os.environ["NUMBA_NUM_THREADS"])
            assert connection.dashboard_link.startswith("http://127.0.0.1:")
        assert worker["memory_limit"] == 600 * 2**20
        assert worker["local_directory"].startswith(str(tmp_path))
        assert list(threads.values()) == ["1"]

    def test_spilling_into_memory_is_warned_of(self, caplog, monkeypatch):
        monkeypatch.setattr(here, "fault_of", lambda place: f"{place} is in memory (tmpfs)")
        with caplog.at_level(logging.WARNING), connect("local:1"):
            pass
        assert "is in memory (tmpfs); choose a local disk with local_directory" in caplog.text
