"""Which curves are drawn, by their labels; and reading no more than these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from xpcs_dask.errors import ConfigError
from xpcs_dask.prepare import known
from xpcs_dask.spoken import cut

LONG = 24
"""Letters of a label, at most."""
SHOWN = 6
"""Curves that are drawn where nobody says which."""


def dataset(given: Any, what: str, needed: Iterable[str] = ()) -> xr.Dataset:
    """Return a Dataset that has the `needed` variables; `ConfigError` says what is missing and where it comes from."""
    if isinstance(given, xr.DataTree):
        groups = [node.path for node in given.subtree if node.data_vars]
        raise ConfigError(
            f"{what}: a DataTree with the groups {', '.join(groups) or 'none'}; draw one of them, "
            f"tree[{(groups or ['/'])[0]!r}].to_dataset()"
        )
    if not isinstance(given, xr.Dataset):
        raise ConfigError(f"{what} must be a Dataset, not {type(given).__name__}")
    for name in needed:
        if name not in given.variables:
            raise ConfigError(f"{what} {_has(what)} no {name}{WHERE_FROM.get(name, '')}")
    return given


WHERE_FROM: Mapping[str, str] = {
    "covariance": "; fit with detail='full'",
    "quality": "; fit with detail='full', or take the result of xpcs_dask.quality",
    "reduced_chi2": "; fit with detail='full'",
    "replicate": "; it comes from bootstrap(..., keep_replicates=True)",
    "value": "; it takes the results of fit",
    "interval": "; fit with interval='covariance' or 'profile', or bootstrap",
    "q": ", the wavevector of each bin in 1/angstrom; assign it along qbin",
    "akaike_weight": "; it takes the results of compare",
    "c2": "; it takes what open_arrays(path, ['c2']) returns",
}
"""What to do about a variable that is not there."""


def _has(what: str) -> str:
    """Verb that goes with what messages call a Dataset."""
    return "have" if what.startswith("the ") else "has"


def choose(data: xr.Dataset, at: Mapping[str, Any], what: str) -> xr.Dataset:
    """Keep the entries that `at` names; all dimensions stay.

    Parameters
    ----------
    at : mapping
        By dimension a label, a list of labels or a slice of positions. Where labels are texts, or there are none,
        whole numbers are positions.
    what : str
        How messages call the data.
    """
    for dim, wanted in at.items():
        if dim not in data.dims:
            raise ConfigError(f"{what} {_has(what)} no dimension {dim!r}; there are {', '.join(map(str, data.dims))}")
        data = data.isel({dim: _positions(data, dim, wanted, what)})
    return data


def _positions(data: xr.Dataset, dim: str, wanted: Any, what: str) -> Any:
    if isinstance(wanted, slice):
        return wanted
    labels = known(data[dim]) if dim in data.coords else None
    one_by_one = wanted if isinstance(wanted, list | tuple | np.ndarray | range) else [wanted]
    return [_position(labels, data.sizes[dim], label, dim, what) for label in one_by_one]


def _position(labels: Any, size: int, wanted: Any, dim: str, what: str) -> int:
    whole = isinstance(wanted, int | np.integer) and not isinstance(wanted, bool)
    if labels is None or (whole and labels.dtype.kind in "OUT"):
        if not whole or not -size <= wanted < size:
            raise ConfigError(f"{dim}={wanted!r}: {what} {_has(what)} {size} of them, numbered from 0")
        return int(wanted) % size
    found = np.flatnonzero(labels == wanted)
    if not found.size:
        there = ", ".join(str(label) for label in labels[:6]) + (", ..." if size > 6 else "")
        raise ConfigError(f"{dim}={wanted!r} is not among those of {what}: {there}")
    return int(found[0])


def alone(data: xr.Dataset, name: str, free: Iterable[str], what: str) -> xr.Dataset:
    """Refuse what still has several entries along another dimension than `free` of the variable `name`."""
    for dim in data[name].dims:
        if str(dim) not in free and data.sizes[dim] > 1:
            labels = known(data[dim]) if dim in data.coords else np.arange(data.sizes[dim])
            example = repr(str(labels[0])) if labels.dtype.kind in "OUT" else str(labels[0])
            raise ConfigError(
                f"{what} {_has(what)} {data.sizes[dim]} entries along {dim}; say which one: {dim}={example}"
            )
        if data.sizes[dim] == 0:
            raise ConfigError(f"{what} {_has(what)} no entry along {dim}: there is nothing to draw")
    return data


def spread(data: xr.Dataset, dim: str, at: Mapping[str, Any], most: int = SHOWN) -> xr.Dataset:
    """Thin a dimension that nobody chose from to `most` entries, evenly."""
    if dim in at or dim not in data.dims or data.sizes[dim] <= most:
        return data
    return data.isel({dim: np.unique(np.linspace(0, data.sizes[dim] - 1, most).round().astype(int))})


def same(other: xr.Dataset, chosen: xr.Dataset, dims: Iterable[str], what: str) -> xr.Dataset:
    """Return those entries of `other` that have the labels of `chosen` along `dims`, in their order."""
    for dim in dims:
        if dim not in other.dims:
            continue
        if dim not in chosen.dims:
            raise ConfigError(f"{what} {_has(what)} a dimension {dim} that the results do not have")
        if (dim in other.coords) != (dim in chosen.coords):
            raise ConfigError(f"{what} and the results are not of the same curves: labels along {dim} differ")
        if dim in chosen.coords:
            other = choose(other, {dim: known(chosen[dim])}, what)
        elif other.sizes[dim] != chosen.sizes[dim]:
            raise ConfigError(
                f"{what}: {other.sizes[dim]} entries along {dim}, the results have {chosen.sizes[dim]}, and no labels "
                "say which belong together"
            )
    ids = [known(d["curve_id"]) for d in (other, chosen) if "curve_id" in d.coords]
    if len(ids) == 2 and ids[0].size == ids[1].size and not np.array_equal(ids[0].ravel(), ids[1].ravel()):
        raise ConfigError(f"{what} and the results are not of the same curves: their curve_id differ")
    return other


def read(*parts: xr.Dataset) -> tuple[xr.Dataset, ...]:
    """Compute Datasets together, so that a block which several need is read once."""
    import dask

    return dask.compute(*parts)


def spoken(data: xr.Dataset, dim: str, at: int) -> str:
    """Name one entry of a dimension: its q, its label, or its number."""
    if dim == "qbin" and "q" in data.coords and data["q"].dims == (dim,):
        text = f"{float(known(data['q'])[at]):.4g}"
        phi = known(data["phi"]) if "phi" in data.coords and data["phi"].dims == (dim,) else np.zeros(1)
        return text if np.unique(phi[np.isfinite(phi)]).size < 2 else f"{text}, {phi[at]:.4g}°"
    label: Any = known(data[dim])[at] if dim in data.coords else at
    return label_of(label)


def heading(data: xr.Dataset, dim: str) -> str:
    """Say what the names of `spoken` are."""
    return "$q$ (Å⁻¹)" if dim == "qbin" and "q" in data.coords else dim


def label_of(label: Any) -> str:
    """Short text of a label: of a long name of a file its beginning and its end."""
    return cut(f"{label:.6g}" if isinstance(label, float | np.floating) else str(label), LONG)


def labels_of(data: xr.Dataset, dim: str) -> list[str]:
    """Short texts of all labels of a dimension: of names of files only the parts, between underscores, that differ."""
    if dim not in data.coords:
        return [f"{dim} {k}" for k in range(data.sizes[dim])]
    texts = [str(label) for label in known(data[dim])]
    parts = [text.split("_") for text in texts]
    if data[dim].dtype.kind not in "OUT" or len({len(part) for part in parts}) != 1 or len(set(texts)) < 2:
        return [label_of(label) for label in known(data[dim])]
    differ = [k for k in range(len(parts[0])) if len({part[k] for part in parts}) > 1]
    return [label_of("_".join(part[k] for k in differ)) for part in parts]
