"""``xpcs-dask simulate``: curves, result files or speckle with known truth, the same for the same seed."""

from __future__ import annotations

import inspect
import json
import os
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from xpcs_dask.cli import report
from xpcs_dask.cli.exits import one_line_errors
from xpcs_dask.cli.options import AsJson, Debug
from xpcs_dask.errors import ConfigError, OutputExistsError, XpcsError

SUMMARY = "simulation.json"
"""File by which a folder that this verb made is known: what was asked for, and the report."""


class Kind(StrEnum):
    """What is simulated."""

    CURVES = "curves"
    FILES = "files"
    SPECKLE = "speckle"


@one_line_errors
def simulate(
    kind: Annotated[Kind, typer.Argument(help="curves and speckle make a stack, files APS result files.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to make.")] = Path("simulated"),
    runs: Annotated[int, typer.Option(help="Runs (files).", min=1)] = 4,
    seed: Annotated[int, typer.Option(help="Of all random numbers.", min=0)] = 0,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE of the simulation; may be given again.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier simulation, nothing else.")
    ] = False,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No notes; only results.")] = False,
    debug: Debug = False,
) -> None:
    """Make g2 with known truth, and write the truth beside it (truth.json)."""
    from importlib.metadata import version

    from xpcs_dask.results.atomic import whole

    job: dict[str, Any] = {"kind": kind.value, "runs": runs, "seed": seed, "settings": settings(kind, set_ or [])}
    job["version"] = version("xpcs-dask")
    check_place(output)
    result = None if overwrite else earlier(output, job)
    if result is None:
        with whole(output) as folder:
            result = make(folder, job, output)
    elif not quiet:
        typer.echo(f"{output} holds this simulation; nothing to do", err=True)
    typer.echo(report.as_json(result) if as_json else report.as_lines(result))


def make(folder: Path, job: dict[str, Any], output: Path) -> report.Report:
    """Simulate into a new folder, which becomes `output`; returns the report."""
    from xpcs_dask.cli.simulation import MAKERS

    begun = time.perf_counter()
    folder.mkdir()
    try:
        made = MAKERS[job["kind"]](folder, job["runs"], job["seed"], job["settings"])
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, XpcsError) or not job["settings"]:
            raise
        raise ConfigError(f"--set: {', '.join(job['settings'])} cannot be simulated: {error}") from error
    result = made.report | {
        "seed": job["seed"],
        "seconds": round(time.perf_counter() - begun, 3),
        "output": str(output),
        "version": job["version"],
    }
    summary = {"job": job, "report": result, "made": made.names}
    (folder / SUMMARY).write_text(json.dumps(summary, indent=1) + "\n")
    return result


def settings(kind: Kind, texts: list[str]) -> dict[str, Any]:
    """``["q=0.003,0.01", "model=double"]`` into values for the simulation; names are those of its arguments."""
    known = names(kind)
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise ConfigError(f"--set takes NAME=VALUE; got '{text}'")
        if name not in known:
            raise ConfigError(f"--set: '{name}' is no setting of {kind.value}; known are {', '.join(known)}")
        if name in found:
            raise ConfigError(f"--set names {name} more than once")
        found[name] = values(value)
    return found


def names(kind: Kind) -> list[str]:
    """List the settings that a kind of simulation takes."""
    from xpcs_dask.simulate import curves, speckle
    from xpcs_dask.simulate.files import LAYOUT

    own = list(inspect.signature(speckle if kind is Kind.SPECKLE else curves).parameters)
    return [name for name in own if name not in ("n_files", "seed")] + (list(LAYOUT) if kind is Kind.FILES else [])


def values(text: str) -> Any:
    """One value; with commas a list over the bins, with slashes one of the runs."""
    if "/" in text:
        return [[_value(part)] for part in text.split("/")]
    parts = [_value(part) for part in text.split(",")]
    return parts[0] if len(parts) == 1 else parts


def _value(text: str) -> Any:
    text = text.strip()
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def check_place(output: Path) -> None:
    """Refuse a folder that holds anything that this verb did not make."""
    if not os.path.lexists(output) or (output.is_dir() and not any(output.iterdir())):
        return
    try:
        made = json.loads((output / SUMMARY).read_text())["made"]
        strange = {item.name for item in output.iterdir()} - {SUMMARY, *made}
    except (OSError, ValueError, KeyError, TypeError):
        raise OutputExistsError(str(output), "something else: it holds no simulation", False) from None
    if strange:
        raise OutputExistsError(str(output), f"something else in it: {min(strange)}", False)


def earlier(output: Path, job: dict[str, Any]) -> dict[str, Any] | None:
    """Report of the same simulation, if it is there already; refuses a folder that holds another."""
    try:
        there = json.loads((output / SUMMARY).read_text())
    except OSError:
        return None
    changed = [name for name, value in job.items() if there["job"].get(name) != value]
    if changed:
        raise OutputExistsError(str(output), f"another {', '.join(changed)}")
    found: dict[str, Any] = there["report"]
    return found
