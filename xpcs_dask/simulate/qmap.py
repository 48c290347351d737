"""The q-map of a simulated file: which pixel belongs to which bin, where each column stands in the (q, phi) grid."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from xpcs_dask.errors import ConfigError


class QMap:
    """Which pixel belongs to which bin, and where each column stands in the (q, phi) grid."""

    def __init__(self, data: xr.Dataset, q_rings: ArrayLike | None, static_per_bin: int) -> None:
        q, phi = data.q.values, data.phi.values
        self.rings = np.unique(q if q_rings is None else np.asarray(q_rings, np.float64))
        self.sectors = np.unique(phi)
        ring = np.searchsorted(self.rings, q)
        if (ring == self.rings.size).any() or not np.array_equal(self.rings[ring], q):
            raise ConfigError(
                f"q_rings must hold every q of the data; {np.setdiff1d(q, self.rings)[0]:g} 1/angstrom is not there"
            )
        self.dynamic = ring * self.sectors.size + np.searchsorted(self.sectors, phi)
        self.per_bin = static_per_bin
        self.pixels = np.rint(data.n_pixels.values[0]).astype(np.int64)
        if (self.pixels < static_per_bin).any():
            raise ConfigError(
                f"{static_per_bin} static bins in a bin of {self.pixels.min()} pixels; lower static_per_bin"
            )
        self.static_rings = self._static_rings()
        fine = (ring[:, None] * static_per_bin + np.arange(static_per_bin)) * self.sectors.size
        self.static = (fine + (self.dynamic % self.sectors.size)[:, None]).ravel()
        self.order = np.argsort(self.static, kind="stable")
        self.dynamic_map, self.static_map = self._maps()

    def _static_rings(self) -> NDArray[np.float64]:
        """Centres of the finer rings: equal steps within the space that each ring has."""
        edges = np.concatenate([self.rings[:1] * 0.9, 0.5 * (self.rings[1:] + self.rings[:-1]), self.rings[-1:] * 1.1])
        inside = (np.arange(self.per_bin) + 0.5) / self.per_bin
        return (edges[:-1, None] + np.diff(edges)[:, None] * inside).ravel()

    def _maps(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Both label maps (height, width): pixels of a bin lie one after another, 0 is masked."""
        share = np.arange(self.per_bin)
        sizes = (self.pixels[:, None] + share) // self.per_bin
        rank = np.empty(self.static.size, np.int64)
        rank[self.order] = np.arange(1, self.static.size + 1)
        dynamic = np.repeat(np.arange(1, self.pixels.size + 1), self.pixels)
        static = np.repeat(rank, sizes.ravel())
        width = max(8, int(np.ceil(np.sqrt(dynamic.size * 1.25))))
        height = -(-dynamic.size // width) + 1
        shape = (height, width)
        return tuple(_labels(_fill(labels, shape)) for labels in (dynamic, static))  # type: ignore[return-value]

    def write(self, group: h5py.Group) -> None:
        """Write everything of ``/xpcs/qmap`` into the empty `group`."""
        group.attrs["hash"], group.attrs["version"] = "0" * 64, "simulated"
        for name, centres, order, finest in (
            ("dynamic", self.dynamic_map, self.dynamic, self.rings),
            ("static", self.static_map, self.static[self.order], self.static_rings),
        ):
            group.create_dataset(f"{name}_roi_map", data=centres, compression="lzf")
            group[f"{name}_index_mapping"] = _labels(order)
            group[f"{name}_num_pts"] = np.array([finest.size, self.sectors.size], np.int64)
            for axis, values, label, unit in ((0, finest, "q", "Å⁻¹"), (1, self.sectors, "phi", "deg")):
                item = group.create_dataset(f"{name}_v_list_dim{axis}", data=values)
                item.attrs.update({"name": label, "unit": unit, "size": np.int64(values.size)})
        text = h5py.string_dtype("utf-8")
        group["map_names"], group["map_units"] = np.array(["q", "phi"], text), np.array(["Å⁻¹", "deg"], text)
        for name in ("mask", "blemish"):
            group.create_dataset(name, data=self.dynamic_map > 0, compression="lzf")
        height, width = self.dynamic_map.shape
        for name, value in (
            ("energy", 10.9),
            ("detector_distance", 7.8),
            ("pixel_size", 7.6e-5),
            ("beam_center_x", width / 2),
            ("beam_center_y", height / 2),
        ):
            group[name] = float(value)
        group["source_file"] = "simulated"


def _fill(labels: NDArray[np.int64], shape: tuple[int, int]) -> NDArray[np.int64]:
    """Lay labels out row by row; what is left at the end is masked."""
    full = np.zeros(shape[0] * shape[1], np.int64)
    full[: labels.size] = labels
    return full.reshape(shape)


def _labels(values: NDArray[np.int64]) -> NDArray[Any]:
    """Smallest unsigned type that holds the labels, as the producer stores them."""
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))
