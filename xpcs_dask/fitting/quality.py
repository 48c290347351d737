"""Which points can be trusted, and what their errors are.

Nothing is dropped: a point that is not used keeps its value, gets weight 0, the flag ``not_used`` and one that says
why. The rules here look at points one by one; those of the error model, `fitting.error_model`, at whole curves. None
depends on which curves share a block.

A curve all of whose errors are zero, infinite or missing has no data left: its fit ends with the status ``no_data``.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Weights: TypeAlias = NDArray[np.float64]
PointFlags: TypeAlias = NDArray[np.uint8]


class PointFlag(IntFlag):
    """What is wrong with a point of a curve; only `NOT_USED` says that it has no weight in the fit."""

    MISSING = 1
    """g2 or its error is NaN or infinite (padding, no photons, an error that says nothing)."""
    ZERO_COUNT = 2
    """g2 is exactly zero: no coincidence was counted, and the quoted error is no error."""
    ZERO_ERROR = 4
    """The error is zero, negative, or too small to have a finite inverse."""
    FEW_PRODUCTS = 8
    """Fewer products were averaged than ``min_products``: such errors collapse."""
    FEW_COINCIDENCES = 16
    """Fewer than 3 coincidences were expected: one that is seen would be an outlier of any Gaussian."""
    ERROR_COLLAPSE = 32
    """The quoted error is less than 0.3 of what it must be; the error model replaced it."""
    OUTLIER = 64
    """Dropped by a robust fit."""
    NOT_USED = 128
    """The point has weight 0."""


FEW = np.uint8(PointFlag.FEW_PRODUCTS | PointFlag.NOT_USED)
LEFT_OUT = np.uint8(PointFlag.OUTLIER | PointFlag.NOT_USED)
MEANINGS: dict[PointFlag, str] = {flag: str(flag.name).lower() for flag in PointFlag}


def quoted(g2: Any, err: Any, products: Any = None, min_products: int = 4) -> tuple[Weights, PointFlags]:
    """Weights 1/error from the errors as they are quoted, and why points are not used.

    Parameters
    ----------
    g2, err : array, shape (..., m)
        Curves and their errors, float32 or float64.
    products : array, broadcastable to (..., m), optional
        Number of products averaged at each delay; None where it is not known.
    min_products : int
        Delays with fewer products are not used.

    Returns
    -------
    weight : float64 array, shape (..., m)
        1/err, computed in float64; 0 where a point is not used.
    flags : uint8 array, shape (..., m)
        `PointFlag` bits; ``NOT_USED`` and at least one reason where the weight is 0, else 0.
    """
    g2, err = np.asarray(g2), np.asarray(err)
    with np.errstate(divide="ignore", over="ignore"):
        weight = np.empty(g2.shape)
        np.divide(1.0, err, out=weight, dtype=np.float64)
    # Comparisons with NaN are False, 1/inf is 0 and 1/0 is inf: a finite weight above 0 is a usable error.
    usable = (weight > 0) & (weight < np.inf)
    usable &= (g2 != 0) & (np.abs(g2) < np.inf)
    flags = np.zeros(g2.shape, dtype=np.uint8)
    unused = ~usable
    if unused.any():  # few points: their reasons are looked up one by one
        flags[unused] = _reasons(g2[unused], np.broadcast_to(err, g2.shape)[unused])
        flags[unused] |= np.uint8(PointFlag.NOT_USED)
        weight[unused] = 0.0
    few = _few(products, min_products)
    if few is not None:
        flags |= few.view(np.uint8) * FEW
        np.copyto(weight, 0.0, where=few)
    return weight, flags


def equal(g2: Any, err: Any = None, products: Any = None, min_products: int = 4) -> tuple[Weights, PointFlags]:
    """Weight 1 for every usable point, and why points are not used; parameters and results as in `quoted`.

    The errors are not believed, so they exclude nothing: `err` is not looked at. Exact zeros are kept, for a bin where
    no coincidence was counted is a result; so files that hold no errors give the same fits as those that do.
    """
    g2 = np.asarray(g2)
    flags = np.where(np.isfinite(g2), np.uint8(0), np.uint8(PointFlag.MISSING | PointFlag.NOT_USED))
    few = _few(products, min_products)
    if few is not None:
        flags |= few.view(np.uint8) * FEW
    return (flags == 0).astype(np.float64), flags


def _few(products: Any, min_products: int) -> Any:
    """Where too few products were averaged; a number that is not known (NaN) is not too few."""
    return None if products is None else np.atleast_1d(np.asarray(products) < min_products)


def _reasons(g2: Any, err: Any) -> PointFlags:
    """Why points with these values cannot be used; every point that `quoted` rejects gets at least one reason."""
    missing = ~(np.isfinite(g2) & np.isfinite(err))
    with np.errstate(divide="ignore", over="ignore"):
        tiny = (err <= 0) | (np.divide(1.0, err, dtype=np.float64) == np.inf)
    reasons = [(missing, PointFlag.MISSING), (g2 == 0, PointFlag.ZERO_COUNT), (tiny, PointFlag.ZERO_ERROR)]
    flags = np.zeros(g2.shape, dtype=np.uint8)
    for where, flag in reasons:
        flags |= where.view(np.uint8) * np.uint8(flag)
    return flags
