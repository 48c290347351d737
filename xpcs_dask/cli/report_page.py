"""``xpcs-dask report``: an HTML page about a store, or an index over several."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from xpcs_dask.cli import report as printed
from xpcs_dask.cli.exits import one_line_errors
from xpcs_dask.cli.options import AsJson, Debug
from xpcs_dask.errors import ConfigError, StrictError


@one_line_errors
def report(
    stores: Annotated[
        list[Path], typer.Argument(help="Results of a fit (.zarr or .nc); several for an index.", show_default=False)
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Page to write; default: STORE.report.html, or index.html.", show_default=False
        ),
    ] = None,
    index: Annotated[bool, typer.Option("--index", help="Write an index, of one store too.")] = False,
    data: Annotated[
        list[str] | None,
        typer.Option(help="File with the curves, if it is not where it was; may be given again.", show_default=False),
    ] = None,
    title: Annotated[str, typer.Option(help="Heading.", show_default=False)] = "",
    law: Annotated[str, typer.Option(help="Of tau(q): diffusion, diffusion+constant or diffusion+flow.")] = "diffusion",
    figures: Annotated[bool, typer.Option("--figures/--no-figures", help="Whether anything is drawn.")] = True,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 5 when a run of an index cannot be read.")
    ] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write an HTML page about results: what was fitted, how well, what to distrust, figures, tables, the command."""
    settings: dict[str, Any] = {"law": law, "figures": figures}
    if len(stores) > 1 or index:
        if data:
            raise ConfigError("--data goes with one store; without it each report opens the files that its store names")
        said, problems = _index(stores, output or Path("index.html"), title, settings)
    else:
        said, problems = _page(stores[0], output, {**settings, "data": data, "title": title or None}), 0
    typer.echo(printed.as_json(said) if as_json else printed.as_lines(said))
    if strict and problems:
        raise StrictError(f"{problems} of {len(stores)} runs cannot be read")


def _page(store: Path, output: Path | None, settings: dict[str, Any]) -> printed.Report:
    from xpcs_dask.reporting import report as write
    from xpcs_dask.reporting import report_path

    page = write(store, output or report_path(store), **settings)
    return {"report": str(page), "bytes": page.stat().st_size, **_version()}


def _index(stores: list[Path], output: Path, title: str, settings: dict[str, Any]) -> tuple[printed.Report, int]:
    from xpcs_dask.reporting import index

    page, runs = index(stores, output, title=title or None, **settings)
    problems = [{"file": one.given, "reason": one.problem} for one in runs if one.problem]
    return {"index": str(page), "runs": len(runs) - len(problems), "rejected": problems, **_version()}, len(problems)


def _version() -> dict[str, str]:
    from importlib.metadata import version

    return {"version": version("xpcs-dask")}
