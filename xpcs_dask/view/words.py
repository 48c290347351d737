"""Codes of results, in the words of a report, for the person who looks."""

from __future__ import annotations

from collections.abc import Iterator

from xpcs_dask.fitting.layout import ErrorsFrom, Flag, Status
from xpcs_dask.reporting.words import ERRORS_FROM, FLAGS, STATUSES, Weight

__all__ = ["flags_in_words", "rests_on", "status_in_words"]


def status_in_words(code: int) -> str:
    """How a fit ended."""
    word = STATUSES[Status(code)]
    return f"{word.title}: {word.meaning}"


def flags_in_words(bits: int) -> Iterator[tuple[str, bool]]:
    """Give a sentence for each flag, the worst first, and whether it asks for distrust; unknown ones by number."""
    if unknown := bits & ~sum(Flag):
        yield f"flags of a later version ({unknown})", True
    for flag, word in FLAGS.items():
        if bits & flag:
            yield f"{word.title}: {word.meaning}", word.weight > Weight.NOTE


def rests_on(code: int) -> str:
    """Say what standard errors rest on."""
    return ERRORS_FROM[ErrorsFrom(code)]
