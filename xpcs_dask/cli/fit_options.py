"""Options that say what is fitted, and how: of ``fit``, and of ``submit``, which does the same in a job."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpcs_dask.cli.options import (
    Again,
    Cluster,
    DelayUnit,
    Entry,
    Memory,
    Paths,
    QUnit,
    Scheduler,
    block_files,
    cluster_settings,
    named_numbers,
    named_ranges,
    number_range,
)
from xpcs_dask.errors import ConfigError

if TYPE_CHECKING:
    from xpcs_dask.config import BootstrapConfig, RunConfig

__all__ = ["bootstrap_settings", "job_of", "with_fit_options"]


def job_of(
    paths: Paths,
    output: Annotated[Path, typer.Option("--output", "-o", help="Store to write (Zarr).")] = Path("fits.zarr"),
    model: Annotated[
        str, typer.Option(help="Model, such as simple, single, double, schulz+vibration: docs/models.md.")
    ] = "single",
    bounds: Annotated[list[str] | None, typer.Option(help="NAME=LOW,HIGH; may be given again.")] = None,
    fix: Annotated[list[str] | None, typer.Option(help="NAME=VALUE; may be given again.")] = None,
    loss: Annotated[str, typer.Option(help="linear, soft_l1, huber, cauchy, arctan or tukey.")] = "linear",
    loss_scale: Annotated[float, typer.Option(help="Residual in sigma beyond which a robust loss takes over.")] = 1.0,
    search: Annotated[str, typer.Option(help="fast or thorough.")] = "fast",
    errors: Annotated[str, typer.Option(help="auto, smoothed, quoted (those of the files) or none.")] = "auto",
    covariance: Annotated[str, typer.Option(help="auto, cluster, theory, hc3, wald or scaled.")] = "auto",
    weights: Annotated[str, typer.Option(help="diagonal, or gls: with the theoretical correlation of delays.")] = (
        "diagonal"
    ),
    robust: Annotated[
        str | None, typer.Option(help="What is done about outliers: clip, cauchy or mm.", show_default=False)
    ] = None,
    diagnostics: Annotated[str, typer.Option(help="none, basic, standard or comprehensive.")] = "none",
    interval: Annotated[
        str | None,
        typer.Option(
            help="Intervals: covariance or profile; with --bootstrap auto, percentile, basic, bca, studentised or t.",
            show_default=False,
        ),
    ] = None,
    level: Annotated[float, typer.Option(help="Coverage of the intervals.")] = 0.95,
    bootstrap: Annotated[
        str | None, typer.Option(help="Refits of resampled data for each curve: a number, or auto.", show_default=False)
    ] = None,
    over: Annotated[
        str, typer.Option(help="What is resampled: auto, cluster, delay, or a dimension that holds repeats.")
    ] = "auto",
    seed: Annotated[int, typer.Option(help="Of the random numbers of --bootstrap.")] = 0,
    q_range: Annotated[str | None, typer.Option(help="LOW,HIGH in 1/angstrom.")] = None,
    delay_range: Annotated[str | None, typer.Option(help="LOW,HIGH in s.")] = None,
    entry: Entry = "",
    delay_unit: DelayUnit = "",
    q_unit: QUnit = "",
    include: Annotated[
        list[str] | None, typer.Option(help="Number of each file to keep, such as scan_number; may be given again.")
    ] = None,
    detail: Annotated[str, typer.Option(help="core, or full with covariance and criteria.")] = "core",
    scheduler: Scheduler = "threads",
    cluster: Cluster = None,
    chunks: Annotated[str, typer.Option(help="auto, or files in one block.")] = "auto",
    memory: Memory = "",
    cache: Annotated[
        bool | None,
        typer.Option(
            "--cache/--no-cache",
            help="Keep fits of files by content and take them from there; default: with --bootstrap.",
            show_default=False,
        ),
    ] = None,
    overwrite: Again = False,
) -> RunConfig:
    """Read the options into the settings of a job."""
    from xpcs_dask.config import FitConfig, RunConfig

    config = FitConfig.make(
        bounds=named_ranges(bounds or [], "--bounds"),
        fixed=named_numbers(fix or [], "--fix"),
        loss=loss,
        loss_scale=loss_scale,
        search=search,
        errors=errors,
        covariance=covariance,
        weights=weights,
        robust=robust,
        diagnostics=diagnostics,
        interval="none" if interval is None or bootstrap is not None else interval,
        level=level,
        q_range=q_range and number_range(q_range, "--q-range"),
        delay_range=delay_range and number_range(delay_range, "--delay-range"),
        detail=detail,
    )
    return RunConfig.make(
        inputs=tuple(paths),
        output=output,
        model=model,
        fit=config,
        bootstrap=bootstrap_settings(bootstrap, over=over, interval=interval or "auto", level=level, seed=seed),
        scheduler=scheduler,
        cluster=cluster_settings(cluster),
        chunks=block_files(chunks),
        entry=entry,
        delay_unit=delay_unit,
        q_unit=q_unit,
        include=tuple(include or ()),
        overwrite=overwrite,
        cache=cache,
        memory=memory or None,
    )


def with_fit_options(without: Collection[str] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a verb the options of `job_of` before its own; it gets them as one mapping, for its first parameter."""

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        shared = [one for name, one in _parameters(job_of).items() if name not in without]
        own = list(_parameters(verb).values())[1:]

        @functools.wraps(verb)
        def called(**values: Any) -> None:
            options = {one.name: values.pop(one.name) for one in shared}
            verb(options, **values)

        arguments = [one for one in (*shared, *own) if one.default is inspect.Parameter.empty]
        others = [one for one in (*shared, *own) if one.default is not inspect.Parameter.empty]
        called.__signature__ = inspect.Signature([*arguments, *others])  # type: ignore[attr-defined]
        called.__annotations__ = {}  # those of the signature count
        return called

    return decorate


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Parameters with their annotations as objects; that of what is returned may be one for type checkers only."""
    found = inspect.signature(function).parameters
    known = {**vars(inspect.getmodule(function))}
    return {
        name: one.replace(annotation=eval(one.annotation, known), kind=inspect.Parameter.KEYWORD_ONLY)
        for name, one in found.items()
    }


def bootstrap_settings(resamples: str | None, **settings: Any) -> BootstrapConfig | None:
    """Read ``--bootstrap``, a number or auto; None if it was not given."""
    from xpcs_dask.config import BootstrapConfig

    if resamples is None:
        return None
    if resamples != "auto" and not resamples.isdecimal():
        raise ConfigError(f"--bootstrap takes auto or a number of refits; got '{resamples}'")
    return BootstrapConfig.make(resamples="auto" if resamples == "auto" else int(resamples), **settings)
