"""`XpcsFile`'s fits of g2, as functions that take what has its `get_g2_data`, `label` and `fit_summary`.

Every one returns the summary as pyXpcsViewer names its parts; `fit_val` and `fit_line` (see `fit_records`) answer both
as arrays and as records.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.models import Model
from xpcs_dask.toolkit.block_fits import fit_blocks
from xpcs_dask.toolkit.boxes import FUNCTIONS, Box, box_of, fitted_range, model_of
from xpcs_dask.toolkit.file_curves import Curves, dataset_of, select_curves
from xpcs_dask.toolkit.fit_records import FitLines, FitTable, FitValues, LineRecord, Record
from xpcs_dask.toolkit.plain_fits import correct_g2_err, standard_fits, table_of
from xpcs_dask.toolkit.robust_fits import Request, level_of, robust_table, search_of
from xpcs_dask.toolkit.tau_q import fit_tauq, get_fitting_info

__all__ = [
    "correct_g2_err", "fallback_standard_fit", "fit_g2", "fit_g2_robust", "fit_tauq", "get_fitting_info",
    "perform_robust_g2_fitting", "request_of", "summary_of",
]  # fmt: skip

logger = logging.getLogger(__name__)


def fit_g2(
    xf: Any,
    q_range: tuple[float, float] | None = None,
    t_range: tuple[float, float] | None = None,
    bounds: Any = None,
    fit_flag: Any = None,
    fit_func: str = "single",
    robust_fitting: bool = False,
    diagnostic_level: str = "standard",
    bootstrap_samples: int | None = None,
) -> Record:
    """Fit `single_exp_all` or `double_exp_all` to every bin of a file.

    Parameters
    ----------
    xf : XpcsFile
        Or anything with its `get_g2_data`, which returns errors as they are stored.
    q_range, t_range : (float, float), optional
        Bins and delays to fit, closed ranges in 1/angstrom and s.
    bounds : (lower, upper), optional
        One number a parameter in each: contrast, tau, stretch, baseline; of "double" contrast, tau1, stretch1,
        baseline, tau2, stretch2, fraction. By default those of the package's models.
    fit_flag : sequence of bool, optional
        False holds a parameter at its UPPER bound.
    fit_func : {"single", "double"}
    robust_fitting : bool
        Whether `robust_fits` does it; see there for what `diagnostic_level` ("basic", "standard", "comprehensive") and
        `bootstrap_samples` mean.

    Returns
    -------
    Record
        ``fit_func, fit_val, t_el, q_val, q_range, t_range, bounds, fit_flag, fit_line, label``.

    Raises
    ------
    ConfigError
        For bounds, flags, levels or functions that make no sense.
    ValueError
        If a range holds no delay.

    Notes
    -----
    The plain fit ends in the minima of pyXpcsViewer's, or lower ones. As there, errors up to 1e-6 are replaced by the
    mean of their bin (``diagnostics["errors_replaced"]`` says how many), and standard errors are scaled by the
    residuals. The error of a parameter on its bound is NaN. A failed bin has errors of -1, and NaN for values.
    """
    model, function = model_of(fit_func)
    if robust_fitting:
        curves, request = request_of(
            xf, q_range, t_range, bounds, fit_flag, fit_func, diagnostic_level, bootstrap_samples
        )
        table = robust_table(request)
    else:
        level_of(diagnostic_level, bootstrap_samples)
        curves, stored = select_curves(xf, q_range, t_range)
        table = _plain(curves, stored, model, function, box_of(model, curves.t_el, bounds, fit_flag))
    return summary_of(table, curves, model, fit_func, q_range, t_range, bounds, fit_flag)


def fit_g2_robust(
    xf: Any,
    q_range: tuple[float, float] | None = None,
    t_range: tuple[float, float] | None = None,
    bounds: Any = None,
    fit_flag: Any = None,
    fit_func: str = "single",
    diagnostic_level: str = "standard",
    bootstrap_samples: int | None = 500,
    enable_caching: bool = True,
) -> Record:
    """Fit every bin robustly, as `fit_g2` with ``robust_fitting=True``; what was fitted before is read from the cache.

    The cache (``XPCS_CACHE_DIR``, or ``~/.xpcs_toolkit``) knows fits by the content of the curves and by all settings.
    """
    model, _ = model_of(fit_func)
    curves, request = request_of(
        xf, q_range, t_range, bounds, fit_flag, fit_func, diagnostic_level, bootstrap_samples, told=True
    )
    table = fit_blocks(request, cache=enable_caching).table
    return summary_of(table, curves, model, fit_func, q_range, t_range, bounds, fit_flag)


def request_of(
    xf: Any,
    q_range: Any,
    t_range: Any,
    bounds: Any,
    fit_flag: Any,
    fit_func: str,
    diagnostic_level: str,
    bootstrap_samples: int | None,
    *,
    told: bool = False,
) -> tuple[Curves, Request]:
    """Curves of a file and what is asked about them, checked; with what the file tells of noise if `told` or needed."""
    model, function = model_of(fit_func)
    level, samples = level_of(diagnostic_level, bootstrap_samples)
    curves, stored = select_curves(xf, q_range, t_range)
    request = Request(
        t_el=curves.t_el,
        g2=curves.g2,
        g2_err=curves.g2_err,
        model=model,
        function=function,
        box=box_of(model, curves.t_el, bounds, fit_flag),
        level=level,
        samples=samples,
        floored=None if curves.delays.all() else correct_g2_err(stored)[curves.delays],
    )
    return curves, replace(request, data=dataset_of(xf, curves)) if told or not request.plain else request


def perform_robust_g2_fitting(
    func: Callable[..., Any],
    t_el: NDArray[Any],
    g2: NDArray[Any],
    sigma: NDArray[Any],
    bounds: Any,
    fit_flag: Any,
    fit_x: NDArray[Any],
    p0: Any,
    diagnostic_level: str = "standard",
    bootstrap_samples: int | None = None,
) -> tuple[FitLines, FitValues]:
    """Fit a function to the columns of `g2` (nt, nq) robustly; returns ``(fit_line, fit_val)``, drawn over `fit_x`.

    `p0` is not needed: the fit finds its starts, or more of them.
    """
    t_el, g2, sigma = (np.asarray(array) for array in (t_el, g2, sigma))
    model = _model(func)
    level, samples = level_of(diagnostic_level, bootstrap_samples)
    box = box_of(model, t_el, bounds, fit_flag)
    request = Request(
        t_el=t_el, g2=g2, g2_err=sigma, model=model, function=func, box=box, level=level, samples=samples
    )  # fmt: skip
    table = replace(robust_table(request), fit_x=np.asarray(fit_x, dtype=np.float64))
    return FitLines(table), FitValues(table)


def fallback_standard_fit(
    func: Callable[..., Any],
    t_el: NDArray[Any],
    g2_col: NDArray[Any],
    sigma_col: NDArray[Any],
    bounds: Any,
    fit_flag: Any,
    fit_x: NDArray[Any],
    p0: Any,
) -> tuple[LineRecord, Record]:
    """Fit one column the standard way; returns its ``fit_line`` and ``fit_val`` records, ``robust_fit`` False."""
    t_el, g2, sigma = np.asarray(t_el), np.asarray(g2_col)[:, None], np.asarray(sigma_col)[:, None]
    model = _model(func)
    box = box_of(model, t_el, bounds, fit_flag)
    fits, found = standard_fits(t_el, g2, correct_g2_err(sigma), model, box, search_of(model))
    table = table_of(fits, found, box, np.asarray(fit_x), func, robust=False)
    return FitLines(table)[0], FitValues(table)[0]


def summary_of(
    table: FitTable,
    curves: Curves,
    model: Model,
    fit_func: str,
    q_range: Any,
    t_range: Any,
    bounds: Any,
    fit_flag: Any,
) -> Record:
    """Name the parts of a fit as pyXpcsViewer does."""
    flags = [True] * len(model.parameters) if fit_flag is None else fit_flag
    table = replace(table, q_val=curves.q_val)
    return Record(
        fit_func=fit_func,
        fit_val=FitValues(table),
        t_el=curves.t_el,
        q_val=curves.q_val,
        q_range=str(q_range),
        t_range=str(t_range),
        bounds=bounds,
        fit_flag=str(flags),
        fit_line=FitLines(table),
        label=curves.label,
    )


def _plain(curves: Curves, stored: NDArray[Any], model: Model, function: Callable[..., Any], box: Box) -> FitTable:
    error = correct_g2_err(stored)[curves.delays]
    replaced = (error != curves.g2_err).sum(axis=0)
    if replaced.any():
        logger.info("%d errors of g2 were replaced by the mean of their bin, as pyXpcsViewer does", replaced.sum())
    fits, found = standard_fits(curves.t_el, curves.g2, error, model, box, search_of(model))
    columns = {**found, "errors_replaced": replaced}
    return table_of(fits, columns, box, fitted_range(curves.t_el), function, robust=False)


def _model(func: Callable[..., Any]) -> Model:
    """Model of a function: ours, or a record of any other."""
    known = next((model for model, function in FUNCTIONS.values() if function is func), None)
    return known or Model.from_function(func)
