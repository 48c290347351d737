"""Quantiles of replicates as order statistics, and how well a finite number of replicates knows them."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtri

from xpcs_dask.fitting.models import Floats

NORMAL_95 = 1.959963984540054


def quantile(ordered: Floats, count: Floats, fraction: Any) -> Floats:
    r"""Quantiles of many samples: the order statistic of rank :math:`(B+1)f`, linear between neighbours.

    Parameters
    ----------
    ordered : array, shape (…, B)
        Samples in rising order, NaN last.
    count : array, shape (…)
        How many are not NaN.
    fraction : array_like, broadcast to (…)
        Of the distribution, 0 to 1. A rank below 1 or above `count` gives the extreme replicate.

    Returns
    -------
    array, shape (…)
        NaN where there is no sample. R's type 6, NumPy's ``method="weibull"`` (Hyndman and Fan, Am. Stat. 50, 361
        (1996)): the smallest of 19 replicates is the 5 % quantile, as a test at that level needs it.
    """
    return _at_rank(ordered, count, (count + 1.0) * fraction)


def _at_rank(ordered: Floats, count: Floats, rank: Floats) -> Floats:
    rank = np.clip(np.nan_to_num(rank, nan=1.0), 1.0, np.maximum(count, 1.0))
    below = np.floor(rank).astype(np.intp)
    share = rank - below
    low = np.take_along_axis(ordered, below[..., None] - 1, axis=-1)[..., 0]
    high = np.take_along_axis(ordered, np.minimum(below, ordered.shape[-1] - 1)[..., None], axis=-1)[..., 0]
    return np.where(share > 0, low + share * (high - low), low)


def sparsity(ordered: Floats, count: Floats, fraction: Floats) -> Floats:
    """One over the density of the samples at a quantile, from the distance of two order statistics around it.

    Their ranks are as far apart as Hall and Sheather (J. R. Stat. Soc. B 50, 381 (1988)) advise for intervals of a
    quantile; in a tail this is on the large side, so that few replicates are not taken for enough.
    """
    total = np.maximum(count, 1.0)
    inside = np.clip(fraction, 1.0 / (total + 1.0), total / (total + 1.0))
    z = ndtri(inside)
    density = np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)
    width = NORMAL_95 ** (2 / 3) * np.cbrt(1.5 * density**2 / ((2.0 * z * z + 1.0) * total))
    low = np.clip((total + 1.0) * (inside - width), 1.0, total)
    high = np.clip((total + 1.0) * (inside + width), 1.0, total)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (_at_rank(ordered, count, high) - _at_rank(ordered, count, low)) * (total + 1.0) / (high - low)
    return np.where(count > 1, found, np.nan)
