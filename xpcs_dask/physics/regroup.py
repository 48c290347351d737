"""g2 once more from the correlation sums of every pixel, with the g2 of pixels or q-segments beside it."""

from __future__ import annotations

from typing import Any, get_args

import dask.array as da
import numpy as np
import psutil
import xarray as xr
from dask.base import tokenize
from numpy.typing import NDArray

from xpcs_dask.errors import ConfigError, FileRejected
from xpcs_dask.io.formats import identify
from xpcs_dask.io.lazy import BLOCK_BYTES
from xpcs_dask.io.open import open_g2
from xpcs_dask.io.places import Place, places
from xpcs_dask.io.sources import Source
from xpcs_dask.physics.clusters import BinPixels, By, Kind, bin_pixels, cluster_g2, standard_error
from xpcs_dask.physics.combined import with_coords

NEEDED = ("unnormalized_G2", "dynamic_map", "static_map")


def regroup(source: Source | xr.Dataset, by: By = "pixel", *, segments: int = 16, kind: Kind = "linear") -> xr.Dataset:
    r"""g2 and the g2 of clusters of pixels from the sums that a producer stored for every pixel.

    Parameters
    ----------
    source : path, glob or folder, a list of these, or Dataset
        Files with ``unnormalized_G2`` and q-maps (boost-corr with ``save_G2``), or what `open_g2` made of them.
    by : "pixel", "segment" or "static"
        What a cluster is: a pixel; one of `segments` parts of the bin, each with its share of neighbouring pixels of
        every static bin; a static bin (its scatter then holds the change of g2 with q inside the bin too).
    segments : int
        Number of clusters for ``by="segment"``, at least 2. Fewer than about 8 make a poor standard error.
    kind : "linear" or "ratio"
        "linear": values whose mean is g2 exactly, and whose variance over their number is that of g2 to first order.
        "ratio": each cluster's own G2 / (IP IF), NaN for dark ones; in dim pixels their mean is biased.

    Returns
    -------
    xarray.Dataset
        That of `open_g2`, with ``g2`` pooled from the pixels (it equals the producer's to single precision), ``g2_err``
        its standard error from the scatter of the clusters, and ``g2_cluster (file, qbin, cluster, delay)`` float32,
        NaN where a bin has fewer clusters; coordinate ``n_clusters (qbin)``, or ``(file, qbin)`` if files differ. Lazy,
        one task a file, unless `source` is an eager Dataset; a task reads the sums a few delays at a time.

    Raises
    ------
    FileRejected
        For a file without the sums or the maps.
    ConfigError
        For a value that means nothing, or clusters that do not fit the memory of this machine.

    Notes
    -----
    Pixels closer than a speckle are correlated; then choose segments. With P clusters, use Student's t with P - 1
    degrees of freedom. Beam fluctuations that all pixels share are not in this scatter: compare repeats (`average`).
    The producer keeps sums at short delays with about three digits (bfloat16), of which g2 is made as well.

    Examples
    --------
    >>> data = regroup("results/run_results.hdf", by="segment", segments=32)  # doctest: +SKIP
    """
    _check(by, segments, kind)
    data = with_coords(source if isinstance(source, xr.Dataset) else _opened(source))
    if "path" not in data.coords or data["g2"].dims != ("file", "qbin", "delay"):
        raise ConfigError("regroup takes files, or a Dataset (file, qbin, delay) of open_g2 with the coordinate 'path'")
    labels = data["qbin"].values.astype(np.int64)
    jobs = np.empty(data.sizes["file"], dtype=object)
    jobs[:] = [_Job.of(str(path), labels, data.sizes["delay"], by, segments, kind) for path in data["path"].values]
    most = max(job.most for job in jobs)
    need = 4 * (most + 2) * labels.size * data.sizes["delay"]
    if need > psutil.virtual_memory().available:
        raise ConfigError(
            f"{most} clusters in each of {labels.size} bins need {need / 1e9:.1f} GB a file, more than is free; "
            "take by='segment' with fewer segments, or select bins"
        )
    lazy = data["g2"].chunks is not None
    packed = _packed(jobs, (most + 2, labels.size, data.sizes["delay"]), lazy)
    return _labelled(data, packed, jobs, by, kind)


def _check(by: Any, segments: int, kind: Any) -> None:
    for name, value, known in (("by", by, get_args(By)), ("kind", kind, get_args(Kind))):
        if value not in known:
            raise ConfigError(f"{name}: {value!r} is none of {', '.join(map(repr, known))}")
    if segments < 2:
        raise ConfigError(f"segments is {segments}; scatter needs at least 2")


def _opened(source: Source) -> xr.Dataset:
    found = open_g2(source)
    if not isinstance(found, xr.Dataset):
        raise TypeError("open_g2 gave no Dataset")
    return found


class _Job:
    """One file: where its sums are, which pixels make which cluster."""

    def __init__(self, sums: Place, bins: list[BinPixels], delays: int, by: By, kind: Kind) -> None:
        self.sums, self.bins, self.delays, self.by, self.kind = sums, bins, delays, by, kind
        self.most = max(one.clusters for one in bins)

    @classmethod
    def of(cls, path: str, labels: NDArray[np.int64], delays: int, by: By, segments: int, kind: Kind) -> _Job:
        """Read the maps of a file and check that they fit its sums."""
        held, refused = places(path, identify(path), "", NEEDED)
        for name in NEEDED:
            if name not in held:
                why = refused.get(name, f"it holds no {name}; correlate it again with save_G2")
                raise FileRejected(path, why)
        dynamic, static = (_whole(held[name]) for name in ("dynamic_map", "static_map"))
        sums = held["unnormalized_G2"]
        if sums.shape[1:] != (3, *dynamic.shape) or static.shape != dynamic.shape or sums.shape[0] > delays:
            raise FileRejected(
                path, f"unnormalized_G2 has shape {sums.shape} for {delays} delays and maps of {dynamic.shape}"
            )
        bins = [bin_pixels(dynamic, static, int(label), by, segments) for label in labels]
        empty = [int(label) for label, one in zip(labels, bins, strict=True) if not one.pixel.size]
        if empty:
            raise FileRejected(path, f"its q-map has no pixel in bin {empty[0]}")
        return cls(sums, bins, delays, by, kind)

    def run(self, most: int) -> NDArray[np.float32]:
        """(most + 2, qbin, delay): g2, its error, clusters; the sums are read a few delays at a time."""
        out = np.full((most + 2, len(self.bins), self.delays), np.nan, np.float32)
        stored = self.sums.shape[0]
        step = max(1, BLOCK_BYTES // (4 * int(np.prod(self.sums.shape[1:]))))
        for first in range(0, stored, step):
            rows = range(first, min(first + step, stored))
            at = slice(rows.start, rows.stop)
            sums = self.sums.read(rows).reshape(len(rows), 3, -1)
            for j, bin_ in enumerate(self.bins):
                inside = sums[..., bin_.pixel].swapaxes(0, 1).astype(np.float64)
                g2, clusters = cluster_g2(inside, bin_, self.by, self.kind)
                out[0, j, at], out[1, j, at] = g2, standard_error(clusters)
                out[2 : 2 + bin_.clusters, j, at] = clusters.T
        return out


def _whole(place: Place) -> NDArray[Any]:
    return place.read(range(place.shape[0]))


def _run_jobs(jobs: NDArray[Any], shape: tuple[int, int, int]) -> NDArray[np.float32]:
    return np.stack([job.run(shape[0] - 2) for job in jobs])


def _packed(jobs: NDArray[Any], shape: tuple[int, int, int], lazy: bool) -> Any:
    """(file, 2 + cluster, qbin, delay): g2, error, clusters; one task a file if lazy."""
    if not lazy:
        return _run_jobs(jobs, shape)
    token = tokenize(*((job.sums.path, job.sums.state, job.by, job.kind, shape) for job in jobs))
    return da.map_blocks(
        _run_jobs,
        da.from_array(jobs, chunks=1, name=f"xpcs-pixels-{token}"),
        shape,
        name=f"xpcs-regroup-{token}",
        chunks=((1,) * jobs.size, *((size,) for size in shape)),
        new_axis=[1, 2, 3],
        dtype=np.float32,
        meta=np.empty((0,) * 4, np.float32),
    )


def _labelled(data: xr.Dataset, packed: Any, jobs: NDArray[Any], by: By, kind: Kind) -> xr.Dataset:
    dims = ("file", "qbin", "delay")
    clusters = packed[:, 2:].swapaxes(1, 2)
    attrs = {"units": "1", "long_name": f"intensity correlation of each {by} of the bin", "kind": kind}
    number = np.array([[one.clusters for one in job.bins] for job in jobs])
    same = (number == number[0]).all()
    counted = xr.Variable(
        "qbin" if same else ("file", "qbin"), number[0] if same else number, {"units": "1", "long_name": "clusters"}
    )
    text = {"g2": "intensity correlation g2, pooled from its pixels", "g2_err": f"standard error, scatter of each {by}"}
    out = data.assign(
        g2=xr.Variable(dims, packed[:, 0], {"units": "1", "long_name": text["g2"]}),
        g2_err=xr.Variable(dims, packed[:, 1], {"units": "1", "long_name": text["g2_err"]}),
        g2_cluster=xr.Variable(("file", "qbin", "cluster", "delay"), clusters, attrs),
    )
    return out.assign_coords(n_clusters=counted).assign_attrs(regrouped_by=by, regrouped_kind=kind)
