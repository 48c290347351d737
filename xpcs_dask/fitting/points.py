"""Errors that weigh the points of curves, and what is wrong with these, as the settings ask."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.config import FitConfig
from xpcs_dask.fitting import quality
from xpcs_dask.fitting.error_model import Counting, Errors, grid, model_errors
from xpcs_dask.fitting.models import Floats
from xpcs_dask.fitting.slabs import slabs

POINT = np.dtype([("sigma", "<f8"), ("quality", "u1")])
"""What is known of one point: its error, and bits of `quality.PointFlag`."""


def sigma_block(
    g2: Any, err: Any = None, products: Any = None, rate: Any = None, pixels: Any = None, *, delay: Floats,
    level: Floats | None = None, config: FitConfig,
) -> NDArray[np.void]:  # fmt: skip
    """Errors that weigh the points of a block, and what is wrong with these; arguments as in `blocks.fitted`.

    Returns
    -------
    array of `POINT`, shape (..., m)
        ``sigma``, infinite where a point is not used, and bits of `quality.PointFlag`.
    """
    g2 = np.asarray(g2)
    out = np.empty(g2.shape, dtype=POINT)
    rows = out.reshape(-1, g2.shape[-1])
    for part, (curves, *told) in slabs(g2, err, products, rate, pixels):
        errors = weigh(curves, told, delay, level, config)
        with np.errstate(divide="ignore"):
            rows["sigma"][part] = 1.0 / errors.weight
        rows["quality"][part] = errors.points
    return out


def weigh(g2: Any, told: list[Any], delay: Floats, level: Floats | None, config: FitConfig) -> Errors:
    """Weights of the points of curves (n, m) as `config.errors` asks; told are errors, products, rate and pixels."""
    err, products, rate, pixels = told
    n, m = g2.shape
    if config.errors in ("auto", "smoothed"):
        counting = Counting.of(n, m, products, rate, pixels)
        shared = grid(delay, level)
        return model_errors(g2, err, counting, shared, config.min_products, counts=config.errors == "auto")
    simple = quality.equal if config.errors == "none" else quality.quoted
    weight, points = simple(g2, err, products, config.min_products)
    return Errors(weight, points, np.zeros(n, np.uint32))
