"""``xpcs-dask dispersion``: how relaxation times of a fit depend on q, one line a file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpcs_dask.cli import report
from xpcs_dask.cli.exits import one_line_errors
from xpcs_dask.cli.groups import groups
from xpcs_dask.cli.options import AsJson, Debug, number_range
from xpcs_dask.errors import ConfigError, NoUsableInputError, OutputExistsError, StrictError

if TYPE_CHECKING:
    import xarray as xr

Row = dict[str, Any]


@one_line_errors
def dispersion(
    store: Annotated[Path, typer.Argument(help="Results of a fit (.zarr or .nc).", show_default=False)],
    law: Annotated[
        str,
        typer.Option(help="diffusion, ballistic, power, diffusion+constant or diffusion+flow; power is tested too."),
    ] = "diffusion",
    parameter: Annotated[str, typer.Option(help="Relaxation time or rate: tau; tau1, tau2 of double; rate.")] = "tau",
    by: Annotated[
        str | None, typer.Option(help="Coordinate of the bins, such as phi: one law each.", show_default=False)
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option(help="Flag whose bins are used all the same; repeat.", show_default=False)
    ] = None,
    q_range: Annotated[
        str | None, typer.Option(help="LOW,HIGH: bins with q in this range, 1/angstrom.", show_default=False)
    ] = None,
    q_err: Annotated[float, typer.Option(help="Standard error of q as a fraction of q: 0.015 is 1.5 %.")] = 0.0,
    level: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Table to write (.csv).", show_default=False)
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier table, nothing else.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 5 when a file has no result.")] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Fit tau(q) of every file: diffusion coefficient, exponent of q with a test of 2, and the bins used."""
    from importlib.metadata import version

    from xpcs_dask.physics.laws import law_of

    law_of(law)
    _check_output(output, overwrite)
    settings = {
        "parameter": parameter,
        "by": by,
        "exclude": _exclude(keep or ()),
        "q_range": q_range and number_range(q_range, "--q-range"),
        "level": level,
    }
    rows = _rows(store, law, q_err, settings)
    if output is not None:
        _write(rows, output)
    result = {"law": law, "files": rows, **({} if output is None else {"output": str(output)})}
    result["version"] = version("xpcs-dask")
    typer.echo(report.as_json(result) if as_json else _as_lines(result, level))
    empty = [row for row in rows if row["exponent" if law == "power" else "D"] is None]
    if strict and empty:
        raise StrictError(f"{len(empty)} of {len(rows)} have no result; the first is {empty[0]['file']}")


def _exclude(keep: Sequence[str]) -> list[str]:
    from xpcs_dask.physics.used_bins import DISTRUSTED, bits_of

    bits_of(keep)
    return [name for name in DISTRUSTED if name not in keep]


def _check_output(output: Path | None, overwrite: bool) -> None:
    if output is None:
        return
    if output.suffix != ".csv":
        raise ConfigError(f"{output}: the table is text; give a path ending in .csv")
    if not output.exists():
        return
    with output.open(encoding="utf-8", errors="replace") as file:
        ours = file.readline().startswith("file,")
    if not (overwrite and ours):
        raise OutputExistsError(str(output), "another call" if ours else "something else: it is no such table", ours)


def _rows(store: Path, law: str, q_err: float, settings: dict[str, Any]) -> list[Row]:
    """Fit every group of the store, and list one record a file (and group of bins)."""
    from xpcs_dask.physics.dispersion import dispersion as fit_law
    from xpcs_dask.results import open_results

    rows: list[Row] = []
    for results in groups(open_results(store), "status"):
        loaded = results[["value", "stderr", "flags", "status"]].compute()
        wide = q_err * loaded["q"] if q_err and "q" in loaded.coords else None
        chosen: Any = law
        found = fit_law(loaded, chosen, q_err=wide, **settings)
        exponent = found if law == "power" else fit_law(loaded, "power", q_err=wide, **settings)
        rows += _records(found, exponent)
    if not rows:
        raise NoUsableInputError(f"{store} holds no fitted curve")
    return rows


def _records(found: xr.Dataset, power: xr.Dataset) -> list[Row]:
    import numpy as np

    dims = found["chi2"].dims
    rows = []
    for place in np.ndindex(*found["chi2"].shape):
        at = dict(zip(dims, place, strict=True))
        row: Row = {"file": ""}
        for dim, number in at.items():
            row[str(dim)] = found[dim].values[number].item() if dim in found.coords else number
        rows.append(row | _numbers(found.isel(at), power.isel(at)))
    return rows


def _numbers(found: xr.Dataset, power: xr.Dataset) -> Row:
    """Everything of one file, by name; None where there is no number."""
    from xpcs_dask.physics.law_record import Note

    row: Row = {}
    for one in (found, power):
        for name in one["parameter"].values.tolist():
            own = one.sel(parameter=name)
            low, high = own["interval"].values
            numbers = {"": own["value"], "_stderr": own["stderr"], "_lower": low, "_upper": high}
            row |= {f"{name}{suffix}": _plain(number) for suffix, number in numbers.items()}
    row["exponent_p"] = _plain(power["test_p"])
    if found is not power and "null_hypothesis" in found["test_p"].attrs:
        row[f"{found['parameter'].values[-1]}_p"] = _plain(found["test_p"])
    row |= {name: _plain(found[name]) for name in ("chi2", "chi2_p")}
    row |= {"dof": int(found["dof"]), "bins_used": int(found["n_used"]), "bins": found["excluded"].size}
    flags = int(found["flags"])
    return row | {"flags": [str(note.name).lower() for note in Note if flags & note]}


def _plain(number: Any) -> float | None:
    import math

    value = float(number)
    return value if math.isfinite(value) else None


def _write(rows: list[Row], output: Path) -> None:
    from xpcs_dask.results.atomic import whole

    names = list(dict.fromkeys(name for row in rows for name in row))
    with whole(output) as unfinished, Path(unfinished).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows({**row, "flags": " ".join(row["flags"])} for row in rows)


def _as_lines(result: report.Report, level: float) -> str:
    """One line a file, after the law."""
    lines = [f"Law: {result['law']}", f"Level of the intervals: {level:g}"]
    lines += [_line(row, result["law"]) for row in result["files"]]
    lines += [f"{key.capitalize()}: {result[key]}" for key in ("output", "version") if key in result]
    return "\n".join(lines)


def _line(row: Row, law: str) -> str:
    from xpcs_dask.physics.laws import LAWS

    others = [f"{name} {value:g}" for name, value in row.items() if name in ("phi", "segment", "age", "repeat")]
    told = []
    units = dict(zip(LAWS[law].parameters, LAWS[law].units, strict=True))
    for name, unit in units.items():
        if name not in ("D_um2", "exponent"):
            told.append(_quantity(row, name, unit))
    told.append(_quantity(row, "exponent", ""))
    if row["exponent_p"] is not None:
        told[-1] += f" (p {row['exponent_p']:.2g} for 2)"
    told.append(f"{row['bins_used']} of {row['bins']} bins")
    return f"File: {', '.join([str(row['file']), *others])}: {', '.join(told + row['flags'])}"


def _quantity(row: Row, name: str, unit: str) -> str:
    value, error = row[name], row[f"{name}_stderr"]
    if value is None or error is None:
        return f"{name} unknown"
    return f"{name} {value:.5g} +- {error:.2g} {unit}".rstrip()
