"""``xpcs-dask cancel``: end a submitted job; what is finished of it is kept."""

from __future__ import annotations

import typer

from xpcs_dask.cli import report
from xpcs_dask.cli.exits import one_line_errors
from xpcs_dask.cli.options import AsJson, Debug
from xpcs_dask.cli.status import Store


@one_line_errors
def cancel(store: Store, as_json: AsJson = False, debug: Debug = False) -> None:
    """End a submitted job, and let none go on; submitted again, it goes on where it was."""
    from xpcs_dask.jobs import submission

    ended = submission.cancel(submission.find_submission(store))
    if as_json:
        typer.echo(report.as_json({"cancelled": ended}))
    else:
        typer.echo(f"Cancelled: {', '.join(ended) or 'none'}")
