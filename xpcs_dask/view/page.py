"""The page: widgets of Panel that change a `Session`, and what they show of it. Nothing is decided here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bokeh.models import CustomJS

from xpcs_dask.errors import XpcsError
from xpcs_dask.fitting.models import by_name
from xpcs_dask.view import fragments
from xpcs_dask.view.latest import Latest
from xpcs_dask.view.refit import Refit, refit
from xpcs_dask.view.repeat import command, python
from xpcs_dask.view.session import Session
from xpcs_dask.view.settings_form import SettingsForm
from xpcs_dask.view.widgets import Widgets
from xpcs_dask.view.writing import write

__all__ = ["Page"]

logger = logging.getLogger(__name__)

KEYS = """
if (window.xpcsDaskHears) return;
window.xpcsDaskHears = true;
document.addEventListener("keydown", (event) => {
  const at = event.composedPath()[0];
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(at.tagName || "") || (at.className || "").includes("noUi");
  if (typing || event.ctrlKey || event.altKey || event.metaKey) return;
  if (!["ArrowLeft", "ArrowRight", "n", "p"].includes(event.key)) return;
  event.preventDefault();
  keys.data = {key: [event.key], count: [keys.data.count[0] + 1]};
});
"""
COPY = "navigator.clipboard.writeText(texts.data[which][0])"


class Page:
    """One page of one person.

    Parameters
    ----------
    session : Session
    folder : Path
        Where refits are written.
    document
        Of Bokeh; what changes in it is drawn.
    """

    def __init__(self, session: Session, folder: Path, document: Any) -> None:
        self.session, self._folder, self._document = session, folder, document
        self._quiet, self._wrong = False, ""
        self._worker: Latest[Any, Refit] = Latest(_work, self._deliver)
        self.widgets = Widgets(session.opened, SettingsForm(session, self.changed))
        self._wire()
        self._fit_now()
        self._show_all()

    def listen(self) -> None:
        """Hear keys, clicks on bins and points, and the end of the page."""
        # the figure learns its width as soon as it is drawn: then the page is there
        self.widgets.curve.upper.js_on_change("inner_width", CustomJS(args={"keys": self.widgets.keys}, code=KEYS))
        self.widgets.keys.on_change("data", self._on_key)
        self.widgets.overview.bins.selected.on_change("indices", self._on_bin)
        self.widgets.curve.points.selected.on_change("indices", self._on_points)
        self._document.on_session_destroyed(lambda _: self._worker.end())

    def changed(self) -> None:
        """Fit with the settings as they are now, unless they make no sense."""
        if not self.session.can_fit:
            self._wrong = "nothing can be fitted: " + (self.session.missing or "choose a model")
            self._show_all()
            return
        self._worker.ask((self.session.curves, self.session.choices, self.session.excluded))

    def _deliver(self, job: Any, answer: Refit | Exception) -> None:
        """Hand an answer from the thread that worked it out to the one that draws."""
        try:
            self._document.add_next_tick_callback(partial(self._take, job, answer))
        except Exception:
            logger.debug("the page has gone before its fit was there", exc_info=True)

    def _take(self, job: Any, answer: Refit | Exception) -> None:
        """Draw a fit, if it is still that of what is shown."""
        session = self.session
        if job[0] is not session.curves or job[1:] != (session.choices, session.excluded):
            return
        if isinstance(answer, Exception):
            last = "; what is shown is the last fit" if session.found is not None else ""
            self._wrong = f"{explained(answer)}{last}"
            self._show_curve()
            return
        session.take(answer)
        self._wrong = ""
        self._show_curve()  # people wait for this; the rest follows
        self._document.add_next_tick_callback(self._show_rest)

    def _fit_now(self) -> None:
        """Fit at once: before anything is drawn."""
        session, self._wrong = self.session, ""
        if session.curves is None or not session.can_fit:
            return
        try:
            session.take(refit(session.curves, session.choices, session.excluded))
        except Exception as error:
            self._wrong = explained(error)

    def _wire(self) -> None:
        """Say what each widget does."""
        shown = self.widgets
        for button, which in ((shown.copy_python, "python"), (shown.copy_command, "command")):
            button.js_on_click(args={"texts": shown.texts}, code=f'const which = "{which}"; {COPY}')
        shown.files.param.watch(lambda event: self._unless_quiet(self._select_file, event.new), "value")
        shown.bins.param.watch(lambda event: self._unless_quiet(self._select_bin, event.new), "value")
        shown.parameter.param.watch(lambda event: self._unless_quiet(self._show_overview), "value")
        shown.back.on_click(lambda _: self._select_bin(self.session.bin - 1))
        shown.on.on_click(lambda _: self._select_bin(self.session.bin + 1))
        shown.back_in.on_click(lambda _: self._reset(self.session.take_back))
        shown.reset.on_click(lambda _: self._reset(self.session.as_stored))
        shown.write_csv.on_click(lambda _: self._write("csv"))
        shown.write_store.on_click(lambda _: self._write("zarr"))

    def _unless_quiet(self, action: Callable[..., None], *arguments: Any) -> None:
        """Widgets that this page sets itself ask for nothing."""
        if not self._quiet:
            action(*arguments)

    def _select_file(self, number: int) -> None:
        self.session.select_file(number)
        self._fit_now()
        self.widgets.written.object = ""
        self._show_all()

    def _select_bin(self, number: int) -> None:
        self.session.select_bin(number)
        self._show_all()

    def _reset(self, action: Callable[[], None]) -> None:
        action()
        self.widgets.form.show()
        self.changed()

    def _on_key(self, attr: str, old: Any, new: Any) -> None:
        key, session = new["key"][0], self.session
        if key in ("ArrowLeft", "ArrowRight"):
            self._select_bin(session.bin + (1 if key == "ArrowRight" else -1))
        elif key in ("n", "p"):
            number = self.widgets.files.value + (1 if key == "n" else -1)
            if 0 <= number < len(session.opened.entries):
                self.widgets.files.value = number

    def _on_bin(self, attr: str, old: Any, new: list[int]) -> None:
        if new:
            self.widgets.overview.bins.selected.indices = []
            self._select_bin(new[0])

    def _on_points(self, attr: str, old: Any, new: list[int]) -> None:
        if new:
            self.widgets.curve.points.selected.indices = []
            self.session.toggle(new, self.widgets.everywhere.value)
            self.changed()

    def _write(self, kind: str) -> None:
        session = self.session
        if session.found is None or session.curves is None:
            self.widgets.written.object = fragments.message("there is no fit to write")
            return
        stem = Path(session.opened.store or "").stem or Path(session.entry.label).stem
        try:
            path = write(session.found, session.curves, kind, self._folder, f"{stem}-{Path(session.entry.label).stem}")
        except Exception as error:
            self.widgets.written.object = fragments.message(explained(error))
        else:
            self.widgets.written.object = fragments.message(f"written: {path}", "note")

    def _show_all(self) -> None:
        """Draw everything anew."""
        self._show_curve()
        self._show_rest()

    def _show_curve(self) -> None:
        """Draw the curve and what is said of it."""
        session = self.session
        with self._drawing():
            drawn, state = session.curve(), session.state()
            title = f"{session.entry.label}, {session.spoken_bin()}{'' if drawn else ': its data are missing'}"
            self.widgets.curve.show(drawn, title, (session.entry, session.bin))
            self.widgets.top.object = fragments.top(state, self._wrong)
            self.widgets.said.object = fragments.said(state)
            self.widgets.table.object = fragments.parameters(
                state, session.found.config.level if session.found else 0.95
            )
            beyond = "" if drawn is None or not drawn.beyond else f"Points beyond the figure: {drawn.beyond}"
            self.widgets.beyond.object = fragments.message(beyond, "dim")

    def _show_rest(self) -> None:
        """Draw what stands around the curve."""
        session = self.session
        with self._drawing():
            self.widgets.bins.param.update(end=max(session.bins - 1, 1), value=session.bin, disabled=session.bins < 2)
            self.widgets.bin_label.object = fragments.plain(session.spoken_bin())
            names, parameter = list(session.names()), self.widgets.parameter
            if names and parameter.options != names:
                value = parameter.value if parameter.value in names else (*_times(session), names[0])[0]
                parameter.param.update(options=names, value=value)
            self._show_overview()
            self._show_repeat()
            self.widgets.form.show_defaults()

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        """Send what is changed in one message; widgets that are set meanwhile ask for nothing."""
        self._quiet = True
        self._document.hold("combine")
        try:
            yield
        finally:
            self._quiet = False
            self._document.unhold()

    def _show_overview(self) -> None:
        name = self.widgets.parameter.value
        if name:
            found = self.session.overview(name)
            label = name if found.unit == "1" else f"{name} ({found.unit})"
            self.widgets.overview.show(found, self.session.bin, label, name in _times(self.session))

    def _show_repeat(self) -> None:
        session, buttons = self.session, self.widgets.buttons
        if session.found is None or session.origin is None or session.curves is None:
            self.widgets.repeat.object = ""
            for button in buttons:
                button.disabled = True
            return
        call = python(session.found, session.origin, session.curves)
        line, why = command(session.found, session.origin)
        self.widgets.texts.data = {"python": [call], "command": [line]}
        for button in buttons:
            button.disabled = button is self.widgets.copy_command and not line
        self.widgets.repeat.object = fragments.code(
            [("This fit in Python", call), ("On the command line", line or why)]
        )


def explained(error: Exception) -> str:
    """One line for the person at the page; what nobody foresaw goes to the log with its traceback."""
    text = " ".join(str(error).split())
    if isinstance(error, XpcsError | OSError):
        return text
    logger.error("the view met an error", exc_info=error)
    return f"internal error: {type(error).__name__}: {text}; the log has more"


def _work(job: Any) -> Refit:
    curves, choices, excluded = job
    return refit(curves, choices, excluded)


def _times(session: Session) -> list[str]:
    """Names of relaxation times."""
    record = by_name(session.choices.model)
    return [] if record is None else [p.name for p in record.parameters if p.relaxation_time]
