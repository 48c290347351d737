"""``xpcs-dask logs``: what a submitted job has written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xpcs_dask.cli.exits import one_line_errors
from xpcs_dask.cli.options import Debug
from xpcs_dask.cli.status import Store
from xpcs_dask.errors import ConfigError


@one_line_errors
def logs(
    store: Store,
    lines: Annotated[int, typer.Option(min=1, help="How many of the last lines.")] = 50,
    of: Annotated[str, typer.Option(help="job, workers or scheduler.")] = "job",
    debug: Debug = False,
) -> None:
    """Print the last lines of a submitted job's log."""
    from xpcs_dask.cluster.batch import log_tail
    from xpcs_dask.jobs.submission import find_submission

    folder = Path(find_submission(store).folder)
    if of not in ("job", "workers", "scheduler"):
        raise ConfigError(f"--of takes job, workers or scheduler; got '{of}'")
    log = folder / f"{of}.log"
    if log.exists():
        typer.echo(log_tail(log, lines))
    else:
        typer.echo(f"nothing is written yet: there is no {log}", err=True)
