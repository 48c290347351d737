"""What is said of D, exponents and contrast, in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from xpcs_dask.reporting.relaxation import Relaxation, can_be_asked
from xpcs_dask.reporting.source import File, Source
from xpcs_dask.reporting.tables import shortened
from xpcs_dask.reporting.tally import Tally
from xpcs_dask.spoken import count, measured, plain

__all__ = ["contrast", "relaxations"]

TOLD = 8
"""Files whose D is told in a sentence; of more, their range."""
DIFFERS = 0.05
"""Probability below which an exponent is said to differ from 2."""


def relaxations(found: Sequence[Relaxation], source: Source, files: Sequence[File], law: str) -> list[str]:
    """Say what D and the exponents are, and for how many files nothing can be said."""
    if not found:
        reasons = {can_be_asked(group) for group in source.groups.values()} - {""}
        return [f"Nothing can be said about tau(q): {'; '.join(sorted(reasons))}."] if reasons else []
    said = [one for one in found if one.said and "D_um2" in one.numbers]
    lines = []
    if len(said) <= TOLD:
        lines += [_one(one, files) for one in said]
    elif said:
        lines += _range(said, files)
    silent = [one for one in found if not one.said]
    if silent:
        lines.append(_silent(silent, found, files))
    doubted = [one for one in found if one.said and one.doubted]
    if doubted:
        lines.append(
            f"In {len(doubted):,} of {count(len(said), 'case')} the bins scatter about {law} more than their errors "
            "allow (p < 0.01): there D is a mean over what this law does not describe. Errors were enlarged to match."
        )
    return lines


def _one(one: Relaxation, files: Sequence[File]) -> str:
    value = one.numbers["D_um2"]
    text = f"{_name(one, files)}: D = {measured(value.value, value.error)} µm²/s"
    text += f" (95 %: {plain(value.low)} to {plain(value.high)}) from {one.used} of {one.bins} bins"
    if one.exponent_said:
        exponent = one.numbers["exponent"]
        agrees = "differs from 2" if one.p < DIFFERS else "agrees with 2"
        text += f"; exponent of q {measured(exponent.value, exponent.error)}, which {agrees} (p = {plain(one.p, 2)})"
    else:
        text += "; its exponent cannot be told"
    remarks = one.in_words()
    return text + (f". Mind: {'; '.join(remarks)}." if remarks else ".")


def _counted(found: Sequence[Relaxation]) -> str:
    """Count files; cases where a file has several, one for each relaxation time or segment."""
    return count(len(found), "file" if len({one.file for one in found}) == len(found) else "case")


def _name(one: Relaxation, files: Sequence[File]) -> str:
    others = [f"{name} {label}" for name, label in one.labels.items()]
    times = [one.parameter] if one.parameter != "tau" else []
    return ", ".join([shortened(files[one.file].name, 40), *others, *times])


def _range(said: Sequence[Relaxation], files: Sequence[File]) -> list[str]:
    lines = []
    for parameter in dict.fromkeys(one.parameter for one in said):
        own = sorted((one for one in said if one.parameter == parameter), key=lambda one: one.numbers["D_um2"].value)
        values = np.array([one.numbers["D_um2"].value for one in own])
        low, middle, high = (own[k] for k in (0, len(own) // 2, -1))
        lines.append(
            f"{parameter}: D of {_counted(own)}, median {plain(float(np.median(values)))} µm²/s, from "
            f"{plain(values[0])} ({_name(low, files)}) to {plain(values[-1])} ({_name(high, files)}); "
            f"typical error {_relative_error(middle)}."
        )
        exponents = [one for one in own if one.exponent_said]
        if exponents:
            differ = sum(one.p < DIFFERS for one in exponents)
            median = float(np.median([one.numbers["exponent"].value for one in exponents]))
            lines.append(
                f"The exponent of q is {median:.3f} in the median; it differs from 2 (p < {DIFFERS:g}) in "
                f"{differ} of {count(len(exponents), 'file')}, where chance alone would do so in "
                f"{DIFFERS * len(exponents):.0f}."
            )
    return lines


def _relative_error(one: Relaxation) -> str:
    """Relative error of D."""
    value = one.numbers["D_um2"]
    return f"{100 * value.error / value.value:.2g} %"


def _silent(silent: Sequence[Relaxation], found: Sequence[Relaxation], files: Sequence[File]) -> str:
    reasons: Counter[str] = Counter()
    for one in silent:
        reasons.update(one.lacking)
    bins = sum(one.bins for one in silent)
    most = ", ".join(f"{name} {number:,}" for name, number in reasons.most_common(4))
    which = ", ".join(_name(one, files) for one in silent) if len(silent) <= TOLD else ""
    text = f"D cannot be said for {len(silent)} of {_counted(found)}" + (f" ({which})" if which else "")
    return text + (
        f": of their {count(bins, 'bin')} too few can be trusted ({most}; a bin may have several)." if most else "."
    )


def contrast(tally: Tally) -> list[str]:
    """Say how large the contrast is, and whether it changes with q or from file to file."""
    known = {at: one for at, one in tally.contrast.items() if one.curves}
    if not known:
        return ["The contrast cannot be said: no curve can be believed."] if tally.contrast else []
    medians = np.array([one.median for one in known.values()])
    if len(known) == 1:
        (one,) = known.values()
        lines = [f"Contrast: median {plain(one.median, 3)} over {count(one.curves, 'curve')} that can be believed."]
    else:
        lines = [
            f"Contrast: median by file from {plain(float(medians.min()), 3)} to {plain(float(medians.max()), 3)} "
            f"({count(len(known), 'file')} with curves that can be believed, {tally.files - len(known)} without)."
        ]
    tested = [one for one in known.values() if np.isfinite(one.error)]
    falls, rises = (sum(one.trend == sign for one in tested) for sign in (-1, 1))
    if len(tested) == 1:
        (one,) = tested
        change = f"{measured(100 * one.slope, 100 * one.error)} % per factor e in q"
        trend = {-1: "falls with q", 1: "rises with q", 0: "shows no trend with q beyond its error"}[one.trend]
        lines.append(f"It {trend} ({change}).")
    elif tested and not falls + rises:
        lines.append(
            f"In none of {count(len(tested), 'file')} does it change with q by more than three standard errors."
        )
    elif tested:
        lines.append(
            f"It falls with q in {falls} and rises in {rises} of {count(len(tested), 'file')} by more than three "
            f"standard errors; in {len(tested) - falls - rises} there is no trend beyond the errors."
        )
    return lines
