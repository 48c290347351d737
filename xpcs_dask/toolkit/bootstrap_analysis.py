"""Intervals of the parameters of one curve from refits of resampled data."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from xpcs_dask.config import FitConfig
from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.generic import empty_rows
from xpcs_dask.fitting.intervals import Parents, interval
from xpcs_dask.fitting.layout import Status
from xpcs_dask.fitting.models import Floats
from xpcs_dask.fitting.near_refits import near_refits
from xpcs_dask.fitting.replicates import replicates
from xpcs_dask.toolkit.fit_records import Record
from xpcs_dask.toolkit.fitting import in_threads
from xpcs_dask.toolkit.function_model import as_model

METHODS: Mapping[str, str] = MappingProxyType(
    {"residual": "residual", "parametric": "parametric", "nonparametric": "pairs", "wild": "wild"}
)
"""Schemes of the package, by what the Toolkit calls them."""
KINDS = ("percentile", "basic", "t")


class BootstrapAnalyzer:
    """Resamples one curve, refits it, and says how far its parameters may be off.

    Parameters
    ----------
    n_bootstrap : int
        Refits.
    confidence_level : float
        Coverage of the intervals.
    random_state : int, optional
        Seed; None is 0. What is drawn depends on it, on the data and on the number of the refit alone: not on
        `n_jobs`, and no generator outside is touched.
    n_jobs : int, optional
        Threads (-1: one a core). They give the same bits as one.
    """

    def __init__(
        self,
        n_bootstrap: int = 1000,
        confidence_level: float = 0.95,
        random_state: int | None = None,
        n_jobs: int | None = None,
    ) -> None:
        if n_bootstrap < 2:
            raise ConfigError(f"n_bootstrap is {n_bootstrap}; an interval needs at least 2 refits (39 for 95 %)")
        if not 0 < confidence_level < 1:
            raise ConfigError(f"confidence_level is {confidence_level}; give a share between 0 and 1, such as 0.95")
        self.n_bootstrap, self.confidence_level = int(n_bootstrap), float(confidence_level)
        self.random_state, self.n_jobs = random_state, n_jobs

    def bootstrap_confidence_intervals(
        self,
        func: Callable[..., Any],
        xdata: ArrayLike,
        ydata: ArrayLike,
        popt: ArrayLike,
        pcov: ArrayLike,
        bounds: Any = None,
        sigma: ArrayLike | None = None,
        method: str = "residual",
        *,
        interval_kind: str = "percentile",
    ) -> dict[str, Any]:
        """Resample a fit.

        Parameters
        ----------
        func : callable
            ``func(x, *parameters)``.
        xdata, ydata : array_like
        popt, pcov : array_like, shapes (p,) and (p, p)
            The fit, from which every refit starts; the covariance is not used.
        bounds : (lower, upper), optional
        sigma : array_like, shape (m,), optional
            Standard errors; without, points weigh the same and their error is found from the residuals.
        method : {"residual", "parametric", "nonparametric", "wild"}
            residual draws residuals over sigma, freed of what the fit took of them by leverage, and centred;
            parametric adds normal noise of the errors; nonparametric draws points; wild gives every residual a random
            sign, which holds where errors have a wrong shape.
        interval_kind : {"percentile", "basic", "t"}

        Returns
        -------
        dict
            ``method, n_bootstrap_requested, n_successful_fits, n_failed_fits, success_rate, confidence_level,
            interval_kind``, ``parameter_statistics {param_i: {original_estimate, bootstrap_mean, bootstrap_std,
            bootstrap_bias, confidence_interval, bootstrap_samples}}`` and ``bootstrap_covariance``. Refits without a
            minimum are counted and left out.

        Raises
        ------
        ConfigError
            (a ValueError) If method or kind is not known, or there are no more points than parameters.

        Notes
        -----
        All methods take the noise of neighbouring delays as independent, which in bright data it is not: intervals are
        then too short. `xpcs_dask.bootstrap` over clusters is right there.

        References
        ----------
        .. [1] A. C. Davison and D. V. Hinkley, Bootstrap Methods and their Application (1997), sections 6.2 and 6.3.
        """
        del pcov
        if method not in METHODS:
            raise ConfigError(f"method is '{method}'; known are {', '.join(METHODS)}")
        if interval_kind not in KINDS:
            raise ConfigError(f"interval_kind is '{interval_kind}'; known are {', '.join(KINDS)}")
        value = np.atleast_1d(np.asarray(popt, dtype=np.float64))
        made, parents, order = self._refits(func, xdata, ydata, value, bounds, sigma, METHODS[method])
        ends = interval(interval_kind, made[None], parents, self.confidence_level)  # type: ignore[arg-type]
        low, high = ends.lower[0][order], ends.upper[0][order]
        good = made[np.isfinite(made).all(axis=1)][:, order]
        return Record(
            {
                "method": method,
                "n_bootstrap_requested": self.n_bootstrap,
                "n_successful_fits": len(good),
                "n_failed_fits": self.n_bootstrap - len(good),
                "success_rate": len(good) / self.n_bootstrap,
                "confidence_level": self.confidence_level,
                "interval_kind": interval_kind,
                "parameter_statistics": {
                    f"param_{k}": _statistics(float(value[k]), good[:, k], (float(low[k]), float(high[k])))
                    for k in range(value.size)
                },
                "bootstrap_covariance": _covariance(good),
            }
        )

    def _refits(
        self, func: Callable[..., Any], xdata: ArrayLike, ydata: ArrayLike, value: Floats, bounds: Any, sigma: Any,
        scheme: str,
    ) -> tuple[Floats, Parents, Any]:  # fmt: skip
        """Refits (n_bootstrap, p) in the order of the model, the fit, and where the function has its parameters."""
        x, y = np.asarray(xdata), np.asarray(ydata, dtype=np.float64)
        model = as_model(func, bounds, value.size)
        theta, free = model.inward(value), int((model.lower < model.upper).sum())
        if y.ndim != 1 or y.size <= free:
            raise ConfigError(
                f"ydata is {y.shape}, with {free} parameters to fit; give one row of more points than that"
            )
        weight = _weights(y - np.asarray(func(x, *value), dtype=np.float64), sigma, free)
        rows = empty_rows(1, model.record)
        rows["value"], rows["status"] = theta, Status.CONVERGED
        rows["n_used"] = int((weight > 0).sum())
        rows["dof"] = rows["n_used"] - free
        config = FitConfig.make(errors="quoted", detail="full", covariance="wald")
        some = partial(
            replicates if model.compiled and x.ndim == 1 else near_refits,
            x, y[None], weight[None], model.record, config, model.lower, model.upper, rows, scheme,
            np.array([_identity(y)], np.uint64), int(self.random_state or 0),
        )  # fmt: skip
        edges = np.linspace(0, self.n_bootstrap, 1 + min(self.n_bootstrap, 32)).astype(int)
        pieces = in_threads(lambda k: some(int(edges[k]), int(edges[k + 1])), range(edges.size - 1), self.n_jobs)
        parents = Parents(
            model=model.record, value=theta[None], lower=model.lower, upper=model.upper,
            dof=rows["dof"].astype(np.float64),
        )  # fmt: skip
        return np.concatenate(pieces, axis=1)[0], parents, model.order


def _weights(residuals: Floats, sigma: Any, free: int) -> Floats:
    """1/sigma (m,), 0 where a point cannot be used; without errors, of the size that the residuals say."""
    if sigma is None:
        used = np.isfinite(residuals)
        spread = np.sqrt(np.sum(residuals[used] ** 2) / max(int(used.sum()) - free, 1))
        return used / (spread if spread > 0 else 1.0)
    error = np.broadcast_to(np.asarray(sigma, dtype=np.float64), residuals.shape)
    used = np.isfinite(error) & (error > 0) & np.isfinite(residuals)
    return np.where(used, 1.0 / np.where(used, error, 1.0), 0.0)


def _identity(y: Floats) -> int:
    """Name of a curve: what random numbers are keyed by, so that other curves draw others."""
    return int.from_bytes(hashlib.blake2b(np.ascontiguousarray(y).tobytes(), digest_size=8).digest(), "little")


def _statistics(estimate: float, samples: Floats, ends: tuple[float, float]) -> dict[str, Any]:
    if samples.size and (samples == samples[0]).all():  # held: no rounding of a mean
        mean, spread = float(samples[0]), 0.0
    else:
        mean = float(samples.mean()) if samples.size else np.nan
        spread = float(samples.std(ddof=1)) if samples.size > 1 else np.nan
    return {
        "original_estimate": estimate,
        "bootstrap_mean": mean,
        "bootstrap_std": spread,
        "bootstrap_bias": mean - estimate,
        "confidence_interval": ends,
        "bootstrap_samples": samples.tolist(),
    }


def _covariance(good: Floats) -> Floats:
    p = good.shape[1]
    return np.atleast_2d(np.cov(good, rowvar=False)) if len(good) > 1 else np.full((p, p), np.nan)
