from __future__ import annotations

import logging
import threading
import time

import pytest

from xpcs_dask.cluster import watchdog
from xpcs_dask.cluster.watchdog import Watchdog, watchdog_of
from xpcs_dask.errors import SchedulerError


class Client:
    def __init__(self):
        self.closed = threading.Event()

    def close(self, timeout):
        self.closed.set()


class Fleet:
    """Does at each look what it is told, then nothing more."""

    def __init__(self, *errors, living=0):
        self.errors, self.looks, self.count = list(errors), 0, living

    def living(self):
        return self.count

    def look(self):
        self.looks += 1
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error


@pytest.fixture
def client(monkeypatch):
    monkeypatch.setattr(watchdog, "GRACE", 0.05)
    return Client()


def until(condition):
    ends = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_it_looks_again_and_again_until_it_is_stopped(client):
    fleet = Fleet()
    dog = Watchdog(fleet, client, every=0.01)
    dog.start()
    until(lambda: fleet.looks > 3)
    dog.stop()
    looks = fleet.looks
    time.sleep(0.1)
    assert fleet.looks == looks
    assert not client.closed.is_set()
    dog.check()


def test_when_there_is_no_hope_it_says_so_and_then_frees_who_waits(client):
    dog = Watchdog(Fleet(None, SchedulerError("all jobs failed"), living=3), client, every=0.01)
    assert dog.workers() == 3
    dog.start()
    assert client.closed.wait(10)
    for asked in (dog.check, dog.workers):
        with pytest.raises(SchedulerError, match="all jobs failed"):
            asked()
    dog.stop()


def test_a_look_that_fails_otherwise_is_not_the_last(client, caplog):
    fleet = Fleet(RuntimeError("a bug"))
    dog = Watchdog(fleet, client, every=0.01)
    with caplog.at_level(logging.ERROR):
        dog.start()
        until(lambda: fleet.looks > 2)
        dog.stop()
    assert "could not look after the workers" in caplog.text
    assert dog.error is None


def test_lost_workers_are_on_their_way_back(client):
    assert Watchdog(Fleet(living=0), client).workers() == 1


def test_it_is_found_by_the_client(client):
    dog = Watchdog(Fleet(), client)
    assert watchdog_of(client) is dog
    assert watchdog_of(Client()) is None
    assert watchdog_of(3) is None
