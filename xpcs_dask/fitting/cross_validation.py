"""How well a model predicts delays that it has not seen: cross-validation in blocks of neighbouring delays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.config import FitConfig
from xpcs_dask.fitting.layout import Status
from xpcs_dask.fitting.models import Floats, Model
from xpcs_dask.fitting.strategy import fit_stack

BLOCKS = 2
"""Blocks of each fold: neighbouring delays have correlated noise, so single ones would not be unseen."""


def fold_masks(delay: Floats, folds: int, seed: int) -> NDArray[np.bool_]:
    """Delays that each fold leaves out, ``(folds, m)``: a block of neighbours in each half of the delays.

    Which block is drawn with Philox, keyed by the seed: all curves and all models have the same folds.
    """
    blocks = np.array_split(np.argsort(delay, kind="stable"), BLOCKS * folds)
    generator = np.random.Generator(np.random.Philox(key=seed))
    masks = np.zeros((folds, delay.size), np.bool_)
    for part in range(BLOCKS):
        for fold, block in enumerate(generator.permutation(folds)):
            masks[fold, blocks[part * folds + block]] = True
    return masks


def cross_validate(
    rows: NDArray[np.void], x: Any, y: Floats, weight: Floats, model: Model, config: FitConfig, lower: Floats,
    upper: Floats, masks: NDArray[np.bool_],
) -> tuple[Floats, Floats]:  # fmt: skip
    """Mean squared error of prediction, in units of sigma^2, and its standard error from the scatter of the folds.

    Parameters
    ----------
    rows : array of `layout.fit_dtype(model, "full")`, shape (n,)
        Fits of all points, from which those of the folds start.
    masks : array of bool, shape (folds, m)
        Points that each fold leaves out.

    Returns
    -------
    array of float, shape (n,), twice
        NaN where a fold cannot be fitted.
    """
    sums, counts = np.full((len(masks), len(y)), np.nan), np.zeros((len(masks), len(y)))
    fitted = np.flatnonzero(rows["status"] == Status.CONVERGED)
    for k, mask in enumerate(masks):
        unseen = (weight > 0) & mask
        counts[k] = unseen.sum(axis=1)
        if fitted.size:
            seen = np.where(mask, 0.0, weight[fitted])
            fold = fit_stack(x, y[fitted], seen, model, config, lower, upper, rows["value"][fitted])
            off = np.where(unseen[fitted], (y[fitted] - _predicted(fold, x, y.shape[1], model)) * weight[fitted], 0.0)
            sums[k, fitted] = np.einsum("ij,ij->i", off, off)
    used = counts > 0
    sums = np.where(used, sums, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = sums.sum(axis=0) / counts.sum(axis=0)
        each, folds = sums / counts, used.sum(axis=0)
        off = np.where(used, each - np.where(used, each, 0.0).sum(axis=0) / folds, 0.0)
        spread = np.sqrt((off**2).sum(axis=0) / (folds * (folds - 1.0)))
    return mean, np.where(np.isfinite(mean), spread, np.nan)


def _predicted(rows: NDArray[np.void], x: Any, m: int, model: Model) -> Floats:
    """Values of the model (n, m), NaN for a curve without a fit."""
    found = np.full((len(rows), m), np.nan)
    for i in np.flatnonzero(rows["status"] == Status.CONVERGED):
        with np.errstate(all="ignore"):
            found[i] = model.evaluate(x, *rows["value"][i])
    return found
