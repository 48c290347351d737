"""Counts and numbers by file, gathered slab by slab; and which curves are worth drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.layout import ErrorsFrom, Flag, Status
from xpcs_dask.reporting.slabs import Slab
from xpcs_dask.reporting.words import FLAGS, Verdict, verdicts

__all__ = ["Contrast", "Tally", "contrast_of"]

SURE = 3.0
"""Standard errors by which a slope must differ from 0 to be called a trend."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """Contrast of the curves of one file that can be believed."""

    curves: int
    median: float
    slope: float = np.nan
    """Change per factor e in q, in units of the median."""
    error: float = np.nan

    @property
    def trend(self) -> int:
        """Sign of a change with q that is larger than its error; 0 where there is none to be seen."""
        return int(np.sign(self.slope)) if abs(self.slope) > SURE * self.error else 0


@dataclass
class Tally:
    """What is counted of all curves.

    Parameters
    ----------
    files : int
        Number of files.
    """

    files: int
    curves: int = 0
    chi2: list[NDArray[np.float32]] = field(default_factory=list)
    """Reduced chi2 of fitted curves."""
    q: tuple[float, float] = (np.inf, -np.inf)

    def __post_init__(self) -> None:
        self.status = np.zeros((self.files, len(Status)), np.int64)
        self.flags = np.zeros((self.files, len(FLAGS)), np.int64)
        self.verdicts = np.zeros((self.files, len(Verdict)), np.int64)
        self.errors_from = np.zeros(len(ErrorsFrom), np.int64)
        self.median_chi2 = np.full(self.files, np.nan)
        self.contrast: dict[int, Contrast] = {}

    def add(self, slab: Slab) -> None:
        """Count the curves of a slab, which holds whole files."""
        columns, file = slab.columns, slab.file
        status, flags = columns["status"], columns["flags"]
        judged = verdicts(status, flags)
        self.curves += len(slab)
        np.add.at(self.status, (file, status.astype(np.intp)), 1)
        np.add.at(self.verdicts, (file, judged.astype(np.intp)), 1)
        for place, flag in enumerate(FLAGS):
            np.add.at(self.flags, (file[(flags & np.uint32(flag)) != 0], place), 1)
        fitted = status == Status.CONVERGED
        if "errors_from" in columns:
            np.add.at(self.errors_from, columns["errors_from"][fitted].astype(np.intp), 1)
        reduced = slab.reduced_chi2
        self.chi2.append(reduced[fitted].astype(np.float32))
        self._range(slab)
        self._by_file(slab, judged, np.where(fitted, reduced, np.nan))

    def _range(self, slab: Slab) -> None:
        q = slab.labels.get("q", np.zeros(0))
        q = q[np.isfinite(q)]
        if q.size:
            self.q = (min(self.q[0], float(q.min())), max(self.q[1], float(q.max())))

    def _by_file(self, slab: Slab, judged: NDArray[np.int8], reduced: NDArray[np.float64]) -> None:
        order = np.argsort(slab.file, kind="stable")
        numbers, starts = np.unique(slab.file[order], return_index=True)
        believed = judged <= Verdict.DOUBTFUL
        for number, rows in zip(numbers.tolist(), np.split(order, starts[1:]), strict=True):
            there = reduced[rows][np.isfinite(reduced[rows])]
            if there.size:
                self.median_chi2[number] = np.median(there)
            if "contrast" in slab.names:
                own = rows[believed[rows]]
                q = slab.labels["q"][own] if "q" in slab.labels else np.full(own.size, np.nan)
                self.contrast[number] = contrast_of(slab.of("contrast")[own], slab.of("contrast", "stderr")[own], q)

    def flag_counts(self) -> dict[Flag, int]:
        """Curves by flag, those that occur, worst first."""
        return {flag: int(n) for flag, n in zip(FLAGS, self.flags.sum(axis=0), strict=True) if n}

    def verdict_counts(self) -> dict[Verdict, int]:
        """Curves by verdict."""
        return {verdict: int(n) for verdict, n in zip(Verdict, self.verdicts.sum(axis=0), strict=True)}

    def chi2_quantiles(self, *at: float) -> list[float]:
        """Quantiles of the reduced chi2 of all fitted curves; NaN where there are none."""
        found = np.concatenate(self.chi2) if self.chi2 else np.zeros(0, np.float32)
        found = found[np.isfinite(found)]
        return [float(x) for x in np.quantile(found, at)] if found.size else [np.nan for _ in at]


def contrast_of(value: Any, error: Any, q: Any) -> Contrast:
    """Median contrast, and its slope over ln q by weighted least squares.

    The errors are enlarged where the bins scatter more about the line than they allow.
    """
    known = np.isfinite(value)
    if not known.any():
        return Contrast(0, np.nan)
    median = float(np.median(value[known]))
    with np.errstate(invalid="ignore"):
        use = known & np.isfinite(error) & (error > 0) & np.isfinite(q) & (q > 0)
    count = int(known.sum())
    if use.sum() < 4 or median == 0 or np.ptp(q[use]) == 0:
        return Contrast(count, median)
    x, y, weight = np.log(q[use]), value[use], error[use] ** -2.0
    x = x - np.average(x, weights=weight)
    spread = float((weight * x**2).sum())
    slope = float((weight * x * y).sum()) / spread
    rest = y - np.average(y, weights=weight) - slope * x
    scale = max(1.0, float((weight * rest**2).sum()) / (len(x) - 2))
    return Contrast(count, median, slope / median, float(np.sqrt(scale / spread)) / abs(median))


def mostly(counts: NDArray[np.int64], names: Sequence[str], most: int = 3) -> list[tuple[str, int]]:
    """Files with the most of something, at most `most` of them."""
    order = np.argsort(-counts, kind="stable")[:most]
    return [(names[at], int(counts[at])) for at in order if counts[at]]
