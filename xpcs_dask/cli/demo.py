"""``xpcs-dask demo``: files with known truth, looked at, fitted, drawn and compared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from xpcs_dask.cli.exits import one_line_errors
from xpcs_dask.cli.options import Debug

SEED = 2026
DIFFUSIONS = (0.5e6, 1.0e6, 2.0e6, 4.0e6)
"""angstrom^2/s of the simulated runs, a series such as one over temperature."""


CARRIED = Path(__file__).parents[2] / "tests" / "data" / "boost_corr"
"""Results of boost-corr on synthetic frames; only a checkout has them."""


@one_line_errors
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for all that is made.")] = Path("demo"),
    debug: Debug = False,
) -> None:
    """Simulate files with known truth, fit them, write a store, a figure, a table and a report into one folder."""
    from xpcs_dask.cli import demo_outputs
    from xpcs_dask.cli.info import describe_files, show
    from xpcs_dask.cli.report import as_lines
    from xpcs_dask.reporting import report
    from xpcs_dask.results import open_results

    files, truth = make_files(output)
    show(describe_files([str(path) for path in files]))
    store = output / "fits.zarr"
    typer.echo(as_lines(fit_files(files, store)))
    fits = open_results(store)
    rows = demo_outputs.rows(fits)
    made = {
        "Files": output / "files",
        "Store": store,
        "Table": demo_outputs.write_table(rows, output / "fits.csv"),
        "Figure": demo_outputs.draw(fits, files[0], output / "fits.png"),
        "Report": report(store, output / "report.html", title="xpcs-dask demo"),
    }
    for what, path in made.items():
        typer.echo(f"{what}: {path}")
    for line in demo_outputs.compare(rows, truth):
        typer.echo(line)


def make_files(output: Path) -> tuple[list[Path], dict[str, float]]:
    """Write the simulated runs, and copy the carried ones where a checkout has them; with true D by file name."""
    import numpy as np

    from xpcs_dask.simulate.files import write_series

    folder = output / "files"
    diffusion = np.array(DIFFUSIONS)[:, None]
    files = list(write_series(folder, len(DIFFUSIONS), SEED, model="simple", diffusion=diffusion))
    truths: dict[str, Any] = json.loads((folder / "truth.json").read_text())
    if CARRIED.is_dir():
        files += [Path(shutil.copy(path, folder)) for path in sorted(CARRIED.glob("*.hdf"))]
        truths |= json.loads((CARRIED / "truth.json").read_text())
    return files, {name: float(item["D"] if "D" in item else item["diffusion"][0]) for name, item in truths.items()}


def fit_files(files: list[Path], store: Path) -> dict[str, Any]:
    """Fit the files as ``xpcs-dask fit --model simple --detail full --overwrite`` does; returns its report."""
    from xpcs_dask.cli.report import of_manifest
    from xpcs_dask.jobs import run

    inputs = tuple(str(path) for path in files)
    return of_manifest(
        run(inputs=inputs, output=store, model="simple", fit={"detail": "full"}, overwrite=store.exists())
    )
