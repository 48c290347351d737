"""How a running job looks to a person: a bar on a terminal, text in a notebook."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from xpcs_dask.engine.events import Listener, State, log, sentence

__all__ = ["bars", "notebook_text", "shown"]


@contextmanager
def shown(progress: bool | Listener) -> Iterator[Sequence[Listener]]:
    """Give the listeners of a job: the log, and what `progress` asks for.

    Parameters
    ----------
    progress : bool or callable
        True is text in a notebook, bars on a terminal, and nothing where stderr goes into a file.
    """
    with ExitStack() as stack:
        listeners = [log()]
        if callable(progress):
            listeners.append(progress)
        elif progress and _in_notebook():
            listeners.append(notebook_text())
        elif progress and sys.stderr.isatty():
            listeners.append(stack.enter_context(bars()))
        yield listeners


@contextmanager
def bars() -> Iterator[Listener]:
    """Draw bars on stderr: files that are opened, then curves that are fitted."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[said]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stderr)) as drawn:
        tasks: dict[str, Any] = {}

        def draw(state: State) -> None:
            stage = "fitting" if state.stage == "done" else state.stage
            if stage not in tasks:
                tasks[stage] = drawn.add_task(stage, total=None, said="")
            done, total, unit = state.progress
            said = f"{state.curves_per_second:,.0f} curves/s" if state.curves_per_second else unit
            drawn.update(tasks[stage], completed=done, total=total, said=said)

        yield draw


def notebook_text() -> Listener:
    """Write one line below a notebook's cell, always the newest."""
    from IPython.display import display

    handle = display({"text/plain": ""}, raw=True, display_id=True)

    def write(state: State) -> None:
        handle.update({"text/plain": sentence(state)}, raw=True)

    return write


def _in_notebook() -> bool:
    """Whether this runs in a Jupyter kernel; IPython is not imported for the question."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and hasattr(shell, "kernel")
