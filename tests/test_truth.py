"""Files of a real producer with known truth, and real files against scipy."""

import json

import numpy as np
import pytest

import xpcs_dask as xd
from tests.conftest import CARRIED, carried, shared
from tests.fitting.kernel.curves import scipy_best_on
from xpcs_dask.errors import FileRejected
from xpcs_dask.fitting.layout import Flag, Status
from xpcs_dask.fitting.models import SINGLE

TRUTH = json.loads((CARRIED / "boost_corr" / "truth.json").read_text())
MULTITAU = sorted(name for name in TRUTH if "twotime" not in name)
REAL = ["B0146", "B0147", "D0138", "E0173"]


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("S0001_bright_a0000_f004096_r00001_results.hdf", 0.02),
        ("S0001_bright_a0000_f004096_r00001_avg4_results.hdf", 0.02),
        ("S0001_bright_a0000_f004096_r00001_stride2avg2_results.hdf", 0.02),
        ("S0002_qphi_a0000_f004096_r00001_results.hdf", 0.06),
    ],
)
def test_diffusion_of_the_producers_files_is_found(name, limit):
    found = xd.fit(xd.open_g2(carried(f"boost_corr/{name}")), model="simple").compute().isel(file=0)
    tau, q, diffusion = found.value.sel(parameter="tau"), found.q, TRUTH[name]["D"]
    short = (1 / (diffusion * q**2) < 0.4).values
    error = np.abs(np.log(tau * q**2 * diffusion)).values[short]
    assert short.sum() >= 5
    assert (found.status.values[short] == Status.CONVERGED).all()
    assert np.median(error) <= limit


@pytest.mark.parametrize("name", MULTITAU)
def test_every_multitau_file_of_the_producer_fits(name):
    found = xd.fit(xd.open_g2(carried(f"boost_corr/{name}"))).compute()
    status = found.status.values
    if "short" in name or "starved" in name:  # nine delays, or nothing but zeros: the status says so
        assert np.isin(status, [Status.CONVERGED, Status.TOO_FEW_POINTS, Status.NO_DATA]).all()
    else:
        assert (status == Status.CONVERGED).all()
    failed = status != Status.CONVERGED
    assert np.isnan(found.value.values[failed]).all()
    assert np.isfinite(found.value.values[~failed]).all()


def test_a_two_time_file_is_rejected_with_its_reason():
    with pytest.raises(FileRejected, match="two-time"):
        xd.open_g2(carried("boost_corr/S0005_twotime_a0000_f000200_r00001_twotime_results.hdf"))


@pytest.mark.slow
@pytest.mark.parametrize("part", REAL)
def test_real_curves_reach_scipys_minimum(part):
    """All that end inside the delays are compared; usable are those that beat a constant by F > 10."""
    path = next(p for p in shared("aps").iterdir() if part in p.name)
    data = xd.open_g2(path, chunks=None)
    found = xd.fit(data, errors="quoted").isel(file=0)
    g2, err = (data[name].values[0].astype(np.float64) for name in ("g2", "g2_err"))
    delay, used = data.delay.values, found.quality.values == 0
    chi2, dof = found.chi2.values, found.dof.values
    weight = np.where(used, 1 / np.where(err > 0, err, 1), 0) ** 2
    mean = np.sum(weight * g2, axis=1, keepdims=True) / np.maximum(weight.sum(axis=1, keepdims=True), 1e-300)
    usable = (np.sum(weight * (g2 - mean) ** 2, axis=1) - chi2) * dof > 10 * chi2
    inside = (found.status == Status.CONVERGED).values & ((found["flags"].values & int(Flag.UNIDENTIFIABLE)) == 0)
    higher = np.zeros(len(g2), dtype=bool)
    for j in np.flatnonzero(inside):
        u = used[j]
        best, _ = scipy_best_on(delay[u], SINGLE, g2[j][u], err[j][u], *SINGLE.box(delay))
        higher[j] = chi2[j] > best * (1 + 1e-6)
    assert inside.sum() >= 10
    assert (usable & inside).any()
    assert not (higher & usable).any()
    assert higher.sum() <= 1  # noise of starved bins has several minima
