"""NumPy block in, packed NumPy block out: what a task runs.

Blocks have any leading dimensions (file, segment, age, q bin) and delays last. Files hold float32; everything is cast
to float64 before any arithmetic. What a curve's row holds never depends on the block or slab that it came in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.config import FitConfig
from xpcs_dask.fitting.diagnostics import diagnose, diagnostics_dtype
from xpcs_dask.fitting.error_model import Counting
from xpcs_dask.fitting.flags import slow
from xpcs_dask.fitting.gls import fit_gls
from xpcs_dask.fitting.intervals import Mark, student
from xpcs_dask.fitting.layout import Flag, fit_dtype
from xpcs_dask.fitting.models import Floats, Model
from xpcs_dask.fitting.outliers import fit_robust, settings
from xpcs_dask.fitting.points import POINT, weigh
from xpcs_dask.fitting.profile import profile_intervals
from xpcs_dask.fitting.quality import LEFT_OUT
from xpcs_dask.fitting.sandwich import Noise
from xpcs_dask.fitting.slabs import pieces, slabs
from xpcs_dask.fitting.standard_errors import standard_errors
from xpcs_dask.fitting.strategy import fit_stack
from xpcs_dask.fitting.theory import lags
from xpcs_dask.fitting.threads import one_thread
from xpcs_dask.fitting.uncertainty import covariance_kind


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """How curves are fitted: what all blocks share."""

    delay: Floats
    """(m,) in s."""
    level: Floats | None = None
    """(m,) of each delay in the multi-tau scheme."""
    model: Model
    config: FitConfig
    lower: Floats
    upper: Floats
    """(p,) The box of the parameters, resolved once for all blocks."""
    start: Floats | None = None
    """(p,) Where to start, beside the model's own starts."""

    @property
    def dtype(self) -> np.dtype[np.void]:
        """Of what is known of one curve."""
        config = self.config
        fields = fit_dtype(self.model, config.detail, interval=config.interval != "none").descr
        if config.diagnostics != "none":
            fields += diagnostics_dtype(self.model, self.delay.size, config.diagnostics).descr
        return np.dtype(fields)


@dataclass(frozen=True, slots=True, eq=False)
class Slab:
    """Some curves of a block, fitted."""

    part: slice
    """Rows of the flattened block that they are."""
    y: Floats
    weight: Floats
    """(n, m) 1/sigma as given to the fit, 0 where a point is not used."""
    points: NDArray[np.uint8]
    """(n, m) bits of `quality.PointFlag`."""
    rows: NDArray[np.void]
    """(n,) of `layout.fit_dtype(model, "full")`."""
    clusters: Any
    """(n, P, m) or None."""
    plain: Floats
    """(n, p) Standard errors that the normal matrix says, before better ones were put in their place."""


def fit_block(g2: Any, *others: Any, job: Job) -> NDArray[np.void]:
    """Fit every curve of a block; a curve that cannot be fitted is a row that says why.

    Parameters
    ----------
    g2 : array, shape (..., m)
        Curves, any floating type.
    others
        As for `fitted`.

    Returns
    -------
    array of `job.dtype`, shape (...)
    """
    g2 = np.asarray(g2)
    out = np.empty(g2.shape[:-1], dtype=job.dtype)
    rows = out.reshape(-1)
    for slab in fitted(g2, *others, job=job):
        for name in fit_dtype(job.model, job.config.detail).names or ():
            rows[name][slab.part] = slab.rows[name]
        if job.config.interval != "none":
            rows["interval"][slab.part], open_ended = fit_intervals(slab, job)
            rows["flags"][slab.part] |= np.where(open_ended, np.uint32(Flag.INTERVAL_OPEN), np.uint32(0))
        if job.config.diagnostics != "none":
            for few in pieces(len(slab.rows)):
                found = _diagnostics(slab, few, job)
                for name in found.dtype.names or ():
                    rows[name][slab.part][few] = found[name]
        del slab
    return out


def fitted(
    g2: Any,
    err: Any = None,
    products: Any = None,
    rate: Any = None,
    pixels: Any = None,
    run: Any = None,
    counts: Any = None,
    frames: Any = None,
    clusters: Any = None,
    *,
    job: Job,
    points: int | None = None,
) -> Iterator[Slab]:
    """Fit a block slab by slab.

    Parameters
    ----------
    g2 : array, shape (..., m)
        Curves, any floating type.
    err : array, broadcastable to (..., m), optional
        Their errors; needed with ``config.errors="quoted"``.
    products : array, broadcastable to (..., m), optional
        Products averaged at each delay; None where not known.
    rate, pixels : array, broadcastable to (..., 1), optional
        Coincidences expected per product at level 0, all runs together; pixels of the bin. NaN or None where not known.
    run : array, broadcastable to (..., 1), optional
        Length of the run in s; without it, the last delay that has a value.
    counts, frames : array, broadcastable to (..., 1), optional
        Mean counts per pixel and correlated frame of one run, and its correlated frames.
    clusters : array, shape (..., P, m), optional
        g2 of the clusters of each curve, NaN where there is none.
    points : int, optional
        About how many points a slab has.
    """
    g2 = np.asarray(g2)
    operands = (g2, err, products, rate, pixels, run, counts, frames)
    with one_thread():
        for part, taken in slabs(*operands, points=points, clusters=clusters):
            yield _fitted(part, taken, job)  # nothing of a slab is kept while the next one is worked on


def _fitted(part: slice, taken: list[Any], job: Job) -> Slab:
    """Fit one slab: weights, fits, standard errors, flags. `taken` are the operands of `fitted`, some rows of each."""
    curves, *told, length, light, record, parts = taken
    errors = weigh(curves, told, job.delay, job.level, job.config)
    y = curves.astype(np.float64)
    rows, weight = _fit(y, errors.weight, job)
    config = settings(job.config)
    plain = _plain(rows, config)
    theory = covariance_kind(config) == "theory" or config.weights == "gls"
    noise = _noise(y.shape, job, told, light, record) if theory else None
    for few in pieces(len(rows)):
        given = (rows[few], job.delay, y[few], weight[few], job.model, config, job.lower, job.upper)
        known = noise and noise.take(few)
        standard_errors(*given, known, None if parts is None else parts[few])
        if config.weights == "gls":
            fit_gls(*given, known)
    left_out = (weight == 0) & (errors.weight > 0)
    outliers = np.where(left_out.any(axis=1), np.uint32(Flag.OUTLIERS), np.uint32(0))
    rows["flags"] |= errors.curves | outliers | slow(rows, job.model, y, job.delay, length)
    flagged = errors.points | np.where(left_out, LEFT_OUT, np.uint8(0))
    return Slab(part, y, weight, flagged, rows, parts, plain)


def _fit(y: Floats, weight: Floats, job: Job) -> tuple[NDArray[np.void], Floats]:
    """Fit curves (n, m); returns the weights too, 0 at outliers that were left out."""
    given = (job.delay, y, weight, job.model, job.config, job.lower, job.upper, job.start)
    return fit_robust(*given) if job.config.robust else (fit_stack(*given), weight)


def _plain(rows: NDArray[np.void], config: FitConfig) -> Floats:
    """Return the standard errors (n, p) that the normal matrix says, of the errors as they are."""
    if covariance_kind(config) != "scaled":
        return np.array(rows["stderr"])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(rows["stderr"] / np.sqrt(rows["chi2"] / rows["dof"])[:, None])


def fit_intervals(slab: Slab, job: Job) -> tuple[Floats, NDArray[np.bool_]]:
    """Intervals (n, p, 2) of fitted curves as `config.interval` asks, and which curves have an end on a bound."""
    rows, config = slab.rows, job.config
    if config.interval == "profile":
        interval, open_ended = np.empty((*rows["value"].shape, 2)), np.empty(len(rows), np.bool_)
        for few in pieces(len(rows)):
            low, high, met = profile_intervals(
                rows[few], job.delay, slab.y[few], slab.weight[few], job.model, settings(config), job.lower, job.upper,
                config.level, slab.plain[few],
            )  # fmt: skip
            interval[few, :, 0], interval[few, :, 1], open_ended[few] = low, high, met.any(axis=(1, 2))
        return interval, open_ended
    ends = student(rows["value"], rows["stderr"], rows["errors_dof"], config.level, job.model, job.lower, job.upper)
    found = np.asarray(((ends.mark & Mark.AT_BOUND) > 0).any(axis=(1, 2)))
    return np.stack([ends.lower, ends.upper], axis=-1), found


def _diagnostics(slab: Slab, few: slice, job: Job) -> NDArray[np.void]:
    config = job.config
    assert config.diagnostics != "none"
    absolute = config.absolute_sigma and config.errors != "none"
    return diagnose(
        slab.rows[few], job.delay, slab.y[few], slab.weight[few], job.model, job.lower, job.upper, config.diagnostics,
        absolute=absolute,
    )  # fmt: skip


def fitted_points(g2: Any, *others: Any, job: Job) -> NDArray[np.void]:
    """Errors and flags of points as the fit of a block has left them: outliers that it left out are flagged.

    Returns
    -------
    array of `POINT`, shape (..., m)
    """
    out = np.empty(np.shape(g2), dtype=POINT)
    rows = out.reshape(-1, out.shape[-1])
    for slab in fitted(g2, *others, job=job):
        with np.errstate(divide="ignore"):
            rows["sigma"][slab.part] = 1.0 / slab.weight
        rows["quality"][slab.part] = slab.points
        del slab
    return out


def _noise(shape: tuple[int, ...], job: Job, told: list[Any], counts: Any, frames: Any) -> Noise | None:
    """Put together what is known of the noise of curves (n, m); None without counts or levels."""
    found = lags(job.delay, job.level)
    if found is None or counts is None or frames is None:
        return None
    n, m = shape
    _, products, rate, _ = told
    known = Counting.of(n, m, products, rate)
    light, length = (np.broadcast_to(np.asarray(a, np.float64).reshape(-1), (n,)) for a in (counts, frames))
    usable = np.isfinite(length) & np.isfinite(known.products).all(axis=1) & np.isfinite(known.rate)
    return Noise(found, np.where(usable, light, np.nan), length, known.products, known.rate)
