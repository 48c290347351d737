"""Scattered intensity over q: from compressed static bins, normalised, and inside regions of the detector."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.errors import ConfigError, NoUsableInputError
from xpcs_dask.toolkit import file_pixels
from xpcs_dask.toolkit.file_qmap import QMap
from xpcs_dask.toolkit.ranges import inside

Floats = NDArray[np.float64]

NORMS = (None, "q2", "q4", "I0")
MISFIT = 0.01
"""Relative difference of q above which the geometry is said not to fit the bins."""


def on_grid(qmap: QMap, compressed: NDArray[Any], what: str) -> Floats:
    """(sample, q, phi) from values of the static bins that have pixels; NaN in the others."""
    bins, grid = qmap.static_index_mapping, qmap.static_num_pts
    if compressed.size % bins.size:
        raise qmap.source.rejected(f"{what} has shape {compressed.shape} for {bins.size} static bins")
    full = np.full((compressed.size // bins.size, int(np.prod(grid))), np.nan)
    full[:, bins] = compressed.reshape(-1, bins.size)
    return full.reshape(-1, *grid)


def mean_over_phi(values: Floats) -> Floats:
    """Mean over the last axis of what is not NaN; NaN where nothing is."""
    there = np.isfinite(values)
    count = there.sum(axis=-1)
    return np.where(count > 0, np.where(there, values, 0).sum(axis=-1) / np.maximum(count, 1), np.nan)


def saxs_1d(qmap: QMap, stored: NDArray[Any], label: str) -> dict[str, Any]:
    """Return what `FileAttributes.saxs_1d` is."""
    full = on_grid(qmap, stored, "scattering_1d")
    if full.shape[0] != 1:
        raise qmap.source.rejected(f"scattering_1d has shape {stored.shape} for {full[0].size} static bins")
    lines, labels = mean_over_phi(full), [label]
    if full.shape[2] > 1:
        lines = np.concatenate([lines, full[0].T])
        labels += [f"{label}_{number + 1}" for number in range(full.shape[2])]
    return {
        "q": qmap.sqlist,
        "Iq": lines,
        "phi": qmap.splist,
        "num_lines": full.shape[2],
        "labels": labels,
        "data_raw": stored,
    }


def normed(q: Floats, intensity: Floats, method: str | None) -> tuple[Floats, Floats, str, str]:
    """Return q, intensity times q^2 or q^4 or over its first value, and labels of the axes."""
    if method not in NORMS:
        raise ConfigError(f"norm_method: {method!r} is none of {', '.join(map(repr, NORMS))}")
    label = "Intensity"
    if method == "q2":
        intensity, label = intensity * q**2, "Intensity * q^2"
    elif method == "q4":
        intensity, label = intensity * q**4, "Intensity * q^4"
    elif method == "I0":
        intensity, label = intensity / _first(intensity), "Intensity / I_0"
    return q, intensity, "q (Å⁻¹)", label


def _first(intensity: Floats) -> Floats:
    """First positive value along q, of each line; NaN if none is."""
    at = np.expand_dims(np.argmax(intensity > 0, axis=-1), -1)
    first = np.take_along_axis(intensity, at, axis=-1)
    return np.where(first > 0, first, np.nan)


def within(q: Floats, lines: Floats, qrange: Sequence[float] | None, sampling: int, path: str) -> tuple[Floats, Floats]:
    """Return what lies in a range of q, every `sampling`-th point of it."""
    if sampling < 1:
        raise ConfigError(f"sampling must be a whole number from 1, not {sampling}")
    there = inside(q, qrange, "q", "1/angstrom", path)
    return q[there][::sampling], lines[:, there][:, ::sampling]


def region(qmap: QMap, image: NDArray[Any], roi: Mapping[str, Any], phi_num: int) -> tuple[Floats, Floats]:
    """Mean intensity inside a region; see `XpcsFile.get_roi_data`."""
    kind = roi.get("sl_type")
    wanted = {"Pie": ("angle_range", "dist"), "Ring": ("radius",)}
    if kind not in wanted:
        raise ConfigError(f"sl_type: {kind!r} is neither 'Pie' nor 'Ring'")
    missing = [key for key in wanted[kind] if key not in roi]
    if missing:
        raise ConfigError(f"a region of type {kind} needs {' and '.join(wanted[kind])}; {missing[0]} is missing")
    place = file_pixels.everywhere(qmap)
    if (off := file_pixels.misfit(qmap, place["q"])) > MISFIT:
        warnings.warn(
            f"{qmap.source.path}: q of pixels by beam centre ({qmap.bcx:g}, {qmap.bcy:g}) differs from q of the static "
            f"bins by {100 * off:.0f} % (median): angles and distances of regions may be wrong",
            stacklevel=3,
        )
    return _pie(qmap, image, place, roi) if kind == "Pie" else _ring(qmap, image, place, roi, phi_num)


def _pie(qmap: QMap, image: NDArray[Any], place: Mapping[str, Floats], roi: Mapping[str, Any]) -> tuple[Floats, Floats]:
    start, end = roi["angle_range"]
    width = end - start if end >= start else end - start + 360
    there = (qmap.mask > 0) & ((place["phi"] - start) % 360 < width)
    if not there.any():
        raise NoUsableInputError(f"no pixel that is not masked lies between {start:g} and {end:g} degree")
    bins = np.concatenate([[0], 1 + qmap.static_index_mapping // qmap.static_num_pts[1]])
    values = _means(np.where(there, bins[qmap.sqmap], 0), image, qmap.sqlist.size)
    limit = qmap.k0 * np.sin(np.arctan(roi["dist"] * qmap.pixel_size / qmap.det_dist))
    values[(qmap.sqlist >= limit) | ~(values > 0)] = np.nan
    return qmap.sqlist, values


def _ring(
    qmap: QMap, image: NDArray[Any], place: Mapping[str, Floats], roi: Mapping[str, Any], phi_num: int
) -> tuple[Floats, Floats]:
    inner, outer = sorted(roi["radius"])
    radius = np.hypot(place["x"], place["y"])
    there = (qmap.mask > 0) & (radius >= inner) & (radius < outer)
    if not there.any():
        raise NoUsableInputError(f"no pixel that is not masked lies {inner:g} to {outer:g} pixels from the beam")
    phi = place["phi"]
    edges = np.linspace(phi[there].min(), phi[there].max(), phi_num + 1)
    number = np.clip(np.digitize(phi, edges), 1, phi_num)
    return (edges[1:] + edges[:-1]) / 2, _means(np.where(there, number, 0), image, phi_num)


def _means(number: NDArray[Any], image: NDArray[Any], count: int) -> Floats:
    """Mean of the pixels of each number from 1; NaN where there is none."""
    pixels = np.bincount(number.ravel(), minlength=count + 1)[1:]
    sums = np.bincount(number.ravel(), image.ravel(), minlength=count + 1)[1:]
    return np.where(pixels > 0, sums / np.maximum(pixels, 1), np.nan)


def write(folder: str, label: str, saxs: Mapping[str, Any], regions: Sequence[tuple[str, Floats, Floats]]) -> list[str]:
    """Write one text file a region and one of the whole; return their paths."""
    os.makedirs(folder, exist_ok=True)
    paths = []
    for number, (kind, x, y) in enumerate(regions):
        paths.append(os.path.join(folder, f"{label}_{kind}_{number:03d}.txt"))
        header = "phi(degree) Intensity" if kind == "Ring" else "q(1/Angstrom) Intensity"
        np.savetxt(paths[-1], np.column_stack([x, y]), header=header)
    header = "q(1/Angstrom) Intensity" + "".join(f" Intensity_phi{n + 1:03d}" for n in range(len(saxs["Iq"]) - 1))
    paths.append(os.path.join(folder, f"{label}_saxs1d.txt"))
    np.savetxt(paths[-1], np.vstack([saxs["q"], saxs["Iq"]]).T, header=header)
    return paths
