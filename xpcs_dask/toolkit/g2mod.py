"""g2 of several files: gathered, drawn, and the arithmetic on arrays of g2 that scripts of the XPCS Toolkit use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xpcs_dask.errors import ConfigError
from xpcs_dask.toolkit.g2_plot import compute_geometry, pg_plot

__all__ = [
    "batch_g2_normalization",
    "compute_g2_ensemble_statistics",
    "compute_geometry",
    "get_data",
    "optimize_g2_error_propagation",
    "pg_plot",
    "vectorized_g2_baseline_correction",
    "vectorized_g2_interpolation",
]

Floats = NDArray[np.float64]


def get_data(xf_list: Sequence[Any], q_range: Any = None, t_range: Any = None) -> tuple[Any, Any, Any, Any, Any]:
    """Gather g2 of files.

    Parameters
    ----------
    xf_list : sequence of XpcsFile
    q_range, t_range : (float, float), optional
        1/angstrom and s, ends included.

    Returns
    -------
    q, t_el, g2, g2_err, labels : lists
        One entry a file, each as `XpcsFile.get_g2_data` returns it. ``(False, None, None, None, None)`` if a file has
        no multi-tau g2.
    """
    if not all("Multitau" in xf.atype for xf in xf_list):
        return False, None, None, None, None
    found = [xf.get_g2_data(qrange=q_range, trange=t_range) for xf in xf_list]
    q, t_el, g2, errors, labels = ([one[part] for one in found] for part in range(5))
    return q, t_el, g2, errors, labels


def vectorized_g2_baseline_correction(g2_data: ArrayLike, baseline_values: ArrayLike) -> Floats:
    """Shift each column so that its baseline becomes 1.

    Parameters
    ----------
    g2_data : (delay, bin) array_like
    baseline_values : (bin,) array_like, or one number

    Returns
    -------
    (delay, bin) float64
    """
    g2, baseline = np.asarray(g2_data, np.float64), np.asarray(baseline_values, np.float64)
    if baseline.shape not in {(), g2.shape[1:]}:
        raise ConfigError(f"{baseline.shape} baselines for g2 of shape {g2.shape}: one for each column is expected")
    return g2 - baseline + 1.0


def batch_g2_normalization(g2_data_list: Sequence[ArrayLike], method: str = "max") -> list[Floats]:
    """Divide each column by its largest value or its mean, or make its mean 0 and its standard deviation 1.

    Parameters
    ----------
    g2_data_list : sequence of (delay, bin) array_like
    method : "max", "mean" or "std"

    Returns
    -------
    list of (delay, bin) float64
        NaN in columns that would be divided by 0. Values that are NaN count for nothing.
    """
    if method not in {"max", "mean", "std"}:
        raise ConfigError(f"method: {method!r} is none of 'max', 'mean', 'std'")
    return [_normalized(np.asarray(g2, np.float64), method) for g2 in g2_data_list]


def _normalized(g2: Floats, method: str) -> Floats:
    there = np.isfinite(g2)
    count = np.maximum(there.sum(axis=0), 1)
    mean = np.where(there, g2, 0).sum(axis=0) / count
    if method == "max":
        shift, scale = np.zeros_like(mean), np.where(there, g2, -np.inf).max(axis=0)
    elif method == "mean":
        shift, scale = np.zeros_like(mean), mean
    else:
        shift, scale = mean, np.sqrt(np.where(there, (g2 - mean) ** 2, 0).sum(axis=0) / count)
    return (g2 - shift) / np.where(np.isfinite(scale) & (scale != 0), scale, np.nan)


def compute_g2_ensemble_statistics(g2_data_list: Sequence[ArrayLike]) -> dict[str, Any]:
    """Statistics over files, at each delay and bin.

    Parameters
    ----------
    g2_data_list : sequence of (delay, bin) array_like
        All of one shape.

    Returns
    -------
    dict
        ``mean``, ``std`` (of the sample: over n - 1), ``sem`` (of the mean), ``median``, ``min``, ``max``, ``q25``,
        ``q75``, each (delay, bin), NaN where no file, or for ``std`` and ``sem`` only one, has a number; ``count``
        (delay, bin), and ``n_datasets``.
    """
    arrays = [np.asarray(g2, np.float64) for g2 in g2_data_list]
    if not arrays or len({array.shape for array in arrays}) != 1:
        raise ConfigError(f"arrays of one shape are needed, not {sorted({array.shape for array in arrays})}")
    stack = np.ma.masked_invalid(np.stack(arrays))
    count = stack.count(axis=0)
    spread = np.where(count > 1, np.sqrt(_filled(stack.var(axis=0)) * count / np.maximum(count - 1, 1)), np.nan)
    low, middle, high = _quartiles(np.stack(arrays))
    return {
        "mean": _filled(stack.mean(axis=0)),
        "std": spread,
        "sem": spread / np.sqrt(np.maximum(count, 1)),
        "median": middle,
        "min": _filled(stack.min(axis=0)),
        "max": _filled(stack.max(axis=0)),
        "q25": low,
        "q75": high,
        "count": count,
        "n_datasets": len(arrays),
    }


def _filled(values: Any) -> Floats:
    return np.ma.filled(np.ma.asarray(values, np.float64), np.nan)


def _quartiles(stack: Floats) -> Floats:
    """(3, ...) quartiles of what is a number; NaN where nothing is."""
    nothing = ~np.isfinite(stack).any(axis=0)
    found = np.nanquantile(
        np.where(nothing, 0.0, np.where(np.isfinite(stack), stack, np.nan)), (0.25, 0.5, 0.75), axis=0
    )
    return np.where(nothing, np.nan, found)


def optimize_g2_error_propagation(
    g2_data: ArrayLike, g2_errors: ArrayLike, operations: Sequence[str | Mapping[str, Any]]
) -> tuple[Floats, Floats]:
    """Do operations on g2 one after the other, and with its standard errors what they do to first order.

    Parameters
    ----------
    g2_data, g2_errors : array_like of one shape
    operations : sequence of str or mapping
        Names, or mappings with the name as ``"type"`` and what it needs: ``"subtract_baseline"`` (g2 - 1, or less
        ``"value"``), ``"scale"`` (``"factor"``), ``"offset"`` (``"value"``), ``"power"`` (``"exponent"``), ``"log"``,
        ``"sqrt"``, ``"square"``, ``"normalize"`` (by the first delay, whose own error is counted in).

    Returns
    -------
    g2, errors : float64
        NaN where an operation has no value (the logarithm of a negative number).
    """
    g2, errors = np.array(g2_data, np.float64), np.array(g2_errors, np.float64)
    if g2.shape != errors.shape:
        raise ConfigError(f"g2 has shape {g2.shape}, its errors {errors.shape}")
    for operation in operations:
        told = {"type": operation} if isinstance(operation, str) else dict(operation)
        with np.errstate(invalid="ignore", divide="ignore"):
            g2, errors = _operate(g2, errors, told)
    return g2, errors


_POWERS = {"sqrt": 0.5, "square": 2.0}


def _operate(g2: Floats, errors: Floats, told: Mapping[str, Any]) -> tuple[Floats, Floats]:
    kind = told.get("type")
    if kind == "subtract_baseline":
        return g2 - _told(told, "value", 1.0), errors
    if kind == "offset":
        return g2 + _told(told, "value"), errors
    if kind == "scale":
        return g2 * _told(told, "factor"), errors * np.abs(_told(told, "factor"))
    if kind == "log":
        positive = np.where(g2 > 0, g2, np.nan)
        return np.log(positive), errors / positive
    if kind == "power" or kind in _POWERS:
        exponent = _POWERS[kind] if kind in _POWERS else _told(told, "exponent")
        value = g2**exponent
        return value, np.where(np.isfinite(value), np.abs(exponent * g2 ** (exponent - 1)) * errors, np.nan)
    if kind == "normalize":
        first, first_error = g2[:1], errors[:1]
        ratio = g2 / first
        spread = np.sqrt((errors / first) ** 2 + (ratio * first_error / first) ** 2)
        spread[:1] = 0.0  # over itself it is 1, without error
        return ratio, spread
    known = "subtract_baseline, scale, offset, power, log, sqrt, square, normalize"
    raise ConfigError(f"operation {kind!r} is not known; known are {known}")


def _told(told: Mapping[str, Any], name: str, default: float | None = None) -> Any:
    value = told.get(name, default)
    if value is None:
        raise ConfigError(f"operation {told['type']!r} needs {name!r}")
    return np.asarray(value, np.float64)


def vectorized_g2_interpolation(tel: ArrayLike, g2_data: ArrayLike, target_tel: ArrayLike) -> Floats:
    """Interpolate between delays, straight over the logarithm of delay.

    Parameters
    ----------
    tel : (delay,) array_like
        s, growing.
    g2_data : (delay, bin) array_like
    target_tel : (new,) array_like
        s.

    Returns
    -------
    (new, bin) float64
        NaN outside the delays that there are: nothing is extrapolated.
    """
    t, g2, target = (np.asarray(values, np.float64) for values in (tel, g2_data, target_tel))
    if t.ndim != 1 or g2.shape[:1] != t.shape or not (t > 0).all() or not (np.diff(t) > 0).all():
        raise ConfigError(f"{t.shape} delays that grow from above 0 are needed for g2 of shape {g2.shape}")
    if not (target > 0).all():
        raise ConfigError(f"delays must be above 0, found {target.min():g} s")
    columns = g2.reshape(t.size, -1).T
    found = [np.interp(np.log(target), np.log(t), column, left=np.nan, right=np.nan) for column in columns]
    return np.array(found).T.reshape(target.size, *g2.shape[1:])
