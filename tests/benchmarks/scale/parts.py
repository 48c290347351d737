"""What streaming is compared with: the same bytes read, fitted and written, each timed by itself.

Blocks are done in groups of as many as there are threads: first all of a group are read, then all fitted, then all
written. Nothing of Dask, xarray or the streaming code takes part; ``fit`` is the function that tasks call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr

import xpcs_dask as xd
from xpcs_dask.api import job_of
from xpcs_dask.config import FitConfig
from xpcs_dask.engine.graph import Named, map_curves
from xpcs_dask.fitting.blocks import fit_block
from xpcs_dask.fitting.models import resolve
from xpcs_dask.prepare import operands, prepare

PHASES = ("read", "kernel", "write")


def parts(stack: str, out: str, errors: str, workers: int) -> dict[str, float]:
    """Wall and processor seconds of each phase."""
    data = xd.open_g2(stack)
    sizes = data["g2"].data.chunks[0]
    rows = [slice(int(last - size), int(last)) for size, last in zip(sizes, np.cumsum(sizes), strict=True)]
    kernel = _kernel(data.isel(file=rows[0]), errors)
    arrays = [zarr.open_array(stack, path=name, mode="r") for name in ("g2", "g2_err")]
    Path(out).mkdir(parents=True)

    def read(part: slice) -> list[Any]:
        return [array[part] for array in arrays]

    def write(numbered: tuple[int, Any]) -> None:
        Path(out, str(numbered[0])).write_bytes(numbered[1].view(np.uint8).data)

    spent = {f"{phase}_{clock}": 0.0 for phase in PHASES for clock in ("wall", "cpu")}
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(kernel, [read(slice(0, 2))] * workers))
        for first in range(0, len(rows), workers):
            curves = _timed(spent, "read", partial(pool.map, read, rows[first : first + workers]))
            fits = _timed(spent, "kernel", partial(pool.map, kernel, curves))
            _timed(spent, "write", partial(pool.map, write, enumerate(fits, first)))
    return spent


def _timed(spent: dict[str, float], phase: str, run: Callable[[], Iterable[Any]]) -> list[Any]:
    wall, cpu = time.perf_counter(), time.process_time()
    found = list(run())
    spent[f"{phase}_wall"] += time.perf_counter() - wall
    spent[f"{phase}_cpu"] += time.process_time() - cpu
    return found


def _kernel(data: Any, errors: str) -> Callable[[list[Any]], Any]:
    """Return what fits g2 and errors of some files; what else the fit takes is that of the first block."""
    curves, config = prepare(data, None, FitConfig.make(errors=errors, detail="core"))
    job = job_of(curves, config, resolve("single"))
    g2, others = operands(curves, config)
    told = [other if other is None else Named(np.asarray(other.data), other.dims) for other in others[1:]]
    call = partial(map_curves, partial(fit_block, job=job), core="delay", dtype=job.dtype, name="fit", own=("cluster",))

    def fit(read: list[Any]) -> Any:
        files = len(read[0])
        cut = [None if t is None else Named(t.data[:files] if "file" in t.dims else t.data, t.dims) for t in told]
        return call(Named(read[0], g2.dims), Named(read[1], g2.dims), *cut)

    return fit
