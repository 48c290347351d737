"""Steps of a diffusion analysis: which points, which model, what the best one says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.curves import fit_curves
from xpcs_dask.fitting.kernel.scales import MAD_TO_SIGMA
from xpcs_dask.fitting.layout import Status
from xpcs_dask.fitting.outliers import LIMIT
from xpcs_dask.toolkit.diffusion_forms import form_of
from xpcs_dask.toolkit.diffusion_models import DiffusionModels
from xpcs_dask.toolkit.function_fits import box_of, usable
from xpcs_dask.toolkit.outlier_detection import OutlierDetection

__all__ = ["chosen_models", "input_report", "no_decay", "outliers_of"]

Floats = NDArray[np.float64]

FEWEST = 6
"""Points below which the largest models leave no degree of freedom."""
FEW = 20
ROUNDING = 1e-12
"""Residuals below this part of g2 are rounding: noise-free data have no outliers."""
SAVED = 12.0
"""What a decay must save in chi2 over a constant to be more than noise (`xpcs_dask.fitting.layout.Flag.NO_SIGNAL`)."""


def chosen_models(names: Sequence[str] | None) -> dict[str, dict[str, Any]]:
    """Return records of the models that are tried, in the order of `DiffusionModels.get_model_info`."""
    every = DiffusionModels.get_model_info()
    if names is None:
        return every
    unknown = [name for name in names if name not in every]
    if unknown or not names:
        raise ConfigError(f"models_to_test: {unknown or names} is none of {', '.join(every)}")
    return {name: every[name] for name in every if name in names}


def input_report(tau: ArrayLike, g2: ArrayLike, errors: ArrayLike | None) -> dict[str, Any]:
    """Say what is wrong with the data (``errors``), what is odd (``warnings``) and what may help."""
    x, y = (np.asarray(part, dtype=np.float64) for part in (tau, g2))
    sigma = None if errors is None else np.asarray(errors, dtype=np.float64)
    wrong: list[str] = []
    odd: list[str] = []
    advice: list[str] = []
    if x.ndim != 1 or x.shape != y.shape or (sigma is not None and sigma.shape != y.shape):
        shapes = f"tau {x.shape}, g2 {y.shape}" + ("" if sigma is None else f", errors {sigma.shape}")
        wrong.append(f"shapes differ or are not one-dimensional: {shapes}")
        return {"valid": False, "warnings": odd, "errors": wrong, "recommendations": ["give one curve, shape (m,)"]}
    good = usable(x, y, sigma) & ~(x < 0)
    if (x < 0).any():
        wrong.append(f"{int((x < 0).sum())} delays are negative")
    if good.sum() < FEWEST:
        wrong.append(f"{int(good.sum())} of {x.size} points can be used; at least {FEWEST} are needed")
        advice.append("check for NaN, and for errors that are zero or negative")
        return {"valid": False, "warnings": odd, "errors": wrong, "recommendations": advice}
    if not good.all():
        odd.append(f"{int((~good).sum())} of {x.size} points are left out: no number, or no positive error")
    if good.sum() < FEW:
        odd.append(f"only {int(good.sum())} points; models with five parameters are hardly told apart")
    if (np.diff(x[good]) <= 0).any():
        odd.append("delays do not increase; they are sorted")
    delays = x[good & (x > 0)]
    if delays.size and delays.max() < 10 * delays.min():
        odd.append("delays span less than a decade")
        advice.append("use a wider range of delays, so that the decay and the baseline are seen")
    if (y[good] < 0).any():
        odd.append("g2 is negative at some delays")
    if sigma is None:
        odd.append("no errors: all points weigh the same")
        advice.append("give g2_errors, so that chi2 and the criteria mean what they say")
    return {"valid": not wrong, "warnings": odd, "errors": wrong, "recommendations": advice}


def outliers_of(
    x: Floats, y: Floats, sigma: Floats | None, models: Mapping[str, Mapping[str, Any]]
) -> dict[str, NDArray[np.bool_]]:
    """Flag outliers by their residuals of a robust fit of whichever model leaves the smallest ones.

    Each rule and their consensus; with errors that are known a point within `LIMIT` of them is none.
    """
    detection = OutlierDetection()
    best, middle = None, np.inf
    for model in models.values():
        fit = _robust(model, x, y, sigma)
        if fit is not None:
            off = np.abs(y - np.asarray(model["function"](x, *fit))) / (1.0 if sigma is None else sigma)
            if np.median(off) < middle * (1 - 1e-6):
                best, middle = (model["function"], fit), float(np.median(off))
    if best is None:
        return {name: np.zeros(y.size, dtype=bool) for name in ("mad", "iqr", "zscore", "consensus")}
    found = detection.robust_outlier_detection(x, y, *best, sigma=sigma)
    off = np.abs(y - np.asarray(best[0](x, *best[1])))
    least = ROUNDING * np.abs(y) if sigma is None else np.maximum(LIMIT * sigma, ROUNDING * np.abs(y))
    return {name: mask & (off > least) for name, mask in found.items()}


def _robust(model: Mapping[str, Any], x: Floats, y: Floats, sigma: Floats | None) -> Floats | None:
    """Parameters of a fit with Cauchy's loss; None where it fails."""
    form, box = form_of(model["function"]), box_of(model["bounds"])
    bounds = None if form is None or box is None else form.bounds(box, x)
    if form is None or bounds is None:
        return None
    plain = fit_curves(x, y, sigma, form.record, bounds=bounds)
    if plain.status != Status.CONVERGED:
        return None
    size = MAD_TO_SIGMA * float(np.median(np.abs(y - np.asarray(form.record.evaluate(x, *plain.value)))))
    if size > ROUNDING * float(np.abs(y).max()):  # else there is nothing to forget
        error = np.full_like(y, size) if sigma is None else sigma
        plain = fit_curves(x, y, error, form.record, bounds=bounds, loss="cauchy", start=plain.value)
    return form.parameters(plain.value, plain.covariance)[0] if plain.status == Status.CONVERGED else None


def no_decay(y: Floats, sigma: Floats | None, chi2: float, count: int) -> str:
    """Why the best model is no better than a constant; empty where it is."""
    weight = np.ones_like(y) if sigma is None else sigma**-2.0
    flat = float(np.sum(weight * (y - np.average(y, weights=weight)) ** 2))
    unit = 1.0 if sigma is not None else max(chi2, np.finfo(float).tiny) / max(y.size - count, 1)
    saved = (flat - chi2) / unit
    return f"a decay saves {saved:.1f} in chi2 over a constant: noise does as much" if saved < SAVED else ""
