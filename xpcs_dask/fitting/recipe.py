"""What the resamples of fitted curves are made of: prepared once for all replicates, drawn from by NumPy or kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.models import Floats
from xpcs_dask.fitting.resample import Words, indices, normals, signs, words

SCHEMES = ("cluster", "residual", "wild", "parametric", "pairs", "blocks")
"""In the order of the codes of `kernel.resample`."""
LANES = 8
"""Points are padded to a multiple of this: compiled loops then have no scalar tail."""
LEAST_REST = 1e-3
"""A point whose leverage leaves it less than this (it fits itself) is treated as if it left this much."""


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """What n curves are resampled from: their used points first, in order of delay, then up to M points of weight 0."""

    scheme: str
    point: NDArray[np.intp]
    """(n, M) where in the curve each point was."""
    used: NDArray[np.intp]
    """(n,) used points."""
    weight: Floats
    """(n, M) 1/sigma, scaled to a mean square of 1 over the used points."""
    mean: Floats
    """(n,) weighted mean of the curve, taken from `base`."""
    base: Floats
    """(n, M) the curve (cluster, pairs) or its fit, less `mean`; 0 beyond the used points."""
    pool: Floats
    """(n, M) noise to draw from, in units of sigma."""
    size: Floats
    """(n, M) sigma."""
    deviation: Floats
    """(n, P, M) clusters less their mean, 0 where they have no value; those with any value first."""
    present: NDArray[np.bool_]
    """(n, P, M) where a cluster has a value."""
    members: NDArray[np.intp]
    """(n,) clusters with any value."""
    complete: NDArray[np.bool_]
    """(n,) curves whose clusters with any value have one at every used point."""
    length: NDArray[np.intp]
    """(n,) of a moving block."""

    @property
    def code(self) -> int:
        """The scheme as compiled code knows it."""
        return SCHEMES.index(self.scheme)

    @property
    def arrays(self) -> tuple[NDArray[np.generic], ...]:
        """What compiled code draws from."""
        return (
            self.base, self.pool, self.size, self.used, self.deviation, self.present, self.members, self.complete,
            self.length,
        )  # fmt: skip

    def draw(self, j: int, seed: int, curve_id: int, replicate: int) -> tuple[Floats, Floats]:
        """One resample of curve j: y (M,) less `mean`, and how often each point is in it (1 but for pairs)."""
        y, times = self.base[j].copy(), np.ones(self.base.shape[1])
        number = int(self.members[j] if self.scheme == "cluster" else self.used[j])
        drawn = words(seed, curve_id, replicate, 2 * number if self.scheme == "parametric" else number)
        if self.scheme == "cluster":
            count = np.bincount(indices(drawn, number), minlength=number).astype(np.float64)[:, None]
            total = np.maximum((count * self.present[j, :number]).sum(axis=0), 1.0)
            y += (count * self.deviation[j, :number]).sum(axis=0) / total
        elif self.scheme == "pairs":
            times[:] = 0.0
            times[:number] = np.bincount(indices(drawn, number), minlength=number)
        else:
            y[:number] += self.size[j, :number] * self._noise(j, number, drawn)
        return y, times

    def drawn_clusters(self, j: int, seed: int, curve_id: int, replicate: int) -> Floats:
        """Clusters (P, M) of one resample, less their mean before the draw; NaN where one has no value."""
        number = int(self.members[j])
        own = np.where(self.present[j, :number], self.deviation[j, :number], np.nan)
        return own[indices(words(seed, curve_id, replicate, number), number)]

    def unpacked(self, rows: NDArray[np.intp], packed: NDArray[Any], m: int) -> NDArray[Any]:
        """Values (N, …, M) of points of some curves, back where they were (N, …, m)."""
        out = np.zeros((*packed.shape[:-1], m), packed.dtype)
        point = self.point[rows, :m].reshape(len(rows), *(1,) * (packed.ndim - 2), m)
        np.put_along_axis(out, point, packed[..., :m], axis=-1)
        return out

    def _noise(self, j: int, number: int, drawn: Words) -> Floats:
        pool = self.pool[j, :number]
        if self.scheme == "residual":
            return pool[indices(drawn, number)]
        if self.scheme == "wild":
            return pool * signs(drawn)
        if self.scheme == "parametric":
            return normals(drawn)
        length = int(self.length[j])
        place = np.arange(number)
        return pool[indices(drawn[place // length], number - length + 1) + place % length]


def make_recipe(
    scheme: str,
    order: NDArray[np.intp],
    y: Floats,
    weight: Floats,
    residual: Floats,
    leverage: Floats,
    clusters: NDArray[np.floating] | None,
) -> Recipe:
    """Prepare the resampling of n curves.

    Parameters
    ----------
    scheme
        One of `SCHEMES`.
    order : array, shape (m,)
        Columns in order of delay.
    y, weight : array, shape (n, m)
        Curves and 1/sigma; points of weight 0, and those that are not finite, are left out.
    residual, leverage : array, shape (n, m)
        Data less model over sigma of the fit to be resampled, and how much of each point its own value explains; not
        looked at by cluster and pairs.
    clusters : array, shape (n, P, m), or None
        Only for cluster; NaN where a cluster has no value.
    """
    m = y.shape[1]
    use = (weight > 0) & (weight < 1e150) & (np.abs(y) < 1e150)
    place = np.empty(m, np.intp)
    place[order] = np.arange(m)
    point = np.argsort(np.where(use, place, m), axis=1, kind="stable")
    pack = _Packing(point, -(-m // LANES) * LANES)
    used = use.sum(axis=1)
    weight, y = pack(np.where(use, weight, 0.0)), pack(np.where(use, y, 0.0))
    total = np.maximum((weight**2).sum(axis=1), 1e-300)
    mean = (weight**2 * y).sum(axis=1) / total
    live = weight > 0
    size = np.where(live, 1.0 / np.where(live, weight, 1.0), 0.0)
    residual = pack(np.where(use, residual, 0.0))
    fit = y if scheme in ("cluster", "pairs") else y - residual * size
    deviation, present, members = _deviations(clusters, use, pack)
    return Recipe(
        scheme=scheme,
        point=pack.point,
        used=used,
        weight=weight / np.sqrt(total / np.maximum(used, 1))[:, None],
        mean=mean,
        base=np.where(live, fit - mean[:, None], 0.0),
        pool=_noise(scheme, residual, pack(leverage), live),
        size=size,
        deviation=deviation,
        present=present,
        members=members,
        complete=np.asarray(present.sum(axis=(1, 2)) == members * used),
        length=block_length(used),
    )


def block_length(used: NDArray[np.intp]) -> NDArray[np.intp]:
    """Length of a moving block of `used` points: the least that is at least 1.5 times their cube root (6 of 50)."""
    length = np.arange(1, 10_000)
    return np.minimum(1 + np.searchsorted(8 * length**3, 27 * used), np.maximum(used, 1))


def _noise(scheme: str, residual: Floats, leverage: Floats, live: NDArray[np.bool_]) -> Floats:
    """Residuals without what the fit took of them; centred where they are mixed."""
    rest = np.maximum(1.0 - leverage, LEAST_REST)
    if scheme == "wild":
        return np.where(live, residual / rest, 0.0)
    noise = np.where(live, residual / np.sqrt(rest), 0.0)
    return np.where(live, noise - (noise.sum(axis=1) / np.maximum(live.sum(axis=1), 1))[:, None], 0.0)


class _Packing:
    """Puts points of curves in the order of a recipe."""

    def __init__(self, point: NDArray[np.intp], width: int) -> None:
        self.own = point
        self.trivial = bool((point == np.arange(point.shape[1])).all())
        self.point = np.zeros((len(point), width), np.intp)
        self.point[:, : point.shape[1]] = point

    def __call__(self, a: NDArray[Any]) -> NDArray[Any]:
        """Pack the last axis of a (n, …, m)."""
        n, m = self.own.shape
        if not self.trivial:
            a = np.take_along_axis(a, self.own.reshape(n, *(1,) * (a.ndim - 2), m), axis=-1)
        out = np.zeros((*a.shape[:-1], self.point.shape[1]), a.dtype)
        out[..., :m] = a
        return out


def _deviations(
    clusters: NDArray[np.floating] | None, use: NDArray[np.bool_], pack: _Packing
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.intp]]:
    """Deviations (n, P, M) from the mean cluster, where there are values, and how many clusters have any."""
    if clusters is None:
        clusters = np.zeros((len(use), 0, use.shape[1]))
    value = np.asarray(clusters, np.float64)
    present = np.isfinite(value) & use[:, None, :]
    has = present.any(axis=2)
    if not has.all():
        first = np.argsort(~has, axis=1, kind="stable")[:, :, None]
        value, present = np.take_along_axis(value, first, axis=1), np.take_along_axis(present, first, axis=1)
    value = np.where(present, value, 0.0)
    mean = value.sum(axis=1) / np.maximum(present.sum(axis=1), 1)
    deviation = np.where(present, value - mean[:, None, :], 0.0)
    return pack(deviation), pack(present), has.sum(axis=1)
