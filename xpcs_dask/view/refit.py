"""All q bins of one file fitted with the settings of the page, without the points that were excluded by hand."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import xarray as xr

from xpcs_dask.api import fit, quality
from xpcs_dask.config import FitConfig
from xpcs_dask.prepare import known
from xpcs_dask.view.choices import Choices

__all__ = ["Excluded", "Refit", "refit", "warm_up", "without"]

Excluded: TypeAlias = frozenset[tuple[int, int]]
"""Points by position: (q bin, delay)."""
BY_HAND = "excluded_by_hand"
"""Attribute of results that lists these points, as JSON: ``[[qbin label, [delay in s, ...]], ...]``."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Refit:
    """Fits of one file, in memory."""

    results: xr.Dataset
    """(qbin, ...) of `fit` with ``detail="full"`` and intervals."""
    points: xr.Dataset
    """``sigma`` and ``quality`` (qbin, delay)."""
    choices: Choices
    config: FitConfig
    excluded: Excluded
    seconds: float
    """That it took."""


def refit(curves: xr.Dataset, choices: Choices, excluded: Excluded = frozenset()) -> Refit:
    """Fit all curves (qbin, delay) of a file.

    Parameters
    ----------
    curves : xarray.Dataset
        In memory.
    choices : Choices
    excluded : set of (int, int)
        Points that the fit must not see: their g2 is NaN to it, so that they also have no part in the errors of their
        neighbours. In the results they are flagged ``missing``.

    Raises
    ------
    XpcsError
        For settings that make no sense, in one line.
    """
    begun = time.perf_counter()
    data = without(curves, excluded)
    config = choices.config(known(curves["delay"]).astype(np.float64))
    config = FitConfig.make(config, detail="full", interval=_interval(config))
    results = fit(data, choices.record, config=config)
    points = quality(data, config=config)
    assert isinstance(points, xr.Dataset)
    return Refit(
        results=results,
        points=points,
        choices=choices,
        config=config,
        excluded=excluded,
        seconds=time.perf_counter() - begun,
    )


def without(curves: xr.Dataset, excluded: Collection[tuple[int, int]]) -> xr.Dataset:
    """Curves (qbin, delay) in which the points `excluded`, by position, are missing."""
    if not excluded:
        return curves
    g2 = curves["g2"].transpose("qbin", "delay").copy(deep=True)
    bins, delays = zip(*sorted(excluded), strict=True)
    g2.values[list(bins), list(delays)] = np.nan
    return curves.assign(g2=g2)


def warm_up(curves: xr.Dataset, models: Collection[str]) -> None:
    """Fit once with each model, so that no kernel is left to compile when somebody waits for it."""
    for model in models:
        refit(curves, Choices(model=model))


def _interval(config: FitConfig) -> str:
    """Intervals are shown always; those of the profile only where they were asked for, for they take their time."""
    return "covariance" if config.interval == "none" else config.interval
