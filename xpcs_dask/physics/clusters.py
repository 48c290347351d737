r"""g2 of a bin and of clusters of its pixels from their sums: pooled as boost-corr does, linearised or as ratios.

A dynamic bin consists of S static bins. With the means G, P and F of static bin s over its pixels,
:math:`g_s = G_s / (P_s F_s)` and the bin has :math:`g_2 = S^{-1} \sum_s g_s` (boost-corr 0.1.7). To first order pixel p
of s moves it by :math:`d_p = G_p / (P_s F_s) - g_s (P_p / P_s + F_p / F_s)`, divided by S times the pixels of s; the
mean of d over s is :math:`-g_s` (influence function: Davison and Hinkley, Bootstrap Methods, 1997, section 2.7).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Sums: TypeAlias = NDArray[np.floating]
Integers: TypeAlias = NDArray[np.int32]
By: TypeAlias = Literal["pixel", "segment", "static"]
Kind: TypeAlias = Literal["linear", "ratio"]

PIECE = 2**16
"""Values that are worked on at a time in double precision; the bits do not depend on it."""


@dataclass(frozen=True)
class BinPixels:
    """Pixels of one dynamic bin, ordered by static bin and then by place on the detector."""

    pixel: Integers
    """(pixel,) flat positions."""
    static: Integers
    """(pixel,) 0, 1, ... S - 1: which of its static bins each lies in."""
    cluster: Integers
    """(pixel,) which cluster each belongs to."""
    clusters: int

    @cached_property
    def in_static(self) -> Floats:
        """(S,) pixels of each static bin."""
        return np.bincount(self.static).astype(np.float64)


def all_bins(
    dynamic: NDArray[np.integer], static: NDArray[np.integer], labels: Sequence[int], by: By, segments: int
) -> list[BinPixels]:
    """Pixels of the dynamic bins `labels`, put into clusters.

    ``"pixel"`` makes each pixel one, ``"static"`` each static bin, ``"segment"`` cuts every static bin into `segments`
    parts of neighbouring pixels, the k-th parts being cluster k: each cluster is a small copy of the bin.
    """
    flat, parent = dynamic.ravel(), static.ravel()
    inside = np.flatnonzero(np.isin(flat, np.asarray(labels)))
    order = inside[np.lexsort((parent[inside], flat[inside]))].astype(np.int32)
    ends = [np.searchsorted(flat[order], label, side) for label in labels for side in ("left", "right")]
    pairs = zip(ends[::2], ends[1::2], strict=True)
    return [_clusters(order[a:b], parent[order[a:b]], by, segments) for a, b in pairs]


def _clusters(pixel: Integers, static: NDArray[np.integer], by: By, segments: int) -> BinPixels:
    names, parent = np.unique(static, return_inverse=True)
    if by == "pixel":
        cluster, clusters = np.arange(pixel.size), pixel.size
    elif by == "static":
        cluster, clusters = parent, names.size
    else:
        clusters = min(segments, pixel.size)
        sizes = np.bincount(parent, minlength=names.size)
        rank = np.arange(pixel.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        cluster = rank * clusters // np.repeat(sizes, sizes)
    return BinPixels(pixel, parent.astype(np.int32), cluster.astype(np.int32), clusters)


def pooled(sums: Sums, bin_: BinPixels) -> tuple[Floats, Floats, Floats]:
    """g2 of the bin, and g2 and means of its static bins.

    Parameters
    ----------
    sums : (3, delay, pixel) float32 or float64
        Mean products, past and future intensity of each pixel of the bin.

    Returns
    -------
    g2 : (delay,)
    of_static : (delay, S)
    means : (3, delay, S)
        A static bin without counts has g2 = 0, as the producer gives it.
    """
    means = _sum_by(sums, bin_.static, bin_.in_static.size) / bin_.in_static
    of_static = _ratio(means, 0.0)
    return of_static.mean(axis=-1), of_static, means


def cluster_g2(sums: Sums, bin_: BinPixels, by: By, kind: Kind) -> tuple[Floats, Floats]:
    """g2 of the bin (delay,) and of its clusters (delay, cluster), from `sums` as `pooled` takes them.

    Values of kind ``"linear"`` have the mean g2 exactly, and their variance over their number is that of g2.
    """
    g2, of_static, means = pooled(sums, bin_)
    if by == "static":
        return g2, of_static
    if kind == "linear":
        moved = _influence(sums, bin_, of_static, means, by)
        moved += g2[:, None]
        return g2, moved
    if by == "pixel":
        single = np.empty(sums.shape[1:])
        for at in _pieces(sums):
            single[:, at] = _ratio(sums[..., at].astype(np.float64), np.nan)
        return g2, single
    return g2, _segment_ratios(sums, bin_)


def _segment_ratios(sums: Sums, bin_: BinPixels) -> Floats:
    """(delay, cluster): each segment pooled like a bin of its own, over the static bins in which it saw light."""
    statics = bin_.in_static.size
    both = bin_.cluster.astype(np.int64) * statics + bin_.static
    number = np.bincount(both, minlength=bin_.clusters * statics).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = _sum_by(sums, both, number.size) / number
    parts = np.where(number > 0, parts, np.nan).reshape(3, -1, bin_.clusters, statics)
    ratio = _ratio(parts, 0.0)
    ratio[np.isnan(parts[0])] = np.nan
    held = np.isfinite(ratio)
    total, count = np.where(held, ratio, 0.0).sum(axis=-1), held.sum(axis=-1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _influence(sums: Sums, bin_: BinPixels, of_static: Floats, means: Floats, by: By) -> Floats:
    """(delay, cluster) what each cluster adds to g2, times the number of clusters; its mean is 0.

    Single pixels are scaled up by the degrees of freedom that their static bins take, so that the plain formula for
    the standard error of a mean is right for the stratified one too.
    """
    size = bin_.in_static
    safe = np.where(means > 0, means, np.inf)  # a dark static bin moves nothing
    scale = bin_.pixel.size / (size.size * size)
    if by == "pixel" and bin_.pixel.size > 1:
        scale = scale * np.sqrt(np.where(size > 1, size / np.maximum(size - 1, 1), 1.0))
        scale = scale * np.sqrt((bin_.pixel.size - 1) / bin_.pixel.size)
    out = np.zeros((sums.shape[1], bin_.clusters))
    for at in _pieces(sums):
        inside, part = bin_.static[at], sums[..., at].astype(np.float64)
        g, products, past, future = (a[:, inside] for a in (of_static, safe[1] * safe[2], safe[1], safe[2]))
        moved = part[0] / products - g * (part[1] / past + part[2] / future) + g
        moved *= scale[inside]
        if by == "pixel":
            out[:, at] = moved
        else:
            _add_by(out, moved, bin_.cluster[at])
    return out if by == "pixel" else out * (bin_.clusters / bin_.pixel.size)


def standard_error(clusters: Floats) -> Floats:
    """Give the standard error of the mean over the last axis from its scatter, NaN left out; NaN for fewer than two."""
    held = np.isfinite(clusters)
    number = held.sum(axis=-1)
    safe = np.maximum(number, 1)
    square = np.where(held, clusters, 0.0)
    square -= (square.sum(axis=-1) / safe)[..., None]
    square[~held] = 0.0
    square *= square
    return np.where(number > 1, np.sqrt(square.sum(axis=-1) / (safe * np.maximum(number - 1, 1))), np.nan)


def _ratio(sums: Floats, dark: float) -> Floats:
    """G2 / (IP IF) over the first axis; `dark` where there was no light."""
    expected = sums[1] * sums[2]
    return np.divide(sums[0], expected, out=np.full(expected.shape, dark), where=expected > 0)


def _sum_by(values: Sums, group: NDArray[np.integer], groups: int) -> Floats:
    """Add over the last axis what belongs to each group, in order of the values."""
    out = np.zeros((*values.shape[:-1], groups))
    flat, rows = values.reshape(-1, values.shape[-1]), out.reshape(-1, groups)
    for at in _pieces(flat):
        _add_by(rows, flat[:, at], group[at])
    return out


def _add_by(out: Floats, values: Sums, group: NDArray[np.integer]) -> None:
    """Go on adding ``values (row, value)`` to ``out (row, group)``: the bits are those of all values in one go."""
    index = np.concatenate([np.arange(out.shape[1]), group])
    for total, row in zip(out, values, strict=True):
        total[:] = np.bincount(index, np.concatenate([total, row]))


def _pieces(values: Sums) -> Iterator[slice]:
    """Cut the last axis so that a piece of all rows has about `PIECE` values."""
    length = values.shape[-1]
    width = max(1, PIECE * length // max(values.size, 1))
    return (slice(first, first + width) for first in range(0, length, width))
