"""`fit_curves`: arrays in, arrays out, for any model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xpcs_dask.config import Covariance, FitConfig, Loss, Search
from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.layout import fit_dtype
from xpcs_dask.fitting.models import Evaluate, Floats, Model, resolve, signature_of
from xpcs_dask.fitting.slabs import SLAB_POINTS
from xpcs_dask.fitting.standard_errors import standard_errors
from xpcs_dask.fitting.strategy import fit_stack
from xpcs_dask.fitting.threads import one_thread


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveFits:
    """Fitted curves; ``…`` is the leading shape of `y`, empty for a single curve.

    A curve that could not be fitted has NaN numbers and a `status` that says why.
    """

    value: Floats
    """Parameters, shape (…, p)."""
    stderr: Floats
    """Standard errors, shape (…, p); 0 where held, NaN on a bound or where the data do not tell."""
    covariance: Floats
    """Covariance of the parameters, shape (…, p, p)."""
    chi2: Floats
    """What was made small: the weighted sum of squares, or that of the robust loss (`losses.objective`)."""
    dof: NDArray[np.int32]
    """Points used minus parameters fitted."""
    n_used: NDArray[np.int32]
    """Points used."""
    status: NDArray[np.int8]
    """How it ended: `layout.Status`."""
    rung: NDArray[np.int8]
    """Which attempt won: `layout.Rung`."""
    flags: NDArray[np.uint32]
    """What to distrust: bits of `layout.Flag`."""
    evaluations: NDArray[np.int32]
    """Evaluations of the model."""
    parameters: tuple[str, ...]
    """Names of the p parameters."""


def fit_curves(
    x: ArrayLike,
    y: ArrayLike,
    sigma: ArrayLike | None = None,
    model: str | Model | Evaluate = "single",
    *,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    fixed: Mapping[str, float] | None = None,
    loss: Loss = "linear",
    loss_scale: float = 1.0,
    start: ArrayLike | None = None,
    jac: Evaluate | None = None,
    absolute_sigma: bool = True,
    covariance: Covariance = "auto",
    search: Search = "fast",
    curve_id: ArrayLike | None = None,
) -> CurveFits:
    r"""Fit a model to one curve or to many, each as well as one curve can be.

    Parameters
    ----------
    x : array_like
        What the model takes, the same for all curves: delays in s, shape ``(m,)``, for the models known by name;
        any shape for a callable that returns ``(m,)``, ``(2, m)`` for two predictors.
    y : array_like, shape (…, m)
        The curves; NaN, or masked, where there is no point.
    sigma : array_like, optional
        Standard errors of `y`, broadcast to its shape. A point with an error that is zero, negative, NaN or infinite is
        not used, nor is one that is masked in `y` or `sigma`. Without errors all points weigh the same and the
        covariance is scaled by the residuals.
    model : str, Model or callable, default "single"
        Name of a known model, a record, or any ``f(x, *parameters)``; an ``@njit`` function will do.
    bounds : mapping of str to (float, float), optional
        Lower and upper bound by parameter name; others keep the model's own.
    fixed : mapping of str to float, optional
        Values of parameters that are held.
    loss : {"linear", "soft_l1", "huber", "cauchy", "arctan", "tukey"}, default "linear"
        Penalty on weighted residuals; anything but linear is robust.
    loss_scale : float, default 1
        Residual, in units of sigma, beyond which a robust loss takes over; for "tukey" a factor on 4.685 robust
        standard deviations, which are found from the residuals.
    start : array_like, shape (p,) or (…, p), optional
        Where to start. By default the model's own start, a spread over finite bounds, or ones.
    jac : callable, optional
        ``jac(x, *parameters)``, shape ``(m, p)``. By default complex steps where the callable takes complex numbers,
        else three-point differences.
    absolute_sigma : bool, default True
        Whether `sigma` is in the unit of `y`, or only relative.
    covariance : {"auto", "wald", "scaled", "hc3"}, default "auto"
        Covariance behind `stderr`; auto is wald for absolute errors and scaled for relative ones; hc3 takes the errors
        from the residuals, point by point. A robust loss always has the sandwich of an M-estimator.
    search : {"fast", "thorough"}, default "fast"
        How many minima are looked for.
    curve_id : array_like of int, optional
        One number a curve, shape ``(…)``: what random numbers and caches are keyed by. A fit draws none, so it changes
        nothing here; it is checked so that the same call serves the bootstrap.

    Returns
    -------
    CurveFits
        Arrays with the leading shape of `y`. Nothing is lazy.

    Raises
    ------
    ConfigError
        A setting or a shape makes no sense: a bound is crossed, a name unknown, the model returns another shape than
        that of one curve. A curve that cannot be fitted never raises.

    Notes
    -----
    A fit is called converged only where the projected gradient and the relative offset [1]_ are nothing within
    rounding, whichever optimiser brought it there.

    References
    ----------
    .. [1] D. M. Bates and D. G. Watts, Technometrics 23, 179 (1981).

    Examples
    --------
    >>> delay = np.geomspace(1e-3, 10, 40)
    >>> g2 = 1 + 0.2 * np.exp(-2 * delay / 0.1)
    >>> fit_curves(delay, g2, model="simple").value.round(3)
    array([0.2, 0.1, 1. ])
    """
    record = _resolve(model, jac, start)
    values, error = _points(y, sigma)
    grid = _abscissa(x, record, values.shape[-1])
    if sigma is None and covariance == "wald":
        raise ConfigError("covariance: 'wald' needs errors; without sigma= it can only be 'scaled' (or 'auto')")
    if covariance == "theory":
        raise ConfigError(
            "covariance: 'theory' needs counts, which arrays do not tell; use `fit` on opened files, or 'hc3'"
        )
    if covariance == "cluster":
        raise ConfigError("covariance: 'cluster' needs clusters; use `fit` on a Dataset with g2_cluster, or give 'hc3'")
    absolute = absolute_sigma and sigma is not None
    config = FitConfig.make(
        bounds=dict(bounds or {}),
        fixed=dict(fixed or {}),
        loss=loss,
        loss_scale=loss_scale,
        absolute_sigma=absolute,
        covariance=covariance,
        search=search,
        errors="quoted",
        detail="full",
    )
    lower, upper = record.box(grid if np.ndim(grid) == 1 else None, config.bounds, config.fixed)
    lead, m = values.shape[:-1], values.shape[-1]
    begin = _start(start, lead, len(record.parameters))
    _check_ids(curve_id, lead)
    check_output(record, grid, m, lower, upper, begin)
    flat = values.reshape(prod(lead), m)
    packed = np.empty(len(flat), dtype=fit_dtype(record, "full"))
    step = max(1, SLAB_POINTS // max(m, 1))
    with one_thread():
        for first in range(0, len(flat), step):
            part = slice(first, first + step)
            weight = _weights(flat[part], None if error is None else error.reshape(flat.shape)[part])
            some = begin[part] if begin is not None and begin.ndim > 1 else begin
            packed[part] = fit_stack(grid, flat[part], weight, record, config, lower, upper, some)
            standard_errors(packed[part], grid, flat[part], weight, record, config, lower, upper)
    return unpack(packed.reshape(lead), record)


def unpack(packed: NDArray[np.void], model: Model) -> CurveFits:
    """Fields of packed results, the covariance as full matrices."""
    p = len(model.parameters)
    row, column = np.indices((p, p))
    low, high = np.minimum(row, column), np.maximum(row, column)
    matrix = np.take(packed["covariance"], high * (high + 1) // 2 + low, axis=-1)
    names = ("value", "stderr", "chi2", "dof", "n_used", "status", "rung", "flags", "evaluations")
    fields: dict[str, Any] = {name: packed[name].copy() for name in names}
    return CurveFits(covariance=matrix, parameters=model.names, **fields)


def _resolve(model: str | Model | Evaluate, jac: Evaluate | None, start: ArrayLike | None) -> Model:
    """Record of the model; ``f(x, *args)`` gets names p0, p1, … as many as there are start values."""
    if isinstance(model, str | Model):
        if jac is not None:
            raise ConfigError("jac= belongs to a callable model; a Model carries its own jacobian")
        return resolve(model)
    many = any(a.kind is a.VAR_POSITIONAL for a in signature_of(model))
    if many and start is not None:
        return Model.from_function(model, [f"p{k}" for k in range(np.shape(start)[-1])], jac=jac)
    return resolve(model, jac=jac)


def _points(y: ArrayLike, sigma: ArrayLike | None) -> tuple[Floats, Floats | None]:
    """Curves and their errors, as float64 of one shape."""
    values = _numbers("y", y)
    if values.ndim == 0:
        raise ConfigError("y is a single number; give a curve (m,) or curves (…, m)")
    if sigma is None:
        return values, None
    error = _numbers("sigma", sigma)
    try:
        return values, np.broadcast_to(error, values.shape)
    except ValueError:
        raise ConfigError(f"sigma of shape {error.shape} does not fit y of shape {values.shape}") from None


def _numbers(name: str, given: ArrayLike) -> Floats:
    """`given` as float64, NaN where it is masked."""
    array = np.asanyarray(given)
    if array.dtype.kind in "cSUmMV":
        what = "complex numbers" if array.dtype.kind == "c" else f"{array.dtype} values"
        raise ConfigError(f"{name} holds {what}; give real numbers")
    try:
        if isinstance(array, np.ma.MaskedArray):
            return np.asarray(np.ma.filled(array.astype(np.float64), np.nan))
        return np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} cannot be read as real numbers: {error}") from None


def _weights(values: Floats, error: Floats | None) -> Floats:
    """Weights 1/sigma, 0 where the point cannot be used."""
    if error is None:
        return np.isfinite(values).astype(np.float64)
    with np.errstate(divide="ignore", over="ignore"):
        weight = np.divide(1.0, error)
    # Comparisons with NaN are False, 1/inf is 0 and 1/0 is inf: a finite weight above 0 is a usable error.
    usable = (weight > 0) & (weight < np.inf) & (np.abs(values) < np.inf)
    np.copyto(weight, 0.0, where=~usable)
    return weight


def _abscissa(x: ArrayLike, model: Model, m: int) -> Any:
    """X as numbers where it is made of numbers; models known by name need one delay a point.

    Models known by name get finite delays of 0 and more, all others anything but NaN.
    """
    try:
        grid = _numbers("x", x)
    except (ConfigError, ValueError):
        if model.of_delays:
            raise
        return x
    if model.of_delays and grid.shape != (m,):
        raise ConfigError(f"x has shape {grid.shape} but the curves have {m} points; model '{model.name}' takes ({m},)")
    bad = np.argwhere(~(np.isfinite(grid) & (grid >= 0)) if model.of_delays else np.isnan(grid))
    if len(bad):
        where = tuple(map(int, bad[0]))
        rule = f"model '{model.name}' takes finite delays of 0 s and more" if model.of_delays else "give numbers"
        raise ConfigError(f"x is {grid[where]:g} at position {where[0] if grid.ndim == 1 else where}; {rule}")
    return grid


def _start(start: ArrayLike | None, lead: tuple[int, ...], p: int) -> Floats | None:
    if start is None:
        return None
    begin = np.asarray(start, dtype=np.float64)
    if begin.shape not in {(p,), (*lead, p)}:
        raise ConfigError(f"start has shape {begin.shape}; give ({p},) or {(*lead, p)}")
    if not np.isfinite(begin).all():
        raise ConfigError("start holds NaN or infinite values")
    return begin if begin.ndim == 1 else begin.reshape(-1, p)


def _check_ids(curve_id: ArrayLike | None, lead: tuple[int, ...]) -> None:
    if curve_id is not None and np.shape(curve_id) != lead:
        raise ConfigError(f"curve_id has shape {np.shape(curve_id)} but there are curves of shape {lead}")


def check_output(model: Model, x: Any, m: int, lower: Floats, upper: Floats, start: Floats | None) -> None:
    """Refuse a model that answers in another shape than that of a curve; one that raises is reported curve by curve."""
    theta = np.ones(lower.size) if start is None else start.reshape(-1, lower.size)[0]
    try:
        with np.errstate(all="ignore"):
            shape = np.shape(model.evaluate(x, *np.clip(theta, lower, upper)))
    except Exception:  # status MODEL_FAILED says so for each curve
        return
    if shape != (m,):
        raise ConfigError(
            f"model '{model.name}' returned shape {shape} for x of shape {np.shape(x)}; curves are ({m},)"
        )
