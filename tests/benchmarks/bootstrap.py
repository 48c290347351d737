"""Refits of resampled curves beside scipy's: ``python -m tests.benchmarks.bootstrap``.

Both refit resamples from the parent's minimum, in turn, on one thread: scipy one by one with the Jacobian it makes of
differences (`curve_fit` with bounds), xpcs_dask as it is called by a bootstrap, random numbers included. CPU time a
refit, median of the rounds.
"""

from __future__ import annotations

import argparse
import os
import time
from contextlib import suppress
from typing import Any

os.environ.update(
    {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
)

import numpy as np
from scipy.optimize import curve_fit

from tests.fitting.kernel.bench_sets import BenchSet, Floats, double_set, single_set
from xpcs_dask.config import FitConfig
from xpcs_dask.fitting.parents import make_parents
from xpcs_dask.fitting.replicates import replicates
from xpcs_dask.fitting.strategy import fit_stack

PIXELS = 64


def given(data: BenchSet, scheme: str) -> tuple[Any, ...]:
    """First arguments of `replicates`: fits of a set, and for the scheme cluster pixels that scatter around it."""
    n = len(data.y)
    config = FitConfig()
    rows = fit_stack(data.x, data.y, data.weight, data.model, config, data.lower, data.upper)
    return (
        data.x, data.y, data.weight, data.model, config, data.lower, data.upper, rows, scheme,
        np.arange(n, dtype=np.uint64), 0,
    )  # fmt: skip


def pixels(data: BenchSet) -> Floats:
    """Clusters (n, P, m) whose mean scatters as the errors of the curve say."""
    rng = np.random.default_rng(2)
    n, m = data.y.shape
    return data.y[:, None] + np.sqrt(PIXELS) * data.sigma[:, None] * rng.normal(size=(n, PIXELS, m))


def scipy_seconds(data: BenchSet, arguments: tuple[Any, ...], clusters: Floats | None, each: int) -> list[float]:
    """CPU seconds of single refits by scipy, `each` of every curve."""
    parents = make_parents(*arguments, clusters)
    recipe = parents.recipe(parents.good)
    numbers = np.arange(each)
    seconds = []
    for j, k in enumerate(parents.good):
        drawn, times = parents.resamples(recipe, np.full(each, j), np.full(each, k), numbers)
        start = np.clip(parents.value[k], data.lower * (1 + 1e-9) + 1e-12, data.upper * (1 - 1e-9))
        for y, count in zip(drawn, times, strict=True):
            used = count > 0
            sigma = data.sigma[k][used] / np.sqrt(count[used])
            begin = time.process_time()
            with suppress(RuntimeError):  # too many evaluations: it took its time all the same
                curve_fit(
                    data.model.evaluate, data.x[used], y[used], start, sigma, True, bounds=(data.lower, data.upper)
                )
            seconds.append(time.process_time() - begin)
    return seconds


def our_seconds(arguments: tuple[Any, ...], clusters: Floats | None, number: int) -> float:
    """CPU seconds a refit of `number` replicates of every curve."""
    begin = time.process_time()
    replicates(*arguments, 0, number, clusters)
    return (time.process_time() - begin) / (number * len(arguments[1]))


def race(data: BenchSet, scheme: str, number: int, rounds: int) -> None:
    """Print one row."""
    clusters = pixels(data) if scheme == "cluster" else None
    arguments = given(data, scheme)
    our_seconds(arguments, clusters, 2)  # compile
    few = data._replace(y=data.y[:20], sigma=data.sigma[:20])
    some, some_clusters = given(few, scheme), None if clusters is None else clusters[:20]
    ours, theirs = [], []
    for _ in range(rounds):
        theirs += scipy_seconds(few, some, some_clusters, 2)
        ours.append(our_seconds(arguments, clusters, number))
    reference, own = np.median(theirs), np.median(ours)
    print(
        f"| {data.model.name}, {data.x.size} delays | {scheme} | {reference * 1e6:.0f} | {own * 1e6:.2f} "
        f"({min(ours) * 1e6:.2f}-{max(ours) * 1e6:.2f}) | {reference / own:.0f} |",
        flush=True,
    )


def main() -> None:
    """Run all races."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few curves, one round: to see that it runs")
    quick = parser.parse_args().quick
    n, number, rounds = (20, 10, 1) if quick else (200, 200, 7)
    print("| model | scheme | scipy, us a refit | xpcs_dask, us a refit (range) | x faster |\n|---|---|---|---|---|")
    for scheme in ("residual", "wild", "pairs", "blocks", "parametric"):
        race(single_set(n), scheme, number, rounds)
    race(single_set(n, m=36), "cluster", number, rounds)
    for scheme in ("residual", "wild", "pairs"):
        race(double_set(n), scheme, number, rounds)
    race(double_set(n, m=36), "cluster", number, rounds)


if __name__ == "__main__":
    main()
