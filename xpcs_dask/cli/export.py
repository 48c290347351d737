"""``xpcs-dask export``: results of a fit as NetCDF, CSV, Parquet or NeXus."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xpcs_dask.cli import report
from xpcs_dask.cli.exits import one_line_errors
from xpcs_dask.cli.options import AsJson, Debug


@one_line_errors
def export(
    store: Annotated[Path, typer.Argument(help="Results of a fit (.zarr or .nc).", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="New file: .nc, .csv, .parquet, .nxs or .hdf.", show_default=False)
    ],
    format: Annotated[
        str | None, typer.Option(help="netcdf, csv, parquet or nexus; told by the ending.", show_default=False)
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(help="Result file that was fitted; the output is a copy of it with its fits.", show_default=False),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export, nothing else.")] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write results for other programs: all of them (.nc), a table (.csv, .parquet) or NeXus (.nxs, .hdf)."""
    from importlib.metadata import version

    from xpcs_dask.io.export import export as write
    from xpcs_dask.io.export import format_of

    chosen = format_of(output, format)
    write(store, output, format=chosen, into=into, overwrite=overwrite)
    result = {
        "format": chosen,
        "bytes": output.stat().st_size,
        **({} if into is None else {"copy_of": str(into)}),
        "output": str(output),
        "version": version("xpcs-dask"),
    }
    typer.echo(report.as_json(result) if as_json else report.as_lines(result))
