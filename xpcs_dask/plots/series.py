"""A parameter of some bins against time, temperature, or whatever else changes along the files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.models import Floats
from xpcs_dask.plots import marked, style
from xpcs_dask.plots.chosen import choose, dataset, heading, read, spoken, spread
from xpcs_dask.plots.legend import bars, legend
from xpcs_dask.plots.legend import lines as lines_of
from xpcs_dask.plots.over_q import ends, named, one_parameter, with_unit
from xpcs_dask.plots.ticks import logarithmic
from xpcs_dask.prepare import known

NEEDED = ("value", "stderr", "status", "flags")


def parameter_series(
    fits: xr.Dataset, name: str = "tau", *, along: str = "file", log: bool | None = None, axes: Any = None, **at: Any
) -> Axes:
    """Draw a parameter of some bins against a coordinate of the files: ageing, a temperature series.

    Parameters
    ----------
    fits : Dataset
        Results of `fit` of a series.
    name : str
        Of the parameter.
    along : str
        A coordinate along the files, such as ``"start_time"`` or ``"temperature"``; or a dimension, whose entries are
        then numbered.
    log : bool, optional
        As in `parameter`.
    axes : Axes, optional
        Where to draw.
    **at
        Which files and bins, by label; of more than six bins that nobody chose six are drawn, spread evenly.

    Returns
    -------
    Axes

    Raises
    ------
    ConfigError
        For names or labels that do not exist, and coordinates that do not change along one dimension.
    """
    fits = choose(one_parameter(dataset(fits, "the results", NEEDED), name), at, "the results")
    dim, x, text = _places(fits, along)
    lines = [str(other) for other in fits["status"].dims if other != dim]
    for other in lines:
        fits = spread(fits, other, at)
    (own,) = read(fits[[v for v in (*NEEDED, "interval") if v in fits]])
    own = own.stack(line=lines) if lines else own.expand_dims("line")
    own = own.transpose("line", dim, ...)
    log = fits["value"].attrs["units"] == "s" if log is None else log
    value, kind = own["value"].values, marked.kinds(own["status"].values, own["flags"].values)
    low, high, said = ends(own, fits, log)
    drawn_on = style.one(axes, 6.0)
    if log:
        logarithmic(drawn_on, "y")
    drawn_on.set_ylim(marked.limits(value, kind, log, [low, high]))
    numbers = _horizontal(drawn_on, x)
    if numbers.size and np.isfinite(numbers).any():
        room = 0.04 * float(np.ptp(numbers[np.isfinite(numbers)])) or 0.5
        drawn_on.set_xlim(np.nanmin(numbers) - room, np.nanmax(numbers) + room)
    colours = style.ordered(len(value)) if len(value) > 1 else [style.BLUE]
    order = np.argsort(numbers, kind="stable")
    for k, colour in enumerate(colours):
        good = order[(kind[k][order] == "") & np.isfinite(value[k][order])]
        drawn_on.plot(numbers[good], value[k][good], "-", color=colour, linewidth=0.6, alpha=0.6, zorder=1.5)
        marked.points(drawn_on, numbers, value[k], kind[k], colour, low[k], high[k])
    style.label(drawn_on, text, with_unit(name, fits["value"].attrs["units"]))
    names = [_spoken(fits, lines, index) for index in np.ndindex(*(fits.sizes[other] for other in lines))]
    neutral = style.GREY if len(colours) > 1 else style.BLUE
    legend(
        drawn_on,
        (f"{heading(fits, lines[0])}:" if lines else "", lines_of(names, colours) if lines else []),
        ("", [bars(neutral, said)]),
        ("doubtful:", marked.entries(kind, neutral)),
    )
    return drawn_on


def _places(fits: xr.Dataset, along: str) -> tuple[str, NDArray[Any], str]:
    """Dimension along which a coordinate changes, its values, and the name of the axis."""
    if along not in fits.coords and along not in fits.dims:
        there = [str(name) for name, c in fits.coords.items() if c.ndim == 1 and c.dims[0] in fits["status"].dims]
        raise ConfigError(f"along: the results have no coordinate {along!r}; they have {', '.join(sorted(there))}")
    values = known(fits[along]) if along in fits.coords else None
    if along in fits["status"].dims and (values is None or values.dtype.kind in "OUT"):
        return along, np.arange(fits.sizes[along]), f"number of {along}"
    if values is None or values.ndim != 1 or fits[along].dims[0] not in fits["status"].dims:
        raise ConfigError(f"along: {along!r} does not change along one dimension of the curves")
    if values.dtype.kind not in "iufM":
        raise ConfigError(f"along: {along!r} holds {values.dtype}, not numbers or times")
    if values.dtype.kind == "M":
        zone = str(fits[along].attrs.get("time_zone", ""))
        told = {"": "", "UTC": " (UTC)"}.get(zone, f" ({zone} time)")
        return str(fits[along].dims[0]), values, f"{'start' if along == 'start_time' else along}{told}"
    return str(fits[along].dims[0]), values, named(fits, along)


def _horizontal(axes: Axes, x: NDArray[Any]) -> Floats:
    """Set the ticks of the horizontal axis; returns where the entries stand on it."""
    if x.dtype.kind != "M":
        axes.xaxis.set_major_locator(MaxNLocator(6))
        return x.astype(np.float64)
    locator = AutoDateLocator(minticks=3, maxticks=6)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.xaxis.get_offset_text().set(**style.size(axes, style.TICK))
    days: Floats = date2num(x)  # type: ignore[no-untyped-call]
    return np.where(np.isnat(x), np.nan, days)


def _spoken(fits: xr.Dataset, lines: Sequence[str], index: tuple[int, ...]) -> str:
    """Name of a line: its entries along dimensions that have several."""
    each = [(dim, k) for dim, k in zip(lines, index, strict=True) if fits.sizes[dim] > 1 or dim == "qbin"]
    return ", ".join(spoken(fits, dim, k) for dim, k in each)
