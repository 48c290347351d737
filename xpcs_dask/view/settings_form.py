"""Widgets for the settings of a fit: model, errors, robust loss, delays, bounds and held values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import panel as pn

from xpcs_dask.fitting.models import MODELS, by_name
from xpcs_dask.prepare import known
from xpcs_dask.view import fragments
from xpcs_dask.view.choices import OPTIONS, default_box
from xpcs_dask.view.prompt import Select, TextInput
from xpcs_dask.view.session import Session

__all__ = ["SettingsForm"]

TYPING = 300
"""Milliseconds without a key after which a text is taken."""
COLUMNS = (("low", "lower bound"), ("high", "upper bound"), ("held", "held at"))
VIBRATION = 2
"""Parameters that the modifier adds."""
MOST = max(len(model.parameters) for model in MODELS.values()) + VIBRATION
TITLES = {
    "errors": "Errors that weigh the points",
    "robust": "Outliers",
    "covariance": "Standard errors",
    "loss": "Loss",
    "search": "Search",
}


class SettingsForm:
    """Settings as widgets.

    Parameters
    ----------
    session : Session
        Whose choices they show and change.
    changed : callable
        Called after each change.
    """

    def __init__(self, session: Session, changed: Callable[[], None]) -> None:
        self._session, self._changed, self._quiet = session, changed, False
        self._waiting: Any = None
        half = {"width": 138, "margin": (2, 5)}
        self.model = Select(label="Model", options=self._models(), width=290, margin=(2, 5))
        self.lists = {
            name: Select(
                label=TITLES[name], options={said: value for value, said in options.items()},
                **(half if name in ("robust", "covariance", "loss", "search") else {"width": 290, "margin": (2, 5)}),
            )
            for name, options in OPTIONS.items()
        }  # fmt: skip
        self.texts = {
            "first_delay": TextInput(label="From delay (s)", **half),
            "last_delay": TextInput(label="to delay (s)", **half),
            "loss_scale": TextInput(label="Loss scale (σ)", placeholder="1", **half),
        }
        self.rows = [self._row() for _ in range(MOST)]
        self._listen()
        self.show()

    @property
    def left(self) -> list[Any]:
        """What stands below the figure over q."""
        lists, texts = self.lists, self.texts
        return [
            self.model, lists["errors"], pn.Row(lists["robust"], lists["covariance"]),
            pn.Row(texts["first_delay"], texts["last_delay"]),
        ]  # fmt: skip

    @property
    def right(self) -> list[Any]:
        """Bounds and held values, and what is rarely changed."""
        head = pn.pane.HTML(
            fragments.columns(["", *(title for _, title in COLUMNS)]),
            stylesheets=[fragments.STYLE],
            margin=(6, 5, 0, 5),
        )
        rest = pn.Row(self.lists["loss"], self.texts["loss_scale"]), pn.Row(self.lists["search"])
        return [head, *(row["row"] for row in self.rows), *rest]

    def show(self) -> None:
        """Show the choices of the session, and ask for nothing."""
        choices = self._session.choices
        self._quiet = True
        try:
            self.model.param.update(options=self._models(), value=choices.model)
            shown: dict[str, Any] = {**self.lists, **self.texts}
            for name, widget in shown.items():
                widget.value = getattr(choices, name)
            self.show_defaults()
        finally:
            self._quiet = False

    def show_defaults(self) -> None:
        """Show the rows of the parameters of the model, with the bounds that hold where nothing is typed."""
        session, quiet = self._session, self._quiet
        record = by_name(session.choices.model)
        names = () if record is None else record.names
        box = {}
        if record is not None and session.curves is not None:
            box = default_box(record, known(session.curves["delay"]).astype(np.float64))
        self._quiet = True
        try:
            for k, row in enumerate(self.rows):
                row["row"].visible = k < len(names)
                if k >= len(names):
                    continue
                name = names[k]
                row["label"].object = fragments.plain(name)
                low, high = box.get(name, (float("nan"), float("nan")))
                for what, default in (("low", low), ("high", high), ("held", float("nan"))):
                    placeholder = "free" if what == "held" else fragments.short(default)
                    row[what].param.update(placeholder=placeholder)
                    if row["name"] != name:
                        row[what].value = getattr(session.choices, what).get(name, "")
                row["name"] = name
        finally:
            self._quiet = quiet

    def _models(self) -> list[str]:
        """Those that are known, and the one of the store where it is a function of its user."""
        chosen = self._session.choices.model
        return [*MODELS, *([] if chosen in MODELS else [chosen])]

    def _row(self) -> dict[str, Any]:
        label = pn.pane.HTML("", stylesheets=[fragments.STYLE], width=80, margin=(8, 0, 0, 5))
        inputs = {what: TextInput(width=88, margin=(2, 3)) for what, _ in COLUMNS}
        return {"label": label, "name": "", **inputs, "row": pn.Row(label, *inputs.values(), margin=0)}

    def _listen(self) -> None:
        self.model.param.watch(lambda event: self._now(self._choose, "model", event.new), "value")
        for name, widget in self.lists.items():
            widget.param.watch(lambda event, name=name: self._now(self._choose, name, event.new), "value")
        for name, widget in self.texts.items():
            self._hear(widget, partial(self._choose, name))
        for row in self.rows:
            for what, _ in COLUMNS:
                self._hear(row[what], partial(self._choose_text, what, row))

    def _hear(self, widget: Any, take: Callable[[str], None]) -> None:
        """Take a text when it is finished, or when nobody has typed for a moment."""
        widget.param.watch(lambda event: self._now(take, event.new), "value")
        widget.param.watch(lambda event: self._soon(take, event.new), "value_input")

    def _now(self, action: Callable[..., None], *arguments: Any) -> None:
        if not self._quiet:
            self._cancel()
            action(*arguments)

    def _soon(self, take: Callable[[str], None], text: str) -> None:
        if self._quiet or pn.state.curdoc is None:
            return
        self._cancel()

        def taken() -> None:
            self._waiting = None
            take(text)

        self._waiting = pn.state.curdoc.add_timeout_callback(taken, TYPING)

    def _cancel(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and pn.state.curdoc is not None:
            try:
                pn.state.curdoc.remove_timeout_callback(waiting)
            except ValueError:  # it has just been called
                return

    def _choose(self, name: str, value: str) -> None:
        if getattr(self._session.choices, name) == value:
            return
        self._session.choose(**{name: value})
        self._changed()  # rows for the parameters of another model come with its fit

    def _choose_text(self, what: str, row: Mapping[str, Any], text: str) -> None:
        name = row["name"]
        if getattr(self._session.choices, what).get(name, "") == text:
            return
        self._session.choose_text(what, name, text)
        self._changed()
