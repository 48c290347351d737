"""The single kernel's algorithm in NumPy alone: oracle of the compiled one in tests, and its stand-in without Numba.

All curves of a block advance together; one that has converged drops out. What is computed per curve runs over thousands
of curves at a time, so that the calls cost nothing; what is computed per point, over chunks that fit the cache
(`twin_curves`). `twin_descent` finds a minimum, `twin_confirm` makes sure of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.kernel.family import Family, KernelFit
from xpcs_dask.fitting.kernel.table import (
    CERTAIN,
    FAST_STARTS,
    N_TABLE,
    SAME_MINIMUM,
    SAME_STRETCH,
    SAME_TAU,
    STRUCK,
    SUM_ROUNDING,
    THOROUGH_STARTS,
    log_delays,
    start_table,
)
from xpcs_dask.fitting.kernel.twin_confirm import last_word
from xpcs_dask.fitting.kernel.twin_curves import Curves, Rows, chunks, load
from xpcs_dask.fitting.kernel.twin_descent import linear_box, refine
from xpcs_dask.fitting.models import Floats

BLOCK = 1 << 20
"""Points at a time: enough curves to pay for the calls of an iteration, few enough for the memory (8 MB an array)."""


def score_nodes(c: Curves, rows: Rows, decays: Floats) -> Floats:
    """Chi2 (less a constant) of every node for some curves, contrast and baseline at their best: (n, nodes)."""
    nodes, m = decays.shape
    score, squares = np.empty((rows.size, nodes)), decays * decays
    for k in chunks(rows.size, m):
        part = rows[k]
        w2 = c.w2[part]
        ee, e1 = np.einsum("ij,kj->ik", w2, squares), np.einsum("ij,kj->ik", w2, decays)
        ey = np.einsum("ij,kj->ik", w2 * c.y[part], decays)
        ww, wy, al, dl, ah, dh = (
            np.repeat(t[part], nodes) for t in (c.ww, c.wy, c.low[0], c.low[3], c.high[0], c.high[3])
        )
        ee, e1, ey = ee.ravel(), e1.ravel(), ey.ravel()
        a, d, _, _ = linear_box((ee, e1, ey), ww, wy, (al, dl), (ah, dh))
        score[k] = (a * (a * ee + 2 * (d * e1 - ey)) + d * (d * ww - 2 * wy)).reshape(-1, nodes)
    return score


def between_nodes(score: Floats, node_tau: Floats, node: NDArray[np.intp]) -> Floats:
    """Ln tau at the bottom of the parabola through the best node of the first row and its neighbours."""
    rows, k = np.arange(len(score)), np.clip(node, 1, N_TABLE - 2)
    left, middle, right = score[rows, k - 1], score[rows, k], score[rows, k + 1]
    curvature = left - 2 * middle + right
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.where((k == node) & (curvature > 0), np.clip(0.5 * (left - right) / curvature, -1, 1), 0.0)
    return node_tau[node] + shift * (node_tau[1] - node_tau[0])


def search(
    u: Floats, c: Curves, lower: Floats, upper: Floats, given: Floats | None, starts: tuple[int, int]
) -> tuple[Floats, NDArray[np.int32], NDArray[np.bool_]]:
    """Best of `starts` starts a curve (significant decay, or not) and of the user's; z, evaluations, disagreement."""
    node_tau, node_stretch, decays = start_table(u, lower, upper)
    every = np.arange(len(c.y))
    score = score_nodes(c, every, decays[:N_TABLE])
    node = score.argmin(axis=1)
    z, chi2, evaluations = refine(u, c, every, between_nodes(score, node_tau, node), node_stretch[node])
    disagree = np.zeros(len(every), dtype=np.bool_)

    def attempt(rows: Rows, beta: Floats, stretch: Floats) -> None:
        low, high = c.low[:, rows], c.high[:, rows]
        beta, stretch = np.clip(beta, low[1], high[1]), np.clip(stretch, low[2], high[2])
        z2, chi2_2, more = refine(u, c, rows, beta, stretch)
        evaluations[rows] += more
        disagree[rows] |= np.abs(chi2_2 - chi2[rows]) > SAME_MINIMUM * chi2[rows] + SUM_ROUNDING * c.yy[rows]
        won = chi2_2 < chi2[rows]
        z[:, rows[won]], chi2[rows[won]] = z2[:, won], chi2_2[won]

    doubtful = (c.yy - chi2) * (c.ww - 4) < CERTAIN * chi2
    tries = np.where(doubtful, starts[1], starts[0])
    again = np.flatnonzero(tries > 1)
    if again.size:
        score = np.hstack([score[again], score_nodes(c, again, decays[N_TABLE:])])
        last = node[again]
        for k in range(1, max(starts)):
            near = np.abs(node_tau - node_tau[last][:, None]) < SAME_TAU
            near &= np.abs(node_stretch - node_stretch[last][:, None]) < SAME_STRETCH
            score[near] = STRUCK
            last = score.argmin(axis=1)
            left = (score[np.arange(len(last)), last] < STRUCK) & (tries[again] > k)
            attempt(again[left], node_tau[last[left]], node_stretch[last[left]])
    if given is not None:
        attempt(every, given[:, 1], given[:, 2])
    return z, evaluations, disagree


def run_twin(
    family: Family, x: Floats, y: Floats, weight: Floats, start: Floats | None, *, thorough: bool = False
) -> KernelFit:
    """Fit a stack of the single family by least squares; the interface of the compiled kernel's `run_kernel`."""
    (n, m), p = y.shape, len(family.lower)
    lower, upper = family.log_box
    u = log_delays(x)
    z, covariances = np.zeros((n, p)), np.full((n, p, p), np.nan)
    chi2, evaluations = np.full(n, np.nan), np.zeros(n, dtype=np.int32)
    converged, disagree = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
    n_used = (np.isfinite(y) & np.isfinite(weight) & (weight > 0)).sum(axis=1, dtype=np.int32)
    starts = THOROUGH_STARTS if thorough else FAST_STARTS
    for rows in np.array_split(np.flatnonzero(n_used), max(1, -(-n * m // BLOCK))):
        if not rows.size:
            continue
        c = load(y[rows], weight[rows], lower, upper)
        begin = None if start is None else start[rows]
        near, evaluations[rows], disagree[rows] = search(u, c, lower, upper, begin, starts)
        found, V, converged[rows] = last_word(u, c, near)
        near[3] += c.mean
        z[rows], chi2[rows] = near.T, found * c.scale
        covariances[rows] = np.moveaxis(V, 2, 0) / c.scale[:, None, None]
    return KernelFit(z, chi2, covariances, n_used, evaluations, converged, np.full(n, np.inf), disagree)
