"""The widgets of the page, and how they are laid out."""

from __future__ import annotations

from typing import Any

import panel as pn
from bokeh.models import ColumnDataSource

from xpcs_dask.view import fragments
from xpcs_dask.view.figures import CurveFigure, OverviewFigure
from xpcs_dask.view.prompt import IntSlider, Select
from xpcs_dask.view.settings_form import SettingsForm
from xpcs_dask.view.sources import Opened

__all__ = ["Widgets"]

GRID = """
:host { display: grid; grid-template-columns: 300px minmax(420px, 1fr) 390px; gap: 12px; align-items: start; }
@media (max-width: 1250px) { :host { grid-template-columns: 300px minmax(380px, 1fr); } }
"""
HINT = "Keys: ← → q bin, n p file. Click a bin to show it; click points of g2, or drag a box, to leave them out."


class Widgets:
    """Everything that is seen, before it shows anything.

    Parameters
    ----------
    opened : Opened
    form : SettingsForm
    """

    def __init__(self, opened: Opened, form: SettingsForm) -> None:
        self._opened, self.form = opened, form
        self.curve, self.overview = CurveFigure(), OverviewFigure()
        self.keys = ColumnDataSource({"key": [""], "count": [0]}, name="keys")
        self.texts = ColumnDataSource({"python": [""], "command": [""]}, name="texts")
        entries, wide = opened.entries, {"width": 290, "margin": (2, 5)}
        labels = [entry.label for entry in entries]
        names = labels if len(set(labels)) == len(labels) else [f"{k + 1}: {label}" for k, label in enumerate(labels)]
        self.files = Select(
            label=f"File ({len(entries)})", options=dict(zip(names, range(len(entries)), strict=True)), value=0, **wide
        )
        self.bins = IntSlider(label="q bin", start=0, end=1, show_value=False, **wide)
        self.back = pn.widgets.Button(label="◀", width=38, margin=(2, 5), description="previous q bin")
        self.on = pn.widgets.Button(label="▶", width=38, margin=(2, 5), description="next q bin")
        self.bin_label = _html("", width=200)
        self.parameter = Select(label="Over q", options=[], **wide)
        self.top = _html("", sizing_mode="stretch_width", min_height=26)
        self.said, self.table = (_html("", sizing_mode="stretch_width") for _ in range(2))
        self.repeat, self.beyond, self.written = (_html("", sizing_mode="stretch_width") for _ in range(3))
        self.everywhere = pn.widgets.Checkbox(label="points that I click are left out in all q bins", margin=(8, 5))
        self.back_in = pn.widgets.Button(label="Take all points back", margin=(2, 5))
        self.reset = pn.widgets.Button(label="Settings as at first", margin=(2, 5))
        buttons = ("Copy Python", "Copy command", "Write CSV", "Write store")
        self.copy_python, self.copy_command, self.write_csv, self.write_store = (
            pn.widgets.Button(label=name, margin=(2, 5)) for name in buttons
        )

    @property
    def buttons(self) -> tuple[Any, ...]:
        """Those that need a fit."""
        return self.copy_python, self.copy_command, self.write_csv, self.write_store

    def view(self) -> Any:
        """Lay everything out."""
        pick = [
            self.files, pn.Row(self.back, self.on, self.bin_label), self.bins, self.parameter,
            pn.pane.Bokeh(self.overview.plain, margin=0), pn.pane.Bokeh(self.overview.log, margin=0),
        ]  # fmt: skip
        left = pn.Column(*pick, *self.form.left, width=300)
        middle = pn.Column(
            self.top, pn.pane.Bokeh(self.curve.upper, sizing_mode="stretch_width", margin=0),
            pn.pane.Bokeh(self.curve.lower, sizing_mode="stretch_width", margin=0),
            pn.Row(self.copy_python, self.copy_command, self.write_csv, self.write_store, self.beyond), self.written,
            self.repeat,
            sizing_mode="stretch_width",
        )  # fmt: skip
        right = pn.Column(
            self.said, self.table, *self.form.right, self.everywhere, pn.Row(self.back_in, self.reset), width=390
        )
        return pn.Column(
            self._header(), pn.Column(left, middle, right, stylesheets=[GRID], sizing_mode="stretch_width"),
            sizing_mode="stretch_width", margin=(4, 12),
        )  # fmt: skip

    def _header(self) -> Any:
        opened = self._opened
        rejected = [fragments.message(f"not shown: {line}", "note") for line in opened.rejected[:3]]
        if len(opened.rejected) > len(rejected):
            rejected.append(fragments.message(f"and {len(opened.rejected) - 3} more files that cannot be used", "note"))
        where = f"store {opened.store}" if opened.store else "data files, no store"
        return _html(f"{fragments.header(where, HINT)}{''.join(rejected)}", sizing_mode="stretch_width")


def _html(text: str, **settings: Any) -> Any:
    return pn.pane.HTML(text, stylesheets=[fragments.STYLE], margin=(2, 5), **settings)
