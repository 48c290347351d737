"""``xpcs-dask view``: curves and fits in a browser, refitted there."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Annotated

import typer

from xpcs_dask.cli.exits import one_line_errors
from xpcs_dask.cli.options import Debug, DelayUnit, Entry, QUnit


@one_line_errors
def view(
    paths: Annotated[
        list[str],
        typer.Argument(help="A results store (and where its data are), or data: files, folders.", show_default=False),
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where it listens; 0 is any port that is free.")] = 0,
    host: Annotated[str, typer.Option(help="Address that it listens at.")] = "127.0.0.1",
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let --host be an address that others reach, without encryption.")
    ] = False,
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open it in a browser.")] = True,
    entry: Entry = "",
    delay_unit: DelayUnit = "",
    q_unit: QUnit = "",
    debug: Debug = False,
) -> None:
    """Look at curves and fits in a browser, and refit them with other settings, on this machine only."""
    from xpcs_dask.view.server import check_extra, check_host, serve
    from xpcs_dask.view.sources import open_all

    check_host(host, insecure)
    check_extra()
    files = 0

    def ready(address: str) -> None:
        typer.echo(f"Files: {files}\nAddress: {address}")
        sys.stdout.flush()
        typer.echo("Ctrl-C ends it.", err=True)
        if show and has_display():
            import webbrowser

            webbrowser.open(address)

    with contextlib.suppress(KeyboardInterrupt):  # nothing is lost when it ends early
        opened = open_all(paths, entry=entry, delay_unit=delay_unit, q_unit=q_unit)
        files = len(opened.entries)
        serve(opened, host=host, port=port, insecure=insecure, ready=ready)


def has_display() -> bool:
    """Whether a browser with windows can be opened: one of text would take the terminal."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
