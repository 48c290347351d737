"""Fits that are resampled: which of them can be, and what their resamples are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.config import FitConfig
from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.families import numba_found
from xpcs_dask.fitting.hat import project
from xpcs_dask.fitting.kernel.family import Family, family_of
from xpcs_dask.fitting.layout import Status
from xpcs_dask.fitting.models import Floats, Model
from xpcs_dask.fitting.recipe import SCHEMES, Recipe, make_recipe

BLOCK, POINTS = 128, 2**18
"""Curves prepared at once, and points of all their clusters, of which there are several copies."""


@dataclass(frozen=True, slots=True, eq=False)
class Parents:
    """The fits that are resampled, and how."""

    x: Any
    y: Floats
    weight: Floats
    model: Model
    config: FitConfig
    lower: Floats
    upper: Floats
    value: Floats
    good: NDArray[np.intp]
    """Curves that can be resampled."""
    scheme: str
    curve_id: NDArray[np.uint64]
    seed: int
    clusters: NDArray[np.floating] | None

    @property
    def compiled(self) -> bool:
        """Whether kernels know the model."""
        return bool(self.model.family) and numba_found() and np.ndim(self.x) == 1

    @property
    def family(self) -> Family:
        """The model as kernels see it."""
        return family_of(self.model, self.lower, self.upper)

    def blocks(self) -> list[NDArray[np.intp]]:
        """Curves that can be resampled, some at a time."""
        each = 1 if self.clusters is None or self.scheme != "cluster" else self.clusters[0].size
        step = max(1, min(BLOCK, POINTS // max(each, 1)))
        return [self.good[k : k + step] for k in range(0, self.good.size, step)]

    def recipe(self, some: NDArray[np.intp]) -> Recipe:
        """Prepare the resampling of these curves."""
        y, weight = self.y[some], self.weight[some]
        clusters = self.clusters[some] if self.clusters is not None and self.scheme == "cluster" else None
        residual = leverage = np.zeros(y.shape)
        if self.scheme not in ("cluster", "pairs"):
            fit = project(self.value[some], self.x, y, weight, self.model, self.lower, self.upper)
            residual, leverage = fit.residual, fit.leverage
        order = np.argsort(self.x, kind="stable") if np.ndim(self.x) == 1 else np.arange(y.shape[1])
        return make_recipe(self.scheme, order, y, weight, residual, leverage, clusters)

    def resamples(
        self, recipe: Recipe, row: NDArray[np.intp], curve: NDArray[np.intp], number: NDArray[np.intp]
    ) -> tuple[Floats, Floats]:
        """Resamples y (N, m) of curves, each named by its row in the recipe, itself and the number of the replicate.

        Also returns how often each point is in it.
        """
        if self.compiled:
            from xpcs_dask.fitting.kernel.replicates import resamples

            y, times = resamples(recipe, row, self.curve_id[curve], self.seed, number)
        else:
            each = zip(row, curve, number, strict=True)
            drawn = [recipe.draw(j, self.seed, int(self.curve_id[k]), int(b)) for j, k, b in each]
            y, times = np.array([d[0] for d in drawn]), np.array([d[1] for d in drawn])
        m = self.y.shape[1]
        return recipe.unpacked(row, y + recipe.mean[row, None], m), recipe.unpacked(row, times, m)


def make_parents(
    x: Any, y: Floats, weight: Floats, model: Model, config: FitConfig, lower: Floats, upper: Floats,
    rows: NDArray[np.void], scheme: str, curve_id: NDArray[np.uint64], seed: int,
    clusters: NDArray[np.floating] | None,
) -> Parents:  # fmt: skip
    """Check what `replicates` is given, and find the curves that can be resampled."""
    if scheme not in SCHEMES:
        raise ConfigError(f"scheme: '{scheme}' is not known; known are {', '.join(SCHEMES)}")
    good = rows["status"] == Status.CONVERGED
    if scheme == "cluster":
        if clusters is None:
            raise ConfigError("scheme: 'cluster' resamples g2_cluster, and there is none; choose a scheme over delays")
        used = (weight > 0)[:, None, :]
        good = good & ((np.isfinite(clusters) & used).any(axis=2).sum(axis=1) > 1)
    return Parents(
        x, y, weight, model, config, lower, upper, rows["value"], np.flatnonzero(good), scheme,
        np.asarray(curve_id, np.uint64), seed, clusters,
    )  # fmt: skip
