"""Small files in the APS 8-ID-I layout, written with plain h5py, right or wrong in one chosen place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

DELAYS = np.array([1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20])
FRAMES = 24


def contents(seed: int = 0, bins: int = 3) -> dict[str, Any]:
    """Return every dataset of a good file: `bins` rings of q, each of 2 static bins of 2 and 3 pixels."""
    rng = np.random.default_rng(seed)
    shape = (DELAYS.size, bins)
    static = np.repeat(np.arange(2 * bins + 1), [4] + [2, 3] * bins)
    return {
        "xpcs/multitau/delay_list": DELAYS,
        "xpcs/multitau/normalized_g2": (1 + 0.2 * rng.random(shape)).astype("f4"),
        "xpcs/multitau/normalized_g2_err": (0.01 + 0.01 * rng.random(shape)).astype("f4"),
        "xpcs/multitau/config/stride_frame": np.int64(1),
        "xpcs/multitau/config/avg_frame": np.int64(1),
        "xpcs/qmap/map_names": [b"q", b"phi"],
        "xpcs/qmap/map_units": ["Å⁻¹".encode(), b"deg"],
        "xpcs/qmap/dynamic_num_pts": np.array([bins, 1]),
        "xpcs/qmap/dynamic_index_mapping": np.arange(bins, dtype="u1"),
        "xpcs/qmap/dynamic_v_list_dim0": 0.01 * np.arange(1, bins + 1),
        "xpcs/qmap/dynamic_v_list_dim1": np.array([0.5]),
        "xpcs/qmap/dynamic_roi_map": ((static + 1) // 2).astype("u1")[None],
        "xpcs/qmap/static_roi_map": static.astype("u2")[None],
        "xpcs/temporal_mean/scattering_1d": 1.0 + np.arange(2 * bins, dtype="f4")[None],
        "xpcs/spatial_mean/intensity_vs_time": np.ones((2, FRAMES), "f4"),
        "entry/instrument/detector_1/frame_time": 0.001,
        "entry/start_time": b"2026-01-02 03:04:05.5",
        "entry/sample/qnw1_temperature": 25.0,
    }


def write(path: Path, changed: dict[str, Any] | None = None, *, seed: int = 0, bins: int = 3) -> Path:
    """Write a good file with `changed` on top; None leaves a dataset out, an h5py link is made as it is."""
    with h5py.File(path, "w") as file:
        for name, value in {**contents(seed, bins), **(changed or {})}.items():
            if isinstance(value, h5py.ExternalLink | h5py.SoftLink):
                file[name] = value
            elif value is not None:
                file.create_dataset(name, data=value)
    return path


class CountReads:
    """Stands for `h5py.File` and counts how often each file is opened."""

    def __init__(self, monkeypatch: Any) -> None:
        self.paths: list[str] = []
        true = h5py.File

        def opened(path: str, *args: Any, **kwargs: Any) -> h5py.File:
            self.paths.append(str(path))
            return true(path, *args, **kwargs)

        monkeypatch.setattr("xpcs_dask.io.hdf5.h5py.File", opened)
