"""Ticks of logarithmic axes that can be read: decades over many, 1, 2 and 5 over few, and plain numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import Formatter, Locator, LogLocator, MaxNLocator, NullFormatter

STEPS: tuple[tuple[float, ...], ...] = ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,))
"""Ticks within a decade, the densest first."""
WIDE, HIGH = 4.0, 1.5
"""Letters that a number takes on an axis, along and across."""
LEAST, MOST = 0.99e-4, 1e4
"""Numbers within are written out."""


class PlainLog(Locator):
    """At most `count` ticks at round numbers of an axis over decades; over less than a factor of two, even ones.

    On an axis that is drawn there are fewer of them if their numbers would not stand apart.
    """

    def __init__(self, count: int = 6) -> None:
        self.count = count

    def __call__(self) -> Any:
        """Ticks between the limits of the axis."""
        low, high = self.axis.get_view_interval()  # type: ignore[union-attr]
        return self._chosen(low, high, self._room())

    def tick_values(self, vmin: float, vmax: float) -> Any:
        """Ticks between two numbers above 0."""
        return self._chosen(vmin, vmax, 0.0)

    def _room(self) -> float:
        """Share of the axis that a number takes, with what must be free beside it."""
        axis: Any = self.axis
        panel = axis.axes.get_window_extent()
        flat = axis.axis_name == "x"
        size = axis.get_tick_params().get("labelsize", rcParams["xtick.labelsize" if flat else "ytick.labelsize"])
        letters = FontProperties(size=size).get_size_in_points() * axis.axes.figure.dpi / 72.0
        return float((WIDE if flat else HIGH) * letters / max(panel.width if flat else panel.height, 1.0))

    def _chosen(self, vmin: float, vmax: float, room: float) -> Any:
        low, high = sorted((vmin, vmax))
        if not (low > 0 and np.isfinite(high)):
            return np.array([])
        least = room * np.log(high / low)
        for found in _candidates(low, high):
            if len(found) <= self.count and (np.diff(np.log(found)) >= least).all():
                break
        if len(found) >= 2:
            return found
        found = _within(MaxNLocator(self.count - 1, steps=[1, 2, 5, 10]).tick_values(low, high), low, high)
        kept = [*found[:1]]
        for tick in found[1:]:
            if np.log(tick / kept[-1]) >= least:
                kept.append(tick)
        return np.array(kept)


def _candidates(low: float, high: float) -> Iterator[Any]:
    """Ticks at round numbers, the densest first, down to one."""
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    for steps in STEPS:
        yield _within([step * 10.0**decade for decade in range(first, last + 1) for step in steps], low, high)
    for every in range(2, last - first + 2):
        yield _within([10.0**decade for decade in range(first, last + 1) if decade % every == 0], low, high)


def _within(values: Sequence[float], low: float, high: float) -> Any:
    slack = 1e-9
    return np.array([value for value in values if low * (1 - slack) <= value <= high * (1 + slack)])


class PlainNumbers(Formatter):
    """Numbers written out; with powers of ten, all of an axis alike, where one of them is very small or large."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """Write one number by itself."""
        return plain(x)

    def format_ticks(self, values: Any) -> list[str]:
        """Write the ticks of an axis, all of them the same way."""
        sizes = [abs(value) for value in values if value]
        return [plain(value, min(sizes) >= LEAST and max(sizes) < MOST) for value in values] if sizes else []


def plain(value: float, written: bool | None = None) -> str:
    """Write a number as on an axis: 0.02 or 500, or with a power of ten."""
    if written is None:
        written = LEAST <= abs(value) < MOST
    if value == 0 or written:
        return f"{value:.6g}".replace("-", "\N{MINUS SIGN}")
    exponent = int(np.floor(np.log10(abs(value)) + 1e-9))
    factor = f"{value / 10.0**exponent:.3g}"
    return f"$10^{{{exponent}}}$" if factor == "1" else f"${factor}\\times10^{{{exponent}}}$"


def logarithmic(axes: Axes, which: str, count: int = 6) -> None:
    """Make an axis ("x" or "y") logarithmic, with plain ticks."""
    axes.set(**{f"{which}scale": "log"})
    ticked(axes.xaxis if which == "x" else axes.yaxis, count)


def ticked(axis: Any, count: int = 6) -> None:
    """Plain ticks on an axis that is logarithmic."""
    axis.set_major_locator(PlainLog(count))
    axis.set_major_formatter(PlainNumbers())
    axis.set_minor_locator(LogLocator(subs=tuple(range(2, 10)), numticks=100))
    axis.set_minor_formatter(NullFormatter())
