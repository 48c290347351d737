"""What robust fits of many bins take in memory, block after block, measured on model "single" with all diagnostics."""

from __future__ import annotations

import numpy as np

from xpcs_dask.fitting.adaptive import GROUP_BYTES
from xpcs_dask.toolkit.block_fits import BLOCK

__all__ = ["bytes_of_fits"]

DELAYS = (0, 15, 30, 45, 61, 90, 120, 200, 400)
PEAK = (1.3, 2.7, 4.1, 5.6, 7.0, 7.8, 8.3, 8.9, 12.9)
"""MB that fitting a whole block of curves takes, by their delays; beyond the last it grows in proportion."""
BIN = 900
"""Bytes of that which each bin takes, at least."""
LOOKED_AT = 16_384
"""Points that diagnostics look at in one go; fewer take less."""
RESULT, INTERVAL = 455, 90
"""Bytes of a bin's results, and more with intervals from refits, while blocks are put together."""
REFIT, PARENT, POINT = 200, 2_400, 12
"""Bytes of one refit, and beside of a bin that is refitted and of each of its delays."""
PARAMETERS = 4


def bytes_of_fits(delays: int, bins: int, samples: int) -> int:
    """Return the bytes that fits of `bins` curves, and `samples` refits of each, take beside their input."""
    block = min(bins, BLOCK)
    whole = (RESULT + INTERVAL * (samples > 0)) * bins + 200_000 if bins > BLOCK else 0
    fitting = _fitting(delays, block)
    refitting = 0
    if samples:
        together = min(block, max(1, GROUP_BYTES // (8 * PARAMETERS * samples)))
        refitting = together * samples * REFIT + block * (PARENT + POINT * delays)
    return int(whole + max(fitting, refitting))


def _fitting(delays: int, block: int) -> float:
    full = 1e6 * float(np.interp(delays, DELAYS, PEAK)) * max(1.0, delays / DELAYS[-1])
    base = full - BIN * BLOCK
    return base * min(1.0, block * delays / LOOKED_AT) + BIN * block
