"""`stream`: lazy results into a store, block by block, in bounded memory; stopped at any moment it goes on later."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import xarray as xr

from xpcs_dask.cluster.executor import executor_here
from xpcs_dask.engine.events import Listener, Monitor
from xpcs_dask.engine.lock import Lock
from xpcs_dask.engine.memory import Pressure, used_of_workers
from xpcs_dask.engine.stream import Hands
from xpcs_dask.errors import ConfigError, FileRejected, OutputExistsError
from xpcs_dask.results.run import Run, Unfinished
from xpcs_dask.results.store import SETTINGS, holds_results
from xpcs_dask.results.streamed import by_group, finish_store, lazy_arrays, move_store
from xpcs_dask.showing import shown

__all__ = ["pressure_on", "stream", "stream_into"]

Results = xr.Dataset | xr.DataTree


def stream(
    results: Results,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    client: Any = None,
    progress: bool | Listener = False,
) -> Path:
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
    progress : bool or callable
        True draws a bar on a terminal and writes text in a notebook; or what takes an `engine.events.State`.

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
    with executor_here(client) as (executor, workers), shown(progress) as listeners:
        hands = Hands(executor, pressure_on(client).limited(workers))
        monitor = Monitor(listeners)
        stream_into(results, path, job, hands, overwrite=overwrite, monitor=monitor)
        monitor.end()
    return path


def stream_into(
    results: Results,
    path: Path,
    job: Mapping[str, Any],
    hands: Hands,
    *,
    overwrite: bool = False,
    monitor: Monitor | None = None,
    nbytes: int = 0,
    attrs: Callable[[], Mapping[str, Any]] = dict,
    place: Callable[[Path, Path], object] = move_store,
) -> None:
    """Do what `stream` does where `hands` are.

    Parameters
    ----------
    job : mapping
        What decides the numbers, as JSON can hold it: only unfinished work of the same job is gone on with.
    overwrite : bool
        Forget unfinished work of another job, and replace what is at `path`.
    monitor : Monitor
        Hears of each block that is done, also of those that an earlier call has done.
    nbytes : int
        Bytes of all input, for the monitor.
    attrs : callable
        Gives attributes for the root of the store when all blocks are done.
    place : callable
        Takes the finished store and `path`, and makes `path` of it.

    Raises
    ------
    FileRejected
        If blocks could not be read; all others are done and kept.
    """
    unfinished, groups = Unfinished(path), by_group(results)
    monitor = monitor or Monitor()
    job = json.loads(json.dumps(dict(job)))
    with Lock(unfinished.folder / "lock") as lock:
        if os.path.lexists(path) and not overwrite:
            raise OutputExistsError(str(path), "another call that ended just now")
        run = unfinished.going_on(groups, job) or unfinished.begin(groups, job, overwrite)
        monitor.begin(blocks=len(run), curves=_curves(groups), nbytes=nbytes)
        _work(run, hands, monitor, lock)
        finish_store(run.store, attrs())
        place(run.store, path)
        unfinished.clear()
    with suppress(OSError):
        unfinished.folder.rmdir()


def _work(run: Run, hands: Hands, monitor: Monitor, lock: Lock) -> None:
    """Do all blocks that are not done; those that cannot be read do not keep the others from being done."""
    done, rejected = run.done(), list[dict[str, str]]()
    for entry in done.values():
        monitor.add(entry, before=True)
    for entry in run.rest(done, hands, lock.beat):
        if "rejected" in entry:
            rejected.append(entry["rejected"])
        else:
            monitor.add(entry)
    if rejected:
        first, others = rejected[0], len(rejected) - 1
        more = f" (and so for {others} more)" if others else ""
        raise FileRejected(
            first["file"],
            f"{first['reason']}{more}; all other blocks are done and kept: mend it, and run the same command again",
        )


def pressure_on(client: Any = None, relieve: Sequence[Callable[[], object]] = ()) -> Pressure:
    """Return what limits the blocks in flight: the memory of the workers of `client`, or of this machine."""
    if client is None:
        return Pressure(relieve=relieve)

    def read() -> float:
        return used_of_workers(client.scheduler_info(n_workers=-1)["workers"].values())

    return Pressure(read=read, relieve=relieve)


def _curves(groups: Mapping[str, xr.Dataset]) -> int:
    return sum(group["status"].size for group in groups.values() if "status" in group)


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
