"""`run`: files opened, cut into blocks, fitted, written, and told about; or known to be done already."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from xpcs_dask.cluster import Connection, connect
from xpcs_dask.cluster.executor import executor
from xpcs_dask.config import RunConfig
from xpcs_dask.engine.allocator import small_names
from xpcs_dask.engine.budget import allowed, of_workers
from xpcs_dask.engine.cache import Cache
from xpcs_dask.engine.events import Listener, Monitor
from xpcs_dask.engine.plan import Plan, make_plan
from xpcs_dask.engine.stream import Hands
from xpcs_dask.errors import NoUsableInputError, OutputExistsError
from xpcs_dask.jobs.account import Account
from xpcs_dask.jobs.config_file import make_config
from xpcs_dask.jobs.identity import Files, Job, check_place, difference, files_of, finished, identity, record
from xpcs_dask.jobs.manifest import Manifest, manifest_path
from xpcs_dask.planning import lazy_results, sizes_of
from xpcs_dask.results.run import Unfinished
from xpcs_dask.results.streamed import by_group, move_store
from xpcs_dask.showing import shown
from xpcs_dask.streaming import pressure_on, stream_into

__all__ = ["NothingFitted", "Source", "carry_out", "check", "planned", "run"]

Results = xr.Dataset | xr.DataTree


class NothingFitted(NoUsableInputError):
    """No file or no curve was left to fit; `manifest` says what was rejected."""

    def __init__(self, message: str, manifest: Manifest) -> None:
        super().__init__(message)
        self.args, self.manifest = (message, manifest), manifest


def run(
    config: RunConfig | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    *,
    progress: bool | Listener = False,
    **settings: Any,
) -> Manifest:
    """Fit files into a store: the whole job, which goes on where an earlier call of it was stopped.

    Parameters
    ----------
    config : RunConfig, mapping or path, optional
        Settings of the job, or a YAML or JSON file with them; ``**settings`` are put on top.
    progress : bool or callable
        True draws bars on a terminal and writes text in a notebook; or what takes an `engine.events.State`.

    Returns
    -------
    Manifest
        Also beside the output as ``OUTPUT.manifest.json``. Of the earlier call if everything is done already.

    Raises
    ------
    ConfigError
        For settings that make no sense, before anything is opened.
    NoUsableInputError
        If no file or no curve is left to fit.
    OutputExistsError
        If the output, or unfinished work, has other settings or inputs, and ``overwrite`` is False.
    StoreLockedError, MemoryBudgetError, SchedulerError
        As `stream` and `plan`.

    Examples
    --------
    >>> run(inputs="results/*.hdf", output="fits.zarr", fit={"errors": "quoted"})  # doctest: +SKIP
    """
    with shown(progress) as listeners:
        return carry_out(make_config(config, **settings), listeners)[0]


def carry_out(config: RunConfig, listeners: Sequence[Listener] = ()) -> tuple[Manifest, bool]:
    """Do what `run` does; returns also whether anything had to be done."""
    check(config)
    account, monitor = Account(config), Monitor(listeners)
    try:
        source = Source(config, monitor.opening)
    except NoUsableInputError as error:
        refused = [{"file": bad.path, "reason": bad.reason} for bad in error.rejected]
        raise NothingFitted(str(error), account.nothing(files_of(config, (), refused))) from error
    files, output = source.files(), Path(config.output)
    job = identity(config, files, account.results_schema, account.fingerprint)
    if not config.overwrite:
        if (known := finished(output, job)) is not None:
            known.write(manifest_path(output))
            monitor.known(blocks=known.work.blocks, counts=known.counts.model_dump())
            return known, False
        _check_unfinished(output, job)
    try:
        manifest = _fitted(config, source, files, job, account, monitor)
    except NoUsableInputError as error:
        raise NothingFitted(str(error), account.nothing(files)) from error
    manifest.write(manifest_path(output))
    return manifest, True


def check(config: RunConfig) -> None:
    """Find what cannot work before a file is opened: parameters, scheduler, units, memory, the place of the output."""
    from xpcs_dask.cluster.spec import parse
    from xpcs_dask.fitting.models import resolve
    from xpcs_dask.io.open import check_arguments
    from xpcs_dask.io.reader import Told
    from xpcs_dask.io.schema import SCALARS

    if config.cached:
        Cache.of_environment()  # refuses a folder that others can write
    allowed(config.memory)
    resolve(config.model).box(None, config.fit.bounds, config.fit.fixed)
    parse(config.scheduler, config.cluster)
    check_arguments(include=config.include, told=Told(**config.told), included=SCALARS)
    check_place(Path(config.output), config.overwrite)


class Source:
    """The files of a job, as far as they can be used: one group of curves for each q-map and delay grid."""

    def __init__(self, config: RunConfig, progress: Callable[[int, int], None] | None = None) -> None:
        self.config = config
        self.data = self._opened(config.chunks, progress)

    def files(self) -> Files:
        """Say which files these are, and which were rejected."""
        groups = [group for group in by_group(self.data).values() if "content_hash" in group.variables]
        return files_of(self.config, groups, json.loads(self.data.attrs["rejected"]))

    def cut(self, rows: int) -> None:
        """Open them again in other blocks; what the files tell is kept from the first time that they were opened."""
        del self.data  # names and times of many files are not held twice; a tree is a cycle, which only gc finds
        gc.collect()
        self.data = self._opened(rows)

    def _opened(self, chunks: Any, progress: Callable[[int, int], None] | None = None) -> Results:
        from xpcs_dask.io.open import open_g2

        with small_names():
            return open_g2(
                self.config.inputs,
                chunks=chunks,
                include=self.config.include,
                on_error="skip",
                on_mismatch="split",
                progress=progress,
                **self.config.told,
            )


def planned(
    config: RunConfig, source: Source, connection: Connection, workers: int
) -> tuple[dict[str, xr.Dataset], Plan]:
    """Lazy results by group, in the blocks that memory allows, and the plan of it; blocks that were asked for stay."""
    budget = _budget(config, connection, workers)
    together, fixed = Path(config.output).suffix == ".nc", config.chunks != "auto"
    while True:
        with small_names():
            results = lazy_results(source.data, config.model, config.fit, config.bootstrap, cache=config.cached)
        sizes = list(sizes_of(source.data, results, config.fit, config.bootstrap).values())
        there = [max(found["status"].data.chunks[0]) for found in results.values()]
        plan = make_plan(sizes, workers, budget, together=together, rows=there if fixed else None)
        if list(plan.block_rows) == there:
            return results, plan
        del results
        source.cut(min(plan.block_rows))
        fixed = True


def _fitted(config: RunConfig, source: Source, files: Files, job: Job, account: Account, monitor: Monitor) -> Manifest:
    """Fit block by block where `config` says."""
    output, made = Path(config.output), list[Manifest]()
    cache = Cache.of_environment() if config.cached else None
    relieve = [cache.relieve] if cache else []
    with connect(config.scheduler, config.cluster) as connection, executor(connection) as (pool, workers):
        results, plan = planned(config, source, connection, asked(connection, workers()))

        def attributes() -> dict[str, str]:
            made.append(account.manifest(files, plan, monitor, remote=connection.remote))
            return record(made[0])

        try:
            stream_into(
                _tree(results),
                output,
                job,
                Hands(pool, pressure_on(connection.client, relieve).limited(workers)),
                overwrite=config.overwrite,
                monitor=monitor,
                nbytes=plan.input_bytes,
                attrs=attributes,
                place=move_store if output.suffix == ".zarr" else _as_netcdf,
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"what is finished is kept in {Unfinished(output).folder}") from None
    monitor.end()
    return made[0]


def _as_netcdf(store: Path, path: Path) -> None:
    from xpcs_dask.results import open_results, save

    save(open_results(store), path, overwrite=True)


def _check_unfinished(output: Path, job: Job) -> None:
    """Refuse to go on with unfinished work of other settings or inputs."""
    unfinished = Unfinished(output)
    head = unfinished.head() if unfinished.folder.exists() else None
    if head is not None and (differs := difference(head["job"], job)):
        raise OutputExistsError(str(unfinished.folder), f"{differs}; it is not finished")


def asked(connection: Connection, living: int) -> int:
    """Workers to plan for: those of a batch system come one after the other."""
    return max(living, (connection.workers or 0) if connection.kind in ("slurm", "pbs") else 0)


def _budget(config: RunConfig, connection: Connection, workers: int = 0) -> int:
    """Bytes that all tasks together may take, those of workers that are still to come too."""
    if config.memory is None and connection.client is not None:
        there = connection.client.scheduler_info(n_workers=-1)["workers"].values()
        found = of_workers(there)
        if found is not None:
            living = sum(worker["nthreads"] for worker in there)
            return found * max(workers, living) // living
    return allowed(config.memory)


def _tree(results: dict[str, xr.Dataset]) -> Results:
    """One Dataset as it is, several groups as a tree."""
    return results["/"] if list(results) == ["/"] else xr.DataTree.from_dict(results)
