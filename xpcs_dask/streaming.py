"""`stream`: lazy results into a store, block by block, in bounded memory; stopped at any moment it goes on later."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import xarray as xr

from xpcs_dask.cluster.executor import executor_here
from xpcs_dask.engine.ledger import total
from xpcs_dask.engine.lock import Lock
from xpcs_dask.engine.stream import Hands
from xpcs_dask.errors import ConfigError, OutputExistsError
from xpcs_dask.results.run import Unfinished
from xpcs_dask.results.store import SETTINGS, holds_results
from xpcs_dask.results.streamed import by_group, finish_store, lazy_arrays, move_store

__all__ = ["stream", "stream_into"]

Results = xr.Dataset | xr.DataTree
Advance = Callable[[int], None]


def stream(results: Results, path: str | os.PathLike[str], *, overwrite: bool = False, client: Any = None) -> Path:
    """Compute lazy results block by block into a Zarr store.

    Each task reads its own block, fits it, writes one whole chunk of every variable and then its entry in a ledger. At
    most two blocks a worker are under way, so memory does not grow with the data. Until all blocks are done the store
    and the ledger are in the folder ``PATH.unfinished``; the same call goes on where an earlier one was stopped.

    Parameters
    ----------
    results : xarray.Dataset or xarray.DataTree
        From `fit` of lazy data.
    path : path
        Ends in ``.zarr``; read it with `open_results`.
    overwrite : bool
        Replace results, and forget unfinished work, of other settings or inputs.
    client : distributed.Client, optional
        Whose workers do it; they must see the files. Without one the current client of `distributed`, or threads of
        this process (``dask.config.set(num_workers=...)``).

    Returns
    -------
    pathlib.Path
        Of the store.

    Raises
    ------
    OutputExistsError
        If something is at `path`, or unfinished work there has other settings or inputs, and `overwrite` is False.
    StoreLockedError
        If another process is writing there.
    ConfigError
        If `path` does not end in ``.zarr``, or `results` are not lazy.
    SchedulerError
        If all workers are lost.
    """
    path = Path(path)
    if path.suffix != ".zarr":
        raise ConfigError(f"{path}: results are streamed into a Zarr store; give a path ending in .zarr")
    if os.path.lexists(path):
        ours = holds_results(path)
        if not (overwrite and ours):
            raise OutputExistsError(str(path), "another call" if ours else "something else: it holds no results", ours)
    job = _identity(results)
    with executor_here(client) as (executor, workers):
        stream_into(results, path, job, Hands(executor, workers), overwrite=overwrite)
    return path


def stream_into(
    results: Results,
    path: Path,
    job: Mapping[str, Any],
    hands: Hands,
    *,
    overwrite: bool = False,
    advance: Advance = lambda curves: None,
    attrs: Callable[[dict[str, Any]], Mapping[str, Any]] = lambda counts: {},
) -> dict[str, Any]:
    """Do what `stream` does where `hands` are.

    Parameters
    ----------
    job : mapping
        What decides the numbers, as JSON can hold it: only unfinished work of the same job is gone on with.
    overwrite : bool
        Forget unfinished work of another job, and replace what is at `path`.
    advance : callable
        Called with the number of curves of each block that is done, also of those that an earlier call has done.
    attrs : callable
        Given the counts, returns attributes for the root of the store.

    Returns
    -------
    dict
        Counts as `results.summary` gives them.
    """
    unfinished, groups = Unfinished(path), by_group(results)
    job = json.loads(json.dumps(dict(job)))
    with Lock(unfinished.folder / "lock") as lock:
        if os.path.lexists(path) and not overwrite:
            raise OutputExistsError(str(path), "another call that ended just now")
        run = unfinished.going_on(groups, job) or unfinished.begin(groups, job, overwrite)
        counts: dict[str, Any] = {}
        for entry in run.entries(hands, lock.beat):
            counts = total(counts, entry["counts"])
            advance(entry["counts"].get("curves", 0))
        finish_store(run.store, attrs(counts))
        move_store(run.store, path)
        unfinished.clear()
    with suppress(OSError):
        unfinished.folder.rmdir()
    return counts


def _identity(results: Results) -> dict[str, Any]:
    """Return settings, and the names that Dask gave to the arrays: these follow from their content and what is done."""
    groups = by_group(results)
    found = {
        f"{path}:{name}": array.data.name
        for path, group in groups.items()
        for name, array in lazy_arrays(group).items()
    }
    if not found:
        raise ConfigError("the results are computed already; save them, or fit lazy data (open_g2 gives such)")
    attrs = next((group.attrs for group in groups.values() if "model" in group.attrs), {})
    return {"settings": {name: str(attrs.get(name)) for name in SETTINGS}, "arrays": found}
