"""What a figure of g2 draws of each curve: points, the errors that weighed them, why others were not used, the fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.models import Floats, Model
from xpcs_dask.fitting.quality import PointFlag

OUTSIDE = 1 << 8
"""Beside the bits of `PointFlag`: the point lies outside ``delay_range``."""
REASONS: Mapping[int, str] = {
    int(PointFlag.OUTLIER): "outlier",
    int(PointFlag.ZERO_COUNT): "zero count",
    int(PointFlag.FEW_PRODUCTS): "few products",
    int(PointFlag.FEW_COINCIDENCES): "few coincidences",
    int(PointFlag.MISSING): "missing",
    int(PointFlag.ZERO_ERROR): "zero error",
    int(PointFlag.ERROR_COLLAPSE): "error collapse",
    OUTSIDE: "outside delay_range",
}
"""Why points are not used, the one that says most first: of several, this is the one that is drawn."""
OTHER = "not used"
BARS = {"auto": "error model", "quoted": "as quoted", "smoothed": "quoted, smoothed", "none": "from the residuals"}
"""What error bars are, by the setting ``errors``."""


def reasons(bits: int) -> list[str]:
    """Names of what is wrong with a point, in words; the first is the one that figures show."""
    return [name for bit, name in REASONS.items() if bits & bit]


def reason_of(bits: NDArray[Any]) -> NDArray[np.int64]:
    """Return the one bit of each point that figures show: the first of `REASONS`, 0 for none."""
    every = np.asarray(bits, dtype=np.int64)
    found = np.zeros(every.shape, np.int64)
    for bit in reversed([*REASONS]):
        found = np.where((every & bit) != 0, bit, found)
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fit:
    """The fit of one curve."""

    model: Model
    value: Floats
    """(p,)"""
    covariance: Floats | None
    """(p, p); None if the results do not have it."""
    dof: float
    """Degrees of freedom of the standard errors; infinite where these are known."""
    replicates: Floats | None
    """(n, p) refits of a bootstrap, if they were kept."""

    def __call__(self, delay: Floats) -> Floats:
        """Evaluate the fit."""
        return np.asarray(self.model.evaluate(delay, *self.value), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """One curve of m points."""

    name: str
    delay: Floats
    g2: Floats
    sigma: Floats
    """Error of g2 that weighs the point; NaN where it is not used."""
    quoted: Floats
    """Error as the file has it; NaN where it has none."""
    bits: NDArray[np.int64]
    """`PointFlag`, and `OUTSIDE`."""
    fit: Fit | None
    failed: str = ""
    """How the fit ended, if it did not converge."""
    used: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "used", np.isfinite(self.sigma) & np.isfinite(self.g2))

    @property
    def residuals(self) -> Floats:
        """(g2 - fit) / sigma; NaN where there is none."""
        return (self.g2 - self.fit(self.delay)) / self.sigma if self.fit else np.full(self.g2.shape, np.nan)
