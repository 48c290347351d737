"""Calls of the compiled refits: their scratch arrays, and what they leave to the residual form of the fit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.kernel import refine
from xpcs_dask.fitting.kernel.apart import apart
from xpcs_dask.fitting.kernel.columns import SINGLE_SIZE
from xpcs_dask.fitting.kernel.double_newton import SMALL
from xpcs_dask.fitting.kernel.family import Family
from xpcs_dask.fitting.kernel.losses import LOSSES
from xpcs_dask.fitting.kernel.replicates_double import refit_doubles
from xpcs_dask.fitting.kernel.replicates_single import refit_singles
from xpcs_dask.fitting.kernel.resample import fill_resamples
from xpcs_dask.fitting.kernel.table import log_delays
from xpcs_dask.fitting.models import Floats
from xpcs_dask.fitting.recipe import Recipe

Arrays = tuple[Any, ...]


def draw_space(recipe: Recipe) -> Arrays:
    """Scratch of the draws: words, counts, totals."""
    m = recipe.base.shape[1]
    most = max(2 * m, recipe.deviation.shape[1]) + 16
    return np.zeros(most, np.uint64), np.zeros(most), apart(m)


def refit(
    x: Floats, recipe: Recipe, family: Family, z: Floats, curves: NDArray[np.uint64], seed: int, first: int, last: int
) -> tuple[Floats, NDArray[np.int8]]:
    """Refit replicates ``first`` to ``last - 1`` of n curves from their minima z (n, P); returns z (n, B, P), codes."""
    n, m = recipe.weight.shape
    found, code = np.zeros((n, last - first, z.shape[1])), np.zeros((n, last - first), np.int8)
    lower, upper = family.log_box
    u = log_delays(family.delays(np.where(np.isfinite(x), x, 1.0)))
    fewest = int((lower < upper).sum())
    single = z.shape[1] == SINGLE_SIZE
    run: Any = refit_singles if single else refit_doubles
    run(
        u, recipe.point, recipe.weight, recipe.mean, lower, upper, z,
        recipe.code, recipe.arrays, curves, np.uint64(seed), np.uint64(first), fewest, draw_space(recipe),
        _single_space(m) if single else _double_space(m), found, code,
    )  # fmt: skip
    return found, code


def finish(x: Floats, y: Floats, weight: Floats, family: Family, z: Floats) -> tuple[Floats, NDArray[np.int8]]:
    """Bring fits z (N, P) of curves (N, m) to their minimum in residual form; returns z and codes."""
    (n, m), p = y.shape, z.shape[1]
    z, code, u = z.copy(), np.zeros(n, np.int8), log_delays(family.delays(x))
    run: Any = refine.refine_stack
    run(
        u, y, weight, *family.log_box, LOSSES["linear"], 1.0, z, np.zeros(n), np.zeros((n, p, p)),
        np.zeros(n, np.int32), np.zeros(n, np.int32), code, refine.workspace(m, p),
    )  # fmt: skip
    return z, code


def resamples(
    recipe: Recipe, rows: NDArray[np.intp], curves: NDArray[np.uint64], seed: int, number: NDArray[np.intp]
) -> tuple[Floats, Floats]:
    """Resamples y, less their mean, and multiplicities (N, M) of curves, named by row in the recipe and id."""
    y, times = np.empty((rows.size, recipe.base.shape[1])), np.empty((rows.size, recipe.base.shape[1]))
    fill: Any = fill_resamples
    fill(
        recipe.code, recipe.arrays, rows, curves, number.astype(np.uint64), np.uint64(seed), draw_space(recipe), y,
        times,
    )  # fmt: skip
    return y, times


def _single_space(m: int) -> Arrays:
    inner = (apart(m), apart(m), apart(m), np.zeros(12), np.zeros(12))
    threes = (tuple(apart(m) for _ in range(3)) for _ in range(2))
    return (*(apart(m) for _ in range(5)), np.zeros(12), np.zeros(4), np.zeros(4), np.zeros(4), *threes, inner)


def _double_space(m: int) -> Arrays:
    here, there, home = ((np.zeros(5), np.zeros(5), np.zeros((6, 8)), np.zeros((5, 5))) for _ in range(3))
    small, free = np.zeros((SMALL, 5)), np.zeros(5, np.int8)
    inner = (there, home, apart(4, m), apart(6, m), apart(2, m), small, free)
    return (
        apart(5, m), apart(m), np.ones(m), apart(4, m), apart(6, m), np.zeros((6, 8)), np.zeros(3),
        np.zeros(4), np.zeros(5), np.zeros(5), np.zeros((5, 5, 5)), here, inner,
    )  # fmt: skip
