import base64
import csv
import gzip
import io
import math

from xpcs_dask.reporting.tables import Column, Table


def unpacked(table):
    return list(csv.reader(io.StringIO(gzip.decompress(base64.b64decode(table.payload)).decode())))


def test_all_rows_are_packed_with_all_digits():
    table = Table("t", "numbers", [Column("a", "a", "number")], ["a", "b"])
    values = [(math.pi * 10.0**k, f'with "quotes", commas\nand lines {k}') for k in range(-20, 60)]
    table.extend(values)
    head, *rows = unpacked(table)
    assert head == ["a", "b"]
    assert [(float(a), b) for a, b in rows] == values
    assert table.rows == 80
    assert len(table.head) == 25


def test_what_is_missing_is_an_empty_cell():
    table = Table("t", "gaps", [Column("a", "a", "measured", "e")], ["a", "e"])
    table.extend([(math.nan, None), (1.0, math.nan)])
    assert unpacked(table)[1:] == [["", ""], ["1.0", ""]]
    assert [row[0].text for row in table.head] == ["–", "1 ± –"]


def test_flags_are_shown_worst_first_without_notes():
    table = Table("t", "flags", [Column("flags", "flags", "flags")], ["flags"])
    table.extend([["points_excluded starved weak no_signal"]])
    assert table.head[0][0].parts == ("no_signal", "weak", "starved")
    assert unpacked(table)[1] == ["points_excluded starved weak no_signal"]


def test_the_same_rows_are_the_same_bytes():
    made = []
    for _ in range(2):
        table = Table("t", "same", [Column("a", "a")], ["a"])
        table.extend([["x"], ["y"]])
        made.append(table.payload)
    assert made[0] == made[1]
