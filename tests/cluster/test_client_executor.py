from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError, wait
from types import SimpleNamespace

import pytest

from xpcs_dask.cluster import connect
from xpcs_dask.cluster.client_executor import ClientExecutor

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


class There:
    """What a client gives for a call: something to wait for, in the thread of its loop."""

    def __init__(self, outcome):
        self.status, self.outcome, self.gate = "pending", outcome, asyncio.Event()

    def cancel(self):
        self.status = "cancelled"

    def __await__(self):
        yield from self.gate.wait().__await__()
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


@pytest.fixture
def client():
    """Give a client whose calls end as their argument says, when they are told to."""
    loop, calls = asyncio.new_event_loop(), []
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def submit(fn, outcome, pure):
        assert not pure
        calls.append(There(outcome))
        return calls[-1]

    def add_callback(function, *args):
        asyncio.run_coroutine_threadsafe(function(*args), loop)

    def go():
        for call in calls:
            loop.call_soon_threadsafe(call.gate.set)

    yield SimpleNamespace(submit=submit, loop=SimpleNamespace(add_callback=add_callback), calls=calls, go=go)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def test_results_and_errors_are_handed_over(client):
    pool = ClientExecutor(client)
    good, bad = pool.submit(id, {"a": 1, "b": 2, "c": 3, "d": 4}), pool.submit(id, ZeroDivisionError("as asked"))
    client.go()
    assert good.result(10) == {"a": 1, "b": 2, "c": 3, "d": 4}
    with pytest.raises(ZeroDivisionError, match="as asked"):
        bad.result(10)


@pytest.mark.parametrize("fault", [CancelledError("connection lost"), asyncio.CancelledError("closing")])
def test_nobody_waits_for_ever_when_the_cluster_is_lost(client, fault):
    future = ClientExecutor(client).submit(id, fault)
    client.go()
    done, _ = wait([future], 10)
    assert done
    with pytest.raises(type(fault)):
        future.result()


def test_what_is_cancelled_here_is_cancelled_there(client):
    pool = ClientExecutor(client)
    first, second = pool.submit(id, 1), pool.submit(id, 2)
    assert first.cancel()
    assert [call.status for call in client.calls] == ["cancelled", "pending"]
    pool.shutdown(wait=False)
    assert [call.status for call in client.calls] == ["cancelled", "cancelled"]
    client.go()
    assert wait([first, second], 10).done == {first, second}


@pytest.mark.cluster
def test_calls_on_a_real_cluster():
    with connect("local:1") as connection:
        pool = ClientExecutor(connection.client)
        futures = [pool.submit(divmod, k, 3) for k in (7, 7, 8)]
        assert [future.result(30) for future in futures] == [(2, 1), (2, 1), (2, 2)]
        with pytest.raises(ZeroDivisionError):
            pool.submit(divmod, 1, 0).result(30)
        assert pool.submit(int, "7", base=8).result(30) == 7
        pool.shutdown()
