"""Memory that tasks take beside what was planned: ``python -m tests.benchmarks.memory``.

One task after the other is worked out as a stream does it (read, fit, write, ledger) under tracemalloc, which sees all
that NumPy and Zarr allocate. Planned bytes should bound the measured ones, and exceed them by no more than 5 % and 2 MB
where a task takes 16 MB and more.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import tempfile
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"))

import numpy as np
import xarray as xr

from tests.benchmarks.scale.measure import Stopwatch
from xpcs_dask.config import BootstrapConfig, FitConfig
from xpcs_dask.engine.plan import Sizes
from xpcs_dask.io.stack import open_stack, write_stack
from xpcs_dask.planning import lazy_results, sizes_of
from xpcs_dask.results.run import Task, Unfinished, fit_block
from xpcs_dask.simulate import curves

BINS = 50
CLUSTER = ("covariance", "cluster")
MORE: tuple[tuple[str, Any], ...] = (
    ("weights", "gls"), ("robust", "clip"), ("robust", "mm"), ("diagnostics", "standard"),
    ("diagnostics", "comprehensive"), ("diagnostics", "basic"), ("robust", "cauchy"), ("interval", "profile"),
    ("interval", "covariance"), ("covariance", "hc3"),
)  # fmt: skip
"""What can be asked for beside a plain fit."""


class Case(NamedTuple):
    """What is fitted, and in which blocks."""

    model: str = "single"
    files: int = 343
    """In a block, and in a stored piece."""
    dtype: str = "float32"
    resamples: int = 0
    settings: tuple[tuple[str, Any], ...] = ()
    clusters: int = 0

    def __str__(self) -> str:
        options = ", ".join(f"{name}={value}" for name, value in self.settings)
        boot = f", {self.resamples} resamples" if self.resamples else ""
        of = f" of {self.clusters} clusters" if self.clusters else ""
        return f"{self.model}, {self.files * BINS} curves{of}, {self.dtype}{boot}, {options}"


def cases() -> list[Case]:
    """Return fits and bootstraps of both precisions, with all that takes memory of its own."""
    quoted, auto, full = (
        (("errors", e), ("detail", d)) for e, d in (("quoted", "core"), ("auto", "core"), ("auto", "full"))
    )
    found = [Case(dtype=dtype, settings=how) for dtype in ("float32", "float64") for how in (quoted, auto, full)]
    found += [Case("double", 120, dtype, settings=quoted) for dtype in ("float32", "float64")]
    found += [Case("double", 120, "float64", settings=auto), Case("simple", settings=quoted)]
    found += [Case(files=120, settings=(*how, more)) for how in (auto, full) for more in MORE]
    found += [Case("double", 60, settings=(*auto, more)) for more in MORE[:5]]
    found += [Case(files=60, clusters=30, settings=auto), Case(files=60, clusters=30, settings=(*full, CLUSTER))]
    found += [Case(files=60, clusters=30, dtype="float64", settings=(*auto, CLUSTER))]
    return found + [
        Case(model, files, dtype, resamples, how, clusters)
        for model, files, dtype, resamples, how, clusters in (
            ("single", 20, "float32", 200, quoted, 0),
            ("single", 20, "float64", 500, quoted, 0),
            ("single", 80, "float32", 200, auto, 0),
            ("single", 8, "float32", 2000, full, 0),
            ("simple", 20, "float32", 200, quoted, 0),
            ("double", 20, "float32", 100, quoted, 0),
            ("double", 10, "float64", 200, auto, 0),
            ("single", 20, "float32", 200, auto, 30),
            ("single", 8, "float32", 500, auto, 200),
        )
    ]


def measured(case: Case, folder: Path) -> tuple[int, int]:
    """Bytes that a task of `case` takes at its peak, and those that are planned."""
    (first, second), planned = _tasks(case, folder)
    for task in (first, second):  # compile, import, open
        fit_block(task)
    del first, task
    tracemalloc.start()
    try:
        fit_block(second)
        return tracemalloc.get_traced_memory()[1], planned
    finally:
        tracemalloc.stop()


def grown(case: Case, folder: Path) -> tuple[int, int]:
    """Bytes by which this process grows with tasks of `case`, after a small one, and those that are planned for one."""
    for task in _tasks(case._replace(files=2), folder)[0]:  # compile, import
        fit_block(task)
    tasks, planned = _tasks(case, folder)
    gc.collect()
    with suppress(OSError, AttributeError):  # what writing the stack took and freed would be used again, unseen
        ctypes.CDLL(None).malloc_trim(0)
    watch = Stopwatch()
    for task in tasks:
        fit_block(task)
    return int(watch.read()["peak"]), planned


def _tasks(case: Case, folder: Path) -> tuple[tuple[Task, Task], int]:
    """Two tasks as a stream does them, and the bytes that are planned for each."""
    data = _stack(case, folder)
    config = FitConfig.make(None, **dict(case.settings))
    over = "cluster" if case.clusters else "delay"
    boot = BootstrapConfig.make(resamples=case.resamples, over=over) if case.resamples else None
    results = lazy_results(data, case.model, config, boot)
    sizes: Sizes = sizes_of(data, results, config, boot)["/"]
    run = Unfinished(folder / "fits.zarr").begin(results, {"case": str(case)}, overwrite=True)
    first, second = run._tasks(set())
    return (first, second), sizes.task(case.files)


def _stack(case: Case, folder: Path) -> xr.Dataset:
    """Two blocks of curves on disk."""
    path = folder / f"{case.files}-{case.dtype}-{case.clusters}.zarr"
    if not path.exists():
        few = curves(min(case.files, 40), q=np.geomspace(0.003, 0.03, BINS), seed=1)[["g2", "g2_err"]]
        few = few.isel(file=np.arange(2 * case.files) % few.sizes["file"])
        if case.dtype == "float64":  # with digits that single precision lacks: these do not compress
            rng = np.random.default_rng(0)
            few = few.assign({name: few[name] * rng.uniform(1 - 1e-9, 1 + 1e-9, few[name].shape) for name in few})
        if case.clusters:
            few = few.assign(g2_cluster=_clusters(few, case.clusters))
        write_stack(few.chunk(file=case.files), path)
    return open_stack(path, chunks=case.files)


def _clusters(data: xr.Dataset, number: int) -> xr.Variable:
    """Scattered about g2, in its precision."""
    shape = (*data["g2"].shape[:-1], number, data.sizes["delay"])
    noise = np.random.default_rng(1).standard_normal(shape, np.float32) * data["g2_err"].to_numpy()[..., None, :]
    dims = (*data["g2"].dims[:-1], "cluster", "delay")
    return xr.Variable(dims, (data["g2"].to_numpy()[..., None, :] + noise).astype(data["g2"].dtype))


def main() -> None:
    """Measure all cases, print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="text that the names of tasks must hold")
    chosen = parser.parse_args()
    print("| task | measured, MB | planned, MB | planned / measured |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for case in (case for case in cases() if chosen.only in str(case)):
            peak, planned = measured(case, Path(folder))
            print(f"| {case} | {peak / 1e6:.2f} | {planned / 1e6:.2f} | {planned / peak:.3f} |", flush=True)


if __name__ == "__main__":
    main()
