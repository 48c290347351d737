"""Sizes and records as a person reads them: in a line, or as a small table in a notebook."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["card", "changed", "share", "size", "written"]

UNITS = ((10**3, "kB"), (10**6, "MB"), (10**9, "GB"))
FEWEST = 10
"""A unit is taken from so many of it on, so that what is shown has two digits."""
CELL = "text-align:left;vertical-align:top"
HEAD = f"{CELL};white-space:nowrap"


def size(nbytes: int) -> str:
    """Bytes in words: ``812 bytes``, ``142 kB``, ``7,912 kB``, ``20 GB``."""
    unit, name = _unit(nbytes)
    return f"{nbytes / unit:,.0f} {name}"


def share(part: int, whole: int) -> str:
    """Say how many bytes of how many, in the unit that suits the whole: ``40 of 100 MB``."""
    unit, name = _unit(whole)
    return f"{part / unit:,.0f} of {whole / unit:,.0f} {name}"


def card(title: str, rows: Mapping[str, object]) -> str:
    """HTML of a heading and a table; whatever stands in it is escaped, rows that say nothing are left out."""
    lines = [
        f"<tr><th style='{HEAD}'>{escape(str(name))}</th><td style='{CELL}'>{_linked(str(value))}</td></tr>"
        for name, value in rows.items()
        if value not in ("", None)
    ]
    return f"<div><strong>{escape(title)}</strong><table>{''.join(lines)}</table></div>"


def changed(record: BaseModel, named: Iterable[tuple[str | None, Any]]) -> Iterator[tuple[str | None, Any]]:
    """Of the fields of a pydantic record, in `named`, those that are not at their default; counts of 0 are left out."""
    fields = type(record).model_fields
    for name, value in named:
        if name is None or value == fields[name].get_default(call_default_factory=True):
            continue
        counts = isinstance(value, dict) and all(isinstance(number, int) for number in value.values())
        yield name, {key: number for key, number in value.items() if number} if counts else value


def written(value: Any) -> str:
    """Write a value as Python reads it again, infinite numbers too."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {written(one)}" for key, one in value.items()) + "}"
    if isinstance(value, tuple):
        return f"({', '.join(map(written, value))}{',' * (len(value) == 1)})"
    return f'float("{value}")' if isinstance(value, float) and not math.isfinite(value) else repr(value)


def _unit(nbytes: int) -> tuple[int, str]:
    return next(((unit, name) for unit, name in reversed(UNITS) if nbytes >= FEWEST * unit), (1, "bytes"))


def _linked(text: str) -> str:
    """Escaped text; an address of a page can be clicked."""
    safe = escape(text)
    if text.startswith(("http://", "https://")) and not any(letter.isspace() for letter in text):
        return f"<a href='{safe}' target='_blank' rel='noopener'>{safe}</a>"
    return safe
