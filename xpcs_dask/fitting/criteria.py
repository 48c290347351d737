"""Information criteria of a fit: one definition for errors that are known and for errors up to a factor."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from xpcs_dask.config import FitConfig
from xpcs_dask.fitting.models import Floats


def scale_known(config: FitConfig) -> bool:
    """Whether errors are taken as they are, rather than up to a factor."""
    return config.absolute_sigma and config.errors != "none" and config.covariance != "scaled"


def aic(chi2: ArrayLike, n_free: ArrayLike, n_used: ArrayLike, scale_known: bool = True) -> Floats:
    """Akaike criterion, L + 2k with L and k as for `aicc`; NaN without points."""
    n, k = np.asarray(n_used, dtype=np.float64), _parameters(n_free, scale_known)
    return np.where(n > 0, _misfit(chi2, n, scale_known) + 2.0 * k, np.nan)


def aicc(chi2: ArrayLike, n_free: ArrayLike, n_used: ArrayLike, scale_known: bool = True) -> Floats:
    """Corrected Akaike criterion, L + 2k + 2k(k+1)/(n-k-1) [1]_; NaN where n <= k + 1.

    L is -2 ln(likelihood) but for a constant: with known errors chi2, and k the number of fitted parameters; with
    errors up to a factor n ln(chi2/n), and the factor counts as one more parameter.

    References
    ----------
    .. [1] K. P. Burnham and D. R. Anderson, Model Selection and Multimodel Inference (Springer, 2002).
    """
    n, k = np.asarray(n_used, dtype=np.float64), _parameters(n_free, scale_known)
    rest = n - k - 1.0
    return np.where(
        rest > 0, _misfit(chi2, n, scale_known) + 2.0 * k * (1.0 + (k + 1.0) / np.maximum(rest, 1.0)), np.nan
    )


def bic(chi2: ArrayLike, n_free: ArrayLike, n_used: ArrayLike, scale_known: bool = True) -> Floats:
    """Bayesian criterion, L + k ln n with L and k as for `aicc`; NaN without points."""
    n, k = np.asarray(n_used, dtype=np.float64), _parameters(n_free, scale_known)
    return np.where(n > 0, _misfit(chi2, n, scale_known) + k * np.log(np.maximum(n, 1.0)), np.nan)


def hqic(chi2: ArrayLike, n_free: ArrayLike, n_used: ArrayLike, scale_known: bool = True) -> Floats:
    """Criterion of Hannan and Quinn, L + 2k ln ln n [1]_ with L and k as for `aicc`; NaN with fewer than 3 points.

    References
    ----------
    .. [1] E. J. Hannan and B. G. Quinn, J. R. Stat. Soc. B 41, 190 (1979).
    """
    n, k = np.asarray(n_used, dtype=np.float64), _parameters(n_free, scale_known)
    return np.where(n > 2, _misfit(chi2, n, scale_known) + 2.0 * k * np.log(np.log(np.maximum(n, 3.0))), np.nan)


def _parameters(n_free: ArrayLike, scale_known: bool) -> Floats:
    return np.asarray(n_free, dtype=np.float64) + (0.0 if scale_known else 1.0)


def _misfit(chi2: ArrayLike, n: Floats, scale_known: bool) -> Floats:
    """Return -2 ln(likelihood), less what all models of the same points share."""
    total = np.asarray(chi2, dtype=np.float64)
    if scale_known:
        return total
    return n * np.log(np.maximum(total, np.finfo(np.float64).tiny) / np.maximum(n, 1.0))
