"""Figures as they stand in the page: inside the file, with a caption and a text for those who cannot see them."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

from xpcs_dask.plots import style
from xpcs_dask.reporting.one_point import DEFAULT, QUOTED, Story

__all__ = ["Picture", "drawn", "one_point"]

DPI = 180


@dataclass(frozen=True, slots=True)
class Picture:
    """One figure."""

    title: str
    caption: str
    alternative: str
    uri: str
    width: int
    height: int
    """Pixels at 100 an inch."""


def drawn(axes: Any, title: str, caption: str, alternative: str) -> Picture:
    """Picture of the figure that the axes belong to."""
    figure = np.ravel(axes)[0].get_figure(root=True)
    file = BytesIO()
    figure.savefig(file, format="png", dpi=DPI, facecolor="white", pil_kwargs={"compress_level": 4})
    width, height = (round(inches * 100) for inches in figure.get_size_inches())
    uri = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
    return Picture(title, caption, alternative, uri, width, height)


def one_point(story: Story) -> Picture:
    """Draw the curve with quoted errors and both fits, and below it which point holds how much of the weight."""
    from xpcs_dask.fitting.models import resolve

    figure = style.figure(height=8.4)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2.0, 1.2))
    delay = story.curve["delay"].values.astype(np.float64)
    g2, error = (story.curve[name].values.astype(np.float64) for name in ("g2", "g2_err"))
    shown = np.isfinite(g2) & (delay > 0) & (g2 != 0)
    bars = np.where(np.isfinite(error) & (error > 0), error, 0.0)
    top.errorbar(
        delay[shown], g2[shown], bars[shown], fmt="o", color=style.GREY, markersize=2.4, elinewidth=0.7, zorder=1
    )
    smooth = np.geomspace(delay[delay > 0].min(), delay.max(), 300)
    model = story.variants[0].model
    styles = {QUOTED: (style.VERMILION, "--"), DEFAULT: (style.BLUE, "-")}
    for one in story.variants:
        if one.model == model and one.errors in styles and np.isfinite(one.tau):
            colour, line = styles[one.errors]
            top.plot(
                smooth,
                resolve(model).evaluate(smooth, *one.value.values()),
                line,
                color=colour,
                linewidth=1.4,
                label=one.errors,
            )
    point = story.point
    top.plot(
        delay[point], g2[point], "o", markersize=9, markerfacecolor="none", markeredgecolor=style.VERMILION, zorder=4
    )
    side = "right" if delay[point] > np.sqrt(delay[delay > 0].min() * delay.max()) else "left"
    top.annotate(
        f"{100 * story.share:.0f} % of the quoted weight", (delay[point], g2[point]),
        xytext=(-10 if side == "right" else 10, -3), va="center",
        textcoords="offset points", ha=side, fontsize=style.TICK, color=style.VERMILION,
    )  # fmt: skip
    low, high = np.percentile(g2[shown], [1, 99])
    top.set_ylim(low - 0.15 * (high - low), high + 0.25 * (high - low))
    top.legend(fontsize=style.TICK, frameon=False, title=f"model {model}, weighted by", title_fontsize=style.TICK)
    bottom.plot(delay, 100 * story.shares, "o", color=style.VERMILION, markersize=3, label="quoted errors")
    bottom.plot(delay, 100 * story.default_shares, "s", color=style.BLUE, markersize=2.4, label="default errors")
    bottom.legend(fontsize=style.TICK, frameon=False)
    bottom.set(xscale="log", ylim=(-4, 104))
    style.label(top, "", "$g_2$")
    style.label(bottom, "delay (s)", "share of weight (%)")
    top.tick_params(labelbottom=False)
    figure.align_ylabels([top, bottom])
    return drawn(
        top,
        "One point decides",
        f"{story.file}, {story.where}. Above: the curve with the errors that the file quotes, and the model {model} "
        "fitted with these and with default errors. Below: how much of all weight each point holds.",
        " ".join(story.in_words()),
    )
