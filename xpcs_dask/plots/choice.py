"""What speaks for which model, over q."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.layout import Status
from xpcs_dask.fitting.models import Floats
from xpcs_dask.plots import style
from xpcs_dask.plots.chosen import alone, choose, dataset, read
from xpcs_dask.plots.legend import legend
from xpcs_dask.plots.ticks import logarithmic
from xpcs_dask.prepare import known

NAMES = {
    "akaike_weight": "Akaike weight",
    "aicc": "AICc \N{MINUS SIGN} lowest",
    "bic": "BIC \N{MINUS SIGN} lowest",
    "cv": "mean squared error of prediction / σ²",
}
JUDGE = {"akaike_weight": "aicc"}
"""Criterion whose choice is marked, where it has another name."""
LINEAR = 10.0
"""Differences up to this are drawn to a linear scale, larger ones to a logarithmic one."""


def comparison(found: xr.Dataset, criterion: str = "akaike_weight", *, axes: Any = None, **at: Any) -> Axes:
    """Draw what speaks for each model, over q, and which one is chosen.

    Parameters
    ----------
    found : Dataset
        Results of `compare`.
    criterion : {"akaike_weight", "aicc", "bic", "cv"}
        Weights; differences to the lowest aicc or bic; or the error of prediction with its standard error.
    axes : Axes, optional
        Where to draw.
    **at
        Which file and bins, by label.

    Returns
    -------
    Axes

    Raises
    ------
    ConfigError
        For an unknown criterion, one that was not worked out, several files with none named, or a label that does not
        exist.

    Notes
    -----
    The chosen model has a filled marker, the others hollow ones; a model whose fit failed has a cross at the bottom.
    What the numbers assume stands in ``found.attrs["warning"]``.
    """
    found = dataset(found, "the results", ["akaike_weight", "best", "status"])
    if criterion not in NAMES:
        raise ConfigError(f"criterion: {criterion!r} is none of {', '.join(NAMES)}")
    if criterion not in found:
        raise ConfigError(f"the results have no {criterion}; compare with folds=5")
    found = alone(choose(found, at, "the results"), "akaike_weight", ("qbin", "model"), "the results")
    wanted = [criterion, "status", "best", *(["cv_stderr"] if criterion == "cv" else [])]
    (own,) = read(found[wanted])
    own = own.isel({dim: 0 for dim in own["best"].dims if dim not in ("qbin", "criterion")})
    if "qbin" not in own.dims:
        own = own.expand_dims("qbin")
    own = own.transpose("qbin", ...)
    values = own[criterion].transpose("qbin", "model").values
    fitted = own["status"].transpose("qbin", "model").values == Status.CONVERGED
    best = own["best"].sel(criterion=JUDGE.get(criterion, criterion)).values
    drawn_on = style.one(axes, 5.5)
    x = _horizontal(drawn_on, found)
    shown = np.where(fitted, values, np.nan)
    if criterion in ("aicc", "bic"):
        shown = shown - _lowest(shown)
    errors = own["cv_stderr"].transpose("qbin", "model").values if criterion == "cv" else None
    _vertical(drawn_on, criterion, shown)
    names = [str(name) for name in known(found["model"])]
    colours = style.colours(len(names))
    for k, colour in enumerate(colours):
        _one(drawn_on, x, shown[:, k], fitted[:, k], best == k, colour, style.MARKERS[k % len(style.MARKERS)],
             None if errors is None else errors[:, k])  # fmt: skip
    style.label(drawn_on, drawn_on.get_xlabel(), NAMES[criterion])
    models = [
        Line2D([], [], color=colour, marker=style.MARKERS[k % len(style.MARKERS)], ls="-", lw=0.7, ms=style.MARKER,
               label=name) for k, (name, colour) in enumerate(zip(names, colours, strict=True))
    ]  # fmt: skip
    signs: dict[str, Any] = {"color": style.GREY, "marker": "o", "ls": "", "ms": 4}
    marks = [
        Line2D([], [], label="chosen", **signs),
        Line2D([], [], label="not chosen", fillstyle="none", mew=0.7, **signs),
    ]
    if not fitted.all():
        marks.append(Line2D([], [], label="failed", **(signs | {"marker": "x"})))
    legend(drawn_on, ("", models), ("", marks))
    return drawn_on


def _lowest(values: Floats) -> Floats:
    """Smallest number of each row that has one."""
    return np.where(
        np.isfinite(values).any(axis=1), np.nanmin(np.where(np.isfinite(values), values, np.inf), axis=1), 0.0
    )[:, None]


def _horizontal(axes: Axes, found: xr.Dataset) -> Floats:
    """Positions of the bins: q if it is known, else their numbers."""
    if "q" in found.coords and found["q"].dims == ("qbin",) and (known(found["q"]) > 0).all():
        q = known(found["q"]).astype(np.float64)
        logarithmic(axes, "x")
        axes.set(xlabel="$q$ (Å⁻¹)", xlim=(q.min() / 1.1, q.max() * 1.1))
        return q
    count = found.sizes.get("qbin", 1)
    axes.set(xlabel="number of the bin", xlim=(-0.5, count - 0.5))
    return np.arange(count, dtype=np.float64)


def _vertical(axes: Axes, criterion: str, shown: Floats) -> None:
    finite = shown[np.isfinite(shown)]
    top = float(finite.max()) if finite.size else 1.0
    if criterion == "akaike_weight":
        axes.set_ylim(-0.04, 1.04)
    elif criterion == "cv":
        low = float(finite.min()) if finite.size else 0.0
        room = 0.15 * (top - low) or 0.1
        axes.set_ylim(low - room, top + room)
    elif top <= 2 * LINEAR:
        axes.set_ylim(-0.06 * max(top, 1.0), 1.08 * max(top, 1.0))
    else:
        axes.set_yscale("symlog", linthresh=LINEAR)
        decades = [10.0**power for power in range(1, int(np.ceil(np.log10(top))) + 1)]
        axes.set_yticks([0.0, *decades[:: -(-len(decades) // 4)]])
        axes.set_yticks([step * ten for ten in (1.0, *decades) for step in range(2, 10)], minor=True)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_ylim(-1.0, 1.5 * top)


def _one(
    axes: Axes, x: Floats, y: Floats, fitted: Any, chosen: Any, colour: Any, marker: str, error: Floats | None
) -> None:
    there = np.isfinite(y)
    axes.plot(x[there], y[there], "-", color=colour, linewidth=0.7, zorder=2)
    if error is not None:
        axes.vlines(x[there], (y - error)[there], (y + error)[there], color=colour, linewidth=0.7, zorder=2)
    style_of: dict[str, Any] = {"color": colour, "ls": "", "markersize": 3.6, "clip_on": False, "zorder": 3}
    axes.plot(x[there & chosen], y[there & chosen], marker, markeredgewidth=0.7, gid="chosen", **style_of)
    axes.plot(
        x[there & ~chosen], y[there & ~chosen], marker, markerfacecolor="white", markeredgewidth=0.7, gid="not chosen",
        **style_of,
    )  # fmt: skip
    if (~fitted).any():
        axes.plot(
            x[~fitted], np.zeros((~fitted).sum()), "x", transform=axes.get_xaxis_transform(), gid="failed", **style_of
        )
