"""`plan`: what a fit will take before it runs: mode, blocks, memory, and by a probe of about a second, time."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from typing import Any

import xarray as xr

from xpcs_dask import api, bootstrapping
from xpcs_dask.api import Data
from xpcs_dask.config import BootstrapConfig, FitConfig
from xpcs_dask.engine.budget import allowed
from xpcs_dask.engine.plan import Plan, Sizes, make_plan
from xpcs_dask.errors import NoUsableInputError
from xpcs_dask.fitting.adaptive import GROUP_BYTES
from xpcs_dask.fitting.models import Evaluate, Model
from xpcs_dask.fitting.outliers import settings
from xpcs_dask.fitting.points import POINT as POINT_RECORD
from xpcs_dask.fitting.slabs import PIECE, SLAB_POINTS
from xpcs_dask.fitting.uncertainty import covariance_kind
from xpcs_dask.io.stack import CURVES
from xpcs_dask.results.packed import PackedFits
from xpcs_dask.results.streamed import by_group, lazy_arrays

__all__ = ["lazy_results", "plan", "refits", "seconds", "sizes_of"]

# What fitting takes beside its input and output, whatever the block; measured by tests/benchmarks/memory.py. Bytes of
# each point of a slab, of each of its curves, or for the pieces in which some steps look at a slab.
POINT = 32
"""g2 and weights in float64, flags, what the kernels are given."""
CURVE, FEWEST = 42, 4
"""Bytes of each curve, times the square of the number of parameters: covariances, records with all details. Models of
fewer parameters are fitted as those of 4 with some held."""
NOISE = 8
"""More of each point where theory tells the noise."""
ROBUST = 20
"""More of each point where a first fit tells the outliers, or the size of the errors."""
PROFILE = 3_000
"""More of each curve of a piece for its walks, at 4 parameters; grows with their square."""
RESIDUALS = {"none": 0, "basic": 500_000, "standard": 2_000_000, "comprehensive": 3_500_000}
"""More for the geometry of the fits that diagnostics look at, a piece at a time."""
TEXT = 120
"""Bytes of a text in memory, about."""
PROBE = 1.0
"""Seconds that a probe takes, about."""


def plan(
    data: Data,
    model: str | Model | Evaluate = "single",
    *,
    config: FitConfig | None = None,
    bootstrap: int = 0,
    memory: int | str | None = None,
    workers: int | None = None,
    **settings: Any,
) -> Plan:
    """Say how a fit is cut into blocks and what memory it takes; reads and fits nothing.

    Parameters
    ----------
    data, model, config, **settings
        As `fit` takes them; data must be lazy.
    bootstrap : int
        Refits of each curve, if it is `bootstrap` that is planned.
    memory : int or str, optional
        Bytes that it may take, such as ``"1GiB"``; by default 80 % of what is free in the control group or machine.
    workers : int, optional
        Blocks at once; by default one for each core.

    Returns
    -------
    engine.plan.Plan

    Raises
    ------
    MemoryBudgetError
        If it cannot be done in that memory; names the number, the limit and what to change.
    """
    config = FitConfig.make(config, **settings)
    boot = BootstrapConfig.make(resamples=bootstrap) if bootstrap else None
    sizes = sizes_of(data, lazy_results(data, model, config, boot), config, boot)
    budget = allowed(memory)
    return make_plan(list(sizes.values()), workers or os.cpu_count() or 1, budget)


def lazy_results(
    data: Data,
    model: str | Model | Evaluate,
    config: FitConfig,
    boot: BootstrapConfig | None = None,
    *,
    cache: bool = False,
) -> dict[str, xr.Dataset]:
    """Return what `fit` gives for lazy data, or `bootstrap` with the settings `boot`, by path of the group."""
    if boot is None:
        packed = api.packed_fits(data, model, config, cache=cache)
    else:
        packed = bootstrapping.packed_bootstraps(data, model, config, boot, cache=cache)
    if isinstance(packed, PackedFits):
        return {"/": packed.labelled()}
    return {path: fitted.labelled() for path, fitted in packed.items()}


def sizes_of(
    data: Data, results: Mapping[str, xr.Dataset], config: FitConfig, boot: BootstrapConfig | None = None
) -> dict[str, Sizes]:
    """Sizes of each group, from the curves and their lazy results; nothing is computed."""
    return {path: _sizes(_group(data, path), found, config, boot) for path, found in results.items()}


def refits(boot: BootstrapConfig | None) -> int:
    """Refits of each curve, at most; 0 without a bootstrap."""
    if boot is None:
        return 0
    return boot.max_resamples if boot.resamples == "auto" else boot.resamples


def seconds(results: Mapping[str, xr.Dataset], workers: int, probe: float = PROBE) -> float:
    """Estimate how long `workers` take for all results, by fitting some curves of the largest group for a second."""
    largest = max(results.values(), key=_curves)
    dim, length = largest["status"].dims[0], largest["status"].shape[0]
    _time(largest.isel({dim: slice(0, 1)}))  # what a process does once: compile, open files
    taken, rows, each = 0.0, 0, math.inf
    while taken < probe / 2 and rows < length:
        rows = min(length, max(1, 2 * rows))
        taken = _time(largest.isel({dim: slice(0, rows)}))
        each = min(each, taken / rows)
    return each * length / _curves(largest) * sum(map(_curves, results.values())) / workers


def _time(results: xr.Dataset) -> float:
    begun = time.perf_counter()
    results.compute(scheduler="sync")
    return time.perf_counter() - begun


def _curves(results: xr.Dataset) -> int:
    return results["status"].size


def _group(data: Data, path: str) -> xr.Dataset:
    if isinstance(data, xr.DataArray):
        return data.to_dataset(name="g2")
    return by_group(data)[path]


def _sizes(data: xr.Dataset, results: xr.Dataset, config: FitConfig, boot: BootstrapConfig | None) -> Sizes:
    """Sizes of one group; rows are the entries of the first dimension of its results."""
    lazy = lazy_arrays(results)
    if "status" not in lazy:
        raise NoUsableInputError("the data are in memory already; a plan is for lazy data, as open_g2 gives them")
    rows = results["status"].shape[0]
    used = [data[name].variable for name in CURVES if name in data.data_vars]
    read = [math.ceil(variable.nbytes / rows) for variable in used]
    carried = [coord for coord in data.coords.values() if coord.chunks is None]
    cut = lazy["status"].data.chunks[1:]
    by_row = [coord for coord in carried if coord.ndim > 1 and coord.dtype.kind in "iuf"]
    parameters, delays = results.sizes["parameter"], data.sizes["delay"]
    return Sizes(
        rows=rows,
        row_curves=results["status"].size // rows,
        points=data["g2"].size // results["status"].size,
        read=sum(read),
        largest=max(read),
        pieces=math.prod(map(len, cut)),
        piece=math.prod(max(sizes) / sum(sizes) for sizes in cut),
        stored_rows=_stored_rows(used[0]),
        shipped=sum(coord.nbytes for coord in by_row) // rows,
        result=math.ceil(sum(array.data.nbytes for array in lazy.values()) / rows),
        pointwise=POINT_RECORD.itemsize * data["g2"].size // rows if "quality" in lazy else 0,
        scratch=_slab(config, parameters, delays) + _looks(config, parameters),
        resamples=refits(boot),
        refit=52 * parameters - 8,
        parent=56 * delays if boot else 0,
        together=max(1, min(SLAB_POINTS // delays, GROUP_BYTES // (8 * parameters * max(refits(boot), 1)))),
        held=sum(coord.size * TEXT if coord.dtype.kind in "OUT" else coord.nbytes for coord in carried),
    )


def _slab(config: FitConfig, parameters: int, delays: int) -> int:
    """Bytes that fitting takes beside its input and output, whatever the block: a slab, several times over."""
    point = POINT + NOISE * (covariance_kind(settings(config)) == "theory" or config.weights == "gls")
    if config.robust is not None:
        relative = not config.absolute_sigma or config.errors == "none"
        point += ROBUST * (relative or config.robust == "clip")
    return max(1, SLAB_POINTS // delays) * (point * delays + CURVE * max(FEWEST, parameters) ** 2)


def _looks(config: FitConfig, parameters: int) -> int:
    """More of it for what looks at fits piece by piece."""
    profile = PROFILE * PIECE * max(FEWEST, parameters) ** 2 // FEWEST**2
    return profile * (config.interval == "profile") + RESIDUALS[config.diagnostics]


def _stored_rows(g2: xr.Variable) -> int:
    """Rows of g2 that are read in one piece: those of a stack as its arrays say; files are read one after the other."""
    layers = g2.data.__dask_graph__().layers if g2.chunks is not None else ()
    return max((int(name.split("-")[3]) for name in layers if name.startswith("xpcs-stack-of-")), default=0)
