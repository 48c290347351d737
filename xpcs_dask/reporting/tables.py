"""Tables of a page: all rows as packed CSV, which the page unpacks, sorts and filters; the first ones as plain HTML.

Numbers in the CSV have all their digits: they are those of the store.
"""

from __future__ import annotations

import base64
import csv
import gzip
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from xpcs_dask.reporting.words import FLAGS, Weight
from xpcs_dask.spoken import cut, measured, plain

__all__ = ["Cell", "Column", "Table", "shortened"]

CHIPS = tuple(str(flag.name).lower() for flag, word in FLAGS.items() if word.weight != Weight.NOTE)
"""Flags that are shown, worst first; notes are in the CSV."""

STATIC = 25
ENDING = re.compile(r"(_results)?\.(hdf5?|h5|nxs|nc|csv|txt|dat|npz)$", re.IGNORECASE)
"""What names of files end in, and nobody needs to read."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column as it is shown; columns of the CSV that no `Column` names are not shown."""

    name: str
    """Of the column of the CSV."""
    title: str
    kind: str = "text"
    """text, number, measured (with an error), flags, verdict, name (of a file, shortened) or link."""
    error: str = ""
    """Column with the standard error; of a link, with the address."""
    hint: str = ""
    """What it is, and its unit."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in one cell, and what it shows when it is pointed at."""

    text: str
    full: str
    kind: str
    parts: tuple[str, ...] = ()
    """Names of flags."""


class Table:
    """A table that is filled row by row.

    Parameters
    ----------
    name : str
        Identifies it in the page, and names the file that is downloaded.
    caption : str
        What it shows.
    columns : sequence of Column
        What is shown.
    header : sequence of str
        All columns of the CSV.
    static : int
        Rows that are there without JavaScript, and on each page with it.
    """

    def __init__(
        self, name: str, caption: str, columns: Sequence[Column], header: Sequence[str], static: int = STATIC
    ) -> None:
        self.static = static
        self.name, self.caption, self.columns, self.header = name, caption, tuple(columns), tuple(header)
        self.rows, self.head = 0, list[list[Cell]]()
        self._packed = io.BytesIO()
        self._gzip = gzip.GzipFile(fileobj=self._packed, mode="wb", compresslevel=6, mtime=0)
        self._text = io.TextIOWrapper(self._gzip, encoding="utf-8", newline="", write_through=False)
        self._csv = csv.writer(self._text, lineterminator="\n")
        self._csv.writerow(header)

    def extend(self, rows: Iterable[Sequence[Any]]) -> None:
        """Add rows: texts and numbers, NaN and None as empty cells."""
        for row in rows:
            clean = [
                "" if value is None or (isinstance(value, float) and math.isnan(value)) else value for value in row
            ]
            self._csv.writerow(clean)
            if len(self.head) < self.static:
                self.head.append(self._cells(dict(zip(self.header, clean, strict=True))))
            self.rows += 1

    @property
    def payload(self) -> str:
        """All rows: CSV, gzip, base64; nothing can be added after it was asked for."""
        if not self._text.closed:
            self._text.close()
        return base64.b64encode(self._packed.getvalue()).decode("ascii")

    @property
    def spec(self) -> dict[str, Any]:
        """What the script of the page needs to know."""
        return {
            "name": self.name,
            "rows": self.rows,
            "page": self.static,
            "columns": [asdict(column) for column in self.columns],
        }

    def _cells(self, row: dict[str, Any]) -> list[Cell]:
        return [_cell(column, row) for column in self.columns]


def _cell(column: Column, row: dict[str, Any]) -> Cell:
    value = row[column.name]
    if column.kind == "flags":
        there = set(str(value).split())
        return Cell("", "", column.kind, tuple(name for name in CHIPS if name in there))
    if column.kind == "measured":
        error = row[column.error]
        numbers = (_number(value), _number(error))
        return Cell(measured(*numbers), "" if value == "" else f"{value} ± {error}", "number")
    if column.kind == "number":
        return Cell(plain(_number(value)), str(value), "number")
    if column.kind == "link":
        return Cell(str(value), str(row[column.error]), column.kind)
    if column.kind == "name":
        return Cell(shortened(str(value)), str(value), "text")
    return Cell(str(value), "", column.kind)


def _number(value: Any) -> float:
    return math.nan if value == "" else float(value)


def shortened(text: str, most: int = 28) -> str:
    """Name of a file without what all have at the end; of a long one the beginning and the end."""
    return cut(ENDING.sub("", text), most)
