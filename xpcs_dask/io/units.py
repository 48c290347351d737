"""Units that files state or users tell, as factors to s and 1/angstrom; what is not known is refused, not guessed."""

from __future__ import annotations

from collections.abc import Mapping

from xpcs_dask.errors import FileRejected
from xpcs_dask.io.schema import PER_ANGSTROM, SECONDS

OPTIONS: dict[str, Mapping[str, float]] = {"delay_unit": SECONDS, "q_unit": PER_ANGSTROM}
"""Units that each option of `open_g2` may name."""

SHOWN: dict[str, str] = {"delay_unit": "s, ms, us, ns", "q_unit": "1/angstrom, 1/nm, 1/m"}
"""What messages say is known: one spelling of each."""


def factor(unit: str, known: Mapping[str, float]) -> float | None:
    """Factor of a unit, however it is spaced and capitalised; None if it is not known."""
    return known.get("".join(unit.lower().split()))


def to_seconds(path: str, what: str, stated: str, told: str = "") -> float:
    """Factor to seconds of the unit that a file states or else the user tells."""
    return _resolve(path, what, "delay_unit", stated, told)


def to_per_angstrom(path: str, what: str, stated: str, told: str = "") -> float:
    """Factor to 1/angstrom of the unit that a file states or else the user tells."""
    return _resolve(path, what, "q_unit", stated, told)


def _resolve(path: str, what: str, option: str, stated: str, told: str) -> float:
    known = OPTIONS[option]
    if not stated and not told:
        raise FileRejected(path, f"it does not state the unit of {what}; tell it with {option}= ({SHOWN[option]})")
    for unit in filter(None, (stated, told)):
        if factor(unit, known) is None:
            raise FileRejected(path, f"the unit {unit!r} of {what} is not known; known are {SHOWN[option]}")
    found, wanted = factor(stated or told, known), factor(told or stated, known)
    if found is None or found != wanted:
        raise FileRejected(path, f"it states {stated!r} as unit of {what}, but {option}= says {told!r}; leave that out")
    return found
