"""Curves of results, some files at a time, so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xpcs_dask.fitting.models import Model, by_name
from xpcs_dask.fitting.uncertainty import reduced_chi2
from xpcs_dask.reporting.source import PARTS, Source, files_of

__all__ = ["Slab", "relaxation_times", "slabs"]

SLAB = 50_000
"""Curves that are in memory at a time."""
OPTIONAL = ("errors_from", "interval")


@dataclass(frozen=True)
class Slab:
    """Some curves, row by row; n of them with p parameters."""

    data: xr.Dataset
    """The same, with dimensions."""
    group: str
    number: int
    """Of its first curve."""
    file: NDArray[np.intp]
    """Position (n,) among all files."""
    at: Mapping[str, NDArray[np.intp]]
    """Position (n,) along each dimension of the group."""
    labels: Mapping[str, NDArray[Any]]
    """By dimension but `file`, and q and phi: label (n,)."""
    names: tuple[str, ...]
    """Of the parameters."""
    units: tuple[str, ...]
    columns: Mapping[str, NDArray[Any]]
    """By variable, (n, ...)."""

    def __len__(self) -> int:
        return len(self.file)

    def of(self, name: str, variable: str = "value") -> NDArray[np.float64]:
        """Value or stderr (n,) of one parameter."""
        return np.asarray(self.columns[variable][:, self.names.index(name)], dtype=np.float64)

    @property
    def reduced_chi2(self) -> NDArray[np.float64]:
        """chi2 over degrees of freedom (n,); NaN where there are none."""
        return reduced_chi2(self.columns["chi2"], self.columns["dof"])

    @property
    def times(self) -> tuple[str, ...]:
        """Relaxation times among the parameters."""
        return relaxation_times(self.data)


def slabs(source: Source) -> Iterator[Slab]:
    """All curves, some files at a time."""
    number = files = 0
    for name, group in source.groups.items():
        dims = [str(dim) for dim in group["status"].dims]
        rows = max(1, SLAB // max(1, group["status"].size // max(1, group.sizes.get(dims[0], 1)))) if dims else 1
        for start in range(0, group.sizes[dims[0]] if dims else 1, rows):
            part = group.isel({dims[0]: slice(start, start + rows)}) if dims else group
            yield (slab := _slab(part, name, number, files, start, dims))
            number += len(slab)
        files += len(files_of(group, source.name))


def model_of(group: xr.Dataset) -> Model | None:
    """Record of the model of results; None if it was a function of a user."""
    return by_name(str(group.attrs.get("model", "")), group["parameter"].values)


def relaxation_times(group: xr.Dataset) -> tuple[str, ...]:
    """Parameters that are relaxation times, by the record of the model, else by name and unit."""
    record = model_of(group)
    if record is not None:
        return tuple(p.name for p in record.parameters if p.relaxation_time and p.unit == "s")
    pairs = zip(group["parameter"].values.tolist(), group["unit"].values.tolist(), strict=True)
    return tuple(name for name, unit in pairs if unit == "s" and name.startswith("tau"))


def _slab(part: xr.Dataset, group: str, number: int, files: int, start: int, dims: list[str]) -> Slab:
    kept = [*PARTS, *(name for name in OPTIONAL if name in part.variables)]
    data = part[kept].compute()
    shape = data["status"].shape
    index = {dim: np.broadcast_to(grid, shape).reshape(-1) for dim, grid in zip(dims, _grids(shape), strict=True)}
    labels: dict[str, Any] = {}
    for dim in dims:
        if dim != "file":
            own = data[dim].values if dim in data.coords else np.arange(data.sizes[dim])
            labels[dim] = own[index[dim]]
    for name in ("q", "phi"):
        if name in data.coords and set(data[name].dims) <= set(dims):
            wide = data[name].broadcast_like(data["status"]).transpose(*dims)
            labels[name] = np.asarray(wide.values, dtype=np.float64).reshape(-1)
    columns = {
        name: data[name].transpose(*dims, ...).values.reshape(-1, *data[name].shape[len(dims) :]) for name in kept
    }
    if dims:
        index[dims[0]] = index[dims[0]] + start
    own_file = index["file"] + files if "file" in index else np.full(data["status"].size, files)
    return Slab(
        data=data,
        group=group,
        number=number,
        file=own_file,
        at=index,
        labels=labels,
        names=tuple(map(str, data["parameter"].values)),
        units=tuple(map(str, data["unit"].values)),
        columns=columns,
    )


def _grids(shape: tuple[int, ...]) -> list[NDArray[np.intp]]:
    return list(np.indices(shape, sparse=True)) if shape else []
