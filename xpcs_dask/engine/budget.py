"""How much memory there is to plan with: of the container, the machine, or the workers of a cluster."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from xpcs_dask.engine.memory import PROCESS, ROOT, groups
from xpcs_dask.errors import ConfigError

__all__ = ["allowed", "available", "of_workers", "parse_bytes"]

SHARE = 0.8
"""Of the free memory that a plan may take."""
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def allowed(memory: int | str | None) -> int:
    """Bytes that were told, as a number or a text such as ``"1GiB"``; `available` if nothing was."""
    if memory is None:
        return available()
    return parse_bytes(memory) if isinstance(memory, str) else memory


def available(process: Path = PROCESS, root: Path = ROOT) -> int:
    """Bytes that this process may still take: free memory, or what is left in its control groups if that is less."""
    import psutil

    left = [max(0, limit - used) for used, limit in groups(process, root)]
    return int(SHARE * min([int(psutil.virtual_memory().available), *left]))


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
