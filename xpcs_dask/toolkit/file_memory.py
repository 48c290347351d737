"""What of a file is in memory, and how to have less of it there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from xpcs_dask.engine.memory import give_back
from xpcs_dask.errors import ConfigError
from xpcs_dask.toolkit.lazy import Loads
from xpcs_dask.toolkit.memory_monitor import MB, SHARED, MemoryMonitor, size_of

KINDS: Mapping[str, tuple[str, ...]] = {
    "g2": ("dataset", "g2", "tau", "t_el"),
    "saxs": ("saxs_", "Iqp", "Int_t"),
    "twotime": ("c2",),
    "qmap": ("dq", "dp", "sq", "sp", "mask", "dynamic_", "static_", "map_"),
}
"""Starts of the names of attributes that `clear` gives up, by kind."""


def report(name: str, parts: tuple[Loads, ...]) -> dict[str, Any]:
    """Return what `XpcsFile.get_memory_usage_report` does."""
    arrays: dict[str, dict[str, Any]] = {}
    for part in parts:
        for attribute, (value, keeper) in part.at_hand().items():
            shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
            arrays[attribute] = {
                "memory_mb": size_of(value) / MB,
                "kept_by": keeper,
                "shape": shape if isinstance(shape, tuple) else None,
                "dtype": str(dtype) if dtype is not None else type(value).__name__,
            }
    process, free = MemoryMonitor.get_memory_usage()
    return {
        "file": name,
        "arrays": arrays,
        "total_mb": sum(entry["memory_mb"] for entry in arrays.values()),
        "process_mb": process,
        "available_mb": free,
        "memory_pressure": MemoryMonitor.get_memory_pressure(),
        "cache": SHARED.get_stats(),
    }


def clear(parts: tuple[Loads, ...], kind: str) -> None:
    """Give up what was read, of one kind or all."""
    if kind != "all" and kind not in KINDS:
        raise ConfigError(f"cache_type: {kind!r} is none of 'all', {', '.join(map(repr, KINDS))}")
    starts = sum(KINDS.values(), ()) if kind == "all" else KINDS[kind]
    for part in parts:
        part.forget(lambda name: kind == "all" or name.startswith(starts))


def optimize(parts: tuple[Loads, ...], optimize_dtypes: bool) -> dict[str, Any]:
    """Return what `XpcsFile.optimize_memory_usage` does."""
    before = _held(parts)
    for part in parts:
        part.forget(lambda name: True)
    narrowed = [name for part in parts for name in _narrow(part)] if optimize_dtypes else []
    give_back()
    after = _held(parts)
    return {"before_mb": before, "after_mb": after, "freed_mb": before - after, "narrowed": narrowed}


def _held(parts: tuple[Loads, ...]) -> float:
    """MB; what parts of one file share in the cache counts once."""
    values = {id(value): value for part in parts for value, _ in part.at_hand().values()}
    return sum(map(size_of, values.values())) / MB


def _narrow(part: Loads) -> list[str]:
    """Narrow what is left, that is what was set by hand, where float32 holds the same numbers; return the names."""
    narrowed = []
    for name, (value, _) in part.at_hand().items():
        if isinstance(value, np.ndarray) and value.dtype == np.float64:
            with np.errstate(over="ignore"):
                narrow = value.astype(np.float32)
            if np.array_equal(narrow, value, equal_nan=True):
                setattr(part, name, narrow)
                narrowed.append(name)
    return narrowed
