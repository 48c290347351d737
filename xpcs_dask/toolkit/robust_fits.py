"""The robust way to fit: the package's own weights, outliers left out, tests of the residuals, a bootstrap.

=============  ==================================================  =========
level          what is done                                        resamples
=============  ==================================================  =========
basic          quoted errors as they are, least squares            0
standard       the package's error model and its standard errors,  500
               outliers left out, tests of the residuals
comprehensive  the same, point by point                            1000
=============  ==================================================  =========
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xpcs_dask.config import Diagnostics, FitConfig, Search
from xpcs_dask.errors import ConfigError, XpcsError
from xpcs_dask.fitting.curves import CurveFits
from xpcs_dask.fitting.layout import Status
from xpcs_dask.fitting.models import Model
from xpcs_dask.toolkit.boxes import Box, fitted_range
from xpcs_dask.toolkit.fit_records import FitTable
from xpcs_dask.toolkit.levels import LEVELS, check_level
from xpcs_dask.toolkit.plain_fits import LOST, Columns, correct_g2_err, quoted_fits, standard_fits, table_of

__all__ = [
    "Request", "compute", "level_of", "plain_dataset", "robust_table", "search_of", "settings_of",
]  # fmt: skip

logger = logging.getLogger(__name__)

BESIDE = ("value", "stderr", "covariance", "status", "quality")
"""Variables of results that are not diagnostics."""


def level_of(diagnostic_level: str, bootstrap_samples: int | None = None) -> tuple[Diagnostics, int]:
    """Level and number of resamples, checked."""
    check_level(diagnostic_level)
    assert diagnostic_level in get_args(Diagnostics)
    samples = LEVELS[diagnostic_level] if bootstrap_samples is None else int(bootstrap_samples)
    if samples < 0 or samples == 1:
        raise ConfigError(f"bootstrap_samples is {samples}; give 0 for none, or 2 and more")
    return diagnostic_level, samples  # type: ignore[return-value]


def search_of(model: Model) -> Search:
    """How many minima are looked for: curves of two decays have several."""
    return "thorough" if model.family == "double" else "fast"


def settings_of(model: Model, box: Box, level: Diagnostics) -> FitConfig:
    """Return how the package is told to fit at this level."""
    search = search_of(model)
    if level == "basic":
        return FitConfig.make(bounds=box.bounds, fixed=box.fixed, errors="quoted", diagnostics="basic", search=search)
    return FitConfig.make(bounds=box.bounds, fixed=box.fixed, robust="clip", diagnostics=level, search=search)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """Curves to fit robustly, and how."""

    t_el: NDArray[Any]
    g2: NDArray[Any]
    g2_err: NDArray[Any]
    """(nt, nq), errors as they are stored."""
    model: Model
    function: Callable[..., Any]
    box: Box
    level: Diagnostics
    samples: int
    data: xr.Dataset | None = None
    """The same curves over (qbin, delay) with all that is known of their noise; made from the arrays if not given."""
    floored: NDArray[Any] | None = None
    """Errors (nt, nq) that the standard fit takes; those of `correct_g2_err` if not given."""

    @property
    def plain(self) -> bool:
        """Whether least squares with the quoted errors are all that is asked for."""
        return self.level == "basic" and not self.samples

    @property
    def count(self) -> int:
        """How many bins there are."""
        return int(self.g2.shape[1])

    def dataset(self) -> xr.Dataset:
        """Curves as `xpcs_dask.fit` takes them."""
        if self.data is not None:
            return self.data
        return plain_dataset(self.t_el, self.g2, self.g2_err, np.arange(self.count, dtype=np.uint64))

    def part(self, first: int, last: int) -> Request:
        """Return bins first to last - 1."""
        data = None if self.data is None else self.data.isel(qbin=slice(first, last))
        floored = None if self.floored is None else self.floored[:, first:last]
        g2, g2_err = self.g2[:, first:last], self.g2_err[:, first:last]
        return replace(self, g2=g2, g2_err=g2_err, data=data, floored=floored)


def plain_dataset(t_el: Any, g2: NDArray[Any], g2_err: NDArray[Any], identity: NDArray[np.uint64]) -> xr.Dataset:
    """Curves (nt, nq) over (qbin, delay), without a copy."""
    return xr.Dataset(
        {"g2": (("qbin", "delay"), g2.T), "g2_err": (("qbin", "delay"), g2_err.T)},
        {"delay": ("delay", np.asarray(t_el, dtype=np.float64), {"units": "s"}), "curve_id": ("qbin", identity)},
    )


def robust_table(request: Request, results: Callable[[], xr.Dataset] | None = None) -> FitTable:
    """Fit curves robustly; the standard fit takes over for bins, or for all, where that cannot be done, and says so.

    Parameters
    ----------
    results : callable, optional
        Returns the computed results of `compute`, if these are made elsewhere.
    """
    model, box, level, samples = request.model, request.box, request.level, request.samples
    found: Columns
    try:
        if results is not None:
            fits, found = results_of(results())
        elif request.plain:
            fits, found = quoted_fits(request.t_el, request.g2, request.g2_err, model, box, search_of(model))
        else:
            fits, found = results_of(compute(request.dataset(), model, box, level, samples))
    except (XpcsError, np.linalg.LinAlgError) as error:
        logger.warning("the robust fit cannot be applied (%s); the standard fit takes over", error)
        table = _standard(request, np.arange(request.count))
        return replace(table, message=[_said(text, str(error)) for text in table.message])
    table = table_of(fits, found, box, fitted_range(request.t_el), request.function, robust=True)
    lost = np.flatnonzero(fits.status != Status.CONVERGED)
    return _merged(table, _standard(request, lost), lost) if lost.size else table


def _standard(request: Request, bins: NDArray[np.intp]) -> FitTable:
    """Fit some bins the standard way."""
    error = correct_g2_err(request.g2_err[:, bins]) if request.floored is None else request.floored[:, bins]
    model, box, t_el = request.model, request.box, request.t_el
    fits, columns = standard_fits(t_el, request.g2[:, bins], error, model, box, search_of(model))
    return table_of(fits, columns, box, fitted_range(t_el), request.function, robust=False)


def compute(data: xr.Dataset, model: Model, box: Box, level: Diagnostics, samples: int) -> xr.Dataset:
    """Return results of the robust fit of a Dataset, with errors from refits if asked for; lazy as it is."""
    from xpcs_dask.api import fit

    config = settings_of(model, box, level)
    found = fit(data, model, config=config)
    if not samples:
        return found
    from xpcs_dask.bootstrapping import bootstrap

    refitted = bootstrap(data, model=model, config=FitConfig.make(config, diagnostics="none"), resamples=samples)
    names = ("stderr", "covariance", "errors_from", "interval", "resamples", "failed", "monte_carlo_error")
    assert isinstance(refitted, xr.Dataset)
    errors = {name: refitted[name] for name in names if name in refitted}
    # A parameter on its bound has no standard error: its refits are there too, and scatter by rounding.
    errors["stderr"] = errors["stderr"].where(np.isfinite(found["stderr"]))
    return found.assign(errors)


def results_of(results: xr.Dataset) -> tuple[CurveFits, dict[str, NDArray[Any]]]:
    """Return computed results over bins as arrays: the fits, and everything else that is known of each bin."""
    from xpcs_dask.results import covariance_matrix

    known = np.isfinite(results["stderr"].values)
    matrix = np.where(known[:, :, None] & known[:, None, :], covariance_matrix(results).values, np.nan)
    own = {
        str(name): variable.values
        for name, variable in results.data_vars.items()
        if name not in BESIDE and variable.dims[:1] == ("qbin",) and variable.dtype.kind in "iuf"
    }
    fields: dict[str, Any] = {
        name: results[name].values
        for name in ("value", "stderr", "chi2", "dof", "n_used", "status", "rung", "flags", "evaluations")
    }
    names = tuple(str(name) for name in results["parameter"].values)
    return CurveFits(covariance=matrix, parameters=names, **fields), own


def _merged(table: FitTable, rest: FitTable, lost: NDArray[np.intp]) -> FitTable:
    """Put the standard fits `rest` of bins `lost` in the place of robust fits that failed."""
    value, stderr, covariance = table.value.copy(), table.stderr.copy(), table.covariance.copy()
    value[lost], stderr[lost], covariance[lost] = rest.value, rest.stderr, rest.covariance
    status, message = list(table.status), list(table.message)
    for place, k in enumerate(lost):
        why = message[k].removeprefix(LOST)
        status[k], message[k] = rest.status[place], _said(rest.message[place], why)
    diagnostics = {name: np.array(column) for name, column in table.diagnostics.items()}
    for name, column in diagnostics.items():
        if name in rest.diagnostics:
            column[lost] = rest.diagnostics[name]
    return replace(
        table, value=value, stderr=stderr, covariance=covariance, status=status, message=message,
        diagnostics=diagnostics,
    )  # fmt: skip


def _said(message: str, why: str) -> str:
    if message.startswith(LOST):
        return f"{message}; nor is there a robust fit ({why})"
    return f"{message}; not fitted robustly ({why}), this is the standard fit"
