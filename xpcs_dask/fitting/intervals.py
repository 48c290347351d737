r"""Intervals of fitted parameters, from bootstrap replicates or from standard errors, for whole stacks of curves.

All are made on the natural scale of each parameter (`fitting.scales`) and carried back. With replicates
:math:`\theta^*` of an estimate :math:`\hat\theta`, their quantiles :math:`q(f)` (`quantiles.quantile`) and
:math:`\alpha` = (1 - level)/2:

- percentile: :math:`q(\alpha), q(1-\alpha)`;
- basic: :math:`2\hat\theta - q(1-\alpha), 2\hat\theta - q(\alpha)`;
- bca: percentile with fractions corrected for bias and acceleration (Efron, J. Am. Stat. Assoc. 82, 171 (1987));
- studentised: :math:`\hat\theta - s\,q_t(1-\alpha), \hat\theta - s\,q_t(\alpha)`, with quantiles of
  :math:`(\theta^* - \hat\theta)/s^*`;
- t: :math:`\hat\theta \mp t_{1-\alpha}(dof)` times the standard deviation of the replicates.

A parameter that is held has an interval of zero width. No end leaves the box of the fit; one that lies on it is marked.
Where a replicate or the estimate is at the end of its natural scale (a fraction of exactly 0 or 1), the parameter of
that curve is treated on its own scale.

References
----------
A. C. Davison and D. V. Hinkley, Bootstrap Methods and their Application (1997), chapter 5.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xpcs_dask.config import Interval, Scheme
from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting import interval_kinds as kinds
from xpcs_dask.fitting.interval_ends import Ends, Mark, Parents, boxed
from xpcs_dask.fitting.interval_kinds import Sample, acceleration, student_quantile
from xpcs_dask.fitting.models import Floats, Model
from xpcs_dask.fitting.scales import back, forward, natural_scales, slope

__all__ = ["Ends", "Kind", "Mark", "Parents", "acceleration", "choose_interval", "interval", "student"]

Kind: TypeAlias = Literal["percentile", "basic", "bca", "studentised", "t"]

FEW_CLUSTERS = 30
"""Below it percentiles are too narrow (88 % instead of 95 with 12 clusters), and t is not."""


def choose_interval(
    kind: Interval, scheme: Scheme, n_clusters: ArrayLike = 0, weak: ArrayLike = False
) -> NDArray[np.str_]:
    """Kind of interval of each curve: what is asked for, or for "auto" what covered best in simulation.

    Parameters
    ----------
    kind, scheme : str
        Of `config.BootstrapConfig`.
    n_clusters : array_like of int, shape (n,)
        Clusters of each curve; only the scheme "cluster" looks at them.
    weak : array_like of bool, shape (n,)
        Curves flagged weak or without signal: their estimates scatter so unevenly that no symmetric interval covers,
        so they get percentiles however few the clusters are. (bca covers as well there, not better, and is not defined
        where all replicates lie on one side.)

    Returns
    -------
    array of str, shape (n,)
        Over clusters t below `FEW_CLUSTERS`, else percentile; over delays percentile.
    """
    clusters, uncertain = np.broadcast_arrays(np.asarray(n_clusters), np.asarray(weak, dtype=np.bool_))
    if kind != "auto":
        return np.full(clusters.shape, kind)
    symmetric = (clusters < FEW_CLUSTERS) & ~uncertain if scheme == "cluster" else np.zeros(clusters.shape, np.bool_)
    return np.where(symmetric, "t", "percentile")


def interval(
    kind: Kind, replicates: Floats, parents: Parents, level: float = 0.95, replicate_stderr: Floats | None = None
) -> Ends:
    """Make intervals from replicates.

    Parameters
    ----------
    kind : {"percentile", "basic", "bca", "studentised", "t"}
    replicates : array, shape (n, B, p)
        Parameters of the refits; a replicate with a NaN is left out.
    parents : Parents
    level : float
        Coverage, 0 to 1.
    replicate_stderr : array, shape (n, B, p), optional
        Standard errors of the replicates; studentised needs them.

    Returns
    -------
    Ends

    Raises
    ------
    ConfigError
        The kind needs something that is not there.
    """
    sample, alpha = Sample(replicates, parents), 0.5 * (1.0 - level)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        if kind == "studentised":
            if parents.stderr is None or replicate_stderr is None:
                raise ConfigError("interval: 'studentised' needs standard errors of the fits and of every replicate")
            return _finish(sample, kinds.studentised(sample, alpha, parents.stderr, replicates, replicate_stderr))
        if kind == "bca":
            if parents.acceleration is None:
                raise ConfigError("interval: 'bca' needs the acceleration, which clusters tell; use 'percentile'")
            return _finish(sample, kinds.bca(sample, alpha, parents.acceleration))
        simple = {"percentile": kinds.percentile, "basic": kinds.basic, "t": kinds.t_scaled}
        return _finish(sample, simple[kind](sample, alpha))


def _finish(sample: Sample, made: kinds.Raw) -> Ends:
    """Carry the ends back, into the box."""
    relative = made.error / (0.5 * (made.upper - made.lower))[..., None]
    relative[made.error == 0] = 0.0
    found = np.stack([sample.back(made.lower), sample.back(made.upper)], axis=-1)
    found[~np.isfinite(sample.parents.value) | (sample.count < 2)] = np.nan
    return boxed(found, relative, np.where(made.extreme, np.uint8(Mark.EXTREME), np.uint8(0)), sample.parents)


def student(value: Floats, stderr: Floats, dof: Any, level: float, model: Model, lower: Floats, upper: Floats) -> Ends:
    """Intervals that are symmetric on the natural scale: value -+ t(dof) standard errors, inside the box.

    Parameters
    ----------
    value, stderr : array, shape (n, p)
    dof : array_like, broadcast to (n,)
        Degrees of freedom of t; infinite for the normal quantile.
    level : float
        Coverage, 0 to 1.
    model : Model
    lower, upper : array, shape (p,)
        The box of the fit.

    Returns
    -------
    Ends
        NaN and `Mark.UNDEFINED` where there is no standard error (a parameter on a bound).
    """
    parents = Parents(model=model, value=value, lower=lower, upper=upper)
    scales = natural_scales(model)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        centre, plain = forward(value, scales), ~np.isfinite(forward(value, scales))
        half = stderr * np.where(plain, 1.0, slope(value, scales))
        half *= student_quantile(np.broadcast_to(dof, len(value)), 0.5 * (1.0 - level))[:, None]
        centre = np.where(plain, value, centre)
        found = [np.where(plain, end, back(end, scales)) for end in (centre - half, centre + half)]
    shape = (*value.shape, 2)
    return boxed(np.stack(found, axis=-1), np.zeros(shape), np.zeros(shape, np.uint8), parents)
