"""Which curves a report draws: the worst, one for each flag, the best, and some that nobody chose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.layout import Flag, Status
from xpcs_dask.reporting.slabs import Slab
from xpcs_dask.reporting.words import FLAGS, STATUSES, Verdict, Weight, verdicts

__all__ = ["Pick", "Picks"]

WORST, BEST, SAMPLE, EXAMPLES, FAILED = 3, 2, 3, 4, 2
"""How many of each are drawn."""


@dataclass(frozen=True, slots=True)
class Pick:
    """One curve to draw."""

    number: int
    """Among all curves."""
    group: str
    file: int
    """Position among all files."""
    at: Mapping[str, int]
    """Position along each dimension of its group."""
    labels: Mapping[str, Any]
    flags: int
    status: Status
    reduced_chi2: float
    value: Mapping[str, tuple[float, float]]
    """Value and standard error by parameter."""


@dataclass
class Picks:
    """Candidates so far; the best of each kind are kept.

    Parameters
    ----------
    total : int
        Number of all curves, of which the sample is taken evenly.
    """

    total: int
    failed: dict[Status, Pick] = field(default_factory=dict)
    examples: dict[Flag, Pick] = field(default_factory=dict)
    sample: list[Pick] = field(default_factory=list)
    _worst: list[tuple[float, Pick]] = field(default_factory=list)
    _best: list[tuple[float, Pick]] = field(default_factory=list)

    def add(self, slab: Slab) -> None:
        """Look through a slab."""
        status, flags = slab.columns["status"], slab.columns["flags"]
        fitted = status == Status.CONVERGED
        reduced, judged = slab.reduced_chi2, verdicts(status, flags)
        for code in Status:
            rows = np.flatnonzero(status == code)
            if code != Status.CONVERGED and rows.size and code not in self.failed:
                self.failed[code] = _pick(slab, int(rows[0]), reduced)
        for flag, word in FLAGS.items():
            rows = np.flatnonzero(fitted & ((flags & np.uint32(flag)) != 0))
            if word.weight >= Weight.DOUBT and rows.size:
                row = int(rows[np.bitwise_count(flags[rows]).argmin()])  # with the fewest other flags
                if flag not in self.examples or int(flags[row]).bit_count() < self.examples[flag].flags.bit_count():
                    self.examples[flag] = _pick(slab, row, reduced)
        seen = fitted & ((flags & np.uint32(Flag.NO_SIGNAL)) == 0)
        self._worst = _kept(self._worst, slab, np.where(seen, -reduced, np.nan), reduced, WORST)
        precision = np.where(judged == Verdict.GOOD, 0.0, np.where(judged == Verdict.DOUBTFUL, 1e6, np.nan))
        self._best = _kept(self._best, slab, precision + _relative_error(slab), reduced, BEST)
        wanted = np.unique(((np.arange(SAMPLE) + 0.5) * self.total / SAMPLE).astype(np.int64))
        inside = wanted[(wanted >= slab.number) & (wanted < slab.number + len(slab))] - slab.number
        self.sample += [_pick(slab, int(row), reduced) for row in inside]

    def chosen(self) -> list[tuple[str, list[tuple[str, Pick]]]]:
        """Kinds of curves, and for each its curves with the reason why each is shown; no curve comes twice."""
        seen: set[int] = set()

        def new(pairs: Iterable[tuple[str, Pick]], most: int) -> list[tuple[str, Pick]]:
            found: list[tuple[str, Pick]] = []
            for reason, pick in pairs:
                if pick.number not in seen and len(found) < most:
                    seen.add(pick.number)
                    found.append((reason, pick))
            return found

        worst = new([(f"no fit ({STATUSES[pick.status].title})", pick) for pick in self.failed.values()], FAILED)
        worst += new((("among the largest reduced chi²", pick) for _, pick in self._worst), WORST)
        best = new((("among the best determined", pick) for _, pick in self._best), BEST)
        flagged = [(FLAGS[flag].title, self.examples[flag]) for flag in FLAGS if flag in self.examples]
        examples = new(((f"an example of “{title}”", pick) for title, pick in flagged), EXAMPLES)
        sample = new((("taken at even steps through all curves", pick) for pick in self.sample), SAMPLE)
        return [("worst", worst), ("best", best), ("examples", examples), ("sample", sample)]


def _relative_error(slab: Slab) -> NDArray[np.float64]:
    """Return standard error over value (n,): of the relaxation time, else of the first parameter."""
    name = (*slab.times, slab.names[0])[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.abs(slab.of(name, "stderr") / slab.of(name))


def _kept(
    had: list[tuple[float, Pick]], slab: Slab, score: NDArray[np.float64], reduced: NDArray[np.float64], most: int
) -> list[tuple[float, Pick]]:
    """Those with the lowest scores; NaN is none."""
    order = np.argsort(score, kind="stable")[:most]  # NaN comes last
    new = [(float(score[row]), _pick(slab, int(row), reduced)) for row in order if np.isfinite(score[row])]
    return sorted([*had, *new], key=lambda pair: (pair[0], pair[1].number))[:most]


def _pick(slab: Slab, row: int, reduced: NDArray[np.float64]) -> Pick:
    pairs = zip(slab.names, slab.columns["value"][row], slab.columns["stderr"][row], strict=True)
    return Pick(
        number=slab.number + row,
        group=slab.group,
        file=int(slab.file[row]),
        at={dim: int(index[row]) for dim, index in slab.at.items()},
        labels={name: label[row].item() for name, label in slab.labels.items()},
        flags=int(slab.columns["flags"][row]),
        status=Status(int(slab.columns["status"][row])),
        reduced_chi2=float(reduced[row]),
        value={name: (float(value), float(error)) for name, value, error in pairs},
    )
