"""g2 of files with error bars and fitted lines: one panel a bin, one a file, or all in one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["compute_geometry", "pg_plot"]

COLORS = (
    "#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22"
)  # fmt: skip
MARKERS = "osdv^<>ph*"
PANEL = (3.1, 2.5)
"""Inches."""
MOST_NAMED = 12
"""Entries of a legend."""

Floats = NDArray[np.float64]


def compute_geometry(g2: Sequence[NDArray[Any]], plot_type: str) -> tuple[int, int]:
    """Return the number of panels, and of curves in each.

    Parameters
    ----------
    g2 : sequence of (delay, bin) arrays
        One a file.
    plot_type : "multiple", "single" or "single-combined"
        One panel a bin, one a file, or one for all.
    """
    files, bins = len(g2), g2[0].shape[1] if len(g2) else 0
    known = {"multiple": (bins, files), "single": (files, bins), "single-combined": (1, files * bins)}
    if plot_type not in known:
        raise ConfigError(f"plot_type: {plot_type!r} is none of {', '.join(map(repr, known))}")
    return known[plot_type]


def pg_plot(
    hdl: Any,
    xf_list: Sequence[Any],
    q_range: Any,
    t_range: Any,
    y_range: Any,
    y_auto: bool = False,
    q_auto: bool = False,
    t_auto: bool = False,
    num_col: int = 4,
    rows: Sequence[int] | None = None,
    offset: float = 0,
    show_fit: bool = False,
    show_label: bool = False,
    bounds: Any = None,
    fit_flag: Any = None,
    plot_type: str = "multiple",
    subtract_baseline: bool = True,
    marker_size: float = 5,
    label_size: float = 4,
    fit_func: str = "single",
    robust_fitting: bool = False,
    enable_diagnostics: bool = False,
    **kwargs: Any,
) -> Any:
    """Draw g2 of files over delay, with error bars, and lines of fits.

    Parameters
    ----------
    hdl : matplotlib Figure or Axes, or what has one as ``figure``
        Where to draw; panels replace what it holds. An Axes takes all curves by itself.
    xf_list : sequence of XpcsFile
    q_range, t_range : (float, float) or None
        1/angstrom and s; not heeded with `q_auto`, `t_auto`.
    y_range : (float, float) or None
        Of g2 on every panel; not heeded with `y_auto`.
    num_col : int
        Panels side by side, at most.
    rows : sequence of int, optional
        Number of each file in a longer list, which chooses its color and marker.
    offset : float
        By which each file is drawn above the one before.
    show_fit : bool
        Draw lines of fits. With `bounds` files are fitted first (see `XpcsFile.fit_g2`), else the last fit is drawn.
    show_label : bool
        Show a legend.
    bounds, fit_flag, fit_func, robust_fitting
        As in `XpcsFile.fit_g2`.
    plot_type : "multiple", "single" or "single-combined"
        See `compute_geometry`.
    subtract_baseline : bool
        Shift curves with a fitted line so that their baseline is 1.
    marker_size, label_size : float
        Points. Letters of legends are 3 larger; with panels of bins the first alone has a legend.
    enable_diagnostics : bool
        Write reduced chi2 beside the line, if the fit tells it.
    **kwargs
        Not used: for handles that pass more.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ConfigError
        For a handle that cannot be drawn on, or files without multi-tau g2.
    """
    from xpcs_dask.toolkit.g2mod import get_data

    q_range, t_range = None if q_auto else q_range, None if t_auto else t_range
    _, t_el, g2, errors, labels = get_data(xf_list, q_range, t_range)
    if not g2:
        raise ConfigError("no file, or files without multi-tau g2: there is nothing to draw")
    count, _ = compute_geometry(g2, plot_type)
    figure, axes = _panels(hdl, count, num_col)
    rows = range(len(xf_list)) if rows is None or not len(rows) else rows
    for m, xf in enumerate(xf_list):
        summary = _summary(xf, q_range, t_range, bounds, fit_flag, fit_func, robust_fitting) if show_fit else None
        for n, label in enumerate(labels[m]):
            curve = Curve(t_el[m], g2[m][:, n], errors[m][:, n], *_line(summary, label))
            curve = curve.shifted((1.0 - curve.baseline if subtract_baseline else 0.0) + m * offset)
            panel, color, text = _place(plot_type, m, n, rows[m], len(labels[m]), xf.label, label)
            _draw(axes[panel % len(axes)], curve, color, MARKERS[rows[m] % len(MARKERS)], text, marker_size)
            if enable_diagnostics:
                _note(axes[panel % len(axes)], summary, label, color, label_size)
    titles = {"multiple": labels[0], "single": [xf.label for xf in xf_list]}.get(plot_type, [""])
    name = "g2, baseline at 1" if show_fit and subtract_baseline else "g2"
    _finish(axes, titles, name, num_col, None if y_auto else y_range, t_range)
    for ax in (axes[:1] if plot_type == "multiple" else axes) if show_label else []:
        _legend(ax, label_size + 3)
    return figure


@dataclass(frozen=True)
class Curve:
    """One curve of g2 with its errors, and the line of its fit."""

    delay: Floats
    g2: Floats
    error: Floats
    line: tuple[Floats, Floats] | None
    baseline: float

    def shifted(self, by: float) -> Curve:
        """Return it, moved up."""
        line = None if self.line is None else (self.line[0], self.line[1] + by)
        return Curve(self.delay, self.g2 + by, self.error, line, self.baseline)


def _summary(
    xf: Any, q_range: Any, t_range: Any, bounds: Any, fit_flag: Any, fit_func: str, robust_fitting: bool
) -> Any:
    """Fit if there are bounds; else take the last fit, if there is one."""
    if bounds is None:
        return xf.fit_summary
    return xf.fit_g2(q_range, t_range, bounds, fit_flag, fit_func, robust_fitting=robust_fitting)


def _line(summary: Any, label: str) -> tuple[tuple[Floats, Floats] | None, float]:
    """Fitted line of the bin called `label`, and its baseline; none and 1 where it was not fitted."""
    number = _number(summary, label)
    if number is None or not summary["fit_line"][number]["success"]:
        return None, 1.0
    line = summary["fit_line"][number]
    return (np.asarray(line["fit_x"]), np.asarray(line["fit_y"])), float(summary["fit_val"][number, 0, 3])


def _number(summary: Any, label: str) -> int | None:
    """Row of a bin in a summary, which may be of other bins than those that are drawn."""
    labels = [] if summary is None else list(summary["label"])
    return labels.index(label) if label in labels else None


def _place(
    plot_type: str, file: int, bin_: int, row: int, bins: int, file_label: str, bin_label: str
) -> tuple[int, Any, str]:
    """Panel, color and legend of a curve."""
    of_file = COLORS[row % len(COLORS)]
    if plot_type == "multiple":
        return bin_, of_file, file_label
    if plot_type == "single":
        return file, _of_bin(bin_, bins), bin_label
    return 0, _of_bin(bin_, bins) if bins > 1 else of_file, f"{file_label} {bin_label}"


def _of_bin(number: int, bins: int) -> Any:
    """Color of a bin: apart from each other if they are few, along a scale if they are many."""
    if bins <= len(COLORS):
        return COLORS[number]
    from matplotlib import colormaps

    return colormaps["viridis"](0.95 * number / (bins - 1))


def _panels(hdl: Any, count: int, num_col: int) -> tuple[Figure, list[Axes]]:
    """Return the figure behind a handle, and empty panels on it."""
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    if isinstance(hdl, Axes):
        hdl.clear()
        return hdl.figure, [hdl]  # type: ignore[return-value]
    figure = hdl if isinstance(hdl, Figure | SubFigure) else getattr(hdl, "figure", None)
    if not isinstance(figure, Figure | SubFigure):
        raise ConfigError(f"hdl must be a matplotlib Figure or Axes, or have one as .figure, not {type(hdl).__name__}")
    columns = max(1, min(num_col, count))
    lines = -(-count // columns)
    figure.clear()
    if isinstance(figure, Figure):
        wide, high = max(figure.get_figwidth(), PANEL[0] * columns), max(figure.get_figheight(), PANEL[1] * lines)
        figure.set_size_inches(wide, high)
        figure.set_layout_engine("constrained")
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True).ravel()
    for ax in grid[count:]:
        ax.remove()
    return figure, list(grid[:count])  # type: ignore[return-value]


def _draw(ax: Axes, curve: Curve, color: Any, marker: str, label: str, size: float) -> None:
    ax.errorbar(
        curve.delay, curve.g2, np.abs(curve.error), fmt=marker, color=color, markersize=size, markerfacecolor="none",
        markeredgewidth=0.8, elinewidth=0.8, label=label,
    )  # fmt: skip
    if curve.line is not None:
        ax.plot(*curve.line, color=color, linewidth=1.8, zorder=3)


def _note(ax: Axes, summary: Any, label: str, color: Any, size: float) -> None:
    """Write reduced chi2 of a robust fit, if it has one."""
    number = _number(summary, label)
    if number is None:
        return
    record: Any = summary["fit_val"][number]
    told: Any = record.get("diagnostics", {}) if hasattr(record, "get") else {}
    chi2 = told.get("reduced_chi2", np.nan) if hasattr(told, "get") else np.nan
    if np.isfinite(chi2):
        place = 0.04, 0.05 + 0.09 * len(ax.texts)
        # Behind the points: what is written must not hide g2 = 0.
        ax.text(*place, f"χ²/dof {chi2:.3g}", transform=ax.transAxes, color=color, fontsize=size + 4, zorder=0.5)


def _finish(axes: Sequence[Axes], titles: Sequence[str], name: str, num_col: int, y_range: Any, t_range: Any) -> None:
    """Scales, limits, titles and labels; axes that are shared are named once."""
    columns = min(num_col, len(axes))
    for number, ax in enumerate(axes):
        ax.set_xscale("log")
        ax.set_title(titles[number] if number < len(titles) and len(axes) == len(titles) else "", fontsize=9)
        ax.tick_params(labelsize=8)
        if number % columns == 0:
            ax.set_ylabel(name, fontsize=9)
        if number + columns >= len(axes):
            ax.set_xlabel("delay (s)", fontsize=9)
            ax.tick_params(labelbottom=True)
        if y_range is not None:
            ax.set_ylim(*y_range)
        if t_range is not None:
            ax.set_xlim(*t_range)


def _legend(ax: Axes, size: float) -> None:
    """At most `MOST_NAMED` entries: of more, every second, third, ..."""
    handles, texts = ax.get_legend_handles_labels()
    step = -(-len(handles) // MOST_NAMED) or 1
    ax.legend(handles[::step], texts[::step], fontsize=size, frameon=False)
