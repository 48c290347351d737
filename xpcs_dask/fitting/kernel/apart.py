"""Scratch memory that lies apart from all other arrays, so that sums have the same last bit wherever it lies.

Before a loop that writes one array and reads another LLVM looks whether the two begin within some hundred bytes of
each other, and takes a loop without SIMD if so, which sums in another order. With AVX-512 that is met by arrays of a
few dozen delays that the allocator happened to put side by side.
"""

from __future__ import annotations

import numpy as np

from xpcs_dask.fitting.kernel.compiled import compiled

__all__ = ["AWAY", "apart", "empty_apart"]

AWAY = 64
"""Numbers of float64 that are left free on both sides: 512 bytes, eight vectors of the widest registers."""


def apart(*shape: int) -> np.ndarray:
    """Zeros of a shape, contiguous."""
    size = int(np.prod(shape))
    return np.zeros(size + 2 * AWAY)[AWAY : AWAY + size].reshape(shape)


@compiled
def empty_apart(n):
    """Memory for n numbers, inside kernels."""
    return np.empty(n + 2 * AWAY)[AWAY : AWAY + n]
