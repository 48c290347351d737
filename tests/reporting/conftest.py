"""A run with something of everything: good curves, a failed one, noise, a decay slower than the delays, a bad file."""

from __future__ import annotations

import numpy as np
import pytest

import xpcs_dask as xd
from xpcs_dask.reporting import report
from xpcs_dask.simulate import curves
from xpcs_dask.simulate.files import write_aps

from .page_reader import Page

Q = np.geomspace(0.004, 0.012, 8)
D = np.array([1.0e6, 2.0e6, 4.0e6])
"""angstrom^2/s, of the three files."""
FAILED, NOISE, SLOW = (0, 2), (1, 4), (2, 0)
"""File and position of the bin of what is planted."""


def planted():
    """Three runs of eight bins, with a curve without points, one of noise, and one that does not decay in the run."""
    data = curves(3, Q, model="simple", frames=20_000, diffusion=D[:, None], contrast=0.3, counts=0.3, seed=5).compute()
    g2 = data["g2"].values.copy()
    g2[FAILED] = np.nan
    rng = np.random.default_rng(3)
    error = np.nan_to_num(data["g2_err"].values[NOISE].astype(float))
    g2[NOISE] = 1 + error * rng.standard_normal(error.size)
    delay = data["delay"].values
    g2[SLOW] = 1.0 + 0.3 * np.exp(-2 * delay / (300 * delay[-1])) + 1e-4 * rng.standard_normal(delay.size)
    return data.assign(g2=data["g2"].copy(data=g2))


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """Folder with ``results/``, of which one file is broken, and ``fits.zarr``."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "results").mkdir()
    data = planted()
    for at in range(3):
        write_aps(folder / "results" / f"run{at}_results.hdf", data.isel(file=[at]))
    (folder / "results" / "broken_results.hdf").write_bytes(b"no HDF5 at all")
    xd.run(inputs=str(folder / "results"), output=folder / "fits.zarr", model="simple")
    return folder


@pytest.fixture(scope="session")
def fits(run):
    return xd.open_results(run / "fits.zarr")["group_0"].to_dataset().load()


@pytest.fixture(scope="session")
def page(run):
    return Page(report(run / "fits.zarr", run / "report.html"))


@pytest.fixture
def few_figures(monkeypatch):
    """One of each kind, where their number is not what is tested."""
    for name in ("WORST", "BEST", "SAMPLE", "EXAMPLES", "FAILED"):
        monkeypatch.setattr(f"xpcs_dask.reporting.picks.{name}", 1)
    monkeypatch.setattr("xpcs_dask.reporting.figures.FILES", 1)
