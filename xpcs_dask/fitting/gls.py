"""Generalised least squares: points weighed by the covariance that theory says the noise of multi-tau g2 has.

With diagonal weights the points of bright speckle, whose noise is shared by neighbouring delays, count as if each were
new. `fitting.theory` knows how it is shared; where counts are known this gives smaller errors of the parameters, and
objectives that are chi2 of independent residuals. docs/coverage.md says what was measured.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.config import FitConfig
from xpcs_dask.fitting.criteria import aicc, bic
from xpcs_dask.fitting.families import exact_values, exact_z, numba_found
from xpcs_dask.fitting.flags import flags_of
from xpcs_dask.fitting.kernel.family import family_of
from xpcs_dask.fitting.layout import ErrorsFrom, Flag, Status
from xpcs_dask.fitting.models import Floats, Model
from xpcs_dask.fitting.sandwich import Noise, put_covariance
from xpcs_dask.fitting.theory import workspace
from xpcs_dask.fitting.uncertainty import reduced_chi2

SEEN_AGAIN = np.uint32(Flag.AT_BOUND | Flag.UNIDENTIFIABLE | Flag.POOR_FIT | Flag.DELAYS_ASSUMED_INDEPENDENT)
"""Flags that the fit with diagonal weights had for reasons of its own."""


def fit_gls(
    rows: NDArray[np.void],
    x: Any,
    y: Floats,
    weight: Floats,
    model: Model,
    config: FitConfig,
    lower: Floats,
    upper: Floats,
    noise: Noise | None,
) -> None:
    r"""Replace fits with diagonal weights by those of generalised least squares, in place.

    With residuals r in units of their errors, :math:`r^T R^{-1} r` is made small in the box; R is the correlation of
    the noise that follows from the decay of the given fit (`fitting.theory`), all correlations made 2 % smaller. chi2
    is that objective, the covariance :math:`(J^T R^{-1} J)^{-1}` times the factor for short records.

    Parameters
    ----------
    rows : array of `layout.fit_dtype(model, "full")`, shape (n,)
        Least-squares fits with their standard errors, changed in place. A row for which this cannot be done (the counts
        are not known, errors are relative, the loss is robust, the model has no kernel, R is not positive or no minimum
        was found) stays as it is and gets the flag ``GLS_NOT_POSSIBLE``.
    x, y, weight, model, config, lower, upper
        As for `strategy.fit_stack`.
    noise : Noise or None
        What is known of the noise of the curves.
    """
    fitted = rows["status"] == Status.CONVERGED
    done = np.zeros(len(rows), np.bool_)
    absolute = config.absolute_sigma and config.errors != "none"
    if noise is not None and model.family and absolute and config.loss == "linear" and numba_found():
        which = np.flatnonzero(fitted)
        if which.size:
            some = rows[which]
            good = _compiled(some, x, y[which], weight[which], model, lower, upper, noise.take(which))
            which, some = which[good], some[good]
            some["flags"] = flags_of(some, x, y[which], weight[which], lower, upper, model, config)
            rows[which] = some
            done[which] = True
    rows["flags"] |= np.where(fitted & ~done, np.uint32(Flag.GLS_NOT_POSSIBLE), np.uint32(0))


def _compiled(
    rows: NDArray[np.void],
    x: Any,
    y: Floats,
    weight: Floats,
    model: Model,
    lower: Floats,
    upper: Floats,
    noise: Noise,
) -> NDArray[np.bool_]:
    """Fill rows with what the kernel finds; returns which of them mean something."""
    from xpcs_dask.fitting.kernel import gls
    from xpcs_dask.fitting.kernel.table import log_delays

    family, lags = family_of(model, lower, upper), noise.lags
    u, z = log_delays(family.delays(x)), exact_z(family, rows["value"])
    table = family.table(lags.table)
    n, p = z.shape
    chi2, covariance = np.empty(n), np.empty((n, p, p))
    evaluations, code = np.empty(n, np.int32), np.empty(n, np.int8)
    fill: Any = gls.gls_stack
    fill(
        u, np.where(weight > 0, y, 0.0), weight, *family.log_box, z, noise.counts, noise.frames,
        noise.share(weight), noise.products * lags.width, lags.width, lags.level, lags.near, lags.apart, table,
        workspace(lags), gls.workspace(y.shape[1], p), chi2, covariance, evaluations, code,
    )  # fmt: skip
    value = exact_values(family, z)
    unit = np.where(family.times, value, 1.0)
    covariance *= unit[:, :, None] * unit[:, None, :]
    _write(rows, value[:, family.position], chi2, int((lower < upper).sum()))
    put_covariance(rows, np.arange(n), covariance[:, family.position[:, None], family.position])
    rows["evaluations"] += evaluations
    return code == gls.DONE


def _write(rows: NDArray[np.void], value: Floats, chi2: Floats, free: int) -> None:
    """Put parameters, objective and what follows from it into rows."""
    rows["value"], rows["chi2"] = value, chi2
    rows["reduced_chi2"] = reduced_chi2(chi2, rows["dof"])
    rows["aicc"], rows["bic"] = aicc(chi2, free, rows["n_used"]), bic(chi2, free, rows["n_used"])
    rows["errors_from"], rows["errors_dof"] = ErrorsFrom.GLS, np.inf
    rows["flags"] &= ~SEEN_AGAIN
