"""What the source says of its own names, and Markdown tables of it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from typing import Any

from sphinx.pycode import ModuleAnalyzer

PAGE = re.compile(r"`*docs/(\w+)\.md`*")
"""A page that a docstring names."""


def of_attributes(owner: type) -> dict[str, str]:
    """Docstrings that stand below the attributes of a class, by attribute, on one line each."""
    found = ModuleAnalyzer.for_module(owner.__module__).find_attr_docs()
    return {name: _one_line(" ".join(lines)) for (of, name), lines in found.items() if of == owner.__qualname__}


def first_line(thing: Any) -> str:
    """First paragraph of a docstring, on one line."""
    return _one_line((inspect.getdoc(thing) or "").split("\n\n")[0])


def _one_line(text: str) -> str:
    """Text with single spaces, in which pages are links seen from the folder of generated pages."""
    return PAGE.sub(r"[\1](../\1.md)", " ".join(text.split()))


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table; bars inside cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def code(text: object) -> str:
    """Return text as code; nothing for nothing."""
    return f"`{text}`" if str(text) else ""


def page(*parts: str) -> str:
    """Parts of a page, with a blank line between two."""
    return "\n\n".join(part for part in parts if part) + "\n"
