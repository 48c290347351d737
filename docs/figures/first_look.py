"""The figure of the README: curves and their fits, tau(q) and its law, and how many intervals hold the truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import curve_fit

import xpcs_dask as xd

FILE = Path(__file__).parents[1] / "first_look.png"
DIFFUSION = 4e5
"""angstrom^2/s, of all that is simulated here."""
EXPERIMENTS = 60
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
"""Of Okabe and Ito: they can be told apart by colour-blind readers."""
GREY = "#666666"
OURS, THEIRS = "xpcs_dask", "curve_fit"
"""Who made the intervals; `curve_fit` is that of scipy, weighed by the quoted errors."""


@dataclass(frozen=True)
class Look:
    """What is drawn."""

    run: xr.Dataset
    fits: xr.Dataset
    law: xr.Dataset
    repeats: dict[str, np.ndarray]
    """Lower and upper ends of 95 % intervals of tau, (experiment, 2), by who made them."""
    tau: float
    """s, the true one of the repeats."""

    def holds(self, who: str) -> np.ndarray:
        """Return which intervals hold the truth."""
        return (self.repeats[who][:, 0] <= self.tau) & (self.tau <= self.repeats[who][:, 1])


def look() -> Look:
    """Simulate and fit: one run of eight bins, and one bin in sixty runs."""
    run = xd.simulate.speckle(1, q=np.geomspace(0.006, 0.02, 8), pixels=200, counts=0.3, diffusion=DIFFUSION, seed=1)
    fits = xd.fit(run, "simple")
    many = xd.simulate.speckle(EXPERIMENTS, pixels=64, counts=2.0, diffusion=DIFFUSION, seed=2)
    ours = xd.fit(many, "simple", interval="covariance")["interval"].sel(parameter="tau")[:, 0].values
    return Look(
        run=run,
        fits=fits,
        law=xd.dispersion(fits),
        repeats={OURS: ours, THEIRS: by_scipy(many)},
        tau=1.0 / (DIFFUSION * float(many["q"][0]) ** 2),
    )


def by_scipy(many: xr.Dataset) -> np.ndarray:
    """Return tau -+ 1.96 standard errors of `curve_fit`, weighed by quoted errors, which it rescales by default."""
    delay = many["delay"].values
    ends = []
    for g2, error in zip(many["g2"].values[:, 0], many["g2_err"].values[:, 0], strict=True):
        use = (error > 0) & (g2 > 0)
        found, covariance = curve_fit(decay, delay[use], g2[use], p0=(0.2, 0.02, 1.0), sigma=error[use])
        ends.append(found[1] + 1.96 * np.sqrt(covariance[1, 1]) * np.array([-1, 1]))
    return np.array(ends)


def decay(t: Any, contrast: float, tau: float, baseline: float) -> Any:
    """Return g2 of the model `simple`."""
    return baseline + contrast * np.exp(-2 * t / tau)


def draw(found: Look) -> Figure:
    """Three panels, wide enough for a page of a repository."""
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    curves, law, repeats = figure.subplots(1, 3, width_ratios=(1.1, 0.9, 1.2))
    _draw_curves(curves, found)
    _draw_law(law, found)
    _draw_repeats(repeats, found)
    return figure


def _draw_curves(axes: Axes, found: Look) -> None:
    delay = found.run["delay"].values
    smooth = np.geomspace(delay[0], delay[-1], 300)
    used = found.fits["quality"].isel(file=0) & int(xd.PointFlag.NOT_USED) == 0
    for colour, at in zip(COLOURS, (0, 2, 4, 7), strict=True):
        one, use = found.run.isel(file=0, qbin=at), used.isel(qbin=at).values
        label = f"{float(one['q']):.4f}"
        axes.errorbar(
            delay[use], one["g2"][use], one["g2_err"][use], fmt="o", ms=2.5, lw=0.8, color=colour, label=label
        )
        axes.plot(smooth, decay(smooth, *found.fits["value"][0, at].values), color=colour, lw=1.2)
    axes.set(xscale="log", xlabel="delay (s)", ylabel="g2", title="Every curve fitted")
    axes.legend(title="q (1/Å)", fontsize="small", frameon=False)


def _draw_law(axes: Axes, found: Look) -> None:
    q, tau = found.fits["q"].values, found.fits["value"].sel(parameter="tau")[0].values
    d = float(found.law["value"].sel(parameter="D")[0])
    low, high = found.law["interval"].sel(parameter="D").values[0]
    axes.errorbar(
        q, tau, found.fits["stderr"].sel(parameter="tau")[0], fmt="o", ms=4, lw=1, color=COLOURS[0], label="fitted"
    )
    axes.plot(q, 1 / (d * q**2), color=COLOURS[0], lw=1.2, label="1 / (D q²)")
    axes.plot(q, 1 / (DIFFUSION * q**2), color=GREY, lw=1.2, ls=(0, (1, 2)), label="truth")
    title = f"D = {d / 1e5:.2f} ({low / 1e5:.2f} to {high / 1e5:.2f}) · 10⁵ Å²/s"
    axes.set(xscale="log", yscale="log", xlabel="q (1/Å)", ylabel="tau (s)", title=title)
    axes.set_xticks([0.006, 0.01, 0.02], ["0.006", "0.01", "0.02"])
    axes.set_yticks([0.01, 0.02, 0.05], ["0.01", "0.02", "0.05"])
    axes.minorticks_off()
    axes.title.set_fontsize("medium")
    axes.legend(fontsize="small", frameon=False)


def _draw_repeats(axes: Axes, found: Look) -> None:
    for row, who in enumerate(found.repeats):
        holds, shift = found.holds(who), row * (EXPERIMENTS + 12)
        for colour, these in ((COLOURS[0], holds), (COLOURS[1], ~holds)):
            at = shift + np.arange(EXPERIMENTS)[these]
            axes.vlines(at, *(1e3 * found.repeats[who][these].T), color=colour, lw=1.6)
        text = f"{who}\n{int(holds.sum())} of {EXPERIMENTS} hold"
        axes.text(shift + EXPERIMENTS / 2, 0.97, text, ha="center", va="top", transform=axes.get_xaxis_transform(),
                  fontsize="small")  # fmt: skip
    axes.axhline(1e3 * found.tau, color=GREY, lw=1.2, ls=(0, (1, 2)))
    low, high = 1e3 * found.repeats[OURS].min(), 1e3 * found.repeats[OURS].max()
    axes.set(xticks=[], ylabel="tau (ms)", title="95 % intervals of 60 runs, truth dotted")
    axes.set_ylim(low - 0.02 * (high - low), high + 0.22 * (high - low))
    axes.title.set_fontsize("medium")


def write(path: Path = FILE) -> Path:
    """Make the figure."""
    draw(look()).savefig(path, dpi=110, metadata={"Software": None})
    return path
