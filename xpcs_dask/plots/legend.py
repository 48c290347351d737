"""Legends above the axes, where they hide nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from matplotlib.axes import Axes
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.textpath import TextPath
from matplotlib.transforms import ScaledTranslation

from xpcs_dask.plots import style

Group: TypeAlias = tuple[str, Sequence[Any]]
"""Entries of a legend that belong together, after a word that says what they are."""
BAND = 0.3
"""Opacity of a band."""
HANDLE = 1.4
"""Width of the sign of an entry of a legend, in letters."""
ROW = 1.42
"""Height of a row of a legend over the size of its letters."""


def legend(axes: Axes, *groups: Group) -> None:
    """Put legends above the axes, where they hide nothing: each group in as many columns as there is room for.

    The first group is on top, one without entries is left out. A figure of this package grows by the height of its
    legend, so that panels keep theirs.
    """
    letters = style.TICK if style.ours(axes) else float(axes.xaxis.label.get_fontsize())
    root: Any = style.root(axes)
    wide = 72.0 * root.get_figwidth() * axes.get_position().width
    height = 2.0  # points that stand on the upper edge of the panel
    made = []
    for heading, entries in reversed([group for group in groups if group[1]]):
        handles = [*([_words(heading)] if heading else []), *entries]
        texts = [str(handle.get_label()) for handle in handles]
        columns = _columns([_wide(text, letters) for text in texts], wide)
        made.append(
            Legend(
                axes, _by_rows(handles, columns), _by_rows(texts, columns), loc="lower left", bbox_to_anchor=(0.0, 1.0),
                bbox_transform=axes.transAxes + ScaledTranslation(0.0, height / 72.0, root.dpi_scale_trans),
                ncols=columns, borderaxespad=0.2, borderpad=0.15, handlelength=HANDLE, handletextpad=0.4,
                columnspacing=0.8, labelspacing=0.25, frameon=False, **style.size(axes, style.TICK),
            )
        )  # fmt: skip
        height += -(-len(texts) // columns) * ROW * letters
    for drawn in made:
        axes.add_artist(drawn)
        drawn.set_clip_on(False)  # else the layout takes it for something inside the axes
    if isinstance(root, style.ColumnFigure):
        root.grow(height / 72.0)


def _columns(widths: Sequence[float], room: float) -> int:
    """Most columns, filled row by row, whose widths fit into the room."""
    for count in range(len(widths), 1, -1):
        if sum(max(widths[column::count]) for column in range(count)) <= room:
            return count
    return 1


def _wide(text: str, letters: float) -> float:
    """Width of an entry, points."""
    return float(TextPath((0, 0), text, size=letters).get_extents().width) + (HANDLE + 1.3) * letters


def area(colour: Any, text: str) -> Any:
    """Return an entry for a band."""
    return Patch(color=colour, alpha=BAND, lw=0, label=text)


def solid(colour: Any, text: str) -> Any:
    """Return an entry for an area."""
    return Patch(facecolor=colour, edgecolor=style.GREY, lw=0.4, label=text)


def bars(colour: Any, text: str) -> Any:
    """Return an entry that says what bars are."""
    return Line2D([], [], color=colour, marker="|", ls="", ms=7, mew=0.9, label=text)


def lines(names: Sequence[str], colours: Sequence[Any]) -> list[Any]:
    """Return entries for curves or files, each with its colour."""
    return [
        Line2D([], [], color=colour, marker="o", ls="", ms=style.MARKER, label=name)
        for name, colour in zip(names, colours, strict=True)
    ]


def _words(text: str) -> Line2D:
    """Return an entry without a sign."""
    return Line2D([], [], linestyle="", label=text)


def _by_rows(items: Sequence[Any], columns: int) -> list[Any]:
    """Put items into the order in which matplotlib, which fills column by column, shows them row by row."""
    rows = -(-len(items) // columns)
    places = (row * columns + column for column in range(columns) for row in range(rows))
    return [items[place] for place in places if place < len(items)]
