"""Confidence band of a fitted curve: from the covariance of its parameters, or from refits of resampled data."""

from __future__ import annotations

import numpy as np

from xpcs_dask.fitting.derivatives import differences
from xpcs_dask.fitting.models import Floats
from xpcs_dask.plots.points import Fit

COVARIANCE, BOOTSTRAP = "", " (refits)"
"""What a legend says of what a band rests on."""


def band(fit: Fit, delay: Floats, level: float) -> tuple[Floats, Floats, str] | None:
    """Lower and upper edge (m,) of the band at `delay` (m,), and what it rests on; None if nothing tells.

    Notes
    -----
    Without replicates this is the delta method, value ± t sqrt(J C J'), with Student's t for covariances that know
    their size from few degrees of freedom. It holds at each delay by itself. A parameter without a standard error
    (held, or on its bound) counts as known. With replicates the edges are quantiles of the refitted curves.
    """
    if fit.replicates is not None:
        refits = fit.replicates[np.isfinite(fit.replicates).all(axis=1)]
        if len(refits) > 1:
            lines = np.stack([np.asarray(fit.model.evaluate(delay, *theta), dtype=np.float64) for theta in refits])
            low, high = np.quantile(lines, [0.5 - level / 2, 0.5 + level / 2], axis=0)
            return low, high, BOOTSTRAP
    if fit.covariance is None or not np.isfinite(np.diagonal(fit.covariance)).any():
        return None
    covariance = np.where(np.isfinite(fit.covariance), fit.covariance, 0.0)
    slopes = _slopes(fit, delay)
    variance = np.einsum("mi,ij,mj->m", slopes, covariance, slopes)
    reach = quantile(level, fit.dof) * np.sqrt(np.maximum(variance, 0.0))
    return fit(delay) - reach, fit(delay) + reach, COVARIANCE


def quantile(level: float, dof: float) -> float:
    """Half width of an interval in standard errors."""
    from scipy.special import ndtri, stdtrit

    if np.isfinite(dof) and dof > 0:
        return float(stdtrit(dof, 0.5 + level / 2))
    return float(ndtri(0.5 + level / 2))


def _slopes(fit: Fit, delay: Floats) -> Floats:
    """Jacobian (m, p)."""
    if fit.model.jacobian is not None:
        return np.nan_to_num(np.asarray(fit.model.jacobian(delay, *fit.value), dtype=np.float64))
    wide = np.full(fit.value.size, np.inf)
    return differences(fit.model, delay, fit.value, np.arange(fit.value.size), -wide, wide)
