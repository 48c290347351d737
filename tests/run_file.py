"""A simulated run, and small HDF5 files of any layout that hold it, right or wrong in one chosen place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from xpcs_dask.simulate.curves import curves

FRAMES = 400


def run(bins: int = 12, **settings: Any) -> xr.Dataset:
    """Return one simulated run of `bins` q; 12 are enough for text order to differ from that of numbers."""
    q = np.linspace(0.004, 0.03, bins) if bins > 1 else [0.01]
    return curves(1, q, frames=FRAMES, frame_time=1e-3, diffusion=1e5, seed=3, **settings)


def g2_of(data: xr.Dataset) -> np.ndarray:
    """(qbin, delay) float32 as a reader must give it."""
    return data["g2"].to_numpy()[0]


def err_of(data: xr.Dataset) -> np.ndarray:
    """(qbin, delay) float32 as a reader must give it."""
    return data["g2_err"].to_numpy()[0]


def write(path: Path, contents: Mapping[str, Any], changed: Mapping[str, Any] | None = None) -> Path:
    """Write datasets by path and attributes by `path@name`, `@name` of the root; None in `changed` leaves one out."""
    with h5py.File(path, "w") as file:
        held = {name: value for name, value in {**contents, **(changed or {})}.items() if value is not None}
        for name, value in held.items():
            if "@" not in name:
                if isinstance(value, h5py.ExternalLink | h5py.SoftLink | h5py.Group):
                    file[name] = value
                else:
                    file.create_dataset(name, data=value)
        for name, value in held.items():
            if "@" in name:
                place, _, key = name.partition("@")
                owner = file.require_group(place) if place and place not in file else file[place or "/"]
                owner.attrs[key] = value
    return path
