"""What counting statistics need from a correlator: its schedule of delays, and how many coincidences it should see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.io.reader import Floats


def schedule(delay: NDArray[np.int64], frames: float) -> tuple[Floats, Floats]:
    """Level and number of products of each delay of a multi-tau list.

    The list runs 1, 2, .., 2m and then over multiples of 2**level up to 2m * 2**level (boost-corr: m = 4). At a level
    the record is frames // 2**level channels long, and that many products less the delay, in channels, are averaged.

    Parameters
    ----------
    delay : (delay,) int64
        Delays in correlated frames.
    frames : float
        Frames after stride and averaging; NaN if not known.

    Returns
    -------
    level, products : (delay,) float64
        NaN throughout where the list is of another kind or does not fit the number of frames.
    """
    nothing = np.full(delay.size, np.nan)
    if delay[0] != 1 or (np.diff(delay) < 1).any() or delay[-1] >= 2**62:
        return nothing, nothing
    level = np.zeros(delay.size, np.int64)
    jumps = np.flatnonzero(np.diff(delay) != 1)
    linear = delay[jumps[0]] if jumps.size else delay[-1]
    while (late := delay > linear << level).any():
        level[late] += 1
    if (delay % (1 << level)).any():
        return nothing, nothing
    if not np.isfinite(frames):
        return level.astype(float), nothing
    products = (int(frames) >> level) - (delay >> level)
    return level.astype(float), products.astype(float) if (products >= 1).all() else nothing


def nested_bins(
    dynamic: NDArray[np.integer], static: NDArray[np.integer], bins: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels of each static bin and the dynamic bin that it lies in.

    Parameters
    ----------
    dynamic, static : (row, column) integers
        Labels from 1 of the bins of each pixel; 0 is masked.
    bins : int
        Number of static bins.

    Returns
    -------
    pixels, parent : (static bin,) int64
        Parent is 0 where a static bin is empty or lies outside every dynamic bin, -1 where it lies across several.
    """
    width = int(dynamic.max()) + 1
    both = static.ravel().astype(np.int64) * width + dynamic.ravel().astype(np.int64)
    pairs = np.bincount(both, minlength=(bins + 1) * width).reshape(bins + 1, width)[1:]
    parent = np.where((pairs > 0).sum(1) > 1, -1, pairs.argmax(1))
    return pairs.sum(1), parent


def pair_rate(pixels: NDArray[np.int64], parent: NDArray[np.int64], counts: Floats, bins: int) -> Floats:
    """Coincidences expected per product at level 0 for g2 = 1, in each dynamic bin.

    boost-corr normalises each of the S static bins of a dynamic bin by its own mean and takes the plain mean over them,
    so that the rate is S**2 / sum(1 / (pixels * counts**2)). A bin without photons has rate 0.

    Parameters
    ----------
    pixels, parent : (static bin,) int64
        From `nested_bins`.
    counts : (static bin,) float64
        Mean counts per pixel and correlated frame.
    bins : int
        Number of dynamic bins.

    Returns
    -------
    (bins,) float64
        NaN where no static bin lies inside or where counts are not numbers; NaN throughout where bins are not nested.
    """
    if (parent < 0).any():
        return np.full(bins, np.nan)
    used = parent > 0
    with np.errstate(divide="ignore"):
        variance = 1.0 / (pixels[used] * counts[used] ** 2)
    total = np.bincount(parent[used], variance, bins + 1)[1:]
    number = np.bincount(parent[used], minlength=bins + 1)[1:]
    rate = np.full(bins, np.nan)
    return np.divide(number**2, total, out=rate, where=number > 0)
