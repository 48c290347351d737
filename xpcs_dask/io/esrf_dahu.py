"""Reader of what the dahu plugin id02.xpcs of ESRF writes: NXprocess `1_XPCS` with g2 over (q, t)."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Collection

from xpcs_dask.io import stored
from xpcs_dask.io.hdf5 import ResultFile, is_hdf5, open_hdf5
from xpcs_dask.io.reader import NOTHING, Curves, FileInfo, Told
from xpcs_dask.io.result import Result
from xpcs_dask.io.units import to_per_angstrom, to_seconds

NAME = "esrf_dahu"
SUFFIXES: tuple[str, ...] = (".h5", ".hdf5")
OPTIONS: tuple[str, ...] = ("entry", "q_unit")

RESULTS = "1_XPCS/results"


def sniff(path: str) -> bool:
    """Whether an entry of the file has such a process; a damaged HDF5 file raises."""
    if not is_hdf5(path):
        return False
    with open_hdf5(path) as file:
        return bool(_entries(file))


def read_meta(path: str, include: Collection[str] = (), told: Told = NOTHING) -> FileInfo:
    """All but g2; see `io.reader.Reader`. An entry is a group that holds a process."""
    with open_hdf5(path) as file:
        entries = _entries(file)
        if not entries:
            raise stored.missing(file, f"entry_0000/{RESULTS}/g2")
        entry, notes = stored.choose(file, entries, told.entry)
        result = _result(file, entry)
        q_unit = stored.attribute(file, f"{entry}/{RESULTS}/q", "unit", "units").removeprefix("q_")
        result.q = result.q * to_per_angstrom(path, "q", q_unit, told.q_unit)
        # t is an index times the step of the acquisition, in s where no other unit is stated
        t_unit = stored.attribute(file, f"{entry}/{RESULTS}/t", "unit", "units") or "s"
        result.delay = result.delay * to_seconds(path, "t", t_unit)
        return result.info(path, NAME, notes, entry=entry)


def read_g2(path: str, entry: str = "") -> tuple[Curves, Curves]:
    """g2 and its quoted error, each (qbin, delay) float32 as stored; see `io.reader.Reader`."""
    with open_hdf5(path) as file:
        return _result(file, entry).curves()


def _entries(file: ResultFile) -> list[str]:
    return [name for name in stored.children(file, "") if file.find(f"{name}/{RESULTS}/g2") is not None]


def _result(file: ResultFile, entry: str) -> Result:
    """Curves, with q and delay in the units of the file."""
    with contextlib.suppress(ImportError):  # these files are packed with bitshuffle, which registers itself
        importlib.import_module("hdf5plugin")
    place = f"{entry}/{RESULTS}"
    delay, q = stored.needed(file, f"{place}/t"), stored.needed(file, f"{place}/q")
    g2 = stored.curves(file, f"{place}/g2", q.size, delay.size, delay_first=False)
    return Result(delay, q, g2, stored.optional_curves(file, f"{place}/errors", q.size, delay.size, delay_first=False))
