"""How many curves have one point that would decide the fit, were the errors taken as the files quote them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xpcs_dask.fitting.flags import DOMINANT
from xpcs_dask.fitting.layout import Flag, Status
from xpcs_dask.reporting.data import Found
from xpcs_dask.reporting.one_point import Story, quoted_shares, tell
from xpcs_dask.reporting.slabs import model_of, relaxation_times
from xpcs_dask.reporting.source import File, Source
from xpcs_dask.spoken import count

__all__ = ["Survey", "survey"]

UNTOLD = int(Flag.NO_SIGNAL | Flag.WEAK | Flag.UNUSABLE)
"""Flags of curves that tell nothing whatever the errors."""


@dataclass(frozen=True)
class Survey:
    """What was found in the curves that were looked at."""

    files: int
    curves: int
    dominated: int
    """Curves of which one point holds more than a quarter of the quoted weight."""
    resting: int
    """Of these, curves whose fit one point dominated indeed."""
    quoted: bool
    """Whether the results were made with quoted errors."""
    story: Story | None

    def in_words(self) -> list[str]:
        """Say what was found."""
        if not self.curves:
            return []
        if not self.dominated:
            return [
                f"In none of {count(self.curves, 'curve')} looked at does one point hold more than a quarter of the "
                "weight, if the errors are taken as the files quote them."
            ]
        used = (
            f"These results were made with the quoted errors: {count(self.resting, 'fit')} of these curves "
            f"{'rests' if self.resting == 1 else 'rest'} on one point; in the others it was left out."
            if self.quoted
            else "These results were not made with the quoted errors; other programs that take them are misled."
        )
        return [
            f"In {self.dominated:,} of {count(self.curves, 'curve')} looked at ({count(self.files, 'file')}) one point "
            f"holds more than a quarter of the weight, if the errors are taken as the files quote them. {used}"
        ]


def survey(source: Source, found: Found, files: Sequence[File]) -> Survey:
    """Look at the quoted errors of the curves that were read, and tell the worst case that has a decay."""
    curves = dominated = resting = looked = 0
    candidates: list[tuple[bool, float, int, dict[str, int]]] = []
    for at, own in found.items():
        if isinstance(own, str) or "g2_err" not in own:
            continue
        looked += 1
        group, position = _group_of(source, at)
        codes, g2, error = _beside(group, position, own)
        shares = quoted_shares(g2, error).max(axis=-1, initial=0.0)
        curves += shares.size
        for place in np.argwhere(shares > DOMINANT):
            dominated += 1
            resting += int(int(codes["flags"].values[tuple(place)]) & Flag.ONE_POINT_DOMINATES > 0)
            where = dict(zip(map(str, codes["status"].dims), place.tolist(), strict=True))
            candidates.append((_has_decay(codes, where), float(shares[tuple(place)]), at, _in_group(where, position)))
    story = None
    if candidates and _can_tell(source):
        _, _, at, where = max(candidates, key=lambda one: (one[0], one[1], -one[2]))
        group, _ = _group_of(source, at)
        worst: Any = found[at]
        story = tell(source, group, worst, files[at].name, where)
    return Survey(looked, curves, dominated, resting, source.config.get("errors") == "quoted", story)


def _can_tell(source: Source) -> bool:
    group = next(iter(source.groups.values()))
    return model_of(group) is not None and bool(relaxation_times(group))


def _group_of(source: Source, at: int) -> tuple[xr.Dataset, int]:
    """Group of a file, and its position in it."""
    for group in source.groups.values():
        size = group.sizes["file"] if "file" in group["status"].dims else 1
        if at < size:
            return group, at
        at -= size
    raise IndexError(at)


def _beside(group: xr.Dataset, file: int, own: xr.Dataset) -> tuple[xr.Dataset, Any, Any]:
    """Codes of the fits of a file, and beside them g2 and its quoted error, in the same order, the delay last."""
    codes = group[["status", "flags"]]
    codes = (codes.isel(file=[file]) if "file" in codes.dims else codes).load()
    for dim in codes.dims:
        if dim != "file" and dim in own.indexes and dim in codes.indexes:
            own = own.sel({dim: codes[dim].values})
    order = (*codes["status"].dims, "delay")
    g2, error = (own[name].transpose(*order).values for name in ("g2", "g2_err"))
    return codes, g2, error


def _in_group(where: dict[str, int], file: int) -> dict[str, int]:
    return {**where, "file": file} if "file" in where else where


def _has_decay(codes: xr.Dataset, where: Mapping[str, int]) -> bool:
    one = codes.isel(where)
    return bool(int(one["status"]) == Status.CONVERGED and not int(one["flags"]) & UNTOLD)
