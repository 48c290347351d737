"""One fit of files into a store: checked, opened, fitted, counted, saved; or known to be done already."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from xpcs_dask.cli import finished, report
from xpcs_dask.cli.groups import groups

if TYPE_CHECKING:
    from xpcs_dask.cli.groups import Results
    from xpcs_dask.config import FitConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for, read but not yet checked."""

    paths: tuple[str, ...]
    output: Path
    model: str
    config: FitConfig
    scheduler: str = "threads"
    chunks: int | Literal["auto"] = "auto"
    overwrite: bool = False
    progress: bool = False


def run(request: Request) -> tuple[report.Report, bool]:
    """Do what `request` asks; returns the report, and whether anything had to be done."""
    from importlib.metadata import version

    from xpcs_dask.io.open import open_g2
    from xpcs_dask.results import save, summary

    begun = time.perf_counter()
    check(request)
    data = open_g2(request.paths, chunks=request.chunks, on_error="skip", on_mismatch="split")
    rejected = json.loads(data.attrs["rejected"])
    job = describe(request, data, rejected)
    if not request.overwrite and (known := finished.report_of(request.output, job)) is not None:
        return known, False
    fits = computed(data, request)
    counts = summary(fits)
    seconds = time.perf_counter() - begun
    result = {name: counts[name] for name in report.COUNTS} | {
        "rejected": rejected,
        "seconds": round(seconds, 3),
        "curves_per_second": round(counts["curves"] / seconds, 1),
        "output": str(request.output),
        "version": version("xpcs-dask"),
    }
    fits.attrs |= finished.record(job, result)
    save(fits, request.output, overwrite=request.overwrite)
    return result, True


def check(request: Request) -> None:
    """Find what cannot work before a file is opened: parameter names, the scheduler's name, the place of the output."""
    from xpcs_dask.cluster.connect import parse
    from xpcs_dask.fitting.models import resolve

    resolve(request.model).box(None, request.config.bounds, request.config.fixed)
    parse(request.scheduler)
    finished.check_place(request.output, request.overwrite)


def computed(data: Results, request: Request) -> Results:
    """Fit all curves where `request` says."""
    from xpcs_dask import api
    from xpcs_dask.cli import progress
    from xpcs_dask.cluster import connect

    fits = api.fit(data, request.model, config=request.config)
    total = sum(group["status"].size for group in groups(fits, "status"))
    with connect(request.scheduler) as connection, progress.bar(total, request.progress) as advance:
        return progress.compute(fits, connection, advance)


def describe(request: Request, data: Results, rejected: list[dict[str, str]]) -> finished.Job:
    """All that decides the numbers of the output: settings, files with size, time and content hash, and versions."""
    from importlib.metadata import version

    from xpcs_dask.fitting.layout import SCHEMA_VERSION

    inputs = [{"file": item["file"], "rejected": item["reason"]} for item in rejected]
    for group in groups(data, "content_hash"):
        for path, content in zip(group["path"].to_numpy(), group["content_hash"].to_numpy(), strict=True):
            inputs.append({"file": str(path), "content": f"{int(content):016x}"})
    for item in inputs:
        item["file"] = os.path.realpath(item["file"])
        if os.path.exists(item["file"]):
            state = os.stat(item["file"])
            item |= {"size": str(state.st_size), "modified": str(state.st_mtime_ns)}
    return {
        "version": version("xpcs-dask"),
        "schema_version": SCHEMA_VERSION,
        "settings": {"model": request.model, **request.config.model_dump(mode="json")},
        "inputs": inputs,
    }
