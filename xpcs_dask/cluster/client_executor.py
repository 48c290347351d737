"""A Dask cluster as an executor of the standard library.

That of `distributed` (2026.8) leaves its futures waiting for ever when the scheduler is lost while a result is
fetched, and makes a ValueError of a result whose worker is lost in the moment after it was fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any
from weakref import WeakSet

__all__ = ["ClientExecutor"]


class ClientExecutor(Executor):
    """Runs calls on the workers of a `distributed.Client`, each once for every `submit`, whatever its arguments.

    A call that is cancelled here is cancelled there too; one that runs on a worker goes on there.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._open: WeakSet[Future[Any]] = WeakSet()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Hand in a call; what its future raises is that of the call, or why the cluster could not carry it out."""
        there, here = self._client.submit(fn, *args, pure=False, **kwargs), Future[Any]()

        def cancel_there(done: Future[Any]) -> None:
            if done.cancelled() and there.status != "cancelled":
                there.cancel()

        here.add_done_callback(cancel_there)
        self._open.add(here)
        self._client.loop.add_callback(_hand_over, there, here)
        return here

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let go of the cluster; without `wait` what is not done is cancelled."""
        import concurrent.futures

        open_ = list(self._open)
        if cancel_futures or not wait:
            for future in open_:
                future.cancel()
        if wait:
            concurrent.futures.wait(open_)


async def _hand_over(there: Any, here: Future[Any]) -> None:
    """Give `here` what comes of `there`, in the thread of the client."""
    found, fault = None, None
    try:
        found = await there
    except BaseException as error:  # whatever it is, somebody waits for it
        fault = error
    if not here.set_running_or_notify_cancel():
        return
    if fault is None:
        here.set_result(found)
    else:
        here.set_exception(fault)
