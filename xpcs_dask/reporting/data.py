"""Curves of the few files that are drawn: from where the results say they came from, or from data at hand."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xpcs_dask.errors import ConfigError, XpcsError
from xpcs_dask.reporting.source import File, Source

__all__ = ["Found", "curves_of"]

Found = dict[int, xr.Dataset | str]
"""By position of the file: its curves (the file still a dimension, if it was one), or why there are none."""


def curves_of(source: Source, files: Sequence[File], wanted: Iterable[int], data: Any = None) -> Found:
    """Find the curves of some files; nothing but these is read.

    Parameters
    ----------
    wanted : iterable of int
        Positions of the files.
    data : Dataset, DataTree, path or paths, optional
        Curves; without them the files are opened that the results name.
    """
    wanted = sorted(set(wanted))
    if isinstance(data, xr.Dataset | xr.DataTree):
        return _matched(_by_file(data), files, wanted, "is not among the data that were given")
    if data is not None and not isinstance(data, str | os.PathLike | list | tuple):
        raise ConfigError(f"data must be curves (Dataset, DataTree) or paths of files, not {type(data).__name__}")
    paths, missing = _paths(source, files, wanted, data)
    try:
        opened = _opened(source, paths) if paths else {}
    except (XpcsError, OSError) as error:
        return dict.fromkeys(wanted, f"its file cannot be read any more: {error}")
    there = [at for at in wanted if at not in missing]
    return {**missing, **_matched(opened, files, there, "cannot be read any more, or has changed since it was fitted")}


def _paths(
    source: Source, files: Sequence[File], wanted: Sequence[int], data: Any
) -> tuple[list[str], dict[int, xr.Dataset | str]]:
    if data is not None:
        return [os.fspath(one) for one in (data if isinstance(data, list | tuple) else [data])], {}
    stack = source.manifest.stack if source.manifest else None
    if stack is not None:
        if os.path.exists(stack.file):
            return [stack.file], {}
        return [], dict.fromkeys(wanted, f"the packed stack {stack.file} is gone")
    missing: dict[int, xr.Dataset | str] = {}
    for at in wanted:
        if not files[at].path:
            missing[at] = "the results do not say where its curves are; give them with data="
        elif not os.path.exists(files[at].path):
            missing[at] = f"{files[at].path} is gone"
    return [files[at].path for at in wanted if at not in missing], missing


def _opened(source: Source, paths: list[str]) -> Mapping[tuple[str, str], xr.Dataset]:
    from xpcs_dask.io.open import open_g2

    told: dict[str, Any] = source.manifest.config.told if source.manifest else {}
    return _by_file(open_g2(paths, on_error="skip", on_mismatch="split", **told))


def _by_file(data: xr.Dataset | xr.DataTree) -> dict[tuple[str, str], xr.Dataset]:
    """Curves of each file by name and content hash, which may be unknown."""
    nodes = [data] if isinstance(data, xr.Dataset) else [node.to_dataset(inherit=False) for node in data.subtree]
    found = {}
    for group in nodes:
        if "g2" not in group:
            continue
        if "file" not in group["g2"].dims:
            found["", ""] = group
            continue
        hashes = group["content_hash"].values if "content_hash" in group.coords else None
        for at, name in enumerate(
            group["file"].values.tolist() if "file" in group.coords else range(group.sizes["file"])
        ):
            content = "" if hashes is None else f"{int(hashes[at]):016x}"
            found[str(name), content] = group.isel(file=[at])
    return found


def _matched(
    found: Mapping[tuple[str, str], xr.Dataset], files: Sequence[File], wanted: Iterable[int], otherwise: str
) -> Found:
    matched: Found = {}
    alone = next(iter(found.values())) if len(found) == 1 and ("", "") in found else None
    for at in wanted:
        own = found.get((files[at].name, files[at].content))
        if own is None and not files[at].content:
            own = next((curves for (name, _), curves in found.items() if name == files[at].name), alone)
        matched[at] = f"{files[at].name} {otherwise}" if own is None else _read(own)
    return matched


def _read(curves: xr.Dataset) -> xr.Dataset | str:
    """Load the curves of a file; if that fails, why."""
    try:
        return curves.load() if curves.chunks else curves
    except (XpcsError, OSError) as error:
        return f"cannot be read any more: {error}"


def of_curve(curves: xr.Dataset, group: xr.Dataset, at: Mapping[str, int]) -> xr.Dataset:
    """One curve, all dimensions kept: by labels where there are any, else by position."""
    for dim, position in at.items():
        if dim == "file" or dim not in curves.dims:
            continue
        if dim in group.coords and dim in curves.coords:
            label = group[dim].values[position]
            places = np.flatnonzero(curves[dim].values == label)
            if not places.size:
                raise ConfigError(f"{dim} {label} is not among the curves")
            curves = curves.isel({dim: places[:1]})
        else:
            curves = curves.isel({dim: [position]})
    return curves
