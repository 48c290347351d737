"""Tables of fits in the cache of results, known by the content of curves and settings."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.engine.cache import Cache, CacheFolderError
from xpcs_dask.engine.cache_key import NotCacheableError, digest, program
from xpcs_dask.results.provenance import fingerprint
from xpcs_dask.toolkit.boxes import fitted_range
from xpcs_dask.toolkit.fit_records import NUMBERS, FitTable
from xpcs_dask.toolkit.robust_fits import Request

__all__ = ["kept", "key_of", "known"]

logger = logging.getLogger(__name__)

TEXTS = ("status", "message")
DIAGNOSTIC = "diagnostic:"


def key_of(request: Request) -> bytes | None:
    """Name of everything that decides the fits: values of all variables, settings, program, versions and processor.

    None if it cannot be told, as of a function that could change unseen.
    """
    data = request.dataset()
    content = {str(name): variable.values for name, variable in sorted(data.variables.items(), key=str)}
    plain = {name: array if array.dtype.kind != "O" else array.astype(str) for name, array in content.items()}
    told = (request.floored, request.model, request.box.bounds, request.box.fixed, request.level, request.samples)
    try:
        return digest("toolkit", plain, *told, fingerprint(), program())
    except NotCacheableError as error:
        logger.info("%s", error)
        return None


def known(key: bytes, function: Callable[..., Any], t_el: NDArray[Any]) -> FitTable | None:
    """Fits of that name; None if there are none."""
    cache = _cache()
    packed = None if cache is None else cache.get(key)
    return None if packed is None else _unpacked(packed, function, fitted_range(t_el))


def kept(key: bytes, table: FitTable) -> None:
    """Keep fits under a name."""
    cache = _cache()
    if cache is not None:
        cache.put(key, _packed(table))


def _cache() -> Cache | None:
    try:
        return Cache.of_environment()
    except CacheFolderError as error:
        logger.warning("fits are not cached: %s", error)
        return None


def _packed(table: FitTable) -> NDArray[np.uint8]:
    """Bytes of a table; texts once each."""
    content: dict[str, NDArray[Any]] = {name: getattr(table, name) for name in NUMBERS}
    content |= {DIAGNOSTIC + name: np.asarray(column) for name, column in table.diagnostics.items()}
    for name in TEXTS:
        content[name], content[f"{name}_of"] = np.unique(np.array(getattr(table, name), dtype=str), return_inverse=True)
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **content)
    return np.frombuffer(file.getvalue(), dtype=np.uint8)


def _unpacked(packed: NDArray[np.uint8], function: Callable[..., Any], fit_x: NDArray[Any]) -> FitTable:
    with np.load(io.BytesIO(packed.tobytes()), allow_pickle=False) as file:
        content = dict(file)
    texts = {name: content[name][content[f"{name}_of"]].tolist() for name in TEXTS}
    return FitTable(
        **{name: content[name] for name in NUMBERS},
        **texts,
        fit_x=fit_x,
        function=function,
        diagnostics={
            name.removeprefix(DIAGNOSTIC): column for name, column in content.items() if name.startswith(DIAGNOSTIC)
        },
    )
