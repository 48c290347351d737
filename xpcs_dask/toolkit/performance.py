"""Fits of many bins with figures of what they took, all measured: `fit_g2_high_performance` and the engine behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from xpcs_dask.errors import ConfigError
from xpcs_dask.toolkit.block_fits import BLOCK, Blocks, fit_blocks
from xpcs_dask.toolkit.boxes import box_of, fitted_range, model_of
from xpcs_dask.toolkit.file_fits import request_of, summary_of
from xpcs_dask.toolkit.fit_records import FitResults, FitTable, Record
from xpcs_dask.toolkit.performance_optimizer import XPCSPerformanceOptimizer
from xpcs_dask.toolkit.plain_fits import correct_g2_err, quoted_fits, standard_fits
from xpcs_dask.toolkit.planned_fits import active_client, fit_planned, plan_fits, shaped
from xpcs_dask.toolkit.robust_fits import Request, robust_table, search_of

__all__ = ["OptimizedXPCSFittingEngine", "XPCSPerformanceOptimizer", "fit_g2_high_performance", "robust_overhead"]

SAMPLE = 512
"""Bins on which the overhead of the robust path is measured."""


@dataclass(frozen=True, slots=True)
class Done:
    """Fits and what they took."""

    table: FitTable
    cached: int
    chunk: int
    workers: int
    mode: str
    seconds: float


class OptimizedXPCSFittingEngine:
    """Robust fits of arrays, with measured figures.

    Parameters
    ----------
    performance_optimizer : XPCSPerformanceOptimizer, optional
        Whose budget of memory is kept and whose cache is used, before the one on disk.
    """

    def __init__(self, performance_optimizer: XPCSPerformanceOptimizer | None = None) -> None:
        self.performance_optimizer = performance_optimizer or XPCSPerformanceOptimizer()

    def fit_g2_optimized(
        self,
        tau: ArrayLike,
        g2_data: ArrayLike,
        g2_errors: ArrayLike | None = None,
        q_values: ArrayLike | None = None,
        fit_func: str = "single",
        bounds: Any = None,
        bootstrap_samples: int = 0,
        enable_diagnostics: bool = True,
        use_caching: bool = True,
    ) -> Record:
        """Fit every column of g2.

        Parameters
        ----------
        tau : array_like, shape (nt,)
            Delays in s.
        g2_data, g2_errors : array_like, shape (nt, nq)
            Without errors all points weigh the same.
        q_values : array_like, shape (nq,), optional
            1/angstrom.
        fit_func, bounds
            As for `file_fits.fit_g2`.
        bootstrap_samples : int
            Refits of each bin.
        enable_diagnostics : bool
            True takes the level "standard" of `robust_fits`, False "basic".
        use_caching : bool
            Whether results are looked for, and kept, in memory and on disk.

        Returns
        -------
        Record
            ``fit_results`` (one record a bin, as ``fit_val`` of `fit_g2`, with ``q_value``), ``performance_info``,
            ``timing``, ``optimization_summary``.
        """
        request = _request(tau, g2_data, g2_errors, fit_func, bounds, bootstrap_samples, enable_diagnostics)
        q = np.arange(request.count, dtype=np.float64) if q_values is None else np.asarray(q_values, dtype=np.float64)
        if q.shape != (request.count,):
            raise ConfigError(f"q_values has shape {q.shape}, but there are {request.count} bins")
        own = self.performance_optimizer
        data = {"g2": request.g2, "errors": request.g2_err, "q": q, "level": request.level}
        key = own.get_cache_key(request.t_el, request.g2.shape, fit_func, bounds, bootstrap_samples, data=data)
        begun = time.perf_counter()
        table = own.get_cached_result(key) if use_caching else None
        if table is not None:
            _, chunk = own.should_use_chunked_processing(request.t_el.size, request.g2.shape, request.samples)
            done = Done(table, request.count, chunk, 1, "cache", time.perf_counter() - begun)
        else:
            done = _carried_out(request, own, use_caching)
            if use_caching:
                own.cache_result(key, done.table)
        results = FitResults(replace(done.table, q_val=q))
        return Record(fit_results=results, **figures(request, done, own, key, caching=use_caching))


def fit_g2_high_performance(
    xf: Any,
    q_range: tuple[float, float] | None = None,
    t_range: tuple[float, float] | None = None,
    bounds: Any = None,
    fit_flag: Any = None,
    fit_func: str = "single",
    bootstrap_samples: int | None = 500,
    diagnostic_level: str = "standard",
    max_memory_mb: float = 2048,
) -> Record:
    """Fit every bin of a file robustly, within a budget of memory.

    Parameters
    ----------
    xf, q_range, t_range, bounds, fit_flag, fit_func, bootstrap_samples, diagnostic_level
        As for `file_fits.fit_g2_robust`.
    max_memory_mb : float
        MB (1e6 bytes) that the fits may take beside their input.

    Returns
    -------
    Record
        As `fit_g2`, and ``fit_x``, ``high_performance_fit``, ``performance_info``, ``timing``,
        ``optimization_summary``.

    Raises
    ------
    engine.plan.MemoryBudgetError
        If not even one bin at a time fits into the budget.

    Notes
    -----
    Blocks are read from the cache (``XPCS_CACHE_DIR``, or ``~/.xpcs_toolkit``) where they were fitted before. With an
    active client of `distributed` its workers do the others; where these are many, results go through a store on disk.
    """
    curves, request = request_of(
        xf, q_range, t_range, bounds, fit_flag, fit_func, diagnostic_level, bootstrap_samples, told=True
    )
    own = XPCSPerformanceOptimizer(max_memory_mb=max_memory_mb)  # type: ignore[arg-type]
    key = own.get_cache_key(
        curves.t_el, curves.g2.shape, fit_func, bounds, request.samples,
        data={"g2": curves.g2, "errors": curves.g2_err, "q": curves.q_val, "flag": fit_flag, "level": request.level},
    )  # fmt: skip
    done = _carried_out(request, own, caching=True)
    summary = summary_of(done.table, curves, request.model, fit_func, q_range, t_range, bounds, fit_flag)
    summary.update(figures(request, done, own, key, caching=True))
    summary["high_performance_fit"] = True
    summary["fit_x"] = fitted_range(curves.t_el)
    return summary


def robust_overhead(request: Request) -> float:
    """Measure how much more CPU time the robust path takes than the plain one, in percent.

    Both fit the same bins, least squares without a bootstrap: one with quoted errors and a verdict on chi2, the other
    as pyXpcsViewer does.
    """
    step = max(1, request.count // SAMPLE)
    g2, errors = request.g2[:, ::step], request.g2_err[:, ::step]
    model, box, t_el = request.model, request.box, request.t_el
    search = search_of(model)
    plain = _cpu(lambda: standard_fits(t_el, g2, correct_g2_err(errors), model, box, search))
    robust = _cpu(lambda: quoted_fits(t_el, g2, errors, model, box, search))
    return 100.0 * (robust / plain - 1.0)


def figures(request: Request, done: Done, own: XPCSPerformanceOptimizer, key: str, *, caching: bool) -> dict[str, Any]:
    """Say how fits were carried out and what that took."""
    count = request.count
    estimate = own.estimate_memory_usage(request.t_el.size, request.g2.shape, request.samples)
    return {
        "performance_info": {
            "use_chunking": done.chunk < count,
            "chunk_size": done.chunk,
            "parallel_jobs": done.workers,
            "estimated_memory_mb": estimate,
            "cache_hit": count > 0 and done.cached == count,
            "cached_bins": done.cached,
            "cache_key": key,
        },
        "timing": {"total_time": done.seconds, "time_per_q": done.seconds / max(count, 1)},
        "optimization_summary": {
            "dataset_size": f"{count} bins of {request.t_el.size} delays",
            "processing_mode": done.mode,
            "bootstrap_enabled": request.samples > 0,
            "diagnostics_enabled": request.level != "basic",
            "performance_overhead_percent": robust_overhead(request),
            "caching_enabled": caching,
        },
    }


def _carried_out(request: Request, own: XPCSPerformanceOptimizer, caching: bool) -> Done:
    """Fit what is not in the cache: on the workers of a client, through a store, or block by block here."""
    begun, client = time.perf_counter(), active_client()
    delays, shape, samples = request.t_el.size, request.g2.shape, request.samples
    _, bins = own.should_use_chunked_processing(delays, shape, samples)
    fit: Callable[[Request], FitTable] = robust_table
    mode, workers = "blocks", 1
    how = None
    if not request.plain:
        data = shaped(delays, request.count, request.g2.dtype)
        how = plan_fits(data, request.model, request.box, request.level, samples, own.max_memory_mb, client)
        if client is not None or how.streamed:
            bins, workers = max(how.bins * how.workers, BLOCK), how.workers
            mode = "streaming" if how.streamed else "distributed"

            def fit(part: Request) -> FitTable:
                assert how is not None
                settings = (request.model, request.box, request.level, samples)
                return robust_table(part, lambda: fit_planned(part.dataset(), *settings, how, client))

    blocks: Blocks = fit_blocks(request, bins=bins, cache=caching, fit=fit)
    mode = "cache" if blocks.cached == request.count else mode
    return Done(
        blocks.table, blocks.cached, min(bins, max(request.count, 1)), workers, mode, time.perf_counter() - begun
    )


def _request(
    tau: ArrayLike, g2: ArrayLike, errors: Any, fit_func: str, bounds: Any, samples: int, diagnostics: bool
) -> Request:
    model, function = model_of(fit_func)
    t_el, curves = np.asarray(tau, dtype=np.float64), np.asarray(g2)
    curves = curves[:, None] if curves.ndim == 1 else curves
    if curves.ndim != 2 or len(curves) != t_el.size:
        raise ConfigError(
            f"g2_data has shape {curves.shape}; it must be (delay, bin), and there are {t_el.size} delays"
        )
    sigma = np.ones(curves.shape) if errors is None else np.broadcast_to(np.asarray(errors), curves.shape)
    return Request(
        t_el=t_el, g2=curves, g2_err=sigma, model=model, function=function, box=box_of(model, t_el, bounds),
        level="standard" if diagnostics else "basic", samples=int(samples),
    )  # fmt: skip


def _cpu(work: Callable[[], Any]) -> float:
    """Seconds of CPU, the less of two: the first one warms up."""
    spent = []
    for _ in range(2):
        begun = time.process_time()
        work()
        spent.append(time.process_time() - begun)
    return min(spent)
