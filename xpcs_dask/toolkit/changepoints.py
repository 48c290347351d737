"""Where the mean, or the size, of a row of numbers jumps."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting import residual_tests
from xpcs_dask.fitting.independent import Sequence
from xpcs_dask.fitting.models import Floats

METHODS = ("cusum", "variance")
LEVEL = 0.05


def changepoints(numbers: Floats, method: str) -> dict[str, Any]:
    """Find jumps by cumulated sums, which without any are a Brownian bridge; each half is then looked at again.

    `method` cusum takes the numbers, variance their squares about the mean.

    References
    ----------
    .. [1] C. Inclan and G. C. Tiao, J. Am. Stat. Assoc. 89, 913 (1994).
    """
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        raise ConfigError(
            f"residuals must be a row of finite numbers, not an array of shape {numbers.shape} or with NaN"
        )
    row = numbers if method == "cusum" else (numbers - numbers.mean()) ** 2 if numbers.size else numbers
    statistic, p, _ = _largest(row)
    found = sorted(_split(row, 0))
    return {
        "method": method,
        "changepoints": found,
        "n_changepoints": len(found),
        "statistic": statistic,
        "p_value": p,
        "has_changepoint": bool(found),
    }


def _split(row: Floats, offset: int) -> list[int]:
    """Jumps of a piece that begins at `offset`."""
    _, p, first = _largest(row)
    if not p < LEVEL:
        return []
    return [offset + first, *_split(row[:first], offset), *_split(row[first:], offset + first)]


def _largest(row: Floats) -> tuple[float, float, int]:
    """Largest excursion, its p, and the first point after it; NaN with too few points."""
    if row.size < residual_tests.FEWEST:
        return np.nan, np.nan, 0
    sequence = Sequence(row[None], np.arange(row.size)[None], np.array([row.size]))
    found, last = residual_tests.changepoint(sequence)
    return float(found.statistic[0]), float(found.p[0]), int(last[0]) + 1
