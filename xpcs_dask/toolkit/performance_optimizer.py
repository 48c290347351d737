"""`XPCSPerformanceOptimizer`: what fits will take, and results kept in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from math import ceil, prod
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from xpcs_dask.engine.cache_key import digest
from xpcs_dask.errors import ConfigError
from xpcs_dask.toolkit.block_fits import BLOCK
from xpcs_dask.toolkit.fit_memory import bytes_of_fits

__all__ = ["XPCSPerformanceOptimizer"]

MB = 1e6
FEWEST = 8
"""Bins that make a block worth a worker."""


class XPCSPerformanceOptimizer:
    """What fits of many bins take, how they are cut, and a cache of results in memory.

    Parameters
    ----------
    cache_size : int
        Results that are kept, at most; the least recently used go first.
    max_memory_mb : int
        What fits may take, and what kept results may, in MB (1e6 bytes).
    """

    def __init__(self, cache_size: int = 1000, max_memory_mb: int = 2048) -> None:
        if cache_size < 0 or max_memory_mb <= 0:
            raise ConfigError(
                f"cache_size ({cache_size}) must not be negative, max_memory_mb ({max_memory_mb}) positive"
            )
        self.cache_size, self.max_memory_mb = cache_size, max_memory_mb
        self._kept: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        self._lock = Lock()

    def estimate_memory_usage(self, tau_len: int, g2_shape: tuple[int, ...], n_bootstrap: int = 0) -> float:
        """Return what `OptimizedXPCSFittingEngine.fit_g2_optimized` takes beside its input, in MB.

        Parameters
        ----------
        tau_len : int
            Delays.
        g2_shape : tuple of int
            Of g2, (delay, bin); the original counts its dimensions instead of the bins.
        n_bootstrap : int
            Refits of each bin.

        Notes
        -----
        For fits of ``"single"`` one block after the other, with diagnostics; it is an upper bound, and not far above.
        """
        return bytes_of_fits(tau_len, _bins(tau_len, g2_shape), n_bootstrap) / MB

    def should_use_chunked_processing(
        self, tau_len: int, g2_shape: tuple[int, ...], n_bootstrap: int = 0
    ) -> tuple[bool, int]:
        """Whether bins are fitted in more than one block, and how many bins a block has."""
        bins = _bins(tau_len, g2_shape)
        rows = min(BLOCK, max(bins, 1))
        while rows > 1 and bytes_of_fits(tau_len, rows, n_bootstrap) > self.max_memory_mb * MB:
            rows //= 2
        return rows < bins, rows

    def optimize_parallelization(self, n_q_values: int, n_bootstrap: int = 0) -> int:
        """Return how many workers have something to do: those of the active `distributed` client, or one.

        Without a cluster blocks are fitted one after the other: that is what bounds the memory.
        """
        from xpcs_dask.toolkit.planned_fits import active_client

        client = active_client()
        there = 1 if client is None else max(1, sum(client.nthreads().values()))
        return max(1, min(there, ceil(n_q_values / FEWEST)))

    def get_cache_key(
        self,
        tau: ArrayLike,
        g2_shape: tuple[int, ...],
        fit_func: str,
        bounds: Any,
        bootstrap_samples: int,
        *,
        data: Any = None,
    ) -> str:
        """Return a name of all that is given, by content, the same in every process.

        Parameters
        ----------
        data : any mapping, sequence or array, optional
            g2, its errors, q, options: two results differ if these do, so give them (the original cannot).
        """
        told = [np.asarray(tau), tuple(int(size) for size in g2_shape), fit_func, _content(bounds), bootstrap_samples]
        return digest("toolkit", *told, _content(data)).hex()

    def is_cached(self, cache_key: str) -> bool:
        """Whether there is a result of that name; this is no use of it."""
        with self._lock:
            return cache_key in self._kept

    def get_cached_result(self, cache_key: str) -> Any:
        """Return the result of that name, None if there is none."""
        with self._lock:
            if cache_key not in self._kept:
                return None
            self._kept.move_to_end(cache_key)
            return self._kept[cache_key][0]

    def cache_result(self, cache_key: str, result: Any) -> None:
        """Keep a result; what was not used for longest goes when there are too many, or they are too large."""
        size = _bytes(result)
        with self._lock:
            self._kept.pop(cache_key, None)
            if size > self.max_memory_mb * MB:
                return
            self._kept[cache_key] = (result, size)
            while len(self._kept) > self.cache_size or sum(b for _, b in self._kept.values()) > self.max_memory_mb * MB:
                self._kept.popitem(last=False)

    def clear_cache(self) -> None:
        """Forget all results."""
        with self._lock:
            self._kept.clear()


def _bins(tau_len: int, g2_shape: tuple[int, ...]) -> int:
    size = prod(g2_shape)
    if tau_len <= 0 or size % tau_len:
        raise ConfigError(f"g2 of shape {tuple(g2_shape)} has no {tau_len} delays")
    return size // tau_len


def _content(value: Any) -> Any:
    """Return what `digest` knows: arrays and plain values, also inside sequences and mappings."""
    if isinstance(value, Mapping):
        return {str(name): _content(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_content(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str | bytes) else np.asarray(value)


def _bytes(value: Any, seen: set[int] | None = None) -> int:
    """Bytes of arrays and texts in a value, each counted once."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return 0
    seen.add(id(value))
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if isinstance(value, Mapping):
        return sum(_bytes(item, seen) for item in dict.values(value)) if isinstance(value, dict) else 0
    if isinstance(value, list) and hasattr(value, "table"):
        return _bytes(vars(value.table), seen)
    if isinstance(value, list | tuple):
        return 8 * len(value) + sum(_bytes(item, seen) for item in value)
    return len(value) if isinstance(value, str | bytes) else 32
