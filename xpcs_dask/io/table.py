"""Reader of plain tables of delay, g2 and error: text, with a header or without, and NPZ."""

from __future__ import annotations

import zipfile
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.errors import FileRejected
from xpcs_dask.io.columns import KNOWN, Column, column
from xpcs_dask.io.hdf5 import is_hdf5
from xpcs_dask.io.reader import MOST_POINTS, NOTHING, Curves, FileInfo, Floats, Told, unknown
from xpcs_dask.io.result import Result
from xpcs_dask.io.schema import DEGREES
from xpcs_dask.io.text import fields, is_row, lines_of, numbers_of
from xpcs_dask.io.units import factor, to_per_angstrom, to_seconds

NAME = "table"
SUFFIXES: tuple[str, ...] = (".csv", ".npz")
OPTIONS: tuple[str, ...] = ("delay_unit", "q_unit")

FEWEST_ROWS = 3
"""Rows of numbers, one after the other, that make a text a table."""


def sniff(path: str) -> bool:
    """Whether it is an NPZ with g2, or a text with some rows of as many numbers each, two at least."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return "g2.npy" in archive.namelist()
    lines = [] if is_hdf5(path) else lines_of(path, 200)
    start = _first_row(lines)
    rows = lines[start : start + FEWEST_ROWS]
    return len(rows) == FEWEST_ROWS and all(map(is_row, rows)) and len(fields(rows[0])) >= 2


def read_meta(path: str, include: Collection[str] = (), told: Told = NOTHING) -> FileInfo:
    """All but g2; see `io.reader.Reader`."""
    table = _read(path)
    result = table.result
    result.delay = result.delay * to_seconds(path, "its delays", table.delay_unit, told.delay_unit)
    if not np.isnan(result.q).all():
        result.q = result.q * to_per_angstrom(path, "q", table.q_unit, told.q_unit)
    elif told.q_unit:
        raise FileRejected(path, "q_unit= does not apply: it does not tell q; leave it out")
    return result.info(path, NAME)


def read_g2(path: str, entry: str = "") -> tuple[Curves, Curves]:
    """g2 and its error, each (qbin, delay) float32; see `io.reader.Reader`."""
    return _read(path).result.curves()


@dataclass
class _Table:
    """Curves with delay and q in the units of the file, which are empty where it does not state them."""

    result: Result
    delay_unit: str
    q_unit: str


def _read(path: str) -> _Table:
    if zipfile.is_zipfile(path):
        return _npz(path)
    lines = lines_of(path)
    start = _first_row(lines)
    rows = numbers_of(path, lines[start:])
    header = fields(lines[start - 1]) if start else []
    if len(header) != rows.shape[1]:
        if start and not lines[start - 1].startswith("#"):
            raise FileRejected(path, f"its header names {len(header)} columns, but rows have {rows.shape[1]}")
        return _headerless(path, rows)
    columns = [column(path, name, first=number == 0) for number, name in enumerate(header)]
    return _wide(path, columns, rows) if any(one.kind == "curve" for one in columns) else _long(path, columns, rows)


def _first_row(lines: list[str]) -> int:
    return next((number for number, line in enumerate(lines) if is_row(line)), len(lines))


def _curves(rows: NDArray[np.float64]) -> Curves:
    """(qbin, delay) from columns."""
    return np.ascontiguousarray(rows.T, dtype=np.float32)


def _headerless(path: str, rows: Floats) -> _Table:
    """Delay, g2; or delay and then g2 and error of each curve. Nothing tells q."""
    count = rows.shape[1]
    if count < 2 or (count > 2 and count % 2 == 0):
        pairs = "delay and g2, or delay and pairs of g2 and error"
        raise FileRejected(path, f"it has {count} columns and no header; without one they are {pairs}")
    g2, err = _curves(rows[:, 1::2]), _curves(rows[:, 2::2]) if count > 2 else None
    return _Table(Result(rows[:, 0], np.full(len(g2), np.nan), g2, err), "", "")


def _wide(path: str, columns: list[Column], rows: Floats) -> _Table:
    """Delay, and a column of g2 for each q, which is its name (what pyCHX writes)."""
    kinds = [one.kind for one in columns]
    if kinds.count("delay") != 1 or not {*kinds} <= {"delay", "curve", "index"}:
        raise FileRejected(path, "columns that are named by their q go with one column of delays and no other")
    of_g2 = [number for number, kind in enumerate(kinds) if kind == "curve"]
    q = np.array([columns[number].q for number in of_g2])
    notes = tuple(dict.fromkeys(columns[number].note for number in of_g2 if columns[number].note))
    result = Result(rows[:, kinds.index("delay")], q, _curves(rows[:, of_g2]), None, notes=notes)
    return _Table(result, columns[kinds.index("delay")].unit, "")


def _long(path: str, columns: list[Column], rows: Floats) -> _Table:
    """One row for each point: delay, g2, and what tells curves apart."""
    kinds = [one.kind for one in columns]
    if {"delay", "g2"} - {*kinds} or len({*kinds}) != len(kinds):
        raise FileRejected(path, f"its header must name delay and g2, and each column once; known are {KNOWN}")
    held = dict(zip(kinds, rows.T, strict=True))
    units = {one.kind: one.unit for one in columns}
    keys = np.stack([held[kind] for kind in ("qbin", "q", "phi") if kind in held] or [np.zeros(len(rows))], axis=1)
    of_curve: dict[bytes, list[int]] = {}
    for number, key in enumerate(keys):
        of_curve.setdefault(key.tobytes(), []).append(number)
    points = list(of_curve.values())
    delay = held["delay"][points[0]]
    for number, own in enumerate(points, 1):
        if not np.array_equal(held["delay"][own], delay):
            raise FileRejected(path, f"the delays of curve {number} are not those of the first")
    firsts, every = [own[0] for own in points], np.array(points)
    err = held["g2_err"][every].astype(np.float32) if "g2_err" in held else None
    result = Result(
        delay,
        held["q"][firsts] if "q" in held else np.full(len(points), np.nan),
        held["g2"][every].astype(np.float32),
        err,
        phi=_phi(path, held["phi"][firsts], units["phi"]) if "phi" in held else unknown(),
        labels=held["qbin"][firsts].astype(np.int64) if "qbin" in held else np.empty(0, np.int64),
    )
    return _Table(result, units["delay"], units.get("q", ""))


def _phi(path: str, values: Floats, unit: str) -> Floats:
    """Return azimuths in degrees, which is also what they are in where no unit is stated."""
    known = factor(unit or "degree", DEGREES)
    if known is None:
        raise FileRejected(path, f"the unit {unit!r} of phi is not known; known are {', '.join(DEGREES)}")
    return values * known


def _npz(path: str) -> _Table:
    """Arrays delay, g2 (qbin, delay), and, if they are there, g2_err, q, phi, delay_unit, q_unit."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(part.file_size for part in archive.infolist())
        if size > 16 * MOST_POINTS:
            raise FileRejected(path, f"it claims {size} bytes, more than {16 * MOST_POINTS}")
        with np.load(path, allow_pickle=False) as stored:
            held = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise FileRejected(path, f"its arrays cannot be read, it may be damaged ({error})") from error
    absent = {"delay", "g2"} - {*held}
    if absent:
        raise FileRejected(path, f"it has no array {' and no '.join(sorted(absent))}; it has {', '.join(held)}")
    strange = next((name for name in ("delay", "g2", "g2_err", "q", "phi") if not _are_numbers(held.get(name))), None)
    if strange:
        raise FileRejected(path, f"{strange} does not hold numbers but {held[strange].dtype}")
    delay, g2 = held["delay"].ravel().astype(np.float64), np.atleast_2d(held["g2"])
    err = np.atleast_2d(held["g2_err"]) if "g2_err" in held else None
    q = held["q"].ravel().astype(np.float64) if "q" in held else np.full(len(g2), np.nan)
    for name, values in (("g2", g2), ("g2_err", err)):
        if values is not None and values.shape != (q.size, delay.size):
            turned = ": it is transposed" if values.shape == (delay.size, q.size) else ""
            raise FileRejected(
                path, f"{name} has shape {values.shape}; (q, delay) = {(q.size, delay.size)} is expected{turned}"
            )
    phi = held["phi"].ravel().astype(np.float64) if "phi" in held else unknown()
    result = Result(delay, q, g2.astype(np.float32), None if err is None else err.astype(np.float32), phi)
    return _Table(result, *(str(held.get(name, "")) for name in ("delay_unit", "q_unit")))


def _are_numbers(values: NDArray[np.generic] | None) -> bool:
    return values is None or values.dtype.kind in "iuf"
