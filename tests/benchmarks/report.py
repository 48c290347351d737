"""Seconds, bytes and memory of a report of 1,000 files of 36 bins, and of an index over many runs.

``python -m tests.benchmarks.report [--files N] [--runs N]``
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ONE = """
import json, sys, time
wall, cpu = time.perf_counter(), time.process_time()
from xpcs_dask.reporting import report
page = report(sys.argv[1], sys.argv[2], figures=sys.argv[3] == "yes")
told = open("/proc/self/status").read()  # of this program alone; ru_maxrss has that of its parent too
print(json.dumps({"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu,
                  "bytes": page.stat().st_size, "peak": 1024 * int(told.split("VmHWM:")[1].split()[0])}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=200)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = make(Path(folder), chosen.files)
        print("| | seconds, imports included | CPU s | MB | peak memory, MB |\n|---|---|---|---|---|")
        for figures in ("yes", "no"):
            found = min((measure(store, figures) for _ in range(3)), key=lambda one: one["seconds"])
            words = "report" if figures == "yes" else "without figures"
            numbers = (found["seconds"], found["cpu"], found["bytes"] / 1e6, found["peak"] / 1e6)
            print(f"| {words} | " + " | ".join(f"{number:.1f}" for number in numbers) + " |")
        first, again = indexed(Path(folder), store, chosen.runs)
        print(f"\nIndex over {chosen.runs} runs whose reports are there: {again:.2f} s (first call {first:.2f} s).")


def make(folder: Path, files: int) -> Path:
    import xpcs_dask as xd

    diffusion = np.geomspace(2e5, 4e6, files)[:, None]
    q = np.geomspace(0.003, 0.03, 36)
    xd.simulate.write_series(folder / "files", files, 7, model="simple", diffusion=diffusion, q=q, frames=20_000)
    xd.run(inputs=str(folder / "files"), output=folder / "fits.zarr")
    return folder / "fits.zarr"


def measure(store: Path, figures: str) -> dict[str, float]:
    call = [sys.executable, "-c", ONE, str(store), str(store.with_name("report.html")), figures]
    return json.loads(subprocess.run(call, capture_output=True, text=True, check=True).stdout)


def indexed(folder: Path, store: Path, runs: int) -> tuple[float, float]:
    from xpcs_dask.reporting import index

    pages = [shutil.copy(store.with_name("report.html"), folder / f"run{at}.report.html") for at in range(runs)]
    taken = []
    for _ in range(2):
        begun = time.perf_counter()
        index(pages, folder / "index.html")
        taken.append(time.perf_counter() - begun)
    return taken[0], taken[1]


if __name__ == "__main__":
    main()
