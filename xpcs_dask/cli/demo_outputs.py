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
    from matplotlib.axes import Axes

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


def draw(table: Sequence[Row], truth: Mapping[str, float], files: Sequence[Path], path: Path) -> Path:
    """Curves with their fits for the first file, and tau(q) of all files beside the truth."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_curves(left, table, files[0])
    _draw_tau(right, table, truth)
    figure.savefig(path, dpi=130)
    return path


def _draw_curves(axes: Axes, table: Sequence[Row], file: Path) -> None:
    import numpy as np
    import xarray as xr
    from matplotlib import colormaps

    from xpcs_dask.fitting.models import MODELS
    from xpcs_dask.io.open import open_g2

    series = open_g2(file, chunks=None)
    assert isinstance(series, xr.Dataset)
    curves = series.isel(file=0)
    delay = curves["delay"].values
    smooth = np.geomspace(delay[0], delay[-1], 300)
    own = {row.qbin: row for row in table if row.file == file.name}
    shown = curves["qbin"].values[:: max(1, curves.sizes["qbin"] // 6)]
    for color, label in zip(colormaps["viridis"](np.linspace(0, 0.9, len(shown))), shown, strict=True):
        one, row = curves.sel(qbin=label), own[int(label)]
        axes.errorbar(delay, one["g2"], one["g2_err"], fmt=".", ms=4, lw=0.7, color=color, label=f"{row.q:.4f} Å⁻¹")
        axes.plot(smooth, MODELS["simple"].evaluate(smooth, row.contrast, row.tau, row.baseline), color=color, lw=1)
    top = max(row.baseline + row.contrast for row in own.values())
    axes.set(xscale="log", xlabel="delay (s)", ylabel="g2", title=file.name, ylim=(0.96, top + 0.05))
    axes.legend(title="q", fontsize="small")


def _draw_tau(axes: Axes, table: Sequence[Row], truth: Mapping[str, float]) -> None:
    from matplotlib import colormaps
    from matplotlib.ticker import LogLocator, NullFormatter

    names = [n for n in dict.fromkeys(row.file for row in table) if sum(r.counts for r in table if r.file == n) > 2]
    for number, name in enumerate(names):
        points = sorted((row.q, row.tau, row.tau_stderr) for row in table if row.file == name and row.counts)
        q, tau, error = zip(*points, strict=True)
        color = colormaps["tab20"](number % 20)
        axes.errorbar(q, tau, error, fmt="o", ms=3, lw=0.8, color=color, label=name.removesuffix("_results.hdf"))
        axes.plot(q, [1 / (truth[name] * x**2) for x in q], color=color, lw=1)
    axes.set(xscale="log", yscale="log", xlabel="q (Å⁻¹)", ylabel="tau (s)", title="found (points) and true (lines)")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1.0, 0.5))
