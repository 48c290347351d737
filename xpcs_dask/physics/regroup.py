"""g2 once more from the correlation sums of every pixel, in any bins, with the g2 of pixels or q-segments beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal, get_args

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize
from numpy.typing import NDArray

from xpcs_dask.engine.budget import allowed
from xpcs_dask.engine.plan import MemoryBudgetError
from xpcs_dask.errors import ConfigError, FileRejected
from xpcs_dask.io.sources import Source
from xpcs_dask.physics.clusters import By, Kind
from xpcs_dask.physics.combined import with_coords
from xpcs_dask.physics.pixel_sums import Finder, PixelSums, block
from xpcs_dask.physics.qmaps import Given, as_qmap
from xpcs_dask.physics.rebinned import opened, rebinned
from xpcs_dask.physics.regions import regions_of

__all__ = ["By", "Kind", "regroup"]


def regroup(
    source: Source | xr.Dataset,
    by: By = "pixel",
    *,
    segments: int = 16,
    kind: Kind = "linear",
    qmap: Given | None = None,
    memory: int | str | None = None,
) -> xr.Dataset:
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
    qmap : path, Dataset or sequence, optional
        Other bins than those of the files, for the same detector: a q-map file of the producer, a result that carries
        one, a Dataset of `xpcs_dask.qmap`, or ``(labels, q)`` or ``(labels, q, phi)`` as that takes them. Pixels that
        a file masks have no sums and are left out.
    memory : int or str, optional
        What the block of one file may take, such as ``"1GiB"``; default: 80 % of what is free.

    Returns
    -------
    xarray.Dataset
        That of `open_g2`, with ``g2`` pooled from the pixels (it equals the producer's to single precision), ``g2_err``
        its standard error from the scatter of the clusters, and ``g2_cluster (file, qbin, cluster, delay)`` float32,
        NaN where a bin has fewer clusters; coordinate ``n_clusters (qbin)``, or ``(file, qbin)`` if files differ. Lazy,
        one task a file, unless `source` is an eager Dataset; a task reads the sums a few delays at a time, each chunk
        once, and takes beside its block some 80 bytes for each pixel of the detector, whatever the number of delays.

        With `qmap` all that belongs to bins is new: ``qbin``, ``q``, ``phi``, ``n_pixels``, ``curve_id``, and ``rate``
        from the mean intensity of each pixel. What was there along ``qbin``, and maps, are dropped.

    Raises
    ------
    FileRejected
        For a file without the sums or the maps, with another detector than that of `qmap`, or with an empty bin.
    ConfigError
        For a value that means nothing.
    MemoryBudgetError
        For clusters of one file that do not fit into `memory`; `write_regrouped` needs no such room.

    Notes
    -----
    Pixels closer than a speckle are correlated; then choose segments. With P clusters, use Student's t with P - 1
    degrees of freedom. Beam fluctuations that all pixels share are not in this scatter: compare repeats (`average`).
    The producer keeps sums at short delays with about three digits (bfloat16), of which g2 is made as well.

    Examples
    --------
    >>> data = regroup("results/run_results.hdf", by="segment", segments=32)  # doctest: +SKIP
    """
    check_settings(by, segments, kind)
    bins = None if qmap is None else as_qmap(qmap)
    data = source if isinstance(source, xr.Dataset) else opened(source, bins)[0]
    data, sums, _ = prepared(data, bins, by, segments, kind)
    check_fits(data, sums, memory)
    packed = _packed(data, sums, data["g2"].chunks is not None)
    return labelled(data, sums, packed[:, 0], packed[:, 1], packed[:, 2:].swapaxes(1, 2))


def check_settings(by: Any, segments: int, kind: Any) -> None:
    """Refuse values that mean nothing."""
    for name, value, known in (("by", by, get_args(By)), ("kind", kind, get_args(Kind))):
        if value not in known:
            raise ConfigError(f"{name}: {value!r} is none of {', '.join(map(repr, known))}")
    if segments < 2:
        raise ConfigError(f"segments is {segments}; scatter needs at least 2")


def prepared(
    data: xr.Dataset,
    bins: xr.Dataset | None,
    by: By,
    segments: int,
    kind: Kind,
    on_error: Literal["raise", "skip"] = "raise",
) -> tuple[xr.Dataset, list[PixelSums], list[FileRejected]]:
    """Give `data` with the bins that are asked for, the sums of each of its files, and files that are left out."""
    data = with_coords(data)
    if not {"path", "content_hash"} <= set(data.coords) or data["g2"].dims != ("file", "qbin", "delay"):
        raise ConfigError("regroup takes files, or a Dataset (file, qbin, delay) of open_g2 with the coordinate 'path'")
    labels = [int(label) for label in data["qbin"].values]
    finder = Finder(labels, data.sizes["delay"], by, segments, kind, None if bins is None else regions_of(bins))
    sums: list[PixelSums] = []
    errors: list[FileRejected] = []
    kept: list[int] = []
    for number, path in enumerate(data["path"].values):
        try:
            sums.append(finder.find(str(path)))
            kept.append(number)
        except FileRejected as error:
            if on_error == "raise":
                raise
            errors.append(error)
    if errors:
        data = data.isel(file=kept)
    return (data if bins is None or not sums else rebinned(data, bins, sums)), sums, errors


def check_fits(data: xr.Dataset, sums: Sequence[PixelSums], memory: int | str | None) -> None:
    """Refuse clusters of one file that do not fit into `memory`."""
    limit = allowed(memory)
    need = block_bytes(data, sums)
    if need > limit:
        raise MemoryBudgetError(
            f"one file with {most_clusters(sums)} clusters in each of {data.sizes['qbin']} bins",
            need,
            limit,
            "take by='segment' with fewer segments, select bins, give more memory=, or write a stack with "
            "write_regrouped (xpcs-dask regroup), which holds a few delays at a time",
        )


def block_bytes(data: xr.Dataset, sums: Sequence[PixelSums]) -> int:
    """Bytes of g2, errors and clusters of one file."""
    return 4 * (most_clusters(sums) + 2) * data.sizes["qbin"] * data.sizes["delay"]


def most_clusters(sums: Sequence[PixelSums]) -> int:
    """Clusters of the bin that has most."""
    return max(max(one.clusters()) for one in sums)


def _run_files(files: NDArray[Any], most: int, delays: int) -> NDArray[np.float32]:
    return np.stack([block(sums, most, delays) for sums in files])


def _packed(data: xr.Dataset, sums: Sequence[PixelSums], lazy: bool) -> Any:
    """(file, 2 + cluster, qbin, delay): g2, error, clusters; one task a file if lazy."""
    most, delays = most_clusters(sums), data.sizes["delay"]
    files = np.empty(len(sums), dtype=object)
    files[:] = sums
    if not lazy:
        return _run_files(files, most, delays)
    names = ((one.place.path, one.place.state, one.regions.key, one.by, one.segments, one.kind) for one in sums)
    token = tokenize(most, delays, *names)
    return da.map_blocks(
        _run_files,
        da.from_array(files, chunks=1, name=f"xpcs-pixels-{token}"),
        most,
        delays,
        name=f"xpcs-regroup-{token}",
        chunks=((1,) * files.size, (most + 2,), (data.sizes["qbin"],), (delays,)),
        new_axis=[1, 2, 3],
        dtype=np.float32,
        meta=np.empty((0,) * 4, np.float32),
    )


def labelled(data: xr.Dataset, sums: Sequence[PixelSums], g2: Any, g2_err: Any, clusters: Any) -> xr.Dataset:
    """Put the arrays in the place of those of the files: (file, qbin, delay) twice, (file, qbin, cluster, delay)."""
    dims, by, kind = ("file", "qbin", "delay"), sums[0].by, sums[0].kind
    attrs = {"units": "1", "long_name": f"intensity correlation of each {by} of the bin", "kind": kind}
    number = np.array([one.clusters() for one in sums])
    same = (number == number[0]).all()
    counted = xr.Variable(
        "qbin" if same else ("file", "qbin"), number[0] if same else number, {"units": "1", "long_name": "clusters"}
    )
    text = {"g2": "intensity correlation g2, pooled from its pixels", "g2_err": f"standard error, scatter of each {by}"}
    out = data.assign(
        g2=xr.Variable(dims, g2, {"units": "1", "long_name": text["g2"]}),
        g2_err=xr.Variable(dims, g2_err, {"units": "1", "long_name": text["g2_err"]}),
        g2_cluster=xr.Variable(("file", "qbin", "cluster", "delay"), clusters, attrs),
    )
    settings = {"by": by, "kind": kind} | ({"segments": sums[0].segments} if by == "segment" else {})
    return out.assign_coords(n_clusters=counted).assign_attrs(
        regrouped_by=by, regrouped_kind=kind, regrouped=json.dumps(settings)
    )
