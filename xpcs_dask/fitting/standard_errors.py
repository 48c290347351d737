"""Which standard errors a fitted curve gets: the best that its data allow, and a record of which these were."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.config import FitConfig
from xpcs_dask.fitting.clusters import ENOUGH, cluster_errors
from xpcs_dask.fitting.layout import ErrorsFrom, Flag, Status
from xpcs_dask.fitting.models import Floats, Model
from xpcs_dask.fitting.sandwich import Noise, robust_errors
from xpcs_dask.fitting.uncertainty import Kind, covariance_kind

OF_KIND: dict[Kind, ErrorsFrom] = {
    "wald": ErrorsFrom.WALD,
    "scaled": ErrorsFrom.SCALED,
    "m_estimator": ErrorsFrom.M_ESTIMATOR,
}


def standard_errors(
    rows: NDArray[np.void], x: Any, y: Floats, weight: Floats, model: Model, config: FitConfig, lower: Floats,
    upper: Floats, noise: Noise | None = None, clusters: NDArray[np.floating] | None = None,
) -> None:  # fmt: skip
    """Give fitted rows, in place, the covariance that `config` asks for.

    ``covariance="auto"`` takes clusters where a curve has at least `clusters.ENOUGH`, else what
    `uncertainty.covariance_kind` says. ``"cluster"`` takes what clusters there are; fewer than two leave NaN.

    Parameters
    ----------
    rows : array of `layout.fit_dtype(model, "full")`, shape (n,)
        From `strategy.fit_stack`.
    noise : Noise, optional
        For theory; where it is not known, HC3.
    clusters : array, shape (n, P, m), optional
        NaN where a cluster has no value.
    """
    kind = covariance_kind(config)
    fitted = rows["status"] == Status.CONVERGED
    rows["errors_from"] = np.where(fitted, OF_KIND.get(kind, ErrorsFrom.UNKNOWN), ErrorsFrom.UNKNOWN)
    rows["errors_dof"] = np.where(fitted, np.inf if kind == "wald" else rows["dof"], np.nan)
    rest = fitted.copy()
    if clusters is not None and wants_clusters(config):
        least = 2 if kind == "cluster" else ENOUGH
        rest &= ~cluster_errors(rows, x, y, weight, model, lower, upper, clusters, least)
    left = np.flatnonzero(rest)
    if kind == "cluster":
        _no_errors(rows, left)
    elif kind in ("hc3", "theory") and left.size:
        some = rows[left]
        known = noise.take(left) if noise is not None and kind == "theory" else None
        robust_errors(some, x, y[left], weight[left], model, lower, upper, known)
        rows[left] = some


def wants_clusters(config: FitConfig) -> bool:
    """Whether clusters, if there are any, give the standard errors."""
    return config.covariance in ("auto", "cluster") and config.loss == "linear"


def _no_errors(rows: NDArray[np.void], which: NDArray[np.intp]) -> None:
    """Too few clusters for any error: say so."""
    rows["covariance"][which] = rows["stderr"][which] = rows["errors_dof"][which] = np.nan
    rows["flags"][which] |= np.uint32(Flag.FEW_CLUSTERS | Flag.UNIDENTIFIABLE)
