"""Fitted values that are not to be taken at face value: which, why, and how they look."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from xpcs_dask.fitting.layout import Flag, Status
from xpcs_dask.fitting.models import Floats
from xpcs_dask.physics.used_bins import DISTRUSTED
from xpcs_dask.plots import style

FAILED = "failed"
DOUBTFUL = (*DISTRUSTED, "poor_fit")
"""Flags that make a value hollow; the first that is set is named."""
SHAPES = {
    FAILED: "x",
    "no_signal": "v",
    "unidentifiable": "D",
    "at_bound": "s",
    "one_point_dominates": "P",
    "second_component_not_established": "<",
    "starts_disagree": ">",
    "weak": "^",
    "slow": "h",
    "poor_fit": "X",
    "no_error": "d",
    "no_q": "1",
    "outside_q_range": "|",
    "other_group": "2",
}
"""Markers by the reason, in the order in which one of several is chosen."""
Kinds = NDArray[np.str_]
NEAR = 1.5
"""How far beyond the good values an axis goes for doubtful ones, in their spread."""


def kinds(status: Any, flags: Any) -> Kinds:
    """Return why each fitted value is to be doubted; empty where nothing speaks against it."""
    names = {name: int(Flag[name.upper()]) for name in SHAPES if name in DOUBTFUL}
    found = first_of({name: (np.asarray(flags) & bit) != 0 for name, bit in names.items()}, np.shape(status))
    return np.where(np.asarray(status) == Status.CONVERGED, found, FAILED)


def first_of(where: dict[str, Any], shape: tuple[int, ...]) -> Kinds:
    """Name, for each entry, the first of `SHAPES` that holds there."""
    found = np.full(shape, "", dtype="U40")
    for name in [*SHAPES, *(set(where) - set(SHAPES))]:
        if name in where:
            found = np.where((found == "") & where[name], name, found)
    return found


def points(axes: Axes, x: Floats, y: Floats, kind: Kinds, colour: Any, low: Any = None, high: Any = None) -> None:
    """Draw values by kind: good ones filled with bars from `low` to `high`, others hollow.

    The limits of the y axis must stand. Values beyond are on its edge, failed ones at its lower end.
    """
    good = (kind == "") & np.isfinite(y)
    marker = {"color": colour, "linestyle": "none", "markersize": style.MARKER, "markeredgewidth": 0.0}
    if low is not None:
        told = np.isfinite(y) & np.isfinite(low) & np.isfinite(high)
        for at, wide in ((told & good, 0.9), (told & ~good, 0.5)):
            axes.vlines(x[at], low[at], high[at], color=colour, linewidth=wide, zorder=2)
    bottom, top = axes.get_ylim()
    inside = good & (y >= bottom) & (y <= top)
    axes.plot(x[inside], y[inside], "o", zorder=3, gid="good", **marker)
    for at, edge, shape in ((good & (y < bottom), 0.0, "v"), (good & (y > top), 1.0, "^")):
        if at.any():
            axes.plot(x[at], np.full(at.sum(), edge), shape, clip_on=False, transform=axes.get_xaxis_transform(),
                      gid="good, beyond the axis", **marker)  # fmt: skip
    to_axes = axes.transScale + axes.transLimits
    for name in sorted(set(kind.tolist()) - {""}):
        at = (kind == name) & np.isfinite(x)
        value = np.where(np.isfinite(y) & (kind != FAILED), y, bottom)
        value = np.clip(value, bottom, top)[at]
        height = to_axes.transform(np.stack([np.full(value.size, axes.get_xlim()[0]), value], axis=-1))[:, 1]
        axes.plot(
            x[at], height, SHAPES.get(name, "*"), color=colour, fillstyle="none", markersize=style.HOLLOW, gid=name,
            markeredgewidth=0.7, linestyle="none", clip_on=False, transform=axes.get_xaxis_transform(), zorder=2.5,
        )  # fmt: skip


def limits(
    values: Iterable[Floats], kinds_: Iterable[Kinds], log: bool, bars: Iterable[Floats] = ()
) -> tuple[float, float]:
    """Limits of an axis into which good values fit, and `bars` up to their spread beyond; all if none is good."""
    every, why = np.concatenate([np.ravel(v) for v in values]), np.concatenate([np.ravel(k) for k in kinds_])
    usable = np.isfinite(every) & ((every > 0) | (not log))
    good = every[usable & (why == "")]
    good = good if good.size else every[usable]
    if not good.size:
        return (0.1, 1.0) if log else (0.0, 1.0)
    scale = np.log if log else np.asarray
    ends = scale(good)
    low, high = float(ends.min()), float(ends.max())
    spread = max(high - low, 0.2 if log else 0.1 * max(abs(low), abs(high)), 1e-300)
    told = np.concatenate([np.ravel(b) for b in bars] or [good])
    told = scale(told[np.isfinite(told) & ((told > 0) | (not log))])
    told = np.clip(told, low - 0.5 * spread, high + 0.5 * spread)
    near = scale(every[usable])
    near = near[(near > low - NEAR * spread) & (near < high + NEAR * spread)]
    low, high = min([low, *told, *near]) - 0.07 * spread, max([high, *told, *near]) + 0.07 * spread
    return (float(np.exp(low)), float(np.exp(high))) if log else (low, high)


def entries(found: Iterable[Kinds], colour: Any) -> list[Any]:
    """Entries of a legend for the reasons that occur."""
    there = {str(name) for kind in found for name in np.unique(kind)} - {""}
    order = [*SHAPES, *sorted(there - set(SHAPES))]
    signs: dict[str, Any] = {"ls": "", "ms": style.HOLLOW, "mew": 0.7, "fillstyle": "none", "color": colour}
    return [
        Line2D([], [], marker=SHAPES.get(name, "*"), label=in_words(name), **signs) for name in order if name in there
    ]


def in_words(name: str) -> str:
    """Name of a reason without underscores, the long one cut."""
    return {"second_component_not_established": "second component?"}.get(name, name.replace("_", " "))
