"""Codes of results, in words for the person who looks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from xpcs_dask.fitting.layout import ErrorsFrom, Flag, Status

__all__ = ["flags_in_words", "rests_on", "status_in_words"]

STATUS: Mapping[Status, str] = {
    Status.NOT_FITTED: "nothing was fitted",
    Status.CONVERGED: "converged: a minimum",
    Status.NO_DATA: "no point could be used",
    Status.TOO_FEW_POINTS: "not more usable points than free parameters",
    Status.NOT_CONVERGED: "no attempt ended in a minimum",
    Status.MODEL_FAILED: "the model raised, or was not finite at the start",
}
FLAGS: Mapping[Flag, str] = {
    Flag.AT_BOUND: "a free parameter ended on its bound; it has no error",
    Flag.UNIDENTIFIABLE: "the data do not tell a parameter: a time outside the used delays, or no contrast",
    Flag.POOR_FIT: "chi2 is improbably large: the model does not describe the curve, or errors are too small",
    Flag.ONE_POINT_DOMINATES: "one point holds more than a quarter of the weight",
    Flag.SECOND_COMPONENT_NOT_ESTABLISHED: "the second component is not significant",
    Flag.POINTS_EXCLUDED: "points were left out by rule (grey in the figure, with the reason)",
    Flag.STARTS_DISAGREE: "two starts ended in different minima; the lower one is shown",
    Flag.STARVED: "fewer than 10 coincidences at the shortest delay: the noise is not Gaussian",
    Flag.UNUSABLE: "fewer than 6 delays could be used",
    Flag.ERROR_UNRELIABLE: "most quoted errors are less than half the counting error; they were replaced",
    Flag.SCATTER_EXCESS: "more scatter from delay to delay than the errors allow; they were enlarged",
    Flag.WEAK: "a weak decay: more than noise, but its time may be far off",
    Flag.NO_SIGNAL: "no signal: noise looks like this too",
    Flag.SLOW: "a relaxation time longer than a tenth of the run: too few decays to tell it",
    Flag.FEW_POINTS: "fewer points than twice the free parameters",
    Flag.COUNTS_UNKNOWN: "counts are not known; the scatter of the curve stood in for them",
    Flag.DELAYS_ASSUMED_INDEPENDENT: "standard errors as if delays were independent: too small in bright data",
    Flag.GLS_NOT_POSSIBLE: "generalised least squares needs counts; diagonal weights were taken",
    Flag.INTERVAL_OPEN: "an interval ends on the bound of a parameter",
    Flag.FEW_CLUSTERS: "standard errors rest on fewer than 8 clusters",
    Flag.OUTLIERS: "points were left out as outliers",
    Flag.TOLERANCE_NOT_REACHED: "the bootstrap stopped before its intervals were known to the tolerance",
}
INFORMS = (Flag.POINTS_EXCLUDED,)
"""Flags that say what was done, and are no reason for distrust."""
RESTS_ON: Mapping[ErrorsFrom, str] = {
    ErrorsFrom.UNKNOWN: "not known",
    ErrorsFrom.WALD: "the errors of the points as they are",
    ErrorsFrom.SCALED: "the errors of the points up to a factor",
    ErrorsFrom.HC3: "the residuals (HC3)",
    ErrorsFrom.THEORY: "theory of the noise",
    ErrorsFrom.CLUSTER: "the scatter of clusters",
    ErrorsFrom.M_ESTIMATOR: "the residuals and the robust loss",
    ErrorsFrom.GLS: "theory of the noise, which weighs the points too",
    ErrorsFrom.BOOTSTRAP: "refits of resampled data",
}


def status_in_words(code: int) -> str:
    """How a fit ended."""
    return STATUS[Status(code)]


def flags_in_words(bits: int) -> Iterator[tuple[str, bool]]:
    """Give a sentence for each flag, and whether it asks for distrust; flags of later versions by their number."""
    for flag in Flag:
        if bits & flag:
            yield FLAGS[flag], flag not in INFORMS
    if unknown := bits & ~sum(Flag):
        yield f"flags of a later version ({unknown})", True


def rests_on(code: int) -> str:
    """Say what standard errors rest on."""
    return RESTS_ON[ErrorsFrom(code)]
