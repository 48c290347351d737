"""What a job takes, measured from its beginning, and the manifest that says so."""

from __future__ import annotations

import os
import platform
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from xpcs_dask.config import RunConfig
from xpcs_dask.engine.events import Monitor
from xpcs_dask.engine.memory import peak_resident, resident
from xpcs_dask.engine.plan import Plan
from xpcs_dask.fitting.layout import SCHEMA_VERSION
from xpcs_dask.jobs.identity import Files
from xpcs_dask.jobs.manifest import Counts, Cpu, Manifest, Memory, Work, manifest_path

__all__ = ["Account"]


class Account:
    """Time, CPU and memory since it was made."""

    def __init__(self, config: RunConfig) -> None:
        from xpcs_dask.results.provenance import fingerprint

        self.config, self.results_schema = config, SCHEMA_VERSION
        self.fingerprint: dict[str, Any] = fingerprint()
        self._begun, self._clock = datetime.now(UTC), time.perf_counter()
        self._cpu, self._resident = _cpu_seconds(), resident()

    def manifest(self, files: Files, plan: Plan, monitor: Monitor, *, remote: bool) -> Manifest:
        """Return what a finished job says; `remote` if its workers are no children of this process."""
        spent, used = monitor.spent, _cpu_seconds() - self._cpu
        blocks = float(spent.get("cpu", 0.0))
        return self._made(
            files,
            monitor.counts,
            mode=plan.mode,
            work=Work(
                blocks=sum(worker.blocks for worker in monitor.workers.values()) + monitor.before,
                before=monitor.before,
                cache_hits=int(spent.get("hits", 0)),
                cache_misses=int(spent.get("misses", 0)),
                workers={name: worker.blocks for name, worker in monitor.workers.items()},
            ),
            cpu=Cpu(
                all=round(used, 3),
                blocks=round(blocks, 3),
                outside=None if remote or not blocks else round(max(used - blocks, 0.0) / blocks, 4),
            ),
            memory=Memory(
                planned=plan.peak_bytes,
                budget=plan.budget_bytes,
                start=self._resident,
                peak=peak_resident(),
                workers=monitor.peaks,
            ),
        )

    def nothing(self, files: Files) -> Manifest:
        """Return what a job says of which no file or no curve was left."""
        memory = Memory(start=self._resident, peak=peak_resident())
        cpu = Cpu(all=round(_cpu_seconds() - self._cpu, 3))
        return self._made(files, _no_curves(), mode=None, work=Work(), cpu=cpu, memory=memory)

    def _made(self, files: Files, counts: dict[str, Any], *, mode: str | None, **parts: Any) -> Manifest:
        from importlib.metadata import version

        config, output = self.config, None if mode is None else Path(self.config.output)
        seconds = time.perf_counter() - self._clock
        return Manifest(
            version=version("xpcs-dask"),
            begun=self._begun.isoformat(timespec="milliseconds"),
            seconds=round(seconds, 3),
            curves_per_second=round(counts["curves"] / seconds, 1),
            host=platform.node(),
            cpu_target=self.fingerprint["cpu"],
            versions=self.fingerprint["versions"],
            results_schema=self.results_schema,
            config=config,
            seed=None if config.bootstrap is None else config.bootstrap.seed,
            inputs=files.inputs,
            rejected=files.rejected,
            stack=files.stack,
            mode=mode,
            counts=Counts(files=len(files.inputs) + len(files.rejected), files_rejected=len(files.rejected), **counts),
            output=output and str(output),
            manifest=output and str(manifest_path(output)),
            **parts,
        )


def _no_curves() -> dict[str, Any]:
    import xarray as xr

    from xpcs_dask.results import summary

    return summary(xr.DataTree())


def _cpu_seconds() -> float:
    """CPU time of this process, and of its children, those that still live too."""
    ended = os.times()
    found = ended.user + ended.system + ended.children_user + ended.children_system
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            times = child.cpu_times()
            found += times.user + times.system
    return found
