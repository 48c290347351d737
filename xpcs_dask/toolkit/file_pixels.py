"""Where each pixel is: q, azimuth, angle and distance from the beam, from the geometry of the q-map."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.toolkit.file_qmap import QMap

Floats = NDArray[np.float64]

UNITS = {"phi": "deg", "alpha": "deg", "q": "Å⁻¹", "qx": "Å⁻¹", "qy": "Å⁻¹", "x": "pixel", "y": "pixel"}
_TEXTS = {"qx": "{:.6f}", "qy": "{:.6f}", "q": "{:.6f}"}


def at(qmap: Any, x: Any, y: Any) -> dict[str, Floats]:
    """Geometry at pixels.

    Parameters
    ----------
    qmap : QMap
        Or another object with the same attributes.
    x, y : array_like
        Column and row, from 0.

    Returns
    -------
    dict of arrays
        By the keys of `UNITS`. phi grows against the clock as the detector is shown with row 0 on top; q follows the
        producer's q-map: the wave number times the sine of the scattering angle.
    """
    x, y = np.asarray(x) - qmap.bcx, np.asarray(y) - qmap.bcy
    angle = np.arctan(np.hypot(x, y) * qmap.pixel_size / qmap.det_dist)
    q, phi = np.sin(angle) * qmap.k0, -np.arctan2(y, x)
    return {
        "phi": np.degrees(phi),
        "alpha": np.degrees(angle),
        "q": q,
        "qx": q * np.cos(phi),
        "qy": q * np.sin(phi),
        "x": x,
        "y": y,
    }


def everywhere(qmap: Any) -> dict[str, Floats]:
    """Return the same for every pixel, each (row, column)."""
    rows, columns = qmap.mask.shape
    return at(qmap, np.arange(columns)[None, :], np.arange(rows)[:, None])


def described(qmap: Any, x: int, y: int) -> str:
    """One line about a pixel."""
    found = at(qmap, x, y)
    return ", ".join(f"{name}={_TEXTS.get(name, '{:.3f}').format(float(found[name]))} {UNITS[name]}" for name in UNITS)


def misfit(qmap: QMap, q: Floats) -> float:
    """How far q from the geometry is from q of the file's own static bins: median relative difference.

    A q-map whose beam centre has been edited, or whose x and y are exchanged, shows here.
    """
    labels = qmap.sqmap.ravel().astype(np.int64)
    count = qmap.static_index_mapping.size
    pixels = np.bincount(labels, minlength=count + 1)[1 : count + 1]
    sums = np.bincount(labels, np.broadcast_to(q, qmap.sqmap.shape).ravel(), minlength=count + 1)[1 : count + 1]
    told = qmap.sqlist[qmap.static_index_mapping // qmap.static_num_pts[1]]
    there = pixels > 0
    return float(np.median(np.abs(sums[there] / pixels[there] / told[there] - 1)))
