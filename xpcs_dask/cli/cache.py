"""``xpcs-dask cache``: what is kept of earlier fits, and how to get rid of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from xpcs_dask.cli import report
from xpcs_dask.cli.exits import one_line_errors
from xpcs_dask.cli.options import AsJson, Debug
from xpcs_dask.errors import ConfigError

if TYPE_CHECKING:
    from xpcs_dask.engine.cache import Cache

cache = typer.Typer(no_args_is_help=True, help="Show or remove what is kept of earlier fits.")


@cache.command()
@one_line_errors
def info(as_json: AsJson = False, debug: Debug = False) -> None:
    """Say where fits are kept, how many files' fits there are, and how often they were used."""
    show(asdict(opened().info()), as_json)


@cache.command()
@one_line_errors
def clear(as_json: AsJson = False, debug: Debug = False) -> None:
    """Remove all fits that are kept; anything else in the folder is left alone."""
    found = opened()
    entries, nbytes = found.clear()
    show({"folder": str(found.folder), "removed": entries, "removed_bytes": nbytes}, as_json)


@cache.command()
@one_line_errors
def prune(
    limit: Annotated[
        str, typer.Option(help="Bytes that may stay, such as 500MB; default: the limit.", show_default=False)
    ] = "",
    unused: Annotated[
        float | None, typer.Option(min=0, help="Days without use after which fits are removed.", show_default=False)
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Remove the fits that were used least recently, until the rest is below a size."""
    from xpcs_dask.engine.budget import parse_bytes

    try:
        most = parse_bytes(limit) if limit else None
    except ConfigError:
        raise ConfigError(f"--limit takes a size such as 500MB or 1GiB; got '{limit}'") from None
    found = opened()
    entries, nbytes = found.prune(most, unused)
    left = list(found.entries())
    show(
        {
            "folder": str(found.folder),
            "removed": entries,
            "removed_bytes": nbytes,
            "entries": len(left),
            "bytes": sum(entry.nbytes for entry in left),
        },
        as_json,
    )


def opened() -> Cache:
    """Return the cache of this user; refuses a folder that is not private."""
    from xpcs_dask.engine.cache import Cache

    found = Cache.of_environment()
    if found is None:
        raise ConfigError("XPCS_CACHE_DIR is 'off': nothing is kept; unset it, or let it name a folder")
    return found


def show(record: report.Report, as_json: bool) -> None:
    """Print one JSON object, or lines."""
    typer.echo(report.as_json(record) if as_json else report.as_lines(record))
