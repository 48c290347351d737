"""How often the best minimum is found: ``python -m tests.benchmarks.quality --single 20000 --double 4000``.

Every curve of the benchmark sets is also fitted by scipy from 8 random starts with exact Jacobian and tight tolerances;
best known is the lowest of that and of both searches of this package.
"""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})

import numpy as np

from tests.benchmarks.best import objective, random_starts
from tests.fitting.kernel.bench_sets import BenchSet, Floats, double_set, single_set
from xpcs_dask.fitting.curves import fit_curves
from xpcs_dask.fitting.layout import Flag, Status

STARTS = 8
MAKE = {"single": single_set, "double": double_set}


def _scipy(j: int, kind: str, n: int, seed: int) -> float:
    return random_starts(_cached(kind, n, seed), j, STARTS)


_SETS: dict[tuple[str, int, int], BenchSet] = {}


def _cached(kind: str, n: int, seed: int) -> BenchSet:
    key = (kind, n, seed)
    if key not in _SETS:
        _SETS[key] = MAKE[kind](n, seed)
    return _SETS[key]


def from_scipy(kind: str, n: int, seed: int, processes: int, kept: Path | None) -> Floats:
    """Lowest objective of scipy for every curve; read from the folder `kept` where it was left there before."""
    place = kept / f"{kind}-{n}-{seed}-{STARTS}.npy" if kept else None
    if place and place.exists():
        return np.asarray(np.load(place))
    with ProcessPoolExecutor(processes) as pool:
        found = np.array(list(pool.map(partial(_scipy, kind=kind, n=n, seed=seed), range(n), chunksize=50)))
    if place:
        place.parent.mkdir(parents=True, exist_ok=True)
        np.save(place, found)
    return found


def shares(kind: str, n: int, seed: int, processes: int, kept: Path | None) -> dict[str, object]:
    """Return the share of curves within 1e-6 of the best known objective, for both searches."""
    data = _cached(kind, n, seed)
    bounds = {k: (lo, hi) for k, lo, hi in zip(data.model.names, data.lower, data.upper, strict=True)}
    fits = {s: fit_curves(data.x, data.y, data.sigma, kind, bounds=bounds, search=s) for s in ("fast", "thorough")}
    reached: dict[str, Floats] = {s: objective(data, f.value) for s, f in fits.items()}
    scipy = from_scipy(kind, n, seed, processes, kept)
    best = np.minimum.reduce([scipy, *reached.values()])
    report: dict[str, object] = {"model": kind, "curves": n, "seed": seed}
    for name, values in reached.items():
        missed = values > best * (1 + 1e-6)
        flagged = (fits[name].flags & int(Flag.SECOND_COMPONENT_NOT_ESTABLISHED | Flag.UNIDENTIFIABLE)) > 0
        report[name] = {
            "within_1e-6": float(np.mean(~missed)),
            "converged": float(np.mean(fits[name].status == Status.CONVERGED)),
            "missed_by_more_than_4": float(np.mean(values > best + 4)),
            "misses_flagged": float(np.mean(flagged[missed])) if missed.any() else None,
        }
    report["scipy_random_starts_within_1e-6"] = float(np.mean(scipy <= best * (1 + 1e-6)))
    return report


def main() -> None:
    """Print one JSON object a set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--single", type=int, default=20_000)
    parser.add_argument("--double", type=int, default=4_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=Path, help="folder where what scipy found is kept for the next time")
    choice = parser.parse_args()
    for kind in ("single", "double"):
        n = getattr(choice, kind)
        if n:
            print(json.dumps(shares(kind, n, choice.seed, choice.processes, choice.keep)), flush=True)


if __name__ == "__main__":
    main()
