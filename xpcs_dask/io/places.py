"""Where each format keeps arrays beside g2, and how one is read from one file; no Dask, no xarray."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

from xpcs_dask.errors import FileRejected
from xpcs_dask.io import stored
from xpcs_dask.io.hdf5 import MOST_VALUES, ResultFile, open_hdf5
from xpcs_dask.io.schema import APS

MOST_STREAMED = 2**36
"""Values that a dataset which is read in parts may hold; a header that claims more is taken for damage."""


@dataclass(frozen=True)
class Place:
    """One array of one file, in the order of axes that the Dataset has."""

    path: str
    datasets: tuple[str, ...]
    """One; or one for each row of the first axis, which are stacked."""
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    """For each axis of the array that of the dataset; of stacked ones, for each axis after the first."""
    pick: int | None = None
    """Which row of the first axis of the dataset is meant, where that is no axis of the array."""
    mirrored: bool = False
    """Whether only the upper triangle of the last two axes is stored."""
    labels: tuple[int, ...] = ()
    """Labels of the rows of the first axis, where they are not 0, 1, 2, ..."""
    state: tuple[int, int] = (-1, -1)
    """Size and time of modification when the file was looked at."""

    def read(self, rows: Sequence[int]) -> NDArray[Any]:
        """Rows of the first axis that the file has, in the order asked for; `FileRejected` if the file has changed."""
        if self.state != _state(self.path):
            raise FileRejected(self.path, "it has changed since it was opened; open it again")
        with open_hdf5(self.path) as file:
            stacked = len(self.axes) < len(self.shape)
            found = self._stack(file, rows) if stacked else self._one(file, rows)
        return _mirror(found) if self.mirrored else found

    def _stack(self, file: ResultFile, rows: Sequence[int]) -> NDArray[Any]:
        return np.stack([_dataset(file, self.datasets[row])[()] for row in rows])

    def _one(self, file: ResultFile, rows: Sequence[int]) -> NDArray[Any]:
        whole = _dataset(file, self.datasets[0])
        key: list[Any] = [slice(None)] * whole.ndim
        first, last = min(rows), max(rows)
        key[self.axes[0]] = slice(first, last + 1)
        if self.pick is not None:
            key[0] = self.pick
        kept = sorted(self.axes)
        values = np.asarray(whole[tuple(key)]).transpose([kept.index(axis) for axis in self.axes])
        return values[np.asarray(rows) - first]


Find: TypeAlias = Callable[[ResultFile, str], Place | None]


def places(path: str, format: str, entry: str, names: Collection[str]) -> tuple[dict[str, Place], dict[str, str]]:
    """Those of the arrays `names` that a file has, and why others cannot be used; it is opened once."""
    known = PLACES.get(format, {})
    found: dict[str, Place] = {}
    refused: dict[str, str] = {}
    if not any(name in known for name in names):
        return found, refused
    state = _state(path)
    with open_hdf5(path) as file:
        for name in names:
            try:
                place = known[name](file, entry) if name in known else None
            except FileRejected as error:
                refused[name] = error.reason
                continue
            if place is not None:
                found[name] = replace(place, state=state)
    return found, refused


def _at(template: str, axes: tuple[int, ...], pick: int | None = None) -> Find:
    """Return the way to a dataset; ``{entry}`` is the entry, ``{results}`` the group of its results (legacy APS)."""

    def find(file: ResultFile, entry: str) -> Place | None:
        name = template.format(entry=entry, results=_results(file, entry) if "{results}" in template else "")
        if file.find(name) is None:
            return None
        shape = _dataset(file, name).shape
        if len(shape) != len(axes) + (pick is not None) or 0 in shape or (pick is not None and shape[0] <= pick):
            raise file.rejected(f"/{name} has shape {shape}, {len(axes) + (pick is not None)} axes are expected")
        return Place(file.path, (name,), tuple(shape[axis] for axis in axes), axes, pick)

    return find


def _aps_two_time(file: ResultFile, entry: str) -> Place | None:
    """Find the maps in the order of their names, which count up; the bins that they belong to stand beside them."""
    group = f"{APS.twotime}/correlation_map"
    names = tuple(f"{group}/{name}" for name in stored.children(file, group))
    if not names:
        return None
    shapes = {_dataset(file, name).shape for name in names}
    bins = file.array(f"{APS.twotime}/processed_bins")
    labels = tuple(range(1, len(names) + 1)) if bins is None else tuple(int(label) for label in bins.ravel())
    if len(shapes) != 1 or len(labels) != len(names):
        raise file.rejected(
            f"/{group} has {len(names)} maps of shape {', '.join(map(str, sorted(shapes)))} for {len(labels)} bins"
        )
    (shape,) = shapes
    if len(shape) != 2 or shape[0] != shape[1]:
        raise file.rejected(f"the maps in /{group} have shape {shape}; they must be square")
    return Place(file.path, names, (len(names), *shape), (0, 1), mirrored=True, labels=labels)


def _labelled(find: Find) -> Find:
    """Bins are 1, 2, ... in the order of the array."""

    def labelled(file: ResultFile, entry: str) -> Place | None:
        place = find(file, entry)
        return place and replace(place, labels=tuple(range(1, place.shape[0] + 1)))

    return labelled


PLACES: Mapping[str, Mapping[str, Find]] = {
    "aps_nexus": {
        "g2_partial": _at(f"{APS.g2}_partial", (0, 2, 1)),
        "g2_partial_err": _at(f"{APS.g2}_partial_err", (0, 2, 1)),
        "intensity_vs_time": _at(APS.intensity, (1,), pick=1),
        "scattering_1d": _at(APS.static_mean, (1,), pick=0),
        "scattering_2d": _at("xpcs/temporal_mean/scattering_2d", (1, 2), pick=0),
        "dynamic_map": _at(APS.dynamic_map, (0, 1)),
        "static_map": _at(APS.static_map, (0, 1)),
        "unnormalized_G2": _at(f"{APS.multitau}/unnormalized_G2", (0, 1, 2, 3)),
        "c2": _aps_two_time,
    },
    "aps_legacy": {
        "intensity_vs_time": _at("{results}/frameSum", (1,), pick=1),
        "scattering_1d": _at("{results}/partition-mean-total", (1,), pick=0),
        "scattering_2d": _at("{results}/pixelSum", (0, 1)),
        "dynamic_map": _at("{entry}/dqmap", (0, 1)),
        "static_map": _at("{entry}/sqmap", (0, 1)),
    },
    "pychx": {
        "intensity_vs_time": _at("imgsum", (0,)),
        "scattering_2d": _at("avg_img", (0, 1)),
        "dynamic_map": _at("roi_mask", (0, 1)),
        "c2": _labelled(_at("g12b", (2, 0, 1))),
    },
    "esrf_id02": {
        "c2": _labelled(_at("entry_0000/correlations/{entry}/twotime/ttcf", (0, 1, 2))),
    },
}
"""By format and name."""

REMARKS: Mapping[tuple[str, str], str] = {
    ("aps_legacy", "intensity_vs_time"): "aps_legacy: frameSum as stored, perhaps a sum over pixels",
    ("aps_legacy", "scattering_2d"): "aps_legacy: pixelSum as stored, perhaps a sum over frames",
    ("pychx", "intensity_vs_time"): "pychx: imgsum as stored, the sum over the pixels of each frame",
    ("esrf_id02", "c2"): "esrf_id02: ttcf as stored; which of its axes is age and which is lag is not told",
}
"""What differs from the meaning that a name has, by format and name. No real legacy or ID02 file was at hand."""


def _results(file: ResultFile, entry: str) -> str:
    """Group of the results of a legacy analysis."""
    named = file.texts(f"{entry or 'xpcs'}/output_data")
    return named[0].strip().strip("/") if named else (entry or "xpcs").replace("xpcs", "exchange")


def _dataset(file: ResultFile, name: str) -> h5py.Dataset:
    """Dataset of numbers that lies in this file; of any size, as long as no part that is read at once is too large."""
    found = file.find(name)
    if not isinstance(found, h5py.Dataset) or found.shape is None or found.dtype.kind not in "biuf":
        raise file.rejected(f"/{name} does not hold numbers")
    if found.external or found.is_virtual:
        raise file.rejected(f"/{name} keeps its values in other files; copy the data into it")
    per_row = found.size // max(1, found.shape[0] if found.ndim > 3 else 1)
    if per_row > MOST_VALUES or found.size > MOST_STREAMED:
        raise file.rejected(f"/{name} claims {found.size} values in shape {found.shape}: the file is damaged")
    return found


def _mirror(maps: NDArray[Any]) -> NDArray[Any]:
    """Fill the lower triangles of (map, frame, frame) from the upper ones."""
    return np.triu(maps) + np.triu(maps, 1).swapaxes(-1, -2)


def _state(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError as error:
        raise FileRejected(path, f"it cannot be read any more ({error.strerror})") from error
    return found.st_size, found.st_mtime_ns
