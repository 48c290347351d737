"""What a scientist reads first: what was fitted, how well, what to distrust; in sentences with counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xpcs_dask.fitting.layout import ErrorsFrom, Flag, Status
from xpcs_dask.fitting.models import by_name
from xpcs_dask.reporting.source import File, Source
from xpcs_dask.reporting.tables import shortened
from xpcs_dask.reporting.tally import Tally, mostly
from xpcs_dask.reporting.words import ERRORS_FROM, FLAGS, STATUSES, VERDICTS, Verdict, Weight, Word
from xpcs_dask.spoken import count, plain, share

__all__ = ["Alert", "distrust", "fitted", "headline", "quality"]

ERRORS = {
    "auto": "default errors (the larger of the smoothed quoted error and that of counting)",
    "smoothed": "smoothed quoted errors",
    "quoted": "the errors that the files quote, as they are",
    "none": "equal weights",
}


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing to distrust."""

    code: str
    title: str
    number: int
    share: str
    meaning: str
    advice: str
    where: str
    level: str
    """failed, distrust or doubt."""


def headline(source: Source, tally: Tally) -> str:
    """One sentence: how many curves can be used."""
    found, total = tally.verdict_counts(), source.curves
    usable = found[Verdict.GOOD] + found[Verdict.DOUBTFUL]
    if not usable:
        return f"None of {count(total, 'curve')} can be used: what stands against them is listed below, worst first."
    text = f"{usable:,} of {count(total, 'curve')} can be used"
    if found[Verdict.DOUBTFUL]:
        text += f", {found[Verdict.DOUBTFUL]:,} of them after a look"
    return text + "."


def fitted(source: Source, tally: Tally) -> list[str]:
    """Say what was fitted."""
    files = count(tally.files, "file")
    rejected = len(source.rejected)
    text = f"{count(source.curves, 'curve')} of {files}"
    if tally.q[0] <= tally.q[1]:
        text += f", q from {plain(tally.q[0])} to {plain(tally.q[1])} 1/angstrom"
    if len(source.groups) > 1:
        text += f", in {len(source.groups)} groups with a q-map or delays of their own"
    model = str(source.attrs.get("model", "unknown"))
    record = by_name(model)
    formula = str(source.attrs.get("formula") or (record.formula if record else "unknown"))
    lines = [f"{text}. Model {model}: g2 = {written(formula)}."]
    errors = str(source.config.get("errors", "auto"))
    lines.append(f"The points were weighted with {ERRORS.get(errors, errors)}.")
    if rejected:
        lines.append(
            f"{count(rejected, 'further file')} could not be used and {'is' if rejected == 1 else 'are'} listed below."
        )
    return lines


def written(formula: str) -> str:
    """Return a formula as it is written by hand."""
    return formula.replace("**", "^").replace(" * ", " · ")


def quality(source: Source, tally: Tally) -> list[str]:
    """Say how well it was fitted."""
    found, total = tally.verdict_counts(), source.curves
    lines = [
        f"{count(number, 'curve')} ({share(number, total)}): {VERDICTS[verdict]}."
        for verdict, number in found.items()
        if number
    ]
    low, middle, high = tally.chi2_quantiles(0.05, 0.5, 0.95)
    if np.isfinite(middle):
        lines.append(
            f"Reduced chi² of the fitted curves: median {plain(middle, 3)}, from {plain(low, 3)} (5 %) to "
            f"{plain(high, 3)} (95 %); near 1 errors and model agree with the scatter; correlated delays "
            "bring it below."
        )
    rest = [(ErrorsFrom(k), int(n)) for k, n in enumerate(tally.errors_from) if n]
    if rest:
        told = ", ".join(
            f"{ERRORS_FROM[kind]} ({count(n, 'curve')})" for kind, n in sorted(rest, key=lambda one: -one[1])
        )
        lines.append(f"Standard errors rest on {told}.")
    return lines


def distrust(source: Source, tally: Tally, files: Sequence[File]) -> list[Alert]:
    """List what to distrust, worst first: curves without a fit, then flags by how much they say, then by count."""
    names, total = [file.name for file in files], source.curves
    found = []
    for status, word in STATUSES.items():
        counts = tally.status[:, int(status)]
        if status != Status.CONVERGED and (number := int(counts.sum())):
            found.append(
                _alert(str(status.name).lower(), word, number, total, mostly(counts, names), len(files), "failed")
            )
    same = {Flag.UNUSABLE} if tally.status[:, int(Status.NO_DATA)].sum() else set()  # the same curves, told above
    for weight, level in ((Weight.DISTRUST, "distrust"), (Weight.DOUBT, "doubt")):
        place = {flag: at for at, flag in enumerate(FLAGS)}
        flagged = [
            (flag, n) for flag, n in tally.flag_counts().items() if FLAGS[flag].weight == weight and flag not in same
        ]
        for flag, number in sorted(flagged, key=lambda one: -one[1]):
            most = mostly(tally.flags[:, place[flag]], names)
            found.append(_alert(str(flag.name).lower(), FLAGS[flag], number, total, most, len(files), level))
    return found


def _alert(
    code: str, word: Word, number: int, total: int, most: list[tuple[str, int]], files: int, level: str
) -> Alert:
    where = ""
    if files > 1:
        where = ("most of them in " if number > sum(n for _, n in most) else "in ") + ", ".join(
            f"{shortened(name, 40)} ({n:,})" for name, n in most
        )
    return Alert(code, word.title, number, share(number, total), word.meaning, word.advice, where, level)
