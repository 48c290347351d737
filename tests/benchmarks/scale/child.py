"""One measurement in a process of its own: ``python -m tests.benchmarks.scale.child KIND JSON``; prints JSON."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"))

import numpy as np
import xarray as xr

import xpcs_dask as xd
from tests.benchmarks.scale.measure import Stopwatch
from tests.benchmarks.scale.parts import parts
from xpcs_dask.cluster import connect


def fit(small: str, stack: str, out: str, spec: str, errors: str) -> dict[str, Any]:
    """Fit a stack into a store, as the mode of its size has it, where `spec` says; started and warmed before."""
    with connect(spec) as connection:
        _fitted(small, f"{out}-warm.zarr", errors, connection, 2, rows=2)  # blocks enough for every worker
        watch = Stopwatch()
        found = _fitted(stack, out, errors, connection, int(spec.partition(":")[2]))
        found |= watch.read()
    return found | {"bytes": _size(out), "hash": digest(xd.open_results(out))}


def _fitted(stack: str, out: str, errors: str, connection: Any, workers: int, rows: int = 0) -> dict[str, Any]:
    """What `run` does, but for the hash of the input, the manifest and the start of the scheduler."""
    from xpcs_dask.cluster.executor import executor
    from xpcs_dask.config import RunConfig
    from xpcs_dask.engine.stream import Hands
    from xpcs_dask.jobs.job import Source, planned
    from xpcs_dask.streaming import stream_into

    shutil.rmtree(out, ignore_errors=True)
    fit = {"errors": errors, "detail": "core"}
    config = RunConfig.make(inputs=stack, output=out, chunks=rows or "auto", fit=fit)
    groups, plan = planned(config, Source(config), connection, workers)
    (results,) = groups.values()
    with executor(connection) as (pool, there):
        stream_into(results, Path(out), {}, Hands(pool, there))
    block = plan.block_rows[0] * plan.input_bytes // results.sizes["file"]
    return {
        "mode": plan.mode, "blocks": plan.blocks, "curves": plan.curves, "input": plan.input_bytes,
        "block": block, "planned": plan.peak_bytes, "result": plan.result_bytes,
    }  # fmt: skip


def memory(stack: str, errors: str) -> dict[str, Any]:
    """Fit curves that lie in memory, all in one call."""
    data = xd.open_g2(stack, chunks=None)
    return {"hash": digest(xd.fit(data, errors=errors, detail="core"))}


def bootstrap(small: str, stack: str, out: str, resamples: int, blocks: int, workers: int) -> dict[str, Any]:
    """Bootstrap the first blocks of a stack in the size that is planned for all of it."""
    from xpcs_dask.planning import plan

    def go(path: str, files: int, rows: int, into: str) -> None:
        data = xd.open_g2(path, chunks=rows).isel(file=slice(files))
        xd.stream(xd.bootstrap(data, resamples=resamples, over="delay", errors="quoted", detail="core"), into)

    whole = plan(xd.open_g2(stack), bootstrap=resamples, errors="quoted", detail="core", workers=workers)
    rows = whole.block_rows[0]
    with connect(f"threads:{workers}"):
        go(small, workers, 1, f"{out}-warm.zarr")
        watch = Stopwatch()
        go(stack, rows * blocks, rows, out)
        found = watch.read()
    return found | {"blocks": whole.blocks, "done": blocks, "planned": whole.peak_bytes, "curves": whole.curves,
                    "mode": whole.mode}  # fmt: skip


def scheduler(blocks: int, payload: int) -> dict[str, Any]:
    """Send tasks that do nothing through a cluster: memory of scheduler and client, and seconds of each task."""
    from xpcs_dask.cluster.executor import executor_here
    from xpcs_dask.engine.stream import Hands, stream

    with connect("local:2") as connection, executor_here(connection.client) as (pool, workers):
        list(stream((bytes(payload) for _ in range(20)), len, Hands(pool, workers)))
        watch = Stopwatch()
        assert sum(1 for _ in stream((os.urandom(payload) for _ in range(blocks)), len, Hands(pool, workers))) == blocks
        return watch.read() | {"blocks": blocks, "resident": watch.family[0].memory_info().rss}


def wave(stack: str, workers: int) -> dict[str, Any]:
    """Bytes of the tasks that are in flight at once."""
    from xpcs_dask.engine.stream import AHEAD
    from xpcs_dask.engine.stream_graph import Blocks
    from xpcs_dask.results.streamed import lazy_arrays, regular

    results = regular(xd.fit(xd.open_g2(stack), errors="auto", detail="core"))
    blocks = Blocks(lazy_arrays(results))
    first = next(blocks.blocks(iter([0])))
    return {"task": len(first.work), "wave": AHEAD * workers * len(first.work)}


def digest(results: xr.Dataset) -> str:
    """Hash of all numbers, piece by piece, so that a store is not loaded whole."""
    found = hashlib.sha256()
    step = 4096
    for name in sorted(map(str, results.data_vars)):
        for first in range(0, results.sizes["file"], step):
            found.update(np.ascontiguousarray(results[name].isel(file=slice(first, first + step)).to_numpy()).data)
    return found.hexdigest()[:16]


def _size(path: str) -> int:
    return sum(item.stat().st_size for item in Path(path).rglob("*") if item.is_file())


KINDS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "fit": fit, "parts": parts, "memory": memory, "bootstrap": bootstrap, "scheduler": scheduler, "wave": wave,
}  # fmt: skip

if __name__ == "__main__":
    print(json.dumps(KINDS[sys.argv[1]](**json.loads(sys.argv[2]))))
