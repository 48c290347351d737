"""The three figures of the page: one curve, its residuals, and one parameter over q. Bokeh alone, no Panel."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.models import (
    BoxAnnotation,
    BoxSelectTool,
    ColumnDataSource,
    FixedTicker,
    HoverTool,
    PrintfTickFormatter,
    Range1d,
    Span,
    TapTool,
)
from bokeh.plotting import figure

from xpcs_dask.fitting.models import Floats
from xpcs_dask.view.drawing import HAND, Drawn, Overview

__all__ = ["CurveFigure", "OverviewFigure"]

BLUE, ORANGE, GREY, RED, BAND = "#0072B2", "#D55E00", "#8a939c", "#9C3587", "#F0B27A"
TWO = 2.0
"""Standard deviations within which most residuals lie: the band of their figure."""


LEFT, RIGHT = 74, 34
"""Pixels beside both figures of a curve, so that their delays stand below each other."""


class CurveFigure:
    """Points with error bars, fit and band; below them the residuals."""

    def __init__(self) -> None:
        self.points = ColumnDataSource(_no_points(), name="points")
        self.line = ColumnDataSource({"x": [], "y": []}, name="line")
        self.band = ColumnDataSource({"x": [], "y": []}, name="band")
        self.upper = self._curve()
        self.lower = self._residuals()
        self._shown: object = None

    def show(self, drawn: Drawn | None, title: str, what: object) -> None:
        """Draw a curve; the ranges are set anew where `what` is shown is another, and stay where a refit is drawn."""
        self.upper.title.text = title
        if drawn is None:
            self.points.data = _no_points()
            self.line.data, self.band.data, self._shown = {"x": [], "y": []}, {"x": [], "y": []}, None
            return
        self.line.data = {"x": drawn.line[0], "y": drawn.line[1]}
        grid = drawn.line[0] if drawn.band[0].size else np.empty(0)
        self.band.data = {
            "x": np.concatenate([grid, grid[::-1]]),
            "y": np.concatenate([drawn.band[0], drawn.band[1][::-1]]),
        }
        self.points.data = _points(drawn)
        self._reach(drawn)
        if what != self._shown:
            self._shown = what
            self._range(drawn)

    def _range(self, drawn: Drawn) -> None:
        positive = drawn.delay[drawn.delay > 0]
        self.upper.x_range.update(start=positive.min() / 1.4, end=positive.max() * 1.4)
        self.upper.y_range.update(start=drawn.height[0], end=drawn.height[1])

    def _reach(self, drawn: Drawn) -> None:
        """Make room for all residuals, of every fit anew: nobody zooms there."""
        largest = np.nanmax(np.abs(drawn.residual), initial=0.0) if np.isfinite(drawn.residual).any() else 0.0
        reach = 1.15 * max(2.6, float(largest))
        self.lower.y_range.update(start=-reach, end=reach)

    def _curve(self) -> Any:
        made = figure(
            height=370, min_width=300, sizing_mode="stretch_width", x_axis_type="log", y_axis_label="g2",
            x_range=Range1d(1e-3, 1), y_range=Range1d(0.9, 1.5), tools="pan,wheel_zoom,box_zoom,reset,save",
            active_drag=None, toolbar_location="right", output_backend="canvas", name="g2",
        )  # fmt: skip
        made.patch("x", "y", source=self.band, fill_color=BAND, fill_alpha=0.45, line_color=None)
        made.line("x", "y", source=self.line, line_color=ORANGE, line_width=2)
        made.segment("x", "low", "x", "high", source=self.points, line_color="color", line_alpha="faint")
        dots = made.scatter(
            "x",
            "y",
            source=self.points,
            marker="marker",
            size="size",
            line_color="color",
            fill_color="fill",
            line_width="thick",
            **_STEADY,
        )
        made.add_tools(
            HoverTool(
                renderers=[dots],
                tooltips=[
                    ("delay", "@x{0.000e} s"), ("g2", "@y{0.00000}"), ("error", "@sigma{0.000e}"),
                    ("residual", "@residual{0.00} σ"), ("", "@why"),
                ],
            ),
            TapTool(renderers=[dots]),
            select := BoxSelectTool(renderers=[dots]),
        )  # fmt: skip
        made.toolbar.active_drag = select
        made.xaxis.major_label_text_color = None  # the same axis stands below the residuals
        made.min_border_left = LEFT
        return _styled(made, labels="y")

    def _residuals(self) -> Any:
        made = figure(
            height=160, min_width=300, sizing_mode="stretch_width", x_axis_type="log", x_axis_label="delay (s)",
            y_axis_label="residual (σ)", x_range=self.upper.x_range, y_range=Range1d(-3, 3), tools="",
            toolbar_location=None, output_backend="canvas",
        )  # fmt: skip
        made.add_layout(BoxAnnotation(bottom=-TWO, top=TWO, fill_color="#eef2f6", fill_alpha=1.0, level="underlay"))
        made.add_layout(Span(location=0, dimension="width", line_color=GREY, line_width=1))
        made.scatter("x", "residual", source=self.points, size=6, color=BLUE, **_STEADY)
        made.min_border_left, made.min_border_right = LEFT, RIGHT
        return _styled(made)


class OverviewFigure:
    """One parameter of all q bins; a click picks the bin."""

    def __init__(self) -> None:
        self.bins = ColumnDataSource(_no_bins(), name="bins")
        self.chosen = ColumnDataSource({"q": [], "value": []})
        self.plain, self.log = self._figure("linear"), self._figure("log")

    def show(self, found: Overview, chosen: int, label: str, log: bool) -> None:
        """Draw a parameter, on logarithmic axes or not, and mark the bin that is shown."""
        names = ("q", "value", "low", "high", "stored", "phi")
        self.bins.data = {name: getattr(found, name) for name in names} | {
            "floor": np.where(found.low > 0, found.low, found.value / 10)
        }
        self.chosen.data = {"q": found.q[[chosen]], "value": found.value[[chosen]]}
        self.log.visible, self.plain.visible = log, not log
        shown = self.log if log else self.plain
        shown.yaxis.axis_label, shown.xaxis.axis_label = label, found.axis
        if log:
            # a ticker that is new to the document would make it look through all of its models
            shown.xaxis[0].ticker.ticks, shown.yaxis[0].ticker.ticks = _ticks(found.q), _ticks(found.value)

    def _figure(self, kind: str) -> Any:
        made = figure(
            height=230, width=290, x_axis_type=kind, y_axis_type=kind, tools="tap", toolbar_location=None,
            output_backend="canvas", visible=kind == "linear", name=f"over-q-{kind}",
        )  # fmt: skip
        if kind == "log":
            made.xaxis.ticker, made.yaxis.ticker = FixedTicker(ticks=[]), FixedTicker(ticks=[])
            made.xaxis.formatter = made.yaxis.formatter = PrintfTickFormatter(format="%g")
        low = "floor" if kind == "log" else "low"
        made.segment("q", low, "q", "high", source=self.bins, line_color=GREY)
        stored = made.scatter(
            "q", "stored", source=self.bins, marker="square", size=7, fill_color=None, line_color=GREY, **_STEADY
        )
        dots = made.scatter("q", "value", source=self.bins, size=6, color=BLUE, **_STEADY)
        made.scatter("q", "value", source=self.chosen, size=12, fill_color=None, line_color=ORANGE, line_width=2)
        made.x_range.renderers = made.y_range.renderers = [dots, stored]
        return _styled(made)


DENSE, SPARSE = 2, 7
"""Decades up to which an axis has three ticks in each, and from which on not all decades have one."""
_STEADY = {"nonselection_alpha": 1.0, "nonselection_line_alpha": 1.0, "nonselection_fill_alpha": 1.0}
"""What is clicked is drawn anew anyhow; the others must not fade meanwhile."""


def _points(drawn: Drawn) -> dict[str, Any]:
    sigma = np.nan_to_num(drawn.sigma)
    hand = np.array([why == HAND for why in drawn.why], dtype=np.bool_)
    color = np.where(drawn.used, BLUE, np.where(hand, RED, GREY))
    return {
        "x": np.where(drawn.delay > 0, drawn.delay, np.nan),
        "y": drawn.g2,
        "low": drawn.g2 - sigma,
        "high": drawn.g2 + sigma,
        "sigma": drawn.sigma,
        "residual": drawn.residual,
        "why": list(drawn.why),
        "color": list(color),
        "fill": list(np.where(drawn.used, BLUE, "white")),
        "marker": list(np.where(drawn.used, "circle", np.where(hand, "x", "circle"))),
        "size": np.where(hand, 10, 6),
        "thick": np.where(hand, 2.5, 1.0),
        "faint": np.where(drawn.used, 0.9, 0.35),
    }


def _no_points() -> dict[str, Any]:
    names = ("x", "y", "low", "high", "sigma", "residual", "why", "color", "fill", "marker", "size", "thick", "faint")
    return {name: [] for name in names}


def _no_bins() -> dict[str, Any]:
    return {name: [] for name in ("q", "value", "low", "high", "stored", "phi", "floor")}


def _ticks(values: Floats) -> list[float]:
    """Few ticks of a logarithmic axis: 1, 2 and 5 of each decade, or the decades where there are many."""
    shown = values[np.isfinite(values) & (values > 0)]
    if not shown.size:
        return []
    first, last = int(np.floor(np.log10(shown.min()))), int(np.ceil(np.log10(shown.max())))
    steps = (1, 2, 5) if last - first <= DENSE else (1,)
    every = 1 + (last - first) // SPARSE
    return [step * 10.0**power for power in range(first, last + 1, every) for step in steps]


def _styled(made: Any, labels: str = "xy") -> Any:
    """Quiet axes that can be read; `labels` are the axes that have numbers."""
    made.title.text_font_size = "13px"
    made.title.text_font_style = "normal"
    made.toolbar.logo = None
    for axis in (*(made.xaxis if "x" in labels else ()), *made.yaxis):
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size = "13px"
        axis.major_label_text_font_size = "12px"
    made.grid.grid_line_color = "#e8ebee"
    made.outline_line_color = "#c9d1d9"
    return made
