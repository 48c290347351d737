"""What the noise of a multi-tau g2 is like: counting, speckle statistics, and an error estimated from few pixels.

Everything is per curve (leading axes) and delay (last axis); times in correlated frames. Speckle noise follows the
variance of a correlation function measured over a finite time (Bartlett's formula for Gaussian noise), averaged over
pixels; it is strongly correlated between neighbouring delays. Counting noise is independent between delays. Against
frames simulated pixel by pixel (contrast 1/4, 0.5 photon per frame) the size is right to 15 %, the correlation of
neighbours comes out at 0.40 instead of 0.47: speckle intensities are not Gaussian.

References
----------
E. Jakeman, E. R. Pike and S. Swain, J. Phys. A 4, 517 (1971); K. Schätzel, Quantum Opt. 2, 287 (1990).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.simulate.multitau import Schedule

Floats = NDArray[np.float64]

SATURATED = 10.0
"""Counts per pixel and channel above which no pixel is ever dark."""
DIM_COLLAPSE = 0.7
"""Share of the counting variance that the pixel scatter misses where one product is left (quoted / true is 0.55)."""


def coincidences(plan: Schedule, pixels: Floats, counts: Floats) -> Floats:
    """Return the expected coincidences ``(…, delay)`` at g2 = 1: ``pixels * counts**2 * n_products * 4**level``.

    `pixels` and `counts` (mean per pixel and correlated frame) are ``(…,)``.
    """
    return (pixels * counts**2)[..., None] * (plan.n_products * 4.0**plan.level)


def speckle(plan: Schedule, contrast: Floats, tau: Floats, pixels: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Return variance ``(…, delay)`` and correlation with the next delay ``(…, delay - 1)`` of the speckle noise.

    Parameters
    ----------
    plan
        Delays, levels and products.
    contrast, tau, pixels, counts
        ``(…,)``: decay ``contrast * exp(-2 t / tau)``, tau in correlated frames; pixels that are averaged; mean counts
        per pixel and correlated frame (they mix speckle and counting noise).
    """
    delay: Floats = plan.delay.astype(np.float64)
    width: Floats = np.exp2(plan.level)
    length = plan.n_products * width
    a, gamma = contrast[..., None], 2.0 / tau[..., None]
    mixed = 2.0 * a / counts[..., None]

    def covariance(lag: Floats, wide: Floats, span: Floats) -> Floats:
        shared = _channel_mean(lag, wide, gamma)
        return (a**2 * (1.0 / gamma + np.maximum(lag - wide, 0.0)) * shared + mixed * shared) / span

    near = covariance(np.zeros_like(delay), width, length) + covariance(2 * delay, width, length)
    wide, span = np.maximum(width[1:], width[:-1]), np.maximum(length[1:], length[:-1])
    next_one = covariance(np.diff(delay), wide, span) + covariance(delay[1:] + delay[:-1], wide, span)
    scale = np.sqrt(near[..., 1:] * near[..., :-1])
    correlation = np.divide(next_one, scale, out=np.zeros_like(scale), where=scale > 0)  # no contrast, no speckle
    return near / pixels[..., None], np.clip(correlation, 0.0, 0.999)


def _channel_mean(lag: Floats, wide: Floats, gamma: Floats) -> Floats:
    """Mean of exp(-gamma |t|) over two channels of width `wide` that are `lag` apart (0, or at least one width)."""
    u = gamma * wide
    same = 2.0 * (u - 1.0 + np.exp(-u)) / u**2
    apart = (np.expm1(-u) / u) ** 2 * np.exp(-gamma * np.maximum(lag - wide, 0.0))
    return np.where(lag < wide, np.where(u < 1e-4, 1.0 - u / 3.0, same), apart)


def walk(z: Floats, correlation: Floats) -> Floats:
    """Turn independent normals ``(…, delay)`` into a Markov chain along the delays, variance 1."""
    chain = np.array(z, dtype=np.float64)
    fresh = np.sqrt(1.0 - correlation**2)
    for k in range(1, z.shape[-1]):
        chain[..., k] = correlation[..., k - 1] * chain[..., k - 1] + fresh[..., k - 1] * z[..., k]
    return chain


def scatter_estimate(z: Floats, pixels: Floats) -> Floats:
    """Return (sample variance over `pixels`) / (true variance) for a normal deviate `z`: chi2 with pixels - 1 degrees.

    Wilson and Hilferty's cube root (Proc. Natl. Acad. Sci. 17, 684 (1931)) keeps the deviates a smooth function of z.
    """
    small = 2.0 / (9.0 * np.maximum(pixels - 1.0, 1.0))[..., None]
    return np.maximum(1.0 - small + z * np.sqrt(small), 0.0) ** 3


def collapse(plan: Schedule) -> tuple[Floats, Floats]:
    """Return the shares ``(delay,)`` of speckle and counting variance that a scatter of pixel ratios still shows.

    A pixel's g2 is normalised by its own intensities in the same products: with one product it is 1 whatever happened.
    """
    return 1.0 - 1.0 / plan.n_products, 1.0 - DIM_COLLAPSE / plan.n_products
