"""``xpcs-dask info``: what each file holds, and why one cannot be fitted."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from xpcs_dask.cli.exits import one_line_errors
from xpcs_dask.cli.groups import groups
from xpcs_dask.cli.options import AsJson, Debug, DelayUnit, Entry, Paths, Progress, QUnit, counting_files

if TYPE_CHECKING:
    from xpcs_dask.io.index import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """One file, as `info` lists it."""

    file: str
    format: str = ""
    curves: int = 0
    delays: int = 0
    q_range: tuple[float, float] | None = None
    """1/angstrom"""
    frame_time: float | None = None
    """s"""
    frames: int | None = None
    """Frames correlated, after stride and averaging; None where the file does not tell."""
    holds: tuple[str, ...] = ()
    reason: str = ""
    """Why it cannot be fitted; empty if it can."""


@one_line_errors
def info(
    paths: Paths,
    entry: Entry = "",
    delay_unit: DelayUnit = "",
    q_unit: QUnit = "",
    as_json: AsJson = False,
    progress: Progress = "auto",
    debug: Debug = False,
) -> None:
    """List what each file holds, and which files cannot be fitted and why."""
    from importlib.metadata import version

    from xpcs_dask.errors import NoUsableInputError
    from xpcs_dask.io.open import check_arguments
    from xpcs_dask.io.reader import Told

    check_arguments(told=Told(entry, delay_unit, q_unit))
    with counting_files(progress) as advance:
        found = describe_files(paths, advance, entry=entry, delay_unit=delay_unit, q_unit=q_unit)
    if as_json:
        typer.echo(json.dumps({"files": [asdict(item) for item in found], "version": version("xpcs-dask")}))
    else:
        show(found)
    if all(item.reason for item in found):
        raise NoUsableInputError(f"none of {len(found)} files can be fitted; each reason is listed")


def describe_files(
    paths: Sequence[str], progress: Callable[[int, int], None] | None = None, **told: str
) -> list[Description]:
    """Look into every file that `paths` name; a file that cannot be read is listed with its reason.

    `told` is what files may not tell: ``entry``, ``delay_unit``, ``q_unit`` of `open_g2`.
    """
    from xpcs_dask.io.formats import suffixes
    from xpcs_dask.io.index import Question, ask
    from xpcs_dask.io.reader import Told
    from xpcs_dask.io.sources import list_files
    from xpcs_dask.io.stack import stack_of

    if (stack := stack_of(list(paths))) is not None:
        return list(packed(stack))
    files, rejected = list_files(list(paths), suffixes())
    answers = ask(files, Question(told=Told(**told)), progress=progress)
    return [describe(path, answer) for path, answer in zip(files, answers, strict=True)] + [
        Description(file=bad.path, reason=bad.reason) for bad in rejected
    ]


def packed(stack: Path) -> Iterator[Description]:
    """Describe the files that a stack holds."""
    from xpcs_dask.io.stack import open_stack

    for group in groups(open_stack(stack), "g2"):
        q = group["q"].to_numpy()
        for file in group["file"].to_numpy():
            yield Description(
                file=f"{stack}: {file}",
                format="stack",
                curves=group.sizes["qbin"],
                delays=group.sizes["delay"],
                q_range=None if math.isnan(q[0]) else (float(q.min()), float(q.max())),
                holds=("multi-tau",),
            )


def describe(path: str, answer: Answer) -> Description:
    """Describe one file from what it answered when it was asked; never raises for what is wrong with it."""
    from xpcs_dask.errors import FileRejected
    from xpcs_dask.io.formats import identify

    name, holds = "", tuple[str, ...]()
    try:
        name = identify(path) if isinstance(answer, FileRejected) else answer.format
        holds = contents(path) if name == "aps_nexus" else ("multi-tau",)
    except FileRejected as error:
        answer = error
    if isinstance(answer, FileRejected):
        return Description(file=path, format=name, holds=holds, reason=answer.reason)
    frame_time, frames = answer.frame_time, answer.frames
    return Description(
        file=path,
        format=name,
        curves=answer.shape[0],
        delays=answer.shape[1],
        q_range=None if math.isnan(answer.q[0]) else (float(answer.q.min()), float(answer.q.max())),
        frame_time=None if math.isnan(frame_time) else frame_time,
        frames=None if math.isnan(frames) else int(frames),
        holds=holds,
    )


def contents(path: str) -> tuple[str, ...]:
    """Kinds of results in an APS file, in words."""
    from xpcs_dask.io.hdf5 import open_hdf5
    from xpcs_dask.io.schema import APS

    kinds = {
        "multi-tau": APS.g2,
        "partial g2": f"{APS.g2}_partial",
        "pixel G2": f"{APS.multitau}/unnormalized_G2",
        "two-time": APS.twotime,
    }
    with open_hdf5(path) as file:
        return tuple(kind for kind, where in kinds.items() if file.find(where) is not None)


def show(found: Sequence[Description]) -> None:
    """Print a table, and below it a line for each file that cannot be fitted."""
    from rich.console import Console
    from rich.table import Table

    table = Table("file", "format", "curves", "delays", "q (1/angstrom)", "frame time (s)", "frames", "holds")
    for item in found:
        table.add_row(
            Path(item.file).name,
            item.format or "-",
            str(item.curves) if item.curves else "-",
            str(item.delays) if item.delays else "-",
            f"{item.q_range[0]:.4g} to {item.q_range[1]:.4g}" if item.q_range else "-",
            f"{item.frame_time:g}" if item.frame_time is not None else "-",
            str(item.frames) if item.frames is not None else "-",
            ", ".join(item.holds) or "-",
        )
    # Into a file or a pipe, a row is a line, however long.
    Console(markup=False, width=None if sys.stdout.isatty() else 100_000).print(table)
    for item in found:
        if item.reason:
            typer.echo(f"Cannot be fitted: {item.file}: {item.reason}")
    usable = [item for item in found if not item.reason]
    typer.echo(f"Files: {len(found)}\nUsable: {len(usable)}\nCurves: {sum(item.curves for item in usable)}")
