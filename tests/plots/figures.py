"""One of every figure, from simulated data; ``python -m tests.plots.figures`` draws the baselines anew."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import matplotlib.style
import numpy as np
import xarray as xr
from matplotlib.legend import Legend

import xpcs_dask as xd
from xpcs_dask import plots
from xpcs_dask.engine.events import State

BASELINE = Path(__file__).parent / "baseline"
DPI = 60


@cache
def series() -> xr.Dataset:
    """Twelve runs, faster one after the other, dim enough to have doubtful bins; temperature and time beside."""
    data = xd.simulate.curves(
        12, model="single", diffusion=np.geomspace(1e6, 8e6, 12)[:, None], counts=0.003, frames=20_000, seed=5
    )
    start = np.datetime64("2025-03-01T08:00", "ns") + np.arange(12) * np.timedelta64(7, "m")
    return data.assign_coords(
        temperature=("file", np.linspace(20.0, 60.0, 12), {"units": "degC"}),
        start_time=("file", start, {"time_zone": "local"}),
    )


@cache
def series_fits() -> xr.Dataset:
    return xd.fit(series(), "single")


@cache
def starved() -> xr.Dataset:
    """One run whose bins go from bright to starved, with a false point and one that is missing."""
    data = xd.simulate.curves(
        1, model="simple", counts=np.geomspace(0.05, 5e-5, 12), frames=20_000, counting="poisson", seed=3
    )
    g2 = data["g2"].copy()
    g2[0, 0, 20] += 0.1
    g2[0, 0, 5] = np.nan
    return data.assign(g2=g2)


@cache
def starved_fits() -> xr.Dataset:
    return xd.fit(starved(), "simple", robust="clip")


@cache
def refits() -> xr.Dataset:
    return xd.bootstrap(pixels(), model="single", keep_replicates=True, resamples=500)


@cache
def pixels() -> xr.Dataset:
    return xd.simulate.speckle(1, pixels=40, counts=0.5, frames=1024, normalization="pixel", clusters=True)


@cache
def compared() -> xr.Dataset:
    data = xd.simulate.curves(1, model="single", stretch=np.linspace(1.0, 0.6, 12), counts=0.02, seed=2)
    return xd.compare(data, ["simple", "single", "double"])


def states() -> list[State]:
    """A run of 40 s: files are opened for 5 s, then curves are fitted, some in vain."""
    opening = [State(elapsed=float(t), files=100, files_opened=20 * t, memory=200_000_000) for t in range(6)]
    fitting = [
        State(
            stage="fitting", elapsed=5.0 + t, curves=3600, curves_done=min(3600, 100 * t),
            failures={"no_data": 5 * t}, memory=int(4e8 + 2e8 * (1 - np.exp(-t / 5))),
        )
        for t in range(36)
    ]  # fmt: skip
    return [*opening, *fitting]


def ageing() -> xr.DataArray:
    """A two-time map whose decay gets slower."""
    t = np.arange(100) * 0.03
    age, lag = (t[:, None] + t) / 2, np.abs(t[:, None] - t)
    noise = np.random.default_rng(1).normal(0, 0.01, (100, 100))
    values = 1 + 0.2 * np.exp(-2 * lag / (0.1 + 0.3 * age)) + (noise + noise.T) / 2
    np.fill_diagonal(values, 1.8)
    times = {dim: (dim, t, {"units": "s"}) for dim in ("t1", "t2")}
    return xr.DataArray(values, times, ("t1", "t2"))


FIGURES = {
    "g2": lambda: plots.g2(series(), series_fits(), file=0),
    "g2_unused": lambda: plots.g2(starved(), starved_fits(), qbin=1, quoted=True),
    "g2_starved": lambda: plots.g2(starved(), starved_fits()),
    "g2_refits": lambda: plots.g2(pixels(), refits()),
    "parameter": lambda: plots.parameter(series_fits(), file=[0, 6, 11]),
    "tau_q": lambda: plots.tau_q(series_fits(), file=0, law="diffusion+constant"),
    "tau_q_files": lambda: plots.tau_q(series_fits(), file=[0, 6, 11]),
    "replicates": lambda: plots.replicates(refits()),
    "parameter_map": lambda: plots.parameter_map(series_fits()),
    "parameter_temperature": lambda: plots.parameter_series(series_fits(), along="temperature", qbin=[1, 5, 9]),
    "parameter_time": lambda: plots.parameter_series(series_fits(), "contrast", along="start_time", qbin=3),
    "quality_map": lambda: plots.quality_map(starved_fits()),
    "twotime": lambda: plots.twotime(ageing()),
    "comparison_weights": lambda: plots.comparison(compared()),
    "comparison_bic": lambda: plots.comparison(compared(), "bic"),
    "run_history": lambda: plots.run_history(states()),
}


def drawn(name: str):
    """Figure of that name, drawn with matplotlib's own settings and the letters that come with it."""
    with matplotlib.style.context("default"), matplotlib.rc_context({"font.family": "DejaVu Sans"}):
        made = FIGURES[name]()
        figure = np.atleast_1d(np.asarray(made, dtype=object)).ravel()[0].figure
        figure.savefig(io.BytesIO(), format="png", dpi=DPI)
    return figure


def bare(figure, target) -> None:
    """Save the panels of a figure without a letter, each in a place of its own: no font decides where a line is."""
    figure.set_layout_engine("none")
    figure.set_size_inches(3.4, 2.6)
    side = int(np.ceil(len(figure.axes) ** 0.5))
    for k, axes in enumerate(figure.axes):
        row, column = divmod(k, side)
        axes.set_axes_locator(None)
        axes.set_aspect("auto")
        axes.set_position([(column + 0.03) / side, (side - row - 0.97) / side, 0.94 / side, 0.94 / side])
        axes.set(xlabel="", ylabel="")
        axes.tick_params(which="both", labelbottom=False, labelleft=False, labelright=False)
        for axis in (axes.xaxis, axes.yaxis):
            axis.get_offset_text().set_visible(False)
        for artist in (*axes.texts, *(child for child in axes.get_children() if isinstance(child, Legend))):
            artist.set_visible(False)
    figure.savefig(target, format="png", dpi=DPI, metadata={"Software": None})


if __name__ == "__main__":
    for name in FIGURES:
        bare(drawn(name), BASELINE / f"{name}.png")
