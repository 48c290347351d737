"""tau(q) with the law through it, its band, and the bins that do not count."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.models import Floats
from xpcs_dask.physics.dispersion import LawName, dispersion
from xpcs_dask.physics.used_bins import meanings
from xpcs_dask.plots import marked, style
from xpcs_dask.plots.chosen import SHOWN, choose, dataset, labels_of, read, same, spread
from xpcs_dask.plots.law_line import law_band, told
from xpcs_dask.plots.legend import BAND, area, bars, legend
from xpcs_dask.plots.over_q import with_unit
from xpcs_dask.plots.ticks import logarithmic, plain
from xpcs_dask.prepare import known

OTHER = "other_group"
"""Bins of another group are not drawn."""


def tau_q(
    fits: xr.Dataset,
    found: xr.Dataset | None = None,
    *,
    law: LawName = "diffusion",
    level: float = 0.95,
    axes: Any = None,
    **at: Any,
) -> Axes:
    """Draw relaxation times over q with the law through them.

    Parameters
    ----------
    fits : Dataset
        Results of `fit`.
    found : Dataset, optional
        What `dispersion` made of them; if not given, `law` is fitted to the files that are drawn.
    law, level : str, float
        As in `dispersion`, where there is no `found`.
    axes : Axes, optional
        Where to draw.
    **at
        Which files or groups, by label; of more than six that nobody chose six are drawn, spread evenly.

    Returns
    -------
    Axes

    Raises
    ------
    ConfigError
        If `found` is not of these results, for labels that do not exist, and as `dispersion`.

    Notes
    -----
    Bars are standard errors of ln tau, the band is the interval of the law at each q: from the errors of its parameters
    and their correlation, as the table of `dispersion` has them. Bins that do not count are hollow, the shape says why.
    The law is drawn over the q of the bins that count. Only what is drawn is computed.
    """
    fits = dataset(fits, "the results", ["value", "stderr", "status", "flags", "q"])
    settings: dict[str, Any] = json.loads(found.attrs.get("dispersion", "{}")) if found is not None else {}
    over, parameter = settings.get("over", "qbin"), settings.get("parameter", "tau")
    if found is None:
        fits = _thinned(choose(fits, at, "the results"), over, at)
        found = dispersion(fits, law, level=level)
        settings = json.loads(found.attrs["dispersion"])
    else:
        found = dataset(found, "found", ["value", "stderr", "correlation", "interval", "excluded"])
        if not settings:
            raise ConfigError("found has no record of its law; give what dispersion returned")
        found = _thinned(choose(found, at, "found"), over, at)
        lines = [str(dim) for dim in found["flags"].dims if dim in fits.dims]
        fits = same(fits, found, lines, "the results")
    names = [str(name) for name in known(fits["parameter"])]
    if parameter not in names:
        raise ConfigError(f"found is of {parameter!r}, the results have {', '.join(names)}")
    times = fits[["value", "stderr"]].isel(parameter=names.index(parameter))
    if str(known(fits["unit"])[names.index(parameter)]) == "1/s":  # a rate: one over it is the time
        times = times.assign(value=1.0 / times["value"], stderr=times["stderr"] / times["value"] ** 2)
        parameter = f"1/{parameter}"
    times, found = read(times, found[["value", "stderr", "interval", "correlation", "excluded", "chi2_p"]])
    return _drawn(times, found, settings, parameter, axes)


def _thinned(data: xr.Dataset, over: str, at: dict[str, Any]) -> xr.Dataset:
    for dim in data["flags"].dims:
        if dim != over:
            data = spread(data, str(dim), at, SHOWN)
    return data


class _File(NamedTuple):
    """What is drawn of one file or group: relaxation times with the ends of their bars, and its law."""

    name: str
    kind: marked.Kinds
    value: Floats
    low: Floats
    high: Floats
    law: xr.Dataset


def _drawn(times: xr.Dataset, found: xr.Dataset, settings: dict[str, Any], parameter: str, axes: Any) -> Axes:
    files = _files(times, found, settings["over"])
    colours = style.colours(len(files)) if len(files) > 1 else [style.BLUE]
    drawn_on = style.one(axes, 6.0)
    logarithmic(drawn_on, "x")
    logarithmic(drawn_on, "y")
    q = np.asarray(known(times["q"]), dtype=np.float64)
    there = q[np.isfinite(q) & (q > 0)]
    if there.size:
        drawn_on.set_xlim(there.min() / 1.1, there.max() * 1.1)
    ends = [end for file in files for end in (file.low, file.high)]
    drawn_on.set_ylim(marked.limits([file.value for file in files], [file.kind for file in files], True, ends))
    entries = []
    for file, colour in zip(files, colours, strict=True):
        here = file.kind != OTHER
        marked.points(drawn_on, q[here], file.value[here], file.kind[here], colour, file.low[here], file.high[here])
        _line(drawn_on, file, settings, q[file.kind == ""], colour, style.BLACK if len(files) == 1 else colour)
        text = ": ".join(filter(None, (file.name, told(file.law, settings["law"]))))
        entries.append(Line2D([], [], color=colour, marker="o", ms=style.MARKER, lw=style.LINE, label=text))
    style.label(drawn_on, "$q$ (Å⁻¹)", with_unit(parameter, "s"))
    neutral = style.GREY if len(files) > 1 else style.BLUE
    parts: list[Any] = [bars(neutral, "standard error")]
    if np.isfinite(found["value"].values).all(axis=-1).any():
        parts.append(area(neutral, f"{100 * settings['level']:g} % band"))
    why = marked.entries([file.kind[file.kind != OTHER] for file in files], neutral)
    legend(drawn_on, ("", entries), ("", parts), ("not used:", why))
    return drawn_on


def _files(times: xr.Dataset, found: xr.Dataset, over: str) -> list[_File]:
    lines = [str(dim) for dim in found["correlation"].dims]
    files = []
    for index in np.ndindex(*(found.sizes[dim] for dim in lines)):
        at = dict(zip(lines, index, strict=True))
        own = times.isel({dim: k for dim, k in at.items() if dim in times.dims}).transpose(..., over)
        value, law = own["value"].values, found.isel(at)
        with np.errstate(all="ignore"):
            factor = np.exp(np.minimum(own["stderr"].values / value, 700.0))
        kind = _kinds(law["excluded"].values)
        files.append(_File(_name(found, lines, index), kind, value, value / factor, value * factor, law))
    return files


def _line(axes: Axes, file: _File, settings: dict[str, Any], used: Floats, colour: Any, line: Any) -> None:
    """Draw the law and its band over the q of the bins that count."""
    if not used.size or not np.isfinite(file.law["value"].values).all():
        return
    smooth = np.geomspace(used.min(), used.max(), 200)
    middle, bottom, top = law_band(file.law, settings, smooth)
    axes.plot(smooth, middle, color=line, linewidth=style.LINE, zorder=2)
    axes.fill_between(smooth, bottom, top, color=colour, alpha=BAND, linewidth=0, zorder=1)


def _kinds(excluded: Any) -> marked.Kinds:
    where = {name: (excluded & np.uint32(bit)) != 0 for bit, name in meanings()}
    return marked.first_of({name: at for name, at in where.items() if at.any()}, excluded.shape)


def _name(found: xr.Dataset, lines: list[str], index: tuple[int, ...]) -> str:
    parts = []
    for dim, k in zip(lines, index, strict=True):
        if found.sizes[dim] > 1:
            phi = f"$\\varphi$ = {plain(float(f'{float(known(found[dim])[k]):.4g}'))}°" if dim == "phi" else ""
            parts.append(phi or labels_of(found, dim)[k])
    return ", ".join(parts)
