from __future__ import annotations

from pathlib import Path

import aps_file
import numpy as np
import pytest
import xarray as xr
from conftest import carried

from xpcs_dask.errors import ConfigError, FileRejected, MismatchError
from xpcs_dask.io.backend import XpcsBackend
from xpcs_dask.io.open import open_g2

Q_PHI = "boost_corr/S0002_qphi_a0000_f004096_r00001_results.hdf"


@pytest.fixture
def series(tmp_path: Path) -> Path:
    for i in range(5):
        aps_file.write(tmp_path / f"r{i}.hdf", seed=i)
    return tmp_path


def test_same_dataset_as_open_g2() -> None:
    expected = open_g2(carried(Q_PHI))
    for chunks in (None, {}, {"file": 1}):
        xr.testing.assert_identical(xr.open_dataset(carried(Q_PHI), engine="xpcs", chunks=chunks).load(), expected)


def test_dask_blocks_are_those_of_open_g2(series: Path) -> None:
    data = xr.open_dataset(series / "*.hdf", engine="xpcs", chunks={})
    assert data.g2.chunks == open_g2(series).g2.chunks == ((5,), (3,), (13,))
    xr.testing.assert_identical(data.compute(), open_g2(series).compute())


def test_reads_only_what_is_asked_for(series: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = xr.open_dataset(str(series), engine="xpcs")
    reads = aps_file.CountReads(monkeypatch)
    part = data.g2.isel(file=slice(1, 3), delay=[0, 4])
    assert reads.paths == []
    np.testing.assert_array_equal(
        part, [aps_file.contents(i)["xpcs/multitau/normalized_g2"].T[:, [0, 4]] for i in (1, 2)]
    )
    assert {Path(path).name for path in reads.paths} == {"r1.hdf", "r2.hdf"}
    np.testing.assert_array_equal(
        data.g2_err.isel(file=-1, qbin=2), aps_file.contents(4)["xpcs/multitau/normalized_g2_err"].T[2]
    )


def test_its_own_arguments(series: Path) -> None:
    data = xr.open_dataset(
        series, engine="xpcs", drop_variables="rate", include=["count_time"], format="aps_nexus", on_error="skip"
    )
    assert "rate" not in data
    assert "count_time" in data
    assert set(XpcsBackend.open_dataset_parameters) >= {"filename_or_obj", "drop_variables"}
    with pytest.raises(ConfigError, match="include: 'x' cannot be read"):
        xr.open_dataset(series, engine="xpcs", include=["x"])
    aps_file.write(series / "x.hdf", bins=4)
    with pytest.raises(MismatchError, match="q-map"):
        xr.open_dataset(series, engine="xpcs")


def test_guess_by_content(tmp_path: Path) -> None:
    backend = XpcsBackend()
    assert backend.guess_can_open(carried(Q_PHI))
    (tmp_path / "a.hdf").write_text("bad")
    assert not backend.guess_can_open(tmp_path / "a.hdf")
    assert not backend.guess_can_open(aps_file.write(tmp_path / "a.xyz"))
    assert not backend.guess_can_open(tmp_path / "none.hdf")
    assert not backend.guess_can_open(b"bytes")
    with pytest.raises(FileRejected, match=r"a\.hdf: it is not HDF5"):
        xr.open_dataset(tmp_path / "a.hdf", engine="xpcs")


def test_registered() -> None:
    assert isinstance(xr.backends.list_engines()["xpcs"], XpcsBackend)
