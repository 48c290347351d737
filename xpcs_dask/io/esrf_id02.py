"""Reader of ESRF ID02 result files, versions 1 (dynamix, delay first) and 2 (xpcsutilities, q first)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.io import stored
from xpcs_dask.io.hdf5 import ResultFile, is_hdf5, open_hdf5
from xpcs_dask.io.reader import NOTHING, Curves, FileInfo, Floats, Told
from xpcs_dask.io.result import Result
from xpcs_dask.io.schema import PER_ANGSTROM

NAME = "esrf_id02"
SUFFIXES: tuple[str, ...] = (".h5", ".hdf5")
OPTIONS: tuple[str, ...] = ("entry",)

MAGIC = "XPCSResultFile"
V2 = "entry_0000/correlations"
V1 = "entry_0000/dynamix/correlations"
PER_NANOMETRE = PER_ANGSTROM["1/nm"]
"""The unit of q at ID02 is 1/nm by definition of the format; the files do not repeat it."""


def sniff(path: str) -> bool:
    """Whether the file says that it is an XPCSResultFile; a damaged HDF5 file raises."""
    if not is_hdf5(path):
        return False
    with open_hdf5(path) as file:
        return stored.attribute(file, "", "MagicString").startswith(MAGIC) or _is_v1(file)


def read_meta(path: str, include: Collection[str] = (), told: Told = NOTHING) -> FileInfo:
    """All but g2; see `io.reader.Reader`. An entry is a key of version 2 or a direction of version 1."""
    with open_hdf5(path) as file:
        place = V1 if _is_v1(file) else V2
        keys = stored.children(file, f"{place}/directions" if place == V1 else place)
        if not keys:
            raise file.rejected(f"/{place} holds no correlation: the file is not complete; write or copy it again")
        entry, notes = stored.choose(file, keys, told.entry)
        return _result(file, entry).info(path, NAME, notes, entry=entry, start_time=_start_time(file))


def read_g2(path: str, entry: str = "") -> tuple[Curves, Curves]:
    """g2 and its quoted error, each (qbin, delay) float32 as stored; see `io.reader.Reader`."""
    with open_hdf5(path) as file:
        return _result(file, entry).curves()


def _is_v1(file: ResultFile) -> bool:
    return file.texts("entry_0000/title")[:1] == [MAGIC] and file.find(V1) is not None


def _result(file: ResultFile, entry: str) -> Result:
    return _version_1(file, f"{V1}/directions/{entry}") if _is_v1(file) else _version_2(file, f"{V2}/{entry}")


def _version_2(file: ResultFile, place: str) -> Result:
    delay, q = stored.needed(file, f"{place}/g2/lag"), stored.needed(file, f"{place}/parameters/q") * PER_NANOMETRE
    g2 = stored.curves(file, f"{place}/g2/cf", q.size, delay.size, delay_first=False)
    err = stored.optional_curves(file, f"{place}/g2/err", q.size, delay.size, delay_first=False)
    return Result(delay, q, g2, err)


def _version_1(file: ResultFile, place: str) -> Result:
    timeshift, lag = (f"{place}/correlation/{name}" for name in ("timeshift", "lag"))
    delay = stored.needed(file, timeshift if file.find(lag) is None else lag)
    q, labels = _q_of_columns(file, place)
    g2 = stored.curves(file, f"{place}/correlation/cf", q.size, delay.size, delay_first=True)
    err = stored.optional_curves(file, f"{place}/correlation/std", q.size, delay.size, delay_first=True)
    return Result(delay, q, g2, err, labels=labels)


def _q_of_columns(file: ResultFile, place: str) -> tuple[Floats, NDArray[np.int64]]:
    """Middle of the q range of each column, which is named by an index into the table of ranges; and that index."""
    name = f"{V1}/q_index_min_max"
    ranges = file.array(name)
    if ranges is None or ranges.ndim != 2 or ranges.shape[1] != 3:
        shape = "is missing" if ranges is None else f"has shape {ranges.shape}"
        raise file.rejected(f"/{name} {shape}, rows of index, smallest and largest q are expected")
    middle = {int(index): (low + high) / 2 * PER_NANOMETRE for index, low, high in ranges.astype(np.float64)}
    index = stored.needed(file, f"{place}/q_index").astype(np.int64)
    strange = [label for label in index.tolist() if label not in middle]
    if strange:
        raise file.rejected(f"/{place}/q_index names {strange[0]}, which is not in /{name}")
    return np.array([middle[label] for label in index.tolist()]), index


def _start_time(file: ResultFile) -> datetime | None:
    """Seconds since 1970, in version 2."""
    seconds = file.scalar("entry_0000/acquisition/timestamp")
    return datetime.fromtimestamp(seconds, UTC) if seconds is not None and 0 < seconds < 2**32 else None
