"""The program ``xpcs-dask`` and its verbs."""

from __future__ import annotations

import logging
import signal
from typing import Annotated

import typer

from xpcs_dask.cli.average import average
from xpcs_dask.cli.cache import cache
from xpcs_dask.cli.cancel import cancel
from xpcs_dask.cli.compare import compare
from xpcs_dask.cli.demo import demo
from xpcs_dask.cli.dispersion import dispersion
from xpcs_dask.cli.export import export
from xpcs_dask.cli.fit import fit
from xpcs_dask.cli.info import info
from xpcs_dask.cli.logs import logs
from xpcs_dask.cli.pack import pack
from xpcs_dask.cli.plan import plan
from xpcs_dask.cli.regroup import regroup
from xpcs_dask.cli.report_page import report
from xpcs_dask.cli.run import run
from xpcs_dask.cli.schema import schema
from xpcs_dask.cli.simulate import simulate
from xpcs_dask.cli.status import status
from xpcs_dask.cli.submit import submit
from xpcs_dask.cli.view import view

app = typer.Typer(
    name="xpcs-dask",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Fit XPCS correlation curves: files in, every curve fitted, results out.",
)
app.command()(info)
app.command()(plan)
app.command()(fit)
app.command()(run)
app.command()(submit)
app.command()(status)
app.command()(logs)
app.command()(cancel)
app.command()(schema)
app.command()(average)
app.command()(pack)
app.command()(regroup)
app.command()(export)
app.command()(dispersion)
app.command()(compare)
app.command()(report)
app.command()(view)
app.command()(simulate)
app.command()(demo)
app.add_typer(cache, name="cache")


def version_and_exit(asked: bool) -> None:
    """Print the version when it was asked for."""
    if asked:
        from importlib.metadata import version

        typer.echo(f"xpcs-dask {version('xpcs-dask')}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", callback=version_and_exit, is_eager=True, help="Print the version.")
    ] = False,
    log: Annotated[
        str, typer.Option("--log", help="What is logged on stderr: debug, info, warning or error.")
    ] = "warning",
) -> None:
    """Fit XPCS correlation curves: files in, every curve fitted, results out."""
    level = logging.getLevelNamesMapping().get(log.upper())
    if level is None:
        raise typer.BadParameter(f"'{log}' is none of debug, info, warning, error", param_hint="--log")
    handler = logging.StreamHandler()
    # Others set levels of their own when they are imported.
    handler.addFilter(lambda said: said.levelno >= (level if said.name.startswith("xpcs_dask") else logging.WARNING))
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", handlers=[handler])
    if level < logging.WARNING:
        logging.getLogger("xpcs_dask").setLevel(level)


def main() -> None:
    """Run the command line; being asked to stop (SIGTERM) is treated like Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app()
