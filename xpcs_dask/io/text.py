"""Numbers in rows of text, whatever is between them; comments start with #."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice

import numpy as np

from xpcs_dask.errors import FileRejected
from xpcs_dask.io.reader import MOST_POINTS, Floats

LONGEST_LINE = 2**20
"""Characters; what is longer is no row of a table."""

NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
"""Pattern of a number with a decimal point."""


def lines_of(path: str, most: int | None = None) -> list[str]:
    """Lines of a text file that are not empty, of at most so many lines; none if it is no text."""
    try:
        with open(path, "rb") as file:
            if b"\0" in file.read(4096):
                return []
        with open(path, encoding="utf-8-sig") as file:
            lines = [line.strip() for line in islice(iter(lambda: file.readline(LONGEST_LINE), ""), most)]
    except UnicodeDecodeError:
        return []
    except OSError as error:
        raise FileRejected(path, f"it cannot be read ({error.strerror})") from error
    return [line for line in lines if line]


def fields(line: str) -> list[str]:
    """Split a row at semicolons, commas or tabs, or else at blanks; a comment sign is left aside."""
    text = line.lstrip("#").strip(" ")
    for separator in (";", ",", "\t"):
        if separator in text:
            return [part.strip().strip('"') for part in text.split(separator)]
    return text.split()


def is_row(line: str) -> bool:
    """Whether a line is a row of numbers; others than the first may be left out."""
    parts = fields(line)
    return not line.startswith("#") and bool(parts[0]) and all(map(_is_number, parts))


def numbers_of(path: str, lines: Sequence[str]) -> Floats:
    """(row, column) numbers of all lines that are no comments, NaN where one is left out; or `FileRejected`."""
    rows = [fields(line) for line in lines if not line.startswith("#")]
    if not rows:
        raise FileRejected(path, "it holds no row of numbers")
    for number, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            raise FileRejected(path, f"row {number} has {len(row)} columns, the first has {len(rows[0])}")
        strange = next((part for part in row if not _is_number(part)), None)
        if strange is not None:
            raise FileRejected(path, f"row {number} holds {strange!r}, which is not a number with a decimal point")
    if len(rows) * len(rows[0]) > MOST_POINTS:
        raise FileRejected(path, f"it holds {len(rows) * len(rows[0])} numbers, more than {MOST_POINTS}")
    return np.array([[part or "nan" for part in row] for row in rows]).astype(np.float64)


def _is_number(text: str) -> bool:
    return _NUMBER_OR_NOTHING.fullmatch(text) is not None


_NUMBER_OR_NOTHING = re.compile(rf"{NUMBER}|[+-]?(?:nan|inf)|", re.IGNORECASE)
