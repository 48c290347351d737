from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from xpcs_dask.errors import FileRejected
from xpcs_dask.io.text import fields, is_row, lines_of, numbers_of


@pytest.mark.parametrize("line", ["1 2.5 3", "1\t2.5\t3", "1,2.5,3", "1;2.5;3", " 1 ,  2.5, 3 ", '"1","2.5","3"'])
def test_separators(line: str) -> None:
    assert fields(line) == ["1", "2.5", "3"]
    assert is_row(line)
    np.testing.assert_array_equal(numbers_of("a", [line]), [[1, 2.5, 3]])


@pytest.mark.parametrize("text", ["1", "-1.5", "+2.", ".5", "1e-3", "1.2E+05", "nan", "-inf", "NaN"])
def test_numbers(text: str) -> None:
    np.testing.assert_array_equal(numbers_of("a", [f"0 {text}"]), [[0, float(text)]])


@pytest.mark.parametrize("text", ["x", "1_2", "0x1", "1e", ".", "--1"])
def test_no_numbers(text: str) -> None:
    assert not is_row(f"0 {text}")
    with pytest.raises(FileRejected, match=r"row 2 holds .*, which is not a number with a decimal point"):
        numbers_of("a", ["1 2", f"0 {text}"])


def test_decimal_commas_are_refused() -> None:
    with pytest.raises(FileRejected, match="row 1 holds '0,5', which is not a number with a decimal point"):
        numbers_of("a", ["0,5;1,25"])


def test_comments_are_no_rows_and_gaps_are_nan() -> None:
    assert not is_row("# 1 2")
    assert is_row("1,,2")
    assert not is_row(",1,2")
    np.testing.assert_array_equal(numbers_of("a", ["1,2,3", "# 7,8,9", "4,,6"]), [[1, 2, 3], [4, np.nan, 6]])


def test_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffone\r\n\r\n  two µ\nthree".encode())
    assert lines_of(str(path)) == ["one", "two µ", "three"]
    assert lines_of(str(path), 1) == ["one"]


@pytest.mark.parametrize("content", [b"1 2\0", b"1 2\n\xff\xfe", b"\n" * 5000 + b"\xff"])
def test_what_is_no_text(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    assert lines_of(str(tmp_path / "a.txt")) == []


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileRejected, match="it cannot be read"):
        lines_of(str(tmp_path / "missing.txt"))
