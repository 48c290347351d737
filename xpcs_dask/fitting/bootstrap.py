"""Bootstrap of a block of curves: fitted, resampled, refitted and summed up inside one task, or in pieces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.config import BootstrapConfig, Scheme
from xpcs_dask.fitting.adaptive import Intervals, adaptive, summarise
from xpcs_dask.fitting.blocks import Job, Slab, fitted
from xpcs_dask.fitting.clusters import ENOUGH, influences
from xpcs_dask.fitting.intervals import Mark, Parents, acceleration, choose_interval
from xpcs_dask.fitting.layout import RESAMPLED, ErrorsFrom, Flag, Status, fit_dtype
from xpcs_dask.fitting.models import Floats
from xpcs_dask.fitting.outliers import settings
from xpcs_dask.fitting.replicate_errors import replicate_errors
from xpcs_dask.fitting.replicates import replicates
from xpcs_dask.fitting.sandwich import put_covariance
from xpcs_dask.fitting.slabs import pieces

UNCERTAIN = np.uint32(Flag.WEAK | Flag.NO_SIGNAL | Flag.STARVED)
"""Curves whose estimates scatter unevenly."""

Rows = NDArray[np.intp]


def bootstrap_dtype(job: Job, boot: BootstrapConfig) -> np.dtype[np.void]:
    """Of what a bootstrap says of one curve: a fit with intervals, and how they came about."""
    fields = [*fit_dtype(job.model, job.config.detail, interval=True).descr, *RESAMPLED]
    if boot.keep_replicates:
        fields.append(("replicate", "<f8", (most(boot), len(job.model.parameters))))
    return np.dtype(fields)


def most(boot: BootstrapConfig) -> int:
    """Refits of a curve, at most."""
    return boot.max_resamples if boot.resamples == "auto" else boot.resamples


def bootstrap_block(g2: Any, *others: Any, job: Job, boot: BootstrapConfig) -> NDArray[np.void]:
    """Bootstrap every curve of a block.

    Parameters
    ----------
    g2, others
        As for `blocks.fitted`, and last the identity of each curve, uint64, broadcastable to (..., 1).

    Returns
    -------
    array of `bootstrap_dtype(job, boot)`, shape (...)
        Standard errors and covariance are those of the refits.
    """
    out = np.empty(np.shape(g2)[:-1], dtype=bootstrap_dtype(job, boot))
    rows, identity = out.reshape(-1), _identity(others[-1], out.shape)
    for slab in fitted(g2, *others[:-1], job=job):
        groups = _groups(slab, identity[slab.part], job, boot)
        found = [adaptive(group.draw, group.parents, group.kind, boot) for group in groups]
        _put(rows[slab.part], slab, groups, found, job, boot)
        del slab, groups, found
    return out


def replicate_block(
    g2: Any, *others: Any, first: int, last: int, job: Job, boot: BootstrapConfig
) -> NDArray[np.float64]:
    """Refits first to last - 1 of every curve of a block; arguments as for `bootstrap_block`.

    Returns
    -------
    array, shape (..., last - first, p)
    """
    lead, p = np.shape(g2)[:-1], len(job.model.parameters)
    out = np.full((*lead, last - first, p), np.nan)
    rows, identity = out.reshape(-1, last - first, p), _identity(others[-1], lead)
    for slab in fitted(g2, *others[:-1], job=job):
        part = rows[slab.part]
        for group in _groups(slab, identity[slab.part], job, boot):
            part[group.which] = group.draw(first, last, np.arange(group.which.size))[0]
    return out


def combine_block(g2: Any, *others: Any, job: Job, boot: BootstrapConfig) -> NDArray[np.void]:
    """Sum up refits (..., B, p, 1), the last operand, that `replicate_block` made; else as `bootstrap_block`."""
    out = np.empty(np.shape(g2)[:-1], dtype=bootstrap_dtype(job, boot))
    made = np.asarray(others[-1])[..., 0]
    rows, made = out.reshape(-1), made.reshape(-1, *made.shape[-2:])
    identity = _identity(others[-2], out.shape)
    for slab in fitted(g2, *others[:-2], job=job):
        groups, own = _groups(slab, identity[slab.part], job, boot), made[slab.part]
        found = [summarise(own[g.which], g.parents, g.kind, boot.level, boot.tolerance) for g in groups]
        _put(rows[slab.part], slab, groups, found, job, boot)
        del slab, groups, found
    return out


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Curves of a slab that are resampled in the same way."""

    scheme: Scheme
    which: Rows
    clusters: NDArray[np.int64]
    """(k,) of each of them; 0 where delays are resampled."""
    slab: Slab
    identity: NDArray[np.uint64]
    job: Job
    boot: BootstrapConfig
    parents: Parents
    kind: NDArray[np.str_]

    def draw(self, first: int, last: int, some: Rows) -> tuple[Floats, Floats | None]:
        """Refits first to last - 1 of some of the curves, and their standard errors if these are needed."""
        found = np.empty((some.size, last - first, len(self.job.model.parameters)))
        errors = np.empty_like(found) if "studentised" in self.kind[some] else None
        for few in pieces(some.size):  # clusters of all curves of a slab are larger than the block
            given = self._given(self.which[some[few]])
            found[few] = replicates(**given, first=first, last=last)
            if errors is not None:
                errors[few] = replicate_errors(**given, first=first, last=last, values=found[few])
        return found, errors

    def _given(self, rows: Rows) -> dict[str, Any]:
        """Return what `replicates` takes for these rows of the slab."""
        job, slab = self.job, self.slab
        return {
            "x": job.delay, "y": slab.y[rows], "weight": slab.weight[rows], "model": job.model,
            "config": settings(job.config), "lower": job.lower, "upper": job.upper, "rows": slab.rows[rows],
            "scheme": self.scheme, "curve_id": self.identity[rows], "seed": self.boot.seed,
            "clusters": slab.clusters[rows] if self.scheme == "cluster" else None,
        }  # fmt: skip


def _groups(slab: Slab, identity: NDArray[np.uint64], job: Job, boot: BootstrapConfig) -> list[_Group]:
    """Curves by what of them is resampled: clusters where there are enough, or any if asked for, else delays."""
    converged = slab.rows["status"] == Status.CONVERGED
    number = np.zeros(converged.size, np.int64)
    lopsided = np.zeros((converged.size, len(job.model.parameters)))
    if slab.clusters is not None and boot.over != "delay" and boot.scheme in ("auto", "cluster"):
        for few in pieces(converged.size):
            influence, number[few] = influences(
                slab.rows[few], job.delay, slab.y[few], slab.weight[few], job.model, job.lower, job.upper,
                slab.clusters[few],
            )  # fmt: skip
            lopsided[few] = acceleration(influence)
    asked = boot.over not in ("auto", "delay") or boot.scheme == "cluster"
    clustered = converged & (number >= (2 if asked else ENOUGH))
    rest = converged & ~clustered & (not asked)
    over_delays: Scheme = "wild" if boot.scheme in ("auto", "cluster") else boot.scheme
    kinds: tuple[tuple[Scheme, NDArray[np.bool_]], ...] = (("cluster", clustered), (over_delays, rest))
    found = []
    for scheme, chosen in kinds:
        which = np.flatnonzero(chosen)
        if not which.size:
            continue
        own = number[which] if scheme == "cluster" else np.zeros(which.size, np.int64)
        rows = slab.rows[which]
        parents = Parents(
            model=job.model, value=rows["value"], lower=job.lower, upper=job.upper, stderr=rows["stderr"],
            dof=(own - 1 if scheme == "cluster" else rows["dof"]).astype(np.float64),
            acceleration=lopsided[which] if scheme == "cluster" else None,
        )  # fmt: skip
        kind = choose_interval(boot.interval, scheme, own, (rows["flags"] & UNCERTAIN) > 0)
        found.append(_Group(scheme, which, own, slab, identity, job, boot, parents, kind))
    return found


def _put(
    rows: NDArray[np.void], slab: Slab, groups: list[_Group], found: list[Intervals], job: Job, boot: BootstrapConfig
) -> None:
    """Write fits and what their refits say of them; a fit that could not be resampled has no errors."""
    fits, p = slab.rows, len(job.model.parameters)
    done = Intervals.empty(len(fits), p, most(boot) if boot.keep_replicates else 0)
    rows["clusters"] = 0
    for group, some in zip(groups, found, strict=True):
        done.put(group.which, some, np.ones(group.which.size, np.bool_))
        rows["clusters"][group.which] = group.clusters
    _note(fits, rows["clusters"], done)
    for name in fit_dtype(job.model, job.config.detail).names or ():
        rows[name] = fits[name]
    rows["interval"] = np.stack([done.lower, done.upper], axis=-1)
    rows["resamples"], rows["failed"] = done.resamples, done.failed
    rows["monte_carlo_error"] = done.error.max(axis=(1, 2))
    if boot.keep_replicates:
        rows["replicate"] = done.replicates


def _note(fits: NDArray[np.void], clusters: NDArray[np.int32], done: Intervals) -> None:
    """Put the errors of the refits into the fits, and flags that say what these rest on."""
    converged = np.flatnonzero(fits["status"] == Status.CONVERGED)
    put_covariance(fits, converged, done.covariance[converged])
    fits["errors_from"][converged] = ErrorsFrom.BOOTSTRAP
    fits["errors_dof"] = np.where(clusters > 0, clusters - 1, fits["dof"])
    made, few = done.resamples > 0, (clusters > 0) & (clusters < ENOUGH)
    ends_on_bound = ((done.mark & Mark.AT_BOUND) > 0).any(axis=(1, 2))
    fits["flags"] &= ~np.uint32(Flag.DELAYS_ASSUMED_INDEPENDENT | Flag.FEW_CLUSTERS)
    for flag, where in (
        (Flag.DELAYS_ASSUMED_INDEPENDENT, made & (clusters == 0)),
        (Flag.FEW_CLUSTERS, few),
        (Flag.INTERVAL_OPEN, made & ends_on_bound),
        (Flag.TOLERANCE_NOT_REACHED, made & ~done.reached),
    ):
        fits["flags"] |= np.where(where, np.uint32(flag), np.uint32(0))


def _identity(given: Any, shape: tuple[int, ...]) -> NDArray[np.uint64]:
    """(n,) identity of the curves of a flattened block."""
    return np.broadcast_to(np.asarray(given, np.uint64)[..., 0], shape).reshape(-1)
