"""Kernels as the ladder sees them: which models they can fit, and packed rows from what they find."""

from __future__ import annotations

import importlib.util

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.config import FitConfig
from xpcs_dask.fitting.kernel.family import Family, KernelFit, family_of
from xpcs_dask.fitting.layout import Rung, Status, fit_dtype, pairs
from xpcs_dask.fitting.models import Floats, Model
from xpcs_dask.fitting.uncertainty import covariance_kind

BLOCK = 8192
"""Curves a kernel call: enough to pay for its tables, few enough for the cache."""


def has_kernel(model: Model, x: Floats, config: FitConfig) -> bool:
    """Whether a kernel can fit this: a family, one-dimensional delays, and Numba or the twin's reach."""
    if not model.family or x.ndim != 1:
        return False
    return numba_found() or (model.family == "single" and config.loss == "linear")


def numba_found() -> bool:
    """Whether Numba is installed (asked without importing it)."""
    return importlib.util.find_spec("numba") is not None


def exact_z(family: Family, value: Floats) -> Floats:
    """Family parameters (n, P), times as logarithms, of fitted values (n, p); on its edge what is on its bound."""
    z = family.z(value)
    for edge, bound in zip(family.log_box, (family.lower, family.upper), strict=True):
        full = np.zeros((len(value), len(family.lower)))
        full[:, family.position] = value
        z = np.where(full == bound, edge, z)  # log(exp(bound)) is not always the bound
    return np.ascontiguousarray(z)


def exact_values(family: Family, z: Floats) -> Floats:
    """Values of all family parameters (…, P) from z; on its bound what is on its edge. The other way is `exact_z`."""
    value = z.copy()
    value[..., family.times] = np.exp(value[..., family.times])
    for edge, bound in zip(family.log_box, (family.lower, family.upper), strict=True):
        value = np.where(z == edge, bound, value)  # exp(log(bound)) is not always the bound
    return value


def fit_family(
    x: Floats,
    y: Floats,
    weight: Floats,
    model: Model,
    config: FitConfig,
    lower: Floats,
    upper: Floats,
    start: Floats | None = None,
    *,
    more: bool = False,
) -> tuple[NDArray[np.void], Floats, NDArray[np.bool_]]:
    """Fit a stack with its kernel, `more` from many starts; rows that found no minimum have status NOT_CONVERGED.

    Returns packed rows, the F statistic of the second component, and where two starts ended in different minima.
    """
    family = family_of(model, lower, upper)
    n = len(y)
    rows = np.zeros(n, dtype=fit_dtype(model, "full"))
    statistic, disagree = np.full(n, np.inf), np.zeros(n, dtype=np.bool_)
    given = (
        None
        if start is None
        else np.broadcast_to(family.z(np.asarray(start, dtype=np.float64)), (n, len(family.lower)))
    )
    compiled = numba_found()
    for first in range(0, n, BLOCK):
        part = slice(first, min(first + BLOCK, n))
        found = _run(family, x, y[part], weight[part], config, None if given is None else given[part], more, compiled)
        _pack(rows[part], family, found, config)
        statistic[part], disagree[part] = found.f_statistic, found.disagree
    rows["rung"][:] = np.where(
        rows["status"] == Status.CONVERGED,
        (Rung.STARTS if more else Rung.COMPILED) if compiled else Rung.TWIN,
        Rung.NONE,
    )
    return rows, statistic, disagree


def _run(
    family: Family,
    x: Floats,
    y: Floats,
    weight: Floats,
    config: FitConfig,
    start: Floats | None,
    more: bool,
    compiled: bool,
) -> KernelFit:
    thorough = more or config.search == "thorough"
    if not compiled:
        from xpcs_dask.fitting.kernel.twin import run_twin

        return run_twin(family, family.delays(x), y, weight, start, thorough=thorough)
    from xpcs_dask.fitting.kernel.run import run_kernel

    return run_kernel(family, family.delays(x), y, weight, config.loss, config.loss_scale, start, thorough=thorough)


def _pack(rows: NDArray[np.void], family: Family, found: KernelFit, config: FitConfig) -> None:
    """Model parameters, their errors and the bookkeeping of one block, from what the kernel found."""
    free = int((family.lower < family.upper).sum())
    used = found.n_used
    status = np.where(found.converged, Status.CONVERGED, Status.NOT_CONVERGED)
    status[used <= free] = Status.TOO_FEW_POINTS
    status[used == 0] = Status.NO_DATA
    good = status == Status.CONVERGED
    value = exact_values(family, found.z)
    unit = np.where(family.times, value, 1.0)
    dof = used - free
    if covariance_kind(config) == "scaled":
        unit = unit * np.sqrt(found.chi2 / np.maximum(dof, 1))[:, None]
    covariance = found.covariance * unit[:, :, None] * unit[:, None, :]
    p, chosen = len(family.position), family.position
    row, column = np.tril_indices(p)
    triangle = chosen[row] * len(family.lower) + chosen[column]
    packed = np.take(covariance.reshape(len(value), -1), triangle, axis=1)
    diagonal = [pairs(k + 1) - 1 for k in range(p)]
    rows["status"], rows["n_used"], rows["dof"], rows["evaluations"] = status, used, dof, found.evaluations
    for name, content in (
        ("value", value[:, chosen]),
        ("covariance", packed),
        ("stderr", np.sqrt(packed[:, diagonal])),
    ):
        rows[name] = np.where(good[:, None], content, np.nan)
    rows["chi2"] = np.where(good, found.chi2, np.nan)
