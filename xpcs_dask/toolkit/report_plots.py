"""Pictures of the residuals of one fit."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import numpy as np

from xpcs_dask.fitting.models import Floats

DPI = 100


def plots(x: Any, y: Floats, fitted: Floats, error: Floats | None) -> dict[str, str]:
    """Residuals along x, and in order against normal quantiles: PNG in base64 by name."""
    from scipy.special import ndtri

    rest = (y - fitted) / (np.std(y - fitted) if error is None else error)
    place = x if np.shape(x) == y.shape else np.arange(y.size)
    quantiles = ndtri((np.arange(rest.size) + 0.5) / rest.size)
    logarithmic = bool((np.asarray(place) > 0).all())
    return {
        "residuals": _picture(place, rest, "x", logarithmic),
        "normal_quantiles": _picture(quantiles, np.sort(rest), "normal quantile", False),
    }


def _picture(x: Any, rest: Floats, label: str, logarithmic: bool) -> str:
    """One picture; no window and no state of pyplot is touched."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.axhline(0.0, color="0.7")
    axes.plot(x, rest, "o", markersize=3)
    axes.set(xlabel=label, ylabel="residual / error", xscale="log" if logarithmic else "linear")
    picture = BytesIO()
    canvas.print_figure(picture, format="png", dpi=DPI)
    return base64.b64encode(picture.getvalue()).decode("ascii")
