"""Which pixel belongs to which bin, as tasks need it: small, named by its content, its bins found once a process."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xpcs_dask.physics.clusters import BinPixels, By, all_bins

Labels: TypeAlias = NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Regions:
    """Labels of the bins of each pixel, in the smallest type; packed when it is sent to another process."""

    dynamic: Labels
    """(row, column), 0 where masked."""
    static: Labels
    """(row, column) finer bins, each of which is normalised by its own mean."""
    labels: tuple[int, ...]
    """Which dynamic bins are meant, in this order."""

    @cached_property
    def key(self) -> bytes:
        """Name of the content."""
        found = hashlib.blake2b(str((self.dynamic.shape, self.labels)).encode(), digest_size=16)
        for labels in (self.dynamic, self.static):
            found.update(labels.astype("<u4").tobytes())
        return found.digest()

    def bins(self, by: By, segments: int) -> list[BinPixels]:
        """Pixels of each bin; those of the last few maps are kept in each process."""
        return _bins(_Known(self), by, segments)

    def without(self, masked: NDArray[np.bool_]) -> Regions:
        """Leave pixels out."""
        return Regions(np.where(masked, 0, self.dynamic).astype(self.dynamic.dtype), self.static, self.labels)

    def __getstate__(self) -> dict[str, Any]:
        packed = {
            name: (zlib.compress(values.tobytes(), 1), values.dtype.str)
            for name, values in (("dynamic", self.dynamic), ("static", self.static))
        }
        return {"shape": self.dynamic.shape, "labels": self.labels, **packed}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        object.__setattr__(self, "labels", state["labels"])
        for name in ("dynamic", "static"):
            packed, dtype = state[name]
            object.__setattr__(self, name, np.frombuffer(zlib.decompress(packed), dtype).reshape(state["shape"]))


class _Known:
    """Regions as a key of a cache."""

    def __init__(self, regions: Regions) -> None:
        self.regions = regions

    def __hash__(self) -> int:
        return hash(self.regions.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Known) and self.regions.key == other.regions.key


@lru_cache(maxsize=2)
def _bins(known: _Known, by: By, segments: int) -> list[BinPixels]:
    regions = known.regions
    return all_bins(regions.dynamic, regions.static, regions.labels, by, segments)


def regions_of(data: xr.Dataset) -> Regions:
    """Labels of a q-map, in the smallest type."""
    labels = tuple(int(label) for label in data["qbin"].values)
    return Regions(smallest(data["dynamic_map"].values), smallest(data["static_map"].values), labels)


def smallest(values: NDArray[Any]) -> Labels:
    """Labels in the smallest type that holds them."""
    return np.ascontiguousarray(values, np.min_scalar_type(int(values.max(initial=0))))
