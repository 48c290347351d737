from __future__ import annotations

import pytest

from xpcs_dask.errors import FileRejected
from xpcs_dask.io.units import to_per_angstrom, to_seconds


@pytest.mark.parametrize(
    ("unit", "expected"),
    [("s", 1), ("ms", 1e-3), (" m s", 1e-3), ("us", 1e-6), ("µs", 1e-6), ("μs", 1e-6), ("ns", 1e-9), ("Seconds", 1)],
)
def test_seconds(unit: str, expected: float) -> None:
    assert to_seconds("a", "t", unit) == to_seconds("a", "t", "", unit) == expected


@pytest.mark.parametrize(("unit", "expected"), [("1/angstrom", 1), ("Å⁻¹", 1), ("nm^-1", 0.1), ("1/m", 1e-10)])
def test_per_angstrom(unit: str, expected: float) -> None:
    assert to_per_angstrom("a", "q", unit) == to_per_angstrom("a", "q", "", unit) == expected


def test_unknown_units_are_refused_and_the_option_is_named() -> None:
    with pytest.raises(FileRejected, match=r"it does not state the unit of t; tell it with delay_unit= \(s, ms, us"):
        to_seconds("a", "t", "")
    with pytest.raises(FileRejected, match=r"it does not state the unit of q; tell it with q_unit= \(.*1/nm"):
        to_per_angstrom("a", "q", "")
    for stated, told in (("frames", ""), ("", "frames"), ("s", "frames"), ("frames", "s")):
        with pytest.raises(FileRejected, match="the unit 'frames' of t is not known; known are s, "):
            to_seconds("a", "t", stated, told)


def test_told_against_stated() -> None:
    assert to_seconds("a", "t", "ms", "millisecond") == 1e-3
    with pytest.raises(FileRejected, match="it states 'ms' as unit of t, but delay_unit= says 's'; leave that out"):
        to_seconds("a", "t", "ms", "s")
