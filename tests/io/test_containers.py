"""One real result in the layouts of other facilities: all of them must give the curves of the original."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from conftest import shared

from xpcs_dask.api import fit
from xpcs_dask.io.open import open_g2

CONTAINERS = {
    "aps_legacy": ("aps_legacy/E0173_legacy_0001-100000.hdf", 1e-15),
    "esrf_id02 1": ("esrf_id02/E0173_id02_v1.h5", 1e-14),
    "esrf_id02 2": ("esrf_id02/E0173_id02_v2.h5", 1e-14),
    "pychx": ("pychx/uid=e0173_Res.h5", 1e-15),
    "dynamix": ("dynamix/E0173_event_cf.dat", 0.5e-5 / 0.003),
}
"""File and relative precision of its q; dynamix writes five decimals, and the smallest q is 0.003."""


def original(q: int = 20) -> xr.Dataset:
    path = next(Path(shared("aps")).glob("E0173*_results.hdf"), None)
    if path is None:
        pytest.skip("the original E0173 is not in the test data")
    opened = open_g2(path)
    assert isinstance(opened, xr.Dataset)
    return opened.isel(qbin=slice(q)).compute()


def container(name: str) -> xr.Dataset:
    opened = open_g2(shared("containers") / CONTAINERS[name][0])
    assert isinstance(opened, xr.Dataset)
    assert opened.attrs["source_format"] == name.partition(" ")[0]
    return opened.compute()


@pytest.mark.parametrize("name", CONTAINERS)
def test_same_curves(name: str) -> None:
    expected, found = original(), container(name)
    np.testing.assert_array_equal(found.g2, expected.g2)
    np.testing.assert_allclose(found.delay, expected.delay, rtol=1e-15)
    np.testing.assert_allclose(found.q, expected.q, rtol=CONTAINERS[name][1])
    np.testing.assert_array_equal(found.qbin, expected.qbin)
    if name == "pychx":
        assert np.isnan(found.g2_err).all()
        assert found.error_kind.item() == "none"
    else:
        np.testing.assert_array_equal(found.g2_err, expected.g2_err)
        assert found.error_kind.item() == "quoted"


def test_same_schedule_where_frames_are_told() -> None:
    expected, found = original(), container("aps_legacy")
    np.testing.assert_array_equal(found.n_products, expected.n_products)
    np.testing.assert_array_equal(found.level, expected.level)
    np.testing.assert_array_equal(found.frame_time, expected.frame_time)


def test_the_same_curve_has_the_same_identity_in_every_layout() -> None:
    ids = [container(name).curve_id.to_numpy() for name in CONTAINERS]
    for other in ids[1:]:
        np.testing.assert_array_equal(other, ids[0])


STORED = [name for name in CONTAINERS if name != "pychx"]
"""Layouts that hold errors."""


def fitted(data: xr.Dataset, errors: str) -> xr.Dataset:
    """Fit all delays: only one of the layouts tells how few products the last ones have."""
    settings = {"errors": errors, "min_products": 1, "delay_range": (0.0, 1.0)}
    result = fit(data.drop_vars("curve_id"), "single", **settings)[["value", "stderr"]].compute()
    assert int(np.isfinite(result["value"]).all("parameter").sum()) >= 15
    return result


@pytest.mark.slow
@pytest.mark.parametrize(("name", "errors"), [(n, "none") for n in CONTAINERS] + [(n, "quoted") for n in STORED])
def test_same_fits(name: str, errors: str) -> None:
    expected, found = fitted(original(), errors), fitted(container(name), errors)
    np.testing.assert_array_equal(found["value"], expected["value"])
    np.testing.assert_array_equal(found["stderr"], expected["stderr"])
