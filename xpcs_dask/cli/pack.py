"""``xpcs-dask pack``: the curves of many files into one Zarr stack."""

from __future__ import annotations

import json
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpcs_dask.cli import report
from xpcs_dask.cli.exits import one_line_errors
from xpcs_dask.cli.groups import groups
from xpcs_dask.cli.options import (
    AsJson,
    Debug,
    DelayUnit,
    Entry,
    Paths,
    Progress,
    Quiet,
    QUnit,
    Scheduler,
    counting_files,
    progress_kind,
)
from xpcs_dask.errors import StrictError

if TYPE_CHECKING:
    from xpcs_dask.cli.groups import Results


@one_line_errors
def pack(
    paths: Paths,
    output: Annotated[Path, typer.Option("--output", "-o", help="Stack to write (Zarr).")] = Path("stack.zarr"),
    include: Annotated[
        list[str] | None, typer.Option(help="Further number of each file to keep; may be given again.")
    ] = None,
    entry: Entry = "",
    delay_unit: DelayUnit = "",
    q_unit: QUnit = "",
    scheduler: Scheduler = "threads",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Pack again and replace a stack.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 5 when a file was rejected.")] = False,
    as_json: AsJson = False,
    progress: Progress = "auto",
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Read the curves of all files once and write them as one stack, which is fitted like the files, but faster."""
    from xpcs_dask.cluster import connect
    from xpcs_dask.cluster.connect import parse
    from xpcs_dask.io.stack import check_place, is_stack, write_stack

    begun = time.perf_counter()
    parse(scheduler)
    check_place(output, overwrite or is_stack(output))
    with counting_files(progress, quiet) as advance:
        data = opened(paths, include=include or [], entry=entry, delay_unit=delay_unit, q_unit=q_unit, progress=advance)
    if not overwrite and is_stack(output) and is_same(output, data):
        if not quiet:
            typer.echo(f"{output} holds these files as they are; nothing to do", err=True)
    else:
        with connect(scheduler), bar(progress_kind(progress, quiet) == "bar"):
            write_stack(data, output, overwrite=overwrite)
    result = described(data, output, begun)
    typer.echo(report.as_json(result) if as_json else report.as_lines(result))
    if strict and result["rejected"]:
        raise StrictError(f"{len(result['rejected'])} files were rejected")


def opened(paths: list[str], **opening: Any) -> Results:
    """All files that can be used: one series, or where they make several a tree of them."""
    from xpcs_dask.errors import MismatchError
    from xpcs_dask.io.open import open_g2

    try:
        return open_g2(paths, on_error="skip", **opening)
    except MismatchError:
        return open_g2(paths, on_error="skip", on_mismatch="split", **opening)


def is_same(output: Path, data: Results) -> bool:
    """Whether a stack was packed from the same files in the same state, and opening it tells the same."""
    import xarray as xr

    from xpcs_dask.errors import FileRejected
    from xpcs_dask.io.stack import inputs_of, open_stack, packed_from

    try:
        there = open_stack(output)
    except FileRejected:
        return False
    if packed_from(output) != inputs_of(data) or type(there) is not type(data):
        return False
    trees = [xr.DataTree(item) if isinstance(item, xr.Dataset) else item for item in (there, data)]
    known, new = ({node.path: _described(node.to_dataset(inherit=False)) for node in tree.subtree} for tree in trees)
    return known.keys() == new.keys() and all(known[name].identical(new[name]) for name in new)


def _described(data: Any) -> Any:
    return data.drop_vars(list(data.data_vars))


def bar(shown: bool) -> Any:
    """Progress of the blocks on stderr."""
    from dask.diagnostics import ProgressBar

    return ProgressBar(out=sys.stderr) if shown else nullcontext()


def described(data: Results, output: Path, begun: float) -> report.Report:
    """Count what was packed."""
    from importlib.metadata import version

    found = groups(data, "g2")
    return {
        "files": sum(group.sizes["file"] for group in found),
        "curves": sum(group["g2"].isel(delay=0).size for group in found),
        "groups": len(found),
        "rejected": json.loads(data.attrs["rejected"]),
        "bytes": sum(item.stat().st_size for item in output.rglob("*") if item.is_file()),
        "seconds": round(time.perf_counter() - begun, 3),
        "output": str(output),
        "version": version("xpcs-dask"),
    }
