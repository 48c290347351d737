"""The diagram of the layers: the contract of import-linter in pyproject.toml, drawn."""

from __future__ import annotations

import ast
import textwrap
import tomllib
from collections.abc import Iterator
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "layers.svg"
CONTRACT = "imports point one way"
ROW, GAP, WIDTH, NAME = 34, 6, 900, 170
"""Pixels: height of a layer, between two, width of the picture, width of the names."""
LETTERS = 112
"""Of what is said about a layer."""


def contract() -> list[str]:
    """Layers from the top down, as the contract has them; optional ones stand in brackets there."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    found = next(one for one in settings["contracts"] if one["name"] == CONTRACT)
    return [str(name).strip("()").removeprefix("xpcs_dask.") for name in found["layers"]]


def layers() -> list[str]:
    """Layers of the contract that are there."""
    return [name for name in contract() if source(name) is not None]


def source(name: str) -> Path | None:
    """File that says what a layer is; None if there is no such layer."""
    home = ROOT / "xpcs_dask"
    return next((path for path in (home / name / "__init__.py", home / f"{name}.py") if path.exists()), None)


def duty(name: str) -> str:
    """First paragraph of the docstring of a layer."""
    path = source(name)
    said = ast.get_docstring(ast.parse(path.read_text())) if path else ""
    return " ".join((said or "").split("\n\n")[0].split()).replace("``", "").replace("`", "")


def svg() -> str:
    """Return the picture: one box a layer, an arrow beside them."""
    names = layers()
    height = len(names) * (ROW + GAP) + 40
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">',
            "<title>Layers of xpcs_dask: each may import those below it</title>",
            f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#ffffff"/>',
            *_arrow(height),
            *(line for at, name in enumerate(names) for line in _box(at, name)),
            "</svg>",
            "",
        ]
    )


def _arrow(height: int) -> Iterator[str]:
    yield f'<path d="M22 20 V{height - 30}" stroke="#666666" stroke-width="2"/>'
    yield f'<path d="M15 {height - 32} h14 l-7 14 z" fill="#666666"/>'
    place = f'transform="translate(12 {height // 2}) rotate(-90)" text-anchor="middle"'
    yield f'<text {place} font-size="12" fill="#666666">imports point down</text>'


def _box(at: int, name: str) -> Iterator[str]:
    top = 20 + at * (ROW + GAP)
    fill = "#dbe9f6" if name in ("fitting", "config", "errors", "readable") else "#f2f2f2"
    yield f'<rect x="40" y="{top}" width="{WIDTH - 50}" height="{ROW}" rx="4" fill="{fill}" stroke="#999999"/>'
    yield f'<text x="52" y="{top + 22}" font-size="15" font-weight="bold" fill="#111111">{escape(name)}</text>'
    text = textwrap.shorten(duty(name), LETTERS, placeholder=" …")
    yield f'<text x="{NAME}" y="{top + 22}" font-size="13" fill="#333333">{escape(text)}</text>'


def write(path: Path = FILE) -> Path:
    """Make the figure."""
    path.write_text(svg())
    return path
