"""Curves finished, curves per second and time left, on stderr while Dask computes."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr

    from xpcs_dask.cluster import Connection
    from xpcs_dask.results import PackedFits

Advance = Callable[[int], None]


def compute(fits: Mapping[str, PackedFits], connection: Connection, advance: Advance) -> dict[str, PackedFits]:
    """Compute `fits` where `connection` says; `advance` hears of every block of records that is done."""
    sizes = block_sizes(fits)
    arrays = [fitted.arrays() for fitted in fits.values()]
    work = _on_cluster if connection.client is not None else _in_scheduler
    values = work(arrays, lambda key: advance(sizes.pop(key, 0)))
    return {path: fitted.computed(found) for (path, fitted), found in zip(fits.items(), values, strict=True)}


def _in_scheduler(arrays: list[xr.Dataset], finished: Callable[[Any], None]) -> list[xr.Dataset]:
    import dask
    from dask.callbacks import Callback

    # Not compute: there the only block of an array gets another name.
    with Callback(posttask=lambda key, *_: finished(key)):
        blocks = dask.persist(*arrays)
    return list(dask.compute(*blocks, scheduler="sync"))


def _on_cluster(arrays: list[xr.Dataset], finished: Callable[[Any], None]) -> list[xr.Dataset]:
    import dask

    from xpcs_dask.cluster import finished_keys

    running = dask.persist(*arrays)
    for key in finished_keys(running):
        finished(key)
    return list(dask.compute(*running))


def block_sizes(fits: Mapping[str, PackedFits]) -> dict[Any, int]:
    """Curves in each block of records, by its key in the graph."""
    sizes = {}
    for fitted in fits.values():
        if hasattr(fitted.records, "chunks"):
            grid = fitted.records
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


@contextmanager
def opening(show: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Draw a progress bar of files that are opened on stderr, if `show`; gives what `open_g2` takes as ``progress``."""
    if not show:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("opening"), BarColumn(), MofNCompleteColumn(), TextColumn("files"), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr)) as progress:
        task = progress.add_task("opening", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
