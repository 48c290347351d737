"""The fits of `XpcsFile` hand over what they are told, in order, and keep what comes back."""

from __future__ import annotations

import importlib
import pickle

import numpy as np
import pytest
from scipy.optimize import curve_fit

from tests.conftest import carried
from xpcs_dask.toolkit.models import single_exp_all
from xpcs_dask.toolkit.xpcs_file import XpcsFile

BRIGHT = "S0001_bright_a0000_f004096_r00001_results.hdf"
STARVED = "S0007_starved_a0014_f008192_r00001_results.hdf"
BOUNDS = ([0, 1e-6, 0.3, 0.9], [1, 100, 3, 1.1])
MANY = (0.0015, 0.0045)
"""Bins whose decay is well inside the delays."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XPCS_CACHE_DIR", str(tmp_path / "cache"))


def boost(name):
    return XpcsFile(carried(f"boost_corr/{name}"))


def test_a_fit_is_kept_and_is_that_of_scipy():
    xf = boost(BRIGHT)
    assert xf.fit_summary is None
    summary = xf.fit_g2(q_range=MANY, bounds=BOUNDS, fit_flag=[True] * 4)
    assert xf.fit_summary is summary
    q, t, g2, errors, labels = xf.get_g2_data(MANY)
    assert list(summary["label"]) == labels
    assert np.array_equal(summary["q_val"], q)
    found = np.asarray(summary["fit_val"])
    errors = xf.correct_g2_err(xf.g2_err)[:, -q.size :]
    for n in range(q.size):
        start = 0.25, 0.3, 1.0, 1.0
        best, _ = curve_fit(single_exp_all, t, g2[:, n], start, errors[:, n], bounds=BOUNDS, xtol=1e-12, ftol=1e-12)
        assert np.allclose(found[n, 0], best, rtol=1e-4)


def test_tau_of_q_follows_a_fit():
    xf = boost(BRIGHT)
    assert xf.fit_tauq(MANY, ([0, -4], [1, 0]), [True, True]) is None
    assert xf.fit_summary is None
    for fit in (xf.fit_g2, xf.fit_g2_robust):
        fit(q_range=MANY, bounds=BOUNDS, fit_flag=[True] * 4, bootstrap_samples=0)
        summary = xf.fit_tauq(MANY, ([0, -4], [1, 0]), [True, True])
        assert xf.fit_summary["tauq_success"]
        assert summary["tauq_fit_val"][0, 1] == pytest.approx(-2, abs=0.1), "diffusion"
        assert "a = " in str(xf.get_fitting_info("tauq_fitting"))
        assert len(xf.get_fitting_info()["fit_val"]) == len(summary["q_val"])


def test_a_fit_goes_through_pickle():
    xf = boost(BRIGHT)
    xf.fit_g2(q_range=MANY, bounds=BOUNDS, fit_flag=[True] * 4)
    found = pickle.loads(pickle.dumps(xf))
    assert np.array_equal(np.asarray(found.fit_summary["fit_val"]), np.asarray(xf.fit_summary["fit_val"]))


def test_errors_that_are_zero():
    xf = boost(STARVED)
    stored = xf.g2_err
    found = xf.correct_g2_err(stored)
    assert (stored == 0).any(axis=0).any()
    assert (xf.g2_err == stored).all(), "a copy"
    for column, fixed in zip(stored.T, found.T, strict=True):
        good = column > 1e-6
        assert np.array_equal(fixed[good], column[good])
        assert np.allclose(fixed[~good], column[good].mean(), rtol=1e-5)
    assert XpcsFile.correct_g2_err(np.zeros((3, 1)), threshold=0.5).tolist() == [[0.5]] * 3


CALLS = [
    ("file_fits", "fit_g2", "fit_g2", "abcdefgh", True),
    ("file_fits", "fit_g2_robust", "fit_g2_robust", "abcdefgh", True),
    ("performance", "fit_g2_high_performance", "fit_g2_high_performance", "abcdefgh", True),
    ("file_fits", "fit_tauq", "fit_tauq", "abc", True),
    ("file_fits", "get_fitting_info", "get_fitting_info", "a", True),
    ("file_fits", "perform_robust_g2_fitting", "_perform_robust_g2_fitting", "abcdefghij", False),
    ("file_fits", "fallback_standard_fit", "_fallback_standard_fit", "abcdefgh", False),
]


@pytest.mark.parametrize(("module", "function", "method", "told", "itself"), CALLS, ids=lambda item: str(item)[:30])
def test_what_is_told_is_handed_over_in_order(monkeypatch, module, function, method, told, itself):
    heard = []
    home = importlib.import_module(f"xpcs_dask.toolkit.{module}")
    assert callable(getattr(home, function))
    monkeypatch.setattr(home, function, lambda *args: heard.append(args) or {"from": function})
    xf = boost(BRIGHT)
    assert getattr(xf, method)(*told) == {"from": function}
    assert heard == [((xf, *told) if itself else tuple(told))]
    keeps = function.startswith("fit_")
    assert xf.fit_summary == ({"from": function} if keeps else None)


def test_a_fit_of_tau_that_finds_nothing_leaves_the_last_fit(monkeypatch):
    monkeypatch.setattr("xpcs_dask.toolkit.file_fits.fit_tauq", lambda *args: None)
    xf = boost(BRIGHT)
    xf.fit_summary = {"kept": True}
    assert xf.fit_tauq(MANY, None, None) is None
    assert xf.fit_summary == {"kept": True}
