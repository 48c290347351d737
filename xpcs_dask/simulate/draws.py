"""Random numbers that depend on what is drawn, never on the order: one Philox block per (seed, stream, file, bin).

Normal and Poisson deviates are made from raw 64-bit words by inversion, one word each, so that no new version of a
library's own samplers changes a simulated data set.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, pdtr, pdtrik

from xpcs_dask.errors import ConfigError

Floats = NDArray[np.float64]

LARGE = 1e7
"""Mean above which a Poisson deviate is a rounded normal one (they differ by less than a thousandth of a deviation)."""


def uniforms(seed: int, stream: int, file: int, qbin: int, size: int) -> Floats:
    """Return `size` uniform deviates strictly inside (0, 1), the same for the same four keys on any machine.

    Parameters
    ----------
    seed
        Of the data set, 0 <= seed < 2**64.
    stream
        What is drawn (each kind of noise has its own number).
    file, qbin
        Whose it is; both must not be negative.
    size
        Deviates wanted; a longer draw begins with the shorter one.

    References
    ----------
    J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11 (2011), doi:10.1145/2063384.2063405.
    """
    if min(seed, stream, file, qbin) < 0 or seed >= 2**64:
        raise ConfigError(
            f"seed {seed}, stream {stream}, file {file} and qbin {qbin} must not be negative, the seed below 2**64"
        )
    words = np.random.Philox(key=[seed, stream], counter=[0, 0, qbin, file]).random_raw(size)
    return ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def normal(uniform: Floats) -> Floats:
    """Return standard normal deviates from uniform ones."""
    return np.asarray(ndtri(uniform), dtype=np.float64)


def poisson(uniform: Floats, mean: Floats) -> Floats:
    """Return Poisson deviates from uniform ones: the smallest count whose cumulated probability reaches `uniform`."""
    uniform, mean = np.broadcast_arrays(np.asarray(uniform, np.float64), np.asarray(mean, np.float64))
    count = np.zeros(mean.shape)
    some, many = (mean > 0) & (mean < LARGE), mean >= LARGE
    count[many] = np.maximum(np.rint(mean[many] + np.sqrt(mean[many]) * ndtri(uniform[many])), 0.0)
    some &= uniform > np.exp(-np.where(some, mean, 0.0))
    u, m = uniform[some], mean[some]
    k = np.ceil(pdtrik(u, m))
    k = np.where((k > 0) & (pdtr(np.maximum(k - 1, 0), m) >= u), k - 1, k)
    count[some] = k
    return count
