"""Reader of APS results of before the NeXus layout: `/exchange`, written by xpcs-eigen and its forerunners."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime

import numpy as np

from xpcs_dask.io import stored
from xpcs_dask.io.counting import schedule
from xpcs_dask.io.hdf5 import ResultFile, is_hdf5, open_hdf5
from xpcs_dask.io.reader import NOTHING, Curves, FileInfo, Floats, Told, unknown
from xpcs_dask.io.result import Result

NAME = "aps_legacy"
SUFFIXES: tuple[str, ...] = (".hdf", ".h5", ".hdf5")
OPTIONS: tuple[str, ...] = ("entry",)

FRAME_TIME = (
    "measurement/instrument/detector/exposure_period",
    "entry/instrument/bluesky/metadata/t0",
    "entry/instrument/detector_1/acquire_period",
)
"""Seconds between raw frames; the last two in the hybrid files of 2023 and 2024, which keep results in /exchange."""

SCALARS = {
    "count_time": "measurement/instrument/detector/exposure_time",
    "photon_energy": "measurement/instrument/source_begin/energy",
}


def sniff(path: str) -> bool:
    """Whether the file has the settings or the results of such an analysis; a damaged HDF5 file raises."""
    if not is_hdf5(path):
        return False
    with open_hdf5(path) as file:
        return file.find("xpcs/Version") is not None or any(
            file.find(f"exchange/{name}") is not None for name in ("norm-0-g2", "norm", "C2T_all")
        )


def read_meta(path: str, include: Collection[str] = (), told: Told = NOTHING) -> FileInfo:
    """All but g2; see `io.reader.Reader`. An entry is a group of settings: `xpcs`, or `xpcs_1` of a reprocessing."""
    with open_hdf5(path) as file:
        entries = [name for name in stored.children(file, "") if re.fullmatch(r"xpcs(_\d+)?", name)] or ["xpcs"]
        entry, notes = stored.choose(file, entries, told.entry)
        result = _result(file, entry)
        stride, average = (_whole(file, f"{entry}/{name}") for name in ("stride_frames", "avg_frames"))
        frame_time = _frame_time(file)
        frames = _frames(file, entry, stride * average)
        level, products = _schedule(result.delay, frames)
        result.delay = (frame_time * stride * average) * result.delay
        scalars = {name: file.scalar(SCALARS[name]) for name in include if name in SCALARS}
        return result.info(
            path,
            NAME,
            notes,
            entry=entry,
            level=level,
            n_products=products,
            n_pixels=stored.pixels(file, f"{entry}/dqmap", len(result.g2)),
            frames=frames,
            stride=stride,
            average=average,
            frame_time=frame_time,
            start_time=_start_time(file),
            scalars={name: value for name, value in scalars.items() if value is not None},
        )


def read_g2(path: str, entry: str = "") -> tuple[Curves, Curves]:
    """g2 and its quoted error, each (qbin, delay) float32 as stored; see `io.reader.Reader`."""
    with open_hdf5(path) as file:
        return _result(file, entry or "xpcs").curves()


def _result(file: ResultFile, entry: str) -> Result:
    """Curves of these settings, with delays in correlated frames."""
    named = file.texts(f"{entry}/output_data")
    group = named[0].strip().strip("/") if named else entry.replace("xpcs", "exchange")
    oldest = file.find(f"{group}/norm-0-g2") is None and file.find(f"{group}/norm") is not None
    if not oldest and file.find(f"{group}/norm-0-g2") is None and file.find(f"{group}/C2T_all") is not None:
        raise file.rejected("it has two-time results only and no multi-tau g2; run multi-tau on it too")
    delay, q = stored.needed(file, f"{group}/tau"), stored.needed(file, f"{entry}/dqlist")
    if oldest:
        g2, err = _records(file, f"{group}/norm", (delay.size, q.size))
    else:
        g2 = stored.curves(file, f"{group}/norm-0-g2", q.size, delay.size, delay_first=True)
        err = stored.optional_curves(file, f"{group}/norm-0-stderr", q.size, delay.size, delay_first=True)
    phi = file.array(f"{entry}/dphilist")
    return Result(delay, q, g2, err, unknown() if phi is None else phi.ravel().astype(np.float64))


def _records(file: ResultFile, name: str, shape: tuple[int, int]) -> tuple[Curves, Curves | None]:
    """g2 and error from the oldest files, one record for each (delay, q)."""
    both = file.dataset(name)
    fields = ("g2", "g2StdErr")
    if both is None or not {*fields} <= {*(both.dtype.names or ())} or both.shape != shape:
        raise file.rejected(f"/{name} must hold records of {' and '.join(fields)} over (delay, q) = {shape}")
    g2, err = (stored.as_curves(both[field], delay_first=True) for field in fields)
    return g2, err


def _schedule(delay: Floats, frames: float) -> tuple[Floats, Floats]:
    """Level and products of each delay; unknown if the delays are no whole numbers of frames."""
    whole = delay.size and (delay == np.round(delay)).all() and np.abs(delay).max() < 2**62
    return schedule(delay.astype(np.int64), frames) if whole else (unknown(), unknown())


def _frame_time(file: ResultFile) -> float:
    found = {name: file.scalar(name) for name in FRAME_TIME}
    value = next((value for value in found.values() if value is not None), None)
    if value is None:
        raise file.rejected(f"the time between frames is in none of {', '.join('/' + name for name in FRAME_TIME)}")
    if not (np.isfinite(value) and value > 0):
        raise file.rejected(f"the time between frames must be a positive number of seconds, found {value:g}")
    return value


def _frames(file: ResultFile, entry: str, step: int) -> float:
    """Frames after stride and averaging, from the range that was correlated; NaN if that is not told."""
    first, last = (file.scalar(f"{entry}/data_{end}_todo") for end in ("begin", "end"))
    if first is None or last is None or not last >= first >= 1:
        return np.nan
    return (last - first + 1) // step


def _whole(file: ResultFile, name: str) -> int:
    """Positive whole number; 1 where it is missing."""
    value = file.scalar(name)
    if value is None:
        return 1
    if not (value >= 1 and value == round(value)):
        raise file.rejected(f"/{name} must be a whole number from 1, found {value:g}")
    return int(value)


def _start_time(file: ResultFile) -> datetime | None:
    """Local time, such as 'Sat Mar 29 18:02:23 2025'."""
    for text in file.texts("measurement/instrument/source_begin/datetime"):
        try:
            return datetime.strptime(text.strip(), "%a %b %d %H:%M:%S %Y")
        except ValueError:
            return None
    return None
