"""``xpcs-dask regroup``: sums of every pixel into g2 of any bins, with clusters beside it, as one Zarr stack."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpcs_dask.cli import report
from xpcs_dask.cli.exits import one_line_errors
from xpcs_dask.cli.groups import groups
from xpcs_dask.cli.options import (
    AsJson,
    Debug,
    Paths,
    Progress,
    Quiet,
    Scheduler,
    counting_files,
    listening,
)
from xpcs_dask.errors import OutputExistsError, StrictError

if TYPE_CHECKING:
    from xpcs_dask.physics.regroup_store import Regrouping


@one_line_errors
def regroup(
    paths: Paths,
    output: Annotated[Path, typer.Option("--output", "-o", help="Stack to write (Zarr).")] = Path("stack.zarr"),
    by: Annotated[str, typer.Option(help="What a cluster is: pixel, segment or static.")] = "segment",
    segments: Annotated[int, typer.Option(help="Clusters of each bin, for segment.")] = 16,
    kind: Annotated[str, typer.Option(help="linear: values that average to g2; ratio: each cluster's own.")] = "linear",
    qmap: Annotated[
        Path | None, typer.Option(help="File with other bins: a q-map, or results that carry one.", show_default=False)
    ] = None,
    memory: Annotated[
        str, typer.Option(help="Memory that it may take, such as 1GiB; default: what is free.", show_default=False)
    ] = "",
    scheduler: Scheduler = "threads",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do it again and replace a stack.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 5 when a file was rejected.")] = False,
    as_json: AsJson = False,
    progress: Progress = "auto",
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Make g2 of pixels, segments or other q bins from the sums that boost-corr keeps with save_G2."""
    from xpcs_dask.cluster import connect
    from xpcs_dask.cluster.connect import parse
    from xpcs_dask.cluster.executor import executor
    from xpcs_dask.engine.budget import parse_bytes
    from xpcs_dask.engine.events import State
    from xpcs_dask.engine.stream import Hands
    from xpcs_dask.io.stack import check_place, is_stack
    from xpcs_dask.physics.regroup_store import regrouping, write

    begun = time.perf_counter()
    parse(scheduler)
    budget = parse_bytes(memory) if memory else None
    check_place(output, overwrite or is_stack(output))
    made: Any = {"by": by, "segments": segments, "kind": kind, "qmap": qmap, "on_error": "skip"}
    with connect(scheduler) as connection, executor(connection) as (pool, workers):
        with counting_files(progress, quiet) as opening:
            work = regrouping(paths, **made, memory=budget, workers=workers(), progress=opening)
        if not overwrite and is_stack(output):
            check_same(output, work)
            if not quiet:
                typer.echo(f"{output} was made from these files as they are; nothing to do", err=True)
        else:
            with listening(progress, quiet) as listeners:

                def advance(done: int) -> None:
                    elapsed = round(time.perf_counter() - begun, 3)
                    state = State(stage="regrouping", bytes_read=done, bytes=total, elapsed=elapsed)
                    for listener in listeners:
                        listener(state)

                total = work.nbytes
                _, work = write(
                    work, output, Hands(pool, workers), overwrite=overwrite, on_error="skip", advance=advance
                )
    result = described(work, output, begun)
    typer.echo(report.as_json(result) if as_json else report.as_lines(result))
    if strict and result["rejected"]:
        raise StrictError(f"{len(result['rejected'])} files were rejected")


def check_same(output: Path, work: Regrouping) -> None:
    """Refuse a stack that was made from other files or with other settings."""
    from xpcs_dask.io.stack import inputs_of, open_stack, packed_from

    there, new = open_stack(output), work.result()
    for name, what in (("regrouped", "other settings, or by pack"), ("qmap", "another q-map")):
        known = {group.attrs.get(name) for group in groups(there, "g2")}
        if known != {group.attrs.get(name) for group in groups(new, "g2")}:
            raise OutputExistsError(str(output), what)
    before, now = ({_state(item) for item in listed} for listed in (packed_from(output), inputs_of(new)))
    if before != now:
        example = min(str(state[0]) for state in before ^ now)
        raise OutputExistsError(str(output), f"other files, or an earlier state of them ({example})")


def _state(item: dict[str, Any]) -> tuple[Any, ...]:
    """File, size and time of modification: whether a file is damaged inside shows only when all of it is read."""
    return item["file"], item.get("size"), item.get("modified")


def described(work: Regrouping, output: Path, begun: float) -> report.Report:
    """Count what was regrouped."""
    from importlib.metadata import version

    seconds = time.perf_counter() - begun
    found = [part.data.sizes for part in work.parts.values()]
    return {
        "files": sum(sizes["file"] for sizes in found),
        "curves": sum(sizes["file"] * sizes["qbin"] for sizes in found),
        "clusters": sum(sum(sums.clusters()) for part in work.parts.values() for sums in part.sums),
        "groups": len(found),
        "rejected": json.loads(work.attrs["rejected"]),
        "sums_bytes": work.nbytes,
        "bytes": sum(item.stat().st_size for item in output.rglob("*") if item.is_file()),
        "seconds": round(seconds, 3),
        "output": str(output),
        "version": version("xpcs-dask"),
    }
