"""Which bins of a fit tell how relaxation times depend on q, and why others do not."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntFlag
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.layout import Flag, Status
from xpcs_dask.fitting.models import Floats


class Lack(IntFlag):
    """Why a bin is not used, beside the flags of its fit, whose bits are lower."""

    FAILED = 1 << 24
    """The fit did not converge: there is no relaxation time."""
    NO_ERROR = 1 << 25
    """The relaxation time has no standard error."""
    NO_Q = 1 << 26
    """q is not known, or not positive."""
    OUTSIDE_Q_RANGE = 1 << 27
    """q lies outside of ``q_range=``."""
    OTHER_GROUP = 1 << 28
    """The bin belongs to another group (``by=``)."""


DISTRUSTED = (
    "at_bound",
    "unidentifiable",
    "one_point_dominates",
    "second_component_not_established",
    "starts_disagree",
    "weak",
    "no_signal",
    "slow",
)
"""Flags of bins whose relaxation time or its error is not to be believed; the others are kept."""


def bits_of(exclude: Iterable[str]) -> int:
    """Bits of flags given by name; raises `ConfigError` that names the known ones."""
    if isinstance(exclude, str):
        exclude = [exclude]
    known = {str(flag.name).lower(): int(flag) for flag in Flag}
    bits = 0
    for name in exclude:
        if name not in known:
            raise ConfigError(f"exclude: there is no flag {name!r}; known are {', '.join(known)}")
        bits |= known[name]
    return bits


def meanings() -> list[tuple[int, str]]:
    """Bit and name of everything that `excluded` can say."""
    return [(int(flag), str(flag.name).lower()) for flag in (*Flag, *Lack)]


def excluded(
    tau: Floats,
    stderr: Floats,
    flags: NDArray[Any],
    status: NDArray[Any],
    q: Floats,
    *,
    bits: int,
    q_range: tuple[float, float] | None,
    member: NDArray[np.bool_],
) -> NDArray[np.uint32]:
    """Why each bin is not used, 0 where it is; all arrays broadcast to one shape."""
    found = flags.astype(np.uint32) & np.uint32(bits)
    low, high = (0.0, np.inf) if q_range is None else q_range
    with np.errstate(invalid="ignore"):
        fitted = (status == Status.CONVERGED) & np.isfinite(tau) & (tau > 0)
        for lack, where in (
            (Lack.FAILED, ~fitted),
            (Lack.NO_ERROR, fitted & ~(np.isfinite(stderr) & (stderr > 0))),
            (Lack.NO_Q, ~(np.isfinite(q) & (q > 0))),
            (Lack.OUTSIDE_Q_RANGE, (q < low) | (q > high)),
            (Lack.OTHER_GROUP, ~member),
        ):
            found = found | np.where(where, np.uint32(lack), np.uint32(0))
    return np.asarray(found, dtype=np.uint32)


def in_words(value: int) -> list[str]:
    """Names of the set bits of `excluded`."""
    return [name for bit, name in meanings() if value & bit]
