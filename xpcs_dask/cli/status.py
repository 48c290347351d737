"""``xpcs-dask status``: how a submitted job is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from xpcs_dask.cli import report
from xpcs_dask.cli.exits import one_line_errors
from xpcs_dask.cli.options import AsJson, Debug

if TYPE_CHECKING:
    from xpcs_dask.jobs.progress import JobStatus

Store: TypeAlias = Annotated[
    Path, typer.Argument(help="Output of a submitted job, or the folder of the job.", show_default=False)
]


@one_line_errors
def status(store: Store, as_json: AsJson = False, debug: Debug = False) -> None:
    """Say how a submitted job is, and how far."""
    from xpcs_dask.jobs import progress, submission

    found = progress.status(submission.find_submission(store))
    typer.echo(report.as_json(found.model_dump(mode="json")) if as_json else lines(found))


def lines(found: JobStatus) -> str:
    """Stable ``Key: value`` lines; what is not known has none."""
    told = {
        "Job": found.job,
        "State": found.state,
        "Said": found.said,
        "Exit code": found.exit_code,
        "Blocks": None if found.blocks is None else f"{found.blocks_done} of {found.blocks}",
        "Jobs": ", ".join(found.jobs) if len(found.jobs) > 1 else None,
        "Output": found.output,
        "Manifest": found.manifest,
        "Log": found.log,
    }
    tail = [f"Log tail: {line}" for line in found.log_tail]
    return "\n".join([f"{key}: {value}" for key, value in told.items() if value is not None] + tail)
