"""Pieces of HTML of the page; whatever comes from files is escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape

from xpcs_dask.spoken import measured
from xpcs_dask.view.state import REFIT, STORE, UNREAD, Line, State

__all__ = ["badge", "code", "columns", "header", "message", "parameters", "plain", "said", "short", "top"]

STYLE = """
:host { font: 13px/1.4 system-ui, sans-serif; color: #1c2733; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: #55606c; border-bottom: 1px solid #c9d1d9; padding: 2px 6px 2px 0; }
td { padding: 3px 6px 3px 0; border-bottom: 1px solid #eceff2; white-space: nowrap; }
td.u { color: #55606c; } .dim { color: #6a7580; } p { margin: 3px 0; }
.badge { display: inline-block; padding: 2px 10px; border-radius: 10px; font-weight: 600; white-space: nowrap; }
.store { background: #dbeadf; color: #14532d; } .refit { background: #ffe0b8; color: #7a3c00; }
.plain { background: #dde7f3; color: #123c69; } .none { background: #e6e6e6; color: #444; }
ul { margin: 3px 0; padding-left: 18px; } li.warn { color: #8a2c0d; }
.note { background: #fff3d6; border-left: 3px solid #e69f00; padding: 3px 8px; margin: 3px 0; overflow-wrap: anywhere; }
.error { background: #fde2dd; border-left: 3px solid #d55e00; padding: 3px 8px; overflow-wrap: anywhere; }
pre { margin: 2px 0 6px; padding: 6px 8px; background: #f4f6f8; border: 1px solid #dfe4e9; border-radius: 4px;
      font: 12px/1.45 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
.top { display: flex; gap: 10px; align-items: center; }
h1 { font-size: 16px; margin: 0; display: inline; } h2 { font-size: 13px; margin: 4px 0 2px; }
.path { color: #55606c; margin-left: 10px; overflow-wrap: anywhere; }
"""
"""Style of all of them."""


def badge(state: State) -> str:
    """Say what is shown: the store's fit, a refit, or a fit without a store."""
    kind = {STORE: "store", REFIT: "refit", UNREAD: "none"}.get(state.source, "plain")
    text = state.source if state.source == UNREAD else f"Fit {state.source}" if state.source == STORE else state.source
    return f"<span class='badge {kind}' role='status'>{escape(text[0].upper() + text[1:])}</span>"


def top(state: State, wrong: str) -> str:
    """Say what is shown, and what is wrong with the settings."""
    return f"<div class='top'>{badge(state)}{message(wrong)}</div>"


def said(state: State) -> str:
    """How the fit ended, what to distrust, and what is missing."""
    lines = [f"<div class='note'>{escape(note)}</div>" for note in state.notes]
    if state.status:
        lines.append(f"<p><b>Status:</b> {escape(state.status)}</p>")
        lines.append(f"<p class='dim'>{escape(state.goodness)}</p>")
        words = [f"<li class='{'warn' if doubt else 'info'}'>{escape(text)}</li>" for text, doubt in state.flags]
        lines.append(f"<ul>{''.join(words)}</ul>" if words else "<p>No flags.</p>")
    return "".join(lines)


def parameters(state: State, level: float) -> str:
    """Table of the parameters, with intervals where there are any and the values of the store beside a refit."""
    if not state.lines:
        return ""
    interval = any(math.isfinite(line.low) for line in state.lines)
    stored = any(math.isfinite(line.stored) for line in state.lines)
    head = [
        "",
        "value ± standard error",
        *([f"{level:.0%} interval"] if interval else []),
        *(["store"] if stored else []),
    ]
    rows = [f"<tr>{''.join(f'<th>{escape(text)}</th>' for text in head)}</tr>"]
    for line in state.lines:
        cells = [f"{escape(line.name)}{_unit(line.unit)}", _with_error(line)]
        if interval:
            cells.append(f"{short(line.low)} … {short(line.high)}" if math.isfinite(line.low) and not line.held else "")
        if stored:
            cells.append(short(line.stored))
        rows.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    rest = f"<p class='dim'>Standard errors rest on {escape(state.rests_on)}.</p>" if state.rests_on else ""
    if any(line.no_error for line in state.lines):
        rest = f"<p class='dim'>No error: on a bound, or the data do not tell.</p>{rest}"
    return f"<table>{''.join(rows)}</table>{rest}"


def message(text: str, kind: str = "error") -> str:
    """One line that tells what is wrong, or what was done; nothing for nothing."""
    return f"<div class='{kind}' role='alert'>{escape(text)}</div>" if text else ""


def code(parts: Iterable[tuple[str, str]]) -> str:
    """Titles with blocks of code below them."""
    return "".join(f"<h2>{escape(title)}</h2><pre>{escape(text)}</pre>" for title, text in parts)


def header(where: str, hint: str) -> str:
    """Title of the page, what is open, and how to get about."""
    return f"<h1>xpcs-dask view</h1><span class='path'>{escape(where)}</span><p class='dim'>{escape(hint)}</p>"


def plain(text: str) -> str:
    """Text and nothing else."""
    return escape(text)


def columns(titles: Iterable[str]) -> str:
    """Heads of columns of inputs."""
    cells = "".join(f"<span style='display:inline-block;width:94px'>{escape(title)}</span>" for title in titles)
    return f"<div class='dim'>{cells}</div>"


def short(value: float) -> str:
    """Write a number with four digits."""
    return "–" if not math.isfinite(value) else f"{value:.4g}"


def _unit(unit: str) -> str:
    return "" if unit in ("", "1") else f" <span class='dim'>({escape(unit)})</span>"


def _with_error(line: Line) -> str:
    """Value and error with the same decimals: two digits of the error."""
    if not math.isfinite(line.value):
        return "–"
    if line.held:
        return f"{short(line.value)} <span class='dim'>held</span>"
    if line.no_error or not math.isfinite(line.stderr):
        return f"{short(line.value)} <span class='dim'>no error</span>"
    return escape(measured(line.value, line.stderr))
