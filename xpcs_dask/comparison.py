"""The verb `compare`: several models fitted to every curve, and what speaks for which."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, overload

import numpy as np
import xarray as xr

from xpcs_dask.config import FitConfig
from xpcs_dask.engine.graph import columns, map_curves
from xpcs_dask.errors import ConfigError, UnknownParameterError
from xpcs_dask.fitting.blocks import Job
from xpcs_dask.fitting.candidates import Candidate, Given, candidates, nested
from xpcs_dask.fitting.cross_validation import BLOCKS, fold_masks
from xpcs_dask.fitting.curves import check_output
from xpcs_dask.fitting.layout import SCHEMA_VERSION, ErrorsFrom, Status
from xpcs_dask.fitting.selection import Plan, compare_block
from xpcs_dask.prepare import each_group, known, levels, operands, prepare
from xpcs_dask.results.provenance import cpu_target, versions

__all__ = ["compare"]

logger = logging.getLogger(__name__)

ONE_CURVE = (
    "only one curve per bin is known: criteria, likelihood-ratio tests and cross-validation take the noise of "
    "different delays as independent; where it is not, a needless parameter is chosen in 10 to 45 % of the curves "
    "instead of 5 % (give g2_cluster, and trust the Wald test)"
)
WITH_CLUSTERS = (
    "criteria, likelihood-ratio tests and cross-validation take the noise of different delays as independent; the Wald "
    "test has its errors from the clusters where errors_from says so, and is the one to trust"
)

LONG_NAMES: Mapping[str, str] = {
    "status": "how the fit of the model ended",
    "n_used": "points used, by every model",
    "chi2": "sum of squared weighted residuals at the minimum",
    "aicc": "Akaike information criterion, corrected for few points",
    "bic": "Bayesian information criterion",
    "akaike_weight": "Akaike weight: exp(-aicc/2) over the sum of it",
    "cv": "mean squared error of prediction in blocks of delays left out, over sigma^2",
    "cv_stderr": "standard error of cv, from the scatter of the folds",
    "best": "model that the criterion prefers; -1 where none could be fitted",
    "likelihood_ratio": "what the larger model saves in chi2 (F of it where errors are up to a factor)",
    "likelihood_ratio_p": "p value of the smaller model, if delays are independent",
    "wald": "squared distance of the additional parameters from the smaller model, over their covariance",
    "wald_p": "p value of the smaller model, with the covariance that errors_from names",
    "errors_from": "what the covariance of the Wald test rests on",
}
"""Long names of the variables of a comparison; all are numbers without unit."""
LAST: Mapping[str, str] = {
    **dict.fromkeys(("status", "chi2", "aicc", "bic", "akaike_weight", "cv", "cv_stderr"), "model"),
    **dict.fromkeys(("likelihood_ratio", "likelihood_ratio_p", "wald", "wald_p", "errors_from"), "test"),
    "best": "criterion",
}


@overload
def compare(
    data: xr.DataTree, models: Sequence[Given] = ..., *, config: FitConfig | None = ..., sigma: Any = ...,
    folds: int = ..., seed: int = ..., **settings: Any,
) -> xr.DataTree: ...  # fmt: skip


@overload
def compare(
    data: xr.Dataset | xr.DataArray, models: Sequence[Given] = ..., *, config: FitConfig | None = ..., sigma: Any = ...,
    folds: int = ..., seed: int = ..., **settings: Any,
) -> xr.Dataset: ...  # fmt: skip


def compare(
    data: xr.Dataset | xr.DataArray | xr.DataTree,
    models: Sequence[Given] = ("simple", "single", "double"),
    *,
    config: FitConfig | None = None,
    sigma: Any = None,
    folds: int = 5,
    seed: int = 0,
    **settings: Any,
) -> xr.Dataset | xr.DataTree:
    """Fit several models to every curve and say what speaks for which.

    Parameters
    ----------
    data : xarray.Dataset, xarray.DataArray or xarray.DataTree
        As for `fit`. With ``g2_cluster(..., cluster, delay)`` the Wald test has its errors from the clusters.
    models : sequence
        Keys of `MODELS`, records or functions; or a pair of one of these and what is held in it:
        ``["single", ("single", {"stretch": 0.5})]``.
    config : FitConfig, optional
        How to fit; ``**settings`` are fields of `FitConfig` put on top of it. Bounds and held values go to the models
        that have a parameter of that name.
    sigma : DataArray, array or number, optional
        As for `fit`.
    folds : int
        Of the cross-validation, each of two blocks of neighbouring delays; 0 for none.
    seed : int
        Of the order in which blocks are dealt to folds, the same for all curves and models.

    Returns
    -------
    xarray.Dataset or xarray.DataTree
        ``(..., model)``: ``status``, ``chi2``, ``aicc``, ``bic``, ``akaike_weight``, ``cv``, ``cv_stderr``, and
        ``n_free(model)``. ``best(..., criterion)`` is the number of the model with the smallest aicc or bic, and of
        the one with the fewest parameters whose cv is within one standard error of the smallest [1]_.
        ``(..., test)``, one for each pair of nested models ``small(test)`` and ``large(test)``: ``likelihood_ratio``,
        ``wald``, their ``_p``, and ``errors_from``, which covariance the Wald test has. Lazy if and only if `data` is.
        The attribute ``warning`` says what the numbers assume.

    Raises
    ------
    ConfigError
        Fewer than two models, two of one name, a robust or generalised fit, too many folds, or as for `fit`.
    NoUsableInputError
        If no curve or no delay is left to fit.

    Notes
    -----
    Known errors make ``aicc`` and ``bic`` chi2 plus a penalty; errors up to a factor n ln(chi2/n) plus one that counts
    the factor. A p of the likelihood ratio is not exact where one decay is compared with two: the second time means
    nothing if there is no second decay. For the same reason such a pair has no Wald test. docs/compare.md shows how
    often a needless parameter is chosen.

    References
    ----------
    .. [1] L. Breiman, J. Friedman, R. Olshen and C. Stone, Classification and Regression Trees (Wadsworth, 1984).
    """
    chosen = FitConfig.make(config, **settings)
    records = candidates(models)
    _check(chosen, folds, seed)
    if not isinstance(data, xr.DataTree):
        found = _compared(*prepare(data, sigma, chosen), records, folds, seed)
        _warn([found])
        return found
    groups = each_group(data, lambda group: _compared(*prepare(group, None, chosen), records, folds, seed))
    _warn(groups.values())
    return xr.DataTree.from_dict(groups)


def _warn(found: Iterable[xr.Dataset]) -> None:
    """Say once what numbers assume that have nothing better."""
    if any(one.attrs["warning"] == ONE_CURVE for one in found):
        logger.warning(ONE_CURVE)


def _check(config: FitConfig, folds: int, seed: int) -> None:
    if config.robust is not None or config.loss != "linear":
        what = f"robust='{config.robust}'" if config.robust else f"loss='{config.loss}'"
        raise ConfigError(
            f"{what} gives no likelihood to compare models by; leave outliers out first (fit with robust='clip' flags "
            "them), and compare with loss='linear'"
        )
    if config.weights == "gls":
        raise ConfigError(
            "weights: 'gls' weighs the points of each model by a correlation of its own, so their chi2 cannot "
            "be compared; leave it out"
        )
    if folds < 0 or folds == 1:
        raise ConfigError(f"folds is {folds}; give 2 or more, or 0 for no cross-validation")
    if not 0 <= seed < 2**64:
        raise ConfigError(f"seed is {seed}; give a number from 0 to 2^64 - 1")


def _compared(
    curves: xr.Dataset, config: FitConfig, models: tuple[Candidate, ...], folds: int, seed: int
) -> xr.Dataset:
    delay, level = known(curves["delay"]).astype(np.float64), levels(curves)
    if folds * BLOCKS > delay.size:
        raise ConfigError(f"folds is {folds}, but {delay.size} delays make no {folds * BLOCKS} blocks; give fewer")
    jobs = tuple(_job(one, config, models, delay, level) for one in models)
    pairs = nested([_with(one, job) for one, job in zip(models, jobs, strict=True)], [(j.lower, j.upper) for j in jobs])
    masks = fold_masks(delay, folds, seed) if folds else np.zeros((0, delay.size), np.bool_)
    plan = Plan(models=models, jobs=jobs, pairs=pairs, masks=masks)
    g2, others = operands(curves, jobs[0].config)
    packed = map_curves(
        partial(compare_block, plan=plan), g2, *others, core="delay", dtype=plan.dtype, name="compare", own=("cluster",)
    )
    warning = WITH_CLUSTERS if "g2_cluster" in curves else ONE_CURVE
    told = {"config": config.model_dump_json(), "folds": folds, "seed": str(seed), "warning": warning}
    return _labelled(columns(packed), curves, plan, told)


def _with(one: Candidate, job: Job) -> Candidate:
    """Return a candidate that knows of everything that is held."""
    return Candidate(model=one.model, fixed=dict(job.config.fixed))


def _job(
    one: Candidate, config: FitConfig, models: tuple[Candidate, ...], delay: np.ndarray[Any, Any], level: Any
) -> Job:
    """How one of the models is fitted: with the settings that it has parameters for."""
    everything = {name for other in models for name in other.model.names}
    for name in (*config.bounds, *config.fixed):
        if name not in everything:
            raise UnknownParameterError(name, ", ".join(other.name for other in models), sorted(everything))
    own = set(one.model.names)
    config = FitConfig.make(
        config,
        bounds={name: bounds for name, bounds in config.bounds.items() if name in own},
        fixed={**{name: value for name, value in config.fixed.items() if name in own}, **one.fixed},
        detail="full",
        diagnostics="none",
        interval="none",
    )
    lower, upper = one.model.box(delay, config.bounds, config.fixed)
    check_output(one.model, delay, delay.size, lower, upper, None)
    return Job(delay=delay, level=level, model=one.model, config=config, lower=lower, upper=upper)


def _labelled(found: dict[str, Any], curves: xr.Dataset, plan: Plan, told: Mapping[str, Any]) -> xr.Dataset:
    """Put names on the columns of `plan.dtype`."""
    dims = [str(dim) for dim in curves["g2"].dims][:-1]
    names = [one.name for one in plan.models]
    variables = {
        name: xr.Variable((*dims, LAST[name]) if name in LAST else dims, column, _attributes(name, column.dtype, names))
        for name, column in found.items()
    }
    variables["n_free"] = xr.Variable("model", plan.n_free, {"long_name": "parameters fitted", "units": "1"})
    own: dict[str, Any] = {
        "model": ("model", names, {"long_name": "model that was fitted", "units": "1"}),
        "formula": ("model", [one.model.formula for one in plan.models], {"long_name": "formula of g2", "units": "1"}),
        "criterion": ("criterion", list(plan.criteria), {"long_name": "criterion of the best model", "units": "1"}),
    }
    if plan.pairs:
        for side in ("small", "large"):
            there = [names[getattr(pair, side)] for pair in plan.pairs]
            own[side] = ("test", there, {"long_name": f"{side}er of the two nested models", "units": "1"})
    carried = {name: c for name, c in curves.coords.items() if set(c.dims) <= set(dims)}
    attrs = {
        "schema_version": SCHEMA_VERSION, "models": json.dumps(names), **told,
        "versions": json.dumps(versions()), "cpu": cpu_target(),
    }  # fmt: skip
    return xr.Dataset(variables, {**carried, **own}, attrs)


def _attributes(name: str, dtype: Any, models: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"long_name": LONG_NAMES[name], "units": "1"}
    if name in ("status", "errors_from"):
        kind: Any = Status if name == "status" else ErrorsFrom
        found["flag_values"] = np.array([int(member) for member in kind], dtype=dtype)
        found["flag_meanings"] = " ".join(member.name.lower() for member in kind)
    if name == "best":
        found["flag_values"] = np.arange(-1, len(models), dtype=dtype)
        found["flag_meanings"] = " ".join(["none", *(model.replace(" ", "") for model in models)])
    return found
