"""`RobustOptimizer`: one fit down the ladder, with a record of what was tried."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.models import Floats
from xpcs_dask.fitting.problem import Problem, choose, confirm
from xpcs_dask.fitting.starts import propose
from xpcs_dask.fitting.uncertainty import covariance
from xpcs_dask.toolkit.function_model import FunctionModel, as_model, parameter_count
from xpcs_dask.toolkit.strategies import METHODS, Attempt, climb, ladder

__all__ = ["RobustOptimizer"]

OPTIONS = ("absolute_sigma", "jac", "check_finite", "nan_policy")


class RobustOptimizer:
    """Fits down the ladder of the package and keeps count.

    Parameters
    ----------
    max_iterations : int
        Evaluations of the function after which no further strategy is begun; what was found by then is kept.
    tolerance_factor : float
        Kept for old scripts. A fit ends where the projected gradient is nothing within rounding, whatever this is.
    enable_caching : bool
        Kept for old scripts. No fit is remembered: the same function may give other numbers later.
    performance_tracking : bool
        Count attempts in `strategies`.

    Attributes
    ----------
    strategies : list of OptimizationStrategy
        In the order in which they are tried.
    convergence_history : list of dict
        One a fit: ``function, method, iterations, time, chi_squared``.
    failed_attempts : list of dict
        ``function, strategy, message``, one for every strategy that found no minimum.
    """

    def __init__(
        self,
        max_iterations: int = 10000,
        tolerance_factor: float = 1.0,
        enable_caching: bool = True,
        performance_tracking: bool = True,
    ) -> None:
        if max_iterations < 1 or not tolerance_factor > 0:
            raise ConfigError(
                f"max_iterations is {max_iterations} and tolerance_factor {tolerance_factor}; both must be above 0"
            )
        self.max_iterations, self.tolerance_factor = max_iterations, tolerance_factor
        self.enable_caching, self.performance_tracking = enable_caching, performance_tracking
        self.strategies = ladder(tolerance_factor, max_iterations)
        self.reset_performance_tracking()

    def robust_curve_fit(
        self,
        func: Callable[..., Any],
        xdata: ArrayLike,
        ydata: ArrayLike,
        p0: ArrayLike | None = None,
        bounds: Any = None,
        sigma: ArrayLike | None = None,
        **kwargs: Any,
    ) -> tuple[Floats, Floats, dict[str, Any]]:
        """Fit a function.

        Parameters
        ----------
        func : callable
            ``func(x, *parameters)``.
        xdata, ydata : array_like
            x of any shape that the function takes, y of shape (m,).
        p0 : array_like, optional
            Where to start; otherwise a spread over finite bounds, or ones.
        bounds : (lower, upper), optional
            Each one number or one a parameter; equal where a parameter is held.
        sigma : array_like, shape (m,), optional
            Standard errors. Points without one above 0 are not used.
        **kwargs
            ``absolute_sigma`` (default False, as `scipy.optimize.curve_fit`: the covariance is scaled by chi2/dof),
            ``jac``, ``check_finite`` and ``nan_policy`` ("omit" leaves out NaN).

        Returns
        -------
        popt : array, shape (p,)
        pcov : array, shape (p, p)
            From the Jacobian at the minimum; NaN for a parameter on its bound or not determined.
        info : dict
            ``method`` (name of the strategy), ``iterations`` (evaluations), ``time`` (s), ``chi_squared`` (weighted),
            ``r_squared`` (weighted), ``message``, ``success``.

        Raises
        ------
        RuntimeError
            If no strategy ends in a minimum.
        ConfigError
            (a ValueError) If arguments do not fit each other; for options that are not known.
        """
        begin = time.perf_counter()
        problem, model, start = _problem(func, xdata, ydata, p0, bounds, sigma, kwargs)
        absolute = bool(kwargs.get("absolute_sigma", False)) and sigma is not None
        name = str(getattr(func, "__name__", "f"))
        problem, made = self._climbed(problem, propose(problem, start), name)
        minima = [a for a in made if a.found.verdict.minimum]
        if not minima:
            raise RuntimeError(
                f"no minimum of '{name}' was found by {', '.join(a.strategy.name for a in made)}; "
                "give other starts (p0) or bounds"
            )
        best = min(minima, key=lambda a: a.found.objective)
        matrix = covariance(problem, best.found.theta, "wald" if absolute else "scaled")
        info = _info(problem, best, made, time.perf_counter() - begin)
        if self.performance_tracking:
            kept = ("method", "iterations", "time", "chi_squared")
            self.convergence_history.append({"function": name, **{key: info[key] for key in kept}})
        return model.outward(best.found.theta), matrix[np.ix_(model.order, model.order)], info

    def get_performance_report(self) -> dict[str, Any]:
        """Return what was counted since the last reset.

        Returns
        -------
        dict
            ``total_optimizations, total_failures, overall_success_rate`` (of fits), and ``strategies {name:
            {success_rate, total_attempts, success_count, avg_time, avg_iterations}}`` (of attempts).
        """
        done, total = len(self.convergence_history), len(self.convergence_history) + self.total_failures
        return {
            "total_optimizations": total,
            "total_failures": self.total_failures,
            "overall_success_rate": done / total if total else 0.0,
            "strategies": {
                s.name: {
                    "success_rate": s.success_rate,
                    "total_attempts": s.total_attempts,
                    "success_count": s.success_count,
                    "avg_time": s.avg_time,
                    "avg_iterations": s.avg_iterations,
                }
                for s in self.strategies
            },
        }

    def reset_performance_tracking(self) -> None:
        """Forget everything that was counted."""
        self.convergence_history: list[dict[str, Any]] = []
        self.failed_attempts: list[dict[str, Any]] = []
        self.total_failures = 0
        for strategy in self.strategies:
            strategy.clear()

    def _climbed(self, problem: Problem, starts: list[Floats], name: str) -> tuple[Problem, list[Attempt]]:
        """Climb with the best derivative there is, and again with a safer one where that proves wrong."""
        unknown = [s.method for s in self.strategies if s.method not in METHODS]
        if unknown or not self.strategies:
            raise ConfigError(f"strategies: method '{', '.join(unknown)}' is none of {', '.join(METHODS)}")
        problem = replace(problem, derivative=choose(problem, starts[0]))
        made = climb(problem, starts, self.strategies, self.max_iterations, self.performance_tracking)
        best = min(made, key=lambda a: (not a.found.verdict.minimum, a.found.objective))
        safer = confirm(problem, best.found.theta)
        if safer != problem.derivative:
            problem = replace(problem, derivative=safer)
            again = [best.found.theta, *starts]
            made = climb(problem, again, self.strategies, self.max_iterations, self.performance_tracking)
        if self.performance_tracking:
            self.failed_attempts += [
                {"function": name, "strategy": a.strategy.name, "message": "it did not end in a minimum"}
                for a in made
                if not a.found.verdict.minimum
            ]
            self.total_failures += not any(a.found.verdict.minimum for a in made)
        return problem, made


def _problem(
    func: Callable[..., Any], xdata: ArrayLike, ydata: ArrayLike, p0: Any, bounds: Any, sigma: Any,
    options: dict[str, Any],
) -> tuple[Problem, FunctionModel, Floats | None]:  # fmt: skip
    """Return the fit as the ladder sees it; refuse what makes no sense, as `scipy.optimize.curve_fit` does."""
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise ConfigError(f"unknown option {', '.join(unknown)}; known are {', '.join(OPTIONS)}")
    x, y = np.asarray(xdata), np.asarray(ydata, dtype=np.float64)
    if y.ndim != 1 or x.shape[-1:] != y.shape:
        raise ConfigError(f"xdata is {x.shape} and ydata {y.shape}; give one row of points each")
    omit = options.get("nan_policy") == "omit"
    if options.get("check_finite", True) and not omit and not (np.isfinite(y).all() and _finite(x)):
        raise ConfigError("xdata or ydata holds NaN or infinite values; leave them out, or give nan_policy='omit'")
    start = None if p0 is None else np.atleast_1d(np.asarray(p0, dtype=np.float64))
    model = as_model(func, bounds, parameter_count(func) if start is None else start.size, options.get("jac"))
    if start is not None:
        start = model.inward(start)
        if ((start < model.lower) | (start > model.upper)).any() or not np.isfinite(start).all():
            raise ConfigError(f"p0 {np.asarray(p0).tolist()} is not finite, or outside the bounds")
    error = np.ones_like(y) if sigma is None else _errors(sigma, y.shape)
    used = np.isfinite(y) & np.isfinite(error) & (error > 0)
    if x.dtype.kind == "f":
        used &= np.isfinite(x).reshape(-1, y.size).all(axis=0)
    free = int((model.lower < model.upper).sum())
    if used.sum() < max(free, 1):
        raise ConfigError(f"{int(used.sum())} points can be used for {free} parameters; give at least as many")
    x, y, weight = x[..., used], y[used], 1.0 / error[used]
    problem = Problem(x=x, y=y, weight=weight, model=model.record, lower=model.lower, upper=model.upper)
    return problem, model, start


def _finite(x: Any) -> bool:
    return x.dtype.kind != "f" or bool(np.isfinite(x).all())


def _errors(sigma: ArrayLike, shape: tuple[int, ...]) -> Floats:
    error = np.asarray(sigma, dtype=np.float64)
    try:
        return np.array(np.broadcast_to(error, shape))
    except ValueError:
        raise ConfigError(
            f"sigma of shape {error.shape} does not fit {shape[0]} points; a covariance is taken by robust_curve_fit"
        ) from None


def _info(problem: Problem, best: Attempt, made: list[Attempt], seconds: float) -> dict[str, Any]:
    square = problem.weight_used**2
    level = problem.y_used - np.average(problem.y_used, weights=square)
    total = float(square @ level**2)
    tried = "" if len(made) == 1 else f" after {', '.join(a.strategy.name for a in made if a is not best)}"
    return {
        "method": best.strategy.name,
        "iterations": int(sum(a.found.evaluations for a in made)),
        "time": seconds,
        "chi_squared": float(best.found.objective),
        "r_squared": 1.0 - float(best.found.objective) / total if total > 0 else np.nan,
        "message": f"minimum found by {best.strategy.name}{tried}",
        "success": True,
    }
