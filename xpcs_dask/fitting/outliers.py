"""Fits that a few false points do not spoil: points left out (clip), or a loss that forgets them (cauchy, mm).

All three start from what a fit that is hardly pulled by outliers leaves: errors that are known are taken as they are,
and only those that are known up to a factor, or not at all, have their size found from the residuals.
docs/outliers.md has the measurements behind the choices.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.config import FitConfig
from xpcs_dask.fitting.criteria import aicc, bic, scale_known
from xpcs_dask.fitting.families import has_kernel
from xpcs_dask.fitting.kernel.scales import CAUCHY_95, MAD_TO_SIGMA
from xpcs_dask.fitting.layout import Flag, Status
from xpcs_dask.fitting.models import Floats, Model
from xpcs_dask.fitting.strategy import fit_stack
from xpcs_dask.fitting.uncertainty import reduced_chi2

LIMIT = 3.5
"""Robust standard deviations beyond which a point is left out."""
ROUNDING = 1e-14
"""Relative size below which residuals are rounding, and no scale can be told from them."""


def fit_robust(
    x: Any,
    y: Floats,
    weight: Floats,
    model: Model,
    config: FitConfig,
    lower: Floats,
    upper: Floats,
    start: Floats | None = None,
) -> tuple[NDArray[np.void], Floats]:
    r"""Fit every curve of a stack as ``config.robust`` asks.

    - ``clip``: a fit with Cauchy's loss (scale 1), then least squares without the points that lie more than `LIMIT`
      standard deviations off it. The standard deviation is the point's error, times 1.4826 median absolute deviations
      of all weighted residuals where these are more than 1 (or, with relative errors, whatever they are).
    - ``cauchy``: Cauchy's loss with the scale 2.385 in standard deviations: the errors, or with relative errors these
      times 1.4826 median absolute deviations.
    - ``mm``: Tukey's biweight with the scale 4.685 times 1.4826 median absolute deviations of a Cauchy fit [1]_.

    Parameters
    ----------
    x, y, weight, model, lower, upper, start
        As for `strategy.fit_stack`.
    config : FitConfig
        With ``robust`` set; it rules over ``loss`` and ``loss_scale``.

    Returns
    -------
    rows : array of `layout.fit_dtype(model, "full")`, shape (n,)
        Covariances are those of least squares over the points that are left, or the sandwich of the loss.
    weight : array, shape (n, m)
        The given weights; 0 at points that were left out, of which there are less than half: one more than the free
        parameters always stay.

    References
    ----------
    .. [1] V. J. Yohai, Ann. Statist. 15, 642 (1987).
    """
    final = settings(config)
    if not _relative(config) and config.robust != "clip":
        return fit_stack(x, y, weight, model, final, lower, upper, start), weight
    spread, residuals, spent = _pilot(x, y, weight, model, config, lower, upper, start)
    if config.robust == "clip":
        kept = np.where(np.abs(residuals) > LIMIT * spread[:, None], 0.0, weight)
        rows = fit_stack(x, y, kept, model, final, lower, upper, start)
        rows["flags"] |= np.where((kept < weight).any(axis=1), np.uint32(Flag.OUTLIERS), np.uint32(0))
    else:
        kept = weight
        rows = fit_stack(x, y, weight / spread[:, None], model, final, lower, upper, start)
        _rescale(rows, spread, int((lower < upper).sum()), scale_known(config))
    rows["evaluations"] += spent
    return rows, kept


def settings(config: FitConfig) -> FitConfig:
    """Return how the last fit of a robust one is made: its loss, and so the kind of its covariance."""
    if config.robust is None:
        return config
    loss, scale = {"clip": ("linear", 1.0), "cauchy": ("cauchy", CAUCHY_95), "mm": ("tukey", 1.0)}[config.robust]
    return config.model_copy(update={"robust": None, "loss": loss, "loss_scale": scale})


def _relative(config: FitConfig) -> bool:
    """Whether errors are known up to a factor only."""
    return not config.absolute_sigma or config.errors == "none"


def _pilot(
    x: Any,
    y: Floats,
    weight: Floats,
    model: Model,
    config: FitConfig,
    lower: Floats,
    upper: Floats,
    start: Floats | None,
) -> tuple[Floats, Floats, NDArray[np.int32]]:
    """Robust size of the weighted residuals (n,) of a Cauchy fit, these (n, m), and the evaluations spent on it.

    Relative errors first get the size that the residuals of least squares say: Cauchy's loss must know what is large.
    With errors that are known the size is at least 1: neighbouring delays of bright speckle are correlated, so
    residuals are smaller than the errors, and a scale from them alone would leave out good points of every second
    curve. The kernels try a second start for Cauchy's loss, which has several minima; other models get the minimum of
    soft_l1, which has one.
    """
    relative, alone = _relative(config), not has_kernel(model, x, config)
    free, least = int((lower < upper).sum()), _rounding(y, weight)
    size, spent = np.ones(len(y)), np.zeros(len(y), np.int32)
    for loss in ["linear"] * relative + ["soft_l1"] * alone + ["cauchy"]:
        step = config.model_copy(update={"robust": None, "loss": loss, "loss_scale": 1.0})
        rows = fit_stack(x, y, weight / size[:, None], model, step, lower, upper, start)
        spent += rows["evaluations"]
        residuals = _residuals(x, y, weight, model, rows)
        found = _spread(residuals, weight, free, least)
        size = found if relative else size
        if alone:
            other = np.clip(1.0, lower, upper) if start is None else start
            start = np.where(np.isfinite(rows["value"]), rows["value"], other)
    return found if relative else np.maximum(found, 1.0), residuals, spent


def _residuals(x: Any, y: Floats, weight: Floats, model: Model, rows: NDArray[np.void]) -> Floats:
    """Weighted residuals (n, m), 0 or NaN at unused points and NaN for curves without a fit.

    One curve at a time: what NumPy makes of a whole stack may differ in the last bit with its size.
    """
    found = np.full_like(y, np.nan)
    for k in np.flatnonzero(rows["status"] == Status.CONVERGED):
        with np.errstate(all="ignore"):
            found[k] = (y[k] - np.asarray(model.evaluate(x, *rows["value"][k]))) * weight[k]
    return found


def _spread(residuals: Floats, weight: Floats, free: int, least: Floats) -> Floats:
    """Return the standard deviation (n,) that the median absolute residual says, at least `least`; 1 without a fit.

    The `free` smallest do not count: a fit can make as many residuals small as it has parameters. So at least `free`
    and half of the others are never beyond the median.
    """
    used = weight > 0
    n = used.sum(axis=1)
    ordered = np.sort(np.where(used, np.abs(residuals), np.inf), axis=1)
    last = max(ordered.shape[1] - 1, 0)
    middle = free + np.maximum(n - free - 1, 0) / 2.0
    below, above = (np.clip(end(middle).astype(np.intp), 0, last) for end in (np.floor, np.ceil))
    pair = np.take_along_axis(ordered, np.stack([below, above], axis=1), axis=1)
    found = np.maximum(MAD_TO_SIGMA * pair.mean(axis=1), least)
    return np.where((n > free) & np.isfinite(found), found, 1.0)


def _rounding(y: Floats, weight: Floats) -> Floats:
    """Size (n,) of weighted residuals that may be rounding of y; above 0."""
    level = np.where(weight > 0, np.abs(y), 0.0) * weight
    return np.maximum(ROUNDING * level.max(axis=1, initial=0.0), np.finfo(float).tiny)


def _rescale(rows: NDArray[np.void], spread: Floats, free: int, known: bool) -> None:
    """Turn objectives of fits with weights that were divided by `spread` into those of the weights as given."""
    rows["chi2"] *= spread**2
    rows["reduced_chi2"] = reduced_chi2(rows["chi2"], rows["dof"])
    for name, criterion in (("aicc", aicc), ("bic", bic)):
        rows[name] = criterion(rows["chi2"], free, rows["n_used"], known)
