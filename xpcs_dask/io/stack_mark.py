"""How a packed stack is known again: an attribute of its root, with what it was packed from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from xpcs_dask.errors import FileRejected

MARK = "xpcs_dask_stack"
"""Attribute of the root by which a stack is known; it holds its version and what it was packed from, as JSON."""

Data = xr.Dataset | xr.DataTree


def is_stack(path: object) -> bool:
    """Whether a stack of curves, of whatever version, is at `path`; looks at the attributes of its root only."""
    return isinstance(path, str | os.PathLike) and read_mark(Path(path)) is not None


def stack_of(source: object) -> Path | None:
    """Path of the one stack that `source`, a path or a list of paths, names; None if it names none.

    Raises
    ------
    FileRejected
        If it names a stack and something else.
    """
    items: Sequence[Any] = source if isinstance(source, list | tuple) else [source]
    stacks = [item for item in items if is_stack(item)]
    if stacks and len(items) > 1:
        raise FileRejected(
            str(stacks[0]), "is a packed stack; open it alone, or name the files that it was packed from"
        )
    return Path(stacks[0]) if stacks else None


def packed_from(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Tell which files a stack was packed from, as `inputs_of` listed them."""
    mark = read_mark(Path(path)) or {}
    found: list[dict[str, Any]] = mark.get("inputs", [])
    return found


def inputs_of(data: Data) -> list[dict[str, Any]]:
    """List files of opened data: path, size, time of modification, hash of g2; rejected ones with their reason."""
    found: list[dict[str, Any]] = []
    for group in groups_by_path(data).values():
        if {"path", "content_hash"} <= set(group.coords):
            pairs = zip(group["path"].to_numpy(), group["content_hash"].to_numpy(), strict=True)
            found += [_state(str(path)) | {"content": f"{int(content):016x}"} for path, content in pairs]
    listed = json.loads(data.attrs.get("rejected", "[]"))
    return found + [_state(item["file"]) | {"rejected": item["reason"]} for item in listed]


def read_mark(path: Path) -> Mapping[str, Any] | None:
    """Content of the attribute; None where there is no stack."""
    try:
        described = json.loads((path / "zarr.json").read_text())
        found = json.loads(described["attributes"][MARK])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, dict) else None


def _state(path: str) -> dict[str, Any]:
    resolved = os.path.realpath(path)
    try:
        found = os.stat(resolved)
    except OSError:
        return {"file": resolved}
    return {"file": resolved, "size": found.st_size, "modified": found.st_mtime_ns}


def groups_by_path(data: Data) -> dict[str, xr.Dataset]:
    """Every group of a tree, or a Dataset as the group ``/``."""
    if isinstance(data, xr.DataTree):
        return {node.path: node.to_dataset(inherit=False) for node in data.subtree}
    return {"/": data}
