"""One fit of files into a store: checked, opened, fitted, counted, saved; or known to be done already."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xpcs_dask.cli import finished, large, report
from xpcs_dask.cli.groups import groups
from xpcs_dask.errors import NoUsableInputError

if TYPE_CHECKING:
    from xpcs_dask.cli.groups import Results
    from xpcs_dask.config import BootstrapConfig, FitConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for, read but not yet checked."""

    paths: tuple[str, ...]
    output: Path = Path("fits.zarr")
    model: str = "single"
    config: FitConfig
    bootstrap: BootstrapConfig | None = None
    scheduler: str = "threads"
    chunks: int | Literal["auto"] = "auto"
    entry: str = ""
    delay_unit: str = ""
    q_unit: str = ""
    include: tuple[str, ...] = ()
    overwrite: bool = False
    progress: bool = False
    memory: int | None = None
    """Bytes that the fit may take; None: what is free."""
    cache: bool = False
    """Take fits of files from the cache of results, and keep them there."""

    @property
    def told(self) -> dict[str, str]:
        """What the files may not tell, as `open_g2` takes it."""
        return {"entry": self.entry, "delay_unit": self.delay_unit, "q_unit": self.q_unit}


class NothingFitted(NoUsableInputError):
    """No file or no curve was left to fit; `report` says what was rejected."""

    def __init__(self, message: str, report: report.Report) -> None:
        super().__init__(message, report)
        self.message, self.report = message, report

    def __str__(self) -> str:
        return self.message


def run(request: Request) -> tuple[report.Report, bool]:
    """Do what `request` asks; returns the report, and whether anything had to be done.

    Raises
    ------
    NothingFitted
        If nothing was left; it carries the report.
    """
    from xpcs_dask.cli import progress
    from xpcs_dask.results import save, summary

    begun = time.perf_counter()
    check(request)
    try:
        with progress.opening(request.progress) as advance:
            data = opened(request, advance)
    except NoUsableInputError as error:
        raise NothingFitted(str(error), reported(None, request, unusable(request), begun)) from error
    rejected = json.loads(data.attrs["rejected"])
    job = describe(request, data, rejected)
    if not request.overwrite and (known := finished.report_of(request.output, job)) is not None:
        return known, False
    large.check_unfinished(request, job)
    try:
        if large.is_large(request, data):
            made = partial(reported, request=request, rejected=rejected, begun=begun)
            return large.run_large(request, data, opened, job, made), True
        fits = computed(data, request)
    except NoUsableInputError as error:
        raise NothingFitted(str(error), reported(None, request, rejected, begun)) from error
    result = reported(summary(fits), request, rejected, begun)
    fits.attrs |= finished.record(job, result)
    save(fits, request.output, overwrite=request.overwrite)
    return result, True


def opened(request: Request, advance: Callable[[int, int], None] | None = None) -> Results:
    """All files that can be used, one group for each q-map and delay grid."""
    from xpcs_dask.io.open import open_g2

    return open_g2(
        request.paths,
        chunks=request.chunks,
        include=request.include,
        on_error="skip",
        on_mismatch="split",
        progress=advance,
        **request.told,
    )


def reported(
    counts: dict[str, Any] | None, request: Request, rejected: list[dict[str, str]], begun: float
) -> report.Report:
    """Report of a finished fit with the counts of `results.summary`; of no curve and no output without them."""
    from importlib.metadata import version

    import xarray as xr

    from xpcs_dask.results import summary

    found = summary(xr.DataTree()) if counts is None else counts
    seconds = time.perf_counter() - begun
    return {name: found[name] for name in report.COUNTS} | {
        "rejected": rejected,
        "seconds": round(seconds, 3),
        "curves_per_second": round(found["curves"] / seconds, 1),
        "output": None if counts is None else str(request.output),
        "version": version("xpcs-dask"),
    }


def unusable(request: Request) -> list[dict[str, str]]:
    """All files with their reasons where none can be used: the error that says so names the first few only."""
    from xpcs_dask.cli.info import describe_files

    found = describe_files(request.paths, False, **request.told)
    return [{"file": item.file, "reason": item.reason} for item in found if item.reason]


def check(request: Request) -> None:
    """Find what cannot work before a file is opened: parameters, scheduler, units, the place of the output."""
    from xpcs_dask.cluster.connect import parse
    from xpcs_dask.engine.cache import Cache
    from xpcs_dask.fitting.models import resolve
    from xpcs_dask.io.open import check_arguments
    from xpcs_dask.io.reader import Told
    from xpcs_dask.io.schema import SCALARS

    if request.cache:
        Cache.of_environment()  # refuses a folder that others can write
    resolve(request.model).box(None, request.config.bounds, request.config.fixed)
    parse(request.scheduler)
    check_arguments(include=request.include, told=Told(**request.told), included=SCALARS)
    finished.check_place(request.output, request.overwrite)


def computed(data: Results, request: Request) -> Results:
    """Fit all curves where `request` says. Records travel between processes once, and get their names here."""
    import xarray as xr

    from xpcs_dask import api, bootstrapping
    from xpcs_dask.cli import progress
    from xpcs_dask.cluster import connect
    from xpcs_dask.results import PackedFits

    if request.bootstrap is None:
        packed = api.packed_fits(data, request.model, request.config, cache=request.cache)
    else:
        packed = bootstrapping.packed_bootstraps(
            data, request.model, request.config, request.bootstrap, cache=request.cache
        )
    fits = {"/": packed} if isinstance(packed, PackedFits) else packed
    total = sum(fitted.records.size for fitted in fits.values())
    with connect(request.scheduler) as connection, progress.bar(total, request.progress) as advance:
        done = progress.compute(fits, connection, advance)
    labelled = {path: fitted.labelled() for path, fitted in done.items()}
    return labelled["/"] if isinstance(packed, PackedFits) else xr.DataTree.from_dict(labelled)


def describe(request: Request, data: Results, rejected: list[dict[str, str]]) -> finished.Job:
    """All that decides the numbers: settings, files with size, time and content hash, versions and processor."""
    from xpcs_dask.fitting.layout import SCHEMA_VERSION
    from xpcs_dask.io.stack import stack_of
    from xpcs_dask.results.provenance import fingerprint

    inputs = [{"file": item["file"], "rejected": item["reason"]} for item in rejected]
    for group in groups(data, "content_hash"):
        for path, content in zip(group["path"].to_numpy(), group["content_hash"].to_numpy(), strict=True):
            inputs.append({"file": str(path), "content": f"{int(content):016x}"})
    stack = stack_of(request.paths)
    if stack is not None:  # what the stack was packed from may be gone
        inputs.append({"file": str(stack), **_state(stack / "zarr.json")})
    for item in inputs:
        item["file"] = os.path.realpath(item["file"])
        if stack is None and os.path.exists(item["file"]):
            item.update(_state(item["file"]))
    return {
        "schema_version": SCHEMA_VERSION,
        **fingerprint(),
        "settings": {
            "model": request.model,
            **request.config.model_dump(mode="json"),
            "bootstrap": None if request.bootstrap is None else request.bootstrap.model_dump(mode="json"),
            **request.told,
            "include": list(request.include),
        },
        "inputs": inputs,
    }


def _state(path: str | Path) -> dict[str, str]:
    state = os.stat(path)
    return {"size": str(state.st_size), "modified": str(state.st_mtime_ns)}
