"""Sums of every pixel of one file, read a few delays at a time: each stored chunk once, memory that does not grow.

boost-corr stores one chunk of the whole detector for each delay and part (G2, IP, IF), so delays can be read one after
the other, but no part of the detector can be read alone without unpacking all of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.errors import FileRejected
from xpcs_dask.io.formats import identify
from xpcs_dask.io.hdf5 import fingerprint, open_hdf5
from xpcs_dask.io.places import Place, places
from xpcs_dask.physics.clusters import BinPixels, By, Kind, cluster_g2, standard_error
from xpcs_dask.physics.regions import Regions

NEEDED = ("unnormalized_G2", "dynamic_map", "static_map")
GATHERED = 8 * 2**20
"""Bytes of sums, of the pixels that count, that are worked on together; at least one row of chunks."""
TILE = 64 * 2**20
"""Bytes of one piece that is read; larger chunks than that are read in parts, and so several times."""
Rows = tuple[int, int]


@dataclass(frozen=True)
class PixelSums:
    """Where the sums of one file are, how they are cut into chunks, and which pixels make which cluster."""

    place: Place
    chunk: tuple[int, int]
    """Delays and parts that are stored together."""
    regions: Regions
    by: By
    segments: int
    kind: Kind

    @property
    def stored(self) -> int:
        """Delays that the file has."""
        return self.place.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of all sums, unpacked."""
        return 4 * prod(self.place.shape)

    @property
    def frame(self) -> int:
        """Bytes of one value of each pixel of the detector."""
        return 4 * prod(self.place.shape[2:])

    def bins(self) -> list[BinPixels]:
        """Pixels of each bin."""
        return self.regions.bins(self.by, self.segments)

    def clusters(self) -> list[int]:
        """Clusters of each bin."""
        return [one.clusters for one in self.bins()]

    def slabs(self, delays: int) -> list[Rows]:
        """Cut the delays into parts of about this many, whole chunks each."""
        step = max(1, delays // self.chunk[0]) * self.chunk[0]
        return [(first, min(first + step, self.stored)) for first in range(0, self.stored, step)]

    def fitting_delays(self) -> int:
        """Delays whose sums, of the pixels that count, take `GATHERED` bytes; at least one."""
        return max(1, GATHERED // max(12 * sum(one.pixel.size for one in self.bins()), 1))

    def work(self, rows: Rows) -> Iterator[tuple[slice, int, NDArray[np.float64], NDArray[np.float64]]]:
        """Yield some delays of `rows`, the number of a bin, its g2 ``(delay,)`` and clusters ``(delay, cluster)``."""
        bins = self.bins()
        pixels = np.concatenate([one.pixel for one in bins])
        ends = np.cumsum([0, *(one.pixel.size for one in bins)])
        for at, sums in self._gather(rows, pixels):
            for j, bin_ in enumerate(bins):
                yield at, j, *cluster_g2(sums[..., ends[j] : ends[j + 1]], bin_, self.by, self.kind)

    def _gather(self, rows: Rows, pixels: NDArray[np.int32]) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Yield delays and their sums (3, delay, pixel), a few delays at a time."""
        self._check_unchanged()
        with open_hdf5(self.place.path) as file:
            dataset: Any = file.find(self.place.datasets[0])
            for first, last in self._steps(rows):
                sums = np.empty((3, last - first, pixels.size), np.float32)
                for a, b, p, r in self._tiles(first, last):
                    tile = np.asarray(dataset[a:b, p:r], np.float32).reshape(b - a, r - p, -1)
                    for part in range(p, r):
                        np.take(tile[:, part - p], pixels, axis=1, out=sums[part, a - first : b - first])
                yield slice(first, last), sums

    def _steps(self, rows: Rows) -> Iterator[Rows]:
        step = max(1, self.fitting_delays() // self.chunk[0]) * self.chunk[0]
        return ((first, min(first + step, rows[1])) for first in range(*rows, step))

    def _tiles(self, first: int, last: int) -> Iterator[tuple[int, int, int, int]]:
        """First and last delay and part of what is read in one go: whole chunks."""
        delays, parts = self.chunk
        for a in range(first, last, delays):
            for p in range(0, 3, parts):
                yield a, min(a + delays, last), p, min(p + parts, 3)

    def _check_unchanged(self) -> None:
        path = self.place.path
        try:
            found = os.stat(path)
        except OSError as error:
            raise FileRejected(path, f"it cannot be read any more ({error.strerror})") from error
        if (found.st_size, found.st_mtime_ns) != self.place.state:
            raise FileRejected(path, "it has changed since it was opened; open it again")


def block(sums: PixelSums, most: int, delays: int) -> NDArray[np.float32]:
    """(most + 2, qbin, delay): g2, its error and clusters of one file, NaN where it has fewer clusters or delays."""
    out = np.full((most + 2, len(sums.regions.labels), delays), np.nan, np.float32)
    for at, j, g2, clusters in sums.work((0, sums.stored)):
        out[0, j, at], out[1, j, at] = g2, standard_error(clusters)
        out[2 : 2 + clusters.shape[1], j, at] = clusters.T
    return out


class Finder:
    """Looks into files for sums and maps; maps that several files share are read and held once."""

    def __init__(
        self, labels: Sequence[int], delays: int, by: By, segments: int, kind: Kind, new: Regions | None = None
    ) -> None:
        self.labels, self.delays, self.new = tuple(labels), delays, new
        self.how = (by, segments, kind)
        self._own: dict[bytes, Regions] = {}
        self._masked: dict[bytes, Regions] = {}

    def find(self, path: str) -> PixelSums:
        """Find the sums of a file and the pixels of each bin; `FileRejected` if there are none, or they do not fit."""
        held, refused = places(path, identify(path), "", NEEDED)
        for name in NEEDED:
            if name not in held:
                raise FileRejected(path, refused.get(name, f"it holds no {name}; correlate it again with save_G2"))
        sums, maps = held["unnormalized_G2"], [held[name] for name in NEEDED[1:]]
        shape = maps[0].shape
        if sums.shape[1:] != (3, *shape) or maps[1].shape != shape or sums.shape[0] > self.delays:
            raise FileRejected(
                path, f"unnormalized_G2 has shape {sums.shape} for {self.delays} delays and maps of {shape}"
            )
        if self.new is not None and self.new.dynamic.shape != shape:
            raise FileRejected(
                path, f"its detector has {_by(shape)} pixels, but the map of qmap= {_by(self.new.dynamic.shape)}"
            )
        chunk, key = _stored(sums, maps)
        own = self._own.get(key) or self._own.setdefault(key, self._read(path, maps))
        if self.new is None:
            return PixelSums(sums, chunk, own, *self.how)
        masked = self._masked.get(key) or self._masked.setdefault(key, self._without(path, own))
        return PixelSums(sums, chunk, masked, *self.how)

    def _read(self, path: str, maps: Sequence[Place]) -> Regions:
        dynamic, static = (np.asarray(place.read(range(place.shape[0]))) for place in maps)
        labels = tuple(range(1, int(dynamic.max(initial=0)) + 1)) if self.new is not None else self.labels
        regions = Regions(dynamic, static, labels)
        if self.new is None:
            _check_bins(path, regions, "its q-map")
        return regions

    def _without(self, path: str, own: Regions) -> Regions:
        """Leave out what the producer masked: it stores zeros there, which are no measurement."""
        assert self.new is not None
        regions = self.new.without((own.dynamic == 0) | (own.static == 0))
        _check_bins(path, regions, "the map of qmap=, less the pixels that the file masks,")
        return regions


def _check_bins(path: str, regions: Regions, what: str) -> None:
    number = np.bincount(regions.dynamic.ravel(), minlength=max(regions.labels) + 1)
    empty = [label for label in regions.labels if not number[label]]
    if empty:
        raise FileRejected(
            path, f"{what} has no pixel in bin {empty[0]} ({len(empty)} of {len(regions.labels)} bins are empty)"
        )


def _stored(sums: Place, maps: Sequence[Place]) -> tuple[tuple[int, int], bytes]:
    """Delays and parts in a chunk of the sums (1 where there are no chunks), and a name of the content of the maps."""
    with open_hdf5(sums.path) as file:
        dataset: Any = file.find(sums.datasets[0])
        key = b"".join(fingerprint(found) for found in (file.stored(place.datasets[0]) for place in maps) if found)
        whole = (*(dataset.chunks or (1, 1))[:2], *sums.shape[2:])
    small = 4 * prod(whole) <= TILE
    return ((whole[0], whole[1]) if small else (1, 1)), key


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
