"""``xpcs-dask fit``: files in, every curve fitted, one store out."""

from __future__ import annotations

from typing import Any

from xpcs_dask.cli.exits import one_line_errors
from xpcs_dask.cli.fit_options import job_of, with_fit_options
from xpcs_dask.cli.options import AsJson, Debug, Progress, Quiet, Report, Strict
from xpcs_dask.cli.run import carry_out


@one_line_errors
@with_fit_options()
def fit(
    options: dict[str, Any],
    strict: Strict = False,
    report: Report = False,
    as_json: AsJson = False,
    progress: Progress = "auto",
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fit every curve of the files and write one results store."""
    carry_out(job_of(**options), progress=progress, quiet=quiet, as_json=as_json, strict=strict, page=report)
