"""Fits before they get names: one record a curve, the only thing that need travel between processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import xarray as xr

from xpcs_dask.engine.graph import columns
from xpcs_dask.fitting.models import Model
from xpcs_dask.results.label import LAST, label, label_points


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedFits:
    """Fitted curves as records, NumPy or Dask, and all that names them."""

    records: Any
    """(...) of `fitting.layout.fit_dtype`."""
    points: Any = None
    """(..., delay) of `fitting.points.POINT`, if asked for."""
    dims: Sequence[str]
    """Of the points: those of the records, and delay."""
    coords: Mapping[Any, xr.DataArray]
    model: Model
    attrs: Mapping[str, Any]

    def labelled(self) -> xr.Dataset:
        """Give every number its name; lazy if the records are."""
        by_delay = any("delay" in LAST.get(name, ()) for name in self.records.dtype.names)
        own = {name: c for name, c in self.coords.items() if by_delay or "delay" not in c.dims}
        found = label(columns(self.records), self.dims[:-1], own, self.model, self.attrs)
        if self.points is None:
            return found
        return found.assign(quality=label_points(columns(self.points), self.dims, self.coords)["quality"])
