from __future__ import annotations

import pytest

from xpcs_dask.cli.options import block_files, cluster_settings, named_numbers, named_ranges, number_range
from xpcs_dask.errors import ConfigError


def test_words_become_values():
    assert named_ranges(["tau=1e-6,1e2", " contrast = 0 , inf"], "--bounds") == {
        "tau": (1e-6, 1e2),
        "contrast": (0.0, float("inf")),
    }
    assert named_numbers(["baseline=1", "stretch=-2.5"], "--fix") == {"baseline": 1.0, "stretch": -2.5}
    assert number_range("0.003,0.02", "--q-range") == (0.003, 0.02)
    assert (block_files("auto"), block_files("12")) == ("auto", 12)


@pytest.mark.parametrize("text", ["tau", "tau=", "=1,2", "tau=1", "tau=1,2,3", "tau=1;2", "tau=a,b", "tau=,", ""])
def test_bounds_that_cannot_be_read_name_the_option_and_the_word(text):
    with pytest.raises(ConfigError, match="--bounds") as caught:
        named_ranges([text], "--bounds")
    assert text.split("=")[-1].split(",")[0] in str(caught.value)


@pytest.mark.parametrize("text", ["baseline", "baseline=", "baseline=one", "baseline=1,2"])
def test_values_that_cannot_be_read(text):
    with pytest.raises(ConfigError, match="--fix"):
        named_numbers([text], "--fix")


def test_a_name_given_twice_is_refused():
    with pytest.raises(ConfigError, match="tau more than once"):
        named_ranges(["tau=1,2", "tau=1,3"], "--bounds")


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", ""])
def test_chunks_that_make_no_sense(text):
    with pytest.raises(ConfigError, match="--chunks"):
        block_files(text)


def test_settings_of_a_cluster_are_texts_by_name():
    assert cluster_settings(["workers=8", "prologue=module load a=1"]) == {
        "workers": "8",
        "prologue": "module load a=1",
    }
    assert cluster_settings(None) == {}
    with pytest.raises(ConfigError, match="--cluster takes KEY=VALUE; got 'workers'"):
        cluster_settings(["workers"])
