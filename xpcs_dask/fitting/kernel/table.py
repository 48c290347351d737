"""Where a single fit starts: a table of decays over the common delays, for the compiled kernel and its NumPy twin.

All curves of a stack have the same delays, so the decays at a grid of (ln tau, stretch) are computed once; comparing a
curve with a node costs three weighted sums. That replaces guessing.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from xpcs_dask.fitting.models import Floats

N_TABLE = 16
"""Nodes in ln tau at stretch 1: what every curve is compared with."""
OTHER_STRETCHES = (0.5, 1.6, 2.6)
"""Further rows of the table, only for curves with a second start."""
CERTAIN = 60.0
"""Significance of the decay (F over a constant) above which one start was enough on every benchmark curve."""
FAST_STARTS, THOROUGH_STARTS = (1, 4), (3, 12)
"""Starts of a curve whose decay is significant, and of another: noise has many minima."""
SAME_TAU, SAME_STRETCH = 1.6, 0.7
"""Nodes nearer than this to a used start are the same basin."""
STRUCK = 1e300
"""Score of a node that was used."""
NO_START = 1e299
"""Stands for 'no start given': compiled code must not see NaN."""
SAME_MINIMUM, SUM_ROUNDING = 1e-6, 1e-13
"""Two minima are one if their chi2 differ by less than this share of it, or of the chi2 of a constant."""
SINGULAR = 1e-12
"""Pivot of the normal matrix, scaled to unit diagonal, below which parameters cannot be told apart."""


def log_delays(x: Floats) -> Floats:
    """Ln of the delays; zero (or negative) delay becomes very short, where no decay has begun."""
    return np.log(np.maximum(np.asarray(x, dtype=np.float64), 1e-290))


def start_table(u: Floats, lower: Floats, upper: Floats) -> tuple[Floats, Floats, Floats]:
    """Nodes (ln tau, stretch) and their decays ``(nodes, m)``; the first `N_TABLE` have the stretch nearest to 1.

    Bounds are those of (contrast, ln tau, stretch, baseline); `u` are the logarithms of the delays. The last few tables
    are remembered: blocks of one series share theirs.
    """
    return _table(u.tobytes(), *(float(b) for b in (lower[1], upper[1], lower[2], upper[2])))


@lru_cache(maxsize=8)
def _table(
    delays: bytes, tau_low: float, tau_high: float, stretch_low: float, stretch_high: float
) -> tuple[Floats, Floats, Floats]:
    u = np.frombuffer(delays)
    real = u[u > -600]
    first, last = (real.min(), real.max()) if real.size else (0.0, 1.0)
    begin, end = np.clip((first - 1.0, last + 2.5), tau_low, tau_high)
    ln_tau = np.linspace(begin, end, N_TABLE)
    stretches = np.clip((1.0, *OTHER_STRETCHES), stretch_low, stretch_high)
    node_tau, node_stretch = np.tile(ln_tau, stretches.size), np.repeat(stretches, N_TABLE)
    with np.errstate(over="ignore"):
        decays = np.exp(-2.0 * np.exp(node_stretch[:, None] * (u - node_tau[:, None])))
    return node_tau, node_stretch, np.ascontiguousarray(decays)
