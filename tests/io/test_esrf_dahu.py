from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import run_file
import xarray as xr
from run_file import err_of, g2_of

from xpcs_dask.errors import FileRejected
from xpcs_dask.io.esrf_dahu import read_g2, read_meta, sniff
from xpcs_dask.io.formats import identify
from xpcs_dask.io.reader import Told

RESULTS = "entry_0000/1_XPCS/results"
SHOT_NOISE = 9.0


def contents(data: xr.Dataset, place: str = RESULTS) -> dict[str, Any]:
    return {
        "entry_0000@NX_class": "NXentry",
        f"{place.removesuffix('/results')}@NX_class": "NXprocess",
        f"{place}@NX_class": "NXdata",
        f"{place}/g2": np.insert(g2_of(data), 0, SHOT_NOISE, axis=1),
        f"{place}/errors": np.insert(err_of(data), 0, SHOT_NOISE, axis=1),
        f"{place}/t": np.insert(data["delay"].to_numpy(), 0, 0.0),
        f"{place}/q": 10 * data["q"].to_numpy(),
        f"{place}/q@unit": "q_nm^-1",
        f"{place}/qmask": np.ones((2, 3), "i4"),
    }


@pytest.fixture
def data() -> xr.Dataset:
    return run_file.run()


def write(path: Path, data: xr.Dataset, **changed: Any) -> str:
    return str(run_file.write(path / "renamed.dat", contents(data), changed))


def test_everything_but_delay_zero(tmp_path: Path, data: xr.Dataset) -> None:
    path = write(tmp_path, data)
    assert identify(path) == "esrf_dahu"
    info = read_meta(path)
    np.testing.assert_allclose(info.q, data["q"], rtol=1e-12)
    np.testing.assert_array_equal(info.delay, data["delay"])
    assert info.error_kind == "quoted"
    assert info.notes == ("delay 0 is left out: it holds the shot noise",)
    g2, err = read_g2(path, info.entry)
    np.testing.assert_array_equal(g2, g2_of(data))
    np.testing.assert_array_equal(err, err_of(data))


def test_unit_of_q(tmp_path: Path, data: xr.Dataset) -> None:
    q = data["q"].to_numpy()
    as_stated = read_meta(write(tmp_path, data, **{f"{RESULTS}/q@unit": "q_A^-1"})).q
    np.testing.assert_allclose(as_stated, 10 * q, rtol=1e-12)
    unstated = write(tmp_path, data, **{f"{RESULTS}/q@unit": None})
    with pytest.raises(FileRejected, match=r"it does not state the unit of q; tell it with q_unit= \(.*1/nm"):
        read_meta(unstated)
    np.testing.assert_allclose(read_meta(unstated, told=Told(q_unit="1/nm")).q, q, rtol=1e-12)
    with pytest.raises(FileRejected, match="the unit '2th_deg' of q is not known; known are"):
        read_meta(write(tmp_path, data, **{f"{RESULTS}/q@unit": "2th_deg"}))
    with pytest.raises(FileRejected, match="it states 'nm\\^-1' as unit of q, but q_unit= says '1/angstrom'"):
        read_meta(write(tmp_path, data), told=Told(q_unit="1/angstrom"))


def test_unit_of_t(tmp_path: Path, data: xr.Dataset) -> None:
    info = read_meta(write(tmp_path, data, **{f"{RESULTS}/t@unit": "ms"}))
    np.testing.assert_allclose(info.delay, 1e-3 * data["delay"], rtol=1e-12)


def test_errors_may_be_missing(tmp_path: Path, data: xr.Dataset) -> None:
    path = write(tmp_path, data, **{f"{RESULTS}/errors": None})
    info = read_meta(path)
    assert info.error_kind == "none"
    assert np.isnan(read_g2(path, info.entry)[1]).all()
    assert read_g2(path, info.entry)[1].shape == info.shape


def test_several_entries(tmp_path: Path, data: xr.Dataset) -> None:
    other = "entry_0001/1_XPCS/results"
    path = write(tmp_path, data, **{**contents(data, other), f"{other}/g2": contents(data)[f"{RESULTS}/g2"] + 5})
    assert read_meta(path).notes[0] == "of the entries entry_0000, entry_0001 the first is read; entry= chooses another"
    info = read_meta(path, told=Told(entry="entry_0001"))
    np.testing.assert_array_equal(read_g2(path, info.entry)[0], g2_of(data) + 5)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({f"{RESULTS}/t": None}, "/1_XPCS/results/t is missing"),
        ({f"{RESULTS}/q": None, f"{RESULTS}/q@unit": None}, "/1_XPCS/results/q is missing"),
        ({f"{RESULTS}/g2": np.ones((30, 12))}, r"\(q, delay\) is expected: it is transposed"),
        ({f"{RESULTS}/t": np.linspace(-1, 1, 30)}, "delays must be positive numbers, found -1 s"),
    ],
)
def test_refused(tmp_path: Path, data: xr.Dataset, changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(FileRejected, match=reason):
        read_meta(write(tmp_path, data, **changed))


def test_sniff_is_by_content(tmp_path: Path, data: xr.Dataset) -> None:
    assert not sniff(write(tmp_path, data, **{f"{RESULTS}/g2": None}))
    with pytest.raises(FileRejected, match="/entry_0000/1_XPCS/results/g2 is missing"):
        read_meta(write(tmp_path, data, **{f"{RESULTS}/g2": None}))
