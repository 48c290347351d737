from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import run_file
import xarray as xr
from run_file import err_of, g2_of

from xpcs_dask.errors import FileRejected
from xpcs_dask.io.formats import identify
from xpcs_dask.io.nxxpcs import read_g2, read_meta, sniff
from xpcs_dask.io.reader import Told

DATA, DETECTOR, MASKS = "scan/correlated", "scan/beamline/lambda", "scan/beamline/masks"
"""Groups that are found by their class only: none has the name that examples give it."""


def contents(data: xr.Dataset) -> dict[str, Any]:
    return {
        "scan@NX_class": "NXentry",
        "scan/definition": "NXxpcs",
        f"{DATA}@NX_class": "NXdata",
        f"{DATA}/g2": g2_of(data).T,
        f"{DATA}/g2@storage_mode": "one_array",
        f"{DATA}/g2_derr": err_of(data).T,
        f"{DATA}/g2_derr@storage_mode": "one_array",
        f"{DATA}/delay_difference": np.round(data["delay"].to_numpy() / 1e-3).astype(int),
        "scan/beamline@NX_class": "NXinstrument",
        f"{DETECTOR}@NX_class": "NXdetector",
        f"{DETECTOR}/frame_time": 1.0,
        f"{DETECTOR}/frame_time@units": "ms",
        f"{DETECTOR}/count_time": 900.0,
        f"{DETECTOR}/count_time@units": "us",
        "scan/beamline/beam/incident_energy": 11000.0,
        "scan/beamline/beam/incident_energy@units": "eV",
        f"{MASKS}@NX_class": "NXnote",
        f"{MASKS}/dynamic_roi_map": np.repeat(np.arange(13), 2)[None],
        f"{MASKS}/dynamic_q_list": 10 * data["q"].to_numpy(),
        f"{MASKS}/dynamic_q_list@units": "1/nm",
        f"{MASKS}/dynamic_phi_list": np.full(12, np.pi),
        f"{MASKS}/dynamic_phi_list@units": "rad",
    }


def by_keys(data: xr.Dataset) -> dict[str, Any]:
    """Return one item for each q, so named that text would put 10 before 2."""
    items = {f"{DATA}/g2/roi_{number}": curve for number, curve in enumerate(g2_of(data))}
    items |= {f"{DATA}/g2_derr/roi_{number}": curve for number, curve in enumerate(err_of(data))}
    mode = {f"{DATA}/{name}@storage_mode": "data_exchange_keys" for name in ("g2", "g2_derr")}
    return {f"{DATA}/g2": None, f"{DATA}/g2_derr": None, **items, **mode}


@pytest.fixture
def data() -> xr.Dataset:
    return run_file.run()


def write(path: Path, data: xr.Dataset, **changed: Any) -> str:
    return str(run_file.write(path / "renamed.dat", contents(data), changed))


def check_curves(path: str, data: xr.Dataset) -> None:
    g2, err = read_g2(path, read_meta(path).entry)
    np.testing.assert_array_equal(g2, g2_of(data))
    np.testing.assert_array_equal(err, err_of(data))


def test_everything(tmp_path: Path, data: xr.Dataset) -> None:
    path = write(tmp_path, data)
    assert identify(path) == "nxxpcs"
    info = read_meta(path, ["count_time", "photon_energy", "temperature"])
    np.testing.assert_allclose(info.delay, data["delay"], rtol=1e-12)
    np.testing.assert_allclose(info.q, data["q"], rtol=1e-12)
    np.testing.assert_allclose(info.phi, 180.0, rtol=1e-12)
    np.testing.assert_array_equal(info.n_pixels, 2)
    assert (info.frame_time, info.error_kind, info.notes) == (1e-3, "quoted", ())
    assert info.scalars == pytest.approx({"count_time": 9e-4, "photon_energy": 11.0}, rel=1e-12)
    check_curves(path, data)


def test_one_item_for_each_q(tmp_path: Path, data: xr.Dataset) -> None:
    check_curves(write(tmp_path, data, **by_keys(data)), data)
    unsaid = {f"{DATA}/{name}@storage_mode": None for name in ("g2", "g2_derr")}
    check_curves(write(tmp_path, data, **{**by_keys(data), **unsaid}), data)
    check_curves(write(tmp_path, data, **unsaid), data)


def test_delays_for_each_q(tmp_path: Path, data: xr.Dataset) -> None:
    frames = contents(data)[f"{DATA}/delay_difference"]
    items = {f"{DATA}/delay_difference/{number}": frames for number in range(12)}
    path = write(tmp_path, data, **{f"{DATA}/delay_difference": None, **items})
    np.testing.assert_allclose(read_meta(path).delay, data["delay"], rtol=1e-12)
    items[f"{DATA}/delay_difference/7"] = 2 * frames
    with pytest.raises(FileRejected, match="delay_difference has other delays for some q"):
        read_meta(write(tmp_path, data, **{f"{DATA}/delay_difference": None, **items}))


def test_errors_under_another_name_or_missing(tmp_path: Path, data: xr.Dataset) -> None:
    check_curves(write(tmp_path, data, **{f"{DATA}/g2_derr": None, f"{DATA}/g2_errors": err_of(data).T,
                                          f"{DATA}/g2_derr@storage_mode": None}), data)  # fmt: skip
    without = write(tmp_path, data, **{f"{DATA}/g2_derr": None, f"{DATA}/g2_derr@storage_mode": None})
    assert read_meta(without).error_kind == "none"
    assert np.isnan(read_g2(without, "scan")[1]).all()


def test_delay_zero_is_left_out(tmp_path: Path, data: xr.Dataset) -> None:
    good = contents(data)
    names = ("g2", "g2_derr", "delay_difference")
    path = write(tmp_path, data, **{f"{DATA}/{name}": np.insert(good[f"{DATA}/{name}"], 0, 0, 0) for name in names})
    assert read_meta(path).notes == ("delay 0 is left out: it holds the shot noise",)
    check_curves(path, data)


def test_delays_in_time(tmp_path: Path, data: xr.Dataset) -> None:
    name = f"{DATA}/delay_difference"
    seconds = {name: data["delay"].to_numpy(), f"{name}@units": "s"}
    np.testing.assert_array_equal(read_meta(write(tmp_path, data, **seconds)).delay, data["delay"])
    micro = {name: data["delay"].to_numpy(), f"{name}@units": "µs", f"{DETECTOR}/frame_time": None}
    path = write(tmp_path, data, **micro, **{f"{DETECTOR}/frame_time@units": None})
    np.testing.assert_allclose(read_meta(path).delay, 1e-6 * data["delay"], rtol=1e-12)
    assert np.isnan(read_meta(path).frame_time)


def test_units_that_are_told(tmp_path: Path, data: xr.Dataset) -> None:
    path = write(tmp_path, data, **{f"{MASKS}/dynamic_q_list@units": None, f"{DETECTOR}/frame_time@units": None})
    with pytest.raises(FileRejected, match="it does not state the unit of /scan/beamline/lambda/frame_time; tell it "):
        read_meta(path)
    with pytest.raises(FileRejected, match="the unit of /scan/beamline/masks/dynamic_q_list; tell it with q_unit="):
        read_meta(path, told=Told(delay_unit="ms"))
    info = read_meta(path, told=Told(delay_unit="ms", q_unit="1/nm"))
    np.testing.assert_allclose(info.delay, data["delay"], rtol=1e-12)
    np.testing.assert_allclose(info.q, data["q"], rtol=1e-12)


def test_phi_without_unit_is_not_read(tmp_path: Path, data: xr.Dataset) -> None:
    assert np.isnan(read_meta(write(tmp_path, data, **{f"{MASKS}/dynamic_phi_list@units": None})).phi).all()


def test_scalars_without_unit_are_not_read(tmp_path: Path, data: xr.Dataset) -> None:
    without = {"scan/beamline/beam/incident_energy@units": None, f"{DETECTOR}/count_time": None,
               f"{DETECTOR}/count_time@units": None}  # fmt: skip
    assert read_meta(write(tmp_path, data, **without), ["count_time", "photon_energy"]).scalars == {}


def test_several_entries(tmp_path: Path, data: xr.Dataset) -> None:
    good = contents(data)
    second = {name.replace("scan", "scan_2"): value for name, value in good.items()}
    second[DATA.replace("scan", "scan_2") + "/g2"] = g2_of(data).T + 5
    path = write(tmp_path, data, **second)
    assert read_meta(path).notes == ("of the entries scan, scan_2 the first is read; entry= chooses another",)
    assert read_meta(path, told=Told(entry="scan_2")).entry == "scan_2"
    np.testing.assert_array_equal(read_g2(path, "scan_2")[0], g2_of(data) + 5)


TWO_TIME = "scan/twotime/two_time_corr_func"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({f"{DATA}/g2@storage_mode": "other"}, "/scan/correlated/g2 has storage_mode 'other', which tells no order"),
        ({f"{DATA}/g2@storage_mode": "data_exchange_keys"}, "storage_mode 'data_exchange_keys', which tells no order"),
        ({f"{DATA}/g2": np.ones((12, 29))}, r"\(delay, q\) is expected: it is transposed"),
        ({f"{DATA}/delay_difference": np.linspace(0.5, 9, 29)}, "whole numbers of frames or state a unit of time, fou"),
        ({f"{DETECTOR}/frame_time": None, f"{DETECTOR}/frame_time@units": None}, "no detector of it has frame_time"),
        ({f"{DETECTOR}/frame_time": -1.0}, "frame_time must be a positive time, found -1"),
        ({f"{DETECTOR}/frame_time@units": "frames"}, "the unit 'frames' of /scan/beamline/lambda/frame_time"),
        ({f"{MASKS}/dynamic_q_list@units": "pixel"}, "the unit 'pixel' of /scan/beamline/masks/dynamic_q_list"),
        ({f"{MASKS}/dynamic_q_list": None, f"{MASKS}/dynamic_q_list@units": None}, "/scan has no instrument with"),
        ({f"{DATA}/g2": None, f"{DATA}/g2@storage_mode": None}, "/scan has no NXdata with g2: the file is not"),
        ({f"{DATA}/g2": None, f"{DATA}/g2@storage_mode": None, TWO_TIME: np.ones(3)}, "two-time results only"),
    ],
)
def test_refused(tmp_path: Path, data: xr.Dataset, changed: dict[str, Any], reason: str) -> None:
    path = write(tmp_path, data, **changed)
    assert sniff(path)
    with pytest.raises(FileRejected, match=reason):
        read_meta(path)


def test_items_of_other_number_or_length(tmp_path: Path, data: xr.Dataset) -> None:
    with pytest.raises(FileRejected, match="g2 has 11 items of 29 values for 12 q bins of 29 delays"):
        read_meta(write(tmp_path, data, **{**by_keys(data), f"{DATA}/g2/roi_3": None}))
    with pytest.raises(FileRejected, match="g2 has 12 items of 3, 29 values for 12 q bins of 29 delays"):
        read_meta(write(tmp_path, data, **{**by_keys(data), f"{DATA}/g2/roi_3": np.ones(3)}))


def test_sniff_is_by_definition(tmp_path: Path, data: xr.Dataset) -> None:
    for changed in ({"scan/definition": "NXsas"}, {"scan/definition": None}, {"scan@NX_class": "NXcollection"}):
        path = write(tmp_path, data, **changed)
        assert not sniff(path)
        with pytest.raises(FileRejected, match="it has no NXentry whose definition is NXxpcs"):
            read_meta(path)
