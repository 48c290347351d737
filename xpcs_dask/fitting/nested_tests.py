"""Does a larger model explain more than noise would: likelihood-ratio and Wald tests of its additional parameters."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.layout import Status
from xpcs_dask.fitting.models import Floats, Model


def likelihood_ratio(small: NDArray[np.void], large: NDArray[np.void], scale_known: bool) -> tuple[Floats, Floats]:
    """Statistic and p of what the larger model saves in chi2, as if delays were independent.

    With errors that are known it is that difference, chi-squared distributed; with errors up to a factor, the F of it.
    NaN unless both fits converged.
    """
    from scipy.special import chdtrc, fdtrc

    extra = np.where(small["dof"] > large["dof"], small["dof"] - large["dof"], 1).astype(np.float64)
    saved = np.maximum(small["chi2"] - large["chi2"], 0.0)
    both = (small["status"] == Status.CONVERGED) & (large["status"] == Status.CONVERGED)
    with np.errstate(divide="ignore", invalid="ignore"):
        if scale_known:
            statistic, p = saved, chdtrc(extra, saved)
        else:
            both &= large["dof"] > 0
            dof = np.maximum(large["dof"], 1).astype(np.float64)
            statistic = saved / extra / (large["chi2"] / dof)
            p = fdtrc(extra, dof, statistic)
    return np.where(both, statistic, np.nan), np.where(both, p, np.nan)


def wald(rows: NDArray[np.void], model: Model, null: Mapping[str, float]) -> tuple[Floats, Floats]:
    r"""Statistic and p of parameters of a fit being at their values in `null`, from the covariance that the fit has.

    The statistic is :math:`T^2 = \delta^T V^{-1} \delta`, relaxation times in their logarithm. Hotelling's distribution
    gives p: :math:`T^2 (\nu - k + 1) / (\nu k)` is F with k and :math:`\nu - k + 1` degrees of freedom, :math:`\nu`
    being that of the covariance (clusters less one, infinite for errors as they are); for one parameter, Student's t.

    References
    ----------
    .. [1] H. Hotelling, Ann. Math. Stat. 2, 360 (1931).
    """
    from scipy.special import fdtrc

    places = [model.index(name) for name in null]
    times = np.array([model.parameters[k].relaxation_time for k in places])
    value, target = rows["value"][:, places], np.array(list(null.values()))
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.where(times, np.log(value / target), value - target)
        scale = np.where(times, 1.0 / value, 1.0)
    high, low = np.maximum.outer(places, places), np.minimum.outer(places, places)
    covariance = rows["covariance"][:, high * (high + 1) // 2 + low] * scale[:, :, None] * scale[:, None, :]
    statistic = _square(off, covariance)
    k, nu = len(places), rows["errors_dof"].astype(np.float64)
    rest = np.minimum(nu - k + 1.0, 1e8)  # 1e8 degrees of freedom are as good as infinite
    with np.errstate(invalid="ignore"):
        known = np.isfinite(statistic) & (rest > 0)
        ratio = np.where(known, statistic * np.where(np.isfinite(nu), rest / nu, 1.0) / k, 0.0)
    p = fdtrc(float(k), np.where(known, rest, 1.0), ratio)
    return np.where(known, statistic, np.nan), np.where(known, p, np.nan)


def _square(off: Floats, covariance: Floats) -> Floats:
    """Return ``off' V^-1 off`` of every curve; NaN where V is not positive."""
    size = np.sqrt(np.where(np.einsum("iaa->ia", covariance) > 0, np.einsum("iaa->ia", covariance), np.nan))
    unit = covariance / (size[:, :, None] * size[:, None, :])
    good = np.isfinite(unit).all(axis=(1, 2)) & np.isfinite(off).all(axis=1)
    values, vectors = np.linalg.eigh(np.where(good[:, None, None], unit, np.eye(off.shape[1])))
    total = np.zeros(len(off))
    for k in range(off.shape[1]):
        along = np.zeros(len(off))
        for a in range(off.shape[1]):
            along += vectors[:, a, k] * np.where(good, off[:, a] / size[:, a], 0.0)
        total += along**2 / np.where(values[:, k] > 1e-14, values[:, k], np.nan)
    return np.where(good, total, np.nan)
