"""Results as NeXus: one NXprocess a group of fits, in it one NXdata a parameter with its errors, units and axes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from xpcs_dask.io.export.pieces import curve_dims, pieces

PROGRAM = "xpcs_dask"
ENTRY = "xpcs_dask_fit"
GOODNESS = ("chi2", "dof", "n_used", "reduced_chi2", "aicc", "bic", "evaluations", "status", "rung", "flags")
INPUTS = ("file", "path", "size", "content_hash")


def write_nexus(groups: Mapping[str, xr.Dataset], path: Path) -> None:
    """Add an NXentry for each group to the file at `path`, which is made if it is missing.

    The entries are ``xpcs_dask_fit`` (with the name of the group behind it if there are several); what the file holds
    already is not touched, an entry of that name gets a successor with a number.
    """
    fresh = not path.exists()
    with h5py.File(path, "a") as file:
        names = {group: _free(file, _entry_name(group) if len(groups) > 1 else ENTRY) for group in groups}
        if fresh:
            file.attrs.update(NX_class="NXroot", creator=PROGRAM, default=next(iter(names.values())))
        for group, results in groups.items():
            _write_group(file, names[group], results)


def is_ours(path: Path) -> bool:
    """Whether the file holds an entry that `write_nexus` made."""
    try:
        with h5py.File(path, "r") as file:
            return any(_program(file, name) == PROGRAM for name in file)
    except (OSError, KeyError, RuntimeError):
        return False


def _program(file: h5py.File, entry: str) -> str:
    found = file.get(f"{entry}/fit/program")
    return found.asstr()[()] if isinstance(found, h5py.Dataset) and h5py.check_string_dtype(found.dtype) else ""


def _entry_name(group: str) -> str:
    return f"{ENTRY}_{group.strip('/').replace('/', '_')}"


def _free(file: h5py.File, name: str) -> str:
    number = 2
    found = name
    while found in file:
        found, number = f"{name}_{number}", number + 1
    return found


def _write_group(file: h5py.File, name: str, results: xr.Dataset) -> None:
    names = [str(parameter) for parameter in results["parameter"].to_numpy()]
    entry = _made(file, name, "NXentry", default="fit")
    entry["title"] = f"fit of the model {results.attrs.get('model', 'unknown')} to g2"
    process = _made(entry, "fit", "NXprocess", default=names[0])
    versions = json.loads(results.attrs.get("versions", "{}"))
    process["program"] = PROGRAM
    process["version"] = versions.get("xpcs-dask", "unknown")
    note = _made(process, "provenance", "NXcollection")
    for key, value in results.attrs.items():
        note[str(key)] = value
    inputs = _made(process, "inputs", "NXcollection")
    for key in INPUTS:
        if key in results.coords:
            _dataset(inputs, key, results[key].to_numpy(), results[key].attrs)
    targets = _targets(process, results, names)
    for part, piece in pieces(results, ("value", "stderr", *GOODNESS)):
        for where, values in _values(piece, names):
            target = targets[where]
            target[(part, *[slice(None)] * (target.ndim - 1)) if target.ndim else ()] = values


def _targets(process: h5py.Group, results: xr.Dataset, names: list[str]) -> dict[str, h5py.Dataset]:
    """Empty datasets in the NXdata groups, by the names that `_values` gives."""
    shape = tuple(results.sizes[dim] for dim in curve_dims(results))
    units = dict(zip(names, results["unit"].to_numpy(), strict=True))
    found = {}
    for name in names:
        group = _data(process, name, name, results)
        known = {"units": str(units[name])}
        found[name] = _empty(group, name, shape, "f8", known | {"long_name": f"fitted {name}"})
        errors = known | {"long_name": f"standard error of {name}"}
        found[f"{name}_errors"] = _empty(group, f"{name}_errors", shape, "f8", errors)
    group = _data(process, "goodness", "chi2", results)
    present = [name for name in GOODNESS if name in results]
    group.attrs["auxiliary_signals"] = [name for name in present if name != "chi2"]
    for name in present:
        found[name] = _empty(group, name, shape, results[name].dtype, results[name].attrs)
    return found


def _values(piece: xr.Dataset, names: list[str]) -> Any:
    dims = curve_dims(piece)
    for variable, suffix in (("value", ""), ("stderr", "_errors")):
        table = piece[variable].transpose(*dims, "parameter").to_numpy()
        for k, name in enumerate(names):
            yield f"{name}{suffix}", table[..., k]
    for name in GOODNESS:
        if name in piece:
            yield name, piece[name].transpose(*dims).to_numpy()


def _data(process: h5py.Group, name: str, signal: str, results: xr.Dataset) -> h5py.Group:
    """NXdata with its axes; other coordinates along one dimension of the curves lie beside them."""
    group = _made(process, name, "NXdata", signal=signal)
    dims = curve_dims(results)
    axes = []
    for position, dim in enumerate(dims):
        for coordinate in _along(results, dim):
            _dataset(group, coordinate, results[coordinate].to_numpy(), results[coordinate].attrs)
            group.attrs[f"{coordinate}_indices"] = position
        axes.append(_axis(group, results, dim))
        group.attrs[f"{axes[-1]}_indices"] = position
    if axes:
        group.attrs["axes"] = axes
    return group


def _along(results: xr.Dataset, dim: str) -> list[str]:
    """Numbers along a dimension that a plot can use: of bins q, phi and label, else the coordinate itself."""
    names = ("q", "phi", "qbin") if dim == "qbin" else (dim,)
    kept = [name for name in names if name in results.coords and results[name].dims == (dim,)]
    return [name for name in kept if results[name].dtype.kind in "iuf" and np.isfinite(results[name].values).all()]


def _axis(group: h5py.Group, results: xr.Dataset, dim: str) -> str:
    """Name of the axis of a dimension: q if it tells the bins apart, else the coordinate, else the number."""
    candidates = [name for name in _along(results, dim) if len(np.unique(results[name].values)) == results.sizes[dim]]
    if candidates:
        return candidates[0]
    name = f"{dim}_number"
    _dataset(group, name, np.arange(1, results.sizes[dim] + 1), {"long_name": f"number of the {dim}"})
    return name


def _made(parent: h5py.Group, name: str, kind: str, **attrs: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs.update(NX_class=kind, **attrs)
    return group


def _empty(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: Any, attrs: Mapping[Any, Any]) -> h5py.Dataset:
    made = group.create_dataset(name, shape, dtype)
    made.attrs.update(_plain(attrs))
    return made


def _dataset(group: h5py.Group, name: str, values: Any, attrs: Mapping[Any, Any]) -> None:
    text = np.asarray(values).dtype.kind in "OUT"
    made = group.create_dataset(name, data=np.asarray(values, object) if text else values,
                                dtype=h5py.string_dtype() if text else None)  # fmt: skip
    made.attrs.update(_plain(attrs))


def _plain(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Attributes without those that say nothing: the units of words."""
    return {str(key): value for key, value in attrs.items() if not (key == "units" and value == "")}
