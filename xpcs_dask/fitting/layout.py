"""What a fitted curve holds: one structured dtype per model and detail, and the codes in it.

This is the only definition; kernels, results, stores and reports all read it. Raise `SCHEMA_VERSION` and write a
migration in `xpcs_dask.results` when it changes.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Literal, TypeAlias

import numpy as np

from xpcs_dask.fitting.models import Model

SCHEMA_VERSION = 2

Detail: TypeAlias = Literal["core", "full"]


class Status(IntEnum):
    """How the fit of one curve ended; only `CONVERGED` comes with numbers."""

    NOT_FITTED = 0
    """Nothing has been tried."""
    CONVERGED = 1
    """A minimum was found."""
    NO_DATA = 2
    """No point could be used."""
    TOO_FEW_POINTS = 3
    """Fewer usable points than free parameters plus one."""
    NOT_CONVERGED = 4
    """No rung of the ladder ended in a minimum."""
    MODEL_FAILED = 5
    """The model raised, or was not finite at the start."""


class Rung(IntEnum):
    """Which attempt won."""

    NONE = 0
    """There is no fit."""
    COMPILED = 1
    """The compiled kernel, from its first starts."""
    TWIN = 2
    """The NumPy twin of the compiled kernel (no Numba installed)."""
    STARTS = 3
    """Compiled, from more starts."""
    TRF = 4
    """scipy: trust region with exact derivatives."""
    LM = 5
    """scipy: Levenberg-Marquardt."""
    EVOLUTION = 6
    """scipy: differential evolution, and a polish of what it found."""


class ErrorsFrom(IntEnum):
    """What the standard errors of a curve rest on."""

    UNKNOWN = 0
    """There is no fit, or it is from a version that did not say."""
    WALD = 1
    """The errors of the points, as they are, independent."""
    SCALED = 2
    """The same, up to a common factor from the residuals."""
    HC3 = 3
    """The residuals, delay by delay, as if these were independent."""
    THEORY = 4
    """Theory of the noise: the fitted decay, counts and frames."""
    CLUSTER = 5
    """The scatter of clusters (pixels, segments, repeats) of the bin."""
    M_ESTIMATOR = 6
    """The residuals and the robust loss."""
    GLS = 7
    """Theory of the noise, which weighs the points too."""
    BOOTSTRAP = 8
    """The scatter of refits of resampled data."""


class Flag(IntFlag):
    """What to distrust about one curve; 0 means nothing was found."""

    AT_BOUND = 1
    """A free parameter ended on its bound; its error is NaN."""
    UNIDENTIFIABLE = 2
    """A relaxation time outside the used delays, no contrast, or a singular normal matrix."""
    POOR_FIT = 4
    """Reduced chi2 improbably large (p < 1e-6) with absolute errors."""
    ONE_POINT_DOMINATES = 8
    """One point holds more than a quarter of the weight."""
    SECOND_COMPONENT_NOT_ESTABLISHED = 16
    """A double fit whose second component is not significant (F < 10), or sits on a bound of its exponent."""
    POINTS_EXCLUDED = 32
    """At least one finite point was not used; see n_used."""
    STARTS_DISAGREE = 64
    """Two starts ended in different minima; the lower one is reported."""
    STARVED = 128
    """Fewer than 10 coincidences expected at the shortest delay: the noise is Poisson's, not Gaussian."""
    UNUSABLE = 256
    """Fewer than 6 delays could be used; the curve is not fitted."""
    ERROR_UNRELIABLE = 512
    """At most delays the quoted error is less than half the counting error; it was replaced."""
    SCATTER_EXCESS = 1024
    """Second differences scatter more than the errors allow (spike, drift, beam noise); errors were enlarged."""
    WEAK = 2048
    """A decay saves 12 to 30 in chi2 over a constant: more than noise, but its time may be far off."""
    NO_SIGNAL = 4096
    """A decay saves less than 12 in chi2 over a constant: noise does as much."""
    SLOW = 8192
    """A relaxation time longer than a tenth of the run: one record holds too few decays to tell it."""
    FEW_POINTS = 16384
    """Fewer points used than twice the free parameters."""
    COUNTS_UNKNOWN = 32768
    """The format does not tell products or counts; the error model had the scatter of the curve to go by."""
    DELAYS_ASSUMED_INDEPENDENT = 65536
    """Standard errors are from the residuals as if delays were independent (HC3): too small in bright data."""
    GLS_NOT_POSSIBLE = 131072
    """Generalised least squares was asked for, but counts are not known; the fit has diagonal weights."""
    INTERVAL_OPEN = 262144
    """An interval ends on the bound of a parameter: the data do not limit it on that side."""
    FEW_CLUSTERS = 524288
    """Standard errors rest on the scatter of fewer than 8 clusters."""
    OUTLIERS = 1048576
    """At least one point was left out as an outlier (see quality)."""
    TOLERANCE_NOT_REACHED = 2097152
    """The bootstrap stopped before both ends of every interval were known to the tolerance asked for."""


RESAMPLED: tuple[tuple[str, str], ...] = (
    ("resamples", "<i4"),
    ("failed", "<i4"),
    ("clusters", "<i4"),
    ("monte_carlo_error", "<f4"),
)
"""What a bootstrap says of a curve beyond what a fit does."""


def flag_names(value: int) -> list[str]:
    """Names of the set bits, lower case."""
    return [f.name.lower() for f in Flag if value & f and f.name]


def pairs(n_parameters: int) -> int:
    """Length of a packed lower triangle."""
    return n_parameters * (n_parameters + 1) // 2


def fit_dtype(model: Model, detail: Detail = "core", interval: bool = False) -> np.dtype[np.void]:
    """Structured dtype of one fitted curve.

    ``core`` is what every result has (95 bytes for 4 parameters); ``full`` adds the covariance (packed lower triangle,
    row by row) and the reduced chi2 and information criteria; `interval` the lower and upper end for each parameter.
    """
    p = len(model.parameters)
    fields: list[tuple[str, str, tuple[int, ...]]] = [
        ("value", "<f8", (p,)),
        ("stderr", "<f8", (p,)),
        ("chi2", "<f8", ()),
        ("dof", "<i4", ()),
        ("n_used", "<i4", ()),
        ("evaluations", "<i4", ()),
        ("flags", "<u4", ()),
        ("status", "i1", ()),
        ("rung", "i1", ()),
        ("errors_from", "i1", ()),
        ("errors_dof", "<f4", ()),
    ]
    if interval:
        fields.append(("interval", "<f8", (p, 2)))
    if detail == "full":
        fields += [
            ("covariance", "<f8", (pairs(p),)),
            ("reduced_chi2", "<f8", ()),
            ("aicc", "<f8", ()),
            ("bic", "<f8", ()),
        ]
    return np.dtype(fields)
