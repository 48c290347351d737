"""What tau(q) says of each file: D, exponent, their errors; or why nothing can be said."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xpcs_dask.physics.dispersion import dispersion
from xpcs_dask.physics.law_record import Note
from xpcs_dask.physics.laws import law_of
from xpcs_dask.physics.used_bins import in_words
from xpcs_dask.reporting.slabs import Slab
from xpcs_dask.reporting.words import FLAGS, LACKS, NOTES, Verdict, verdicts

__all__ = ["Relaxation", "can_be_asked", "relaxation"]

NOTHING = Note.TOO_FEW_BINS | Note.NOT_CONVERGED | Note.UNDETERMINED
"""Notes with which a number is no result."""
TOLD = ("value", "stderr", "interval", "test_p", "n_used", "flags", "excluded")

Arrays: TypeAlias = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with its error and interval; NaN where there is none."""

    value: float = np.nan
    error: float = np.nan
    low: float = np.nan
    high: float = np.nan


@dataclass(frozen=True)
class Relaxation:
    """tau(q) of one file."""

    file: int
    labels: dict[str, Any]
    """Segment, age and the like, where files have them."""
    parameter: str
    numbers: dict[str, Quantity]
    """By parameter of the law (D in angstrom^2/s and um^2/s), and ``exponent``."""
    p: float
    """Probability of an exponent as far from 2, if it is 2."""
    used: int
    bins: int
    notes: Note
    power_notes: Note
    lacking: dict[str, int]
    """Bins by the reason why they have no say."""
    doubted_bins: int = 0
    """Bins that have a say, but whose numbers are to be used after a look."""

    @property
    def said(self) -> bool:
        """Whether there is a number to be told."""
        return not self.notes & NOTHING

    @property
    def exponent_said(self) -> bool:
        """Whether there is an exponent to be told."""
        return not self.power_notes & NOTHING

    @property
    def doubted(self) -> bool:
        """Whether the law does not hold within the errors of the bins."""
        return bool(self.notes & Note.LAW_DOUBTFUL)

    def in_words(self) -> list[str]:
        """Tell notes in words; where nothing can be said, why."""
        told = [text for note, text in NOTES.items() if self.notes & note]
        if not self.said and self.lacking:
            first = list(self.lacking.items())[:3]
            told.append(
                f"{self.used} of {self.bins} bins can be used; others: "
                + ", ".join(f"{name} {number}" for name, number in first)
            )
        elif 2 * self.doubted_bins > self.used:
            told.append(f"{self.doubted_bins} of the {self.used} bins used are doubtful")
        return told


def can_be_asked(group: xr.Dataset) -> str:
    """Why there is no tau(q) of this group; empty if there is one."""
    from xpcs_dask.reporting.slabs import relaxation_times

    if not relaxation_times(group):
        return "the model has no relaxation time"
    if "qbin" not in group["status"].dims:
        return "the curves are not ordered in bins of q (no dimension qbin)"
    if "q" not in group.coords or "qbin" not in group["q"].dims:
        return "q of the bins is not known"
    return ""


def relaxation(slab: Slab, law: str) -> list[Relaxation]:
    """Fit `law`, and the power law for its exponent, to every file of a slab."""
    if can_be_asked(slab.data):
        return []
    dims = [str(dim) for dim in slab.data["status"].dims if dim != "qbin"]
    files = xr.DataArray(slab.file.reshape(slab.data["status"].shape), dims=slab.data["status"].dims)
    which = files.isel(qbin=0).transpose(*dims).values
    others = {
        dim: slab.data[dim].values if dim in slab.data.coords else np.arange(slab.data.sizes[dim])
        for dim in dims
        if dim != "file"
    }
    codes = slab.data[["status", "flags"]].transpose(*dims, "qbin")
    doubtful = verdicts(codes["status"].values, codes["flags"].values) == Verdict.DOUBTFUL
    found = []
    for parameter in slab.times:
        fitted, power = (_fitted(slab, name, parameter, dims) for name in (law, "power"))
        for at in np.ndindex(*which.shape):
            place = dict(zip(dims, at, strict=True))
            labels = {dim: label[place[dim]].item() for dim, label in others.items()}
            one = _one(int(which[at]), labels, parameter, law, fitted, power, at)
            doubted = int((doubtful[at] & (fitted["excluded"][at] == 0)).sum())
            found.append(replace(one, doubted_bins=doubted))
    return found


def _fitted(slab: Slab, law: str, parameter: str, dims: list[str]) -> dict[str, NDArray[Any]]:
    """Return what is told of as plain arrays: thousands of files are gone through one by one."""
    chosen: Any = law
    found = dispersion(slab.data, chosen, parameter=parameter).transpose(*dims, ...)
    return {name: found[name].values for name in TOLD}


def _one(
    file: int, labels: dict[str, Any], parameter: str, law: str, fitted: Arrays, power: Arrays, at: tuple[int, ...]
) -> Relaxation:
    excluded = fitted["excluded"][at]
    numbers = {name: _quantity(fitted, at, k) for k, name in enumerate(law_of(law).parameters)}
    numbers["exponent"] = _quantity(power, at, law_of("power").parameters.index("exponent"))
    return Relaxation(
        file=file,
        labels=labels,
        parameter=parameter,
        numbers=numbers,
        p=float(power["test_p"][at]),
        used=int(fitted["n_used"][at]),
        bins=int(excluded.size),
        notes=Note(int(fitted["flags"][at])),
        power_notes=Note(int(power["flags"][at])),
        lacking=_lacking(excluded),
    )


def _quantity(found: Arrays, at: tuple[int, ...], k: int) -> Quantity:
    low, high = found["interval"][at][k]
    return Quantity(float(found["value"][at][k]), float(found["stderr"][at][k]), float(low), float(high))


def _lacking(excluded: Any) -> dict[str, int]:
    """Bins by reason, most frequent first; a bin may have several."""
    counted = Counter(reason for value in excluded.tolist() for reason in _reasons(int(value)))
    return dict(counted.most_common())


@cache
def _reasons(excluded: int) -> tuple[str, ...]:
    titles = {str(flag.name).lower(): word.title for flag, word in FLAGS.items()}
    titles |= {str(lack.name).lower(): text for lack, text in LACKS.items()}
    return tuple(titles[name] for name in in_words(excluded))
