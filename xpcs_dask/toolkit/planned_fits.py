"""Robust fits of any number of bins in bounded memory: planned, cut into blocks, streamed where they are many."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xpcs_dask.config import BootstrapConfig, Diagnostics
from xpcs_dask.engine.plan import MemoryBudgetError, Plan, make_plan
from xpcs_dask.fitting.models import Model
from xpcs_dask.planning import sizes_of
from xpcs_dask.toolkit.boxes import Box
from xpcs_dask.toolkit.robust_fits import compute, settings_of

__all__ = ["Planned", "active_client", "fit_planned", "plan_fits", "shaped"]

MB = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """How fits are carried out."""

    plan: Plan
    bins: int
    """In a block."""
    workers: int
    """Blocks at once: those of the active client of `distributed`, else one after the other."""
    streamed: bool
    """Whether results go block by block through a store on disk."""


def active_client() -> Any:
    """Return the client of `distributed` that Dask would use now; None without one. Imports nothing."""
    import sys

    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return distributed.default_client()
    except ValueError:
        return None


def plan_fits(
    data: xr.Dataset, model: Model, box: Box, level: Diagnostics, samples: int, max_memory_mb: float, client: Any = None
) -> Planned:
    """Say how curves over (qbin, delay) are cut; nothing is fitted.

    Raises
    ------
    engine.plan.MemoryBudgetError
        If not even one bin at a time fits into `max_memory_mb`.
    """
    lazy = data.chunk(qbin=-1)
    config = settings_of(model, box, level)
    boot = BootstrapConfig.make(resamples=samples) if samples else None
    results = compute(lazy, model, box, level, samples)
    sizes = sizes_of(lazy, {"/": results}, config, boot)
    workers = 1 if client is None else max(1, sum(client.nthreads().values()))
    try:
        plan = make_plan(list(sizes.values()), workers, int(max_memory_mb * MB))
    except MemoryBudgetError as error:
        knob = "give more with max_memory_mb, or fewer bootstrap_samples"
        raise MemoryBudgetError(error.what, error.needed, error.limit, knob) from None
    return Planned(plan=plan, bins=plan.block_rows[0], workers=min(workers, plan.blocks), streamed=not plan.together)


def fit_planned(
    data: xr.Dataset, model: Model, box: Box, level: Diagnostics, samples: int, how: Planned, client: Any = None
) -> xr.Dataset:
    """Fit curves over (qbin, delay) as planned; returns the computed results."""
    import dask

    results = compute(data.chunk(qbin=how.bins), model, box, level, samples)
    with nullcontext() if client is not None else dask.config.set(scheduler="sync"):
        if not how.streamed:
            return results.compute()
        return _streamed(results, client)


def _streamed(results: xr.Dataset, client: Any) -> xr.Dataset:
    """Write results block by block into a store that exists meanwhile, and read them."""
    from xpcs_dask.results import open_results
    from xpcs_dask.streaming import stream

    with tempfile.TemporaryDirectory(prefix="xpcs-fits-") as folder:
        path = stream(results, Path(folder) / "fits.zarr", client=client)
        found = open_results(path)
        assert isinstance(found, xr.Dataset)
        return found.load()


def shaped(delays: int, bins: int, dtype: Any = np.float64) -> xr.Dataset:
    """Curves of that many delays and bins, of no content: what a plan needs to know."""
    import dask.array as da

    g2 = da.zeros((bins, delays), chunks=-1, dtype=dtype)
    delay = ("delay", np.arange(1.0, delays + 1.0), {"units": "s"})
    return xr.Dataset({"g2": (("qbin", "delay"), g2), "g2_err": (("qbin", "delay"), g2)}, {"delay": delay})
