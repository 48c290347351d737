"""Diffusion coefficients from the parameters of a fitted decay, with their errors and what speaks against them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gamma

from xpcs_dask.errors import ConfigError

__all__ = ["DiffusionCoefficientExtractor"]

Floats = NDArray[np.float64]

NORMAL = 2.0
"""Standard errors by which an exponent must differ from 1 to be called anomalous."""


class DiffusionCoefficientExtractor:
    """Diffusion coefficients in (unit of q)^-2 / s: D = rate / q^2, the rate being that of the field.

    The models are ``exp(-2 rate tau)``, so the fitted rate is D q^2 itself. The original divides it by 2 q^2, which
    is half of D, and reads the relaxation time of a stretched decay as a rate.
    """

    def __init__(self, *, random_state: int | None = 0) -> None:
        self.random_state = random_state

    @staticmethod
    def extract_simple_diffusion_coefficient(
        params: ArrayLike, param_errors: ArrayLike, q_value: float
    ) -> dict[str, float]:
        """D = rate / q^2 from the parameters (baseline, amplitude, rate) of `DiffusionModels.simple_diffusion`.

        Returns
        -------
        dict
            ``diffusion_coefficient``, ``diffusion_coefficient_error``, ``fitted_rate``, ``fitted_rate_error`` (1/s),
            ``q_value``.

        Raises
        ------
        ConfigError
            If `q_value` is not positive, or there are fewer than three parameters.
        """
        values, errors = _numbers(params, param_errors, 3)
        return _of_rate(values[2], errors[2], q_value)

    @staticmethod
    def extract_anomalous_diffusion_parameters(
        params: ArrayLike, param_errors: ArrayLike, q_value: float
    ) -> dict[str, Any]:
        """D_alpha = rate / q^2 and alpha, from (baseline, amplitude, rate, alpha) of the anomalous models.

        Returns
        -------
        dict
            As for simple diffusion, with D in (unit of q)^-2 / s^alpha, and ``anomalous_exponent``,
            ``anomalous_exponent_error``, ``diffusion_type``: "subdiffusive", "normal" (1 within two standard errors)
            or "superdiffusive".
        """
        values, errors = _numbers(params, param_errors, 4)
        alpha, error = values[3], errors[3]
        room = max(NORMAL * error if np.isfinite(error) else 0.0, 1e-9)
        kind = "normal" if abs(alpha - 1.0) <= room else "subdiffusive" if alpha < 1 else "superdiffusive"
        return {
            **_of_rate(values[2], errors[2], q_value),
            "anomalous_exponent": float(alpha), "anomalous_exponent_error": float(error), "diffusion_type": kind,
        }  # fmt: skip

    def propagate_uncertainty_monte_carlo(
        self, func: Callable[..., Any], params: ArrayLike, param_cov: ArrayLike, n_samples: int = 1000,
        **func_kwargs: Any,
    ) -> dict[str, float]:  # fmt: skip
        """Carry a covariance through a function by Gaussian draws of its parameters.

        Parameters
        ----------
        func : callable
            ``func(params, **func_kwargs)``, or ``func(params, param_errors, **func_kwargs)`` where it takes these too;
            returns a number, or a dict of numbers.
        params, param_cov : array_like, shape (p,), (p, p)
            A parameter without a finite variance is held.
        n_samples : int
            Draws, of a generator seeded with the `random_state` of this object.

        Returns
        -------
        dict
            For each number its mean under its own name and as ``_mean``, ``_error`` (standard deviation), ``_median``,
            ``_95ci_lower``, ``_95ci_upper``; these without a name in front for a function that returns one number.
            ``n_successful_samples``: draws at which the function did not raise and gave finite numbers.
        """
        theta, covariance = np.asarray(params, dtype=np.float64), np.asarray(param_cov, dtype=np.float64)
        if covariance.shape != (theta.size, theta.size) or n_samples < 2:
            raise ConfigError(
                f"param_cov has shape {covariance.shape} for {theta.size} parameters, n_samples is {n_samples}; "
                "give one row and column a parameter, and 2 draws or more"
            )
        known = np.where(np.isfinite(covariance), covariance, 0.0)
        errors = np.sqrt(np.maximum(np.diag(known), 0.0))
        call = _caller(func, errors, func_kwargs)
        rows = []
        for draw in _draws(theta, known, errors, n_samples, self.random_state):
            try:
                found = call(draw)
            except (ArithmeticError, ValueError):
                continue
            row = found if isinstance(found, Mapping) else {"": found}
            row = {name: float(value) for name, value in row.items() if isinstance(value, float | int | np.number)}
            if all(np.isfinite(value) for name, value in row.items() if not name.endswith("_error")):
                rows.append(row)
        told: dict[str, float] = {"n_successful_samples": len(rows)}
        for name in rows[0] if rows else ():
            told |= _summary(name, np.array([row[name] for row in rows]))
        return told

    def extract_with_constraints(
        self,
        model_type: str,
        params: ArrayLike,
        param_cov: ArrayLike,
        q_value: float,
        apply_physical_constraints: bool = True,
    ) -> dict[str, Any]:
        """Diffusion coefficient of any of the six models, with Monte-Carlo errors and warnings.

        A Kohlrausch time is turned into the rate 1/time (and D = 1/(time q^2), an apparent coefficient);
        ``mean_relaxation_time`` is that of the field. Two decays give the coefficient of the first, faster one, and
        that of the other with ``_2`` at the end of the names.

        Parameters
        ----------
        model_type : str
            A key of `DiffusionModels.get_model_info`.
        apply_physical_constraints : bool
            Whether ``physical_constraint_warning`` says what cannot be or is not told by the data; nothing is changed.

        Returns
        -------
        dict
            As from the two functions above, and ``mc_diffusion_coefficient`` and its like (the names of
            `propagate_uncertainty_monte_carlo` with ``mc_`` in front).
        """
        theta, covariance = np.asarray(params, dtype=np.float64), np.asarray(param_cov, dtype=np.float64)
        with np.errstate(invalid="ignore"):
            errors = np.sqrt(np.diag(covariance))
        if model_type not in EXTRACTORS:
            raise ConfigError(f"model_type: {model_type!r} is none of {', '.join(EXTRACTORS)}")
        extract = EXTRACTORS[model_type]
        found = dict(extract(theta, errors, q_value))
        told = self.propagate_uncertainty_monte_carlo(_coefficient_of(extract, q_value), theta, covariance)
        found |= {f"mc_{name}": value for name, value in told.items()}
        if apply_physical_constraints and (warnings := _objections(found, theta)):
            found["physical_constraint_warning"] = "; ".join(warnings)
        return found


def _numbers(params: ArrayLike, errors: ArrayLike, least: int) -> tuple[Floats, Floats]:
    values, spread = np.asarray(params, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    if values.ndim != 1 or values.size < least or spread.shape != values.shape:
        raise ConfigError(
            f"params has shape {values.shape} and param_errors {spread.shape}; give the same {least} or more"
        )
    return values, spread


def _of_rate(rate: float, error: float, q_value: float) -> dict[str, float]:
    if not (np.isfinite(q_value) and q_value > 0):
        raise ConfigError(f"q_value is {q_value}; a diffusion coefficient needs a q above 0")
    return {
        "diffusion_coefficient": float(rate / q_value**2), "diffusion_coefficient_error": float(error / q_value**2),
        "fitted_rate": float(rate), "fitted_rate_error": float(error), "q_value": float(q_value),
    }  # fmt: skip


def _stretched(params: ArrayLike, errors: ArrayLike, q_value: float) -> dict[str, Any]:
    """Rate 1/time of a Kohlrausch decay, and its mean time."""
    values, spread = _numbers(params, errors, 4)
    time, beta = values[2], values[3]
    with np.errstate(all="ignore"):
        rate = np.divide(1.0, time)
        found = _of_rate(rate, rate * spread[2] / time, q_value)
        mean = time * gamma(np.divide(1.0, beta)) / beta
    return {**found, "relaxation_time": float(time), "relaxation_time_error": float(spread[2]),
            "stretching_exponent": float(beta), "stretching_exponent_error": float(spread[3]),
            "mean_relaxation_time": float(mean)}  # fmt: skip


def _two(params: ArrayLike, errors: ArrayLike, q_value: float) -> dict[str, Any]:
    """Coefficients of both decays, the first one without a number."""
    values, spread = _numbers(params, errors, 5)
    second = _of_rate(values[4], spread[4], q_value)
    share = float(values[1] / (values[1] + values[3])) if values[1] + values[3] else float("nan")
    return {
        **_of_rate(values[2], spread[2], q_value),
        **{f"{name}_2": value for name, value in second.items() if name != "q_value"},
        "amplitude_share": share,
    }


EXTRACTORS: Mapping[str, Callable[[ArrayLike, ArrayLike, float], dict[str, Any]]] = {
    "simple_diffusion": DiffusionCoefficientExtractor.extract_simple_diffusion_coefficient,
    **dict.fromkeys(
        ("subdiffusion", "hyperdiffusion", "anomalous_diffusion"),
        DiffusionCoefficientExtractor.extract_anomalous_diffusion_parameters,
    ),
    "stretched_exponential": _stretched,
    "double_exponential": _two,
}


def _coefficient_of(extract: Callable[..., dict[str, Any]], q_value: float) -> Callable[[Floats], dict[str, float]]:
    def coefficient(theta: Floats) -> dict[str, float]:
        return {"diffusion_coefficient": extract(theta, np.zeros(theta.size), q_value)["diffusion_coefficient"]}

    return coefficient


def _caller(func: Callable[..., Any], errors: Floats, given: Mapping[str, Any]) -> Callable[[Floats], Any]:
    """Call of a function of the parameters alone, or of these and their errors."""
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [
        p
        for p in inspect.signature(func).parameters.values()
        if p.kind in plain and p.default is p.empty and p.name not in given
    ]
    if len(needed) == 2:
        return lambda theta: func(theta, errors, **given)
    return lambda theta: func(theta, **given)


def _draws(theta: Floats, covariance: Floats, errors: Floats, count: int, seed: int | None) -> Floats:
    """Gaussian draws (count, p); the correlation is factored, because variances differ by tens of decades."""
    size = np.where(errors > 0, errors, 1.0)
    values, vectors = np.linalg.eigh(covariance / np.outer(size, size))
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    normal = np.random.default_rng(seed).standard_normal((count, theta.size))
    return np.asarray(theta + (normal @ root.T) * np.where(errors > 0, size, 0.0))


def _summary(name: str, values: Floats) -> dict[str, float]:
    low, middle, high = np.percentile(values, [2.5, 50, 97.5])
    told = {"mean": values.mean(), "error": values.std(ddof=1) if values.size > 1 else np.nan, "median": middle,
            "95ci_lower": low, "95ci_upper": high}  # fmt: skip
    front = f"{name}_" if name else ""
    own = {name: float(told["mean"])} if name else {}
    return own | {f"{front}{word}": float(value) for word, value in told.items()}


def _objections(found: Mapping[str, Any], theta: Floats) -> list[str]:
    """Say what cannot be, or is not told by the data."""
    value, error = found["diffusion_coefficient"], found["diffusion_coefficient_error"]
    told = []
    if not (np.isfinite(value) and value > 0):
        told.append(f"the diffusion coefficient is {value:g}; it must be positive")
    elif not np.isfinite(error):
        told.append("the diffusion coefficient has no error: a parameter is on its bound, or the data do not tell it")
    elif error > value:
        told.append(f"the error of the diffusion coefficient, {error:g}, is larger than its value, {value:g}")
    exponent = found.get("anomalous_exponent", found.get("stretching_exponent", 1.0))
    if not 0 < exponent <= 2:
        told.append(f"the exponent is {exponent:g}; motion has exponents above 0 and up to 2")
    amplitudes = theta[[1, 3]] if "amplitude_share" in found else theta[[1]]
    if not (amplitudes > 0).all() or amplitudes.sum() > 1:
        told.append(f"the amplitude is {', '.join(f'{a:g}' for a in amplitudes)}; the speckle contrast is 0 to 1")
    return told
