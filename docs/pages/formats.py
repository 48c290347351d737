"""What a Dataset of curves holds, and which path of which file it is read from: from the schema of the readers."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from docs.pages.said import code, first_line, of_attributes, table
from docs.pages.said import page as put_together
from xpcs_dask.io import aps_legacy, pychx, schema
from xpcs_dask.io.extras import ARRAYS, COMPANIONS
from xpcs_dask.io.formats import READERS
from xpcs_dask.io.places import PLACES, REMARKS

UNITS = (
    ("1/angstrom", schema.PER_ANGSTROM),
    ("degree", schema.DEGREES),
    ("s", schema.SECONDS),
    ("keV", schema.KEV),
)


def page() -> str:
    """Return tables of variables, of formats, of paths, and of units that are known."""
    return put_together(
        "# Where formats keep what",
        "From the records that the readers use. What is special about each format stands in "
        "[formats](../formats.md); how to tell units and entries too.",
        "## Variables\n\nOf a Dataset of curves. All but `g2` and `g2_err` are coordinates.",
        table(("variable", "over", "unit", "what it is"), _variables(schema.VARIABLES)),
        "### Numbers of a file that `include=` asks for",
        table(("variable", "over", "unit", "what it is"), _variables(schema.SCALARS)),
        "### Arrays that `include=` and `open_arrays` take",
        table(("array", "over (after file)", "unit", "what it is"), _arrays()),
        "## Formats\n\nIn the order in which they are asked whether a file is theirs.",
        table(
            ("format", "reader", "endings looked for in a folder", "options that apply"),
            (
                (code(name), first_line(one), ", ".join(map(code, one.SUFFIXES)), ", ".join(map(code, one.OPTIONS)))
                for name, one in READERS.items()
            ),
        ),
        "## Paths",
        "### aps_nexus\n\nInside the file, from its root.",
        table(("what", "path", ""), _aps()),
        "### aps_legacy\n\n" + table(("what", "path"), _legacy()),
        "### pychx\n\n" + table(("entry", "delays", "q"), ((code(n), *map(code, at)) for n, at in _pychx())),
        "### Arrays\n\n" + table(("array", "format", "path", "remark"), _places()),
        "## Units\n\nA unit is compared in lower case, without blanks. One that is not here is refused.",
        table(("to", "from", "times"), _units()),
    )


def _variables(found: dict[str, schema.Variable]) -> Iterator[tuple[str, ...]]:
    for name, one in found.items():
        yield code(name), ", ".join(one.dims), "time" if one.units is None else one.units, one.long_name


def _arrays() -> Iterator[tuple[str, ...]]:
    for name, one in {**ARRAYS, **{n: a for inside in COMPANIONS.values() for n, a in inside.items()}}.items():
        yield code(name), ", ".join(one.dims), one.units, one.long_name


def _aps() -> Iterator[tuple[str, str, str]]:
    said = of_attributes(schema.ApsNexus)
    for one in fields(schema.APS):
        value: Any = getattr(schema.APS, one.name)
        for path in (value,) if isinstance(value, str) else value:
            yield code(one.name), code(f"/{path}"), said.get(one.name, "")
    for name, path in schema.APS_SCALARS.items():
        yield code(name), code(f"/{path}"), schema.SCALARS[name].long_name


def _legacy() -> Iterator[tuple[str, str]]:
    yield "frame time", " or ".join(code(f"/{path}") for path in aps_legacy.FRAME_TIME)
    for name, path in aps_legacy.SCALARS.items():
        yield code(name), code(f"/{path}")


def _pychx() -> Iterator[tuple[str, tuple[str, str]]]:
    yield from pychx.DELAYS_AND_Q.items()


def _places() -> Iterator[tuple[str, str, str, str]]:
    for of, found in PLACES.items():
        for name, find in found.items():
            yield code(name), code(of), code(f"/{_template(find)}"), REMARKS.get((of, name), "")


def _template(find: Any) -> str:
    """Return the path that a finder was made for; of two-time maps of APS files, their group."""
    inside = inspect.getclosurevars(find).nonlocals
    if "find" in inside:
        return _template(inside["find"])
    return inside.get("template", f"{schema.APS.twotime}/correlation_map")


def _units() -> Iterator[tuple[str, str, str]]:
    for to, known in UNITS:
        for factor in dict.fromkeys(known.values()):
            yield to, ", ".join(code(name) for name, value in known.items() if value == factor), f"{factor:g}"
