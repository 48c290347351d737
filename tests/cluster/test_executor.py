from __future__ import annotations

import threading
import time
from concurrent.futures import wait

import dask
import pytest

from xpcs_dask.cluster.connect import Connection, connect
from xpcs_dask.cluster.executor import DaemonThreads, InPlace, executor, executor_here


def fail():
    raise ZeroDivisionError("as asked")


@pytest.mark.parametrize("make", [InPlace, lambda: DaemonThreads(2)], ids=["here", "threads"])
def test_calls_are_carried_out_and_errors_handed_over(make):
    pool = make()
    futures = [pool.submit(pow, k, 2) for k in range(20)]
    assert [future.result(10) for future in futures] == [k * k for k in range(20)]
    with pytest.raises(ZeroDivisionError, match="as asked"):
        pool.submit(fail).result(10)
    assert pool.submit(int, "7", base=8).result(10) == 7
    pool.shutdown()


def test_threads_work_at_once_and_are_no_reason_to_stay():
    pool, meeting = DaemonThreads(3), threading.Barrier(3)
    assert sorted(future.result(10) for future in [pool.submit(meeting.wait, 10) for _ in range(3)]) == [0, 1, 2]
    assert all(thread.daemon for thread in threading.enumerate() if thread.name.startswith("xpcs-"))
    pool.shutdown()


def test_what_waits_can_be_cancelled():
    pool, gate = DaemonThreads(1), threading.Event()
    running = pool.submit(gate.wait, 10)
    time.sleep(0.05)
    waiting = pool.submit(pow, 2, 2)
    assert waiting.cancel()
    gate.set()
    assert running.result(10)
    pool.shutdown()


def test_leaving_does_not_wait():
    gate = threading.Event()
    begun = time.monotonic()
    with executor(Connection("threads", 1)) as (pool, workers):
        assert workers() == 1
        future = pool.submit(gate.wait, 30)
    assert time.monotonic() - begun < 10
    gate.set()
    wait([future], 10)


def test_sync_runs_in_this_thread():
    with executor(Connection("sync", None)) as (pool, workers):
        assert workers() == 1
        assert pool.submit(threading.get_ident).result(0) == threading.get_ident()


@pytest.mark.parametrize(("scheduler", "kind"), [("sync", InPlace), ("threads", DaemonThreads), (None, DaemonThreads)])
def test_what_dask_is_told_holds_here(scheduler, kind):
    with dask.config.set(scheduler=scheduler, num_workers=3), executor_here() as (pool, workers):
        assert isinstance(pool, kind)
        assert workers() == (1 if kind is InPlace else 3)


@pytest.mark.cluster
@pytest.mark.parametrize("spec", ["processes:2", "local:2"])
def test_processes_and_clusters(spec):
    import os

    with connect(spec) as connection, executor(connection) as (pool, workers):
        assert workers() == 2
        assert pool.submit(os.getpid).result(60) != os.getpid()
        if connection.client is not None:
            with executor_here() as (current, _):
                assert current.submit(os.getpid).result(60) != os.getpid()
