"""Reader of NSLS-II CHX results, pyCHX `uid=..._Res.h5`: a flat root, with q in the attributes of dummy datasets."""

from __future__ import annotations

from collections.abc import Collection

import h5py
import numpy as np
from numpy.typing import NDArray

from xpcs_dask.io import stored
from xpcs_dask.io.hdf5 import ResultFile, is_hdf5, open_hdf5
from xpcs_dask.io.reader import NOTHING, Curves, FileInfo, Floats, Told
from xpcs_dask.io.result import Result

NAME = "pychx"
SUFFIXES: tuple[str, ...] = (".h5", ".hdf5")
OPTIONS: tuple[str, ...] = ("entry",)

DELAYS_AND_Q = {
    "g2": ("taus", "qval_dict"),
    "g2_v": ("taus_v", "qval_dict_v"),
    "g2_p": ("taus_p", "qval_dict_p"),
    "g2b": ("tausb", "qval_dict"),
    "g4": ("taus4", "qval_dict"),
}
"""Entries: multi-tau, along two directions, from two-time, fourth order. The first that is there is read."""

MAPS = {"qval_dict": "roi_mask"}
"""Which map the bins of a dictionary of q are labels of."""


def sniff(path: str) -> bool:
    """Whether curves, delays and q lie in the root as pyCHX names them; a damaged HDF5 file raises."""
    if not is_hdf5(path):
        return False
    with open_hdf5(path) as file:
        return bool(_entries(file))


def read_meta(path: str, include: Collection[str] = (), told: Told = NOTHING) -> FileInfo:
    """All but g2; see `io.reader.Reader`. Entries are the names in `DELAYS_AND_Q`."""
    with open_hdf5(path) as file:
        entries = _entries(file)
        if not entries:
            raise stored.missing(file, "g2")
        entry, notes = stored.choose(file, entries, told.entry)
        result = _result(file, entry)
        return result.info(
            path,
            NAME,
            notes,
            entry=entry,
            n_pixels=stored.pixels(file, MAPS.get(DELAYS_AND_Q[entry][1], ""), len(result.g2)),
            frame_time=_setting(file, "frame_time"),
            scalars={"count_time": _setting(file, "exposure_time")} if "count_time" in include else {},
        )


def read_g2(path: str, entry: str = "") -> tuple[Curves, Curves]:
    """g2, and NaN for its error, each (qbin, delay) float32; see `io.reader.Reader`."""
    with open_hdf5(path) as file:
        return _result(file, entry or "g2").curves()


def _entries(file: ResultFile) -> list[str]:
    """Results that have their delays and their q."""
    return [
        name
        for name, beside in DELAYS_AND_Q.items()
        if all(isinstance(file.find(part), h5py.Dataset) for part in (name, *beside))
    ]


def _result(file: ResultFile, entry: str) -> Result:
    times, bins = DELAYS_AND_Q[entry]
    delay = stored.needed(file, times)
    q, labels, notes = _q_of_bins(file, bins)
    g2 = stored.curves(file, entry, q.size, delay.size, delay_first=True)
    return Result(delay, q, g2, None, labels=labels, notes=notes)


def _q_of_bins(file: ResultFile, name: str) -> tuple[Floats, NDArray[np.int64], tuple[str, ...]]:
    """Return q (1/angstrom) and label of each column; attribute "7" holds [q], [qr, qz] or [q, phi] of column 7.

    Attribute names come in the order of text, 0, 1, 10, 11, 2: they are put in that of numbers.
    """
    found = file.find(name)
    held = {int(key): np.ravel(found.attrs[key]) for key in found.attrs if key.isdecimal()} if found else {}
    columns = np.array(sorted(held), np.int64)
    if not columns.size or (columns != np.arange(columns.size)).any():
        raise file.rejected(f"/{name} must have one attribute for each column, 0, 1, 2, ...; it has {columns.tolist()}")
    values = [held[column] for column in columns.tolist()]
    if any(value.dtype.kind not in "iuf" or value.size not in {1, 2} for value in values):
        raise file.rejected(f"the attributes of /{name} must hold [q], [qr, qz] or [q, phi]")
    two = any(value.size == 2 for value in values)
    note = f"only the first number of each bin in {name} is read as q: what the second is, qz or phi, is not told"
    return np.array([float(value[0]) for value in values]), columns + 1, (note,) if two else ()


def _setting(file: ResultFile, key: str) -> float:
    """Return a number of the measurement, NaN where HDF5 could not hold it and it was dropped."""
    try:
        return float(stored.attribute(file, "md", key))
    except ValueError:
        return np.nan
