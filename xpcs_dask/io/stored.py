"""Checked reads that formats in HDF5 share: what must be there, g2 in either order, which of several results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from xpcs_dask.errors import FileRejected
from xpcs_dask.io.hdf5 import ResultFile, fingerprint
from xpcs_dask.io.reader import MOST_POINTS, Curves, Floats
from xpcs_dask.io.sources import natural_key


def needed(file: ResultFile, name: str) -> Floats:
    """All numbers at `name` in one row, axes of length 1 included, or `FileRejected`."""
    values = file.array(name)
    if values is None or not values.size:
        raise missing(file, name)
    return values.ravel().astype(np.float64)


def missing(file: ResultFile, name: str) -> FileRejected:
    """Error for a dataset that must be there."""
    return file.rejected(f"/{name} is missing: the file is not complete; write or copy it again")


def curves(file: ResultFile, name: str, bins: int, delays: int, *, delay_first: bool) -> Curves:
    """(qbin, delay) float32 from a dataset in the order that its format prescribes, of exactly this size."""
    found = file.dataset(name)
    if found is None:
        raise missing(file, name)
    expected = (delays, bins) if delay_first else (bins, delays)
    if found.shape != expected:
        order = "(delay, q)" if delay_first else "(q, delay)"
        turned = ": it is transposed" if found.shape == expected[::-1] else ""
        raise file.rejected(
            f"/{name} has shape {found.shape} for {delays} delays and {bins} q bins; {order} is expected{turned}"
        )
    if found.size > MOST_POINTS:
        raise file.rejected(f"/{name} claims {found.size} points, more than {MOST_POINTS}")
    if found.dtype.kind not in "iuf":
        raise file.rejected(f"/{name} does not hold numbers but {found.dtype}")
    return as_curves(found[()], delay_first=delay_first)


def optional_curves(file: ResultFile, name: str, bins: int, delays: int, *, delay_first: bool) -> Curves | None:
    """Like `curves`; None if there is no such dataset, as with errors that were not written."""
    return None if file.dataset(name) is None else curves(file, name, bins, delays, delay_first=delay_first)


def as_curves(values: NDArray[Any], *, delay_first: bool) -> Curves:
    """(qbin, delay) float32, contiguous, from either order."""
    return np.ascontiguousarray(values.T if delay_first else values, dtype=np.float32)


def choose(file: ResultFile, entries: Sequence[str], told: str) -> tuple[str, tuple[str, ...]]:
    """Which of several results is read, and what to note: the one told, else the first, which is then said."""
    if told and told not in entries:
        raise file.rejected(f"entry= names {told!r}, but it has {', '.join(entries)}")
    if told or len(entries) == 1:
        return told or entries[0], ()
    return entries[0], (f"of the entries {', '.join(entries)} the first is read; entry= chooses another",)


def children(file: ResultFile, name: str) -> list[str]:
    """Names of what lies in a group, in natural order; links are left aside, because some lead out of the file."""
    group = file.find(name)
    if not isinstance(group, h5py.Group):
        return []
    hard = [key for key in group if isinstance(group.get(key, getlink=True), h5py.HardLink)]
    return sorted(hard, key=natural_key)


def attribute(file: ResultFile, name: str, *keys: str) -> str:
    """Text of the first of these attributes that the object at `name` has; empty if it has none."""
    found = file.find(name)
    attributes = {} if found is None else found.attrs
    for key in keys:
        value = np.ravel(attributes[key]) if key in attributes else np.empty(0)
        if value.size == 1:
            return value[0].decode("utf-8", "replace") if isinstance(value[0], bytes) else str(value[0])
    return ""


_seen_maps: dict[bytes, Floats] = {}
"""Counts by content of the map: files of a series share it, and megapixels take longer than all the rest."""


def pixels(file: ResultFile, name: str, bins: int) -> Floats:
    """(qbin,) pixels of each bin of a map of labels from 1, 0 where masked; NaN if its labels are not these bins."""
    unknown = np.full(bins, np.nan)
    labels = file.dataset(name)
    if labels is None or labels.dtype.kind not in "iu" or not labels.size:
        return unknown
    key = fingerprint(labels) + str(bins).encode()
    if key not in _seen_maps:
        inside = np.asarray(labels[()]).ravel()
        if len(_seen_maps) >= 16:
            _seen_maps.clear()
        fits = inside.min() >= 0 and inside.max() == bins
        _seen_maps[key] = np.bincount(inside, minlength=bins + 1)[1:].astype(float) if fits else unknown
    return _seen_maps[key]
