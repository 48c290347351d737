"""``xpcs-dask schema``: what settings files and manifests hold, as JSON schemas."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from xpcs_dask.cli.exits import one_line_errors
from xpcs_dask.cli.options import Debug
from xpcs_dask.errors import ConfigError


@one_line_errors
def schema(
    of: Annotated[str, typer.Argument(help="run (settings of a job) or manifest (what a finished job says).")],
    debug: Debug = False,
) -> None:
    """Print a JSON schema."""
    from pydantic import BaseModel

    from xpcs_dask.config import RunConfig
    from xpcs_dask.jobs import Manifest

    known: dict[str, type[BaseModel]] = {"run": RunConfig, "manifest": Manifest}
    if of not in known:
        raise ConfigError(f"there is no schema of '{of}'; known are {', '.join(known)}")
    typer.echo(json.dumps(known[of].model_json_schema(), indent=1))
