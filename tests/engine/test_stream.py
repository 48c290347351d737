from __future__ import annotations

import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import pytest

from xpcs_dask.engine.stream import AHEAD, Hands, stream
from xpcs_dask.errors import SchedulerError


class Slow(Executor):
    """Finishes a task only when it is told to."""

    def __init__(self):
        self.waiting = []

    def submit(self, fn, /, *args):
        future = Future()
        self.waiting.append((future, fn, args))
        return future

    def finish(self, k=0):
        future, fn, args = self.waiting.pop(k)
        future.set_running_or_notify_cancel()
        future.set_result(fn(*args))


def double(x):
    return 2 * x


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_task_once_whatever_the_order(workers):
    with ThreadPoolExecutor(workers) as pool:
        found = list(stream(range(57), double, Hands(pool, lambda: workers)))
    assert sorted(found) == [2 * k for k in range(57)]


def test_nothing_to_do():
    assert list(stream([], double, Hands(Slow(), lambda: 1))) == []


def test_tasks_are_taken_when_there_is_room():
    taken, pool = [], Slow()

    def tasks():
        for k in range(100):
            taken.append(k)
            yield k

    found = stream(tasks(), double, Hands(pool, lambda: 3), grace=0.0)
    threading.Timer(0.05, pool.finish).start()
    assert next(found) == 0
    assert len(taken) == 3 * AHEAD
    pool.finish(2)
    assert next(found) == 6
    assert len(taken) == 3 * AHEAD + 1
    found.close()
    assert all(future.cancelled() for future, *_ in pool.waiting)


def test_an_error_ends_it_and_calls_the_others_back():
    started = []

    def run(k):
        started.append(k)
        if k == 3:
            raise ZeroDivisionError("block 3")
        time.sleep(0.01)
        return k

    with ThreadPoolExecutor(1) as pool, pytest.raises(ZeroDivisionError, match="block 3"):
        list(stream(range(1000), run, Hands(pool, lambda: 1)))
    assert len(started) <= 5


def test_what_runs_may_finish_when_stopped_but_not_for_ever():
    finished, soon, release = [], threading.Event(), threading.Event()

    def run(k):
        if k:
            (soon if k == 1 else release).wait(20)
        finished.append(k)
        return k

    with ThreadPoolExecutor(2) as pool:
        found = stream(range(100), run, Hands(pool, lambda: 2), grace=1.5)
        assert next(found) == 0
        threading.Timer(0.3, soon.set).start()
        begun = time.monotonic()
        found.close()
        assert time.monotonic() - begun < 10
        assert finished == [0, 1]
        release.set()
    assert set(finished) <= {0, 1, 2, 3}


def test_no_worker_for_too_long_is_an_error():
    workers = iter([1, 1] + [0] * 1000)
    with pytest.raises(SchedulerError, match=r"no worker for 0\.7 s") as caught:
        list(stream(range(9), double, Hands(Slow(), lambda: next(workers)), patience=0.7, grace=0.0))
    assert caught.value.exit_code == 7


def test_workers_that_come_back_in_time_are_waited_for():
    begun, pool = time.monotonic(), ThreadPoolExecutor(1)
    found = list(stream(range(9), double, Hands(pool, lambda: int(time.monotonic() - begun > 1.2)), patience=30.0))
    pool.shutdown()
    assert len(found) == 9


def test_it_beats_while_it_waits():
    beats, pool = [], Slow()
    threading.Timer(1.3, pool.finish).start()
    assert list(stream([1], double, Hands(pool, lambda: 1), beat=lambda: beats.append(1))) == [2]
    assert len(beats) >= 2
