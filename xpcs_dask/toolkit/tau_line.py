"""The straight line of ln tau over ln q."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.models import Floats

POINTS = 128
BEYOND = 0.1
"""How far the line is drawn beyond the points, in ln q."""


class TauLine(tuple[Floats, Floats, Floats, Floats]):
    """`coef_`, `intercept_`, `qd_pred` and `tau_pred`, unpacked like a tuple; these and more by name, as keys."""

    KEYS = ("coef_", "intercept_", "qd_pred", "tau_pred")
    more: dict[str, Any]

    def __new__(cls, four: tuple[Floats, Floats, Floats, Floats], more: dict[str, Any]) -> TauLine:
        """Keep the four that are unpacked, and what has a name only."""
        found = super().__new__(cls, four)
        found.more = more
        return found

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self), self.more

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return super().__getitem__(key)
        return self.more[key] if key in self.more else super().__getitem__(self.KEYS.index(key))

    def keys(self) -> list[str]:
        """Names of all that can be asked for."""
        return [*self.KEYS, *self.more]


def fit_tau(qd: ArrayLike, tau: ArrayLike, tau_err: ArrayLike) -> TauLine:
    """Fit ``ln tau = coef_ ln q + intercept_``, every point weighed by 1 / (tau_err / tau)^2.

    Parameters
    ----------
    qd, tau, tau_err : array_like, shape (n,)
        q, relaxation time and its standard error. Points that are not positive and finite are not used.

    Returns
    -------
    TauLine
        A tuple ``coef_ (1, 1), intercept_ (1,), qd_pred (128,), tau_pred (128,)``; by key also ``coef_err``,
        ``intercept_err`` (standard errors, for the errors as stated), ``covariance`` of both, ``chi_squared`` and
        ``n_used``.

    Raises
    ------
    ConfigError
        With fewer than two usable points of different q.

    Notes
    -----
    The Toolkit weighed by 1/sigma, which costs a factor 2.2 in the variance of the slope, and gave no errors. For laws,
    errors of q and many files see `xpcs_dask.dispersion`.
    """
    q, time, error = (np.asarray(a, dtype=np.float64).ravel() for a in (qd, tau, tau_err))
    if not q.size == time.size == error.size:
        raise ConfigError(f"qd, tau and tau_err have {q.size}, {time.size} and {error.size} values; give as many each")
    used = np.all([np.isfinite(a) & (a > 0) for a in (q, time, error)], axis=0)
    x, y, weight = np.log(q[used]), np.log(time[used]), time[used] / error[used]
    if np.unique(x).size < 2:
        raise ConfigError(f"{int(used.sum())} of {q.size} points can be used; a slope needs two of different q")
    centre = np.average(x, weights=weight**2)
    line, matrix = np.polyfit(x - centre, y, 1, w=weight, cov="unscaled")
    turn = np.array([[1.0, 0.0], [-centre, 1.0]])
    (slope, height), covariance = turn @ line, turn @ matrix @ turn.T
    drawn = np.linspace(x.min() - BEYOND, x.max() + BEYOND, POINTS)
    slope_err, height_err = np.sqrt(np.diag(covariance))
    more = {
        "coef_err": float(slope_err),
        "intercept_err": float(height_err),
        "covariance": covariance,
        "chi_squared": float(np.sum(((y - slope * x - height) * weight) ** 2)),
        "n_used": int(used.sum()),
    }
    return TauLine((np.array([[slope]]), np.array([height]), np.exp(drawn), np.exp(slope * drawn + height)), more)
