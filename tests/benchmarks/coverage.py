"""How often nominal 95 % intervals hold the truth: ``python -m tests.benchmarks.coverage [--quick] [--json FILE]``.

Prints the tables of docs/coverage.md, made through the public verbs `fit` and `bootstrap` alone: simulated speckle with
the g2 of single pixels beside, speckle of which only one curve is known, and curves whose delays are independent. In
full it takes less than half an hour on two cores, with ``--quick`` less than a minute. The numbers do not depend on how
many processes share the work.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.update(
    {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
)

import numpy as np
import xarray as xr
from numpy.typing import NDArray

import xpcs_dask as xd
from xpcs_dask.fitting.models import SINGLE

Floats = NDArray[np.float64]

FRAMES, STEP, Q = 4096, 1e-3, 0.01
PIECE = 100
"""Experiments of one task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to intervals: what `fit` is told, or with `resamples` what `bootstrap` is told."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    resamples: bool = False
    clusters: bool = True
    """False: the pixels' own g2 is taken away first."""
    bad: bool = False
    """Known to be wrong on these data; shown to say how wrong."""

    def intervals(self, data: xr.Dataset, model: str, resamples: int) -> Floats:
        """Both ends (curve, parameter, 2) for data with one curve a file."""
        if not self.clusters:
            data = data.drop_vars("g2_cluster", errors="ignore")
        if self.resamples:
            fits = xd.bootstrap(data, model=model, resamples=resamples, **self.settings)
        else:
            fits = xd.fit(data, model, **{"interval": "covariance", **self.settings})
        ends: Floats = fits["interval"].transpose("file", ..., "parameter", "bound").values
        return ends.reshape(-1, *ends.shape[-2:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One column of a table: data that are made piece by piece, fitted in every way."""

    name: str
    make: Callable[[Any, int, int], xr.Dataset]
    """From `given`, the first experiment and their number."""
    given: Any
    model: str
    parameters: tuple[str, ...]
    ways: tuple[Way, ...]
    experiments: int
    resamples: int
    truth: dict[str, float] | None
    """None: what a fit of the mean of all experiments finds, with the errors of one."""

    def run(self, first: int) -> dict[str, Floats]:
        """Intervals of one piece by way; g2 and errors beside where the truth is to be found from them."""
        data = self.make(self.given, first, min(PIECE, self.experiments - first))
        found = {way.name: way.intervals(data, self.model, self.resamples) for way in self.ways}
        if self.truth is None:
            found["g2"], found["sigma"] = data["g2"].values[:, 0].astype(float), xd.quality(data)["sigma"].values[:, 0]
            found["delay"] = data["delay"].values[None]
        return found

    def covered(self, pieces: list[dict[str, Floats]]) -> dict[str, dict[str, float]]:
        """Share of the intervals that hold the truth, %, by way and parameter; one that is not finite does not."""
        model = xd.MODELS[self.model]
        truth = self.truth or _mean_fit(pieces, self.model)
        found: dict[str, dict[str, float]] = {}
        for way in self.ways:
            ends = np.concatenate([piece[way.name] for piece in pieces])
            found[way.name] = {}
            for name in self.parameters:
                low, high = ends[:, model.index(name)].T
                held = np.isfinite(high - low) & (low <= truth[name]) & (truth[name] <= high)
                found[way.name][name] = 100.0 * float(held.mean())
        return found


def _mean_fit(pieces: list[dict[str, Floats]], model: str) -> dict[str, float]:
    """Parameters that the mean of all curves has, each delay with the median of its errors."""
    g2, sigma = (np.concatenate([piece[name] for piece in pieces]) for name in ("g2", "sigma"))
    usual = np.nanmedian(np.where(np.isfinite(sigma), sigma, np.nan)[:, np.isfinite(sigma).any(axis=0)], axis=0)
    used = np.isfinite(sigma).any(axis=0)
    fits = xd.fit_curves(pieces[0]["delay"][0][used], g2.mean(axis=0)[used], usual, model)
    return dict(zip(fits.parameters, fits.value.tolist(), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Speckle:
    """Simulated speckle of one bin."""

    pixels: int
    counts: float
    tau: float
    """In frames."""
    modes: int = 4
    clusters: bool = False


def speckle(given: Speckle, first: int, number: int) -> xr.Dataset:
    """Experiments of partially coherent speckle, the g2 of the bin being the mean of those of its pixels."""
    return xd.simulate.speckle(
        number, frames=FRAMES, frame_time=STEP, q=[Q], diffusion=1.0 / (given.tau * STEP * Q**2), pixels=given.pixels,
        counts=given.counts, modes=given.modes, clusters=given.clusters, first_file=first, seed=41,
        normalization="pixel" if given.clusters else "pooled",
    )  # fmt: skip


DELAY = np.geomspace(1e-5, 1.0, 50)
SIGMA = 0.15 / 75.0 * np.geomspace(1.0, 5.0, 50)
TRUTH = {"contrast": 0.15, "tau": 3e-3, "stretch": 0.9, "baseline": 1.0}
KINDS = ("as stated", "half", "double", "flat", "10 pixels", "t3 noise")
"""What is told of the errors: the truth, half or twice of it, their mean, the scatter of 10 pixels; or the noise."""


def independent(kind: str, first: int, number: int) -> xr.Dataset:
    """Curves with noise drawn delay by delay, and errors as they are told."""
    g2, told = np.empty((2, number, DELAY.size))
    true = SINGLE.evaluate(DELAY, *TRUTH.values())
    for k in range(number):
        rng = np.random.default_rng([41, KINDS.index(kind), first + k])
        noise = rng.standard_t(3, DELAY.size) / np.sqrt(3.0) if kind == "t3 noise" else rng.standard_normal(DELAY.size)
        told[k] = SIGMA * {"half": 0.5, "double": 2.0}.get(kind, 1.0)
        if kind == "flat":
            told[k] = SIGMA.mean()
        if kind == "10 pixels":
            told[k] = SIGMA * np.sqrt(rng.chisquare(9, DELAY.size) / 9)
        g2[k] = true + SIGMA * noise
    return xr.Dataset(
        {"g2": (("file", "qbin", "delay"), g2[:, None]), "g2_err": (("file", "qbin", "delay"), told[:, None])},
        {"delay": ("delay", DELAY, {"units": "s"}), "curve_id": (("file", "qbin"), np.arange(first, first + number,
         dtype=np.uint64)[:, None])},
    )  # fmt: skip


ABSOLUTE = {"errors": "quoted", "covariance": "wald"}
RESCALED = {"errors": "quoted", "absolute_sigma": False, "covariance": "scaled"}
OVER_DELAYS = {"over": "delay", "interval": "percentile"}
CLUSTER_WAYS = (
    Way(name="fit (default)"),
    Way(name="bootstrap (default)", resamples=True),
    *(Way(name=f'bootstrap, interval="{kind}"', resamples=True, settings={"interval": kind})
      for kind in ("percentile", "bca", "basic", "studentised", "t")),
    Way(name="fit without pixels (theory)", clusters=False),
    Way(name='fit, errors="quoted", covariance="wald"', settings=ABSOLUTE, bad=True),
    Way(name="the same, rescaled by chi2 (curve_fit's default)", settings=RESCALED, bad=True),
    Way(name='bootstrap, over="delay", scheme="residual"', resamples=True, bad=True,
        settings={**OVER_DELAYS, "scheme": "residual"}),
)  # fmt: skip
SINGLE_CURVE_WAYS = (
    Way(name="fit (default: theory)"),
    Way(name='fit, weights="gls"', settings={"weights": "gls"}),
    Way(name='fit, covariance="hc3"', settings={"covariance": "hc3"}, bad=True),
    Way(name='fit, covariance="wald"', settings={"covariance": "wald"}, bad=True),
    Way(name='bootstrap, over="delay", scheme="residual"', resamples=True, bad=True,
        settings={**OVER_DELAYS, "scheme": "residual"}),
)  # fmt: skip
INDEPENDENT_WAYS = (
    Way(name="fit (default)"),
    Way(name='fit, errors="quoted", covariance="hc3"', settings={"errors": "quoted", "covariance": "hc3"}),
    Way(name='fit, errors="quoted", rescaled by chi2', settings=RESCALED),
    Way(name='bootstrap, scheme="wild"', resamples=True, settings={**OVER_DELAYS, "scheme": "wild"}),
    Way(name='bootstrap, scheme="residual"', resamples=True,
        settings={"errors": "quoted", **OVER_DELAYS, "scheme": "residual"}),
    Way(name='bootstrap, scheme="pairs"', resamples=True,
        settings={"errors": "quoted", **OVER_DELAYS, "scheme": "pairs"}),
    Way(name='fit, errors="quoted", covariance="wald"', settings=ABSOLUTE),
    Way(name='fit, errors="quoted", interval="profile"', settings={**ABSOLUTE, "interval": "profile"}),
)  # fmt: skip


def tables(*, quick: bool, experiments: int) -> dict[str, list[Cell]]:
    """Cells of every table by its title; the quick ones are a few of them, small."""
    resamples = 199 if quick else 499

    def clusters(given: Speckle) -> Cell:
        return Cell(
            name=f"{given.pixels} pixels, {given.counts:g} photons", make=speckle, given=given, model="single",
            parameters=("contrast", "tau", "stretch"), ways=CLUSTER_WAYS, experiments=experiments, resamples=resamples,
            truth=None,
        )  # fmt: skip

    def curve(given: Speckle) -> Cell:
        return Cell(
            name=f"contrast {1 / given.modes:g}, {given.pixels} pixels, {given.counts:g} photons, "
            f"{FRAMES / given.tau:.0f} relaxation times",
            make=speckle, given=given, model="simple", parameters=("tau",), ways=SINGLE_CURVE_WAYS,
            experiments=experiments, resamples=resamples, truth={"tau": given.tau * STEP},
        )  # fmt: skip

    def delays(kind: str) -> Cell:
        return Cell(
            name=kind, make=independent, given=kind, model="single", parameters=("tau", "stretch"),
            ways=INDEPENDENT_WAYS, experiments=experiments, resamples=resamples, truth=TRUTH,
        )  # fmt: skip

    with_pixels = [Speckle(pixels=p, counts=c, tau=30.0, clusters=True) for p, c in ((64, 0.5), (64, 0.15), (12, 0.5))]
    alone = [Speckle(pixels=p, counts=c, tau=tau, modes=modes)
             for modes in (4, 1) for c in (2.0, 0.15) for p, tau in ((64, 51.2), (12, 30.0))]  # fmt: skip
    if quick:
        with_pixels, alone = with_pixels[2:], alone[-1:]
    return {
        "speckle with the g2 of its pixels: contrast / ln tau / exponent": [clusters(given) for given in with_pixels],
        "speckle, one curve: ln tau": [curve(given) for given in alone],
        "independent delays: ln tau / exponent": [delays(kind) for kind in (KINDS[:2] if quick else KINDS)],
    }


def _piece(task: tuple[Cell, int]) -> dict[str, Floats]:
    cell, first = task
    return cell.run(first)


def measure(cells: Iterable[Cell], workers: int = 1) -> list[dict[str, dict[str, float]]]:
    """Coverage of every cell, its pieces spread over processes."""
    cells = list(cells)
    tasks = [(cell, first) for cell in cells for first in range(0, cell.experiments, PIECE)]
    if workers > 1:
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            pieces = list(pool.map(_piece, tasks))
    else:
        pieces = [_piece(task) for task in tasks]
    return [
        cell.covered([piece for (owner, _), piece in zip(tasks, pieces, strict=True) if owner is cell])
        for cell in cells
    ]


def show(title: str, cells: list[Cell], found: list[dict[str, dict[str, float]]]) -> None:
    """Print one table."""
    print(f"\n{title}, % of {cells[0].experiments}\n\n| | {' | '.join(cell.name for cell in cells)} |")
    print("|---" * (len(cells) + 1) + "|")
    for way in cells[0].ways:
        row = ["/".join(f"{one:.1f}" for one in cell[way.name].values()) for cell in found]
        print(f"| {way.name}{' (wrong here)' if way.bad else ''} | {' | '.join(row)} |", flush=True)


def main() -> None:
    """Print the tables, and write them as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few small cells: to see that nothing is far off")
    parser.add_argument("--experiments", type=int, help="a cell; default 2000, quick 100")
    parser.add_argument("--workers", type=int, help="processes; default 2, quick 1")
    parser.add_argument("--json", type=Path)
    choice = parser.parse_args()
    experiments = choice.experiments or (100 if choice.quick else 2000)
    workers = choice.workers or (1 if choice.quick else 2)
    report = {}
    for title, cells in tables(quick=choice.quick, experiments=experiments).items():
        found = measure(cells, workers)
        show(title, cells, found)
        report[title] = {cell.name: one for cell, one in zip(cells, found, strict=True)}
    if choice.json:
        choice.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
