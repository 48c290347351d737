"""Which points of a file were not used, over delay and q, by reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from xpcs_dask.fitting.models import Floats
from xpcs_dask.fitting.quality import PointFlag
from xpcs_dask.plots import style
from xpcs_dask.plots.chosen import alone, choose, dataset, heading, read, spoken
from xpcs_dask.plots.legend import legend
from xpcs_dask.plots.points import OUTSIDE, REASONS, reason_of
from xpcs_dask.plots.ticks import logarithmic

COLOURS = {
    int(PointFlag.OUTLIER): style.VERMILION,
    int(PointFlag.ZERO_COUNT): style.BLACK,
    int(PointFlag.FEW_PRODUCTS): style.PURPLE,
    int(PointFlag.FEW_COINCIDENCES): style.BLUE,
    int(PointFlag.MISSING): style.GREY,
    int(PointFlag.ZERO_ERROR): style.GREEN,
    int(PointFlag.ERROR_COLLAPSE): style.ORANGE,
}
"""Of points that were not used."""
USED, REPLACED = "used", "used, error replaced"
USED_COLOUR, REPLACED_COLOUR = "#FFFFFF", style.SKY
ROWS = 7


def quality_map(points: xr.Dataset, *, axes: Any = None, **at: Any) -> Axes:
    """Draw which points of a file were used, and why others were not.

    Parameters
    ----------
    points : Dataset
        ``quality (..., delay)``: results of a fit with ``detail="full"``, or of `xpcs_dask.quality`.
    axes : Axes, optional
        Where to draw.
    **at
        Which file and bins, by label.

    Returns
    -------
    Axes
        Delay in s, one row a bin.

    Raises
    ------
    ConfigError
        If there are no flags of points, several files and none named, or a label does not exist.

    Notes
    -----
    Of several reasons the first of `plots.points.REASONS` is shown. "error replaced" are points that were used although
    their quoted error is less than 0.3 of what it must be.
    """
    points = dataset(points, "the results", ["quality"])
    points = alone(choose(points, at, "the results"), "quality", ("qbin", "delay"), "the results")
    (own,) = read(points[["quality"]])
    rows = [dim for dim in points["quality"].dims if dim != "delay"]
    bits = own["quality"].transpose(*rows, "delay").values.reshape(-1, points.sizes["delay"]).astype(np.int64)
    unused = (bits & int(PointFlag.NOT_USED)) != 0
    collapse = int(PointFlag.ERROR_COLLAPSE)
    code = np.where(unused, reason_of(bits), np.where((bits & collapse) != 0, -1, 0))
    signs = [(0, USED, USED_COLOUR), (-1, REPLACED, REPLACED_COLOUR)]
    signs += [(bit, name, COLOURS[bit]) for bit, name in REASONS.items() if bit != OUTSIDE]
    number = {bit: k for k, (bit, _, _) in enumerate(signs)}
    drawn_on = style.one(axes, 5.5)
    delay = own["delay"].values.astype(np.float64)
    cells = np.vectorize(number.__getitem__, otypes=[int])(code)
    drawn_on.pcolormesh(
        edges(delay), np.arange(len(bits) + 1), cells, cmap=ListedColormap([sign[2] for sign in signs]), vmin=-0.5,
        vmax=len(signs) - 0.5, rasterized=True,
    )  # fmt: skip
    logarithmic(drawn_on, "x")
    shown = np.unique(np.linspace(0, len(bits) - 1, min(len(bits), ROWS)).round().astype(int))
    drawn_on.set_yticks(shown + 0.5, [spoken(points, "qbin", int(row)) if "qbin" in rows else "" for row in shown])
    style.label(drawn_on, "delay (s)", heading(points, "qbin"))
    there = [sign for sign in signs if (code == sign[0]).any()]
    handles = [Patch(facecolor=sign[2], edgecolor=style.GREY, lw=0.4, label=sign[1]) for sign in there]
    split = [handle for handle, sign in zip(handles, there, strict=True) if sign[0] <= 0]
    legend(drawn_on, ("", split), ("not used:", [handle for handle in handles if handle not in split]))
    return drawn_on


def edges(centres: Floats) -> Floats:
    """Edges of cells (m + 1,) around delays (m,), halfway between them in the logarithm."""
    first = centres[centres > 0].min(initial=1.0)
    x = np.log(np.where(centres > 0, centres, first / 2))
    if x.size == 1:
        return np.exp(np.array([x[0] - 0.5, x[0] + 0.5]))
    middle = (x[1:] + x[:-1]) / 2
    return np.exp(np.concatenate([[2 * x[0] - middle[0]], middle, [2 * x[-1] - middle[-1]]]))
