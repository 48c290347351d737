"""Opening a long series and fitting it from its files: ``python -m tests.benchmarks.series``.

Writes a series (10,000 files of 10 bins and 61 delays by default, 0.6 GB) into a folder of its own, and removes it.
Opening is measured in fresh processes, with an empty cache and again with what the first left there: wall and CPU time
(workers included) and the peak of resident memory. Fitting (`errors="quoted"`, processes) is measured beside a plain
loop of h5py that reads g2 and its errors of the same files with as many processes, in turn, both with processes that
are already running and have done it once. Medians of the rounds; the files are in the page cache of the system.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil

import xpcs_dask as xd
from xpcs_dask.cluster import connect
from xpcs_dask.simulate.curves import curves
from xpcs_dask.simulate.files import write_aps

G2, G2_ERR = "xpcs/multitau/normalized_g2", "xpcs/multitau/normalized_g2_err"
FRAMES = "xpcs/spatial_mean/intensity_vs_time"

OPEN = """
import json, resource, sys, time
import xarray, xpcs_dask
begun = time.perf_counter()
data = xpcs_dask.open_g2(sys.argv[1])
wall = time.perf_counter() - begun
own, workers = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
cpu = own.ru_utime + own.ru_stime + workers.ru_utime + workers.ru_stime
with open("/proc/self/status") as status:  # ru_maxrss would count the process that started this one
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
print(json.dumps({"wall": wall, "cpu": cpu, "rss_mb": peak / 1024, "worker_rss_mb": workers.ru_maxrss / 1024,
                  "files": data.sizes["file"]}))
"""


def write(folder: Path, files: int, bins: int = 10) -> list[Path]:
    """Write a series of small files: one as the producer writes it, the others with their own g2 and errors in it."""
    settings: dict[str, Any] = {"q": np.geomspace(0.003, 0.03, bins)}
    whole, model = (folder / name for name in ("whole", "model"))
    write_aps(whole, curves(1, **settings))
    with h5py.File(whole) as old, h5py.File(model, "w") as new:
        old.copy("entry", new)
        new.create_group("xpcs")
        for name in set(old["xpcs"]) - {"spatial_mean"}:
            old.copy(f"xpcs/{name}", new["xpcs"])
        new.create_dataset(FRAMES, old[FRAMES].shape, "f4", chunks=(2, 2**16))  # its length counts, not its 0.8 MB
    image = bytearray(model.read_bytes())
    with h5py.File(model) as file:
        places = [file[name].id.get_offset() for name in (G2, G2_ERR)]
    paths = []
    for first in range(0, files, 1000):
        data = curves(min(1000, files - first), first_file=first, **settings)
        for number in range(data.sizes["file"]):
            for place, name in zip(places, ("g2", "g2_err"), strict=True):
                values = np.ascontiguousarray(data[name].values[number].T).tobytes()
                image[place : place + len(values)] = values
            paths.append(folder / f"X{first + number:05d}_results.hdf")
            paths[-1].write_bytes(image)
    for path in (whole, model):
        path.unlink()
    return paths


def opened(folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Medians of opening with an empty cache, and of opening again."""
    runs: dict[str, list[dict[str, float]]] = {"first": [], "again": []}
    with tempfile.TemporaryDirectory() as base:
        for number in range(rounds):
            environment = os.environ | {"XPCS_DASK_CACHE": f"{base}/{number}"}
            for times in runs.values():
                command = [sys.executable, "-c", OPEN, str(folder)]
                ran = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
                times.append(json.loads(ran.stdout))
    return {
        name: {key: statistics.median(one[key] for one in times) for key in times[0]} for name, times in runs.items()
    }


def plain(paths: Sequence[str]) -> int:
    """Read g2 and its errors of files, as anybody would."""
    total = 0
    for path in paths:
        with h5py.File(path, "r") as file:
            total += file[G2][()].size + file[G2_ERR][()].size
    return total


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Wall and CPU time of `work`, child processes included."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]

    def spent() -> float:
        return sum(sum(process.cpu_times()[:2]) for process in processes)

    wall, cpu = time.perf_counter(), spent()
    work()
    return time.perf_counter() - wall, spent() - cpu


def fitted(folder: Path, rounds: int, processes: int) -> dict[str, Any]:
    """Medians of fitting from the files, of the plain loop beside it, and of their ratios."""
    data = xd.open_g2(folder)
    paths, sizes = data["path"].values.tolist(), data["g2"].chunks[0]
    ends = np.cumsum(sizes)
    blocks = [paths[end - size : end] for size, end in zip(sizes, ends, strict=True)]
    fits = xd.fit(data, "single", errors="quoted", detail="core")
    times: dict[str, list[tuple[float, float]]] = {"fit": [], "plain": []}
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool, connect(f"processes:{processes}"):
        works = {"fit": fits.compute, "plain": lambda: list(pool.map(plain, blocks))}
        for work in works.values():
            work()
        for _ in range(rounds):
            for name, work in works.items():
                times[name].append(timed(work))
    found: dict[str, Any] = {"processes": processes, "blocks": len(blocks), "curves": int(fits["status"].size)}
    for place, kind in enumerate(("wall", "cpu")):
        ratios = [fit[place] / loop[place] for fit, loop in zip(times["fit"], times["plain"], strict=True)]
        found[kind] = {name: statistics.median(one[place] for one in runs) for name, runs in times.items()}
        found[kind]["ratio"] = statistics.median(ratios)
    return found


def main() -> None:
    """Print one JSON object a part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="write the series here and keep it; used again if it is there")
    choice = parser.parse_args()
    folder = choice.folder or Path(tempfile.mkdtemp(prefix="xpcs-series-"))
    try:
        if not folder.is_dir() or not any(folder.iterdir()):
            folder.mkdir(parents=True, exist_ok=True)
            write(folder, choice.files)
            time.sleep(2.5)  # what has just changed is not kept
        print(json.dumps({"open": opened(folder, choice.rounds)}), flush=True)
        print(json.dumps({"fit": fitted(folder, choice.rounds, choice.processes)}), flush=True)
    finally:
        if choice.folder is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
