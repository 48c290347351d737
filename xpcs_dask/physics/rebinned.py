"""What is known of curves in new bins: coordinates from the new q-map and the intensity of each pixel."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xpcs_dask.io.counting import pair_rate
from xpcs_dask.io.formats import identify
from xpcs_dask.io.index import Progress
from xpcs_dask.io.lazy import curves
from xpcs_dask.io.open import OnError, one_series, open_g2, read_all
from xpcs_dask.io.places import places
from xpcs_dask.io.reader import NOTHING, FileInfo, curve_ids, unknown
from xpcs_dask.io.schema import VARIABLES
from xpcs_dask.io.series import Series, group, to_dataset
from xpcs_dask.io.sources import Source
from xpcs_dask.io.stack import stack_of
from xpcs_dask.physics.pixel_sums import PixelSums
from xpcs_dask.physics.regions import regions_of

OF_BINS = ("qbin", "static_bin")
"""Dimensions of what belongs to the bins of a file."""
MAPS = ("dynamic_map", "static_map")


def opened(
    source: Source,
    bins: xr.Dataset | None = None,
    *,
    split: bool = False,
    on_error: OnError = "raise",
    progress: Progress | None = None,
) -> list[xr.Dataset]:
    """Open files; with `bins` their own q-maps do not matter, and need not be the same.

    Parameters
    ----------
    source : path, glob or folder, or a list of these
    bins : Dataset, optional
        The new q-map.
    split : bool
        Return one Dataset for each q-map, frame time and delay grid, instead of refusing several.
    on_error, progress
        As in `open_g2`.

    Returns
    -------
    list of Dataset
        As `open_g2` returns them, lazy; those with `bins` have nothing in them.
    """
    if (stack := stack_of(source)) is not None:
        found = open_g2(stack, on_mismatch="split" if split else "raise")
        if isinstance(found, xr.Dataset):
            return [found]
        return [node.to_dataset(inherit=False).assign_attrs(found.attrs) for node in found.leaves]
    infos, notes = read_all(source, None, (), on_error, NOTHING, progress)
    if bins is not None:
        infos = [_with_bins(info, bins) for info in infos]
    found_series = group(infos) if split else [one_series(infos)]
    return [_dataset(series, bins is None).assign_attrs(notes) for series in found_series]


def _with_bins(info: FileInfo, bins: xr.Dataset) -> FileInfo:
    q, phi, labels = (bins[name].values for name in ("q", "phi", "qbin"))
    return replace(info, q=q, phi=phi, labels=labels, n_pixels=unknown(), rate=unknown())


def _dataset(series: Series, with_curves: bool) -> xr.Dataset:
    if with_curves:
        return to_dataset(series, *curves(series.infos, series.longest.shape, "auto"))
    shape = (len(series.infos), *series.longest.shape)
    nothing = da.full(shape, np.nan, dtype=np.float32, chunks=(1, *shape[1:]))
    return to_dataset(series, nothing, nothing)


def rebinned(data: xr.Dataset, bins: xr.Dataset, sums: Sequence[PixelSums]) -> xr.Dataset:
    """Give `data` the coordinates of new bins, and none of the old ones; g2 and its errors are to be assigned."""
    old = [name for name, variable in data.variables.items() if {*OF_BINS} & {*variable.dims} or name in MAPS]
    lazy = data["g2"].chunks is not None
    out = data.drop_vars(old)
    labels = bins["qbin"].values.astype(np.int64)
    number = int.from_bytes(key_of(bins), "little")
    hashes = out["content_hash"].values.astype(np.uint64) ^ np.uint64(number)
    values = {
        "qbin": labels,
        "q": bins["q"].values,
        "phi": bins["phi"].values,
        "n_pixels": np.array([[one.pixel.size for one in file.bins()] for file in sums], np.float64),
        "rate": np.stack([_rate(file, average) for file, average in zip(sums, _averages(out), strict=True)]),
        "curve_id": curve_ids(hashes[:, None], np.broadcast_to(labels, (len(sums), labels.size))),
    }
    coords = {name: (VARIABLES[name].dims, value, VARIABLES[name].attrs) for name, value in values.items()}
    shape = (len(sums), labels.size, data.sizes["delay"])
    nothing = da.zeros(shape, dtype=np.float32, chunks=-1) if lazy else np.broadcast_to(np.float32(0), shape)
    return (
        out.assign(g2=(VARIABLES["g2"].dims, nothing)).assign_coords(coords).assign_attrs(qmap=_described(bins, sums))
    )


def key_of(bins: xr.Dataset) -> bytes:
    """8 bytes that name a q-map: its maps, before pixels are left out, and where its bins are."""
    places = b"".join(bins[name].values.astype("<f8").tobytes() for name in ("q", "phi"))
    return hashlib.blake2b(regions_of(bins).key + places, digest_size=8).digest()


def _averages(data: xr.Dataset) -> NDArray[np.float64]:
    files = data.sizes["file"]
    return np.broadcast_to(data["average"].values if "average" in data.coords else 1.0, (files,)).astype(np.float64)


def _rate(sums: PixelSums, average: float) -> NDArray[np.float64]:
    """(qbin,) coincidences expected per product at level 0 for g2 = 1; NaN if the mean intensity is not stored.

    The sums do not tell it: the producer may have divided every frame by its mean.
    """
    path, bins = sums.place.path, sums.bins()
    held, _ = places(path, identify(path), "", ("scattering_2d",))
    place = held.get("scattering_2d")
    if place is None or place.shape != sums.place.shape[2:]:
        return np.full(len(bins), np.nan)
    mean = place.read(range(place.shape[0])).ravel().astype(np.float64) * average
    counts = [np.bincount(one.static, mean[one.pixel]) / one.in_static for one in bins]
    parent = np.repeat(np.arange(1, len(bins) + 1), [one.size for one in counts])
    pixels = np.concatenate([one.in_static for one in bins])
    return pair_rate(pixels.astype(np.int64), parent, np.concatenate(counts), len(bins))


def _described(bins: xr.Dataset, sums: Sequence[PixelSums]) -> str:
    asked = int((bins["dynamic_map"].values > 0).sum())
    used = [sum(one.pixel.size for one in file.bins()) for file in sums]
    return json.dumps(
        {
            "source": bins.attrs.get("source", "array"),
            "hash": key_of(bins).hex(),
            "bins": bins.sizes["qbin"],
            "pixels": asked,
            "masked_by_files": asked - min(used),
        }
    )
