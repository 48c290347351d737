"""Reader of APS 8-ID-I multi-tau results (boost-corr): layout in `schema.APS`, quirks in docs/formats.md."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

from xpcs_dask.io.counting import nested_bins, pair_rate, schedule
from xpcs_dask.io.hdf5 import ResultFile, Stored, fingerprint, is_hdf5, open_hdf5
from xpcs_dask.io.reader import MOST_POINTS, NOTHING, Curves, FileInfo, Floats, Told, hash_curves
from xpcs_dask.io.schema import APS, APS_SCALARS, DEGREES, PER_ANGSTROM

NAME = "aps_nexus"
SUFFIXES: tuple[str, ...] = (".hdf", ".h5", ".hdf5", ".nxs")
OPTIONS: tuple[str, ...] = ()


def sniff(path: str) -> bool:
    """Whether the file has the multi-tau or the two-time group of an APS result; a damaged HDF5 file raises."""
    if not is_hdf5(path):
        return False
    with open_hdf5(path) as file:
        return any(isinstance(file.find(group), h5py.Group) for group in (APS.multitau, APS.twotime))


def read_meta(path: str, include: Collection[str] = (), told: Told = NOTHING) -> FileInfo:
    """All but g2; see `io.reader.Reader`."""
    with open_hdf5(path) as file:
        frames_delay = _delays(file)
        g2 = _curves(file, APS.g2, frames_delay.size)
        _stored(file, APS.g2_err, frames_delay.size, len(g2))
        q, phi = _bins(file, len(g2))
        stride, average = (_whole(file, name) for name in (APS.stride, APS.average))
        frame_time = file.scalar(APS.frame_time)
        if frame_time is None or not np.isfinite(frame_time) or frame_time <= 0:
            raise file.rejected(f"/{APS.frame_time} must be a positive number of seconds, found {frame_time}")
        intensity = file.stored(APS.intensity)
        frames = float(intensity.shape[1]) if intensity is not None and intensity.ndim == 2 else np.nan
        level, products = _schedule(frames_delay.tobytes(), frames)
        n_pixels, rate = _counting(file, len(q), average)
        file_list = file.stored(APS.file_list)
        scalars = {name: file.scalar(APS_SCALARS[name]) for name in include if name in APS_SCALARS}
        return FileInfo(
            path=path,
            format=NAME,
            delay=(frame_time * stride * average) * frames_delay.astype(np.float64),
            q=q,
            phi=phi,
            content_hash=hash_curves(g2),
            level=level,
            n_products=products,
            n_pixels=n_pixels,
            rate=rate,
            frames=frames,
            stride=stride,
            average=average,
            frame_time=frame_time,
            runs=file_list.size if file_list is not None and file_list.size else 1,
            start_time=_start_time(file),
            scalars={name: value for name, value in scalars.items() if value is not None},
        )


def read_g2(path: str, entry: str = "") -> tuple[Curves, Curves]:
    """g2 and its quoted error, each (qbin, delay) float32 as stored; delays and order were checked by `read_meta`."""
    with open_hdf5(path) as file:
        g2 = _curves(file, APS.g2)
        return g2, _curves(file, APS.g2_err, *g2.shape[::-1])


def _delays(file: ResultFile) -> NDArray[np.int64]:
    """(delay,) delays in correlated frames."""
    if file.find(APS.g2) is None and file.find(APS.twotime) is not None:
        raise file.rejected("it has two-time results only and no multi-tau g2; run multi-tau on it too")
    return _integers(file, APS.delay_list)


def _integers(file: ResultFile, name: str) -> NDArray[np.int64]:
    """Whole numbers, of whatever type and shape they are stored."""
    values = _needed(file, name)
    if values.dtype == np.int64 and values.min() > -(2**62) and values.max() < 2**62:
        return values
    whole = np.isfinite(values) & (np.abs(values) < 2**62)
    whole[whole] = values[whole] == np.round(values[whole])
    if not whole.all():
        raise file.rejected(f"/{name} must hold whole numbers, found {values[np.argmin(whole)]:g}")
    return values.astype(np.int64)


def _needed(file: ResultFile, name: str) -> NDArray[Any]:
    values = file.array(name)
    if values is None or not values.size:
        raise file.rejected(f"/{name} is missing: the file is not complete; write or copy it again")
    return values.ravel()


def _curves(file: ResultFile, name: str, nt: int | None = None, nq: int | None = None) -> Curves:
    """(qbin, delay) from (delay, qbin)."""
    return np.ascontiguousarray(_stored(file, name, nt, nq).read().T, dtype=np.float32)


def _stored(file: ResultFile, name: str, nt: int | None, nq: int | None) -> Stored:
    """Dataset of (delay, qbin) numbers; any number of either where None is given."""
    stored = file.stored(name)
    if stored is None:
        raise file.rejected(f"/{name} is missing: the file is not complete; write or copy it again")
    if stored.ndim != 2 or nt not in {None, stored.shape[0]} or nq not in {None, stored.shape[1]}:
        turned = stored.ndim == 2 and stored.shape[1] == nt and stored.shape[0] != nt
        raise file.rejected(
            f"/{name} has shape {stored.shape} for {nt or 'some'} delays{f' and {nq} q bins' if nq else ''}; "
            "(delay, q) is expected" + (": it is transposed" if turned else ""),
        )
    if stored.size > MOST_POINTS:
        raise file.rejected(f"/{name} claims {stored.size} points, more than {MOST_POINTS}")
    if stored.dtype.kind not in "iuf":
        raise file.rejected(f"/{name} does not hold numbers but {stored.dtype}")
    return stored


def _bins(file: ResultFile, nq: int) -> tuple[Floats, Floats]:
    """Give q (1/angstrom) and phi (degree) of each column of g2, through its place in the (dim0, dim1) grid."""
    if file.find(APS.qmap) is None:
        raise file.rejected(f"the q-map /{APS.qmap} is missing: q of the curves is not known")
    grid, columns = _integers(file, APS.grid), _integers(file, APS.columns)
    centres = [_needed(file, name) for name in APS.axes]
    if [axis.size for axis in centres] != list(grid):
        claimed, found = (" x ".join(str(n) for n in sizes) for sizes in (grid, [axis.size for axis in centres]))
        raise file.rejected(f"the q-map has a grid of {claimed} bins but {found} bin centres")
    if columns.size != nq:
        raise file.rejected(f"the q-map has {columns.size} bins but g2 has {nq} columns")
    if columns.min() < 0 or columns.max() >= grid.prod():
        raise file.rejected(f"the q-map sends a column to {columns.max()} of {grid.prod()} grid bins")
    names, units = file.texts(APS.map_names), file.texts(APS.map_units)
    if len(names) != 2 or len(units) != 2:
        raise file.rejected(f"/{APS.map_names} and map_units must name two axes, found {names}, {units}")
    place = dict(zip(names, np.divmod(columns, grid[1]), strict=True))
    axes = {name: (axis.astype(float), unit) for name, axis, unit in zip(names, centres, units, strict=True)}
    if "q" not in axes:
        raise file.rejected(f"the axes of the q-map are {names[0]!r} and {names[1]!r}: none of them is q")
    q = _converted(file, "q", *axes["q"], PER_ANGSTROM)[place["q"]]
    phi = _converted(file, "phi", *axes["phi"], DEGREES)[place["phi"]] if "phi" in axes else np.full(nq, np.nan)
    return q, phi


def _converted(file: ResultFile, what: str, values: Floats, unit: str, factors: dict[str, float]) -> Floats:
    factor = factors.get("".join(unit.lower().split()))
    if factor is None:
        known = ", ".join(factors)
        raise file.rejected(f"the unit {unit!r} of {what} in /{APS.map_units} is not known; known are {known}")
    return values * factor


def _whole(file: ResultFile, name: str) -> int:
    """Positive whole number; 1 where it is missing."""
    value = file.scalar(name)
    if value is None:
        return 1
    if not (value >= 1 and value == round(value)):
        raise file.rejected(f"/{name} must be a whole number from 1, found {value:g}")
    return int(value)


def _counting(file: ResultFile, nq: int, average: int) -> tuple[Floats, Floats]:
    """Pixels of each bin and its expected coincidences; NaN where the file lacks what they follow from."""
    nothing = np.full(nq, np.nan)
    dynamic, static = file.stored(APS.dynamic_map), file.stored(APS.static_map)
    if dynamic is None:
        return nothing, nothing
    mean = file.array(APS.static_mean)
    if static is None or static.shape != dynamic.shape or mean is None:
        return _bin_pixels(file, dynamic, dynamic, nq, nq)[0], nothing
    n_pixels, pixels, parent = _bin_pixels(file, dynamic, static, mean.size, nq)
    return n_pixels, pair_rate(pixels, parent, mean.ravel().astype(float) * average, nq)


_Pixels: TypeAlias = tuple[Floats, NDArray[np.int64], NDArray[np.int64]]
_seen_maps: dict[bytes, _Pixels] = {}
"""Counts by content of the two maps: files of a series share them, and megapixels take longer than all the rest."""


def _bin_pixels(file: ResultFile, dynamic: Stored, static: Stored, ns: int, nq: int) -> _Pixels:
    """Pixels of each dynamic bin, and pixels and dynamic bin of each static one."""
    key = fingerprint(dynamic) + fingerprint(static) + f"{nq} {ns}".encode()
    if key not in _seen_maps:
        inside, parts = dynamic.read(), static.read()
        if not _are_labels(inside, nq):
            found = f"{inside.dtype} up to {inside.max()}" if inside.size else "nothing"
            raise file.rejected(f"/{APS.dynamic_map} must label pixels by the {nq} columns of g2, but holds {found}")
        n_pixels = np.bincount(inside.ravel(), minlength=nq + 1)[1:].astype(float)
        if len(_seen_maps) >= 16:
            _seen_maps.clear()
        no_parent = np.zeros(ns, np.int64), np.full(ns, -1)
        _seen_maps[key] = (n_pixels, *(nested_bins(inside, parts, ns) if _are_labels(parts, ns) else no_parent))
    return _seen_maps[key]


def _are_labels(values: NDArray[Any], bins: int) -> bool:
    """Whether pixels are labelled from 1 to the number of bins, 0 where masked."""
    return values.dtype.kind in "iu" and values.size > 0 and values.min() >= 0 and values.max() == bins


@lru_cache(maxsize=64)
def _schedule(delay: bytes, frames: float) -> tuple[Floats, Floats]:
    """`io.counting.schedule` of (delay,) int64; files of a series share it."""
    return schedule(np.frombuffer(delay, np.int64), frames)


def _start_time(file: ResultFile) -> datetime | None:
    """Start as written, with its time zone only if the file gives one."""
    for text in file.texts(APS.start_time):
        try:
            return datetime.fromisoformat(text.strip())
        except ValueError:
            return None
    return None
