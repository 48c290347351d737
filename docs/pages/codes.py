"""Numbers that stand for something: statuses, flags, what errors rest on, exit codes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from enum import IntEnum, IntFlag
from importlib import import_module

from docs.pages.said import code, first_line, of_attributes, table
from docs.pages.said import page as put_together
from xpcs_dask.cli import exits
from xpcs_dask.errors import XpcsError
from xpcs_dask.fitting.layout import ErrorsFrom, Flag, Rung, Status
from xpcs_dask.fitting.quality import PointFlag
from xpcs_dask.physics.law_record import Note
from xpcs_dask.physics.repeats import Reason
from xpcs_dask.physics.used_bins import Lack

CODES: tuple[tuple[str, type[IntEnum | IntFlag]], ...] = (
    ("status", Status),
    ("flags", Flag),
    ("quality of points", PointFlag),
    ("rung", Rung),
    ("errors_from", ErrorsFrom),
    ("flags of a law", Note),
    ("excluded bins", Lack),
    ("rejected repeats", Reason),
)
"""Headings, and the codes below each."""

RAISING = ("xpcs_dask.errors", "xpcs_dask.engine.lock", "xpcs_dask.engine.plan", "xpcs_dask.jobs.submission")
"""Modules that define errors with an exit code."""

OTHERS = {
    0: "done, or nothing had to be done",
    exits.INTERNAL: "internal error: any exception that is not one of the package",
    2: "usage: an option that does not exist, or a missing argument",
    exits.MEMORY: "memory ran out",
    exits.DISK: "the disk is full",
    exits.INTERRUPTED: "interrupted (Ctrl-C, SIGTERM); the same command goes on",
}
"""Exit codes that come from something else than an error of the package."""


def page() -> str:
    """One table a kind of code, with what the source says of each."""
    return put_together(
        "# Status, flags, exit codes",
        "From the enums of the package. What to do about them stands in [fitting](../fitting.md#status), "
        "[errors](../errors.md), [dispersion](../dispersion.md) and [the command line](../cli.md#exit-codes).",
        *(f"## {title}\n\n{first_line(kind)}\n\n{_members(kind)}" for title, kind in CODES),
        "## Exit codes\n\nWhat the program ends with, and the errors that lead there.",
        table(("code", "because of"), ((number, "; ".join(why)) for number, why in sorted(exit_codes().items()))),
    )


def _members(kind: type[IntEnum | IntFlag]) -> str:
    said = of_attributes(kind)
    head = "bit" if issubclass(kind, IntFlag) else "code"
    rows = ((int(one), code(str(one.name).lower()), said.get(str(one.name), "")) for one in kind)
    return table((head, "name", "meaning"), rows)


def exit_codes() -> dict[int, list[str]]:
    """Return what leads to each exit code."""
    found: dict[int, list[str]] = {number: [text] for number, text in OTHERS.items()}
    for error in errors():
        found.setdefault(error.exit_code, []).append(f"`{error.__name__}`: {first_line(error).rstrip('.')}")
    return found


def errors() -> Iterator[type[XpcsError]]:
    """All errors of the package but their base, which nothing raises."""
    for name in RAISING:
        for error in vars(import_module(name)).values():
            own = inspect.isclass(error) and error.__module__ == name
            if own and issubclass(error, XpcsError) and error is not XpcsError:
                yield error
