"""How many replicates are enough: rounds of refits until the ends of every interval of a curve are known.

Rounds are fixed and a curve looks at its own replicates alone, so its answer depends neither on the other curves of the
call nor on who finished first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xpcs_dask.config import BootstrapConfig
from xpcs_dask.fitting.interval_kinds import Sample
from xpcs_dask.fitting.intervals import Ends, Kind, Mark, Parents, interval
from xpcs_dask.fitting.models import Floats

Draw: TypeAlias = Callable[[int, int, NDArray[np.intp]], "tuple[Floats, Floats | None]"]
"""``draw(first, last, rows)``: replicates first..last of the curves `rows`, shape (len(rows), last - first, p), NaN
where a refit failed, and their standard errors or None."""

ROUND = 250
"""Replicates after which the ends are looked at again."""
GROUP_BYTES = 2**23
"""Replicates that are kept at a time; curves are done in groups of as many as fit."""


@dataclass(frozen=True, slots=True, eq=False)
class Intervals:
    """Bootstrap of n curves of p parameters."""

    lower: Floats
    upper: Floats
    """(n, p) Ends of the intervals; NaN where there is none."""
    covariance: Floats
    """(n, p, p) Covariance of the replicates on the natural scales of the parameters, in the units of these."""
    error: Floats
    """(n, p, 2) Monte-Carlo standard error of each end, in half widths."""
    mark: NDArray[np.uint8]
    """(n, p, 2) bits of `interval_ends.Mark`."""
    resamples: NDArray[np.int32]
    """(n,) refits made."""
    failed: NDArray[np.int32]
    """(n,) of these, those that found no minimum; they are left out."""
    reached: NDArray[np.bool_]
    """(n,) whether all ends are known to the tolerance."""
    replicates: Floats
    """(n, B, p), NaN beyond the refits made; B is 0 unless they are kept."""

    @property
    def deviation(self) -> Floats:
        """(n, p) Standard deviation that the covariance says."""
        return np.sqrt(np.einsum("nkk->nk", self.covariance))

    @classmethod
    def empty(cls, n: int, p: int, kept: int) -> Intervals:
        """Return rows of curves that were not resampled."""
        return cls(
            lower=np.full((n, p), np.nan),
            upper=np.full((n, p), np.nan),
            covariance=np.full((n, p, p), np.nan),
            error=np.full((n, p, 2), np.nan),
            mark=np.full((n, p, 2), Mark.UNDEFINED, np.uint8),
            resamples=np.zeros(n, np.int32),
            failed=np.zeros(n, np.int32),
            reached=np.zeros(n, np.bool_),
            replicates=np.full((n, kept, p), np.nan),
        )

    def put(self, rows: NDArray[np.intp], some: Intervals, chosen: NDArray[np.bool_]) -> None:
        """Write the chosen curves of `some` into these rows."""
        for name in (f.name for f in fields(self) if f.name != "replicates"):
            getattr(self, name)[rows] = getattr(some, name)[chosen]
        made = min(some.replicates.shape[1], self.replicates.shape[1])
        self.replicates[rows, :made] = some.replicates[chosen, :made]


def enough(ends: Ends, tolerance: float) -> NDArray[np.bool_]:
    """(n,) whether the Monte-Carlo errors of all ends of a curve are at most `tolerance` half widths."""
    return np.asarray((ends.error <= tolerance).all(axis=(1, 2)))  # NaN: an end that is not there is never known


def summarise(
    replicates: Floats,
    parents: Parents,
    kind: Kind | ArrayLike,
    level: float = 0.95,
    tolerance: float = 0.05,
    replicate_stderr: Floats | None = None,
) -> Intervals:
    """Make intervals from the replicates that there are.

    Parameters
    ----------
    replicates, replicate_stderr : array, shape (n, B, p)
        As for `intervals.interval`.
    parents : Parents
    kind : str or array_like of str, shape (n,)
        As `intervals.choose_interval` returns it.
    level : float
        Coverage.
    tolerance : float
        Monte-Carlo error of an end, in half widths, that counts as known.

    Returns
    -------
    Intervals
        With all replicates.
    """
    found = _ends(replicates, parents, kind, level, tolerance, replicate_stderr)
    found.covariance[:] = _covariance(replicates, parents)
    return found


def _ends(
    replicates: Floats,
    parents: Parents,
    kind: Kind | ArrayLike,
    level: float,
    tolerance: float,
    replicate_stderr: Floats | None,
) -> Intervals:
    """All but the covariance, which only the last round needs."""
    n, made, p = replicates.shape
    found = replace(Intervals.empty(n, p, 0), replicates=replicates)
    kinds = np.broadcast_to(np.asarray(kind), (n,))
    for name in np.unique(kinds):
        rows = np.flatnonzero(kinds == name)
        errors = None if replicate_stderr is None else replicate_stderr[rows]
        ends = interval(cast(Kind, str(name)), replicates[rows], parents.take(rows), level, errors)
        found.lower[rows], found.upper[rows] = ends.lower, ends.upper
        found.error[rows], found.mark[rows] = ends.error, ends.mark
        found.reached[rows] = enough(ends, tolerance)
    good = np.asarray(np.isfinite(replicates).all(axis=-1))
    found.resamples[:], found.failed[:] = made, made - good.sum(axis=1)
    return found


def _covariance(replicates: Floats, parents: Parents) -> Floats:
    """(n, p, p) covariance of the good replicates; a curve's sums never depend on its neighbours.

    On natural scales, carried back to first order: relaxation times of weak curves have no variance of their own.
    Parameters at the end of a natural scale stay on their own.
    """
    sample = Sample(replicates, parents)
    good, count = np.isfinite(sample.spread), sample.count
    mean = np.where(good, sample.spread, 0.0).sum(axis=-1) / np.maximum(count, 1)
    apart = np.where(good, sample.spread - mean[..., None], 0.0)
    unit = 1.0 / sample.slope(parents.value, ~sample.natural)
    found = np.empty((*count.shape, count.shape[1]))
    for k in range(count.shape[1]):
        for i in range(k + 1):
            both = (apart[:, k] * apart[:, i]).sum(axis=-1) * unit[:, k] * unit[:, i]
            found[:, k, i] = found[:, i, k] = both
    return np.where(count[..., None] > 1, found / np.maximum(count[..., None] - 1, 1), np.nan)


def adaptive(draw: Draw, parents: Parents, kind: Kind | ArrayLike, config: BootstrapConfig) -> Intervals:
    """Resample every curve until its ends are known, or as often as it is asked for.

    Parameters
    ----------
    draw : callable
        ``draw(first, last, rows)`` makes replicates; replicate k of a curve must be the same whatever it is drawn with.
    parents : Parents
        A curve whose `value` holds a NaN is not resampled.
    kind : str or array_like of str, shape (n,)
        As `intervals.choose_interval` returns it.
    config : BootstrapConfig
        `resamples` ("auto": rounds of `ROUND` up to `max_resamples`), `level`, `tolerance`, `keep_replicates`.

    Returns
    -------
    Intervals
        A curve of which no refit succeeds is given up after the first round.
    """
    n, p = parents.value.shape
    cap = config.max_resamples if config.resamples == "auto" else config.resamples
    found = Intervals.empty(n, p, cap if config.keep_replicates else 0)
    kinds = np.broadcast_to(np.asarray(kind), (n,))
    rows = np.flatnonzero(np.isfinite(parents.value).all(axis=1))
    size = max(1, GROUP_BYTES // max(8 * cap * p, 1))
    for first in range(0, len(rows), size):
        _group(rows[first : first + size], draw, parents, kinds, config, cap, found)
    return found


def _group(
    active: NDArray[np.intp],
    draw: Draw,
    parents: Parents,
    kinds: NDArray[np.str_],
    config: BootstrapConfig,
    cap: int,
    found: Intervals,
) -> None:
    """Resample some curves and write what comes of it into `found`."""
    step = ROUND if config.resamples == "auto" else cap
    made = np.empty((len(active), 0, parents.value.shape[1]))
    errors = made if "studentised" in kinds[active] else None
    for first in range(0, cap, step):
        last = min(first + step, cap)
        new, their_errors = draw(first, last, active)
        made = np.concatenate([made, new], axis=1)
        if errors is not None and their_errors is not None:
            errors = np.concatenate([errors, their_errors], axis=1)
        some = _ends(made, parents.take(active), kinds[active], config.level, config.tolerance, errors)
        done = some.reached | (some.failed == last) | (last == cap)
        if done.any():
            some.covariance[done] = _covariance(made[done], parents.take(active[done]))
        found.put(active[done], some, done)
        active, made = active[~done], made[~done]
        errors = None if errors is None else errors[~done]
        if not active.size:
            return
