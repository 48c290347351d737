"""How one curve is drawn: points, errors, fit, band, residuals, and what was not used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from xpcs_dask.fitting.models import Floats
from xpcs_dask.plots import style
from xpcs_dask.plots.band import band
from xpcs_dask.plots.legend import BAND
from xpcs_dask.plots.points import OTHER, REASONS, Curve, reason_of
from xpcs_dask.plots.style import Panels
from xpcs_dask.plots.ticks import logarithmic

SHAPES: dict[int, str] = dict(zip(REASONS, ("X", "v", "s", "D", "|", "P", "o", "<"), strict=True))
"""Markers of points that are not used, hollow."""
BEYOND = "beyond the axis"
TELLING = 0.97
"""Share of the weight of a curve that the axis makes room for, where several are drawn."""
ROOM = 0.35
"""How far beyond what was used the axis goes for points that were not, in heights of the curve."""
SMOOTH = 300
"""Points of a line."""


def draw(axes: Axes, curve: Curve, colour: Any, level: float, quoted: bool, opacity: float = BAND) -> str | None:
    """Draw points that were used, the fit and its band; returns what the band rests on."""
    used = curve.used
    if quoted:
        told = np.isfinite(curve.quoted) & np.isfinite(curve.g2) & (curve.quoted > 0)
        axes.errorbar(
            curve.delay[told], curve.g2[told], curve.quoted[told], fmt="none", color=style.GREY, elinewidth=0.7,
            capsize=2.4, capthick=0.7, zorder=1.5,
        )  # fmt: skip
    bars = curve.sigma[used] if (curve.sigma[used] > 0).any() else None
    axes.errorbar(
        curve.delay[used], curve.g2[used], bars, fmt="o", color=colour, markersize=style.MARKER, elinewidth=0.8,
        markeredgewidth=0.0, zorder=2.5,
    )  # fmt: skip
    if curve.fit is None:
        return None
    inside, before, after = _line(curve)
    for delay, line in ((inside, "-"), (before, ":"), (after, ":")):
        if delay.size:
            axes.plot(delay, curve.fit(delay), line, color=darker(colour), linewidth=style.LINE, zorder=3)
    edges = _band(curve, inside, level)
    if edges is None:
        return None
    axes.fill_between(inside, edges[0], edges[1], color=colour, alpha=opacity, linewidth=0, zorder=1.8)
    return edges[2]


def _band(curve: Curve, delay: Floats, level: float) -> tuple[Floats, Floats, str] | None:
    return band(curve.fit, delay, level) if curve.fit and level else None


def darker(colour: Any) -> Any:
    """Return the colour of a line over points of a colour: black over one curve, the same over several."""
    return style.BLACK if colour == style.BLUE else colour


def _line(curve: Curve) -> tuple[Floats, Floats, Floats]:
    """Delays at which a fit is drawn: among those used, before and after them."""
    there = curve.delay[np.isfinite(curve.g2)]
    used = curve.delay[curve.used]
    if not used.size:
        return there[:0], there[:0], there[:0]
    first, last = used.min(), used.max()
    smooth = _smooth(first, last, curve.delay)
    before = _smooth(there.min(), first, curve.delay) if there.min() < first else smooth[:0]
    after = _smooth(last, there.max(), curve.delay) if there.max() > last else smooth[:0]
    return smooth, before, after


def _smooth(low: float, high: float, delay: Floats) -> Floats:
    if low > 0:
        return np.geomspace(low, high, SMOOTH)
    start = delay[delay > 0].min(initial=max(high, 1e-12))
    return np.concatenate([[low], np.geomspace(start, max(high, start), SMOOTH - 1)])


def limits(found: Sequence[Curve]) -> tuple[float, float]:
    """Limits of g2: of one curve all that was used and what lies near, of several what their fits and weights tell."""
    values = np.concatenate([_telling(curve) for curve in found] if len(found) > 1 else [_whole(found[0])])
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.9, 1.4
    low, high = float(values.min()), float(values.max())
    if low == high:
        low, high = low - 0.05, high + 0.05
    near = ROOM * (high - low)
    others = np.concatenate([curve.g2[~curve.used & np.isfinite(curve.g2)] for curve in found])
    others = others[(others > low - near) & (others < high + near)]
    low, high = min([low, *others]), max([high, *others])
    return low - 0.05 * (high - low), high + 0.05 * (high - low)


def _whole(curve: Curve) -> Floats:
    """Return the ends of the error bars of all points that were used; all points if none was."""
    if not curve.used.any():
        return curve.g2
    g2, sigma = curve.g2[curve.used], curve.sigma[curve.used]
    return np.concatenate([g2 - sigma, g2 + sigma])


def _telling(curve: Curve) -> Floats:
    """Points of a curve that hold nearly all of its weight, and its fit there."""
    used = curve.used & (curve.sigma > 0)
    if not used.any():
        return curve.g2[curve.used]
    order = np.argsort(curve.sigma[used])
    weight = np.cumsum(curve.sigma[used][order] ** -2.0)
    best = order[: 1 + int(np.searchsorted(weight, TELLING * weight[-1]))]
    g2 = curve.g2[used][best]
    return np.concatenate([g2, curve.fit(curve.delay[used])]) if curve.fit else g2


def beyond(axes: Axes, curve: Curve, colour: Any) -> None:
    """Points that were used but lie beyond the axis: arrows on its edge."""
    bottom, top = axes.get_ylim()
    for side, edge, shape in ((curve.g2 < bottom, 0.0, "v"), (curve.g2 > top, 1.0, "^")):
        at = side & curve.used
        if at.any():
            axes.plot(
                curve.delay[at], np.full(at.sum(), edge), shape, color=colour, clip_on=False,
                markersize=style.MARKER, markeredgewidth=0, transform=axes.get_xaxis_transform(), gid=BEYOND,
            )  # fmt: skip


def reach(found: Sequence[Curve]) -> float:
    """Return the last delay at which any curve has a value; those behind it are of longer files of the series."""
    return max((curve.delay[np.isfinite(curve.g2)].max(initial=0.0) for curve in found), default=0.0) or np.inf


def unused(axes: Axes, curve: Curve, colour: Any, last: float) -> None:
    """Draw points that were not used, hollow, by reason, up to `last`; on the edge those beyond or without a value."""
    bottom, top = axes.get_ylim()
    reason = reason_of(curve.bits)
    for bit in (*REASONS, 0):
        at = (curve.delay <= last) & ~curve.used & (reason == bit)
        if at.any():
            height = (np.nan_to_num(curve.g2[at], nan=bottom, posinf=top, neginf=bottom) - bottom) / (top - bottom)
            axes.plot(
                curve.delay[at], np.clip(height, 0.0, 1.0), SHAPES.get(bit, "o"), color=colour, fillstyle="none",
                markersize=style.HOLLOW, markeredgewidth=0.7, linestyle="none", clip_on=False, zorder=2.2,
                transform=axes.get_xaxis_transform(), gid=in_words(bit),
            )  # fmt: skip


def in_words(bit: int) -> str:
    """Name of a reason."""
    return REASONS.get(bit, OTHER)


def residual_points(axes: Axes, found: Sequence[Curve], colours: Sequence[Any]) -> None:
    """Draw residuals of the points that were used; within two sigma the ground is grey."""
    axes.axhspan(-2, 2, color=style.PALE, alpha=0.5, linewidth=0, zorder=0)
    axes.axhline(0.0, color=style.GREY, linewidth=0.6, zorder=1)
    largest = 3.0
    for curve, colour in zip(found, colours, strict=True):
        rest, used = curve.residuals, curve.used
        axes.plot(curve.delay[used], rest[used], "o", color=colour, markersize=style.MARKER * 0.8, markeredgewidth=0)
        largest = max(largest, np.nanmax(np.abs(rest[used]), initial=0.0))
    axes.set_ylim(-1.15 * largest, 1.15 * largest)


def delays(grid: Panels, found: Sequence[Curve]) -> None:
    """Make the axes logarithmic over all delays; a delay of 0 stands beside the others."""
    delay = np.concatenate([curve.delay[np.isfinite(curve.g2)] for curve in found])
    positive = delay[delay > 0]
    for axes in grid:
        if not positive.size:
            continue
        if positive.size < delay.size:
            axes.set_xscale("symlog", linthresh=float(positive.min()))
            axes.set_xlim(-0.3 * positive.min(), positive.max() * 1.3)
        else:
            logarithmic(axes, "x")
            axes.set_xlim(positive.min() / 1.3, positive.max() * 1.3)
