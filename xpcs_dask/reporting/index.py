"""`index`: one page over many runs, made from the heads of their reports, so that it is cheap to make again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from xpcs_dask.errors import FileRejected, NoUsableInputError, XpcsError
from xpcs_dask.reporting.head import Head, check_place, state_of
from xpcs_dask.reporting.page import report, report_path
from xpcs_dask.reporting.render import render, write
from xpcs_dask.reporting.tables import Column, Table
from xpcs_dask.reporting.words import Verdict
from xpcs_dask.spoken import measured

__all__ = ["Run", "index"]

VERDICTS = tuple(str(verdict.name).lower() for verdict in Verdict)
LISTED = 1000
"""Runs that are listed without JavaScript."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the index."""

    given: str
    page: Path | None
    head: Head | None
    problem: str = ""
    """Why it has no page, or an old one."""


def index(
    runs: Iterable[str | os.PathLike[str]],
    output: str | os.PathLike[str] = "index.html",
    *,
    title: str | None = None,
    make: bool = True,
    **settings: Any,
) -> tuple[Path, list[Run]]:
    """Write a page that lists runs with their counts and D, and links to their reports.

    Parameters
    ----------
    runs : iterable of path
        Stores, whose reports lie beside them as ``STORE.report.html``, or reports.
    output : path
        The page; an earlier one is replaced, anything else is not.
    title : str, optional
        Heading.
    make : bool
        Write reports that are missing, or are of an earlier state of their store. Reports that are up to date are only
        looked at, some kilobytes of each, so an index is cheap to make again after each new run.
    **settings
        Of `report`, for those that are made.

    Returns
    -------
    path : pathlib.Path
        Where the page is.
    runs : list of Run
        What is listed; those that could not be read have a `problem`, and no head.

    Raises
    ------
    NoUsableInputError
        If no run could be read.
    OutputExistsError
        If `output` exists and is no page of this package.
    """
    place = Path(output)
    check_place(place)
    found = [_run(Path(one), make, settings) for one in runs]
    if not any(one.head for one in found):
        reasons = "; ".join(one.problem for one in found[:3])
        raise NoUsableInputError(f"none of {len(found)} runs can be listed: {reasons}")
    table = _table(found, place.resolve().parent)
    heads = [one.head for one in found if one.head]
    page = render(
        "index.html.j2",
        title=title or "Runs",
        tables={"runs": table},
        glossary={},
        runs=len(heads),
        files=sum(head.files for head in heads),
        rejected=sum(head.rejected for head in heads),
        curves=sum(head.curves for head in heads),
        verdicts={name: sum(head.verdicts.get(name, 0) for head in heads) for name in VERDICTS},
        problems=[one for one in found if one.problem],
    )
    return write(page, place), found


def _run(given: Path, make: bool, settings: dict[str, Any]) -> Run:
    if given.suffix == ".html":
        head = Head.read(given)
        return Run(str(given), given, head, "" if head else f"{given} is no report")
    page = report_path(given)
    head = Head.read(page)
    if head is not None and head.state == state_of(given):
        return Run(str(given), page, head)
    if not given.exists():
        return Run(str(given), None, None, str(FileRejected(str(given), "there is no such file or folder")))
    if not make:
        return Run(str(given), page if head else None, head, f"{given} has {'an old' if head else 'no'} report")
    try:
        report(given, page, **settings)
    except XpcsError as error:
        return Run(str(given), None, None, str(error))
    return Run(str(given), page, Head.read(page))


def _table(runs: list[Run], folder: Path) -> Table:
    shown = [
        Column("run", "run", "link", "page", "the report of the run"),
        Column("begun", "begun (UTC)"),
        Column("model", "model"),
        *(Column(name, name, "number") for name in ("files", "rejected", "curves", *VERDICTS)),
        Column("D", "D (µm²/s)", hint="of one file, or the smallest to the largest of that many"),
        Column("distrust", "what to distrust most"),
    ]
    header = ["run", "page", "begun", "model", "files", "rejected", "curves", *VERDICTS, "D", "distrust"]
    table = Table("runs", "Every run, the latest first", shown, header, static=LISTED)
    listed = [one for one in runs if one.head and one.page]
    table.extend(_rows(sorted(listed, key=lambda one: one.head.begun if one.head else "", reverse=True), folder))
    return table


def _rows(runs: Iterable[Run], folder: Path) -> Iterator[list[Any]]:
    for one in runs:
        head, page = one.head, one.page
        assert head is not None
        assert page is not None
        yield [
            head.title, quote(os.path.relpath(page.resolve(), folder)), head.begun[:19].replace("T", " "), head.model,
            head.files, head.rejected, head.curves, *(head.verdicts.get(name, 0) for name in VERDICTS),
            _diffusion(head), "; ".join(head.worst),
        ]  # fmt: skip


def _diffusion(head: Head) -> str:
    told = " to ".join(measured(value, error) for _, value, error in head.diffusion)
    if head.said > 1:
        told += f" ({head.said:,})"
    if head.silent:
        told += f"{'; ' if told else ''}cannot be said for {head.silent}"
    return told
