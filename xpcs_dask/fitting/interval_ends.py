"""What intervals are made of and what they come as: the fits, the ends in their box, and what to know about an end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntFlag
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.models import Floats, Model


class Mark(IntFlag):
    """What to know about one end of an interval."""

    AT_BOUND = 1
    """It is on the bound of the box: the interval may be open there."""
    EXTREME = 2
    """Too few replicates for this level: it is the smallest or the largest of them."""
    UNDEFINED = 4
    """There is no such interval (NaN): for bca all replicates lie on one side of the estimate, or the acceleration is
    unknown or too large; for the others there are fewer than two replicates, or no standard error."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parents:
    """Fits of n curves whose intervals are wanted, and what their intervals need to know."""

    model: Model
    value: Floats
    """(n, p); NaN where there is no fit."""
    lower: Floats
    upper: Floats
    """(p,) The box; equal where a parameter is held."""
    stderr: Floats | None = None
    """(n, p) Standard errors of `value`, of the kind that the replicates carry: studentised needs them."""
    dof: Floats | None = None
    """(n,) Degrees of freedom of t; None for a normal distribution."""
    acceleration: Floats | None = None
    """(n, p) For bca; see `acceleration`."""

    def take(self, rows: NDArray[Any]) -> Parents:
        """Return some of the curves."""

        def some(array: Floats | None) -> Floats | None:
            return None if array is None else array[rows]

        return replace(
            self,
            value=self.value[rows],
            stderr=some(self.stderr),
            dof=some(self.dof),
            acceleration=some(self.acceleration),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Ends:
    """Intervals of n curves of p parameters."""

    lower: Floats
    upper: Floats
    error: Floats
    """(n, p, 2) Monte-Carlo standard error of each end over the half width: what more replicates would improve."""
    mark: NDArray[np.uint8]
    """(n, p, 2) bits of `Mark`."""


def boxed(found: Floats, relative: Floats, mark: NDArray[np.uint8], parents: Parents) -> Ends:
    """Move ends (n, p, 2) into the box, give held parameters none of their width, and mark what is left to say."""
    box = np.stack([parents.lower, parents.upper], axis=-1)
    found = np.clip(found, parents.lower[:, None], parents.upper[:, None])
    held = np.broadcast_to(parents.lower >= parents.upper, parents.value.shape)
    found[held] = parents.value[held][:, None]
    mark = mark | np.where(found == box, np.uint8(Mark.AT_BOUND), np.uint8(0))
    unknown = np.isnan(found)
    mark[unknown] = Mark.UNDEFINED
    relative[unknown] = np.nan
    relative[held], mark[held & ~unknown.any(axis=-1)] = 0.0, 0
    return Ends(found[..., 0], found[..., 1], relative, mark.astype(np.uint8))
