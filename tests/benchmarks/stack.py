"""Speed of a fit from a packed stack beside the bare kernel: ``python -m tests.benchmarks.stack``.

The bare kernel gets float64 curves and weights that lie in memory, slab by slab, from as many threads as the fit has
workers. Rounds are interleaved, so a busy machine slows both alike; medians are shown. Worker processes are started and
warmed before the clock runs.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"))

import numpy as np
import psutil
import xarray as xr
import zarr
from zarr.codecs import BloscCodec, ZstdCodec

from xpcs_dask import api
from xpcs_dask.cluster import connect
from xpcs_dask.config import FitConfig
from xpcs_dask.fitting import quality
from xpcs_dask.fitting.models import MODELS
from xpcs_dask.fitting.slabs import SLAB_POINTS
from xpcs_dask.fitting.strategy import fit_stack
from xpcs_dask.fitting.threads import one_thread
from xpcs_dask.io.lazy import files_per_block
from xpcs_dask.io.stack import open_stack, write_stack
from xpcs_dask.results import PackedFits
from xpcs_dask.simulate import curves

BINS = 50


def many(number: int) -> xr.Dataset:
    """At least `number` curves of 61 delays; the first 20,000 differ, the others repeat them."""
    files = -(-number // BINS)
    few = curves(min(files, 400), q=np.geomspace(0.003, 0.03, BINS), seed=1)[["g2", "g2_err"]]
    return few.isel(file=np.arange(files) % few.sizes["file"])


def bare(data: xr.Dataset, workers: int) -> Callable[[], None]:
    """Return what fits all curves of `data` with the kernel alone."""
    model, config = MODELS["single"], FitConfig.make(errors="quoted", detail="core")
    delay = data["delay"].to_numpy()
    lower, upper = model.box(delay, {}, {})
    shape = (-1, delay.size)
    g2, err = (data[name].to_numpy().reshape(shape) for name in ("g2", "g2_err"))
    products = np.broadcast_to(data["n_products"].to_numpy()[:, None], data["g2"].shape).reshape(shape)
    weight, _ = quality.quoted(g2, err, products, config.min_products)
    y, step = g2.astype(np.float64), max(1, SLAB_POINTS // delay.size)

    def slab(first: int) -> None:
        part = slice(first, first + step)
        fit_stack(delay, y[part], weight[part], model, config, lower, upper)

    def run() -> None:
        with one_thread(), ThreadPoolExecutor(workers) as pool:
            list(pool.map(slab, range(0, len(y), step)))

    return run


def from_stack(path: Path, errors: str) -> Callable[[], None]:
    """Return what opens the stack and fits all its curves where Dask runs, as ``xpcs-dask fit`` does."""
    config = FitConfig.make(errors=errors, detail="core")

    def run() -> None:
        fits = api.packed_fits(open_stack(path), "single", config)
        assert isinstance(fits, PackedFits)
        fits.labelled().compute()

    return run


def compressors(data: xr.Dataset, folder: Path) -> None:
    """Print how fast g2 and its errors are read in blocks, and how large they are, by compressor."""
    codecs = {
        "none": None,
        "Zstandard, level 1": ZstdCodec(level=1),
        "Blosc, shuffle and LZ4": BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"),
        "Blosc, shuffle and Zstandard, level 3": BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"),
    }
    block = files_per_block(data["g2"].shape[1:])
    print("| compressor | read, us/curve | size, share of the raw |\n|---|---|---|")
    for label, codec in codecs.items():
        seconds = size = 0.0
        for name in ("g2", "g2_err"):
            values = data[name].to_numpy()
            place = folder / label / name
            made = zarr.create_array(
                place, shape=values.shape, chunks=(block, *values.shape[1:]), dtype="f4", compressors=codec
            )
            made[:] = values
            times = []
            for _ in range(5):
                begin = time.perf_counter()
                for first in range(0, len(values), block):
                    made[first : first + block]
                times.append(time.perf_counter() - begin)
            seconds += min(times)
            size += sum(item.stat().st_size for item in place.rglob("*") if item.is_file()) / values.nbytes / 2
        print(f"| {label} | {1e6 * seconds / data['g2'][..., 0].size:.2f} | {size:.2f} |")


def cpu_seconds() -> float:
    """Processor time of this process and its children so far."""
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(times.user + times.system for times in (process.cpu_times() for process in family))


def timed(runs: dict[str, Callable[[], None]], rounds: int) -> dict[str, tuple[float, float]]:
    """Median wall and processor seconds of each."""
    for run in runs.values():
        run()
    wall: dict[str, list[float]] = {name: [] for name in runs}
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            begin, used = time.perf_counter(), cpu_seconds()
            run()
            wall[name].append(time.perf_counter() - begin)
            cpu[name].append(cpu_seconds() - used)
    return {name: (median(wall[name]), median(cpu[name])) for name in runs}


def main() -> None:
    """Make the stack, race, print one table."""
    kinds = ("threads", "processes")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--curves", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    data = many(chosen.curves)
    number = data["g2"].sizes["file"] * BINS
    with tempfile.TemporaryDirectory() as folder:
        compressors(data, Path(folder))
        begin = time.perf_counter()
        path = write_stack(data.chunk(file=200), Path(folder) / "stack.zarr")
        seconds = time.perf_counter() - begin
        size = sum(item.stat().st_size for item in path.rglob("*") if item.is_file())
        print(f"packed {number} curves of {data.sizes['delay']} delays in {seconds:.2f} s, {size / 1e6:.1f} MB")
        print(
            "| scheduler | bare kernel, us/curve (CPU) | from the stack, quoted | auto | share of bare speed, quoted |"
        )
        print("|---|---|---|---|---|")
        for scheduler, workers in (("sync", 1), *((f"{kind}:{chosen.workers}", chosen.workers) for kind in kinds)):
            with ExitStack() as stack:
                stack.enter_context(connect(scheduler))
                found = timed(
                    {"bare": bare(data, workers)} | {e: from_stack(path, e) for e in ("quoted", "auto")}, chosen.rounds
                )
            row = [f"{1e6 * wall / number:.2f} ({1e6 * cpu / number:.2f})" for wall, cpu in found.values()]
            share = [found["bare"][k] / found["quoted"][k] for k in (0, 1)]
            print(f"| {scheduler} | {' | '.join(row)} | {share[0]:.2f} ({share[1]:.2f}) |", flush=True)


if __name__ == "__main__":
    main()
