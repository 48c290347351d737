"""Datasets of one APS result by short name; where they are is `NAMES`, how they are read is `io.hdf5`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from xpcs_dask.errors import FileRejected
from xpcs_dask.io.formats import identify
from xpcs_dask.io.hdf5 import ResultFile, open_hdf5
from xpcs_dask.io.schema import APS, APS_SCALARS
from xpcs_dask.io.stored import children

FORMAT = "aps_nexus"

NAMES: Mapping[str, str] = {
    "tau": APS.delay_list,
    "g2_partial": f"{APS.g2}_partial",
    "g2_partial_err": f"{APS.g2}_partial_err",
    "g2_partial_labels": f"{APS.g2}_partial_labels",
    "G2": f"{APS.multitau}/unnormalized_G2",
    "Int_t": APS.intensity,
    "saxs_1d": APS.static_mean,
    "Iqp": "xpcs/temporal_mean/scattering_1d_segments",
    "saxs_2d": "xpcs/temporal_mean/scattering_2d",
    "c2_g2": f"{APS.twotime}/normalized_g2",
    "c2_g2_segments": f"{APS.twotime}/normalized_g2_segments",
    "c2_processed_bins": f"{APS.twotime}/processed_bins",
    "c2_stride": f"{APS.twotime}/config/stride_frame",
    "c2_average": f"{APS.twotime}/config/avg_frame",
    "stride": APS.stride,
    "average": APS.average,
    "frame_time": APS.frame_time,
    "count_time": APS_SCALARS["count_time"],
    "start_time": APS.start_time,
    "mask": "xpcs/qmap/mask",
    "dqmap": APS.dynamic_map,
    "sqmap": APS.static_map,
    "dqlist": APS.axes[0],
    "dplist": APS.axes[1],
    "sqlist": "xpcs/qmap/static_v_list_dim0",
    "splist": "xpcs/qmap/static_v_list_dim1",
    "static_index_mapping": "xpcs/qmap/static_index_mapping",
    "dynamic_index_mapping": APS.columns,
    "static_num_pts": "xpcs/qmap/static_num_pts",
    "dynamic_num_pts": APS.grid,
    "map_names": APS.map_names,
    "map_units": APS.map_units,
    "bcx": "xpcs/qmap/beam_center_x",
    "bcy": "xpcs/qmap/beam_center_y",
    "det_dist": APS_SCALARS["detector_distance"],
    "pixel_size": "xpcs/qmap/pixel_size",
    "X_energy": APS_SCALARS["photon_energy"],
}
"""Path of each dataset that attributes are made of. Geometry is that of the q-map: /entry can be wrong by 10 %."""

INFO_GROUPS = ("entry/instrument", "xpcs/multitau/config", "xpcs/twotime/config", "entry/sample", "entry/user")
_MOST_SHOWN = 4096


@dataclass(frozen=True)
class Source:
    """One result file as it was when it was opened; reading after it has changed raises `FileRejected`."""

    path: str
    state: tuple[int, int]
    """Size and time of modification."""
    kinds: tuple[str, ...]
    """"Twotime" and "Multitau", what the file holds of these."""

    @classmethod
    def open(cls, path: str) -> Source:
        """Look what the file holds; `FileRejected` if it is no APS result or holds neither."""
        found = identify(path)
        if found != FORMAT:
            raise FileRejected(
                path,
                f"it is of format {found}; XpcsFile reads APS 8-ID-I results, xpcs_dask.open_g2 reads this one too",
            )
        with open_hdf5(path) as file:
            groups = {"Twotime": f"{APS.twotime}/correlation_map", "Multitau": APS.g2}
            kinds = tuple(kind for kind, name in groups.items() if file.find(name) is not None)
        if not kinds:
            raise FileRejected(path, f"it has neither /{APS.g2} nor /{APS.twotime}/correlation_map: it is not complete")
        return cls(path, _state(path), kinds)

    def array(self, name: str) -> NDArray[Any] | None:
        """Numbers as they are stored, or None."""
        with self._opened() as file:
            return file.array(NAMES[name])

    def needed(self, name: str) -> NDArray[Any]:
        """Numbers as they are stored; `FileRejected` if there are none."""
        found = self.array(name)
        if found is None or not found.size:
            raise self.rejected(f"/{NAMES[name]} is missing: {_WITHOUT.get(NAMES[name].split('/')[1], _INCOMPLETE)}")
        return found

    def number(self, name: str, default: float | None = None) -> float:
        """One number; `FileRejected` if it is not there and there is no default."""
        with self._opened() as file:
            found = file.scalar(NAMES[name])
        if found is None and default is None:
            raise self.rejected(f"/{NAMES[name]} is missing, or not one number")
        return float(found if found is not None else default)  # type: ignore[arg-type]

    def texts(self, name: str) -> list[str]:
        """Strings; none if there are none."""
        with self._opened() as file:
            return file.texts(NAMES[name])

    def has(self, name: str) -> bool:
        """Whether the file holds it."""
        with self._opened() as file:
            return file.find(NAMES[name]) is not None

    def rejected(self, reason: str) -> FileRejected:
        """Return the error that names this file."""
        return FileRejected(self.path, reason)

    def check_unchanged(self) -> None:
        """Raise `FileRejected` if the file is not what was opened."""
        if _state(self.path) != self.state:
            raise self.rejected("it has changed since it was opened; open it again")

    def info(self) -> dict[str, Any]:
        """Return what the beamline and the producer noted, as nested mappings by group."""
        with self._opened() as file:
            return {f"/{name}": _tree(file, name) for name in INFO_GROUPS if file.find(name) is not None}

    def _opened(self) -> AbstractContextManager[ResultFile]:
        self.check_unchanged()
        return open_hdf5(self.path)


_INCOMPLETE = "the file is not complete; write or copy it again"
_WITHOUT = {"qmap": "the q-map is not there or not complete, so what it tells is not known"}


def _state(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return (-1, -1)
    return found.st_size, found.st_mtime_ns


def _tree(file: ResultFile, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in children(file, name):
        item = file.find(f"{name}/{key}")
        if isinstance(item, h5py.Group):
            found[key] = _tree(file, f"{name}/{key}")
        elif item is not None and item.shape is not None:
            units = item.attrs.get("units", "")
            units = units.decode() if isinstance(units, bytes) else str(units)
            found[f"{key} ({units})" if units else key] = _shown(file, f"{name}/{key}", item)
    return found


def _shown(file: ResultFile, name: str, item: h5py.Dataset) -> Any:
    if item.size > _MOST_SHOWN:
        return f"array of shape {item.shape}, {item.dtype}"
    if h5py.check_string_dtype(item.dtype) is not None:
        texts = file.texts(name)
        return texts[0] if item.shape == () else np.array(texts, dtype=object)
    value = np.asarray(item[()])
    return value.item() if value.size == 1 else value
