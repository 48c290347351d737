"""What a report is about: results from a store or from memory, and what is known of how they came to be."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xpcs_dask.errors import ConfigError, NoUsableInputError
from xpcs_dask.jobs import Manifest
from xpcs_dask.jobs.identity import RUN

__all__ = ["PARTS", "File", "Source", "files_of", "opened"]

PARTS = ("value", "stderr", "chi2", "dof", "n_used", "status", "rung", "flags")
"""Variables that are needed."""


@dataclass(frozen=True, slots=True)
class File:
    """One file of curves."""

    name: str
    path: str
    size: int | None
    content: str
    """Hash of its g2."""


@dataclass(frozen=True)
class Source:
    """Results, and what is known about how they came to be."""

    name: str
    path: Path | None
    """Of the store; None for results in memory."""
    groups: Mapping[str, xr.Dataset]
    attrs: Mapping[str, Any]
    """Of the root of the store, and those of the fit."""
    manifest: Manifest | None

    @property
    def curves(self) -> int:
        """Number of all of them."""
        return sum(group["status"].size for group in self.groups.values())

    @property
    def config(self) -> dict[str, Any]:
        """Settings of the fit."""
        return dict(json.loads(self.attrs.get("config", "{}")))

    def files(self) -> list[File]:
        """All files, group after group."""
        return [file for group in self.groups.values() for file in files_of(group, self.name)]

    @property
    def rejected(self) -> list[dict[str, str]]:
        """Files that could not be used, with the reason."""
        if self.manifest is not None:
            return [{"file": one.file, "reason": one.reason} for one in self.manifest.rejected]
        return list(json.loads(self.attrs.get("rejected", "[]")))


def opened(results: Any) -> Source:
    """Open a store, or take results at hand.

    Raises
    ------
    FileRejected
        If the store cannot be read.
    NoUsableInputError
        If there are no fitted curves.
    ConfigError
        For anything that is no result of a fit.
    """
    path = Path(results) if isinstance(results, str | os.PathLike) else None
    if path is not None:
        from xpcs_dask.results import open_results

        results = open_results(path)
    if not isinstance(results, xr.Dataset | xr.DataTree):
        raise ConfigError(f"a report needs a store or the results of fit, not {type(results).__name__}")
    nodes = [results] if isinstance(results, xr.Dataset) else list(results.subtree)
    groups = {
        (node.path if isinstance(node, xr.DataTree) else "/"): _plain(node)
        for node in nodes
        if "status" in node.variables
    }
    groups = {name: group for name, group in groups.items() if group["status"].size}
    name = path.name if path else "results in memory"
    if not groups:
        raise NoUsableInputError(f"{name} holds no fitted curve: nothing to report")
    for group in groups.values():
        missing = [part for part in PARTS if part not in group.variables]
        if missing:
            raise ConfigError(f"a report needs the results of fit; {name} has no {', '.join(missing)}")
    first = next(iter(groups.values()))
    return Source(
        name,
        path,
        groups,
        {str(k): v for k, v in (*first.attrs.items(), *results.attrs.items())},
        _manifest(results, path),
    )


def _plain(node: xr.Dataset | xr.DataTree) -> xr.Dataset:
    """Dataset with the file first among the dimensions of curves."""
    data = node.to_dataset(inherit=False) if isinstance(node, xr.DataTree) else node
    return data.transpose("file", ...) if "file" in data["status"].dims else data


def files_of(group: xr.Dataset, name: str) -> list[File]:
    """Files of a group; a group without files is one, called `name`."""

    def told(coord: str, other: Any) -> list[Any]:
        found = np.ravel(group[coord].values).tolist() if coord in group.coords else []
        return found if len(found) == count else [other] * count

    count = group.sizes["file"] if "file" in group["status"].dims else 1
    names = told("file", name)
    parts = zip(names, told("path", ""), told("size", None), told("content_hash", None), strict=True)
    return [
        File(str(file), str(path), size, "" if content is None else f"{int(content):016x}")
        for file, path, size, content in parts
    ]


def _manifest(results: xr.Dataset | xr.DataTree, path: Path | None) -> Manifest | None:
    """Of the attributes, else of the file beside the store; None where none can be read."""
    from pydantic import ValidationError

    from xpcs_dask.errors import FileRejected
    from xpcs_dask.jobs.manifest import manifest_path

    written = results.attrs.get(RUN)
    if isinstance(written, str):
        try:
            return Manifest.model_validate_json(written)
        except ValidationError:
            pass
    if path is not None and manifest_path(path).exists():
        try:
            return Manifest.read(manifest_path(path))
        except FileRejected:
            pass
    return None
