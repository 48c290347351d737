"""How much memory is used, and a cache of arrays that is bounded by bytes and gives way under pressure."""

from __future__ import annotations

import logging
import sys
import time
from collections import OrderedDict
from collections.abc import Mapping
from math import prod
from threading import RLock
from typing import Any

import numpy as np

from xpcs_dask.engine.memory import give_back, groups, resident, used_here
from xpcs_dask.errors import ConfigError

__all__ = ["CacheItem", "DataCache", "MemoryMonitor"]

logger = logging.getLogger(__name__)

MB = 2**20


class MemoryMonitor:
    """What `engine.memory` reads about this process, its control groups and the machine."""

    @staticmethod
    def get_memory_usage() -> tuple[float, float]:
        """Return MB that this process has in memory, and MB that it may still take.

        The second is what the machine has left, or a control group (container, batch job) if that leaves less.
        """
        import psutil

        free = [int(psutil.virtual_memory().available), *(most - used for used, most in groups())]
        return resident() / MB, max(0, min(free)) / MB

    @staticmethod
    def get_memory_pressure() -> float:
        """Return the share of the memory that is used, 0 to 1, of whatever is closest to its end."""
        return used_here()

    @staticmethod
    def is_memory_pressure_high(threshold: float = 0.85) -> bool:
        """Whether more than the share `threshold` is used."""
        return MemoryMonitor.get_memory_pressure() > threshold

    @staticmethod
    def estimate_array_memory(shape: tuple[int, ...], dtype: np.dtype[Any]) -> float:
        """Return MB that the values of an array take."""
        return prod(shape) * np.dtype(dtype).itemsize / MB


class CacheItem:
    """One thing that is kept: its size, when and how often it was used.

    Attributes
    ----------
    data : Any
    size_mb : float
    created, last_accessed : float
        Seconds since 1970.
    access_count : int
        Times it was asked for.
    """

    def __init__(self, data: Any, size_mb: float) -> None:
        self.data, self.size_mb = data, size_mb
        self.created = self.last_accessed = time.time()
        self.access_count = 0

    def touch(self) -> None:
        """Note that it was asked for now."""
        self.last_accessed = time.time()
        self.access_count += 1


class DataCache:
    """Arrays of files, the least recently used given up first; may be asked from threads.

    Parameters
    ----------
    max_memory_mb : float
        What all of them may take.
    memory_pressure_threshold : float
        Share of the memory of the machine or container, 0 to 1, above which half of the room is given up before more
        is put in.
    """

    def __init__(self, max_memory_mb: float = 500.0, memory_pressure_threshold: float = 0.85) -> None:
        if not max_memory_mb >= 0:
            raise ConfigError(f"max_memory_mb must be a number of MB from 0, not {max_memory_mb}")
        if not 0 < memory_pressure_threshold <= 1:
            raise ConfigError(f"memory_pressure_threshold must lie in (0, 1], not {memory_pressure_threshold:g}")
        self.max_memory_mb, self.memory_pressure_threshold = max_memory_mb, memory_pressure_threshold
        self._items: OrderedDict[tuple[str, str], CacheItem] = OrderedDict()
        self._lock = RLock()
        self._hits = self._misses = self._evictions = 0

    def put(self, file_path: str, data_type: str, data: Any) -> bool:
        """Keep `data` under the name of a file and of what it is; return whether there was room."""
        size = size_of(data) / MB
        with self._lock:
            self._items.pop((file_path, data_type), None)
            if size > self.max_memory_mb:
                return False
            if self._items and MemoryMonitor.is_memory_pressure_high(self.memory_pressure_threshold):
                self.force_cleanup()
            self._shrink(self.max_memory_mb - size)
            self._items[file_path, data_type] = CacheItem(data, size)
        return True

    def get(self, file_path: str, data_type: str) -> Any | None:
        """Return what is kept, or None."""
        with self._lock:
            item = self._items.get((file_path, data_type))
            if item is None:
                self._misses += 1
                return None
            self._hits += 1
            item.touch()
            self._items.move_to_end((file_path, data_type))
            return item.data

    def clear(self) -> None:
        """Give up everything."""
        with self._lock:
            self._items.clear()

    def clear_file(self, file_path: str) -> None:
        """Give up everything of one file."""
        for name in self.held(file_path):
            self.drop(file_path, name)

    def drop(self, file_path: str, data_type: str) -> None:
        """Give up one thing, if it is there."""
        with self._lock:
            self._items.pop((file_path, data_type), None)

    def held(self, file_path: str) -> dict[str, CacheItem]:
        """Return what is kept of a file, by what it is; does not count as use."""
        with self._lock:
            return {name: item for (path, name), item in self._items.items() if path == file_path}

    def get_stats(self) -> dict[str, Any]:
        """Return what it holds and how often it helped.

        Returns
        -------
        dict
            ``items``, ``memory_mb``, ``max_memory_mb``, ``utilization`` (0 to 1), ``hits``, ``misses``, ``hit_rate``
            (0 to 1, NaN before it was asked), ``evictions``, ``memory_pressure`` (0 to 1) and ``by_file`` (MB).
        """
        with self._lock:
            by_file: dict[str, float] = {}
            for (path, _), item in self._items.items():
                by_file[path] = by_file.get(path, 0.0) + item.size_mb
            used, asked = self._used(), self._hits + self._misses
            return {
                "items": len(self._items),
                "memory_mb": used,
                "max_memory_mb": self.max_memory_mb,
                "utilization": used / self.max_memory_mb if self.max_memory_mb else 0.0,
                "hits": self._hits,
                "misses": self._misses,
                "hit_rate": self._hits / asked if asked else float("nan"),
                "evictions": self._evictions,
                "memory_pressure": MemoryMonitor.get_memory_pressure(),
                "by_file": by_file,
            }

    def force_cleanup(self, target_memory_mb: float | None = None) -> None:
        """Give up the least recently used until `target_memory_mb` (default: half of the limit) is enough."""
        with self._lock:
            before = self._used()
            self._shrink(0.5 * self.max_memory_mb if target_memory_mb is None else target_memory_mb)
            freed = before - self._used()
        if freed > 0:
            give_back()
            logger.info("%.1f MB of arrays of files given up; they are read again when they are asked for", freed)

    def _used(self) -> float:
        return sum(item.size_mb for item in self._items.values())

    def _shrink(self, target_mb: float) -> None:
        used = self._used()
        while self._items and used > target_mb:
            used -= self._items.popitem(last=False)[1].size_mb
            self._evictions += 1

    def __getstate__(self) -> dict[str, Any]:
        return {"limits": (self.max_memory_mb, self.memory_pressure_threshold)}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        DataCache.__init__(self, *state["limits"])


def size_of(data: Any) -> int:
    """Bytes of arrays, and of arrays in lists and mappings; of other things what Python says."""
    if isinstance(data, Mapping):
        return sum(map(size_of, data.values()))
    if isinstance(data, list | tuple):
        return sum(map(size_of, data))
    nbytes = getattr(data, "nbytes", None)
    return int(nbytes) if nbytes is not None else sys.getsizeof(data)


SHARED = DataCache()
"""Large arrays of all files that this process has open; its limit may be set: ``SHARED.max_memory_mb = 2000``."""
