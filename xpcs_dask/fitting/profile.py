r"""Profile-likelihood intervals: where holding one parameter costs as much as the level allows.

With all other parameters at their best, chi2 rises as one is moved away from its estimate. The ends of its interval are
where it has risen by the quantile of chi2(1), or of F(1, dof) times chi2/dof where errors are only relative. On a
parabola this is the estimate -+ t standard errors; where the valley is lopsided or flat it is not, and a parameter that
can go to the bound of its box without costing that much has an open end.

chi2 takes delays as independent. Where the standard errors of a fit know better (theory of the noise, clusters), the
rise is that of t standard errors on a parabola: the likelihood ratio is scaled by their variance over the plain one.

References
----------
D. M. Bates and D. G. Watts, Nonlinear Regression Analysis and Its Applications (1988), chapter 6.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.config import FitConfig
from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.interval_kinds import student_quantile
from xpcs_dask.fitting.layout import Status
from xpcs_dask.fitting.models import Floats, Model
from xpcs_dask.fitting.profile_fits import Profiled, profiled
from xpcs_dask.fitting.profile_walk import Walk


def profile_intervals(
    rows: NDArray[np.void],
    x: Any,
    y: Floats,
    weight: Floats,
    model: Model,
    config: FitConfig,
    lower: Floats,
    upper: Floats,
    level: float,
    plain: Floats | None = None,
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Profile-likelihood intervals of every free parameter of every curve.

    Parameters
    ----------
    rows : array of `layout.fit_dtype`, shape (n,)
        Fits; those that did not converge have NaN ends.
    x, y, weight, model, config, lower, upper
        As for `strategy.fit_stack`. Errors are absolute unless `config` says otherwise: ``absolute_sigma=False``,
        ``errors="none"`` or ``covariance="scaled"``.
    level : float
        Coverage, 0 to 1.
    plain : array, shape (n, p), optional
        Standard errors that the normal matrix says. With it the rise of chi2 is that of ``stderr`` and ``errors_dof``
        in `rows`: the square of t times stderr / plain.

    Returns
    -------
    low, high : array, shape (n, p)
        Zero width for held parameters.
    open : array of bool, shape (n, p, 2)
        Ends that were not met before the bound of the box, which is given in their place (infinite without one).

    Raises
    ------
    ConfigError
        With a robust loss, whose sum is no likelihood.
    """
    if config.loss != "linear":
        raise ConfigError(
            f"interval: 'profile' needs the linear loss, not '{config.loss}'; "
            "use robust='clip', or interval='covariance'"
        )
    low, high = rows["value"].copy(), rows["value"].copy()
    is_open = np.zeros((*low.shape, 2), np.bool_)
    good, free = np.flatnonzero(rows["status"] == Status.CONVERGED), np.flatnonzero(lower < upper)
    low[rows["status"] != Status.CONVERGED] = high[rows["status"] != Status.CONVERGED] = np.nan
    if not (good.size and free.size):
        return low, high, is_open
    fits = profiled(x, y[good], weight[good], rows["value"][good], model, lower, upper)
    curve, k, side = (a.ravel() for a in np.meshgrid(np.arange(good.size), free, [0, 1], indexing="ij"))
    rise = (
        _rise(rows[good], fits, config, level)[curve] if plain is None else _wider(rows, plain, level)[good[curve], k]
    )
    walk = Walk(fits, curve, fits.position[k], np.where(side, 1.0, -1.0), rise)
    walk.run()
    times = np.array([p.relaxation_time for p in model.parameters])
    bound = np.where(side, upper[k], lower[k])
    with np.errstate(over="ignore"):
        end = np.where(times[k], np.exp(np.where(times[k], walk.end, 0.0)), walk.end)
    end = np.where(walk.open, bound, np.clip(end, lower[k], upper[k]))
    for which, ends in ((0, low), (1, high)):
        here = side == which
        ends[good[curve[here]], k[here]] = end[here]
    is_open[good[curve], k, side] = walk.open
    return low, high, is_open


def _rise(rows: NDArray[np.void], fits: Profiled, config: FitConfig, level: float) -> Floats:
    """Square root of the rise of chi2 at the ends, (n,)."""
    alpha = 0.5 * (1.0 - level)
    if config.absolute_sigma and config.errors != "none" and config.covariance != "scaled":
        return np.full(len(rows), student_quantile(np.inf, alpha))
    dof = rows["dof"].astype(np.float64)
    return student_quantile(dof, alpha) * np.sqrt(fits.chi2 / np.maximum(dof, 1.0))


def _wider(rows: NDArray[np.void], plain: Floats, level: float) -> Floats:
    """Square root of the rise of chi2 (n, p) by what is known of the errors beyond the normal matrix.

    To first order the profile then agrees with t times the standard error, whatever that knows of correlated delays; a
    parameter without a standard error (on a bound) takes the middle of the others.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(plain > 0, rows["stderr"] / plain, np.nan)
    known = np.isfinite(ratio) & (ratio > 0)
    ordered = np.sort(np.where(known, ratio, np.inf), axis=1)
    middle = ordered[np.arange(len(rows)), np.maximum(known.sum(axis=1) - 1, 0) // 2]
    ratio = np.where(known, ratio, np.where(np.isfinite(middle), middle, 1.0)[:, None])
    dof = np.where(np.isnan(rows["errors_dof"]), np.inf, rows["errors_dof"])
    return ratio * student_quantile(dof, 0.5 * (1.0 - level))[:, None]
