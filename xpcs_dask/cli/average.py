"""``xpcs-dask average``: repeats into one curve a bin, with an error from their scatter and a log of rejections."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpcs_dask.cli import report
from xpcs_dask.cli.exits import one_line_errors
from xpcs_dask.cli.options import AsJson, Debug, DelayUnit, Entry, Paths, QUnit, Scheduler, number_range
from xpcs_dask.errors import NoUsableInputError, OutputExistsError, StrictError

if TYPE_CHECKING:
    import xarray as xr


@one_line_errors
def average(
    paths: Paths,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Stack (.zarr), which fit reads, or NetCDF file (.nc) to write.")
    ] = Path("average.zarr"),
    weights: Annotated[str, typer.Option(help="none, error (1/quoted error^2) or counts (expected).")] = "none",
    baseline: Annotated[
        str | None, typer.Option(help="LOW,HIGH: reject curves whose last delays lie outside.", show_default=False)
    ] = None,
    baseline_delays: Annotated[int, typer.Option(help="How many last delays make the baseline.")] = 5,
    outliers: Annotated[
        float | None, typer.Option(help="Reject curves this far from the median; try 3.5.", show_default=False)
    ] = None,
    entry: Entry = "",
    delay_unit: DelayUnit = "",
    q_unit: QUnit = "",
    scheduler: Scheduler = "threads",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an average that is there.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 5 when a file or a curve was rejected.")] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Average repeats, bin by bin: files of the same q-map and delays are the repeats of one measurement."""
    from xpcs_dask.cluster import connect
    from xpcs_dask.cluster.connect import parse
    from xpcs_dask.physics.average import rejections

    begun = time.perf_counter()
    parse(scheduler)
    check_output(output, overwrite)
    rules: dict[str, Any] = {
        "weights": weights,
        "baseline": baseline and number_range(baseline, "--baseline"),
        "baseline_delays": baseline_delays,
        "outliers": outliers,
    }
    attrs, series, alone = opened(paths, entry=entry, delay_unit=delay_unit, q_unit=q_unit)
    with connect(scheduler):
        means = averaged(series, rules)
    write([as_file(mean, output, attrs) for mean in means], output, overwrite)
    log = [item for mean in means for item in rejections(mean)]
    result = described(means, log, attrs, alone, output, begun)
    typer.echo(report.as_json(result) if as_json else as_lines(result))
    short = [*result["rejected"], *result["rejections"], *result["left_out"]]
    if strict and short:
        raise StrictError(
            f"{len(result['rejected'])} files and {len(result['rejections'])} curves were rejected, "
            f"{len(result['left_out'])} files left out"
        )


def check_output(output: Path, overwrite: bool) -> None:
    """Refuse a place where nothing can be written, before any work."""
    from xpcs_dask.io.stack import check_place

    if output.suffix != ".nc":
        check_place(output, overwrite)
    elif output.exists() and not overwrite:
        raise OutputExistsError(str(output), "another call")


def opened(paths: Sequence[str], **told: Any) -> tuple[dict[str, str], list[xr.Dataset], list[str]]:
    """Attributes of all, series of at least two files, and files that have no second of their kind."""
    from xpcs_dask.io.open import open_g2

    tree = open_g2(paths, on_error="skip", on_mismatch="split", **told)
    attrs = {name: str(tree.attrs[name]) for name in ("rejected", "notes")}
    groups = [node.to_dataset(inherit=False) for node in tree.subtree if "g2" in node.data_vars]
    series = [group for group in groups if group.sizes["file"] > 1]
    alone = [str(group["path"].values[0]) for group in groups if group.sizes["file"] == 1]
    if not series:
        raise NoUsableInputError(
            f"no two of {len(alone)} files share q-map, frame time and delays: there is nothing to average"
        )
    return attrs, series, alone


def averaged(series: Sequence[xr.Dataset], rules: dict[str, Any]) -> list[xr.Dataset]:
    """One average of each series, in memory."""
    from xpcs_dask.physics.average import average as average_series

    return [average_series(group, "file", **rules).compute() for group in series]


def as_file(mean: xr.Dataset, output: Path, attrs: dict[str, str]) -> xr.Dataset:
    """Give an average the shape of one opened file, so that all that reads files reads it."""
    import numpy as np

    from xpcs_dask.io.reader import hash_curves
    from xpcs_dask.io.schema import SCALARS, VARIABLES

    of_files = {
        name: coordinate.variable.set_dims({"file": 1, **coordinate.sizes})
        for name, coordinate in mean.coords.items()
        if "file" in (VARIABLES | SCALARS).get(str(name), VARIABLES["delay"]).dims
    }
    start = mean["cluster_start_time"].min()
    known = {
        "file": np.array([output.name], object),
        "path": np.array([str(output)], object),
        "content_hash": np.array([hash_curves(mean["g2"].values)], np.uint64),
        "error_kind": np.array(["quoted"], object),
        "start_time": start.values[None],
    }
    named = {name: (("file",), values, VARIABLES[name].attrs) for name, values in known.items()}
    out = mean.expand_dims("file").assign_coords(of_files | named).assign_attrs(attrs)
    out["start_time"].attrs["time_zone"] = mean["cluster_start_time"].attrs.get("time_zone", "unknown")
    return out.transpose("file", ...)


def write(means: Sequence[xr.Dataset], output: Path, overwrite: bool) -> None:
    """One Dataset, or one group for each q-map and delay grid."""
    import xarray as xr

    from xpcs_dask.io.stack import write_stack
    from xpcs_dask.results.atomic import whole

    groups = {f"group_{number}": mean for number, mean in enumerate(means)}
    root = xr.Dataset(attrs={name: means[0].attrs[name] for name in ("rejected", "notes")})
    data = means[0] if len(means) == 1 else xr.DataTree.from_dict({"/": root, **groups})
    if output.suffix == ".nc":
        with whole(output) as unfinished:
            data.to_netcdf(unfinished, engine="h5netcdf")
    else:
        write_stack(data, output, overwrite=overwrite)


def described(
    means: Sequence[xr.Dataset],
    log: list[dict[str, Any]],
    attrs: dict[str, str],
    alone: list[str],
    output: Path,
    begun: float,
) -> report.Report:
    """Count what was averaged, and list what was not."""
    from importlib.metadata import version

    return {
        "files": sum(mean.sizes["cluster"] for mean in means),
        "groups": len(means),
        "curves": sum(mean.sizes["qbin"] for mean in means),
        "rejections": log,
        "rejected": json.loads(attrs["rejected"]),
        "left_out": alone,
        "seconds": round(time.perf_counter() - begun, 3),
        "output": str(output),
        "version": version("xpcs-dask"),
    }


def as_lines(result: report.Report) -> str:
    """``Key: value`` lines; each rejected curve and each file left out has one of its own."""
    plain = {key: value for key, value in result.items() if key not in {"rejections", "left_out"}}
    lines = [report.as_lines(plain), f"Rejected curves: {len(result['rejections'])}"]
    lines += [f"Rejected curve: {_in_words(item)}" for item in result["rejections"]]
    return "\n".join([*lines, *(f"Left out: {path}: no other file is like it" for path in result["left_out"])])


def _in_words(item: dict[str, Any]) -> str:
    q = f" (q {item['q']:.4g} 1/angstrom)" if "q" in item else ""
    why = item["reason"].replace("_", " ")
    if item["value"] is not None:
        why += f", {item['value']:.4g}" + (f" against {item['limit']:.4g}" if item["limit"] is not None else "")
    return f"{item['repeat']}, bin {item['qbin']}{q}: {why}"
