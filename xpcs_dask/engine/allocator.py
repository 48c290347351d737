"""How the memory of freed arrays is kept: what a task frees serves the next one, and blocks go back at once.

glibc gives memory back to the system whenever enough is free, and takes it again page by page, each filled with zeros;
workers of `distributed` are told to do so early. A task that fits slab after slab then spends a third of its time in
the system. Without any setting glibc learns to keep whole blocks instead, in pieces that fit nothing later.
"""

from __future__ import annotations

import ctypes
from contextlib import AbstractContextManager
from functools import lru_cache

__all__ = ["keep_freed_memory", "small_names"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of the settings in glibc's malloc.h."""
BLOCK = 4 * 2**20
"""Bytes from which an array is a block, mapped for itself: slabs are smaller."""
KEPT = 32 * 2**20
"""Free bytes that a process keeps at the end of its heap."""


@lru_cache(maxsize=1)
def keep_freed_memory() -> bool:
    """Set this process's allocator, once; returns whether it is one that can be told."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # macOS, musl, Windows
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, BLOCK) and mallopt(M_TRIM_THRESHOLD, KEPT))


def small_names() -> AbstractContextManager[object]:
    """Keep texts that become an index in Python's memory: Arrow, where it is installed, takes megabytes first."""
    import pandas as pd

    return pd.option_context("mode.string_storage", "python")
