"""A parameter over the files of a series, as a map over file and q."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.layout import Status
from xpcs_dask.plots import marked, style
from xpcs_dask.plots.chosen import alone, choose, dataset, heading, read, spoken
from xpcs_dask.plots.legend import legend, solid
from xpcs_dask.plots.over_q import named, one_parameter, with_unit
from xpcs_dask.plots.ticks import plain, ticked
from xpcs_dask.prepare import known

MOST_DOTS = 2500
"""Curves of a map up to which doubtful ones have a dot."""
ROWS = 7
"""Bins that are named beside a map."""
RANGE = (0.02, 0.98)
"""Share of the good values that the colours span."""
NEEDED = ("value", "stderr", "status", "flags")


def parameter_map(
    fits: xr.Dataset, name: str = "tau", *, along: str = "file", over: str = "qbin", log: bool | None = None,
    axes: Any = None, **at: Any,
) -> Axes:  # fmt: skip
    """Draw a parameter as colour over files and bins.

    Parameters
    ----------
    fits : Dataset
        Results of `fit` of a series.
    name : str
        Of the parameter.
    along, over : str
        Dimensions of the horizontal and of the vertical axis; each row and column is one bin and one file.
    log : bool, optional
        Whether colours are logarithmic; those of relaxation times are unless told.
    axes : Axes, optional
        Where to draw; a colour bar is put beside it.
    **at
        Which files or bins, by label.

    Returns
    -------
    Axes

    Raises
    ------
    ConfigError
        For names, dimensions or labels that do not exist.

    Notes
    -----
    Colours span the middle 96 % of the values that nothing speaks against; arrows of the colour bar say that there are
    others. Failed curves are grey. Doubtful ones have a dot in maps of up to 2,500 curves.
    """
    fits = dataset(fits, "the results", NEEDED)
    for dim in (along, over):
        if dim not in fits["status"].dims:
            raise ConfigError(
                f"the results have no dimension {dim!r}; they have {', '.join(map(str, fits['status'].dims))}"
            )
    fits = alone(choose(one_parameter(fits, name), at, "the results"), "status", (along, over), "the results")
    (own,) = read(fits[["value", "status", "flags"]])
    own = own.isel({dim: 0 for dim in fits["status"].dims if dim not in (along, over)}).transpose(over, along)
    kind = marked.kinds(own["status"].values, own["flags"].values)
    value = np.where(own["status"].values == Status.CONVERGED, own["value"].values, np.nan)
    unit = fits["value"].attrs["units"]
    log = unit == "s" if log is None else log
    drawn_on = style.one(axes, 6.0)
    drawn_on.set_facecolor(style.PALE)
    norm, extend = _norm(value, kind, log)
    shown = np.ma.masked_invalid(np.where(value > 0, value, np.nan) if log else value)
    row_edges, column_edges = (np.arange(count + 1) - 0.5 for count in value.shape)
    mesh = drawn_on.pcolormesh(
        column_edges, row_edges, shown, norm=norm, cmap=colormaps[style.SEQUENTIAL], rasterized=True
    )
    doubtful = (kind != "") & (kind != marked.FAILED)
    if kind.size <= MOST_DOTS and doubtful.any():
        row, column = np.nonzero(doubtful)
        drawn_on.plot(
            column, row, ".", color="white", markersize=3.2, markeredgewidth=0.5,
            markeredgecolor=style.BLACK, gid="doubtful",
        )  # fmt: skip
    bar = style.colour_bar(drawn_on, mesh, with_unit(name, unit), extend)
    if log:
        ticked(bar.ax.yaxis, 5)
    _sides(drawn_on, fits, along, over)
    _key(drawn_on, kind, doubtful)
    return drawn_on


def _norm(value: Any, kind: Any, log: bool) -> tuple[Normalize, str]:
    usable = np.isfinite(value) & ((value > 0) | (not log))
    good = value[usable & (kind == "")]
    good = good if good.size else value[usable]
    low, high = np.quantile(good, RANGE) if good.size else (0.1, 1.0)
    if not low < high:
        low, high = (low / 1.1, high * 1.1) if log else (low - 0.5, high + 0.5)
    below, above = bool((value[usable] < low).any()), bool((value[usable] > high).any())
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get((below, above), "neither")
    return (LogNorm(low, high) if log else Normalize(low, high)), extend


def _sides(axes: Axes, fits: xr.Dataset, along: str, over: str) -> None:
    """Ticks: numbers or short labels of files, q of bins."""
    count = fits.sizes[over]
    rows = np.unique(np.linspace(0, count - 1, min(count, ROWS)).round().astype(int))
    axes.yaxis.set_major_locator(FixedLocator(rows.tolist()))
    names = {row: spoken(fits, over, int(row)) for row in rows}
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: names.get(round(y), "")))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    labels = known(fits[along]) if along in fits.coords else None
    if labels is not None and labels.dtype.kind in "iuf":
        places = np.unique(np.linspace(0, fits.sizes[along] - 1, min(fits.sizes[along], 6)).round().astype(int))
        axes.xaxis.set_major_locator(FixedLocator(places.tolist()))
        told = {place: plain(float(labels[place])) for place in places}
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: told.get(round(x), "")))
        style.label(axes, named(fits, along), heading(fits, over))
    else:
        style.label(axes, f"number of {along}", heading(fits, over))


def _key(axes: Axes, kind: Any, doubtful: Any) -> None:
    entries: list[Any] = []
    if (kind == marked.FAILED).any():
        entries.append(solid(style.PALE, "failed"))
    if doubtful.any() and kind.size <= MOST_DOTS:
        names, counts = np.unique(kind[doubtful], return_counts=True)
        most = [marked.in_words(str(name)) for name in names[np.argsort(-counts, kind="stable")]]
        told = ", ".join(most[:2]) + (", …" if len(most) > 2 else "")
        dot: dict[str, Any] = {"marker": ".", "ls": "", "color": "white", "mec": style.BLACK, "mew": 0.5, "ms": 4}
        entries.append(Line2D([], [], label=f"doubtful ({told})", **dot))
    legend(axes, ("", entries))
