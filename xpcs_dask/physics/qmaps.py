"""q-maps: which pixel belongs to which bin, and q of each bin; from files, or from any integer label map."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import h5py
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from xpcs_dask.errors import ConfigError, FileRejected
from xpcs_dask.io.formats import identify, reader
from xpcs_dask.io.hdf5 import ResultFile, is_hdf5, open_hdf5
from xpcs_dask.io.places import places
from xpcs_dask.io.schema import APS, DEGREES, PER_ANGSTROM, VARIABLES
from xpcs_dask.io.units import SHOWN, factor
from xpcs_dask.physics.regions import Labels, smallest

Given: TypeAlias = str | os.PathLike[str] | xr.Dataset | Sequence[Any]

GROUPS = (APS.qmap, "qmap")
"""Where q-maps of the producer are: in its results, and in files of their own."""


def qmap(
    labels: ArrayLike,
    q: ArrayLike,
    phi: ArrayLike | None = None,
    *,
    static: ArrayLike | None = None,
    q_unit: str = "1/angstrom",
) -> xr.Dataset:
    """q-map from a map of integer labels, as pySAXS, pyFAI, scikit-beam and others make them.

    Parameters
    ----------
    labels : (row, column) integers
        Bin of each pixel: 1, 2, ... n; 0 is masked.
    q : (n,)
        Momentum transfer of bins 1 ... n.
    phi : (n,), optional
        Azimuth in degree.
    static : (row, column) integers, optional
        Finer bins, 0 where masked: each is normalised by its own mean intensity, and g2 of a bin is the mean over them.
        Without it each bin is normalised as a whole, which raises g2 where intensity differs inside the bin.
    q_unit : str
        1/angstrom, 1/nm or 1/m.

    Returns
    -------
    xarray.Dataset
        ``dynamic_map`` and ``static_map (row, column)``, coordinates ``qbin``, ``q`` in 1/angstrom and ``phi``.

    Raises
    ------
    ConfigError
        For shapes that disagree, labels that are no whole numbers, a unit that is not known, and bins without pixels.

    Examples
    --------
    >>> import numpy as np
    >>> rings = qmap(np.repeat([[0, 1, 1, 2]], 3, axis=0), q=[0.05, 0.07], q_unit="1/nm")
    >>> rings.q.values.tolist()
    [0.005, 0.007000000000000001]
    """
    dynamic, values = _labels(labels, "labels"), np.atleast_1d(np.asarray(q, np.float64))
    fine = dynamic if static is None else _labels(static, "static")
    angles = np.full(values.shape, np.nan) if phi is None else np.atleast_1d(np.asarray(phi, np.float64))
    scale = factor(q_unit, PER_ANGSTROM)
    if scale is None:
        raise ConfigError(f"q_unit: {q_unit!r} is not known; known are {SHOWN['q_unit']}")
    if angles.shape != values.shape:
        raise ConfigError(f"phi: {angles.size} azimuths for {values.size} bins; give one for each q")
    if dynamic.max() > values.size:
        raise ConfigError(
            f"qmap: q is given for {values.size} bins, but the map has a bin {dynamic.max()}; give q for each"
        )
    return _dataset(dynamic, fine, np.arange(1, values.size + 1), values * scale, angles)


def as_qmap(given: Given) -> xr.Dataset:
    """q-map of whatever `regroup` takes as ``qmap=``: a file, a Dataset, or ``(labels, q)`` and perhaps phi.

    Raises
    ------
    ConfigError
        For arrays that are no q-map; names the knob and the numbers.
    FileRejected
        For a file without a q-map, or with one that cannot be used.
    """
    if isinstance(given, str | os.PathLike):
        return open_qmap(given)
    if isinstance(given, xr.Dataset):
        return _checked(given)
    if isinstance(given, list | tuple) and len(given) in (2, 3):
        return qmap(*given)
    raise ConfigError(
        f"qmap: {type(given).__name__} is no q-map; give a file, a Dataset of xpcs_dask.qmap, or (labels, q) or "
        "(labels, q, phi)"
    )


def _checked(data: xr.Dataset) -> xr.Dataset:
    """Make the same of a Dataset that others made: dimensions in order, units and labels known."""
    if lacking := [name for name in ("dynamic_map", "q") if name not in data.variables]:
        raise ConfigError(f"qmap: the Dataset lacks {', '.join(lacking)}; make it with xpcs_dask.qmap(labels, q)")
    maps = [data[name].squeeze().values for name in ("dynamic_map", "static_map") if name in data.variables]
    dynamic, static = (_labels(maps[k], name) for k, name in ((0, "dynamic_map"), (-1, "static_map")))
    unit = str(data["q"].attrs.get("units", "1/angstrom"))
    scale = factor(unit, PER_ANGSTROM)
    if scale is None:
        raise ConfigError(f"qmap: the unit {unit!r} of q is not known; known are {SHOWN['q_unit']}")
    q = np.atleast_1d(data["q"].values.astype(np.float64)) * scale
    phi = np.atleast_1d(data["phi"].values.astype(np.float64)) if "phi" in data.variables else np.full(q.shape, np.nan)
    labels = data["qbin"].values if "qbin" in data.coords else np.arange(1, q.size + 1)
    if not q.shape == phi.shape == labels.shape:
        raise ConfigError(f"qmap: {labels.size} bins, {q.size} q and {phi.size} phi; all have the dimension qbin")
    return _dataset(dynamic, static, labels.astype(np.int64), q, phi)


def _labels(given: ArrayLike, name: str) -> Labels:
    values = np.asarray(given)
    if values.ndim != 2 or not values.size:
        raise ConfigError(f"qmap: {name} has shape {values.shape}; a map is (row, column)")
    if values.dtype.kind not in "biu" and not (np.isfinite(values).all() and (values == np.round(values)).all()):
        raise ConfigError(f"qmap: {name} must hold whole numbers, 0 where masked; convert it with .astype(int)")
    if values.min() < 0 or values.max() >= 2**31:
        raise ConfigError(
            f"qmap: {name} ranges from {values.min()} to {values.max()}; labels are 1, 2, ..., 0 is masked"
        )
    return smallest(values)


def _dataset(dynamic: Labels, static: Labels, labels: NDArray[np.int64], q: Any, phi: Any) -> xr.Dataset:
    if static.shape != dynamic.shape:
        raise ConfigError(f"qmap: the static map has shape {static.shape}, that of bins {dynamic.shape}")
    if not np.isfinite(q).all():
        raise ConfigError(f"qmap: q of bin {labels[np.argmin(np.isfinite(q))]} is not a number")
    if np.unique(labels).size != labels.size or (labels < 1).any():
        raise ConfigError("qmap: labels of bins must be different whole numbers from 1; 0 is masked")
    there = np.bincount(dynamic.ravel())
    empty = [int(label) for label in labels if label >= there.size or not there[label]]
    if empty:
        raise ConfigError(f"qmap: bin {empty[0]} has no pixel ({len(empty)} of {labels.size} bins); leave it out")
    alone = int(((dynamic > 0) & (static == 0)).sum())
    if alone:
        raise ConfigError(f"qmap: {alone} pixels have a bin but no static bin; mask them in both maps")
    grid, bins = ("row", "column"), ("qbin",)
    attrs = {"units": "1"}
    return xr.Dataset(
        {
            "dynamic_map": (grid, dynamic, attrs | {"long_name": "label of the q bin of each pixel, 0 where masked"}),
            "static_map": (grid, static, attrs | {"long_name": "label of the static bin of each pixel"}),
        },
        {name: (bins, values, VARIABLES[name].attrs) for name, values in (("qbin", labels), ("q", q), ("phi", phi))},
    )


def open_qmap(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read the q-map of a file: of the producer's q-map files, or of results that carry one; as `qmap` returns it.

    Raises
    ------
    FileRejected
        If it holds none, or one that cannot be used; says which number is wrong.
    """
    path = os.fspath(path)
    try:
        found = _of_producer(path) if is_hdf5(path) and _group(path) else _of_results(path)
    except ConfigError as error:
        raise FileRejected(path, str(error).removeprefix("qmap: ")) from error
    return found.assign_attrs(source=path)


def _group(path: str) -> str:
    """Where the q-map of the producer is, in results or in a file of its own; empty if there is none."""
    with open_hdf5(path) as file:
        return next((name for name in GROUPS if isinstance(file.find(f"{name}/dynamic_roi_map"), h5py.Dataset)), "")


def _of_producer(path: str) -> xr.Dataset:
    group = _group(path)
    with open_hdf5(path) as file:
        dynamic = _labels(_array(file, f"{group}/dynamic_roi_map"), "dynamic_roi_map")
        found = file.array(f"{group}/static_roi_map")
        static = dynamic if found is None else _labels(found, "static_roi_map")
        columns = _array(file, f"{group}/dynamic_index_mapping").ravel().astype(np.int64)
        centres = [_array(file, f"{group}/dynamic_v_list_dim{axis}").ravel() for axis in (0, 1)]
        names, units = (file.texts(f"{group}/{name}") for name in ("map_names", "map_units"))
        if columns.size == 0 or columns.min() < 0 or columns.max() >= centres[0].size * centres[1].size:
            raise file.rejected(
                f"/{group}/dynamic_index_mapping sends bins to places {columns.min(initial=0)} to "
                f"{columns.max(initial=0)} of a grid of {centres[0].size} x {centres[1].size}"
            )
        place = np.divmod(columns, centres[1].size)
        axes = {
            name: (values.astype(np.float64)[at], unit)
            for name, unit, values, at in zip(names, units, centres, place, strict=False)
        }
        if "q" not in axes:
            raise file.rejected(f"the axes of its q-map are {', '.join(names) or 'not named'}: none of them is q")
        q = _converted(file, "q", *axes["q"], PER_ANGSTROM)
        phi = _converted(file, "phi", *axes["phi"], DEGREES) if "phi" in axes else np.full(q.shape, np.nan)
    return _dataset(dynamic, static, np.arange(1, q.size + 1), q, phi)


def _array(file: ResultFile, name: str) -> NDArray[Any]:
    found = file.array(name)
    if found is None:
        raise file.rejected(f"/{name} is missing: the q-map is not complete")
    return found


def _converted(file: ResultFile, what: str, values: Any, unit: str, known: Mapping[str, float]) -> Any:
    scale = factor(unit, known)
    if scale is None:
        raise file.rejected(f"the unit {unit!r} of {what} of its q-map is not known; known are {', '.join(known)}")
    return values * scale


def _of_results(path: str) -> xr.Dataset:
    """Of another format of results: bins as its reader gives them, and the map if it keeps one."""
    name = identify(path)
    info = reader(name).read_meta(path)
    held, refused = places(path, name, info.entry, ("dynamic_map", "static_map"))
    if "dynamic_map" not in held:
        raise FileRejected(path, refused.get("dynamic_map", "it holds no q-map (a label for each pixel)"))
    maps = [_labels(place.read(range(place.shape[0])), part) for part, place in held.items()]
    return _dataset(maps[0], maps[-1], info.labels, info.q, info.phi)
