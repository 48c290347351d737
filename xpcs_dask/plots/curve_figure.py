"""g2 of some bins: points with the errors that weighed them, fit, band, residuals; and why points were not used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.lines import Line2D

from xpcs_dask.config import FitConfig
from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.models import Evaluate, Model
from xpcs_dask.plots import style
from xpcs_dask.plots.curve_parts import (
    SHAPES,
    beyond,
    darker,
    delays,
    draw,
    in_words,
    limits,
    reach,
    residual_points,
    unused,
)
from xpcs_dask.plots.curve_read import Drawn, curves
from xpcs_dask.plots.legend import BAND, Group, area, bars, legend
from xpcs_dask.plots.points import REASONS, reason_of
from xpcs_dask.plots.style import Panels

HEIGHTS = (2.3, 1.0)
"""Of the two panels."""


def g2(
    data: xr.Dataset | xr.DataArray,
    fits: xr.Dataset | None = None,
    *,
    sigma: Any = None,
    model: str | Model | Evaluate | None = None,
    config: FitConfig | None = None,
    level: float = 0.95,
    band: bool = True,
    residuals: bool = True,
    quoted: bool = False,
    axes: Any = None,
    **at: Any,
) -> Panels:
    """Draw curves with their errors, fits, bands and residuals.

    Parameters
    ----------
    data : Dataset or DataArray
        What was fitted: ``g2 (..., delay)`` with what its weights need, as `fit` takes it.
    fits : Dataset, optional
        Results of `fit` or `bootstrap` for these curves (or more); without them points alone are drawn.
    sigma : array, optional
        Errors, if `data` is a DataArray.
    model : str, Model or callable, optional
        What was fitted, if that is none of `MODELS`.
    config : FitConfig, optional
        Settings of the errors, where there are no `fits`.
    level : float
        Of the band, at each delay by itself: quantiles of the replicates of a bootstrap if they were kept, else from
        the covariance by the delta method.
    band, residuals : bool
        Whether to draw them.
    quoted : bool
        Draw the errors that the file quotes too, in grey.
    axes : Axes or two of them, optional
        For the curves and the residuals; one alone gets the curves.
    **at
        Which curves, by label: ``file="run7.hdf"``, ``qbin=[1, 5]``; one file. Without ``qbin`` at most six bins are
        drawn, spread evenly.

    Returns
    -------
    array of Axes, shape (2,) or (1,)
        Curves, and residuals in units of sigma.

    Raises
    ------
    ConfigError
        If there are several files and none is named, for labels that do not exist, if `fits` are of other curves.

    Notes
    -----
    Error bars are the errors that weighed the points in the fit (`xpcs_dask.quality`), not those of the file. Points
    without weight are hollow, the shape says why; such points have no error bar. Lines are dotted beyond the delays
    that were used. Results with ``detail="core"`` have no covariance, and the legend says that there is no band.
    Nothing but the chosen curves is computed.
    """
    if not 0 < level < 1:
        raise ConfigError(f"level is {level:g}; it must lie between 0 and 1, such as 0.95")
    drawn = curves(data, fits, at, sigma=sigma, model=model, config=config)
    found, grid = drawn.curves, _panels(axes, residuals and fits is not None)
    colours = style.ordered(len(found)) if len(found) > 1 else [style.BLUE]
    each = list(zip(found, colours, strict=True))
    low, high = limits(found)
    grid[0].set_ylim(low, high)
    opacity = BAND if len(found) == 1 else BAND / 2
    rests = {draw(grid[0], curve, colour, level if band else 0.0, quoted, opacity) for curve, colour in each}
    last = reach(found)
    for curve, colour in each:
        beyond(grid[0], curve, colour)
        unused(grid[0], curve, colour, last)
    delays(grid, found)
    if len(grid) > 1:
        residual_points(grid[1], found, colours)
        style.label(grid[1], "delay (s)", "residual / σ")
        grid[0].tick_params(labelbottom=False)
    style.label(grid[0], "" if len(grid) > 1 else "delay (s)", "$g_2$")
    legend(grid[0], *_entries(drawn, colours, rests - {None}, level if band else 0.0, quoted))
    style.aligned(grid)
    return grid


def _panels(axes: Any, residuals: bool) -> Panels:
    if axes is not None:
        given = style.panels(axes)
        if given.size > 2:
            raise ConfigError(f"axes: give one or two Axes (curves, residuals), not {given.size}")
        return given
    if not residuals:
        return style.panels(style.figure(height=5.5).subplots())
    made = style.figure(height=7.4).subplots(2, 1, sharex=True, height_ratios=HEIGHTS)
    return style.panels(made)


def _entries(drawn: Drawn, colours: Sequence[Any], rests: set[Any], level: float, quoted: bool) -> list[Group]:
    """Return the entries of the legend: curves; what bars, lines and bands are; the reasons that occur."""
    found = drawn.curves
    several = len(found) > 1
    neutral = style.GREY if several else colours[0]
    names: list[Any] = []
    parts: list[Any] = []
    why: list[Any] = []
    for curve, colour in zip(found, colours, strict=True):
        name = curve.name + (f" ({curve.failed})" if curve.failed else "")
        names.append(Line2D([], [], color=colour, marker="o", ls="", ms=style.MARKER, label=name))
    if drawn.bars:
        parts.append(bars(neutral, f"σ ({drawn.bars})"))
    if quoted:
        parts.append(bars(style.GREY, "quoted σ"))
    if fit := next((curve.fit for curve in found if curve.fit), None):
        bare = level and fit.covariance is None and fit.replicates is None
        text = f"fit ({fit.model.name})" + (", no covariance for a band" if bare else "")
        parts.append(Line2D([], [], color=darker(neutral), lw=style.LINE, label=text))
    parts += [area(neutral, f"{100 * level:g} % band{rest}") for rest in sorted(rests)]
    reason = np.concatenate([reason_of(curve.bits)[~curve.used] for curve in found])
    for bit in (*REASONS, 0):
        if (reason == bit).any():
            shape: dict[str, Any] = {"marker": SHAPES.get(bit, "o"), "fillstyle": "none", "ls": "", "ms": style.HOLLOW}
            why.append(Line2D([], [], color=neutral, mew=0.7, label=in_words(bit), **shape))
    return [(f"{drawn.heading}:", names if found[0].name else []), ("", parts), ("not used:", why)]
