"""Two-time correlation maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.models import Floats
from xpcs_dask.plots import style
from xpcs_dask.plots.chosen import alone, choose, dataset, read
from xpcs_dask.prepare import known

SPAN = (0.01, 0.99)
"""Share of the values that the colours span unless told."""


def twotime(
    c2: xr.Dataset | xr.DataArray, *, diagonal: bool = False, limits: tuple[float, float] | None = None,
    largest: int = 600, axes: Any = None, **at: Any,
) -> Axes:  # fmt: skip
    """Draw a two-time correlation map.

    Parameters
    ----------
    c2 : Dataset or DataArray
        What ``open_arrays(path, ["c2"])`` returns, or an array whose last two dimensions are times, with coordinates in
        s; without coordinates the axes count frames.
    diagonal : bool
        Show the diagonal as it is; else, since it carries shot noise, the mean of its neighbours stands in its place.
    limits : (float, float), optional
        Of the colours; the 1st and 99th percentile unless given, with arrows where values lie beyond.
    largest : int
        Pixels along a side; larger maps are thinned to means of squares.
    axes : Axes, optional
        Where to draw; a colour bar is put beside it.
    **at
        Which map, by label: ``c2_bin=1``, ``file="run7.hdf"``.

    Returns
    -------
    Axes

    Raises
    ------
    ConfigError
        If there are several maps and none is named, a label does not exist, or the map is not square.
    """
    data = c2.to_dataset(name="c2") if isinstance(c2, xr.DataArray) else dataset(c2, "the data", ["c2"])
    times = [str(dim) for dim in data["c2"].dims[-2:]]
    if len(times) < 2:
        raise ConfigError(f"a two-time map has two dimensions of time; c2 has {', '.join(times) or 'none'}")
    data = alone(choose(data, at, "the data"), "c2", times, "the data")
    if data.sizes[times[0]] != data.sizes[times[1]]:
        raise ConfigError(f"a two-time map is square; c2 has {data.sizes[times[0]]} x {data.sizes[times[1]]} times")
    if limits is not None and not limits[0] < limits[1]:
        raise ConfigError(f"limits: ({limits[0]:g}, {limits[1]:g}) is empty; give (low, high) with low < high")
    (own,) = read(data[["c2"]])
    values = own["c2"].transpose(..., *times).values.reshape(data.sizes[times[0]], -1).astype(np.float64)
    shown = thinned(values if diagonal else without_diagonal(values), largest)
    finite = shown[np.isfinite(shown)]
    low, high = limits or (tuple(np.quantile(finite, SPAN)) if finite.size else (1.0, 1.2))
    drawn_on = style.one(axes, 7.2, square=True)
    reach, text = _reach(data, times)
    image = drawn_on.imshow(
        shown.T, origin="lower", extent=(*reach[0], *reach[1]), vmin=low, vmax=high, interpolation="nearest",
        cmap=colormaps[style.SEQUENTIAL], aspect="equal",
    )  # fmt: skip
    drawn_on.set_facecolor(style.PALE)
    below, above = bool((finite < low).any()), bool((finite > high).any())
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get((below, above), "neither")
    style.colour_bar(drawn_on, image, "$C_2(t_1, t_2)$", extend)
    for axis in (drawn_on.xaxis, drawn_on.yaxis):
        axis.set_major_locator(MaxNLocator(5))
        axis.set_major_formatter("{x:g}")
    style.label(drawn_on, f"$t_1$ ({text})", f"$t_2$ ({text})")
    return drawn_on


def _reach(data: xr.Dataset, times: list[str]) -> tuple[list[tuple[float, float]], str]:
    """Return the ends of both axes, half a step beyond the first and the last frame, and their unit."""
    found = []
    for dim in times:
        there = dim in data.coords
        t = known(data[dim]).astype(np.float64) if there else np.arange(data.sizes[dim], dtype=np.float64)
        half = (t[-1] - t[0]) / max(t.size - 1, 1) / 2 or 0.5
        found.append((float(t[0] - half), float(t[-1] + half)))
    return found, str(data[times[0]].attrs.get("units", "s")) if times[0] in data.coords else "frames"


def without_diagonal(values: Floats) -> Floats:
    """Map (n, n) whose diagonal is the mean of the neighbours of each of its points in time."""
    if len(values) < 2:
        return values
    beside = np.stack([np.append(np.diagonal(values, 1), np.nan), np.append(np.nan, np.diagonal(values, 1))])
    found = values.copy()
    np.fill_diagonal(found, np.nanmean(np.where(np.isfinite(beside).any(axis=0), beside, 0.0), axis=0))
    return found


def thinned(values: Floats, largest: int) -> Floats:
    """Means of squares of a map (n, n), so that it has at most `largest` of them along a side; NaN does not count."""
    step = -(-len(values) // max(largest, 1))
    if step == 1:
        return values
    side = -(-len(values) // step)
    padded = np.full((side * step, side * step), np.nan)
    padded[: len(values), : len(values)] = values
    squares = padded.reshape(side, step, side, step)
    count = np.isfinite(squares).sum(axis=(1, 3))
    return np.where(count > 0, np.nansum(squares, axis=(1, 3)) / np.maximum(count, 1), np.nan)
