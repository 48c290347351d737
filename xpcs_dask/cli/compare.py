"""``xpcs-dask compare``: several models fitted to every curve, and how often each was chosen, bin by bin."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpcs_dask.cli import report
from xpcs_dask.cli.exits import one_line_errors
from xpcs_dask.cli.options import (
    AsJson,
    Debug,
    DelayUnit,
    Entry,
    Paths,
    QUnit,
    Scheduler,
    named_numbers,
    named_ranges,
    number_range,
)
from xpcs_dask.errors import OutputExistsError, StrictError

if TYPE_CHECKING:
    import xarray as xr

    from xpcs_dask.cli.groups import Results

LEVEL = 0.05
"""At which tests are counted."""


@one_line_errors
def compare(
    paths: Paths,
    models: Annotated[str, typer.Option(help="Comma-separated.")] = "simple,single,double",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Store to write (.zarr or .nc).", show_default=False)
    ] = None,
    bounds: Annotated[list[str] | None, typer.Option(help="NAME=LOW,HIGH; may be given again.")] = None,
    fix: Annotated[list[str] | None, typer.Option(help="NAME=VALUE; may be given again.")] = None,
    errors: Annotated[str, typer.Option(help="auto, smoothed, quoted (those of the files) or none.")] = "auto",
    covariance: Annotated[str, typer.Option(help="Of the Wald test: auto, cluster, theory, hc3, wald.")] = "auto",
    folds: Annotated[int, typer.Option(help="Of the cross-validation; 0 for none.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the folds.")] = 0,
    q_range: Annotated[str | None, typer.Option(help="LOW,HIGH in 1/angstrom.")] = None,
    delay_range: Annotated[str | None, typer.Option(help="LOW,HIGH in s.")] = None,
    entry: Entry = "",
    delay_unit: DelayUnit = "",
    q_unit: QUnit = "",
    scheduler: Scheduler = "threads",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that are there.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 5 when a file was rejected or a model not fitted.")
    ] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Fit several models to every curve; print how often each is best, and which tests ask for the larger one."""
    from xpcs_dask.cluster import connect
    from xpcs_dask.cluster.connect import parse
    from xpcs_dask.comparison import compare as compare_models
    from xpcs_dask.io.open import open_g2
    from xpcs_dask.results import save

    parse(scheduler)
    check_output(output, overwrite)
    settings: dict[str, Any] = {
        "bounds": named_ranges(bounds or [], "--bounds"),
        "fixed": named_numbers(fix or [], "--fix"),
        "errors": errors,
        "covariance": covariance,
        "q_range": q_range and number_range(q_range, "--q-range"),
        "delay_range": delay_range and number_range(delay_range, "--delay-range"),
        "folds": folds,
        "seed": seed,
    }
    told: dict[str, Any] = {"entry": entry, "delay_unit": delay_unit, "q_unit": q_unit}
    data = open_g2(paths, on_error="skip", on_mismatch="split", **told)
    with connect(scheduler):
        found = compare_models(data, [name.strip() for name in models.split(",")], **settings).compute()
    if output is not None:
        save(found, output, overwrite=overwrite)
    result = described(found, json.loads(data.attrs["rejected"]), output)
    typer.echo(report.as_json(result) if as_json else as_lines(result))
    if strict and (result["rejected"] or result["compared"] < result["curves"]):
        raise StrictError(
            f"{len(result['rejected'])} files were rejected and {result['curves'] - result['compared']} curves not "
            "fitted with every model"
        )


def check_output(output: Path | None, overwrite: bool) -> None:
    """Refuse a place where nothing can be written, before any work."""
    from xpcs_dask.jobs.identity import check_place

    if output is None:
        return
    check_place(output, overwrite)
    if output.exists() and not overwrite:
        raise OutputExistsError(str(output), "another call")


def described(found: Results, rejected: list[dict[str, str]], output: Path | None) -> report.Report:
    """Count choices and tests, over all curves and by bin."""
    from importlib.metadata import version

    from xpcs_dask.cli.groups import groups

    parts = groups(found, "best")
    first = parts[0]
    result: report.Report = {
        "models": first["model"].values.tolist(),
        "curves": sum(part["n_used"].size for part in parts),
        "compared": sum(int((part["status"] == 1).all("model").sum()) for part in parts),
        "best": {name: _choices(parts, name) for name in first["criterion"].values.tolist()},
        "tests": _tests(parts),
        "bins": [{"group": k + 1, **row} for k, part in enumerate(parts) for row in _bins(part)],
        "warning": first.attrs["warning"],
        "rejected": rejected,
    }
    return result | ({} if output is None else {"output": str(output)}) | {"version": version("xpcs-dask")}


def _choices(parts: Sequence[xr.Dataset], criterion: str) -> dict[str, int]:
    """How often each model is best."""
    names = parts[0]["model"].values.tolist()
    best = [part["best"].sel(criterion=criterion).values for part in parts]
    return {name: sum(int((one == k).sum()) for one in best) for k, name in enumerate(names)}


def _tests(parts: Sequence[xr.Dataset]) -> list[dict[str, Any]]:
    """For each pair of nested models, in how many curves a test rejects the smaller one, of how many it could."""
    if "test" not in parts[0].dims:
        return []
    rows = []
    for k in range(parts[0].sizes["test"]):
        row: dict[str, Any] = {side: str(parts[0][side].values[k]) for side in ("small", "large")}
        for name in ("likelihood_ratio", "wald"):
            p = [part[f"{name}_p"].isel(test=k).values for part in parts]
            row[f"{name}_tested"] = sum(int((one >= 0).sum()) for one in p)
            row[f"{name}_rejected"] = sum(int((one < LEVEL).sum()) for one in p)
        rows.append(row | {"errors_from": _kinds(parts, k)})
    return rows


def _kinds(parts: Sequence[xr.Dataset], test: int) -> list[str]:
    """Return what the covariances of a Wald test rest on."""
    from xpcs_dask.fitting.layout import ErrorsFrom

    seen = {int(code) for part in parts for code in part["errors_from"].isel(test=test).values.ravel()}
    return [ErrorsFrom(code).name.lower() for code in sorted(seen) if code]


def _bins(part: xr.Dataset) -> list[dict[str, Any]]:
    """One record a bin: choices of each criterion over all else."""
    rows = []
    for k in range(part.sizes.get("qbin", 1)):
        one = part.isel(qbin=[k]) if "qbin" in part.dims else part
        row: dict[str, Any] = {"qbin": int(one["qbin"].values[0])} if "qbin" in one.coords else {"qbin": k + 1}
        row |= {name: float(one[name].values[0]) for name in ("q", "phi") if name in one.coords and one[name].size == 1}
        rows.append(row | {str(name): _choices([one], str(name)) for name in one["criterion"].values})
    return rows


def as_lines(result: report.Report) -> str:
    """``Key: value`` lines: counts of choices, tests, and one line a bin."""
    lines = [f"Models: {', '.join(result['models'])}", f"Curves: {result['curves']}", f"Compared: {result['compared']}"]
    lines += [f"Best by {name}: {_in_words(counts)}" for name, counts in result["best"].items()]
    lines += [_test_in_words(test) for test in result["tests"]]
    several = result["bins"][-1]["group"] > 1
    for row in result["bins"]:
        where = f"{row['qbin']}" + (f" of group {row['group']}" if several else "")
        where += "".join(f", {name} {row[name]:.4g}" for name in ("q", "phi") if name in row)
        told = "; ".join(f"{name} {_in_words(row[name])}" for name in result["best"])
        lines.append(f"Bin: {where}: {told}")
    lines.append(f"Warning: {result['warning']}")
    lines.append(report.as_lines({key: result[key] for key in ("rejected", "output", "version") if key in result}))
    return "\n".join(lines)


def _in_words(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counts.items() if number) or "none"


def _test_in_words(test: dict[str, Any]) -> str:
    told = [f"likelihood ratio rejects {test['likelihood_ratio_rejected']} of {test['likelihood_ratio_tested']}"]
    if test["wald_tested"]:
        kinds = " and ".join(test["errors_from"])
        told.append(f"Wald ({kinds}) {test['wald_rejected']} of {test['wald_tested']}")
    return f"Test of {test['small']} against {test['large']}: {', '.join(told)} at p < {LEVEL:g}"
