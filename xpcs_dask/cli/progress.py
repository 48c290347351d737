"""Curves finished, curves per second and time left, on stderr while Dask computes."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from xpcs_dask.cli.groups import groups, together

if TYPE_CHECKING:
    import xarray as xr

    from xpcs_dask.cli.groups import Results
    from xpcs_dask.cluster import Connection

Advance = Callable[[int], None]


def compute(fits: Results, connection: Connection, advance: Advance) -> Results:
    """Compute lazy `fits` where `connection` says; `advance` hears of every block that is done.

    Blocks of ``status`` are counted: each stands for as many curves as it has elements.
    """
    sizes = block_sizes(fits)
    work = _on_cluster if connection.client is not None else _in_scheduler
    return together(fits, lambda datasets: work(datasets, lambda key: advance(sizes.pop(key, 0))))


def _in_scheduler(datasets: list[xr.Dataset], finished: Callable[[Any], None]) -> list[xr.Dataset]:
    import dask
    from dask.callbacks import Callback

    # Not DataTree.compute: there the only block of an array gets another name.
    with Callback(posttask=lambda key, *_: finished(key)):
        return list(dask.compute(*datasets))


def _on_cluster(datasets: list[xr.Dataset], finished: Callable[[Any], None]) -> list[xr.Dataset]:
    import dask

    from xpcs_dask.cluster import finished_keys

    running = dask.persist(*datasets)
    for key in finished_keys(running):
        finished(key)
    return list(dask.compute(*running))


def block_sizes(fits: Results) -> dict[Any, int]:
    """Curves in each block of ``status``, by its key in the graph."""
    sizes = {}
    for data in groups(fits, "status"):
        status = data["status"]
        if status.chunks is not None:
            grid = status.data
            for key, block in zip(_flat(grid.__dask_keys__()), _shapes(grid.chunks), strict=True):
                sizes[key] = math.prod(block)
    return sizes


def _flat(keys: Any) -> Iterator[Any]:
    for key in keys:
        if isinstance(key, list):
            yield from _flat(key)
        else:
            yield key


def _shapes(chunks: tuple[tuple[int, ...], ...]) -> Iterator[tuple[int, ...]]:
    from itertools import product

    return product(*chunks)


@contextmanager
def bar(total: int, show: bool) -> Iterator[Advance]:
    """Draw a progress bar of `total` curves on stderr, if `show`; gives the function that advances it."""
    if not show:
        yield lambda curves: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Any) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.0f} curves/s" if speed else "")

    columns = (TextColumn("fitting"), BarColumn(), MofNCompleteColumn(), Speed(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr)) as progress:
        task = progress.add_task("fitting", total=total)
        yield lambda curves: progress.advance(task, curves)
