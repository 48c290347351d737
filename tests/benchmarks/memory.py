"""Memory that tasks take beside what was planned: ``python -m tests.benchmarks.memory``.

One task after the other is worked out as a stream does it (read, fit, write, ledger) under tracemalloc, which sees all
that NumPy and Zarr allocate. Planned bytes should bound the measured ones, and exceed them by no more than 5 % and 2 MB
where a task takes 16 MB and more.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any, NamedTuple

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"))

import numpy as np
import xarray as xr

from xpcs_dask.config import BootstrapConfig, FitConfig
from xpcs_dask.engine.plan import Sizes
from xpcs_dask.io.stack import open_stack, write_stack
from xpcs_dask.planning import lazy_results, sizes_of
from xpcs_dask.results.run import Unfinished, do_block
from xpcs_dask.simulate import curves

BINS = 50


class Case(NamedTuple):
    """What is fitted, and in which blocks."""

    model: str = "single"
    files: int = 343
    """In a block, and in a stored piece."""
    dtype: str = "float32"
    resamples: int = 0
    settings: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        options = ", ".join(f"{name}={value}" for name, value in self.settings)
        boot = f", {self.resamples} resamples" if self.resamples else ""
        return f"{self.model}, {self.files * BINS} curves, {self.dtype}{boot}, {options}"


def cases() -> list[Case]:
    """Return fits and bootstraps of both precisions."""
    quoted, auto, full = (
        (("errors", e), ("detail", d)) for e, d in (("quoted", "core"), ("auto", "core"), ("auto", "full"))
    )
    found = [Case(dtype=dtype, settings=how) for dtype in ("float32", "float64") for how in (quoted, auto, full)]
    found += [Case("double", 100, dtype, settings=quoted) for dtype in ("float32", "float64")]
    found += [Case("double", 200, "float64", settings=auto), Case("simple", 343, "float32", settings=quoted)]
    return found + [
        Case(model, files, dtype, resamples, quoted)
        for model, files, dtype, resamples in (
            ("single", 20, "float32", 200),
            ("single", 20, "float64", 500),
            ("single", 80, "float32", 200),
            ("simple", 20, "float32", 200),
            ("double", 20, "float32", 100),
        )
    ]


def measured(case: Case, folder: Path) -> tuple[int, int]:
    """Bytes that a task of `case` takes at its peak, and those that are planned."""
    data = _stack(case, folder)
    config = FitConfig.make(None, **dict(case.settings))
    boot = BootstrapConfig.make(resamples=case.resamples, over="delay") if case.resamples else None
    results = lazy_results(data, case.model, config, boot)
    sizes: Sizes = sizes_of(data, results, config, boot)["/"]
    run = Unfinished(folder / "fits.zarr").begin(results, {"case": str(case)}, overwrite=True)
    first, second, *_ = run._tasks(set())
    for task in (first, second):  # compile, import, open
        do_block(task)
    del first, task
    tracemalloc.start()
    try:
        do_block(second)
        return tracemalloc.get_traced_memory()[1], sizes.task(case.files)
    finally:
        tracemalloc.stop()


def _stack(case: Case, folder: Path) -> xr.Dataset:
    """Two blocks of curves on disk."""
    path = folder / f"{case.files}-{case.dtype}.zarr"
    if not path.exists():
        few = curves(min(case.files, 40), q=np.geomspace(0.003, 0.03, BINS), seed=1)[["g2", "g2_err"]]
        few = few.isel(file=np.arange(2 * case.files) % few.sizes["file"])
        if case.dtype == "float64":  # with digits that single precision lacks: these do not compress
            rng = np.random.default_rng(0)
            few = few.assign({name: few[name] * rng.uniform(1 - 1e-9, 1 + 1e-9, few[name].shape) for name in few})
        write_stack(few.chunk(file=case.files), path)
    return open_stack(path, chunks=case.files)


def main() -> None:
    """Measure all cases, print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    print("| task | measured, MB | planned, MB | planned / measured |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for case in cases():
            peak, planned = measured(case, Path(folder))
            print(f"| {case} | {peak / 1e6:.2f} | {planned / 1e6:.2f} | {planned / peak:.3f} |", flush=True)


if __name__ == "__main__":
    main()
