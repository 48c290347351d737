"""``xpcs-dask plan``: how a fit would be cut, and what memory and time it would take, before anything runs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from xpcs_dask.cli import report
from xpcs_dask.cli.exits import one_line_errors
from xpcs_dask.cli.options import AsJson, Debug, DelayUnit, Entry, Memory, Paths, QUnit, Scheduler, block_files


@one_line_errors
def plan(
    paths: Paths,
    model: Annotated[str, typer.Option(help="Model, such as simple, single or double.")] = "single",
    bootstrap: Annotated[int, typer.Option(min=0, help="Refits of each curve.")] = 0,
    errors: Annotated[str, typer.Option(help="auto, smoothed, quoted (those of the files) or none.")] = "auto",
    covariance: Annotated[str, typer.Option(help="auto, theory, hc3, wald or scaled.")] = "auto",
    detail: Annotated[str, typer.Option(help="core, or full with covariance and criteria.")] = "core",
    entry: Entry = "",
    delay_unit: DelayUnit = "",
    q_unit: QUnit = "",
    scheduler: Scheduler = "threads",
    chunks: Annotated[str, typer.Option(help="auto, or files in one block.")] = "auto",
    memory: Memory = "",
    probe: Annotated[bool, typer.Option("--probe/--no-probe", help="Fit for a second to tell the time.")] = True,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say how a fit of the files would be cut into blocks, and what memory and time it would take."""
    from xpcs_dask.cluster import connect
    from xpcs_dask.cluster.executor import executor
    from xpcs_dask.config import BootstrapConfig, FitConfig, RunConfig
    from xpcs_dask.jobs.job import Source, asked, check, planned
    from xpcs_dask.planning import seconds

    job = RunConfig.make(
        inputs=tuple(paths),
        model=model,
        fit=FitConfig.make(errors=errors, covariance=covariance, detail=detail),
        bootstrap=BootstrapConfig.make(resamples=bootstrap) if bootstrap else None,
        scheduler=scheduler,
        chunks=block_files(chunks),
        entry=entry,
        delay_unit=delay_unit,
        q_unit=q_unit,
        memory=memory or None,
    )
    check(job)
    with connect(job.scheduler, job.cluster) as connection, executor(connection) as (_, workers):
        results, found = planned(job, Source(job), connection, asked(connection, workers()))
        time = {"seconds": round(seconds(results, found.workers), 1)} if probe else {}
    described = asdict(found) | {"block_rows": list(found.block_rows)} | time
    typer.echo(report.as_json(described) if as_json else lines(described))


def lines(described: dict[str, Any]) -> str:
    """``Key: value`` lines; bytes with separators, so that they can be read."""
    shown = {name: f"{value:,}" if name.endswith("_bytes") else value for name, value in described.items()}
    return report.as_lines(shown | {"block_rows": ", ".join(map(str, described["block_rows"]))})
