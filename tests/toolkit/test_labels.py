"""Short names of files: what pyXpcsViewer 1.2.2 makes of the same names (its answers are written out here)."""

from __future__ import annotations

from pathlib import Path

import pytest

from xpcs_dask.toolkit.labels import create_id

NAME = "/data/2025/E0173_H06-c6c5-4_a0009_t0600_f100000_r00001_results.hdf"


@pytest.mark.parametrize(
    ("name", "label"),
    [
        (NAME, "E0173_H6-c6c5-4_a9_t600_f100000_r1"),
        ("Average_B0146_S3_7_060C10p_att00_Rq0_00001_00050_results.hdf", "Average_B146_S3_7_060C10p_att00_Rq0_01_050"),
        ("S0001_bright_a0000_f004096_r00001_avg4_results.hdf", "S0001_bright_a0_f4096_r1_avg4"),
        ("run.HDF", "run"),
        ("plain_Results.hdf", "plain"),
        ("notes_results.txt", "notes_results.txt"),
        ("new_a0012_results.h5", "new_a12"),
    ],
)
def test_endings_and_zeros_that_fill_up_are_left_out(name, label):
    assert create_id(name) == label
    assert create_id(Path(name)) == label


def test_a_style_chooses_parts():
    assert create_id(NAME, "0_2") == "E0173_a9"
    assert create_id(NAME, " 5 ") == "r1"
    assert create_id(NAME, "-1_0") == "r1_E0173"


def test_the_name_stays_whole_if_asked_or_short():
    assert create_id(NAME, simplify_flag=False) == "E0173_H06-c6c5-4_a0009_t0600_f100000_r00001_results.hdf"
    assert create_id("a_b_c_defg.hdf", "0") == "a"
    assert create_id("a_b_c_def.hdf", "0") == "a_b_c_def"


def test_a_style_that_cannot_be_followed_is_said():
    whole = create_id(NAME)
    with pytest.warns(UserWarning, match="'first' is no list of numbers"):
        assert create_id(NAME, "first") == whole
    with pytest.warns(UserWarning, match="asks for part 9, .* has parts 0 to 5"):
        assert create_id(NAME, "0_9") == "E0173"
    with pytest.warns(UserWarning, match="part -7"):
        assert create_id(NAME, "-7") == whole
