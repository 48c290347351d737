"""Rows of the table: what was compared with what, how much of it, and whether it holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Row:
    """One comparison."""

    what: str
    beside: str
    """What it was compared with."""
    count: int
    """How many numbers, bins or calls."""
    found: str
    limit: str
    holds: bool | None
    """None where it is told but has no limit."""
    notes: tuple[str, ...] = ()
    """What the table has no room for: the exceptions, one by one."""

    def as_dict(self) -> dict[str, object]:
        """Return it for JSON."""
        return asdict(self)


def show(title: str, rows: Iterable[Row]) -> None:
    """Print one part of the table as Markdown, exceptions below."""
    rows = list(rows)
    print(f"\n## {title}\n\n| what | compared with | n | found | limit | |\n|---|---|---|---|---|---|")
    for row in rows:
        mark = {True: "holds", False: "FAILS", None: ""}[row.holds]
        print(f"| {row.what} | {row.beside} | {row.count} | {row.found} | {row.limit} | {mark} |")
    for row in rows:
        for note in row.notes:
            print(f"- {row.what}: {note}")
