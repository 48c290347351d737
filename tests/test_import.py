"""Importing is light, and what is not used is not imported."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import xpcs_dask as xd

HEAVY = ["distributed", "matplotlib", "numba", "dask", "scipy", "xarray", "h5py", "zarr", "pandas", "pydantic"]


def imported(code: str, *names: str) -> list[str]:
    """Which of the names a fresh interpreter has imported after the code."""
    program = f"{code}\nimport sys, json\nprint(json.dumps([n for n in {names!r} if n in sys.modules]))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return json.loads(ran.stdout.splitlines()[-1])


def test_importing_the_package_imports_nothing_heavy():
    assert imported("import xpcs_dask", *HEAVY) == []
    assert imported("import xpcs_dask; xpcs_dask.__version__; dir(xpcs_dask)", *HEAVY) == []


@pytest.mark.slow
def test_the_check_itself_sees_imports():
    assert imported("import xpcs_dask; xpcs_dask.fit", "xarray", "matplotlib") == ["xarray"]


FIT = """
import numpy as np, xarray as xr, xpcs_dask as xd
x = np.geomspace(1e-4, 1, 30)
g2 = xr.DataArray(1 + 0.2 * np.exp(-2 * x / 0.01)[None], {"delay": x}, ("q", "delay"))
fits = xd.fit(g2, "simple")
assert abs(fits.value[0, 1] - 0.01) < 1e-6
"""


def test_an_eager_fit_imports_no_cluster_and_no_plots():
    assert imported(FIT, "distributed", "matplotlib", "zarr") == []


def test_building_a_lazy_fit_imports_no_cluster():
    assert imported(FIT + "xd.fit(g2.chunk(q=1))", "distributed", "matplotlib") == []


@pytest.mark.parametrize("name", xd.__all__)
def test_every_public_name_is_there(name):
    assert getattr(xd, name) is not None
    assert name in dir(xd)


@pytest.mark.parametrize("name", ["Flag", "Rung", "Status", "flag_names"])
def test_codes_are_at_hand_and_light(name):
    assert name in xd.__all__
    heavy = [module for module in HEAVY if module != "numpy"]
    assert imported(f"import xpcs_dask; xpcs_dask.{name}", *heavy) == []


def test_flags_are_read_by_name():
    assert xd.flag_names(int(xd.Flag.AT_BOUND | xd.Flag.POOR_FIT)) == ["at_bound", "poor_fit"]


def test_an_unknown_name_says_so():
    with pytest.raises(AttributeError, match="no attribute 'curve_fit'"):
        _ = xd.curve_fit
