"""Many files, one Dataset: which of them belong together, and what the Dataset then holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import xarray as xr

from xpcs_dask.io.reader import FileInfo, Floats, curve_ids
from xpcs_dask.io.schema import CONVENTIONS, SCALARS, VARIABLES

SAME = 1e-6
"""Relative difference up to which q, phi, frame times and delays are the same: single precision is not another grid."""


@dataclass
class Series:
    """Files that share a q-map, a frame time and a delay grid, up to the length of the grid."""

    infos: list[FileInfo]
    longest: FileInfo

    def difference(self, info: FileInfo) -> str:
        """Say what keeps a file out of the series; nothing if it belongs."""
        first = self.infos[0]
        if not (np.array_equal(info.labels, first.labels) and _same(info.q, first.q) and _same(info.phi, first.phi)):
            return "q-map"
        if not _same(np.array([info.frame_time]), np.array([first.frame_time])):
            return "frame time"
        common = min(info.delay.size, self.longest.delay.size)
        if not _same(info.delay[:common], self.longest.delay[:common]):
            return "delay grid"
        return ""

    def add(self, info: FileInfo) -> None:
        """Take a file in."""
        self.infos.append(info)
        if info.delay.size > self.longest.delay.size:
            self.longest = info


def _same(a: Floats, b: Floats) -> bool:
    # Where there are thousands of q-maps nearly all pairs differ in the first number: that is asked first, and cheaply.
    if a.shape != b.shape or abs(float(a[0]) - float(b[0])) > SAME * abs(float(b[0])):
        return False
    return a is b or np.allclose(a, b, rtol=SAME, atol=0.0, equal_nan=True)


def group(infos: Sequence[FileInfo]) -> list[Series]:
    """Put files into series: each joins the first one that it belongs to."""
    found: list[Series] = []
    joined: dict[tuple[bytes, ...], Series] = {}
    for info in infos:
        key = tuple(part.tobytes() for part in (info.labels, info.q, info.phi, info.delay, np.array(info.frame_time)))
        series = joined.get(key)
        if series is None:
            series = next((known for known in found if not known.difference(info)), None)
        if series is None:
            found.append(Series([info], info))
        else:
            series.add(info)
        joined[key] = series or found[-1]
    return found


def to_dataset(
    series: Series, g2: Any, g2_err: Any, include: Sequence[str] = (), encoding: dict[str, Any] | None = None
) -> xr.Dataset:
    """Dataset of a series around its g2 and g2_err, arrays (file, qbin, delay) of any kind; the rest is in memory."""
    infos, longest = series.infos, series.longest
    hashes = np.array([info.content_hash for info in infos], np.uint64)
    values: dict[str, Any] = {
        "file": _strings(info.name for info in infos),
        "path": _strings(info.path for info in infos),
        "error_kind": _strings(info.error_kind for info in infos),
        "content_hash": hashes,
        "start_time": _start_times(infos),
        "qbin": longest.labels.copy(),  # files may share their arrays; whoever changes a Dataset changes that alone
        "q": longest.q.copy(),
        "phi": longest.phi.copy(),
        "delay": longest.delay.copy(),
        "level": longest.level.copy(),
        "n_products": np.stack([_padded(info.n_products, longest.delay.size) for info in infos]),
        "n_pixels": np.stack([info.n_pixels for info in infos]),
        "rate": np.stack([info.rate for info in infos]),
        "curve_id": curve_ids(hashes[:, None], np.stack([info.labels for info in infos])),
    }
    for name in ("size", "frames", "stride", "average", "frame_time", "runs"):
        values[name] = np.array([getattr(info, name) for info in infos])
    coords = {name: (VARIABLES[name].dims, value, VARIABLES[name].attrs) for name, value in values.items()}
    for name, kind in SCALARS.items():
        if name in include or any(name in info.scalars for info in infos):
            coords[name] = (kind.dims, np.array([info.scalars.get(name, np.nan) for info in infos]), kind.attrs)
    data = {
        name: xr.Variable(VARIABLES[name].dims, array, VARIABLES[name].attrs, encoding)
        for name, array in (("g2", g2), ("g2_err", g2_err))
    }
    dataset = xr.Dataset(data, coords, provenance(infos))
    dataset["start_time"].attrs["time_zone"] = _time_zone(infos)
    dataset["start_time"].encoding = {"units": "nanoseconds since 1970-01-01", "dtype": "int64"}
    return dataset


def provenance(infos: Sequence[FileInfo]) -> dict[str, str]:
    """Attributes of a Dataset of these files."""
    try:
        release = version("xpcs-dask")
    except PackageNotFoundError:
        release = "unknown"
    return {
        "conventions": CONVENTIONS,
        "source_format": ", ".join(sorted({info.format for info in infos})),
        "xpcs_dask_version": release,
    }


def common(series: Series) -> dict[str, Any]:
    """Tell what the files of a series share, as attributes of its group."""
    longest = series.longest
    timed = {"frame_time": longest.frame_time} if np.isfinite(longest.frame_time) else {}
    return timed | {
        "files": len(series.infos),
        "q_bins": longest.q.size,
        "q_range": [float(longest.q.min()), float(longest.q.max())],
        "delays": longest.delay.size,
        "delay_range": [float(longest.delay[0]), float(longest.delay[-1])],
    }


def _strings(values: Any) -> np.ndarray[Any, Any]:
    return np.array(list(values), dtype=object)


def _padded(products: Floats, length: int) -> Floats:
    """Products up to the longest grid: none beyond the file's own end, unknown if they are unknown."""
    if products.size == length:
        return products
    return np.pad(products, (0, length - products.size), constant_values=np.nan if np.isnan(products).any() else 0.0)


def _start_times(infos: Sequence[FileInfo]) -> np.ndarray[Any, Any]:
    """Time zone aware times in UTC, others as written, NaT where there is none."""
    times = []
    for info in infos:
        time = info.start_time
        if time is not None and time.tzinfo is not None:
            time = time.astimezone(UTC).replace(tzinfo=None)
        known = time is not None and 1700 <= time.year <= 2200  # what counts of ns in 64 bits reach
        times.append(np.datetime64(time if known else "NaT"))
    return np.array(times, dtype="datetime64[ns]")


def _time_zone(infos: Sequence[FileInfo]) -> str:
    kinds = {"local" if info.start_time.tzinfo is None else "UTC" for info in infos if info.start_time is not None}
    return kinds.pop() if len(kinds) == 1 else ("unknown" if not kinds else "UTC where the file tells, else local")
