"""What a bootstrap makes of one curve: how each parameter is distributed, and which go together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.models import Floats
from xpcs_dask.plots import style
from xpcs_dask.plots.chosen import alone, choose, dataset, read
from xpcs_dask.plots.over_q import with_unit
from xpcs_dask.plots.style import Panels
from xpcs_dask.prepare import known

SIDE = 2.15
"""Of a panel, cm."""
DOTS = 2000
"""Most refits that are drawn as dots; distributions and correlations take all."""


def replicates(found: xr.Dataset, *, names: Sequence[str] | None = None, axes: Any = None, **at: Any) -> Panels:
    """Draw the refits of one curve: histograms, and every pair of parameters.

    Parameters
    ----------
    found : Dataset
        Results of `bootstrap` with ``keep_replicates=True``.
    names : sequence of str, optional
        Parameters to draw; all that vary unless given.
    axes : array of Axes, shape (p, p), optional
        Where to draw.
    **at
        Which curve, by label.

    Returns
    -------
    array of Axes, shape (p, p)
        Histograms on the diagonal, with the fit (line) and the interval (area); below it pairs, above it their
        correlation.

    Raises
    ------
    ConfigError
        If replicates were not kept, several curves are left, or a parameter does not exist.
    """
    found = dataset(found, "the results", ["value", "replicate", "interval"])
    found = alone(choose(found, at, "the results"), "status", (), "the results")
    every = [str(name) for name in known(found["parameter"])]
    for name in names or ():
        if name not in every:
            raise ConfigError(f"names: the results have no parameter {name!r}; they have {', '.join(every)}")
    (own,) = read(found[["value", "replicate", "interval"]])
    own = own.isel(dict.fromkeys(found["status"].dims, 0))
    refits = own["replicate"].transpose("resample", "parameter").values
    refits = refits[np.isfinite(refits).all(axis=1)]
    if len(refits) < 2:
        raise ConfigError(f"the curve has {len(refits)} refits that ended in a minimum; there is nothing to draw")
    chosen = [every.index(name) for name in names] if names else [k for k in range(len(every)) if np.ptp(refits[:, k])]
    if not chosen:
        raise ConfigError("all parameters of the curve are held: there is nothing to draw")
    grid = _panels(axes, len(chosen))
    powers = [_power(refits[:, k]) for k in chosen]
    units = [str(known(found["unit"])[k]) for k in chosen]
    titles = [_title(every[k], unit, power) for k, unit, power in zip(chosen, units, powers, strict=True)]
    ends = own["interval"].transpose("parameter", "bound").values
    for row, k in enumerate(chosen):
        for column, j in enumerate(chosen):
            panel = grid[row, column]
            if row == column:
                _histogram(panel, refits[:, k], float(own["value"][k]), ends[k])
            elif row > column:
                _pairs(panel, refits[:, j], refits[:, k], float(own["value"][j]), float(own["value"][k]))
            else:
                _correlation(panel, refits[:, j], refits[:, k])
    _finish(grid, refits[:, chosen], titles, powers)
    return grid


def _panels(axes: Any, count: int) -> Panels:
    if axes is None:
        made = style.figure(max(style.COLUMN, SIDE * count), max(style.COLUMN, SIDE * count) * 0.95)
        return np.asarray(made.subplots(count, count, squeeze=False))
    given = style.panels(axes)
    if given.size != count**2:
        raise ConfigError(f"axes: {count} parameters need {count} x {count} Axes, not {given.size}")
    return given.reshape(count, count)


def _histogram(axes: Axes, values: Floats, fitted: float, ends: Floats) -> None:
    axes.axvspan(float(ends[0]), float(ends[1]), color=style.BLUE, alpha=0.2, linewidth=0)
    axes.hist(values, bins=min(40, max(8, int(np.sqrt(values.size)))), histtype="step", color=style.BLUE, linewidth=0.9)
    axes.axvline(fitted, color=style.BLACK, linewidth=0.8)


def _pairs(axes: Axes, x: Floats, y: Floats, at_x: float, at_y: float) -> None:
    few = slice(None, None, max(1, -(-x.size // DOTS)))
    axes.plot(x[few], y[few], ".", color=style.BLUE, markersize=1.6, markeredgewidth=0, alpha=0.5, rasterized=True)
    axes.plot(at_x, at_y, "+", color=style.BLACK, markersize=6, markeredgewidth=0.9)


def _correlation(axes: Axes, x: Floats, y: Floats) -> None:
    found = float(np.corrcoef(x, y)[0, 1])
    axes.text(
        0.5, 0.5, f"{found:.2f}".replace("-", "\N{MINUS SIGN}"), transform=axes.transAxes, ha="center", va="center",
        **style.size(axes, style.LABEL),
    )  # fmt: skip


def _power(values: Floats) -> int:
    """Power of ten that stands with the name of an axis, so that its ticks are short."""
    largest = float(np.abs(values).max())
    power = int(np.floor(np.log10(largest))) if largest > 0 else 0
    return 0 if -2 <= power <= 3 else power


def _title(name: str, unit: str, power: int) -> str:
    if not power:
        return with_unit(name, unit)
    scale = f"$10^{{{power}}}$"
    return with_unit(name, scale if unit in ("1", "") else f"{scale} {unit}")


def _finish(grid: Panels, refits: Floats, titles: list[str], powers: list[int]) -> None:
    """Limits that hold 99.8 % of the refits, names and ticks on the outer panels alone."""
    count = len(grid)
    low, high = np.quantile(refits, [0.001, 0.999], axis=0)
    room = 0.1 * (high - low)
    for (row, column), panel in np.ndenumerate(grid):
        style.label(panel)
        if row < column:
            panel.set_axis_off()
            continue
        panel.set_xlim(low[column] - room[column], high[column] + room[column])
        if row != column:
            panel.set_ylim(low[row] - room[row], high[row] + room[row])
        _few_ticks(panel.xaxis, powers[column])
        _few_ticks(panel.yaxis, powers[row])
        if row == column:
            panel.set_yticks([])
        outer_y = column == 0 and row > 0
        panel.tick_params(labelbottom=row == count - 1, labelleft=outer_y)
        panel.tick_params(axis="x", labelrotation=90)
        panel.set_xlabel(titles[column] if row == count - 1 else "", **style.size(panel, style.LABEL))
        panel.set_ylabel(titles[row] if outer_y else "", **style.size(panel, style.LABEL))
    if style.ours(grid[0, 0]):
        style.root(grid[0, 0]).align_labels()


def _few_ticks(axis: Any, power: int) -> None:
    axis.set_major_locator(MaxNLocator(2, min_n_ticks=2))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / 10.0**power:.6g}".replace("-", "\N{MINUS SIGN}")))
