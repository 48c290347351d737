"""Accuracy and speed beside scipy, lmfit and xarray: ``python -m tests.benchmarks``.

All methods run in one process, one thread, in turn: every round times each of them once, so a busy machine slows them
alike. CPU time a curve (median of the rounds), its ratio to scipy's curve_fit, and the share of curves whose objective
is within 1e-6 of the best known one: the lowest of all methods here and of many random starts of scipy with exact
Jacobian and tight tolerances.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

os.environ.update(
    {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
)

import numpy as np

from tests.benchmarks import methods
from tests.benchmarks.best import best_known, objective
from tests.fitting.kernel.bench_sets import BenchSet, double_set, single_set, with_outliers
from xpcs_dask.fitting.curves import fit_curves

REFERENCE = "scipy curve_fit"
LINEAR: dict[str, methods.Fit] = {
    REFERENCE: methods.curve_fit(jacobian=False),
    "scipy curve_fit, exact Jacobian": methods.curve_fit(jacobian=True),
    "lmfit": methods.lmfit_leastsq,
    "xarray.curvefit (no errors)": methods.xarray_curvefit,
    "xpcs_dask NumPy twin": methods.twin,
    "xpcs_dask": methods.compiled(),
    "xpcs_dask thorough": methods.compiled("thorough"),
}
OURS = {"xpcs_dask", "xpcs_dask thorough", "xpcs_dask NumPy twin"}


def robust(loss: str) -> dict[str, methods.Fit]:
    """Return the two methods that know a robust loss."""
    return {f"scipy least_squares {loss}": methods.robust_scipy(loss), f"xpcs_dask {loss}": methods.compiled(loss=loss)}


def part(data: BenchSet, n: int) -> BenchSet:
    """First curves of a set."""
    return data._replace(y=data.y[:n], sigma=data.sigma[:n], truth=data.truth[:n])


def race(data: BenchSet, entries: dict[str, methods.Fit], few: int, rounds: int, starts: int, loss: str) -> list[dict]:
    """Time the entries in turn; the slow ones see the first `few` curves, on which the quality is compared."""
    small = part(data, few)
    times: dict[str, list[float]] = {name: [] for name in entries}
    found = {}
    for name, run in entries.items():
        run(part(data, 4))  # compile, import
        found[name] = run(small)
    for _ in range(rounds):
        for name, run in entries.items():
            curves = data if name in OURS or name.startswith("xpcs_dask") else small
            begin = time.process_time()
            run(curves)
            times[name].append((time.process_time() - begin) / len(curves.y))
    best = best_known(small, starts, loss, [objective(small, p, loss) for p in found.values()])
    reference = np.median(next(iter(times.values())))
    rows = []
    for name in entries:
        reached = objective(small, found[name], loss)
        seconds = np.median(times[name])
        rows.append(
            {
                "method": name,
                "us_per_curve": seconds * 1e6,
                "spread_us": [min(times[name]) * 1e6, max(times[name]) * 1e6],
                "times_faster": reference / seconds,
                "within_1e-6": float(np.mean(reached <= best * (1 + 1e-6))),
                "failed": float(np.mean(~np.isfinite(reached))),
            }
        )
    return rows


def show(title: str, rows: list[dict]) -> None:
    """Print one table."""
    print(f"\n{title}\n| method | us/curve (CPU, median) | x faster | within 1e-6 of best | failed |")
    print("|---|---|---|---|---|")
    for r in rows:
        print(
            f"| {r['method']} | {r['us_per_curve']:.2f} | {r['times_faster']:.1f} | {r['within_1e-6']:.4f} "
            f"| {r['failed']:.3f} |"
        )
    sys.stdout.flush()


def main() -> None:
    """Run all races, print their tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few curves, one round: to see that it runs")
    parser.add_argument("--json", type=Path, default=Path(".benchmarks/fits.json"))
    choice = parser.parse_args()
    rounds, few, few2 = (1, 6, 3) if choice.quick else (5, 100, 40)
    many, many2 = (200, 40) if choice.quick else (20_000, 4_000)
    single, double = single_set(many), double_set(many2)
    fit_curves(single.x, single.y[:4], single.sigma[:4])
    tables = {
        f"single, least squares, {few} curves (xpcs_dask: {many})": race(single, LINEAR, few, rounds, 8, "linear"),
        f"double, least squares, {few2} curves (xpcs_dask: {many2})": race(
            double, {k: v for k, v in LINEAR.items() if k != "xpcs_dask NumPy twin"}, few2, rounds, 12, "linear"
        ),
    }
    for loss in ("soft_l1", "cauchy"):
        tables[f"single, {loss}, 5 % outliers"] = race(
            with_outliers(part(single, many // 10)), robust(loss), few // 4 + 2, min(rounds, 3), 8, loss
        )
        tables[f"double, {loss}, 5 % outliers"] = race(
            with_outliers(part(double, many2 // 10)), robust(loss), few2 // 4 + 1, min(rounds, 3), 8, loss
        )
    for title, rows in tables.items():
        show(title, rows)
    choice.json.parent.mkdir(parents=True, exist_ok=True)
    machine = {"machine": platform.machine(), "python": platform.python_version(), "processor": platform.processor()}
    choice.json.write_text(json.dumps({**machine, "numpy": np.__version__, "tables": tables}, indent=1))
    print(f"\nwritten: {choice.json}")


if __name__ == "__main__":
    main()
