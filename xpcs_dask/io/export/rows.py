"""Results as a table: one row a curve, units with every column, codes in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xpcs_dask.fitting.layout import Rung, Status, flag_names
from xpcs_dask.io.export.pieces import curve_dims
from xpcs_dask.io.schema import SCALARS, VARIABLES

Values = NDArray[Any]

GROUP = "group"
ALWAYS = ("file", "start_time", "qbin", "q", "phi", "curve_id")
"""Coordinates of `schema.VARIABLES` that a table has; the others describe files, not fits."""
NUMBERS = ("chi2", "reduced_chi2", "dof", "n_used", "aicc", "bic")
WORDS: dict[str, type[IntEnum]] = {"status": Status, "rung": Rung}
NEEDED = ("value", "stderr", *NUMBERS, *WORDS, "flags")
"""Variables of results that a table is made of."""


@dataclass(frozen=True, slots=True)
class Column:
    """What one column is; `units` are empty where the values are words."""

    name: str
    units: str = "1"
    long_name: str = ""

    @property
    def title(self) -> str:
        """Name with the unit, where there is one: ``tau (s)``."""
        return self.name if self.units in ("", "1") else f"{self.name} ({self.units})"


def columns(results: xr.Dataset) -> list[Column]:
    """Columns of a table of `results`, in order; nothing is computed."""
    found = [*_places(results)]
    for name, unit in zip(results["parameter"].to_numpy(), results["unit"].to_numpy(), strict=True):
        found += [
            Column(str(name), str(unit), f"fitted {name}"),
            Column(f"{name}_stderr", str(unit), f"standard error of {name}"),
        ]
    for name in NUMBERS:
        if name in results:
            found.append(Column(name, "1", results[name].attrs.get("long_name", "")))
    found += [Column(name, "", results[name].attrs.get("long_name", "")) for name in (*WORDS, "flags")]
    return found


def table(piece: xr.Dataset, group: str = "") -> dict[str, Values]:
    """One flat array a column of `columns` (and the group, if it is named), curves in C order; `piece` is in memory."""
    dims = curve_dims(piece)
    shape = tuple(piece.sizes[dim] for dim in dims)
    found: dict[str, Values] = {}
    if group:
        found[GROUP] = np.full(int(np.prod(shape)), group, dtype=object)
    for column in _places(piece):
        found[column.name] = _spread(_place(piece, column.name), dims, shape)
    for name in piece["parameter"].to_numpy():
        for variable, suffix in (("value", ""), ("stderr", "_stderr")):
            found[f"{name}{suffix}"] = _spread(piece[variable].sel(parameter=name, drop=True), dims, shape)
    for name in NUMBERS:
        if name in piece:
            found[name] = _spread(piece[name], dims, shape)
    for name, kind in WORDS.items():
        found[name] = _worded(_spread(piece[name], dims, shape), lambda code, kind=kind: kind(code).name.lower())
    found["flags"] = _worded(_spread(piece["flags"], dims, shape), lambda code: " ".join(flag_names(code)))
    return found


def _places(results: xr.Dataset) -> Iterator[Column]:
    """Which curve it is: dimensions, then what coordinates tell."""
    dims = curve_dims(results)
    known = [name for name in (*ALWAYS, *SCALARS) if name in results.coords or name in dims]
    others = [str(name) for name in results.coords if name not in VARIABLES and name not in known]
    positions = [dim for dim in dims if dim not in known and dim not in others]
    for name in sorted({*known, *positions, *others}, key=[*ALWAYS[:2], *positions, *others, *ALWAYS, *SCALARS].index):
        coordinate = _place(results, name)
        if not set(coordinate.dims) <= set(dims) or coordinate.dtype.kind not in "OUTbiufM":
            continue
        text = coordinate.dtype.kind in "OUTM"
        units = "" if text else str(coordinate.attrs.get("units", "1"))
        yield Column(name, units, str(coordinate.attrs.get("long_name", "")))


def _place(results: xr.Dataset, name: str) -> xr.DataArray:
    """Coordinate, or where a dimension has none the position along it."""
    if name in results.coords:
        return results[name]
    attrs = {"units": "1", "long_name": f"position along {name}"}
    return xr.DataArray(np.arange(results.sizes[name]), dims=name, attrs=attrs)


def _spread(values: xr.DataArray, dims: tuple[str, ...], shape: tuple[int, ...]) -> Values:
    present = [dim for dim in dims if dim in values.dims]
    array = values.transpose(*present).to_numpy()
    full = array.reshape([size if dim in present else 1 for dim, size in zip(dims, shape, strict=True)])
    return np.broadcast_to(full, shape).reshape(-1)


def _worded(codes: Values, word: Any) -> Values:
    known = {int(code): word(int(code)) for code in np.unique(codes)}
    return np.array([known[code] for code in codes.tolist()], dtype=object)
