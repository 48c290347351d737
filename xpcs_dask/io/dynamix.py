"""Reader of the text files `..._cf.dat` of dynamix (ESRF ID10): delay, then g2 and its error of each q."""

from __future__ import annotations

import re
from collections.abc import Collection

import numpy as np

from xpcs_dask.errors import FileRejected
from xpcs_dask.io.reader import NOTHING, Curves, FileInfo, Told
from xpcs_dask.io.result import Result
from xpcs_dask.io.text import lines_of, numbers_of
from xpcs_dask.io.units import to_per_angstrom

NAME = "dynamix"
SUFFIXES: tuple[str, ...] = ("_cf.dat",)
OPTIONS: tuple[str, ...] = ()

HEADER = re.compile(r"#\s*q values\s*(?P<unit>[^:]*?)\s*:(?P<values>.*)")
PLACEHOLDER = 1e-4
"""Ratio of error to g2 that the GPU engine writes everywhere."""


def sniff(path: str) -> bool:
    """Whether the first line lists values of q as dynamix does."""
    first = lines_of(path, 1)
    return bool(first) and HEADER.match(first[0]) is not None


def read_meta(path: str, include: Collection[str] = (), told: Told = NOTHING) -> FileInfo:
    """All but g2; see `io.reader.Reader`."""
    return _result(path).info(path, NAME)


def read_g2(path: str, entry: str = "") -> tuple[Curves, Curves]:
    """g2 and its error, each (qbin, delay) float32; see `io.reader.Reader`."""
    return _result(path).curves()


def is_placeholder(g2: Curves, err: Curves) -> bool:
    """Whether all errors are the same small part of g2, which is what an engine writes that estimates none."""
    told = np.isfinite(g2) & np.isfinite(err)
    return bool(told.any()) and np.allclose(err[told], PLACEHOLDER * np.abs(g2[told]), rtol=1e-3, atol=1e-12)


def _result(path: str) -> Result:
    lines = lines_of(path)
    header = HEADER.match(lines[0]) if lines else None
    if header is None:
        raise FileRejected(path, "its first line must be '#q values 1/A: ...'")
    try:
        q = np.array(header["values"].split(), np.float64)
    except ValueError:
        raise FileRejected(path, f"its first line must list numbers, found {header['values'].strip()[:40]!r}") from None
    rows = numbers_of(path, lines)
    if rows.shape[1] != 1 + 2 * q.size:
        expected = f"delay and two for each of {q.size} q values"
        raise FileRejected(
            path, f"it has {rows.shape[1]} columns of numbers, {1 + 2 * q.size} are expected: {expected}"
        )
    g2, err = (np.ascontiguousarray(rows[:, start::2].T, dtype=np.float32) for start in (1, 2))
    q = q * to_per_angstrom(path, "q", header["unit"])
    return Result(rows[:, 0], q, g2, err, placeholder=is_placeholder(g2, err))
