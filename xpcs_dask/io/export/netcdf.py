"""Results as NetCDF 4, without loss: `open_results` gives them back as they were."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from xpcs_dask.fitting.layout import SCHEMA_VERSION
from xpcs_dask.io.export.pieces import curve_dims, pieces
from xpcs_dask.results import holds_results

is_ours = holds_results


def write_netcdf(groups: Mapping[str, xr.Dataset], path: Path, attrs: Mapping[Any, Any] | None = None) -> None:
    """Write coordinates first, then the fits of each group piece by piece; `attrs` are those of a tree's root."""
    import h5netcdf  # type: ignore[import-untyped]

    tree = xr.DataTree.from_dict({name: _described(results) for name, results in groups.items()})
    tree.attrs = {"schema_version": SCHEMA_VERSION, **(attrs or {}), **tree.attrs}
    tree.to_netcdf(path, engine="h5netcdf")
    with h5netcdf.File(path, "a") as file:
        for name, results in groups.items():
            group = file if name == "/" else file[name]
            _fill(group, results)


def _fill(group: Any, results: xr.Dataset) -> None:
    dims = curve_dims(results)
    for name, variable in results.data_vars.items():
        for dim, size in variable.sizes.items():
            if dim not in group.dimensions:
                group.dimensions[dim] = size
        made = group.create_variable(name, variable.dims, variable.dtype)
        made.attrs.update(variable.attrs)
    for part, piece in pieces(results):
        for name, variable in piece.data_vars.items():
            place = tuple(part if dims and dim == dims[0] else slice(None) for dim in variable.dims)
            group.variables[name][place] = variable.to_numpy()


def _described(results: xr.Dataset) -> xr.Dataset:
    """Coordinates and attributes alone, text as objects."""
    data = results.drop_vars(list(results.data_vars)).compute().drop_encoding()
    text = [name for name, variable in data.variables.items() if variable.dtype.kind in "OUT"]
    return data.assign_coords({name: data[name].astype(object) for name in text})
