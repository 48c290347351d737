"""Options that verbs share, and words of the command line into values: ``tau=1e-6,1e2``, ``0.003,0.02``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

import typer

from xpcs_dask.errors import ConfigError

Paths: TypeAlias = Annotated[list[str], typer.Argument(help="Result files, folders or patterns.", show_default=False)]
Entry: TypeAlias = Annotated[str, typer.Option(help="Which result of files that hold several.", show_default=False)]
DelayUnit: TypeAlias = Annotated[
    str, typer.Option(help="Unit of delays in tables that do not state it: s, ms, us or ns.", show_default=False)
]
QUnit: TypeAlias = Annotated[
    str, typer.Option(help="Unit of q in tables that do not: 1/angstrom, 1/nm or 1/m.", show_default=False)
]
Scheduler: TypeAlias = Annotated[
    str, typer.Option(help="sync, threads[:N], processes[:N], local[:N] or tcp://HOST:PORT.")
]
Memory: TypeAlias = Annotated[
    str, typer.Option(help="Memory that the fit may take, such as 1GiB; default: what is free.", show_default=False)
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Progress: TypeAlias = Annotated[
    bool | None, typer.Option("--progress/--no-progress", help="Default: only on a terminal.", show_default=False)
]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no notes; only results.")]
Debug: TypeAlias = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def named_ranges(texts: Sequence[str], option: str) -> dict[str, tuple[float, float]]:
    """``["tau=1e-6,1e2"]`` into ``{"tau": (1e-6, 1e2)}``."""
    return {name: number_range(value, f"{option} {name}=") for name, value in _named(texts, option, "NAME=LOW,HIGH")}


def named_numbers(texts: Sequence[str], option: str) -> dict[str, float]:
    """``["baseline=1"]`` into ``{"baseline": 1.0}``."""
    return {name: _number(value, f"{option} {name}=") for name, value in _named(texts, option, "NAME=VALUE")}


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
