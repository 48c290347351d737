"""``xpcs-dask run``: a job that a file describes; and what `run` and `fit` print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xpcs_dask.cli import report
from xpcs_dask.cli.exits import one_line_errors
from xpcs_dask.cli.options import (
    Again,
    AsJson,
    Cluster,
    Debug,
    Progress,
    Quiet,
    Report,
    Strict,
    cluster_settings,
    listening,
)

if TYPE_CHECKING:
    from xpcs_dask.config import RunConfig


@one_line_errors
def run(
    config: Annotated[Path, typer.Argument(help="YAML or JSON file with settings; see xpcs-dask schema run.")],
    inputs: Annotated[
        list[str] | None, typer.Argument(help="Files, folders or patterns instead of those in it.", show_default=False)
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", help="Store to write instead of the one in it.", show_default=False)
    ] = "",
    scheduler: Annotated[
        str, typer.Option(help="Where it runs instead of what the file says, as with fit.", show_default=False)
    ] = "",
    cluster: Cluster = None,
    overwrite: Again = False,
    strict: Strict = False,
    page: Report = False,
    as_json: AsJson = False,
    progress: Progress = "auto",
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fit the files that a settings file names into the store that it names."""
    from xpcs_dask.config import RunConfig
    from xpcs_dask.jobs import read_config

    given = {"inputs": inputs, "output": output, "scheduler": scheduler, "overwrite": overwrite}
    job = read_config(config, **{name: value for name, value in given.items() if value})
    if cluster:
        job = RunConfig.make(job, cluster={**job.cluster, **cluster_settings(cluster)})
    carry_out(job, progress=progress, quiet=quiet, as_json=as_json, strict=strict, page=page)


def carry_out(job: RunConfig, *, progress: str, quiet: bool, as_json: bool, strict: bool, page: bool = False) -> None:
    """Run a job and print what it says; `page` writes a report beside the store too."""
    from xpcs_dask import jobs
    from xpcs_dask.errors import StrictError
    from xpcs_dask.jobs.job import NothingFitted

    try:
        with listening(progress, quiet) as listeners:
            manifest, made = jobs.carry_out(job, listeners)
    except NothingFitted as nothing:
        if as_json:
            typer.echo(report.as_json(report.of_manifest(nothing.manifest)))
        raise
    if not made and not quiet:
        typer.echo(f"{job.output} is finished with these settings and inputs; nothing to do", err=True)
    said = report.of_manifest(manifest)
    if page:
        from xpcs_dask.reporting import report as write
        from xpcs_dask.reporting import report_path

        said["report"] = str(write(job.output, report_path(job.output)))
    typer.echo(report.as_json(said) if as_json else report.as_lines(said))
    if strict and (manifest.rejected or manifest.counts.failed):
        raise StrictError(f"{len(manifest.rejected)} files were rejected and {manifest.counts.failed} curves failed")
