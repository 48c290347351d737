"""Results on disk: Zarr (format 3) folders and NetCDF files, whole or not there, read back as they were."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xpcs_dask.errors import ConfigError, FileRejected, OutputExistsError
from xpcs_dask.fitting.layout import SCHEMA_VERSION
from xpcs_dask.results.atomic import whole
from xpcs_dask.results.label import attributes, plain_text


def _with_unknown_errors(data: xr.Dataset) -> xr.Dataset:
    """Version 1 did not say what standard errors rest on."""
    unknown = {"errors_from": (0, np.int8), "errors_dof": (np.nan, np.float32)}
    found = {name: xr.full_like(data["status"], value, dtype) for name, (value, dtype) in unknown.items()}
    for name, array in found.items():
        array.attrs = attributes(name, array.dtype)
    return data.assign(found)


MIGRATIONS: dict[int, Callable[[xr.Dataset], xr.Dataset]] = {1: _with_unknown_errors}
"""What turns a result of schema version ``key`` into one of version ``key + 1``."""

SETTINGS = ("model", "config", "bounds", "inputs", "versions", "cpu")
"""Attributes that two results of the same call share."""


def save(results: xr.Dataset | xr.DataTree, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write results to a Zarr store (``.zarr``) or a NetCDF file (``.nc``); computes them if they are lazy.

    Everything is written beside the target first and renamed when it is complete, so a store of that name is never
    half-written. A DataTree is saved as groups.

    Parameters
    ----------
    results : xarray.Dataset or xarray.DataTree
        From `fit`.
    path : path
        Ends in ``.zarr`` (format 3, blocks written one by one) or ``.nc`` (NetCDF 4; computed as a whole first).
    overwrite : bool
        Replace results that are already there.

    Returns
    -------
    pathlib.Path
        Where they are.

    Raises
    ------
    OutputExistsError
        If the path exists and `overwrite` is False, or what exists holds no results of this package.
    ConfigError
        For another suffix.
    """
    path = Path(path)
    netcdf = _is_netcdf(path)
    if os.path.lexists(path):
        ours = holds_results(path)
        if not (overwrite and ours):
            raise OutputExistsError(str(path), _difference(path, results, ours), ours)
    nodes = results.subtree if isinstance(results, xr.DataTree) else [xr.DataTree(results)]
    tree = xr.DataTree.from_dict({node.path: _storable(node.to_dataset(inherit=False), netcdf) for node in nodes})
    tree.attrs.setdefault("schema_version", SCHEMA_VERSION)
    with whole(path) as unfinished:
        if netcdf:
            tree.to_netcdf(unfinished, engine="h5netcdf")
        else:
            tree.to_zarr(unfinished, zarr_format=3, consolidated=False)
    return path


def open_results(path: str | os.PathLike[str]) -> xr.Dataset | xr.DataTree:
    """Open what `save` wrote, lazily; older schemas are brought up to date in memory.

    Returns
    -------
    xarray.Dataset or xarray.DataTree
        A DataTree if groups were saved, in natural order of their paths.

    Raises
    ------
    FileRejected
        If there is nothing, or nothing that this version can read.
    """
    path = Path(path)
    netcdf = _is_netcdf(path)
    if not path.exists():
        raise FileRejected(str(path), "there is no such file or folder")
    options: dict[str, Any] = {"engine": "h5netcdf"} if netcdf else {"engine": "zarr", "consolidated": False}
    try:
        tree, plain = xr.open_datatree(path, chunks={}, **options), xr.open_datatree(path, **options)
    except (OSError, ValueError, KeyError) as error:
        raise FileRejected(str(path), f"cannot be read as results: {error}") from error
    if "schema_version" not in tree.attrs:
        raise FileRejected(str(path), "holds no results of xpcs_dask (no schema_version)")
    # Stores list their groups in any order, another one at each opening: only the path says which is which.
    lazy, loaded = ({node.path: node.to_dataset(inherit=False) for node in opened.subtree} for opened in (tree, plain))
    groups = {}
    for name in sorted(lazy, key=_natural):
        found = _with_coords(lazy[name], loaded[name])
        groups[name] = _current(found, path) if "schema_version" in found.attrs else found
    return xr.DataTree.from_dict(groups) if tree.children else groups["/"]


def holds_results(path: str | os.PathLike[str]) -> bool:
    """Whether `save` wrote what is there, of whatever schema version; tells it from the root's attributes alone."""
    path = Path(path)
    try:
        return "schema_version" in (_netcdf_attrs(path) if _is_netcdf(path) else _zarr_attrs(path))
    except (OSError, ValueError):
        return False


def _netcdf_attrs(path: Path) -> list[str]:
    import h5py

    with h5py.File(path, "r") as file:
        return list(file.attrs)


def _zarr_attrs(path: Path) -> Any:
    described = json.loads((path / "zarr.json").read_text())
    return described.get("attributes", {}) if isinstance(described, dict) else {}


def _natural(path: str) -> list[int | str]:
    """Key that sorts group_2 before group_10."""
    return [int(piece) if piece.isdecimal() else piece for piece in re.split(r"(\d+)", path)]


def _with_coords(data: xr.Dataset, plain: xr.Dataset) -> xr.Dataset:
    """Load the coordinates along one dimension, and all texts, without Dask: opening must not run tasks."""
    small = [name for name, coord in plain.coords.items() if coord.ndim < 2 or coord.dtype.kind in "OTU"]
    return data.assign_coords({name: plain_text(plain[name].load()) for name in small})


def _is_netcdf(path: Path) -> bool:
    if path.suffix not in (".zarr", ".nc"):
        raise ConfigError(f"{path}: the format of results is told by the suffix; give a path ending in .zarr or .nc")
    return path.suffix == ".nc"


def _storable(data: xr.Dataset, whole: bool) -> xr.Dataset:
    """Make it fit for any store: text as objects (Zarr 3 knows no fixed-length text), blocks of equal size."""
    data = (data.compute() if whole else data).drop_encoding()
    for name, variable in data.variables.items():
        if variable.dtype.kind in "OUT":
            data[name] = variable.compute().astype(object)
        elif variable.chunks is not None:
            data[name] = variable.chunk(dict(zip(variable.dims, map(max, variable.chunks), strict=True)))
    return data


def _current(data: xr.Dataset, path: Path) -> xr.Dataset:
    """Results as `fit` would return them now: migrated, with the types of text and attributes that stores change."""
    found = int(data.attrs["schema_version"])
    for old in range(found, SCHEMA_VERSION):
        if old not in MIGRATIONS:
            raise FileRejected(str(path), f"has schema_version {found}, which this version cannot read any more")
        data = MIGRATIONS[old](data)
    if found > SCHEMA_VERSION:
        raise FileRejected(
            str(path), f"has schema_version {found}, this version reads up to {SCHEMA_VERSION}; update xpcs-dask"
        )
    for variable in data.variables.values():
        variable.attrs = {key: _as_it_was(key, value, variable.dtype) for key, value in variable.attrs.items()}
    plain = {key: _as_it_was(key, value, None) for key, value in data.attrs.items()}
    data.attrs = {**plain, "schema_version": SCHEMA_VERSION}
    return data


def _as_it_was(key: str, value: Any, dtype: Any) -> Any:
    """Undo what Zarr (lists) and NetCDF (arrays) do to an attribute."""
    if key in ("flag_values", "flag_masks"):
        return np.atleast_1d(np.asarray(value, dtype=dtype))
    return value.item() if isinstance(value, np.generic) else value


def _difference(path: Path, results: xr.Dataset | xr.DataTree, ours: bool) -> str:
    """How what exists differs from what would be written, for the message."""
    if not ours:
        return "something else: it holds no results"
    try:
        there = open_results(path)
    except FileRejected as error:
        return f"results that cannot be read ({error.reason})"
    old, new = (_first_attrs(found) for found in (there, results))
    other = [name for name in SETTINGS if old.get(name) != new.get(name)]
    return f"another {', '.join(other)}" if other else "the same settings and inputs"


def _first_attrs(results: xr.Dataset | xr.DataTree) -> dict[Any, Any]:
    if isinstance(results, xr.Dataset):
        return results.attrs
    return next((node.attrs for node in results.subtree if "model" in node.attrs), {})
