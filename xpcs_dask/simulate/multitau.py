"""The multi-tau schedule of boost-corr: delays of a run of given length, their levels and numbers of products.

Delays are 1..8 frames, then 5..8 times 2, 4, 8 and so on; beyond 8 frames are averaged in groups of 2**level.
Levels and products come from `xpcs_dask.io.counting`, which readers use on the delays of any file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.errors import ConfigError
from xpcs_dask.io import counting

Integers = NDArray[np.int64]

CHANNELS = 8
"""Delays of level 0; each further level adds the upper half of as many."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Delays of one run, all arrays ``(delay,)`` int64."""

    delay: Integers
    """In correlated frames (after stride and averaging)."""
    level: Integers
    """Frames are averaged in groups of ``2**level`` before they are multiplied."""
    n_products: Integers
    """Products that are averaged: ``frames // 2**level - delay // 2**level``, at least 1."""


def schedule(frames: int) -> Schedule:
    """Return every delay that a run of `frames` correlated frames reaches.

    Parameters
    ----------
    frames
        Frames after stride and averaging, at least 2.

    Raises
    ------
    ConfigError
        If the run is too short to have one delay.
    """
    if frames < 2:
        raise ConfigError(f"a run of {frames} correlated frames has no delay; it needs at least 2")
    delays: list[int] = []
    for level in range(int(frames).bit_length()):
        first = 1 if level == 0 else CHANNELS // 2 + 1
        delays.extend(channel << level for channel in range(first, CHANNELS + 1) if channel < frames >> level)
    delay = np.array(delays, dtype=np.int64)
    level_of, products = counting.schedule(delay, frames)
    return Schedule(delay, level_of.astype(np.int64), products.astype(np.int64))
