from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import run_file
import xarray as xr
from run_file import g2_of

from xpcs_dask.api import fit
from xpcs_dask.errors import ConfigError, FileRejected
from xpcs_dask.io.formats import identify
from xpcs_dask.io.open import open_g2
from xpcs_dask.io.pychx import read_g2, read_meta, sniff
from xpcs_dask.io.reader import Told

SHOT_NOISE = 9.0


def contents(data: xr.Dataset) -> dict[str, Any]:
    """Return 12 bins, so that text puts "10" and "11" before "2"."""
    q = data["q"].to_numpy()
    return {
        "taus": np.insert(data["delay"].to_numpy(), 0, 0.0),
        "g2": np.insert(g2_of(data).T.astype("f8"), 0, SHOT_NOISE, axis=0),
        "roi_mask": np.repeat(np.arange(q.size + 1), np.arange(q.size + 1) + 7)[None],
        "md": np.zeros(1, "i4"),
        "md@frame_time": 1e-3,
        "md@exposure_time": 9e-4,
        "md@uid": "abc",
        "qval_dict": np.zeros(1, "i4"),
        **{f"qval_dict@{number}": np.array([value]) for number, value in enumerate(q)},
    }


@pytest.fixture
def data() -> xr.Dataset:
    return run_file.run()


def write(path: Path, data: xr.Dataset, **changed: Any) -> str:
    return str(run_file.write(path / "renamed.dat", contents(data), changed))


def test_everything_but_delay_zero(tmp_path: Path, data: xr.Dataset) -> None:
    path = write(tmp_path, data)
    assert identify(path) == "pychx"
    info = read_meta(path, ["count_time"])
    np.testing.assert_array_equal(info.delay, data["delay"])
    np.testing.assert_array_equal(info.n_pixels, np.arange(8, 20))
    np.testing.assert_array_equal(info.labels, np.arange(1, 13))
    assert (info.frame_time, info.scalars) == (1e-3, {"count_time": 9e-4})
    assert info.notes == ("delay 0 is left out: it holds the shot noise",)
    g2, err = read_g2(path, info.entry)
    np.testing.assert_array_equal(g2, g2_of(data))
    assert g2.max() < SHOT_NOISE
    assert np.isnan(err).all()
    assert err.shape == g2.shape


def test_bins_are_in_the_order_of_numbers_not_of_text(tmp_path: Path, data: xr.Dataset) -> None:
    path = write(tmp_path, data)
    with h5py.File(path) as file:
        assert list(file["qval_dict"].attrs)[:4] == ["0", "1", "10", "11"]
    np.testing.assert_array_equal(read_meta(path).q, data["q"])
    assert (np.diff(read_meta(path).q) > 0).all()


def test_one_bin(tmp_path: Path) -> None:
    data = run_file.run(1)
    path = write(tmp_path, data)
    assert read_meta(path).shape == (1, data.sizes["delay"])
    np.testing.assert_array_equal(read_g2(path)[0], g2_of(data))


def test_there_are_no_errors_to_fit_with(tmp_path: Path, data: xr.Dataset) -> None:
    opened = open_g2(write(tmp_path, data))
    assert opened.error_kind.values.tolist() == ["none"]
    with pytest.raises(ConfigError, match="errors: the files hold no errors of g2; give errors='auto'"):
        fit(opened, "single", errors="quoted")


def test_two_numbers_a_bin(tmp_path: Path, data: xr.Dataset) -> None:
    two = {f"qval_dict@{number}": np.array([q, 30.0]) for number, q in enumerate(data["q"].to_numpy())}
    info = read_meta(write(tmp_path, data, **two))
    np.testing.assert_array_equal(info.q, data["q"])
    assert np.isnan(info.phi).all()
    assert info.notes[0].startswith("only the first number of each bin in qval_dict is read as q")


def test_settings_that_were_dropped(tmp_path: Path, data: xr.Dataset) -> None:
    info = read_meta(write(tmp_path, data, **{"md@frame_time": None, "md@exposure_time": "long"}), ["count_time"])
    assert np.isnan(info.frame_time)
    assert np.isnan(info.scalars["count_time"])


def test_other_results_in_the_file(tmp_path: Path, data: xr.Dataset) -> None:
    good = contents(data)
    vertical = {"g2_v": good["g2"] + 5, "taus_v": 2 * good["taus"], "qval_dict_v": np.zeros(1)}
    vertical |= {name.replace("dict@", "dict_v@"): good[name] for name in good if "dict@" in name}
    path = write(tmp_path, data, **vertical, g2_fit_paras=np.ones(3), g2b=np.ones((3, 12)))
    assert read_meta(path).entry == "g2"
    assert read_meta(path).notes[0] == "of the entries g2, g2_v the first is read; entry= chooses another"
    info = read_meta(path, told=Told(entry="g2_v"))
    np.testing.assert_array_equal(info.delay, 2 * data["delay"])
    assert np.isnan(info.n_pixels).all()
    np.testing.assert_array_equal(read_g2(path, "g2_v")[0], (good["g2"][1:].T + 5).astype("f4"))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"qval_dict@3": None}, r"/qval_dict must have one attribute for each column, 0, .*; it has \[0, 1, 2, 4,"),
        ({"qval_dict@12": np.array([1.0])}, r"/g2 has shape \(30, 12\) for 30 delays and 13 q bins"),
        ({"qval_dict@3": "0.01"}, r"the attributes of /qval_dict must hold \[q\]"),
        ({"qval_dict@3": np.ones(3)}, r"the attributes of /qval_dict must hold \[q\]"),
        ({"g2": np.ones((12, 30))}, r"\(delay, q\) is expected: it is transposed"),
    ],
)
def test_refused(tmp_path: Path, data: xr.Dataset, changed: dict[str, Any], reason: str) -> None:
    path = write(tmp_path, data, **changed)
    assert sniff(path)
    with pytest.raises(FileRejected, match=reason):
        read_meta(path)


@pytest.mark.parametrize("part", ["g2", "taus"])
def test_sniff_needs_curves_and_delays(tmp_path: Path, data: xr.Dataset, part: str) -> None:
    path = write(tmp_path, data, **{part: None})
    assert not sniff(path)
    with pytest.raises(FileRejected, match="/g2 is missing"):
        read_meta(path)
