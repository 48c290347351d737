"""How a run went: curves done, and memory, over time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.lines import Line2D

from xpcs_dask.engine.events import State
from xpcs_dask.errors import ConfigError, NoUsableInputError
from xpcs_dask.fitting.models import Floats
from xpcs_dask.jobs import Manifest
from xpcs_dask.plots import style
from xpcs_dask.plots.legend import legend, solid
from xpcs_dask.plots.style import Panels
from xpcs_dask.plots.ticks import logarithmic

UNITS = ((7200.0, 3600.0, "h"), (300.0, 60.0, "min"), (0.0, 1.0, "s"))
"""From how many s on which unit of time is taken."""
BYTES = ((2e10, 1e9, "GB"), (0.0, 1e6, "MB"))
WIDE = 8.0
"""Limit over memory in use above which the axis is logarithmic, so that both can be seen."""

States = Iterable[State | Mapping[str, Any] | str] | str | os.PathLike[str]


def run_history(
    states: States, manifest: Manifest | str | os.PathLike[str] | None = None, *, axes: Any = None
) -> Panels:
    """Draw curves done and memory in use over the time of a run.

    Parameters
    ----------
    states : sequence of State, of dicts or of lines; or a path
        What a listener heard (``progress=states.append``), or what ``--progress json`` wrote to stderr; lines that are
        no state are passed over.
    manifest : Manifest or path, optional
        Of the same run: its plan and limit are drawn beside the memory.
    axes : two Axes, optional
        For curves and memory.

    Returns
    -------
    array of Axes, shape (2,)

    Raises
    ------
    NoUsableInputError
        If there is no state.
    ConfigError
        For other than two Axes, or a manifest that is none.

    Notes
    -----
    Memory is what is resident in this process and in those of the workers. Plan and budget are those above what was
    resident at the start, which is added.
    """
    heard = _read(states)
    if not heard:
        raise NoUsableInputError("there is no state of a run to draw; take those of progress= or of --progress json")
    record = Manifest.read(manifest) if isinstance(manifest, str | os.PathLike) else manifest
    grid = _panels(axes)
    seconds = np.array([state["elapsed"] for state in heard], dtype=np.float64)
    scale, unit = next((scale, unit) for least, scale, unit in UNITS if seconds.max() >= least)
    time = seconds / scale
    _curves(grid[0], time, heard)
    _memory(grid[1], time, heard, record)
    for panel in grid:
        panel.set_xlim(0.0, max(float(time.max()), 1e-3))
    grid[0].tick_params(labelbottom=False)
    style.label(grid[0], "", "curves")
    style.label(grid[1], f"time ({unit})", grid[1].get_ylabel())
    style.aligned(grid)
    return grid


def _read(states: States) -> list[Mapping[str, Any]]:
    if isinstance(states, str | os.PathLike):
        states = Path(states).read_text(encoding="utf-8").splitlines()
    found: list[Mapping[str, Any]] = []
    for state in states:
        if isinstance(state, State):
            found.append(asdict(state))
        elif isinstance(state, Mapping):
            found.append(state)
        elif state.lstrip().startswith("{"):
            try:
                told = json.loads(state)
            except ValueError:
                continue
            if isinstance(told, dict) and {"elapsed", "stage"} <= told.keys():
                found.append(told)
    return found


def _panels(axes: Any) -> Panels:
    if axes is None:
        return style.panels(style.figure(height=7.0).subplots(2, 1, sharex=True))
    given = style.panels(axes)
    if given.size != 2:
        raise ConfigError(f"axes: a run has two panels (curves, memory), but {given.size} Axes were given")
    return given


def _curves(axes: Any, time: Floats, heard: list[Mapping[str, Any]]) -> None:
    done = np.array([state.get("curves_done", 0) for state in heard], dtype=np.float64)
    lost = np.array([sum(state.get("failures", {}).values()) for state in heard], dtype=np.float64)
    total = max(state.get("curves", 0) for state in heard)
    axes.plot(time, done, "-", color=style.BLUE, linewidth=style.LINE, gid="done")
    entries: list[Any] = [Line2D([], [], color=style.BLUE, lw=style.LINE, label="done")]
    if lost.any():
        axes.plot(time, lost, "--", color=style.VERMILION, linewidth=style.LINE, gid="without a fit")
        entries.append(Line2D([], [], color=style.VERMILION, ls="--", lw=style.LINE, label="of these without a fit"))
    if total:
        axes.axhline(total, color=style.GREY, linewidth=0.8, linestyle=":")
        entries.append(Line2D([], [], color=style.GREY, lw=0.8, ls=":", label=f"all ({total:,})"))
    opening = np.array([state["stage"] == "opening" for state in heard])
    if opening.any():
        until = time[~opening][0] if (~opening).any() else time[-1]
        axes.axvspan(0.0, float(until), color=style.PALE, linewidth=0, zorder=0)
        entries.append(solid(style.PALE, "opening files"))
    axes.set_ylim(0.0, 1.08 * max(total, done.max(), 1.0))
    legend(axes, ("", entries))


def _memory(axes: Any, time: Floats, heard: list[Mapping[str, Any]], record: Manifest | None) -> None:
    used = np.array([state.get("memory", 0) for state in heard], dtype=np.float64)
    lines = [("in use", used, style.BLUE, "-")]
    if record is not None:
        start = record.memory.start
        for name, above, colour, dashes in (
            ("planned", record.memory.planned, style.GREEN, "-."),
            ("limit", record.memory.budget, style.VERMILION, "--"),
        ):
            if above:
                lines.append((name, np.full(time.size, float(start + above)), colour, dashes))
    largest = max(float(values.max()) for _, values, _, _ in lines)
    scale, unit = next((scale, unit) for least, scale, unit in BYTES if largest >= least)
    entries = []
    for name, values, colour, dashes in lines:
        axes.plot(time, values / scale, dashes, color=colour, linewidth=style.LINE, gid=name)
        entries.append(Line2D([], [], color=colour, ls=dashes, lw=style.LINE, label=name))
    if used.any() and largest > WIDE * used.max():
        logarithmic(axes, "y", 4)
        axes.set_ylim(0.7 * used[used > 0].min() / scale, 1.5 * largest / scale)
    else:
        axes.set_ylim(0.0, 1.1 * largest / scale or 1.0)
    axes.set_ylabel(f"memory ({unit})")
    legend(axes, ("", entries))
