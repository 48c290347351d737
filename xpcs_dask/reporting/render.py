"""Records into a page: templates, styles and scripts that the package carries, all of it in one file."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from xpcs_dask.readable import size
from xpcs_dask.reporting.head import GENERATOR, as_json
from xpcs_dask.spoken import count, measured, plain

__all__ = ["render", "write"]


def render(template: str, **values: Any) -> str:
    """Fill a template; all text is escaped."""
    from importlib.metadata import version

    made = version("xpcs-dask")
    return _environment().get_template(template).render(generator=f"{GENERATOR} {made}", version=made, **values)


def write(page: str, path: Path) -> Path:
    """Write a page, whole or not at all."""
    from xpcs_dask.engine.ledger import write_whole

    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, page.encode("utf-8", errors="backslashreplace"))
    return path


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("xpcs_dask.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "bytes": size,
        "number": plain,
        "script_json": lambda value: Markup(as_json(value)),
        "pretty_json": lambda text: json.dumps(json.loads(text), indent=1),
    }
    made.globals |= {"measured": measured, "count": count, "inline": _inline}
    return made


def _inline(name: str) -> Markup:
    """Style or script that the package carries, as it is."""
    loader = _environment().loader
    assert loader is not None
    return Markup(loader.get_source(_environment(), name)[0])
