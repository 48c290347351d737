"""How figures look: colours that everyone can tell apart, the width of a journal column, ticks that can be read.

Colours are those of Okabe and Ito [1]_ without the yellow, which is lost on white paper; lines and points have the five
of them with a contrast of 3:1 against white, and a marker of their own, so that no meaning hangs on colour alone.
Maps have cividis [2]_; lines that have an order (q) the darker part of plasma.

Sizes of letters are set on the figures that are made here, never in matplotlib's settings: figures of the user, and
other threads, do not notice.

References
----------
.. [1] M. Okabe and K. Ito, Color universal design (2008); B. Wong, Nat. Methods 8, 441 (2011).
.. [2] J. R. Nunez, C. R. Anderton and R. S. Renslow, PLoS ONE 13, e0199239 (2018).
"""

from __future__ import annotations

from io import BytesIO
from typing import Any, TypeAlias

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from xpcs_dask.errors import ConfigError

Panels: TypeAlias = NDArray[np.object_]
"""Array of Axes."""

BLUE, VERMILION, GREEN, PURPLE, BLACK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000"
SKY, ORANGE = "#56B4E9", "#E69F00"
PALETTE = (BLUE, VERMILION, GREEN, PURPLE, BLACK)
"""Of lines and points."""
FILLS = (*PALETTE, SKY, ORANGE)
"""Of areas, which need no contrast against white but against each other."""
GREY, PALE = "#767676", "#E0E0E0"
"""Of what is beside the point: lines of reference, and areas without a number."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SEQUENTIAL, ORDERED = "cividis", "plasma"
"""Colour maps of areas, and of lines that have an order."""
DARK = 0.64
"""Share of the second that lines take; the rest has a contrast below 3:1 on white."""
COLUMN = 8.6
"""Width of a journal column, cm."""
INCH = 2.54
DPI = 160
LABEL, TICK = 8.0, 7.0
"""Points."""
LINE, MARKER, HOLLOW = 1.1, 3.0, 3.4


class ColumnFigure(Figure):
    """A figure of this package: small letters, and a picture of itself in notebooks."""

    grown = 0.0
    """Inches that were added for a legend."""

    def grow(self, inches: float) -> None:
        """Make room for a legend above panels that stand side by side."""
        if inches > self.grown:
            self.set_figheight(self.get_figheight() + inches - self.grown)
            self.grown = inches

    def _repr_png_(self) -> bytes:
        picture = BytesIO()
        self.savefig(picture, format="png")
        return picture.getvalue()


def figure(width: float = COLUMN, height: float = 6.0, square: bool = False) -> ColumnFigure:
    """Return an empty figure; `width` and `height` in cm, `square` for panels whose sides are alike."""
    layout: Any = "compressed" if square else "constrained"
    made = ColumnFigure(figsize=(width / INCH, height / INCH), dpi=DPI, layout=layout)
    made.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.02)  # type: ignore[union-attr, call-arg]
    return made


def one(axes: Any, height: float = 6.0, square: bool = False) -> Axes:
    """Return the Axes to draw on: those given, or of a new figure of column width and `height` cm."""
    if axes is None:
        return figure(height=height, square=square).subplots()
    given = panels(axes)
    if given.size != 1:
        raise ConfigError(f"axes: this figure has one panel, but {given.size} Axes were given")
    return given[0]


def panels(axes: Any) -> Panels:
    """Return given Axes as a flat array; `ConfigError` for anything else."""
    given = np.atleast_1d(np.asarray(axes, dtype=object)).ravel()
    for item in given:
        if not isinstance(item, Axes):
            raise ConfigError(f"axes must be matplotlib Axes, or a sequence of them, not {type(item).__name__}")
    return given


def root(axes: Axes) -> Any:
    """Return the figure that the axes are in, also of those in a part of a figure."""
    return axes.figure.figure


def ours(axes: Axes) -> bool:
    """Whether the figure was made here, so that sizes of letters may be set."""
    return isinstance(root(axes), ColumnFigure)


def size(axes: Axes, points: float) -> dict[str, Any]:
    """Size of letters as a keyword: nothing on a figure of the user."""
    return {"fontsize": points} if ours(axes) else {}


def label(axes: Axes, x: str = "", y: str = "") -> None:
    """Name the axes; ticks get their size too."""
    axes.set_xlabel(x, **size(axes, LABEL))
    axes.set_ylabel(y, **size(axes, LABEL))
    if ours(axes):
        axes.tick_params(which="both", labelsize=TICK, width=0.6)
        axes.tick_params(which="major", length=3)
        axes.tick_params(which="minor", length=1.6)
        for spine in axes.spines.values():
            spine.set_linewidth(0.6)


def colour_bar(axes: Axes, image: Any, text: str, extend: Any = "neither") -> Any:
    """Put a colour bar beside the axes, named `text`; arrows at the ends that `extend` says."""
    bar = root(axes).colorbar(image, ax=axes, extend=extend, pad=0.02, fraction=0.06, aspect=25)
    bar.set_label(text, **size(axes, LABEL))
    if ours(axes):
        bar.ax.tick_params(which="both", labelsize=TICK, width=0.6)
        bar.outline.set_linewidth(0.6)
    return bar


def aligned(grid: Panels) -> None:
    """Put the names of vertical axes of a figure of this package in one line."""
    if len(grid) > 1 and ours(grid[0]):
        root(grid[0]).align_ylabels(list(grid))


def colours(count: int) -> list[Any]:
    """Colours of lines: of the palette if they suffice, else along the scale."""
    if count <= len(PALETTE):
        return list(PALETTE[:count])
    return ordered(count)


def ordered(count: int) -> list[Any]:
    """Colours along the scale, from dark to the lightest that is seen on white: of lines that have an order."""
    places = np.linspace(0.0, DARK, count) if count > 1 else [0.0]
    return [colormaps[ORDERED](place) for place in places]
