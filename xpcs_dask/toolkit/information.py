"""Information criteria of the package, with those that the Toolkit names beside."""

from __future__ import annotations

import numpy as np

from xpcs_dask.fitting.criteria import aicc, bic


def criteria(chi2: float, n_free: int, n: int, scale_known: bool) -> dict[str, float]:
    """Return ``aic``, ``aic_corrected``, ``bic`` and ``hqic`` in the one definition of `xpcs_dask.fitting.criteria`.

    With errors that are known the misfit is chi2, else n ln(chi2/n) and the scale counts as one more parameter.
    """
    k = n_free + (0 if scale_known else 1)
    schwarz = float(bic(chi2, n_free, n, scale_known))
    misfit = schwarz - k * np.log(n)
    return {
        "aic": float(misfit + 2.0 * k),
        "aic_corrected": float(aicc(chi2, n_free, n, scale_known)),
        "bic": schwarz,
        "hqic": float(misfit + 2.0 * k * np.log(np.log(n))) if n > 2 else np.nan,
    }
