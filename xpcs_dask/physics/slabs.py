"""What a task regroups: some delays of one file, or all of a small one; how its clusters are stored, what it takes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xpcs_dask.physics.clusters import PIECE, standard_error
from xpcs_dask.physics.pixel_sums import PixelSums, Rows, block
from xpcs_dask.physics.regroup import block_bytes, labelled, most_clusters

SMALL = 8 * 2**20
"""Bytes of clusters of one file up to which one task does the whole file."""
TOGETHER = 32 * 2**20
"""Bytes of clusters that are read together when the stack is fitted; at least those of one bin."""
BASE = 16 * 2**20
"""Bytes of any task: what reading, packing and a piece in double precision take."""


@dataclass(frozen=True)
class Slab:
    """Some delays of one file, and where their clusters go."""

    sums: PixelSums
    store: str
    group: str
    file: int
    rows: Rows
    delays: int
    most: int
    whole: bool
    """Whether these are all delays, which are written together."""


@dataclass(frozen=True)
class Part:
    """Files of one group of the stack."""

    data: xr.Dataset
    sums: list[PixelSums]
    delays: int
    """In a slab."""

    @property
    def most(self) -> int:
        """Clusters of the bin that has most."""
        return most_clusters(self.sums)

    @property
    def whole(self) -> bool:
        """Whether one task does a file."""
        return block_bytes(self.data, self.sums) <= SMALL

    def slabs(self, store: Path, group: str) -> Iterator[Slab]:
        """Everything that is to be done, file by file."""
        length = self.data.sizes["delay"]
        for file, sums in enumerate(self.sums):
            for rows in [(0, sums.stored)] if self.whole else sums.slabs(self.delays):
                yield Slab(sums, str(store), group, file, rows, length, self.most, self.whole)

    def chunks(self) -> dict[str, tuple[int, ...]]:
        """How g2, errors and clusters are stored: clusters as tasks write them, g2 as it is read with them."""
        files, bins, delays = (self.data.sizes[dim] for dim in ("file", "qbin", "delay"))
        each = max(4 * self.most * delays, 1)
        at_once = max(1, min(bins, TOGETHER // each))
        together = max(1, min(files, TOGETHER // (each * bins))) if at_once == bins else 1
        curves = (together, at_once, delays)
        own = (1, bins, self.most, delays) if self.whole else (1, 1, min(self.most, PIECE), self.delays)
        return {"g2": curves, "g2_err": curves, "g2_cluster": own}

    def template(self) -> xr.Dataset:
        """Give the Dataset that comes out, with nothing in its curves."""
        shape = tuple(self.data.sizes[dim] for dim in ("file", "qbin", "delay"))
        curves, clusters = (
            da.zeros(n, dtype=np.float32, chunks=-1) for n in (shape, (*shape[:2], self.most, shape[2]))
        )
        return labelled(self.data, self.sums, curves, curves, clusters)


def run_slab(slab: Slab) -> tuple[Slab, NDArray[np.float32]]:
    """Write the clusters of a slab; returns g2 and its error (2, qbin, delay)."""
    import zarr

    array: Any = zarr.open_array(slab.store, path=f"{slab.group}/g2_cluster".lstrip("/"), mode="r+")
    first, last = slab.rows
    sums = slab.sums
    if slab.whole:
        found = block(sums, slab.most, slab.delays)
        array[slab.file] = found[2:].swapaxes(0, 1)
        return slab, found[:2, :, first:last]
    curves = np.full((2, len(sums.regions.labels), last - first), np.nan, np.float32)
    for at, j, g2, clusters in sums.work(slab.rows):
        curves[0, j, at.start - first : at.stop - first] = g2
        curves[1, j, at.start - first : at.stop - first] = standard_error(clusters)
        array[slab.file, j, : clusters.shape[1], at] = clusters.T.astype(np.float32)
    return slab, curves


def task_bytes(sums: PixelSums, delays: int) -> int:
    """Bytes that a task which does so many delays of a file takes, at most."""
    bins = sums.bins()
    pixels, largest = sum(one.pixel.size for one in bins), max(one.pixel.size for one in bins)
    reading = 3 * sums.frame * math.prod(sums.chunk)
    return BASE + reading + 48 * pixels + delays * (12 * pixels + 32 * largest)
