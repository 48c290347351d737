"""NumPy block in, packed NumPy block out: what a task runs.

Blocks have any leading dimensions (file, segment, age, q bin) and delays last. Files hold float32; everything is cast
to float64 before any arithmetic. Work goes through a block in slabs of curves, so that the float64 copies stay in the
processor's cache and a task needs little memory beyond its input and output. What a curve's row holds never depends on
the block or slab that it came in.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from math import prod
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.config import FitConfig
from xpcs_dask.fitting import quality
from xpcs_dask.fitting.error_model import Counting, Errors, grid, model_errors
from xpcs_dask.fitting.flags import slow
from xpcs_dask.fitting.layout import fit_dtype
from xpcs_dask.fitting.models import Floats, Model
from xpcs_dask.fitting.sandwich import Noise
from xpcs_dask.fitting.standard_errors import standard_errors
from xpcs_dask.fitting.strategy import fit_stack
from xpcs_dask.fitting.theory import lags
from xpcs_dask.fitting.uncertainty import covariance_kind

SLAB_POINTS = 131_072
"""Points fitted in one go: 1 MiB for each of g2 and its weights, 2,048 curves of 64 delays."""


def fit_block(
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
    delay: Floats,
    level: Floats | None = None,
    model: Model,
    config: FitConfig,
    lower: Floats,
    upper: Floats,
    start: Floats | None = None,
) -> NDArray[np.void]:
    """Fit every curve of a block; a curve that cannot be fitted is a row that says why.

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
    delay : array, shape (m,)
        In s, the same for all curves.
    level : array, shape (m,), optional
        Level of each delay in the multi-tau scheme.
    lower, upper : array, shape (p,)
        The box of the parameters, resolved once for all blocks.
    start : array, shape (p,), optional
        Where to start, beside the model's own starts.

    Returns
    -------
    array of `layout.fit_dtype(model, config.detail)`, shape (...)
    """
    g2 = np.asarray(g2)
    out = np.empty(g2.shape[:-1], dtype=fit_dtype(model, config.detail))
    rows, theory = out.reshape(-1), covariance_kind(config) == "theory"
    with one_thread():
        for part, (curves, *told, length, light, record, parts) in _slabs(
            g2, err, products, rate, pixels, run, counts, frames, clusters=clusters
        ):
            errors = _weigh(curves, told, delay, level, config)
            y = curves.astype(np.float64)
            fitted = fit_stack(delay, y, errors.weight, model, config, lower, upper, start)
            noise = _noise(y.shape, delay, level, told, light, record) if theory else None
            standard_errors(fitted, delay, y, errors.weight, model, config, lower, upper, noise, parts)
            fitted["flags"] |= errors.curves | slow(fitted, model, y, delay, length)
            for name in rows.dtype.names or ():
                rows[name][part] = fitted[name]
    return out


def sigma_block(
    g2: Any,
    err: Any = None,
    products: Any = None,
    rate: Any = None,
    pixels: Any = None,
    *,
    delay: Floats,
    level: Floats | None = None,
    config: FitConfig,
) -> NDArray[np.void]:
    """Errors that weigh the points of a block, and what is wrong with these; arguments as in `fit_block`.

    Returns
    -------
    array of `POINT`, shape (..., m)
        ``sigma``, infinite where a point is not used, and bits of `quality.PointFlag`.
    """
    g2 = np.asarray(g2)
    out = np.empty(g2.shape, dtype=POINT)
    rows = out.reshape(-1, g2.shape[-1])
    for part, (curves, *told) in _slabs(g2, err, products, rate, pixels):
        errors = _weigh(curves, told, delay, level, config)
        with np.errstate(divide="ignore"):
            rows["sigma"][part] = 1.0 / errors.weight
        rows["quality"][part] = errors.points
    return out


POINT = np.dtype([("sigma", "<f8"), ("quality", "u1")])
"""What is known of one point: its error, and bits of `quality.PointFlag`."""


def _weigh(g2: Any, told: list[Any], delay: Floats, level: Floats | None, config: FitConfig) -> Errors:
    """Weights of the points of curves (n, m) as `config.errors` asks; told are errors, products, rate and pixels."""
    err, products, rate, pixels = told
    n, m = g2.shape
    if config.errors in ("auto", "smoothed"):
        counting = Counting.of(n, m, products, rate, pixels)
        shared = grid(delay, level)
        return model_errors(g2, err, counting, shared, config.min_products, counts=config.errors == "auto")
    simple = quality.equal if config.errors == "none" else quality.quoted
    weight, points = simple(g2, err, products, config.min_products)
    return Errors(weight, points, np.zeros(n, np.uint32))


def _noise(
    shape: tuple[int, ...], delay: Floats, level: Floats | None, told: list[Any], counts: Any, frames: Any
) -> Noise | None:
    """Put together what is known of the noise of curves (n, m); None without counts or levels."""
    found = lags(delay, level)
    if found is None or counts is None or frames is None:
        return None
    n, m = shape
    _, products, rate, _ = told
    known = Counting.of(n, m, products, rate)
    light, length = (np.broadcast_to(np.asarray(a, np.float64).reshape(-1), (n,)) for a in (counts, frames))
    usable = np.isfinite(length) & np.isfinite(known.products).all(axis=1) & np.isfinite(known.rate)
    return Noise(found, np.where(usable, light, np.nan), length, known.products, known.rate)


def _slabs(g2: Any, *others: Any, **wide: Any) -> Iterator[tuple[slice, list[Any]]]:
    """Yield pieces of about `SLAB_POINTS` points, after the rows of the flattened block that they are.

    The last ones are `wide`: they have a dimension of their own before that of the points.
    """
    takers = [_rows(array, g2.shape) for array in (g2, *others)]
    takers += [_rows(array, (*g2.shape[:-1], *np.shape(array)[-2:]), core=2) for array in wide.values()]
    step = max(1, SLAB_POINTS // max(g2.shape[-1], 1))
    for first in range(0, prod(g2.shape[:-1]), step):
        part = slice(first, first + step)
        yield part, [take(part) for take in takers]


def _rows(array: Any, shape: tuple[int, ...], core: int = 1) -> Callable[[slice], Any]:
    """Return what takes rows of an array as if it were broadcast to `shape` and flattened, without doing either.

    The last `core` dimensions are not broadcast.
    """
    if array is None:
        return lambda part: None
    array = np.asarray(array)
    array = array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
    lead = array.shape[:-core]
    flat = array.reshape(prod(lead), *array.shape[-core:])
    if lead == shape[:-core]:
        return lambda part: flat[part]
    if len(flat) == 1 and core == 1:
        return lambda part: flat
    index = np.broadcast_to(np.arange(len(flat)).reshape(lead), shape[:-core]).reshape(-1)
    return lambda part: flat[index[part]]


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold BLAS to one thread while at least one task of this process runs.

    Tasks are already parallel, and bits must not depend on how BLAS splits sums. Counted, not nested, because tasks of
    a thread pool overlap in any order. The compiled kernels never start threads of Numba, so these need no limit.
    """
    with _Pinned.lock:
        if _Pinned.tasks == 0:
            _Pinned.limiter = _pools("scipy.linalg" in sys.modules).limit(limits=1)
        _Pinned.tasks += 1
    try:
        yield
    finally:
        with _Pinned.lock:
            _Pinned.tasks -= 1
            if _Pinned.tasks == 0:
                _Pinned.limiter.restore_original_limits()


class _Pinned:
    """What is pinned in this process, and by how many tasks."""

    lock = Lock()
    tasks = 0
    limiter: Any = None


@lru_cache(maxsize=2)
def _pools(scipy_loaded: bool) -> Any:
    """BLAS libraries of this process: finding them costs 1 ms, so again only after SciPy has brought its own."""
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController().select(user_api="blas")
