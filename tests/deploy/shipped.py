"""What `deploy/` ships, and whether its command lines are those that the programs take."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import typer

DEPLOY = Path(__file__).parents[2] / "deploy"
FOLDERS = ("docker", "globus", "kubernetes", "pbs", "prefect", "slurm", "tls")


def scripts() -> list[Path]:
    """All shell scripts of the repository that are not of the CI."""
    return sorted([*DEPLOY.rglob("*.sh"), *(DEPLOY.parent / "tests" / "cluster").rglob("*.sh")])


def name_of(path: Path) -> str:
    return str(path.relative_to(DEPLOY.parent))


def programs() -> dict[tuple[str, ...], click.Command]:
    """Parsers of the programs that are started, by their first words."""
    from distributed.cli.dask_scheduler import main as dask_scheduler
    from distributed.cli.dask_worker import main as dask_worker

    from xpcs_dask.cli.main import app

    return {
        ("dask", "scheduler"): dask_scheduler,
        ("dask", "worker"): dask_worker,
        ("xpcs-dask",): typer.main.get_command(app),
    }


def read(words: Sequence[str]) -> dict[str, object]:
    """Read a command line as its program would, without running it; returns the values of its verb.

    Raises
    ------
    click.UsageError
        For a verb, an option or a value that it does not take.
    LookupError
        If it is none of `programs`.
    """
    for first, command in programs().items():
        if tuple(words[: len(first)]) == first:
            if first[0] == "dask":  # leaves what it does not know to modules that it may be told to load
                known = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
                if unknown := [word for word in words if word.startswith("-") and word not in known]:
                    raise click.NoSuchOption(unknown[0])
            return _read(command, " ".join(first), list(words[len(first) :]))
    raise LookupError(f"{words[0]} is not a program of ours")


def _read(command: click.Command, name: str, words: list[str]) -> dict[str, object]:
    context = command.make_context(name, words)
    if not hasattr(command, "resolve_command"):  # Typer has classes of its own
        return dict(context.params)
    rest = [*getattr(context, "_protected_args", []), *context.args]
    verb, found, left = command.resolve_command(context, rest)
    return {"verb": verb, **_read(found, str(verb), left)}


def command_lines(page: Path) -> Iterator[list[str]]:
    """Words of each shell command in the indented blocks of a page."""
    for block in re.findall(r"(?:^    .*\n)+", page.read_text(), re.M):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.strip().replace("…", "..."), comments=True)
            while words and re.match(r"[A-Z_]+=", words[0]):
                words.pop(0)
            if words:
                yield words


def our_commands(page: Path) -> list[list[str]]:
    """Return those of `command_lines` that start one of `programs`, wherever in the line."""
    found = []
    for words in command_lines(page):
        for at in range(len(words)):
            if any(tuple(words[at : at + len(first)]) == first for first in programs()) and (
                at == 0 or words[at - 1] == "xpcs-dask"
            ):
                found.append(words[at:])
                break
    return found
