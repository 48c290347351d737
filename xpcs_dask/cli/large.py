"""A fit that is written block by block, because its input is large or because it was begun that way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from xpcs_dask.cli import finished
from xpcs_dask.errors import OutputExistsError

if TYPE_CHECKING:
    import xarray as xr

    from xpcs_dask.cli.groups import Results
    from xpcs_dask.cli.job import Request
    from xpcs_dask.cluster import Connection
    from xpcs_dask.engine.plan import Plan

Counts = dict[str, Any]
LONG = 20_000_000
"""Refits that take so long that a run of so many should be able to go on after a stop."""
Open: TypeAlias = "Callable[[Request], Results]"


def is_large(request: Request, data: Results) -> bool:
    """Whether the results are to be written block by block: asked for, begun so, or by the size of the input."""
    from xpcs_dask.cli.groups import groups
    from xpcs_dask.engine.plan import mode_of

    if request.output.suffix != ".zarr":
        return False
    if request.memory is not None or _folder(request.output).exists():
        return True
    found = groups(data, "g2")
    if request.bootstrap is not None:
        from xpcs_dask.planning import refits

        curves = sum(group["g2"].size // max(group.sizes["delay"], 1) for group in found)
        if curves * refits(request.bootstrap) > LONG:
            return True
    return mode_of(sum(_read(group) for group in found)) != "standard"


def check_unfinished(request: Request, job: finished.Job) -> None:
    """Refuse to go on with unfinished work of other settings or inputs."""
    if request.overwrite or not _folder(request.output).exists():
        return
    from xpcs_dask.results.run import Unfinished

    head = Unfinished(request.output).head()
    if head is not None and (difference := finished.difference(head["job"], job)):
        raise OutputExistsError(str(_folder(request.output)), f"{difference}; it is not finished")


def run_large(
    request: Request, data: Results, opened: Open, job: finished.Job, report: Callable[[Counts], dict[str, Any]]
) -> dict[str, Any]:
    """Fit block by block where `request` says; returns the report that `report` makes of the counts."""
    from xpcs_dask.cli import progress
    from xpcs_dask.cluster import connect
    from xpcs_dask.cluster.executor import executor
    from xpcs_dask.engine.stream import Hands
    from xpcs_dask.streaming import stream_into

    made: dict[str, Any] = {}

    def attributes(counts: Counts) -> dict[str, str]:
        made.update(report(counts))
        return finished.record(job, made)

    with connect(request.scheduler) as connection, executor(connection) as (pool, workers):
        results, plan = planned(request, data, opened, connection, workers())
        with progress.bar(plan.curves, request.progress) as advance:
            try:
                stream_into(
                    as_tree(results),
                    request.output,
                    job,
                    Hands(pool, workers),
                    overwrite=request.overwrite,
                    advance=advance,
                    attrs=attributes,
                )
            except KeyboardInterrupt:
                raise KeyboardInterrupt(f"what is finished is kept in {_folder(request.output)}") from None
    return made


def planned(
    request: Request, data: Results, opened: Open, connection: Connection, workers: int
) -> tuple[dict[str, xr.Dataset], Plan]:
    """Lazy results by group, in the blocks that memory allows, and the plan of it; blocks that were asked for stay."""
    from xpcs_dask.engine.plan import make_plan
    from xpcs_dask.planning import lazy_results, sizes_of

    budget = budget_of(request.memory, connection)
    together = None if request.output.suffix == ".zarr" and request.memory is None else request.output.suffix == ".nc"
    results = lazy_results(data, request.model, request.config, request.bootstrap, cache=request.cache)
    sizes = list(sizes_of(data, results, request.config, request.bootstrap).values())
    there, fixed = [max(found["status"].data.chunks[0]) for found in results.values()], request.chunks != "auto"
    plan = make_plan(sizes, workers, budget, together=together, rows=there if fixed else None)
    if list(plan.block_rows) == there:
        return results, plan
    # What the files tell is kept from the first time they were opened.
    again = replace(request, chunks=min(plan.block_rows))
    return planned(again, opened(again), opened, connection, workers)


def as_tree(results: dict[str, xr.Dataset]) -> Results:
    """One Dataset as it is, several groups as a tree."""
    import xarray as xr

    return results["/"] if list(results) == ["/"] else xr.DataTree.from_dict(results)


def budget_of(memory: int | None, connection: Connection) -> int:
    """Bytes that all tasks together may take."""
    from xpcs_dask.engine.budget import available, of_workers

    if memory is not None:
        return memory
    if connection.client is not None:
        found = of_workers(connection.client.scheduler_info(n_workers=-1)["workers"].values())
        if found is not None:
            return found
    return available()


def _read(group: xr.Dataset) -> int:
    return sum(int(group[name].nbytes) for name in ("g2", "g2_err", "g2_cluster") if name in group)


def _folder(output: Path) -> Path:
    return output.with_name(f"{output.name}.unfinished")
