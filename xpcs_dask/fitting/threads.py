"""Libraries that start threads of their own, held to one while tasks run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from typing import Any


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold BLAS to one thread while at least one task of this process runs.

    Tasks are already parallel, and bits must not depend on how BLAS splits sums. Counted, not nested, because tasks of
    a thread pool overlap in any order. The compiled kernels never start threads of Numba, so these need no limit.
    """
    with _Pinned.lock:
        if _Pinned.tasks == 0:
            _Pinned.limiter = _pools("scipy.linalg" in sys.modules).limit(limits=1)
        _Pinned.tasks += 1
    try:
        yield
    finally:
        with _Pinned.lock:
            _Pinned.tasks -= 1
            if _Pinned.tasks == 0:
                _Pinned.limiter.restore_original_limits()


class _Pinned:
    """What is pinned in this process, and by how many tasks."""

    lock = Lock()
    tasks = 0
    limiter: Any = None


@lru_cache(maxsize=2)
def _pools(scipy_loaded: bool) -> Any:
    """BLAS libraries of this process: finding them costs 1 ms, so again only after SciPy has brought its own."""
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController().select(user_api="blas")
