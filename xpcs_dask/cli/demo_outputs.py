"""What the demo makes of its fits: a table, a figure, and a comparison with the truth."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpcs_dask.cli.groups import groups

if TYPE_CHECKING:
    import xarray as xr

    from xpcs_dask.cli.groups import Results

WINDOW = 0.2
"""A relaxation time counts for D if it is below this share of the longest delay: slower ones are barely seen to end."""
PRECISION = 0.2
"""... and if its standard error is below this share of it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One fitted curve."""

    file: str
    qbin: int
    q: float
    """1/angstrom"""
    phi: float
    """degree"""
    status: str
    flags: str
    contrast: float
    contrast_stderr: float
    tau: float
    """s"""
    tau_stderr: float
    baseline: float
    baseline_stderr: float
    reduced_chi2: float
    diffusion: float
    """1 / (tau q^2), angstrom^2/s"""
    counts: bool
    """Whether this curve counts for the diffusion coefficient of its file."""


def rows(fits: Results) -> list[Row]:
    """One row a curve, of all groups, in the order of the files' names; `fits` need ``detail="full"``."""
    found = [row for group in groups(fits, "status") for row in _rows(group.load())]
    return sorted(found, key=lambda row: (row.file, row.qbin))


def _rows(group: xr.Dataset) -> Iterator[Row]:
    import numpy as np

    from xpcs_dask.fitting.layout import Status, flag_names

    value = {str(name): group["value"].sel(parameter=name).to_numpy() for name in group["parameter"].to_numpy()}
    error = {str(name): group["stderr"].sel(parameter=name).to_numpy() for name in group["parameter"].to_numpy()}
    counts = _counts(group, value["tau"], error["tau"])
    for at in np.ndindex(*group["status"].shape):
        file, qbin = at
        q = float(group["q"].to_numpy()[qbin])
        yield Row(
            file=str(group["file"].to_numpy()[file]),
            qbin=int(group["qbin"].to_numpy()[qbin]),
            q=q,
            phi=float(group["phi"].to_numpy()[qbin]),
            status=Status(int(group["status"].to_numpy()[at])).name.lower(),
            flags=" ".join(flag_names(int(group["flags"].to_numpy()[at]))),
            contrast=float(value["contrast"][at]),
            contrast_stderr=float(error["contrast"][at]),
            tau=float(value["tau"][at]),
            tau_stderr=float(error["tau"][at]),
            baseline=float(value["baseline"][at]),
            baseline_stderr=float(error["baseline"][at]),
            reduced_chi2=float(group["reduced_chi2"].to_numpy()[at]),
            diffusion=1.0 / (float(value["tau"][at]) * q**2),
            counts=bool(counts[at]),
        )


def _counts(group: xr.Dataset, tau: Any, error: Any) -> Any:
    """Which curves say something about D: converged, not doubtful, tau well inside the delays used, and known well."""
    import numpy as np

    from xpcs_dask.fitting.layout import Flag, Status
    from xpcs_dask.fitting.quality import PointFlag

    doubtful = Flag.UNIDENTIFIABLE | Flag.AT_BOUND | Flag.ONE_POINT_DOMINATES | Flag.POOR_FIT | Flag.NO_SIGNAL
    used = group["delay"].where(group["quality"] & int(PointFlag.NOT_USED) == 0)
    first, last = used.min("delay").to_numpy(), used.max("delay").to_numpy()
    with np.errstate(invalid="ignore"):
        seen = (tau > first) & (tau < WINDOW * last) & (error < PRECISION * tau)
    status, flags = group["status"].to_numpy(), group["flags"].to_numpy()
    return seen & (status == Status.CONVERGED) & (flags & int(doubtful) == 0)


def write_table(table: Sequence[Row], path: Path) -> Path:
    """All rows as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in table)
    return path


def compare(table: Sequence[Row], truth: Mapping[str, float]) -> list[str]:
    """One line a file: the median D over the curves that count, beside the true one."""
    from statistics import median

    lines = []
    for name in dict.fromkeys(row.file for row in table):
        found = [row.diffusion for row in table if row.file == name and row.counts]
        if len(found) < 3:
            lines.append(f"D of {name}: not said, {len(found)} of its curves can be trusted")
            continue
        middle = median(found)
        off = 100 * (middle / truth[name] - 1)
        lines.append(
            f"D of {name}: {middle:.4g} angstrom^2/s from {len(found)} curves, truth {truth[name]:.4g} ({off:+.1f} %)"
        )
    return lines


def draw(fits: Results, file: Path, path: Path) -> Path:
    """Curves of one file with their fits, and tau(q) of the files that share its bins."""
    import xarray as xr

    from xpcs_dask import plots
    from xpcs_dask.io.open import open_g2
    from xpcs_dask.plots import style

    data = open_g2(file)
    assert isinstance(data, xr.Dataset)
    (own,) = (group for group in groups(fits, "status") if file.name in group["file"].to_numpy())
    figure = style.figure(width=2 * style.COLUMN, height=8.0)
    panels = figure.subplot_mosaic([["g2", "tau"], ["rest", "tau"]], height_ratios=(2.3, 1.0))
    panels["g2"].sharex(panels["rest"])
    plots.g2(data, own, file=file.name, axes=[panels["g2"], panels["rest"]])
    plots.tau_q(own, axes=panels["tau"])
    figure.savefig(path)
    return path
