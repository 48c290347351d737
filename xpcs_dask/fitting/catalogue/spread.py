"""A spread of relaxation rates, as of particles that differ in size: cumulants, and the distribution of Schulz."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpcs_dask.fitting.catalogue.siegert import BASELINE, CONTRAST, Grid, Siegert, SiegertSlopes, tau
from xpcs_dask.fitting.model_record import Model, Parameter

GONE = 700.0
"""Delays over the relaxation time at which exp(-t/tau) is nothing, whatever power of the delay multiplies it."""
SMALL = 0.05
"""Argument below which a difference of nearly equal terms is summed as a series."""

MEAN = tau(what="one over the mean rate")
SPREAD = "relative variance of the rates, (standard deviation / mean)^2"


def _cumulant2(x: Any, tau: Any, polydispersity: Any) -> Any:
    return _cumulant3(x, tau, polydispersity, 0.0)


def _cumulant2_slopes(x: Any, tau: Any, polydispersity: Any) -> tuple[Any, ...]:
    return _cumulant3_slopes(x, tau, polydispersity, 0.0)[:3]


def _cumulant3(x: Any, tau: Any, polydispersity: Any, asymmetry: Any) -> Any:
    u = np.minimum(x / tau, GONE)
    return (np.exp(-u) * (1.0 + u**2 * (polydispersity / 2.0 - asymmetry * u / 6.0))) ** 2


def _cumulant3_slopes(x: Any, tau: Any, polydispersity: Any, asymmetry: Any) -> tuple[Any, ...]:
    u = np.minimum(x / tau, GONE)
    fall = np.exp(-u)
    g1 = fall * (1.0 + u**2 * (polydispersity / 2.0 - asymmetry * u / 6.0))
    by_u = fall * u * (polydispersity - asymmetry * u / 2.0) - g1
    return g1**2, -2.0 * g1 * by_u * u / tau, g1 * fall * u**2, -g1 * fall * u**3 / 3.0


def _schulz(x: Any, tau: Any, polydispersity: Any) -> Any:
    return np.exp(-2.0 * x / tau * _log_ratio(polydispersity * x / tau))


def _schulz_slopes(x: Any, tau: Any, polydispersity: Any) -> tuple[Any, ...]:
    u = x / tau
    w = polydispersity * u
    decay = np.exp(-2.0 * u * _log_ratio(w))
    return decay, 2.0 * decay * u / (1.0 + w) / tau, 2.0 * decay * u**2 * _bend(w)


def _log_ratio(w: Any) -> Any:
    """ln(1 + w) / w, also where w is 0."""
    safe = np.where(w == 0, 1.0, w)
    return np.where(w == 0, 1.0 - w / 2.0, np.log1p(safe) / safe)


def _bend(w: Any) -> Any:
    """Minus the derivative of `_log_ratio`: [ln(1 + w) / w - 1 / (1 + w)] / w, also where w is small."""
    small = np.abs(w) < SMALL
    near, far = np.where(small, w, 0.0), np.where(small, 1.0, w)
    series = np.polyval([(-1.0) ** k * (k + 1) / (k + 2) for k in range(13, -1, -1)], near)
    return np.where(small, series, (np.log1p(far) / far - 1.0 / (1.0 + far)) / far)


_SECOND = Parameter(name="polydispersity", lower=0.0, upper=1.0, description=SPREAD)
_THIRD = Parameter(
    name="asymmetry", lower=-0.25, upper=2.0, description="third central moment of the rates / mean^3, above 0: a tail"
)
_SOURCE = (
    "D. E. Koppel, J. Chem. Phys. 57, 4814 (1972); B. J. Frisken, Appl. Opt. 40, 4087 (2001); "
    "A. G. Mailer, P. S. Clegg and P. N. Pusey, J. Phys.: Condens. Matter 27, 145102 (2015)"
)

CUMULANT2 = Model(
    name="cumulant2",
    formula="baseline + contrast * exp(-2 * t / tau) * (1 + polydispersity * (t / tau)**2 / 2)**2",
    parameters=(CONTRAST, MEAN, _SECOND, BASELINE),
    evaluate=Siegert(_cumulant2),
    jacobian=SiegertSlopes(_cumulant2_slopes),
    grid=Grid(((0.05, 0.4),)),
    source=_SOURCE,
)

CUMULANT3 = Model(
    name="cumulant3",
    formula="baseline + contrast * exp(-2 * t / tau) "
    "* (1 + polydispersity * (t / tau)**2 / 2 - asymmetry * (t / tau)**3 / 6)**2",
    parameters=(CONTRAST, MEAN, _SECOND, _THIRD, BASELINE),
    evaluate=Siegert(_cumulant3),
    jacobian=SiegertSlopes(_cumulant3_slopes),
    grid=Grid(((0.05, 0.4), (0.0, 0.2))),
    source=_SOURCE,
)

SCHULZ = Model(
    name="schulz",
    formula="baseline + contrast * (1 + polydispersity * t / tau)**(-2 / polydispersity)",
    parameters=(CONTRAST, MEAN, Parameter(name="polydispersity", lower=0.0, upper=2.25, description=SPREAD), BASELINE),
    evaluate=Siegert(_schulz),
    jacobian=SiegertSlopes(_schulz_slopes),
    grid=Grid(((0.05, 0.5, 1.5),)),
    source="P. N. Pusey and W. van Megen, J. Chem. Phys. 80, 3513 (1984); "
    "A. G. Mailer, P. S. Clegg and P. N. Pusey, J. Phys.: Condens. Matter 27, 145102 (2015)",
)
