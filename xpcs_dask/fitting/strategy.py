"""Which attempts, in what order, and which one to keep.

The ladder: the compiled kernel, the same from more starts, then scipy's trust region, Levenberg-Marquardt and
differential evolution. An answer is taken when it is a minimum, not because nothing raised; which rung it came from is
recorded.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.config import FitConfig
from xpcs_dask.fitting.criteria import aicc, bic, scale_known
from xpcs_dask.fitting.families import fit_family, has_kernel
from xpcs_dask.fitting.flags import flags_of
from xpcs_dask.fitting.generic import fit_generic
from xpcs_dask.fitting.layout import Flag, Rung, Status
from xpcs_dask.fitting.models import SINGLE, Floats, Model
from xpcs_dask.fitting.uncertainty import reduced_chi2

ESTABLISHED = 10.0
"""F of the second component below which it is not established (see docs/models)."""


def fit_stack(
    x: Floats,
    y: Floats,
    weight: Floats,
    model: Model,
    config: FitConfig,
    lower: Floats,
    upper: Floats,
    start: Floats | None = None,
) -> NDArray[np.void]:
    """Fit every curve of a stack; a failed curve is a row of NaN with a status that says why.

    Parameters
    ----------
    x : array
        Abscissa shared by all curves: delays in s, shape ``(m,)``, or whatever a user's model takes.
    y, weight : array, shape (n, m)
        Curves and 1/sigma of their points; a weight of 0 means that the point is not used.
    lower, upper : array, shape (p,)
        The box; equal where a parameter is held.
    start : array, shape (p,) or (n, p), optional
        Where to start; tried beside the model's own starts.

    Returns
    -------
    array of `layout.fit_dtype(model, "full")`, shape (n,)
    """
    if not has_kernel(model, x, config):
        rows = fit_generic(x, y, weight, model, config, lower, upper, start)
        return _second_component(rows, None, x, y, weight, model, config, lower, upper)
    rows, statistic, disagree = fit_family(x, y, weight, model, config, lower, upper, start)
    for attempt in (_more_starts, fit_generic):
        lost = np.flatnonzero(rows["status"] == Status.NOT_CONVERGED)
        if not lost.size:
            break
        begin = start[lost] if start is not None and np.ndim(start) > 1 else start
        spent = rows["evaluations"][lost]
        rows[lost] = attempt(x, y[lost], weight[lost], model, config, lower, upper, begin)
        rows["evaluations"][lost] += spent
    n_free = int((lower < upper).sum())
    rows["reduced_chi2"] = reduced_chi2(rows["chi2"], rows["dof"])
    for name, criterion in (("aicc", aicc), ("bic", bic)):
        rows[name] = criterion(rows["chi2"], n_free, rows["n_used"], scale_known(config))
    disagree &= (rows["status"] == Status.CONVERGED) & (rows["rung"] <= Rung.TWIN)
    rows["flags"] |= np.where(disagree, np.uint32(Flag.STARTS_DISAGREE), np.uint32(0))
    rows["flags"] = flags_of(rows, x, y, weight, lower, upper, model, config)
    return _second_component(rows, statistic, x, y, weight, model, config, lower, upper)


def _more_starts(
    x: Floats,
    y: Floats,
    weight: Floats,
    model: Model,
    config: FitConfig,
    lower: Floats,
    upper: Floats,
    start: Floats | None,
) -> NDArray[np.void]:
    return fit_family(x, y, weight, model, config, lower, upper, start, more=True)[0]


def _second_component(
    rows: NDArray[np.void],
    statistic: Floats | None,
    x: Floats,
    y: Floats,
    weight: Floats,
    model: Model,
    config: FitConfig,
    lower: Floats,
    upper: Floats,
) -> NDArray[np.void]:
    """Flag double fits whose second component is not significant, or is a spike at a bound of its exponent.

    F = (chi2 of one component - chi2) / (chi2 / (m - 7)). `statistic` is that of the kernel; rows that another rung won
    have it computed here. It says nothing for robust losses.
    """
    if model.family != "double":
        return rows
    stretches = [k for k, name in enumerate(model.names) if name.startswith("stretch") and lower[k] < upper[k]]
    weak = ((rows["value"] <= lower) | (rows["value"] >= upper))[:, stretches].any(axis=1)
    if config.loss == "linear":
        found = np.full(len(rows), np.inf) if statistic is None else statistic.copy()
        other = np.flatnonzero((rows["rung"] > Rung.TWIN) & (rows["status"] == Status.CONVERGED))
        if other.size:
            found[other] = _f_statistic(rows[other], x, y[other], weight[other], model, config, lower, upper)
        weak |= found < ESTABLISHED
    weak &= rows["status"] == Status.CONVERGED
    rows["flags"] |= np.where(weak, np.uint32(Flag.SECOND_COMPONENT_NOT_ESTABLISHED), np.uint32(0))
    return rows


def _f_statistic(
    rows: NDArray[np.void],
    x: Floats,
    y: Floats,
    weight: Floats,
    model: Model,
    config: FitConfig,
    lower: Floats,
    upper: Floats,
) -> Floats:
    """F of the second component, from a single fit in a box that holds both."""
    first, second = (
        [model.index(n) for n in ("contrast", "tau1", "stretch1", "baseline")],
        [model.index(n) for n in ("tau2", "stretch2")],
    )
    low, high = lower[first], upper[first]
    low[[1, 2]], high[[1, 2]] = np.minimum(low[[1, 2]], lower[second]), np.maximum(high[[1, 2]], upper[second])
    single = fit_family(x, y, weight, SINGLE, config, low, high)[0]
    residual = rows["chi2"] / np.maximum(rows["n_used"] - len(lower), 1)
    return np.where(single["status"] == Status.CONVERGED, (single["chi2"] - rows["chi2"]) / residual, np.inf)
