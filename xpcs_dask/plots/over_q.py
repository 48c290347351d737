"""A fitted parameter against q, with its intervals; doubtful and failed curves are there too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.models import Floats
from xpcs_dask.plots import marked, style
from xpcs_dask.plots.chosen import SHOWN, WHERE_FROM, choose, dataset, labels_of, read, spread
from xpcs_dask.plots.legend import bars, legend
from xpcs_dask.plots.legend import lines as lines_of
from xpcs_dask.plots.ticks import logarithmic
from xpcs_dask.prepare import known

SYMBOLS: Mapping[str, str] = {
    "tau": "$\\tau$", "tau1": "$\\tau_1$", "tau2": "$\\tau_2$", "q": "$q$", "phi": "$\\varphi$",
    "stretch1": "stretch 1", "stretch2": "stretch 2", "start_time": "start",
}  # fmt: skip
UNITS: Mapping[str, str] = {
    "1/angstrom": "Å⁻¹", "angstrom^2/s": "Å² s⁻¹", "um^2/s": "µm² s⁻¹", "1/s": "s⁻¹", "degree": "°", "degC": "°C",
    "angstrom/s": "Å s⁻¹",
}  # fmt: skip


def parameter(
    fits: xr.Dataset, name: str = "tau", *, against: str = "q", log: bool | None = None, axes: Any = None, **at: Any
) -> Axes:
    """Draw a parameter of the fits of one or several files over q.

    Parameters
    ----------
    fits : Dataset
        Results of `fit` or `bootstrap`.
    name : str
        Of the parameter.
    against : str
        A coordinate along the bins, such as ``"q"``, ``"phi"`` or ``"qbin"``.
    log : bool, optional
        Whether the vertical axis is logarithmic; relaxation times have one unless told.
    axes : Axes, optional
        Where to draw.
    **at
        Which files or bins, by label; of more than six files that nobody chose six are drawn, spread evenly.

    Returns
    -------
    Axes

    Raises
    ------
    ConfigError
        For a parameter, coordinate or label that does not exist.

    Notes
    -----
    Bars are the intervals of the results, or where there are none one standard error. Values that the flags of the fit
    make doubtful are hollow, failed curves are crosses at the bottom; their axis is made for the others. Only the
    parameter, its errors, status and flags are computed.
    """
    fits = dataset(fits, "the results", ["value", "stderr", "status", "flags"])
    fits = choose(one_parameter(fits, name), at, "the results")
    along = _along(fits, against)
    others = [str(dim) for dim in fits["status"].dims if dim != along]
    for dim in others:
        fits = spread(fits, dim, at, SHOWN)
    (found,) = read(fits[[v for v in ("value", "stderr", "interval", "status", "flags") if v in fits]])
    found = found.stack(line=others) if others else found.expand_dims("line")
    found = found.transpose("line", along, ...)
    x: Any = known(fits[against]) if against in fits.coords else np.arange(fits.sizes[along])
    value, kind = found["value"].values, marked.kinds(found["status"].values, found["flags"].values)
    log = fits["value"].attrs["units"] == "s" if log is None else log
    low, high, said = ends(found, fits, log)
    drawn_on = style.one(axes, 6.0)
    if log:
        logarithmic(drawn_on, "y")
    colours = style.colours(len(value)) if len(value) > 1 else [style.BLUE]
    _horizontal(drawn_on, np.asarray(x), against)
    drawn_on.set_ylim(marked.limits(value, kind, log, [low, high]))
    for k, colour in enumerate(colours):
        marked.points(drawn_on, x, value[k], kind[k], colour, low[k], high[k])
    style.label(drawn_on, named(fits, against), with_unit(name, fits["value"].attrs["units"]))
    names = [_line_name(fits, others, index) for index in np.ndindex(*(fits.sizes[dim] for dim in others))]
    neutral = style.GREY if len(colours) > 1 else style.BLUE
    legend(
        drawn_on,
        ("", lines_of(names, colours) if len(colours) > 1 else []),
        ("", [bars(neutral, said)]),
        ("doubtful:", marked.entries(kind, neutral)),
    )
    return drawn_on


def one_parameter(fits: xr.Dataset, name: str) -> xr.Dataset:
    """Results of one parameter; the unit of ``value`` is its unit."""
    names = [str(one) for one in known(fits["parameter"])]
    if name not in names:
        raise ConfigError(f"the results have no parameter {name!r}; they have {', '.join(names)}")
    unit = str(known(fits["unit"])[names.index(name)]) if "unit" in fits.coords else "1"
    found = fits[[v for v in ("value", "stderr", "interval", "status", "flags") if v in fits]]
    found = found.isel(parameter=names.index(name))
    return found.assign(value=found["value"].assign_attrs(units=unit))


def _along(fits: xr.Dataset, against: str) -> str:
    """Dimension along which a coordinate changes."""
    if against in fits.dims and against in fits["status"].dims:
        return against
    if against not in fits.coords:
        raise ConfigError(f"against: the results have no coordinate {against!r}{WHERE_FROM.get(against, '')}")
    if fits[against].ndim != 1 or fits[against].dims[0] not in fits["status"].dims:
        raise ConfigError(f"against: {against!r} does not change along one dimension of the curves")
    return str(fits[against].dims[0])


def ends(found: xr.Dataset, fits: xr.Dataset, log: bool) -> tuple[Floats, Floats, str]:
    """Return the ends of bars and what they are: intervals if there are some, else a standard error (of ln)."""
    if "interval" in found and "bound" in found["interval"].dims:
        edges = found["interval"].transpose(*found["value"].dims, "bound").values
        level = json.loads(fits.attrs.get("bootstrap") or fits.attrs.get("config") or "{}").get("level", 0.95)
        return edges[..., 0], edges[..., 1], f"{100 * level:g} % interval"
    value, error = found["value"].values, found["stderr"].values
    if not log:
        return value - error, value + error, "standard error"
    with np.errstate(all="ignore"):
        factor = np.exp(np.minimum(error / value, 700.0))
        return value / factor, value * factor, "standard error"


def _horizontal(axes: Axes, x: Any, against: str) -> None:
    """Scale and limits of the horizontal axis: logarithmic for q."""
    there = x[np.isfinite(x)] if x.dtype.kind == "f" else x
    if against == "q" and there.size and (there > 0).all():
        logarithmic(axes, "x")
        axes.set_xlim(there.min() / 1.1, there.max() * 1.1)
    elif x.dtype.kind in "iuf" and there.size:
        room = 0.04 * float(there.max() - there.min()) or 0.5
        axes.set_xlim(there.min() - room, there.max() + room)


def _line_name(fits: xr.Dataset, dims: list[str], index: tuple[int, ...]) -> str:
    pieces = [labels_of(fits, dim)[k] for dim, k in zip(dims, index, strict=True) if fits.sizes[dim] > 1]
    return ", ".join(pieces)


def named(data: xr.Dataset, name: str) -> str:
    """Name of an axis for a coordinate, with its unit."""
    attrs = data[name].attrs if name in data.coords else {}
    unit = attrs.get("units", "1")
    return with_unit(name, "1/angstrom" if name == "q" and unit == "1" else unit)


def with_unit(name: str, unit: str) -> str:
    """Name of an axis: a symbol where there is one, and the unit."""
    symbol = SYMBOLS.get(name, name.replace("_", " "))
    return symbol if unit in ("1", "") else f"{symbol} ({UNITS.get(unit, unit)})"
