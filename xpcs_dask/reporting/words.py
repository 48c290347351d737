"""What codes of results mean in words, how much they matter, and what to do about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.layout import ErrorsFrom, Flag, Status
from xpcs_dask.physics.law_record import Note
from xpcs_dask.physics.used_bins import Lack

__all__ = ["ERRORS_FROM", "FLAGS", "LACKS", "NOTES", "STATUSES", "Verdict", "Weight", "Word", "verdicts"]


class Weight(IntEnum):
    """How much a flag says against a curve."""

    NOTE = 1
    """Something was done about it, or it says how far errors can be trusted."""
    DOUBT = 2
    """The numbers may be used after a look."""
    DISTRUST = 3
    """The relaxation time, or its error, is not to be believed."""


@dataclass(frozen=True, slots=True)
class Word:
    """A code in words."""

    title: str
    meaning: str
    advice: str
    weight: Weight = Weight.NOTE


NOTE, DOUBT, DISTRUST = Weight.NOTE, Weight.DOUBT, Weight.DISTRUST

FLAGS: Mapping[Flag, Word] = {
    Flag.NO_SIGNAL: Word(
        "no signal",
        "A decay describes the curve hardly better than a constant does (it saves less than 12 in chi²): noise does as "
        "much.",
        "Do not use these relaxation times. Measure longer or with more photons, or average repeats or neighbouring "
        "bins.",
        DISTRUST,
    ),
    Flag.UNIDENTIFIABLE: Word(
        "relaxation time not identifiable",
        "A relaxation time lies outside the delays that were used, or the data leave a combination of parameters open.",
        "Do not use these relaxation times. Measure over longer or shorter delays, hold a parameter (--fix), or take a "
        "model with fewer.",
        DISTRUST,
    ),
    Flag.AT_BOUND: Word(
        "at a bound",
        "A free parameter ended on the edge of its allowed range: its value is that edge and it has no error.",
        "Look at the curve. Widen the range (--bounds) if values beyond make sense, or hold the parameter (--fix).",
        DISTRUST,
    ),
    Flag.ONE_POINT_DOMINATES: Word(
        "one point dominates",
        "One point holds more than a quarter of the weight, so it decides the fit.",
        'Fit with the default errors (errors="auto"): quoted errors collapse where few products were averaged.',
        DISTRUST,
    ),
    Flag.SECOND_COMPONENT_NOT_ESTABLISHED: Word(
        "second component not established",
        "The second decay is not significant (F below 10), or its exponent sits on a bound.",
        "Take the numbers of the model single for these curves.",
        DISTRUST,
    ),
    Flag.STARTS_DISAGREE: Word(
        "several minima",
        "Fits from two starts ended in different minima; the lower one is reported.",
        "Look at the curve; fit with --search thorough, or restrict the range of tau (--bounds).",
        DISTRUST,
    ),
    Flag.WEAK: Word(
        "weak signal",
        "A decay saves 12 to 30 in chi² over a constant: more than noise, but its time may be far off.",
        "Trust no single such curve. Average repeats, or fit all bins together (xpcs_dask.joint).",
        DISTRUST,
    ),
    Flag.SLOW: Word(
        "slow for the run",
        "The relaxation time is longer than a tenth of the run: one record holds too few decays to tell it.",
        "Measure longer, or average many runs; time and error of one run are both off.",
        DISTRUST,
    ),
    Flag.UNUSABLE: Word(
        "unusable",
        "Fewer than 6 delays could be used; the curve was not fitted.",
        "The bin holds too few photons: make bins larger, or measure longer.",
        DISTRUST,
    ),
    Flag.POOR_FIT: Word(
        "poor fit",
        "The curve lies farther from the model than its errors allow (probability below one in a million).",
        "Look at the residuals. Try another model (xpcs-dask compare), or a robust fit (--robust clip) against spikes.",
        DOUBT,
    ),
    Flag.SCATTER_EXCESS: Word(
        "scatters too much",
        "Neighbouring points scatter more than their errors allow (spikes, drift, beam noise); errors were enlarged.",
        "Look at the curve and at the beam; consider --robust clip.",
        DOUBT,
    ),
    Flag.STARVED: Word(
        "starved of photons",
        "Fewer than 10 coincidences are expected at the shortest delay: the noise is Poisson's, not Gaussian.",
        "Take intervals from --interval profile or a bootstrap instead of standard errors.",
        DOUBT,
    ),
    Flag.FEW_POINTS: Word(
        "few points",
        "Fewer points were used than twice the number of free parameters.",
        "Hold parameters that are known (--fix), or take a model with fewer.",
        DOUBT,
    ),
    Flag.DELAYS_ASSUMED_INDEPENDENT: Word(
        "delays taken as independent",
        "Standard errors come from the residuals as if neighbouring delays were independent: in bright data they are "
        "too small by a factor of two and more.",
        "Use files that tell counts, or repeats or pixels (xpcs-dask average, regroup), which give true errors.",
        DOUBT,
    ),
    Flag.FEW_CLUSTERS: Word(
        "few clusters",
        "Standard errors rest on the scatter of fewer than 8 pixels, segments or repeats.",
        "Take more of them, and intervals of kind t.",
        DOUBT,
    ),
    Flag.OUTLIERS: Word(
        "outliers left out",
        "At least one point was left out as an outlier.",
        "Look whether the points left out are spikes or belong to the decay.",
        DOUBT,
    ),
    Flag.INTERVAL_OPEN: Word(
        "interval is open",
        "An interval ends on the bound of a parameter: the data do not limit it on that side.",
        "Read such an interval as one-sided, or widen the range (--bounds).",
        DOUBT,
    ),
    Flag.TOLERANCE_NOT_REACHED: Word(
        "bootstrap stopped early",
        "The ends of an interval are known less well than was asked for.",
        "Allow more refits (max_resamples), or a larger tolerance.",
        DOUBT,
    ),
    Flag.ERROR_UNRELIABLE: Word(
        "quoted errors too small",
        "At most delays the quoted error is less than half the error of counting; it was replaced by that.",
        "Nothing for this fit; do not use the quoted errors of these curves elsewhere.",
    ),
    Flag.COUNTS_UNKNOWN: Word(
        "counts unknown",
        "The format does not tell products or counts; errors rest on the quoted ones and the scatter of the curve.",
        "Nothing, if the quoted errors are good; results of the format aps_nexus tell counts.",
    ),
    Flag.GLS_NOT_POSSIBLE: Word(
        "no generalised least squares",
        "Generalised least squares needs counts, which are not known; the weights are diagonal.",
        "Nothing, or use files that tell counts.",
    ),
    Flag.POINTS_EXCLUDED: Word(
        "points not used",
        "At least one point has no weight (few products or coincidences, an error of zero); n_used says how many have.",
        "Nothing; in real files the last delays are nearly always among them.",
    ),
}
"""Every flag of a curve, worst first."""

STATUSES: Mapping[Status, Word] = {
    Status.NOT_CONVERGED: Word(
        "did not converge",
        "No attempt ended in a minimum.",
        "Look at the curve; try --search thorough or other bounds.",
    ),
    Status.MODEL_FAILED: Word(
        "model failed", "The model raised an error or was not finite at the start.", "Mend the model or its bounds."
    ),
    Status.NO_DATA: Word(
        "no data",
        "No point, or too few, could be used: values or errors are missing, zero, or rest on too few coincidences.",
        "The bin holds too few photons or is masked: make bins larger, or leave it out (--q-range).",
    ),
    Status.TOO_FEW_POINTS: Word(
        "too few points",
        "Fewer usable points than free parameters plus one.",
        "Widen --delay-range, or hold parameters (--fix).",
    ),
    Status.NOT_FITTED: Word("not fitted", "The curve was not reached.", "Run the job again: it goes on."),
    Status.CONVERGED: Word("converged", "The fit ended in a minimum.", ""),
}
"""Every end of a fit."""

ERRORS_FROM: Mapping[ErrorsFrom, str] = {
    ErrorsFrom.UNKNOWN: "nothing that is known",
    ErrorsFrom.WALD: "the errors of the points, taken as they are and independent",
    ErrorsFrom.SCALED: "the errors of the points up to a common factor from the residuals",
    ErrorsFrom.HC3: "the residuals, delay by delay, taken as independent",
    ErrorsFrom.THEORY: "theory of the noise: the fitted decay, counts and frames",
    ErrorsFrom.CLUSTER: "the scatter between pixels, segments or repeats",
    ErrorsFrom.M_ESTIMATOR: "the residuals and the robust loss",
    ErrorsFrom.GLS: "theory of the noise, which weighs the points too",
    ErrorsFrom.BOOTSTRAP: "the scatter of refits of resampled data",
}
"""What standard errors rest on."""

NOTES: Mapping[Note, str] = {
    Note.TOO_FEW_BINS: "too few bins can be trusted",
    Note.NOT_CONVERGED: "the fit of the law did not end",
    Note.UNDETERMINED: "the error is larger than the value",
    Note.LAW_DOUBTFUL: "the bins scatter about the law more than their errors allow: it does not hold as it stands",
    Note.ONE_BIN_DOMINATES: "one bin holds more than half of the weight",
    Note.SCATTER_UNKNOWN: "as many bins as parameters: nothing tells whether the law holds",
    Note.FEW_BINS: "few bins: the scatter tells little",
    Note.NEGATIVE_TERM: "a term came out negative: the data do not ask for it",
    Note.NARROW_RANGE: "q spans less than a factor of 1.5",
}
"""What is to be said about tau(q) of a file."""

LACKS: Mapping[Lack, str] = {
    Lack.FAILED: "no fit",
    Lack.NO_ERROR: "no standard error",
    Lack.NO_Q: "q unknown",
    Lack.OUTSIDE_Q_RANGE: "outside the range of q",
    Lack.OTHER_GROUP: "another group",
}
"""Why a bin has no say in tau(q), beside its flags."""


class Verdict(IntEnum):
    """What a curve is good for, from its status and its flags."""

    GOOD = 0
    DOUBTFUL = 1
    DISTRUSTED = 2
    FAILED = 3


VERDICTS: Mapping[Verdict, str] = {
    Verdict.GOOD: "fitted, and nothing speaks against the numbers",
    Verdict.DOUBTFUL: "fitted, to be used after a look",
    Verdict.DISTRUSTED: "fitted, but the relaxation time or its error is not to be believed",
    Verdict.FAILED: "no fit: there are no numbers",
}


def verdicts(status: NDArray[Any], flags: NDArray[Any]) -> NDArray[np.int8]:
    """`Verdict` of each curve."""
    found = np.where(flags & mask(Weight.DOUBT), Verdict.DOUBTFUL, Verdict.GOOD)
    found = np.where(flags & mask(Weight.DISTRUST), Verdict.DISTRUSTED, found)
    return np.where(status == Status.CONVERGED, found, Verdict.FAILED).astype(np.int8)


def mask(weight: Weight) -> np.uint32:
    """Bits of the flags of that weight."""
    return np.uint32(sum(int(flag) for flag, word in FLAGS.items() if word.weight == weight))
