from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import run_file
import xarray as xr
from run_file import err_of, g2_of

from xpcs_dask.errors import FileRejected
from xpcs_dask.io.esrf_id02 import read_g2, read_meta, sniff
from xpcs_dask.io.formats import identify
from xpcs_dask.io.reader import Told

KEY = "entry_0000/correlations/full"
DIRECTION = "entry_0000/dynamix/correlations/directions/direction_0000"
RANGES = "entry_0000/dynamix/correlations/q_index_min_max"


def version_2(data: xr.Dataset, key: str = KEY) -> dict[str, Any]:
    return {
        "@MagicString": "XPCSResultFile_v2.0",
        "entry_0000/acquisition/timestamp": 1743271343,
        f"{key}/g2/lag": data["delay"].to_numpy(),
        f"{key}/g2/cf": g2_of(data),
        f"{key}/g2/err": err_of(data),
        f"{key}/parameters/q": 10 * data["q"].to_numpy(),
    }


def version_1(data: xr.Dataset) -> dict[str, Any]:
    """Return columns in the order of q, whose index in the table of ranges, in reverse order there, starts from 5."""
    q = 10 * data["q"].to_numpy()
    index = 5 + np.arange(q.size)
    return {
        "entry_0000@version": "1.0",
        "entry_0000/title": np.array([b"XPCSResultFile"]),
        RANGES: np.stack([index, q - 0.01, q + 0.01], axis=1)[::-1],
        f"{DIRECTION}/q_index": index,
        f"{DIRECTION}/correlation/timeshift": data["delay"].to_numpy()[:, None],
        f"{DIRECTION}/correlation/cf": g2_of(data).T,
        f"{DIRECTION}/correlation/std": err_of(data).T,
    }


@pytest.fixture
def data() -> xr.Dataset:
    return run_file.run()


@pytest.mark.parametrize(("version", "first_label"), [(version_1, 5), (version_2, 1)])
@pytest.mark.parametrize("bins", [1, 12])
def test_both_versions(tmp_path: Path, version: Any, first_label: int, bins: int) -> None:
    data = run_file.run(bins)
    path = str(run_file.write(tmp_path / "renamed.dat", version(data)))
    assert identify(path) == "esrf_id02"
    info = read_meta(path)
    np.testing.assert_allclose(info.q, data["q"], rtol=1e-12)
    np.testing.assert_array_equal(info.delay, data["delay"])
    np.testing.assert_array_equal(info.labels, first_label + np.arange(bins))
    assert (info.error_kind, info.notes) == ("quoted", ())
    assert info.start_time == (datetime(2025, 3, 29, 18, 2, 23, tzinfo=UTC) if version is version_2 else None)
    assert np.isnan([*info.n_products, *info.n_pixels, *info.phi, info.frames, info.frame_time]).all()
    g2, err = read_g2(path, info.entry)
    np.testing.assert_array_equal(g2, g2_of(data))
    np.testing.assert_array_equal(err, err_of(data))


@pytest.mark.parametrize(
    ("version", "errors"), [(version_1, f"{DIRECTION}/correlation/std"), (version_2, f"{KEY}/g2/err")]
)
def test_errors_may_be_missing(tmp_path: Path, data: xr.Dataset, version: Any, errors: str) -> None:
    path = str(run_file.write(tmp_path / "a.h5", version(data), {errors: None}))
    info = read_meta(path)
    assert info.error_kind == "none"
    np.testing.assert_array_equal(read_g2(path, info.entry)[0], g2_of(data))
    assert np.isnan(read_g2(path, info.entry)[1]).all()


def test_lag_is_another_name_of_timeshift(tmp_path: Path, data: xr.Dataset) -> None:
    lag = {f"{DIRECTION}/correlation/timeshift": None, f"{DIRECTION}/correlation/lag": data["delay"].to_numpy()}
    path = str(run_file.write(tmp_path / "a.h5", version_1(data), lag))
    np.testing.assert_array_equal(read_meta(path).delay, data["delay"])


@pytest.mark.parametrize(
    ("version", "times", "axis"),
    [(version_1, f"{DIRECTION}/correlation/timeshift", 0), (version_2, f"{KEY}/g2/lag", 1)],
)
def test_delay_zero_is_left_out(tmp_path: Path, data: xr.Dataset, version: Any, times: str, axis: int) -> None:
    good = version(data)
    longer = {name: np.insert(value, 0, 9, axis) for name, value in good.items() if name.endswith(("cf", "err", "std"))}
    longer[times] = np.insert(good[times], 0, 0, 0)
    path = str(run_file.write(tmp_path / "a.h5", good, longer))
    info = read_meta(path)
    np.testing.assert_array_equal(info.delay, data["delay"])
    assert info.notes == ("delay 0 is left out: it holds the shot noise",)
    np.testing.assert_array_equal(read_g2(path, info.entry)[0], g2_of(data))
    np.testing.assert_array_equal(read_g2(path, info.entry)[1], err_of(data))


def test_several_keys(tmp_path: Path, data: xr.Dataset) -> None:
    both = {f"{KEY}_2/g2/cf": g2_of(data) + 5, f"{KEY}_10/g2/cf": g2_of(data) + 7}
    more = {**version_2(data, f"{KEY}_10"), **version_2(data, f"{KEY}_2"), **both}
    path = str(run_file.write(tmp_path / "a.h5", more))
    first = read_meta(path)
    assert first.entry == "full_2"
    assert first.notes == ("of the entries full_2, full_10 the first is read; entry= chooses another",)
    np.testing.assert_array_equal(read_g2(path, first.entry)[0], g2_of(data) + 5)
    chosen = read_meta(path, told=Told(entry="full_10"))
    assert (chosen.entry, chosen.notes) == ("full_10", ())
    np.testing.assert_array_equal(read_g2(path, chosen.entry)[0], g2_of(data) + 7)
    with pytest.raises(FileRejected, match="entry= names 'fast', but it has full_2, full_10"):
        read_meta(path, told=Told(entry="fast"))


def test_several_directions(tmp_path: Path, data: xr.Dataset) -> None:
    good = version_1(data)
    second = DIRECTION.removesuffix("0") + "1"
    other = {name.replace(DIRECTION, second): value for name, value in good.items() if name.startswith(DIRECTION)}
    other[f"{second}/correlation/cf"] = g2_of(data).T + 5
    path = str(run_file.write(tmp_path / "a.h5", good, other))
    assert read_meta(path).notes[0].startswith("of the entries direction_0000, direction_0001 the first")
    info = read_meta(path, told=Told(entry="direction_0001"))
    np.testing.assert_array_equal(read_g2(path, info.entry)[0], g2_of(data) + 5)


@pytest.mark.parametrize(
    ("version", "changed", "reason"),
    [
        (version_2, {f"{KEY}/g2/cf": np.ones((29, 12))}, r"for 29 delays and 12 q bins; \(q, delay\).*transposed"),
        (version_1, {f"{DIRECTION}/correlation/cf": np.ones((12, 29))}, r"\(delay, q\) is expected: it is transposed"),
        (version_2, {f"{KEY}/g2/lag": None}, "/g2/lag is missing"),
        (version_2, {f"{KEY}/g2/cf": None}, "/g2/cf is missing"),
        (version_2, {f"{KEY}/parameters/q": None}, "/parameters/q is missing"),
        (version_1, {f"{DIRECTION}/correlation/timeshift": None}, "correlation/timeshift is missing"),
        (version_1, {RANGES: None}, "/entry_0000/dynamix/correlations/q_index_min_max is missing, rows of index"),
        (version_1, {RANGES: np.ones((12, 2))}, r"q_index_min_max has shape \(12, 2\), rows of index"),
        (version_1, {f"{DIRECTION}/q_index": np.arange(12)}, "q_index names 0, which is not in"),
    ],
)
def test_refused(tmp_path: Path, data: xr.Dataset, version: Any, changed: dict[str, Any], reason: str) -> None:
    path = str(run_file.write(tmp_path / "a.h5", version(data), changed))
    assert sniff(path)
    with pytest.raises(FileRejected, match=reason):
        read_meta(path)


def test_no_correlation_at_all(tmp_path: Path) -> None:
    path = str(run_file.write(tmp_path / "a.h5", {"@MagicString": "XPCSResultFile_v2.0"}))
    with pytest.raises(FileRejected, match="/entry_0000/correlations holds no correlation: the file is not complete"):
        read_meta(path)
    assert not sniff(str(run_file.write(tmp_path / "b.h5", {"@MagicString": "SAXSResultFile"})))
