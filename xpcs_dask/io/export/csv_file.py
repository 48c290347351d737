"""Results as text: one row a curve, units in the header, numbers in full precision."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xpcs_dask.io.export.pieces import pieces
from xpcs_dask.io.export.rows import GROUP, NEEDED, Column, Values, columns, table


def write_csv(groups: Mapping[str, xr.Dataset], path: Path) -> None:
    """Write all groups below each other; what a group has no value of is empty, as is NaN."""
    header = all_columns(groups)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([column.title for column in header])
        for name, results in groups.items():
            for _, piece in pieces(results, NEEDED):
                found = table(piece, named(name, groups))
                count = len(found["status"])
                empty = [""] * count
                lists = [_printable(found[c.name]) if c.name in found else empty for c in header]
                writer.writerows(zip(*lists, strict=True))


def all_columns(groups: Mapping[str, xr.Dataset]) -> list[Column]:
    """Columns of all groups, each once; the first is the group if there are several."""
    found: dict[str, Column] = {}
    for results in groups.values():
        for column in columns(results):
            found.setdefault(column.name, column)
    first = [Column(GROUP, "", "group of the results")] if len(groups) > 1 else []
    return first + list(found.values())


def named(name: str, groups: Mapping[str, xr.Dataset]) -> str:
    """Name of a group in its column; empty if it is the only one."""
    return (name.strip("/") or "/") if len(groups) > 1 else ""


def _printable(values: Values) -> list[Any]:
    """Words as they are, numbers in the fewest digits that read back as the same number, nothing for NaN."""
    if values.dtype.kind == "M":
        return ["" if np.isnat(value) else str(value) for value in values.astype("datetime64[us]")]
    if values.dtype.kind == "f":
        return ["" if math.isnan(value) else repr(value) for value in values.astype(np.float64).tolist()]
    return list(values.tolist())


def is_ours(path: Path) -> bool:
    """Whether `write_csv` may have written the file: its first line has our columns."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            first = next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    return {"chi2", "status", "rung", "flags"} <= set(first)
