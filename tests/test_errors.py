"""What the default errors do: on real files, on producer files with known truth, on simulated speckle."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import carried, shared

import xpcs_dask as xd
from tests.benchmarks.errors import experiments, opened, real_file, signal, speckle_cell
from xpcs_dask.fitting.layout import Flag, Status

AUTO = ("Average_B0146", "Average_B0147", "Average_D0138", "E0173")


def real(name: str) -> dict:
    """Figures of the one real file whose name begins like this."""
    (path,) = shared("aps").glob(f"{name}*.hdf")
    return real_file(path)


@pytest.fixture(scope="module")
def found():
    return {name: real(name) for name in AUTO}


def test_no_point_dominates_without_a_flag(found):
    for each in found.values():
        unflagged = (each["flags"] & Flag.ONE_POINT_DOMINATES) == 0
        assert unflagged.any()
        assert each["share"][unflagged].max() <= 0.25


def test_chi2_is_what_errors_promise(found):
    assert 0.7 < np.nanmedian(np.concatenate([each["reduced_chi2"] for each in found.values()])) < 1.4


def test_last_delays_hardly_move_a_fast_decay(found):
    shifts = []
    for each in found.values():
        seen = each["fitted"] & ((each["flags"] & (Flag.NO_SIGNAL | Flag.SLOW)) == 0)
        shifts.append(each["shifts"][:, seen])
    shifts = np.concatenate(shifts, axis=1)
    assert shifts.shape[1] >= 2
    assert (np.median(shifts, axis=1) <= 0.3).all()


def test_slow_bins_say_so(found):
    first = found["E0173"]
    assert (first["flags"][:3] & Flag.SLOW > 0).all()
    assert (np.exp(first["ln_tau"][:3]) > 0.2).all()


def test_a_buffer_and_a_starved_sample_show_no_signal(found):
    assert not signal(found["Average_D0138"]).any()
    starved = real_file(carried("boost_corr/S0007_starved_a0014_f008192_r00001_results.hdf"))
    assert not signal(starved).any()
    assert (starved["flags"] & Flag.STARVED > 0).all()


def test_bright_files_with_known_truth_are_signals():
    for name in ("S0001_bright_a0000_f004096_r00001", "S0002_qphi_a0000_f004096_r00001"):
        each = real_file(carried(f"boost_corr/{name}_results.hdf"))
        assert signal(each).all()
        assert (each["flags"] & (Flag.STARVED | Flag.ERROR_UNRELIABLE | Flag.SCATTER_EXCESS) == 0).all()


def test_results_carry_the_flags_and_an_unusable_curve_is_a_row_that_says_why():
    data = opened(carried("boost_corr/S0007_starved_a0014_f008192_r00001_results.hdf"))
    fits = xd.fit(data, "simple")
    unusable = fits["flags"] & int(Flag.UNUSABLE) > 0
    assert 0 < unusable.sum() < unusable.size
    assert (fits["status"].where(unusable, drop=True) == Status.NO_DATA).all()
    assert fits["value"].where(unusable).isnull().all()


@pytest.mark.slow
@pytest.mark.parametrize(("pixels", "counts", "limit"), [(12, 2.0, 1.05), (64, 0.15, 1.05), (64, 0.01, 1.25)])
def test_as_good_as_the_true_errors_on_speckle(pixels, counts, limit):
    cell = speckle_cell(experiments(pixels, counts, 150, seed=5))
    assert cell["compared"] == 150
    assert cell["ratio"]["auto"] <= limit
