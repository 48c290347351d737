"""A series of 36 q bins, and the store of its fits."""

from __future__ import annotations

import numpy as np
import pytest

import xpcs_dask as xd
from xpcs_dask.simulate import write_series
from xpcs_dask.view.session import Session
from xpcs_dask.view.sources import open_all


@pytest.fixture(scope="session")
def series(tmp_path_factory):
    """Paths of two files, and a store as the command line writes it (no covariance)."""
    folder = tmp_path_factory.mktemp("view")
    files = write_series(folder / "files", 2, seed=5, q=list(np.linspace(0.003, 0.03, 36)), frames=20_000)
    fits = xd.fit(xd.open_g2(files), "single", detail="core")
    return files, xd.save(fits, folder / "fits.zarr")


@pytest.fixture
def session(series):
    """The store, with nothing fitted yet."""
    return Session(open_all([str(series[1])]))
