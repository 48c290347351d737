"""Several models for the same curves: criteria, tests of nested pairs, prediction, and which model each prefers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.blocks import Job, Slab, fitted
from xpcs_dask.fitting.candidates import Candidate, Pair
from xpcs_dask.fitting.criteria import aicc, bic, scale_known
from xpcs_dask.fitting.cross_validation import cross_validate
from xpcs_dask.fitting.models import Floats
from xpcs_dask.fitting.nested_tests import likelihood_ratio, wald
from xpcs_dask.fitting.threads import one_thread


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """What is compared, the same for all blocks."""

    models: tuple[Candidate, ...]
    jobs: tuple[Job, ...]
    """How each of them is fitted."""
    pairs: tuple[Pair, ...]
    masks: NDArray[np.bool_]
    """(folds, m) delays that each fold leaves out."""

    @property
    def n_free(self) -> NDArray[np.int64]:
        """(models,) parameters that are fitted."""
        return np.array([(job.lower < job.upper).sum() for job in self.jobs])

    @property
    def criteria(self) -> tuple[str, ...]:
        """What prefers a model."""
        return ("aicc", "bic", "cv")[: 3 if len(self.masks) else 2]

    @property
    def dtype(self) -> np.dtype[np.void]:
        """Of what is said about one curve."""
        k, t = len(self.models), len(self.pairs)
        fields: list[tuple[str, str, tuple[int, ...]]] = [
            ("status", "i1", (k,)),
            ("n_used", "<i4", ()),
            ("chi2", "<f8", (k,)),
            ("aicc", "<f8", (k,)),
            ("bic", "<f8", (k,)),
            ("akaike_weight", "<f8", (k,)),
        ]
        if len(self.masks):
            fields += [("cv", "<f8", (k,)), ("cv_stderr", "<f8", (k,))]
        fields.append(("best", "i1", (len(self.criteria),)))
        if t:
            fields += [(name, "<f8", (t,)) for name in ("likelihood_ratio", "likelihood_ratio_p", "wald", "wald_p")]
            fields.append(("errors_from", "i1", (t,)))
        return np.dtype(fields)


def compare_block(g2: Any, *others: Any, plan: Plan) -> NDArray[np.void]:
    """Compare models on every curve of a block.

    Parameters
    ----------
    g2, others
        As for `blocks.fitted`.

    Returns
    -------
    array of `plan.dtype`, shape (...)
        NaN where a model could not be fitted; ``best`` is -1 where none could.
    """
    g2 = np.asarray(g2)
    out = np.empty(g2.shape[:-1], dtype=plan.dtype)
    rows = out.reshape(-1)
    with one_thread():
        for slab in zip(*(fitted(g2, *others, job=job) for job in plan.jobs), strict=True):
            found = _compared(slab, plan)
            for name in rows.dtype.names or ():
                rows[name][slab[0].part] = found[name]
    return out


def _compared(fits: tuple[Slab, ...], plan: Plan) -> dict[str, Any]:
    """Fields of `plan.dtype`, of curves that every model was fitted to."""
    found: dict[str, Any] = {name: np.stack([slab.rows[name] for slab in fits], axis=1) for name in ("status", "chi2")}
    found["n_used"] = fits[0].rows["n_used"]
    for name, criterion in (("aicc", aicc), ("bic", bic)):
        found[name] = criterion(found["chi2"], plan.n_free, found["n_used"][:, None], scale_known(plan.jobs[0].config))
    found["akaike_weight"] = akaike_weights(found["aicc"])
    if len(plan.masks):
        found["cv"], found["cv_stderr"] = _predictions(fits, plan)
    chosen = [best(found["aicc"]), best(found["bic"])]
    if len(plan.masks):
        chosen.append(simplest(found["cv"], found["cv_stderr"], plan.n_free))
    found["best"] = np.stack(chosen, axis=1)
    if plan.pairs:
        found |= _tests(fits, plan)
    return found


def _predictions(fits: tuple[Slab, ...], plan: Plan) -> tuple[Floats, Floats]:
    errors = []
    for slab, job in zip(fits, plan.jobs, strict=True):
        box = (job.model, job.config, job.lower, job.upper)
        errors.append(cross_validate(slab.rows, job.delay, slab.y, slab.weight, *box, plan.masks))
    mean, spread = (np.stack(part, axis=1) for part in zip(*errors, strict=True))
    return mean, spread


def _tests(fits: tuple[Slab, ...], plan: Plan) -> dict[str, Any]:
    found: dict[str, list[Any]] = {
        name: [] for name in ("likelihood_ratio", "likelihood_ratio_p", "wald", "wald_p", "errors_from")
    }
    for pair in plan.pairs:
        small, large = fits[pair.small].rows, fits[pair.large].rows
        ratio = likelihood_ratio(small, large, scale_known(plan.jobs[pair.large].config))
        nothing = np.full(len(large), np.nan)
        distance = wald(large, plan.models[pair.large].model, pair.null) if pair.null else (nothing, nothing)
        for name, column in zip(found, (*ratio, *distance, large["errors_from"]), strict=True):
            found[name].append(column)
    return {name: np.stack(parts, axis=1) for name, parts in found.items()}


def akaike_weights(aicc: Floats) -> Floats:
    """Weights (n, models) of models that were fitted, of sum 1; NaN for the others.

    References
    ----------
    .. [1] K. P. Burnham and D. R. Anderson, Model Selection and Multimodel Inference (Springer, 2002).
    """
    known = np.isfinite(aicc)
    lowest = np.where(known, aicc, np.inf).min(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", over="ignore"):
        likelihood = np.where(known, np.exp(-0.5 * (aicc - lowest)), 0.0)
        return np.where(known, likelihood / likelihood.sum(axis=1, keepdims=True), np.nan)


def best(values: Floats) -> NDArray[np.int8]:
    """Which column (n, models) is the smallest; -1 where none is known."""
    known = np.isfinite(values)
    return np.where(known.any(axis=1), np.where(known, values, np.inf).argmin(axis=1), -1).astype(np.int8)


def simplest(values: Floats, errors: Floats, n_free: NDArray[np.int64]) -> NDArray[np.int8]:
    """Which column (n, models) has the fewest parameters within one standard error of the smallest; -1 for none."""
    lowest = best(values)
    at = np.maximum(lowest, 0)[:, None]
    limit = np.take_along_axis(values, at, axis=1) + np.take_along_axis(np.nan_to_num(errors), at, axis=1)
    with np.errstate(invalid="ignore"):
        near = values <= limit
    # fewest parameters first, and of equals the better one
    rank = n_free + np.where(near, values / (2.0 * np.maximum(limit, np.finfo(np.float64).tiny)), np.inf)
    return np.where(lowest < 0, -1, rank.argmin(axis=1)).astype(np.int8)
