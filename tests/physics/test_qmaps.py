"""q-maps from files and arrays, and what is said where they make no sense."""

from __future__ import annotations

import pickle

import h5py
import numpy as np
import pytest
import xarray as xr

import xpcs_dask as xd
from tests.aps_file import contents
from tests.conftest import carried
from xpcs_dask.errors import ConfigError, FileRejected
from xpcs_dask.physics.qmaps import as_qmap, open_qmap, qmap
from xpcs_dask.physics.regions import Regions, regions_of

LABELS = np.array([[0, 1, 1], [2, 2, 0]])


def test_an_integer_map_with_q_is_enough():
    made = qmap(LABELS, [0.01, 0.02])
    assert made.dynamic_map.values.tolist() == LABELS.tolist()
    assert made.static_map.values.tolist() == LABELS.tolist()
    assert made.qbin.values.tolist() == [1, 2]
    assert np.isnan(made.phi).all()
    assert made.q.attrs["units"] == "1/angstrom"


@pytest.mark.parametrize(("unit", "scale"), [("1/nm", 0.1), ("nm^-1", 0.1), ("1/m", 1e-10), ("1/angstrom", 1.0)])
def test_units_are_converted(unit, scale):
    np.testing.assert_allclose(qmap(LABELS, [1.0, 2.0], q_unit=unit).q, np.array([1.0, 2.0]) * scale)
    given = xr.Dataset({"dynamic_map": (("y", "x"), LABELS), "q": ("qbin", [1.0, 2.0], {"units": unit})})
    np.testing.assert_allclose(as_qmap(given).q, np.array([1.0, 2.0]) * scale)


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32, bool])
def test_labels_may_be_of_any_type_that_holds_whole_numbers(kind):
    made = qmap(np.minimum(LABELS, 1).astype(kind), [0.01])
    assert made.dynamic_map.dtype == np.uint8
    assert made.dynamic_map.values.sum() == 4


def test_what_was_made_can_be_given_as_it_is():
    made = qmap(LABELS, [0.01, 0.02], [10.0, 20.0], static=[[0, 1, 2], [3, 3, 0]])
    assert as_qmap(made).identical(made)
    assert as_qmap((LABELS, [0.01, 0.02])).identical(qmap(LABELS, [0.01, 0.02]))
    assert as_qmap([LABELS, [0.01, 0.02], [1.0, 2.0]]).phi.values.tolist() == [1.0, 2.0]


def test_some_bins_of_a_map_can_be_taken():
    part = as_qmap(qmap(LABELS, [0.01, 0.02]).isel(qbin=[1]))
    assert part.qbin.values.tolist() == [2]
    assert part.q.values.tolist() == [0.02]


def test_the_map_of_results_is_that_of_open_g2():
    path = carried("boost_corr/S0002_qphi_a0000_f004096_r00001_results.hdf")
    made, opened = open_qmap(path), xd.open_g2(path)
    for name in ("q", "phi", "qbin"):
        np.testing.assert_array_equal(made[name], opened[name])
    np.testing.assert_array_equal(np.bincount(made.dynamic_map.values.ravel())[1:], opened.n_pixels[0])
    assert made.attrs["source"] == str(path)


def qmap_file(path, **changed):
    """Write a q-map file as pySimpleMask does: the group of results, at the root."""
    found = {name.removeprefix("xpcs/"): value for name, value in contents().items() if name.startswith("xpcs/qmap/")}
    found |= {f"qmap/{name}": value for name, value in changed.items()}
    with h5py.File(path, "w") as file:
        for name, value in found.items():
            if value is not None:
                file[name] = value
    return path


def test_a_file_of_the_map_alone(tmp_path):
    made = open_qmap(qmap_file(tmp_path / "qmap.h5", map_units=["nm⁻¹".encode(), b"rad"]))
    np.testing.assert_allclose(made.q, [0.001, 0.002, 0.003])
    np.testing.assert_allclose(made.phi, np.rad2deg(0.5))
    assert made.static_map.values.max() == 6


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"map_units": [b"furlong", b"deg"]}, "unit 'furlong' of q"),
        ({"map_names": [b"x", b"y"]}, "x, y: none of them is q"),
        ({"dynamic_index_mapping": None}, "/qmap/dynamic_index_mapping is missing"),
        ({"dynamic_index_mapping": np.array([0, 1, 7])}, r"places 0 to 7 of a grid of 3 x 1"),
        ({"dynamic_v_list_dim0": np.array([0.1, np.nan, 0.3])}, "q of bin 2 is not a number"),
        ({"static_roi_map": np.ones((2, 3), "u1")}, r"static map has shape \(2, 3\)"),
        (
            {"dynamic_index_mapping": np.arange(3, dtype="u1"), "dynamic_roi_map": np.ones((1, 19), "u1")},
            "bin 2 has no",
        ),
    ],
)
def test_files_that_cannot_be_used_are_named(tmp_path, changed, message):
    with pytest.raises(FileRejected, match=message) as caught:
        open_qmap(qmap_file(tmp_path / "qmap.h5", **changed))
    assert caught.value.path == str(tmp_path / "qmap.h5")


def test_a_file_without_a_map(tmp_path):
    with h5py.File(tmp_path / "empty.h5", "w") as file:
        file["something"] = 1
    with pytest.raises(FileRejected, match=r"empty\.h5"):
        open_qmap(tmp_path / "empty.h5")
    with pytest.raises(FileRejected, match="no such file"):
        open_qmap(tmp_path / "none.h5")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((LABELS, [0.01]), "given for 1 bins, but the map has a bin 2"),
        ((LABELS, [0.01, 0.02, 0.03]), r"bin 3 has no pixel \(1 of 3 bins\)"),
        ((LABELS, [0.01, np.inf]), "q of bin 2"),
        ((LABELS, [0.01, 0.02], [1.0]), "1 azimuths for 2 bins"),
        ((LABELS + 0.5, [0.01, 0.02]), "whole numbers"),
        ((-LABELS, [0.01, 0.02]), "from -2 to 0"),
        ((LABELS[0], [0.01]), r"shape \(3,\)"),
        ((LABELS,), "tuple is no q-map"),
        (3, "int is no q-map"),
        (xr.Dataset({"q": 1.0}), "lacks dynamic_map"),
        (xr.Dataset({"dynamic_map": (("y", "x"), LABELS), "q": ("qbin", [1.0, 2.0], {"units": "pixel"})}), "'pixel'"),
        (
            xr.Dataset({"dynamic_map": (("y", "x"), LABELS), "q": ("qbin", [1.0, 2.0])}, {"qbin": ("qbin", [1, 1])}),
            "different whole numbers",
        ),
    ],
)
def test_arrays_that_are_no_map(given, message):
    with pytest.raises(ConfigError, match=message):
        as_qmap(given)


def test_static_bins_must_cover_the_bins():
    with pytest.raises(ConfigError, match="2 pixels have a bin but no static bin"):
        qmap(LABELS, [0.01, 0.02], static=[[0, 1, 1], [0, 0, 0]])
    with pytest.raises(ConfigError, match="q_unit: 'px' is not known"):
        qmap(LABELS, [0.01, 0.02], q_unit="px")


def test_a_map_travels_small_and_stays_the_same():
    labels = np.repeat(np.arange(200), 500).reshape(250, 400)
    regions = regions_of(qmap(labels, np.arange(1, 200) * 1e-3))
    packed = pickle.dumps(regions)
    assert len(packed) < 0.1 * regions.dynamic.nbytes
    again = pickle.loads(packed)
    assert again.key == regions.key
    np.testing.assert_array_equal(again.dynamic, regions.dynamic)
    np.testing.assert_array_equal(again.bins("static", 2)[7].pixel, regions.bins("static", 2)[7].pixel)
    other = labels.copy()
    other[-1, -1] = 1
    assert Regions(other, other, regions.labels).key != Regions(labels, labels, regions.labels).key
    assert Regions(labels, labels, (1, 2)).key != Regions(labels, labels, (2, 1)).key
