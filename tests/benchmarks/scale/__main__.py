"""Cost of streaming at all sizes, as Markdown: ``python -m tests.benchmarks.scale [--sizes 0.05,0.5] [--folder PATH]``.

Every measurement is a process of its own; what is compared is measured in turns, so a busy machine slows all alike.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.scale import tables
from tests.benchmarks.scale.stacks import make

PLACES = ("threads:2", "processes:2", "local:2")
ROUNDS = {0.05: 5, 0.5: 5, 2: 2}
"""Rounds of each size, in gigabytes; one of any other."""
FREE = 60e9
"""Bytes that must be free on disk for 20 GB."""
DEFAULT_ERRORS = 2.0
"""Gigabytes up to which the default errors are raced too: they take several times as long."""
WHOLE = 6.0
"""Gigabytes up to which results are compared with those of a fit in memory."""


class Bench:
    """Measurements of child processes in one scratch folder, by kind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.small = str(make(folder / "small.zarr", 0.0))

    def stack(self, size: float) -> str:
        """Make, once, the stack of this many gigabytes."""
        return str(make(self.folder / f"stack-{size:g}.zarr", size))

    def ask(self, kind: str, **given: Any) -> dict[str, Any]:
        """Measure in a new process; what it writes is removed."""
        out = self.folder / "out.zarr"
        if kind in ("fit", "parts", "bootstrap"):
            given["out"] = str(out)
        if kind in ("fit", "bootstrap"):
            given["small"] = self.small
        said = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.scale.child", kind, json.dumps(given)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        for path in self.folder.glob("out*"):
            shutil.rmtree(path, ignore_errors=True)
        if said.returncode:
            raise RuntimeError(f"{kind} {given} ended with {said.returncode}:\n{said.stderr[-2000:]}")
        found: dict[str, Any] = json.loads(said.stdout.splitlines()[-1])
        return found

    def race(self, size: float, errors: str, rounds: int, places: tuple[str, ...] = PLACES) -> tables.Race:
        """Streaming in all places and its parts, in turns."""
        stack = self.stack(size)
        found: tables.Race = {name: [] for name in ("parts", *places)}
        for _ in range(rounds):
            found["parts"].append(self.ask("parts", stack=stack, errors=errors, workers=2))
            for spec in places:
                found[spec].append(self.ask("fit", stack=stack, errors=errors, spec=spec))
        return found


def main() -> None:
    """Measure, print the tables of docs/scale.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="0.05,0.5,2,6,20", help="gigabytes; 20 only where 60 GB are free")
    parser.add_argument("--folder", type=Path, default=None, help="scratch, emptied afterwards")
    parser.add_argument("--rounds", type=int, default=0, help="of each size; by default 5 of the small ones")
    chosen = parser.parse_args()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=chosen.folder, prefix="xpcs-scale-") as folder:
        bench, sizes = Bench(Path(folder)), [float(size) for size in chosen.sizes.split(",")]
        if max(sizes) > 6 and shutil.disk_usage(folder).free < FREE:
            sizes = [size for size in sizes if size <= 6]
            print("20 GB are left out: less than 60 GB of disk are free\n")
        print(f"{platform.system()}, Python {platform.python_version()}, sizes {sizes} GB\n", flush=True)
        measure(bench, sizes, chosen.rounds)
    print(f"All of this took {(time.perf_counter() - begun) / 60:.0f} minutes.")


def measure(bench: Bench, sizes: list[float], rounds: int) -> None:
    """All tables in turn, each printed when it is there."""
    races = {}
    print(tables.HEAD)
    for size in sizes:
        races[size] = bench.race(size, "quoted", rounds or ROUNDS.get(size, 1))
        print(tables.overheads(size, races[size]), flush=True)
    small = [size for size in sizes if size <= 0.5] or sizes[:1]
    for size in [size for size in sizes if size <= DEFAULT_ERRORS]:
        race = bench.race(size, "auto", rounds or (2 if size in small else 1), ("threads:2",))
        print(tables.overheads(size, race, "auto"), flush=True)
    middle = max(small)
    one = [bench.ask("fit", stack=bench.stack(middle), errors="quoted", spec="threads:1") for _ in range(rounds or 3)]
    print(tables.streaming(middle, races[middle]))
    print(tables.strong(middle, one, races[middle]), flush=True)
    wave = bench.ask("wave", stack=bench.stack(sizes[-1]), workers=2)
    empty = bench.ask("scheduler", blocks=10_000, payload=wave["task"])
    print(tables.cluster(empty, wave), flush=True)
    large = sizes[-1] if sizes[-1] <= WHOLE else max(size for size in sizes if size <= WHOLE)
    boot = bench.ask("bootstrap", stack=bench.stack(large), resamples=1000, blocks=4, workers=2)
    print(tables.bootstrap(large, boot), flush=True)
    memory = bench.ask("memory", stack=bench.stack(large), errors="quoted")
    print(tables.same(large, memory["hash"], races[large]), flush=True)
    print(tables.peaks(races), flush=True)
    print(tables.many_workers(races[large], empty), flush=True)


if __name__ == "__main__":
    main()
