"""Compiled fit of two stretched exponentials: many curves, one call.

Finding the best minimum costs starts, not iterations. Five ideas make one in fifty curves miss it instead of one in
eight, at less than twice the price of a single start:

1. The step is the exact minimum in the box (`double_refine`): every bounded fit needs that first.
2. The first start comes from a table of pairs of components with the fraction eliminated (`double_pairs`).
3. Further starts are bumps on the single fit and swaps of one component (`double_starts`): the minima between which a
   noisy curve cannot decide are "one broad decay and a small sharp one", and no grid of pairs sees those.
4. How many starts a curve gets is decided by its own F, the decrease of chi2 due to the second component over the
   reduced chi2 (`double_search`): an overwhelming second component (F > 300, two of three curves) needs one start;
   where it is not significant there are many minima of nearly the same chi2, and every kind of start is tried. F has no
   unit, so neither has the decision.
5. A later start is cut short once it cannot beat the best or runs into a known minimum (`double_refine`).

Every curve is fitted in units of its own (weights average 1, y has mean 0 and mean square 1), by sums in a fixed order:
its result depends neither on the unit of sigma nor on the other curves of the call.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.kernel.double_pairs import start_table
from xpcs_dask.fitting.kernel.double_search import BUMP, NO_DATA, PAIR, SWAP, Search, fit_stack
from xpcs_dask.fitting.kernel.table import log_delays
from xpcs_dask.fitting.models import Floats

ALWAYS = 1e300
QUICK = ((PAIR, ALWAYS), (BUMP, 300.0), (PAIR, 12.0), (SWAP, 12.0), (PAIR, 6.0))
"""Kinds of start, each made only while F is at most the number beside it."""
THOROUGH = (
    (PAIR, ALWAYS), (BUMP, 3000.0), (PAIR, 300.0), (SWAP, 100.0), (SWAP, 50.0), (PAIR, 25.0), (BUMP, 25.0),
    (SWAP, 12.0), (SWAP, 12.0), (BUMP, 6.0), (SWAP, 6.0), (PAIR, 6.0), (SWAP, 3.0), (SWAP, 3.0),
)  # fmt: skip
LANES = 8
"""Curves are padded with points of weight 0 to a multiple of this, so that loops have no scalar tail."""
LARGE = 1e30
"""Stands for an infinite bound: fast-math knows no infinity."""


class DoubleFit(NamedTuple):
    """What `fit_double` returns, one row a curve."""

    z: Floats
    """contrast, ln tau1, stretch1, baseline, ln tau2, stretch2, fraction ``(n, 7)``; NaN where no point is used."""
    chi2: Floats
    """Weighted sum of squares, from sums: exact to about 1e-16 of that of the signal."""
    evaluations: NDArray[np.int32]
    """Passes over the delays."""
    code: NDArray[np.int8]
    """`CONVERGED`, `EXHAUSTED`, `STALLED` or `NO_DATA`."""
    f_statistic: Floats
    """``(chi2_single - chi2) / (chi2 / (used points - 7))``; below about 10 the second component is not established."""
    disagree: NDArray[np.bool_]
    """Two starts converged to minima of different chi2; the lower one is reported."""


def fit_double(
    x: Floats,
    y: Floats,
    weight: Floats,
    lower: Floats,
    upper: Floats,
    thorough: bool = False,
    start: Floats | None = None,
) -> DoubleFit:
    """Fit two stretched exponentials to every curve by least squares.

    Parameters
    ----------
    x : (m,)
        Delays in s, in any spacing and order.
    y : (n, m)
        Curves; may hold anything where the weight is 0.
    weight : (n, m)
        1 / sigma; 0 for a point that is not used.
    lower, upper : (7,)
        Bounds of contrast, tau1, stretch1, baseline, tau2, stretch2, fraction (tau in s); equal where held.
    thorough
        Make about three times as many starts.
    start : (n, 5), optional
        ln tau1, stretch1, ln tau2, stretch2, fraction to begin with, besides the starts found; NaN for none.

    Returns
    -------
    DoubleFit
        Where both components have the same box the first one is the faster.
    """
    n, m = y.shape[0], x.size
    size = max(-(-m // LANES), 1) * LANES
    u = np.zeros(size)
    u[:m] = np.where(np.isfinite(x), log_delays(x), 0.0)
    low, high = _fit_box(lower), _fit_box(upper)
    table = start_table(
        u[:m], size, (min(low[1], low[4]), max(high[1], high[4])), (min(low[2], low[5]), max(high[2], high[5]))
    )
    given = np.zeros(n, np.bool_) if start is None else np.isfinite(start).all(axis=1)
    fit = DoubleFit(
        z=np.full((n, 7), np.nan),
        chi2=np.full(n, np.nan),
        evaluations=np.zeros(n, np.int32),
        code=np.full(n, NO_DATA, np.int8),
        f_statistic=np.full(n, np.nan),
        disagree=np.zeros(n, np.bool_),
    )
    fit_stack(
        u, np.ascontiguousarray(y, np.float64), np.ascontiguousarray(weight, np.float64), low, high, given,
        np.zeros((n, 5)) if start is None else np.ascontiguousarray(start, np.float64),
        _search(low, high, THOROUGH if thorough else QUICK), table, fit,
    )  # fmt: skip
    return fit


def _fit_box(bounds: Floats) -> Floats:
    """Bounds as the kernel wants them: ln tau, nothing infinite."""
    box = np.array(bounds, dtype=np.float64)
    with np.errstate(divide="ignore"):
        box[[1, 4]] = np.clip(np.log(box[[1, 4]]), -690.0, 690.0)
    return np.clip(box, -LARGE, LARGE)


def _search(low: Floats, high: Floats, plan: tuple[tuple[int, float], ...]) -> Search:
    one, two = [1, 2], [4, 5]
    same_box = np.array_equal(low[one], low[two]) and np.array_equal(high[one], high[two])
    return Search(
        moves=np.array([move for move, _ in plan]),
        gates=np.array([gate for _, gate in plan]),
        swappable=bool(same_box and abs(low[6] + high[6] - 1.0) < 1e-12),
    )
