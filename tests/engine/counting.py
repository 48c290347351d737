"""A scheduler that counts: laziness is a promise, and this is how it is held."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask


class TooManyComputes(AssertionError):
    """A graph ran although nothing asked for numbers."""


class CountingScheduler:
    """Runs graphs on the spot, and refuses after `limit` of them."""

    def __init__(self, limit: int) -> None:
        self.limit, self.graphs = limit, 0

    def __call__(self, graph: Any, keys: Any, **options: Any) -> Any:
        self.graphs += 1
        if self.graphs > self.limit:
            raise TooManyComputes(f"graph number {self.graphs} ran; at most {self.limit} may")
        return dask.get(graph, keys, **options)


@contextmanager
def computes_at_most(limit: int) -> Iterator[CountingScheduler]:
    """Fail if Dask runs more than `limit` graphs inside."""
    counter = CountingScheduler(limit)
    with dask.config.set(scheduler=counter):
        yield counter
