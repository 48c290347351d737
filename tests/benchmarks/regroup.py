"""Speed and memory of regrouping sums of gigabytes: ``python -m tests.benchmarks.regroup``.

Each case runs in a process of its own; its peak is what the process holds at most above what it held with all imports
done and one file opened. Reading through HDF5 alone is timed beside it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.physics.pixel_file import large_file

CASE = """
import sys, time
import dask, h5py, numpy as np, zarr
import xpcs_dask as xd
from xpcs_dask.physics.regroup_store import write_regrouped

source, stack, by, threads = sys.argv[1:]
def peak():  # of this process alone: getrusage would begin with that of its parent
    with open("/proc/self/status") as file:
        return 1024 * next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
xd.open_g2(source)
before, begun, cpu = peak(), time.perf_counter(), time.process_time()
if by == "read":
    with h5py.File(source) as file:
        sums = file["xpcs/multitau/unnormalized_G2"]
        for k in range(len(sums)):
            for part in range(3):
                sums[k, part]
else:
    with dask.config.set(scheduler="threads", num_workers=int(threads)):
        write_regrouped(source, stack, by, segments=32)
print(time.perf_counter() - begun, time.process_time() - cpu, peak() - before)
"""


def main() -> None:
    """Print one line a case."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, default=None, help="for the file and the stacks")
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--columns", type=int, default=1024)
    parser.add_argument("--delays", type=int, default=125)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        source = large_file(Path(folder, "sums.hdf"), (options.rows, options.columns), options.delays)
        size = 12 * options.rows * options.columns * options.delays
        print(f"{size / 1e9:.2f} GB of sums ({source.stat().st_size / 1e9:.2f} GB on disk), {options.delays} delays")
        for by, threads in (("read", 1), ("segment", 1), ("segment", 2), ("pixel", 1), ("pixel", 2)):
            stack = Path(folder, f"{by}{threads}.zarr")
            command = [sys.executable, "-c", CASE, str(source), str(stack), by, str(threads)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            wall, cpu, peak = map(float, done.stdout.split())
            print(f"{by}, {threads} threads: {size / wall / 1e6:.0f} MB/s, {cpu:.1f} s CPU, peak {peak / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
