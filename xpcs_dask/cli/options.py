"""Options that verbs share, and words of the command line into values: ``tau=1e-6,1e2``, ``0.003,0.02``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from xpcs_dask.errors import ConfigError

if TYPE_CHECKING:
    from xpcs_dask.engine.events import Listener

Paths: TypeAlias = Annotated[list[str], typer.Argument(help="Result files, folders or patterns.", show_default=False)]
Entry: TypeAlias = Annotated[str, typer.Option(help="Which result of files that hold several.", show_default=False)]
DelayUnit: TypeAlias = Annotated[
    str, typer.Option(help="Unit of delays in tables that do not state it: s, ms, us or ns.", show_default=False)
]
QUnit: TypeAlias = Annotated[
    str, typer.Option(help="Unit of q in tables that do not: 1/angstrom, 1/nm or 1/m.", show_default=False)
]
Scheduler: TypeAlias = Annotated[
    str,
    typer.Option(
        help="sync, threads[:N], processes[:N], local[:N], tcp://HOST:PORT, tls://HOST:PORT, file:SCHEDULER.json, "
        "slurm[:PROFILE] or pbs[:PROFILE]."
    ),
]
Cluster: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--cluster", help="KEY=VALUE, a setting of the cluster; may be given again.", show_default=False),
]
Memory: TypeAlias = Annotated[
    str, typer.Option(help="Memory that the fit may take, such as 1GiB; default: what is free.", show_default=False)
]
Again: TypeAlias = Annotated[bool, typer.Option("--overwrite", help="Fit again, whatever the output holds.")]
Strict: TypeAlias = Annotated[
    bool, typer.Option("--strict", help="Exit with 5 when a file was rejected or a curve failed.")
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Progress: TypeAlias = Annotated[
    str, typer.Option(help="On stderr: bar, json (one object a line) or none; auto is bar on a terminal.")
]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no notes; only results.")]
Report: TypeAlias = Annotated[
    bool, typer.Option("--report", help="Write a page about the results too, STORE.report.html (see report).")
]
Debug: TypeAlias = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@contextmanager
def listening(progress: str, quiet: bool = False) -> Iterator[list[Listener]]:
    """Give the listeners of a job: its log, and what ``--progress`` asks for."""
    from xpcs_dask.engine.events import json_lines, log
    from xpcs_dask.showing import bars

    kind = progress_kind(progress, quiet)
    with ExitStack() as stack:
        listeners = [log()]
        if kind == "json":
            listeners.append(json_lines(sys.stderr))
        elif kind == "bar":
            listeners.append(stack.enter_context(bars()))
        yield listeners


def progress_kind(progress: str, quiet: bool = False) -> str:
    """Read ``--progress``: bar, json or none."""
    if progress not in ("auto", "bar", "json", "none"):
        raise ConfigError(f"--progress takes auto, bar, json or none; got '{progress}'")
    if progress == "auto":
        progress = "bar" if sys.stderr.isatty() else "none"
    return "none" if quiet else progress


@contextmanager
def counting_files(progress: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Give what hears how many files are opened, of how many, for verbs that fit nothing."""
    from xpcs_dask.engine.events import Monitor

    with listening(progress, quiet) as listeners:
        yield Monitor(listeners).opening


def named_ranges(texts: Sequence[str], option: str) -> dict[str, tuple[float, float]]:
    """``["tau=1e-6,1e2"]`` into ``{"tau": (1e-6, 1e2)}``."""
    return {name: number_range(value, f"{option} {name}=") for name, value in _named(texts, option, "NAME=LOW,HIGH")}


def named_numbers(texts: Sequence[str], option: str) -> dict[str, float]:
    """``["baseline=1"]`` into ``{"baseline": 1.0}``."""
    return {name: _number(value, f"{option} {name}=") for name, value in _named(texts, option, "NAME=VALUE")}


def cluster_settings(texts: Sequence[str] | None) -> dict[str, str]:
    """``["workers=8", "memory=4GiB"]`` into ``{"workers": "8", "memory": "4GiB"}``."""
    return dict(_named(texts or [], "--cluster", "KEY=VALUE"))


def number_range(text: str, option: str) -> tuple[float, float]:
    """``"0.003,0.02"`` into ``(0.003, 0.02)``."""
    parts = text.split(",")
    if len(parts) != 2:
        raise ConfigError(f"{option} takes two numbers, LOW,HIGH; got '{text}'")
    return _number(parts[0], option), _number(parts[1], option)


def block_files(text: str) -> int | Literal["auto"]:
    """``"auto"``, or a number of files."""
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"--chunks takes auto or a number of files from 1; got '{text}'")
    return int(text)


def _named(texts: Sequence[str], option: str, form: str) -> list[tuple[str, str]]:
    pairs = []
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise ConfigError(f"{option} takes {form}; got '{text}'")
        pairs.append((name, value))
    names = [name for name, _ in pairs]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"{option} names {', '.join(sorted(twice))} more than once")
    return pairs


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{option}: '{text.strip()}' is not a number") from None
