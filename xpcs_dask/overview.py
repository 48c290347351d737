"""What a Dataset of curves or of results holds, in a few lines: for a prompt or a notebook."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from xpcs_dask.physics.used_bins import DISTRUSTED
from xpcs_dask.results.summary import summary

__all__ = ["overview", "worst_first"]

FLAGS_SHOWN = 4
INSIDE = ("delay", "parameter", "parameter2")
"""Dimensions of what belongs to one curve."""
TOLD = ("model", "covariance_kind", "law_formula")
"""Attributes that are told as they are."""
RANGES = {"q": "1/angstrom", "phi": "degree", "delay": "s", "temperature": ""}
"""Coordinates whose range is told, and their unit where none is kept."""


def overview(data: xr.Dataset | xr.DataTree) -> tuple[str, dict[str, str]]:
    """Title and rows; nothing lazy is computed.

    Parameters
    ----------
    data : xarray.Dataset or xarray.DataTree
        Curves (``g2``), results of fits (``status``), or anything else, of which sizes are told.

    Returns
    -------
    title : str
        What it is and how much of it.
    rows : dict of str
        Files, ranges of q and delay, settings, how fits ended, what to distrust; only what is known.
    """
    groups = _groups(data)
    first = groups[0]
    rows = {"groups": f"{len(groups)}, by q-map and delay grid"} if len(groups) > 1 else {}
    rows |= _files(groups) | {name: text for name, unit in RANGES.items() if (text := _range(groups, name, unit))}
    rejected = json.loads(data.attrs.get("rejected", "[]"))
    if rejected:
        rows["rejected files"] = str(len(rejected))
    if "status" in first:
        rows |= _ends(data, groups)
    rows |= {name: str(first.attrs[name]) for name in TOLD if name in first.attrs}
    return _title(groups), rows


def worst_first(flags: Mapping[str, int]) -> list[tuple[str, int]]:
    """Order the flags that occur: those whose numbers are not to be believed first, then by how many curves."""
    found = [(name, number) for name, number in flags.items() if number]
    return sorted(found, key=lambda item: (item[0] not in DISTRUSTED, -item[1], item[0]))


def _groups(data: xr.Dataset | xr.DataTree) -> list[xr.Dataset]:
    if isinstance(data, xr.Dataset):
        return [data]
    found = [node.to_dataset(inherit=False) for node in data.subtree]
    return [group for group in found if "g2" in group or "status" in group] or found[:1]


def _title(groups: Iterable[xr.Dataset]) -> str:
    texts = []
    for name, what in (("g2", "curves"), ("status", "fitted curves"), ("correlation", "fitted laws")):
        shapes = [group[name].sizes for group in groups if name in group]
        if shapes:
            number = sum(int(np.prod([size for dim, size in sizes.items() if dim not in INSIDE])) for sizes in shapes)
            one = " × ".join(f"{size} {dim}" for dim, size in shapes[0].items() if name == "g2" or dim not in INSIDE)
            texts.append(f"{number:,} {what}" + (f" ({one})" if len(shapes) == 1 else ""))
    return ", ".join(texts) or "no curves and no results of fits"


def _files(groups: Iterable[xr.Dataset]) -> dict[str, str]:
    told = [group["file"].variable for group in groups if "file" in group.coords and group["file"].size]
    names = [str(name) for variable in told for name in np.ravel(variable)[[0, -1]]]
    number = sum(variable.size for variable in told)
    if not number:
        return {}
    return {"files": names[0] if number == 1 else f"{number:,}, {names[0]} to {names[-1]}"}


def _range(groups: Iterable[xr.Dataset], name: str, unit: str) -> str:
    there = [group[name] for group in groups if name in group.coords and group[name].chunks is None]
    values = np.concatenate([np.ravel(array).astype(float) for array in there]) if there else np.zeros(0)
    values = values[np.isfinite(values)]
    if not values.size:
        return ""
    unit = str(there[0].attrs.get("units", unit))
    ends = f"{values.min():.4g}" if values.min() == values.max() else f"{values.min():.4g} to {values.max():.4g}"
    return f"{ends} {unit}".strip()


def _ends(data: xr.Dataset | xr.DataTree, groups: Iterable[xr.Dataset]) -> dict[str, str]:
    """How fits ended and what to distrust, unless that is still to be computed."""
    if any(group[name].chunks is not None for group in groups for name in ("status", "rung", "flags") if name in group):
        return {"status": "not computed yet"}
    if not all({"rung", "flags"} <= set(group.variables) for group in groups):
        return {}
    found: dict[str, Any] = summary(data)
    flags = [f"{name} {number}" for name, number in worst_first(found["flag_counts"])]
    more = f" and {len(flags) - FLAGS_SHOWN} more kinds" if len(flags) > FLAGS_SHOWN else ""
    return {
        "status": ", ".join(f"{name} {number}" for name, number in found["status_counts"].items() if number),
        "flags": (", ".join(flags[:FLAGS_SHOWN]) + more) or "none",
    }
