"""Multi-tau correlation of counts per pixel, normalised as boost-corr does or pixel by pixel.

Counts are whole numbers and channels are means of 2**level frames, so all sums are exact in float64: the order of
additions does not matter, and a block of pixels gives the same bits as each pixel alone.

References
----------
K. Schätzel, M. Drewel and S. Stimac, J. Mod. Opt. 35, 711 (1988), symmetric normalisation; boost-corr 0.1.7.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.simulate.multitau import Schedule

Floats: TypeAlias = NDArray[np.float64]
Normalization: TypeAlias = Literal["pooled", "pixel"]


def correlate(counts: Floats, plan: Schedule) -> Floats:
    """Return the means of products, past and future intensity: G2, IP, IF.

    Parameters
    ----------
    counts
        ``(pixel, frame)`` whole numbers.
    plan
        Delays that fit the number of frames.

    Returns
    -------
    ndarray
        ``(3, pixel, delay)``; at each delay the means run over its ``n_products`` pairs of channels.
    """
    channels, level = counts, 0
    total = channels.sum(axis=1)
    sums = np.empty((3, len(counts), plan.delay.size))
    for k, (delay, wanted, n) in enumerate(zip(plan.delay, plan.level, plan.n_products, strict=True)):
        while level < wanted:
            even = channels.shape[1] // 2 * 2
            channels = 0.5 * (channels[:, 0:even:2] + channels[:, 1:even:2])
            total, level = channels.sum(axis=1), level + 1
        lag = int(delay) >> level
        sums[0, :, k] = np.einsum("ij,ij->i", channels[:, :-lag], channels[:, lag:])
        sums[1, :, k] = total - channels[:, -lag:].sum(axis=1)
        sums[2, :, k] = total - channels[:, :lag].sum(axis=1)
        sums[:, :, k] /= n
    return sums


def pixel_g2(sums: Floats) -> Floats:
    """Return g2 of each pixel, ``G2 / (IP * IF)``, ``(pixel, delay)``; NaN where a pixel saw nothing."""
    expected = sums[1] * sums[2]
    return np.divide(sums[0], expected, out=np.full(expected.shape, np.nan), where=expected > 0)


def bin_g2(sums: Floats, normalization: Normalization = "pooled") -> tuple[Floats, Floats]:
    """Return g2 of a bin and its quoted error ``(delay,)`` from the sums of its pixels.

    ``"pooled"`` is boost-corr's: ``mean(G2) / (mean(IP) * mean(IF))`` over the pixels of a static bin, yet the error is
    the scatter of the pixels' own g2 (with 0 for pixels that saw nothing) over the root of their number. ``"pixel"`` is
    the mean and standard error of the g2 of pixels that saw something. Both are 0 where no coincidence was counted, and
    the pooled g2 is 0 too where the bin saw nothing.
    """
    single = pixel_g2(sums)
    if normalization == "pixel":
        lit = np.isfinite(single)
        n = np.maximum(lit.sum(axis=0), 1)
        g2 = np.where(lit, single, 0.0).sum(axis=0) / n
        variance = np.where(lit, single - g2, 0.0) ** 2 / np.maximum(n - 1, 1)
        return g2, np.sqrt(variance.sum(axis=0) / n)
    single = np.where(np.isfinite(single), single, 0.0)
    products, past, future = sums.mean(axis=1)
    expected = past * future
    g2 = np.divide(products, expected, out=np.zeros_like(expected), where=expected > 0)
    ddof = 1 if len(single) > 1 else 0
    return g2, single.std(axis=0, ddof=ddof) / np.sqrt(len(single))
