r"""What a fitted decay says of the noise of its own curve: how errors of g2 at different delays are correlated.

For speckle of contrast a that decays as :math:`e(t) = |g_1|^2` and counts :math:`\mu` per pixel and frame, the noise of
g2 at delays j and k has a covariance proportional to (Bartlett's formula for a correlation function measured over a
finite time [1]_, and photon counting [2]_)

.. math::

    \frac{a^2 [S(|j-k|) + S(j+k)] + \frac{2a}{\mu} [e(|j-k|) + e(j+k)] + \delta_{jk} / (\mu^2 w_j)}{\max(T_j, T_k)},
    \qquad S(t) = \int e(|s|)\, e(|s + t|)\, ds

with times in frames, channels of width w and products that span T frames; at lag 0 the decay is averaged over the
channel.

References
----------
.. [1] M. S. Bartlett, J. R. Stat. Soc. Suppl. 8, 27 (1946).
.. [2] K. Schätzel, Quantum Opt. 2, 287 (1990).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.models import Floats

TIMES, NODES, HALVES, INSIDE, GAUSS = 64, 60, 24, 24, 3
"""Overlap integrals worked out; nodes of each from its ends; nodes within one channel; nodes of one piece of these."""
EARLY = 1e-3
"""First node, in frames (and in channels, for the mean within one)."""


@dataclass(frozen=True, slots=True, eq=False)
class Lags:
    """Lags between delays of a multi-tau list, and where a decay is evaluated for them; times in frames."""

    width: Floats
    """(m,) of the channel of each delay."""
    level: NDArray[np.int64]
    """(m,) number of that width."""
    near: NDArray[np.int32]
    """(m, m) which lag ``|j - k|`` is; on the diagonal any."""
    apart: NDArray[np.int32]
    """(m, m) which lag ``j + k`` is."""
    table: tuple[Any, ...]
    """Logarithms of times, in the unit of the delays, at which the decay is taken (lags, nodes of the integral, these
    beyond each of `TIMES`, both sides of the overlap, within a channel); how many; weights in frames."""


def lags(delay: Any, level: Any) -> Lags | None:
    """Lags of delays (m,) with levels of the multi-tau scheme; None where levels are not known."""
    delay = np.ascontiguousarray(delay, dtype=np.float64)
    if level is None or not np.isfinite(level).all() or delay.size < 2 or delay[0] <= 0:
        return None
    levels = np.ascontiguousarray(level, dtype=np.float64)
    return _lags(delay.tobytes(), levels.tobytes())


@lru_cache(maxsize=8)
def _lags(delays: bytes, levels: bytes) -> Lags:
    delay, level = np.frombuffer(delays), np.frombuffer(levels)
    widths, number = np.unique(np.exp2(level), return_inverse=True)
    step = _step(delay, level)
    frames = delay / step
    apart, near = np.add.outer(frames, frames), np.abs(np.subtract.outer(frames, frames))
    np.fill_diagonal(near, frames[0])
    known, place = np.unique(np.rint(np.concatenate([near.ravel(), apart.ravel()]) * 1024), return_inverse=True)
    lag = known / 1024
    m = delay.size
    times = np.geomspace(0.5 * lag[0], 1.01 * lag[-1], TIMES - 1)
    node, node_weight = _log_nodes(EARLY, 4.0 * lag[-1], NODES)
    half, half_weight = _log_nodes(EARLY, 1.0, HALVES)
    all_times = np.concatenate([[0.0], times])
    back = 0.5 * all_times[:, None] * half
    back[0] = half  # of no weight: there is nothing between 0 and lag 0
    at = np.clip(np.searchsorted(times, lag) - 1, 0, TIMES - 3)
    share = np.log(lag / times[at]) / np.log(times[at + 1] / times[at])
    inside, inside_weight = _log_nodes(EARLY, 1.0, INSIDE)
    log_time = [
        np.log(step * time).ravel()
        for time in (lag, node, node + all_times[:, None], back, np.maximum(all_times[:, None] - back, 1e-12),
                     widths[:, None] * inside)
    ]  # fmt: skip
    sizes = (lag.size, NODES, TIMES, HALVES, INSIDE)
    half_weights = np.ascontiguousarray(0.5 * all_times[:, None] * half_weight)
    table = (
        np.concatenate(log_time), sizes, node_weight, half_weights, at + 1, share, 2.0 * (1.0 - inside) * inside_weight
    )  # fmt: skip
    return Lags(
        np.exp2(level), number.astype(np.int64), place[: m * m].reshape(m, m).astype(np.int32),
        place[m * m :].reshape(m, m).astype(np.int32), table,
    )  # fmt: skip


def _step(delay: Floats, level: Floats) -> float:
    """Time of one frame, in the unit of the delays: neighbours of one level are one channel apart.

    A level of which one delay is left tells nothing, but that its delay is no less than a channel.
    """
    width = np.exp2(level)
    apart = (np.diff(delay) / width[1:])[np.diff(level) == 0]
    return float(min(apart.min(initial=np.inf), delay[0] / width[0]))


def _log_nodes(first: float, last: float, number: int) -> tuple[Floats, Floats]:
    """Nodes from 0 to `last`, dense near 0, and weights: Gauss and Legendre's rule in each of equal steps of ln t."""
    edges = np.concatenate([[0.0], np.geomspace(first, last, number // GAUSS)])
    x, weight = np.polynomial.legendre.leggauss(GAUSS)
    half = 0.5 * np.diff(edges)[:, None]
    return (edges[:-1, None] + half * (x + 1.0)).ravel(), (half * weight).ravel()


def workspace(found: Lags) -> tuple[Floats, ...]:
    """Arrays that one curve's overlap integrals need: decay at all times, overlaps at lags and times, channel means."""
    log_time, sizes = found.table[:2]
    return np.empty(log_time.size), np.empty(sizes[0]), np.empty(TIMES), np.empty(int(found.level.max()) + 1)


NO_LAGS = _lags(np.arange(1.0, 3.0).tobytes(), np.zeros(2).tobytes())
"""Stands where nothing is known of the noise: never looked at."""
