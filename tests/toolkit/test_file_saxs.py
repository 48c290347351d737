"""Intensity over q: static bins put back in place, and regions, against sums over pixels written out here."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.conftest import CARRIED, SHARED, carried
from xpcs_dask.errors import ConfigError, FileRejected, NoUsableInputError
from xpcs_dask.toolkit import file_pixels
from xpcs_dask.toolkit.xpcs_file import XpcsFile

BRIGHT = "S0001_bright_a0000_f004096_r00001_results.hdf"
QPHI = "S0002_qphi_a0000_f004096_r00001_results.hdf"
SHORT = "S0006_short_a0000_f000012_r00001_results.hdf"
FILES = [*sorted((CARRIED / "boost_corr").glob("*.hdf")), *sorted((SHARED / "aps").glob("*.hdf"))]


def boost(name):
    return XpcsFile(carried(f"boost_corr/{name}"))


def turned(name):
    """The carried q-maps have x and y of the beam exchanged; this puts them right."""
    xf = boost(name)
    xf.bcx, xf.bcy = xf.bcy, xf.bcx
    return xf


def grid(path, samples):
    """(sample, q, phi) by a loop over bins."""
    with h5py.File(path) as file:
        shape = file["/xpcs/qmap/static_num_pts"][()]
        places = file["/xpcs/qmap/static_index_mapping"][()].astype(int)
        stored = file[f"/xpcs/temporal_mean/{samples}"][()]
    full = np.full((stored.shape[0], *shape), np.nan)
    for column, place in enumerate(places):
        full[:, place // shape[1], place % shape[1]] = stored[:, column]
    return full


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name[:24])
def test_lines_of_every_file(path):
    xf = XpcsFile(path)
    full, parts = grid(path, "scattering_1d"), grid(path, "scattering_1d_segments")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mean, mean_of_parts = np.nanmean(full[0], axis=1), np.nanmean(parts, axis=2)
    lines = [mean] if full.shape[2] == 1 else [mean, *full[0].T]
    assert np.allclose(xf.saxs_1d["Iq"], lines, rtol=1e-12, equal_nan=True)
    assert np.allclose(xf.Iqp, mean_of_parts, rtol=1e-12, equal_nan=True)
    assert xf.saxs_1d["num_lines"] == full.shape[2]
    assert np.array_equal(xf.saxs_1d["q"], xf.sqlist)
    assert np.array_equal(xf.saxs_1d["phi"], xf.splist)
    assert len(xf.saxs_1d["labels"]) == len(lines)


def test_names_of_lines():
    assert boost(BRIGHT).saxs_1d["labels"] == ["S0001_bright_a0_f4096_r1"]
    assert boost(QPHI).saxs_1d["labels"][:3] == [
        "S0002_qphi_a0_f4096_r1", "S0002_qphi_a0_f4096_r1_1", "S0002_qphi_a0_f4096_r1_2"
    ]  # fmt: skip


def test_q_and_intensity():
    xf = boost(QPHI)
    q, lines, xlabel, ylabel = xf.get_saxs1d_data()
    assert (xlabel, ylabel) == ("q (Å⁻¹)", "Intensity")
    assert q.shape == (40,)
    assert lines.shape == (7, 40)
    inside = (xf.sqlist >= 0.001) & (xf.sqlist <= 0.002)
    part_q, part, _, _ = xf.get_saxs1d_data(qrange=(0.001, 0.002), sampling=2)
    assert np.array_equal(part_q, xf.sqlist[inside][::2])
    assert np.array_equal(part, xf.saxs_1d["Iq"][:, inside][:, ::2], equal_nan=True)
    assert np.array_equal(xf.get_saxs1d_data(target="saxs1d_partial")[1], xf.Iqp, equal_nan=True)


@pytest.mark.parametrize(("method", "power", "text"), [("q2", 2, "Intensity * q^2"), ("q4", 4, "Intensity * q^4")])
def test_norms_by_q(method, power, text):
    xf = boost(BRIGHT)
    q, lines, _, label = xf.get_saxs1d_data(norm_method=method)
    assert np.allclose(lines[0] / xf.saxs_1d["Iq"][0], q**power, rtol=1e-12)
    assert label == text


def test_norm_by_the_first_value():
    xf = boost(QPHI)
    lines = xf.get_saxs1d_data(norm_method="I0")[1]
    for line, stored in zip(lines, xf.saxs_1d["Iq"], strict=True):
        first = stored[np.isfinite(stored)][0]
        assert np.allclose(line, stored / first, equal_nan=True)
    q, one = np.arange(1.0, 5), np.array([0.0, 4.0, 2.0, np.nan])
    assert np.array_equal(xf.norm_saxs_data(q, one, "I0")[1], [0, 1, 0.5, np.nan], equal_nan=True)
    assert np.isnan(xf.norm_saxs_data(q, 0 * q, "I0")[1]).all()
    assert xf.norm_saxs_data(q, one, "I0")[3] == "Intensity / I_0"


def test_background_is_subtracted():
    xf, other = boost(BRIGHT), boost(SHORT)
    before = xf.saxs_1d["Iq"].copy()
    lines = xf.get_saxs1d_data(bkg_xf=other, bkg_weight=1.5)[1]
    truth = before - 1.5 * other.saxs_1d["Iq"]
    assert (truth < 0).any()
    assert np.array_equal(np.isnan(lines), truth < 0)
    assert np.allclose(lines[truth >= 0], truth[truth >= 0])
    assert np.array_equal(xf.saxs_1d["Iq"], before)
    parts = xf.get_saxs1d_data(bkg_xf=other, bkg_weight=0.01, target="saxs1d_partial")[1]
    assert np.allclose(parts, xf.Iqp - 0.01 * other.saxs_1d["Iq"])


def test_the_absolute_scale_is_not_invented():
    xf = boost(BRIGHT)
    before = xf.saxs_1d["Iq"].copy()
    with pytest.raises(ConfigError, match="tells no absolute scale; set abs_cross_section_scale"):
        xf.get_saxs1d_data(use_absolute_crosssection=True)
    xf.abs_cross_section_scale = 3.0
    assert np.allclose(xf.get_saxs1d_data(use_absolute_crosssection=True)[1], 3 * before)
    assert np.array_equal(xf.saxs_1d["Iq"], before)


def test_what_makes_no_sense_is_refused():
    xf = boost(BRIGHT)
    with pytest.raises(ConfigError, match="static q-maps differ"):
        xf.get_saxs1d_data(bkg_xf=boost(QPHI))
    with pytest.raises(ConfigError, match="'I1' is none of None, 'q2'"):
        xf.get_saxs1d_data(norm_method="I1")
    with pytest.raises(ConfigError, match="'saxs2d' is neither"):
        xf.get_saxs1d_data(target="saxs2d")
    with pytest.raises(ConfigError, match="sampling must be a whole number from 1, not 0"):
        xf.get_saxs1d_data(sampling=0)
    with pytest.raises(NoUsableInputError, match="has q from 1 to 2 1/angstrom"):
        xf.get_saxs1d_data(qrange=(1, 2))


def test_a_wrong_number_of_bins_is_refused(tmp_path):
    path = tmp_path / BRIGHT
    shutil.copyfile(carried(f"boost_corr/{BRIGHT}"), path)
    with h5py.File(path, "r+") as file:
        for name in ("scattering_1d", "scattering_1d_segments"):
            stored = file[f"/xpcs/temporal_mean/{name}"][()]
            del file[f"/xpcs/temporal_mean/{name}"]
            file[f"/xpcs/temporal_mean/{name}"] = stored[:, :-1] if "seg" in name else np.tile(stored, (2, 1))
    xf = XpcsFile(path)
    with pytest.raises(FileRejected, match=r"scattering_1d has shape \(2, 60\) for 60 static bins"):
        assert xf.saxs_1d
    with pytest.raises(FileRejected, match=r"Iqp has shape \(\d+, 59\) for 60 static bins"):
        assert xf.Iqp.size


@pytest.mark.parametrize(
    "path", [carried(f"boost_corr/{QPHI}"), *(SHARED / "aps").glob("*.hdf")], ids=lambda p: p.name[:9]
)
def test_pixels_lie_where_the_q_map_says(path):
    """The mean q of the pixels of each static bin is near its centre, and so is the mean azimuth."""
    xf = turned(QPHI) if QPHI in path.name else XpcsFile(path)
    place = file_pixels.everywhere(xf.qmap)
    assert file_pixels.misfit(xf.qmap, place["q"]) < 2e-3
    bins, phis = xf.qmap.static_index_mapping, xf.static_num_pts[1]
    width = 360 / phis
    if phis > 1:
        for number in range(0, bins.size, 17):
            phi = place["phi"][xf.sqmap == number + 1]
            away = (phi - xf.splist[bins[number] % phis] + 180) % 360 - 180
            assert np.abs(away).max() < 0.6 * width


def test_a_pixel_described():
    xf = boost(BRIGHT)
    text = xf.get_info_at_position(70, 30)
    x, y = 70 - xf.bcx, 30 - xf.bcy
    angle = np.arctan(np.hypot(x, y) * xf.pixel_size / xf.det_dist)
    q = 2 * np.pi * xf.X_energy / 12.398419843 * np.sin(angle)
    assert text.startswith(f"I={xf.saxs_2d[30, 70]:.4e} ")
    assert f"q={q:.6f} Å⁻¹" in text
    assert f"alpha={np.degrees(angle):.3f} deg" in text
    assert f"phi={np.degrees(np.arctan2(-y, x)):.3f} deg" in text
    for outside in [(-1, 3), (128, 3), (3, 96), (3, -1)]:
        assert xf.get_info_at_position(*outside) is None


def test_extent_of_the_detector():
    xf = boost(BRIGHT)
    left, right, top, bottom = xf.get_detector_extent()
    per_pixel = xf.pixel_size / xf.det_dist * 2 * np.pi * xf.X_energy / 12.398419843
    assert right - left == pytest.approx(128 * per_pixel)
    assert bottom - top == pytest.approx(96 * per_pixel)
    assert left == pytest.approx(-xf.bcx * per_pixel)
    assert top == pytest.approx(-xf.bcy * per_pixel)


def pie(xf, start, end, dist):
    """Mean over the pixels of each static q, one pixel after the other."""
    sums, counts = np.zeros(xf.sqlist.size), np.zeros(xf.sqlist.size)
    for row, column in zip(*np.nonzero(xf.mask & (xf.sqmap > 0)), strict=True):
        phi = np.degrees(np.arctan2(-(row - xf.bcy), column - xf.bcx))
        if any(start <= phi + turn < end for turn in (-360, 0, 360)):
            bin_ = xf.qmap.static_index_mapping[xf.sqmap[row, column] - 1] // xf.static_num_pts[1]
            sums[bin_] += xf.saxs_2d[row, column]
            counts[bin_] += 1
    with np.errstate(invalid="ignore"):
        mean = sums / counts
    limit = 2 * np.pi * xf.X_energy / 12.398419843 * np.sin(np.arctan(dist * xf.pixel_size / xf.det_dist))
    mean[(xf.sqlist >= limit) | (mean == 0)] = np.nan
    return mean


@pytest.mark.parametrize(("start", "end"), [(-30, 60), (150, 200), (170, -170), (-180, 180), (0, 360)])
def test_a_pie(start, end):
    xf = turned(QPHI)
    q, values = xf.get_roi_data({"sl_type": "Pie", "angle_range": (start, end), "dist": 50})
    truth = pie(xf, start, end if end > start else end + 360, 50)
    assert np.array_equal(q, xf.sqlist)
    assert np.isfinite(truth).sum() > 10
    assert np.isnan(truth).any()
    assert np.allclose(values, truth, equal_nan=True)


def test_a_ring():
    xf = turned(QPHI)
    phi, values = xf.get_roi_data({"sl_type": "Ring", "radius": (30, 20)}, phi_num=24)
    rows, columns = np.indices(xf.mask.shape)
    radius, angle = np.hypot(rows - xf.bcy, columns - xf.bcx), np.degrees(np.arctan2(xf.bcy - rows, columns - xf.bcx))
    there = xf.mask & (radius >= 20) & (radius < 30)
    total, edges = np.histogram(angle[there], 24, weights=xf.saxs_2d[there].astype(float))
    count, _ = np.histogram(angle[there], 24)
    assert np.allclose(phi, (edges[1:] + edges[:-1]) / 2)
    assert np.allclose(values, total / count, rtol=1e-9)
    assert len(xf.get_roi_data({"sl_type": "Ring", "radius": (20, 30)})[0]) == 180


def test_masked_pixels_count_nowhere():
    """Also where the q-map labels them."""
    xf = turned(QPHI)
    half = xf.mask & (np.arange(128) < 64)
    xf.qmap.mask = half
    q, values = xf.get_roi_data({"sl_type": "Pie", "angle_range": (-180, 180), "dist": 90})
    assert np.allclose(values, pie(xf, -180, 180, 90), equal_nan=True)
    xf.qmap.mask = xf.mask & (np.arange(128) >= 64)
    with pytest.raises(NoUsableInputError):
        xf.get_roi_data({"sl_type": "Ring", "radius": (20, 30)})
    assert q.size


def test_an_empty_part_of_a_ring_is_nan():
    xf = turned(QPHI)
    values = xf.get_roi_data({"sl_type": "Ring", "radius": (20, 21)}, phi_num=300)[1]
    assert np.isnan(values).any()
    assert np.isfinite(values).any()


def test_geometry_that_does_not_fit_the_bins_is_said():
    with pytest.warns(UserWarning, match=r"beam centre \(47.3, 63.8\) differs from q of the static bins by 34 %"):
        boost(QPHI).get_roi_data({"sl_type": "Ring", "radius": (20, 30)})


@pytest.mark.parametrize(
    ("region", "said"),
    [
        ({"sl_type": "Box"}, "'Box' is neither 'Pie' nor 'Ring'"),
        ({}, "None is neither"),
        ({"sl_type": "Pie", "dist": 3}, "needs angle_range and dist; angle_range is missing"),
        ({"sl_type": "Ring"}, "radius is missing"),
    ],
)
def test_regions_that_make_no_sense(region, said):
    with pytest.raises(ConfigError, match=said):
        turned(QPHI).get_roi_data(region)


def test_regions_without_pixels():
    xf = turned(QPHI)
    with pytest.raises(NoUsableInputError, match="lies 900 to 1000 pixels"):
        xf.get_roi_data({"sl_type": "Ring", "radius": (900, 1000)})
    with pytest.raises(NoUsableInputError, match="between 10 and 10 degree"):
        xf.get_roi_data({"sl_type": "Pie", "angle_range": (10, 10), "dist": 50})


def test_export(tmp_path):
    xf = turned(QPHI)
    regions = [
        {"sl_type": "Pie", "angle_range": (-30, 60), "dist": 50},
        {"sl_type": "Ring", "radius": (20, 30)},
    ]
    paths = xf.export_saxs1d(regions, tmp_path / "out")
    assert [path.removeprefix(str(tmp_path / "out") + "/") for path in paths] == [
        f"{xf.label}_Pie_000.txt", f"{xf.label}_Ring_001.txt", f"{xf.label}_saxs1d.txt"
    ]  # fmt: skip
    for path, region in zip(paths, regions, strict=False):
        assert np.allclose(np.loadtxt(path).T, xf.get_roi_data(region), equal_nan=True)
    whole = np.loadtxt(paths[2]).T
    assert np.allclose(whole[0], xf.sqlist)
    assert np.allclose(whole[1:], xf.saxs_1d["Iq"], equal_nan=True)
    heads = [Path(path).read_text().splitlines()[0] for path in paths]
    assert heads[:2] == ["# q(1/Angstrom) Intensity", "# phi(degree) Intensity"]
    assert heads[2].split()[-1] == "Intensity_phi006"
