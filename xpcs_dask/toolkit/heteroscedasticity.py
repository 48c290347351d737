"""Are residuals of one size along their abscissa: two tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from xpcs_dask.fitting import residual_tests
from xpcs_dask.fitting.independent import Sequence
from xpcs_dask.fitting.models import Floats

Found: TypeAlias = tuple[float, float, list[int]]
"""Statistic, p, and the degrees of freedom of its distribution."""
DROPPED = 0.2
"""Share of the points in the middle that Goldfeld and Quandt leave out."""


def breusch_pagan(at: Floats, numbers: Floats) -> Found:
    """Koenker's form of the score test of squares against `at`: n R^2, chi-squared with one degree of freedom."""
    sequence = Sequence(numbers[None], np.arange(numbers.size)[None], np.array([numbers.size]))
    found = residual_tests.heteroscedasticity(sequence, at[None])
    return float(found.statistic[0] ** 2), float(found.p[0]), [1]


def goldfeld_quandt(at: Floats, numbers: Floats) -> Found:
    """Ratio of the variances beyond and before the middle of `at`, both sides of F.

    References
    ----------
    .. [1] S. M. Goldfeld and R. E. Quandt, J. Am. Stat. Assoc. 60, 539 (1965).
    """
    from scipy.special import fdtr, fdtrc

    del at  # numbers are in its order
    side = (numbers.size - int(DROPPED * numbers.size)) // 2
    if numbers.size < residual_tests.FEWEST or side < 2:
        return np.nan, np.nan, [0, 0]
    first, last = (float(np.var(part, ddof=1)) for part in (numbers[:side], numbers[-side:]))
    if not first > 0:
        return np.nan, np.nan, [side - 1, side - 1]
    ratio, dof = last / first, side - 1
    return ratio, float(2.0 * min(fdtr(dof, dof, ratio), fdtrc(dof, dof, ratio))), [dof, dof]


SPREADS: Mapping[str, Callable[[Floats, Floats], Found]] = MappingProxyType(
    {"breusch_pagan": breusch_pagan, "goldfeld_quandt": goldfeld_quandt}
)
