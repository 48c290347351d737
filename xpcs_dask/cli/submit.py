"""``xpcs-dask submit``: what ``fit`` or ``run`` would do, in a job of a batch system."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpcs_dask.cli import report
from xpcs_dask.cli.exits import one_line_errors
from xpcs_dask.cli.fit_options import job_of, with_fit_options
from xpcs_dask.cli.options import AsJson, Cluster, Debug, cluster_settings
from xpcs_dask.errors import ConfigError

if TYPE_CHECKING:
    from xpcs_dask.config import RunConfig

BESIDE_A_FILE = ("paths", "output", "overwrite")
"""Options that go with ``--config``, as with ``run``."""


@one_line_errors
@with_fit_options(without=("paths", "scheduler", "cluster"))
def submit(
    options: dict[str, Any],
    context: typer.Context,
    paths: Annotated[
        list[str] | None, typer.Argument(help="Result files, folders or patterns.", show_default=False)
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="YAML or JSON file with settings, instead of options; as for run.", show_default=False),
    ] = None,
    profile: Annotated[str, typer.Option(help="slurm, pbs, slurm:NAME or pbs:NAME.")] = "slurm",
    mode: Annotated[
        str, typer.Option(help="allocation: one job holds everything; workers: the job asks for worker jobs.")
    ] = "allocation",
    nodes: Annotated[int | None, typer.Option(help="Nodes of the allocation.", show_default=False)] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes in all.", show_default=False)] = None,
    walltime: Annotated[str, typer.Option(help="HH:MM:SS of one job.", show_default=False)] = "",
    queue: Annotated[str, typer.Option(help="Partition or queue.", show_default=False)] = "",
    account: Annotated[str, typer.Option(help="Who pays.", show_default=False)] = "",
    cluster: Cluster = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the script; write and submit nothing.")] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Submit the fit as a job: the same results, and it goes on by itself after its walltime."""
    from xpcs_dask.cluster.profile import read_profile
    from xpcs_dask.jobs import submission

    given = {"nodes": nodes, "workers": workers, "walltime": walltime, "queue": queue, "account": account}
    changes = {**cluster_settings(cluster), **{name: value for name, value in given.items() if value}}
    asked, job = read_profile(profile, changes), _job({"paths": paths or [], **options}, config, context)
    if dry_run:
        typer.echo(submission.script_of(job, asked, mode), nl=False)
        return
    made = submission.submit(job, asked, mode)
    said = {"job": made.ids[0], "mode": made.mode, "output": made.output, "folder": made.folder}
    typer.echo(report.as_json(said) if as_json else report.as_lines(said))


def _job(options: dict[str, Any], config: Path | None, context: typer.Context) -> RunConfig:
    if config is None:
        if not options["paths"]:
            raise ConfigError("nothing to fit was named; give result files, folders or patterns, or --config run.yaml")
        return job_of(**options)
    from xpcs_dask.jobs import read_config

    told = [name for name in options if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"]
    if other := [name for name in told if name not in BESIDE_A_FILE]:
        raise ConfigError(f"--{other[0].replace('_', '-')} does not go with --config; write it into {config}")
    beside = {"inputs": options["paths"], "output": options["output"], "overwrite": True}
    names = {"paths": "inputs"}
    return read_config(config, **{names.get(name, name): beside[names.get(name, name)] for name in told})
