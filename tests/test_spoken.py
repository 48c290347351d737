import math

import pytest

from xpcs_dask.reporting.tables import shortened
from xpcs_dask.spoken import count, measured, plain, share


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (0.012345, "0.01235"), (1234.5678, "1235"), (12345.6, "12346"), (1.5e-7, "1.5 × 10⁻⁷"),
        (-3.25e6, "-3.25 × 10⁶"), (math.nan, "–"), (math.inf, "∞"), (-math.inf, "−∞"), (16.384, "16.38"),
    ],
)  # fmt: skip
def test_plain(value, text):
    assert plain(value) == text


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1.23456, 0.0567, "1.235 ± 0.057"), (0.5, 0.25, "0.50 ± 0.25"), (16.384, math.nan, "16.38 ± –"),
        (math.nan, 0.1, "–"), (1.2345e-5, 6.7e-7, "(1.234 ± 0.067) × 10⁻⁵"), (9.0, 110.0, "9 ± 110"),
        (153.2, 12.0, "153 ± 12"), (9.96e-3, 1.1e-4, "0.00996 ± 0.00011"), (1e-6, 2e-8, "(1.000 ± 0.020) × 10⁻⁶"),
        (2.0e6, 6.8e3, "(2.0000 ± 0.0068) × 10⁶"), (1.0, 0.0, "1 ± –"),
    ],
)  # fmt: skip
def test_measured(value, error, text):
    assert measured(value, error) == text


def test_counts_and_shares():
    assert (count(1, "curve"), count(2117, "curve"), count(0, "file")) == ("1 curve", "2,117 curves", "0 files")
    assert [share(*pair) for pair in ((0, 9), (1, 9), (9, 9), (1, 1000), (999, 1000), (0, 0))] == [
        "0 %", "11 %", "100 %", "< 1 %", "> 99 %", "0 %",
    ]  # fmt: skip


def test_names_of_files_are_shortened_in_the_middle():
    assert shortened("run7_results.hdf") == "run7"
    assert shortened("table.CSV") == "table"
    long = shortened("Sample_A_0123456789_0123456789_00001_00050_results.hdf")
    assert long == "Sample_A_01234…9_00001_00050"
    assert len(long) == 28
