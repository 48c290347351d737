"""How much memory there is to plan with: of the container, the machine, or the workers of a cluster."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from xpcs_dask.errors import ConfigError

__all__ = ["available", "of_workers", "parse_bytes"]

SHARE = 0.8
"""Of the free memory that a plan may take."""
CGROUPS = Path("/sys/fs/cgroup")
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def available(process: Path = Path("/proc/self/cgroup"), groups: Path = CGROUPS) -> int:
    """Bytes that this process may still take: free memory, or what is left in its control group if that is less."""
    import psutil

    return int(SHARE * min([int(psutil.virtual_memory().available), *_left_in_groups(process, groups)]))


def of_workers(workers: Iterable[Any]) -> int | None:
    """Bytes that all tasks together may take, from what a scheduler tells about its workers; None without limits.

    Every task gets the share of the least lucky one: any task may go to any worker.
    """
    shares, threads = [], 0
    for worker in workers:
        count = max(int(worker.get("nthreads", 1)), 1)
        threads += count
        if worker.get("memory_limit"):
            shares.append(int(worker["memory_limit"]) // count)
    return int(SHARE * min(shares)) * threads if shares else None


def parse_bytes(text: str) -> int:
    """``"1GiB"``, ``"500 MB"``, ``"2g"`` or a number of bytes."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?\s*", text.lower())
    size = int(float(found[1]) * UNITS[found[2] or ""]) if found else 0
    if size < 1:
        raise ConfigError(f"--memory takes a size such as 500MB or 1GiB; got '{text}'")
    return size


def _left_in_groups(process: Path, groups: Path) -> list[int]:
    """Bytes left in each control group (version 2) that this process is in, and that has a limit."""
    try:
        line = next(line for line in process.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return []
    here = groups / line[3:].strip("/")
    found = []
    for folder in [here, *here.parents]:
        try:
            limit, used = (int((folder / name).read_text()) for name in ("memory.max", "memory.current"))
        except (OSError, ValueError):  # "max": no limit
            continue
        found.append(max(0, limit - used))
    return found
