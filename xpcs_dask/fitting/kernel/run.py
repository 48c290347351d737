"""One call of the compiled kernels for a stack: start and variable projection, then the last word."""

from __future__ import annotations

import numpy as np

from xpcs_dask.fitting.kernel import refine, single
from xpcs_dask.fitting.kernel.columns import SINGLE_SIZE
from xpcs_dask.fitting.kernel.family import Family, KernelFit
from xpcs_dask.fitting.kernel.losses import LOSSES
from xpcs_dask.fitting.kernel.table import FAST_STARTS, NO_START, THOROUGH_STARTS, log_delays, start_table
from xpcs_dask.fitting.models import Floats

NEAR = 1e-8
"""Predicted relative decrease at which variable projection hands over to the residual form."""


def run_kernel(
    family: Family,
    x: Floats,
    y: Floats,
    weight: Floats,
    loss: str,
    loss_scale: float,
    start: Floats | None,
    *,
    thorough: bool,
) -> KernelFit:
    """Fit one block of curves ``(n, m)`` of one family."""
    n, p = len(y), len(family.lower)
    y, weight = np.ascontiguousarray(y), np.ascontiguousarray(weight)
    lower, upper = family.log_box
    u = log_delays(x)
    z, evaluations = np.zeros((n, p)), np.zeros(n, dtype=np.int32)
    statistic, disagree = np.full(n, np.inf), np.zeros(n, dtype=np.bool_)
    if p == SINGLE_SIZE:
        given = np.full((n, 2), NO_START)
        if start is not None:
            given[:] = np.where(np.isfinite(start[:, 1:3]), start[:, 1:3], NO_START)
        table = start_table(u, lower, upper)
        code = np.zeros(n, dtype=np.int8)
        starts = np.array(THOROUGH_STARTS if thorough else FAST_STARTS)
        single.fit_single(u, y, weight, lower, upper, table, given, starts, NEAR, z, evaluations, code, disagree)
    else:
        from xpcs_dask.fitting.kernel.double import fit_double

        nonlinear = None if start is None else start[:, [1, 2, 4, 5, 6]]
        z, _, evaluations, code, statistic, disagree = fit_double(
            x, y, weight, family.lower, family.upper, thorough, nonlinear
        )
    chi2, covariance, n_used = np.full(n, np.nan), np.full((n, p, p), np.nan), np.zeros(n, dtype=np.int32)
    refine.refine_stack(
        u, y, weight, lower, upper, LOSSES[loss], loss_scale, z, chi2, covariance, n_used,
        evaluations, code, refine.workspace(len(u), p),
    )  # fmt: skip
    return KernelFit(z, chi2, covariance, n_used, evaluations, code == single.CONVERGED, statistic, disagree)
