"""Rows of the tables: curves with their parameters, files with their counts, tau(q) with its law."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from xpcs_dask.fitting.layout import ErrorsFrom, Rung, Status, flag_names
from xpcs_dask.physics.laws import law_of
from xpcs_dask.reporting.relaxation import Quantity, Relaxation
from xpcs_dask.reporting.slabs import Slab
from xpcs_dask.reporting.source import File, Source
from xpcs_dask.reporting.tables import Column, Table
from xpcs_dask.reporting.tally import Tally
from xpcs_dask.reporting.words import FLAGS, Verdict, Weight, verdicts

__all__ = ["Curves", "files_table", "rejected_table", "relaxation_table"]

ROWS = 100_000
"""Curves that a page holds; of more, those of every second, third, ... file are listed."""
ENDS = ("_lower", "_upper")
WHAT = {
    "q": ("q", "1/angstrom"),
    "phi": ("φ", "azimuth, degree"),
    "qbin": ("bin", "number of the bin in its file"),
}


class Curves:
    """Table of all curves.

    Parameters
    ----------
    source : Source
        What is listed.
    """

    def __init__(self, source: Source) -> None:
        groups = source.groups.values()
        self.files = source.files()
        self.parameters = list(dict.fromkeys(str(name) for group in groups for name in group["parameter"].values))
        units = {
            str(name): str(unit)
            for group in groups
            for name, unit in zip(group["parameter"].values, group["unit"].values, strict=True)
        }
        self.interval = any("interval" in group for group in groups)
        self.labels = _labels(source)
        self.every = -(-source.curves // ROWS)
        """Files of which one is listed."""
        shown = [Column("file", "file", "name")]
        shown += [
            Column(name, WHAT.get(name, (name, ""))[0], "number", hint=WHAT.get(name, ("", ""))[1])
            for name in self.labels
        ]
        shown += [Column("verdict", "verdict", "verdict", hint="what the curve is good for")]
        shown += [
            Column(
                name,
                name,
                "measured",
                f"{name}_stderr",
                f"value ± standard error, unit {units[name]}; a dash: no error, as at a bound",
            )
            for name in self.parameters
        ]
        shown += [
            Column("reduced_chi2", "χ²/dof", "number", hint="chi² per degree of freedom"),
            Column("n_used", "points", "number", hint="points used"),
            Column("flags", "flags", "flags", hint="what to distrust"),
        ]
        header = ["file", *self.labels, "verdict", "status"]
        for name in self.parameters:
            header += [name, f"{name}_stderr", *(f"{name}{end}" for end in ENDS if self.interval)]
        header += ["reduced_chi2", "dof", "n_used", "rung", "errors_from", "flags"]
        caption = "Every fitted curve" if self.every == 1 else f"Curves of one file in {self.every}"
        self.table = Table("curves", caption, shown, header)

    def add(self, slab: Slab) -> None:
        """List the curves of a slab."""
        rows = np.flatnonzero(slab.file % self.every == 0)
        columns, judged = slab.columns, verdicts(slab.columns["status"], slab.columns["flags"])
        none = [None] * rows.size
        table: list[list[Any]] = [[self.files[at].name for at in slab.file[rows]]]
        table += [slab.labels[name][rows].tolist() if name in slab.labels else none for name in self.labels]
        table.append([_verdict(code) for code in judged[rows].tolist()])
        table.append([_status(code) for code in columns["status"][rows].tolist()])
        for name in self.parameters:
            known = name in slab.names
            table += [slab.of(name, part)[rows].tolist() if known else none for part in ("value", "stderr")]
            if self.interval:
                ends = columns["interval"][rows, slab.names.index(name)] if known and "interval" in columns else None
                table += [none, none] if ends is None else [ends[:, 0].tolist(), ends[:, 1].tolist()]
        table.append(slab.reduced_chi2[rows].tolist())
        table += [columns[name][rows].tolist() for name in ("dof", "n_used")]
        table.append([_rung(code) for code in columns["rung"][rows].tolist()])
        origin = columns["errors_from"][rows].tolist() if "errors_from" in columns else [0] * rows.size
        table.append([_origin(code) for code in origin])
        table.append([_flags(code) for code in columns["flags"][rows].tolist()])
        self.table.extend(zip(*table, strict=True))


def files_table(files: Sequence[File], tally: Tally) -> Table:
    """Make the table of files: counts, quality of the fits, contrast, and what identifies each."""
    shown = [
        Column("file", "file", "name"),
        Column("curves", "curves", "number"),
        *(Column(str(v.name).lower(), str(v.name).lower(), "number") for v in Verdict),
        Column("median_reduced_chi2", "median χ²/dof", "number", hint="of the fitted curves"),
        Column("contrast", "contrast", "number", hint="median of the curves that can be believed"),
        Column("contrast_slope", "its slope", "measured", "contrast_slope_stderr", "relative change per factor e in q"),
        Column("most_frequent_flags", "most frequent flags", "flags"),
    ]  # fmt: skip
    names = [str(v.name).lower() for v in Verdict]
    header = ["file", "curves", *names, "median_reduced_chi2", "contrast", "contrast_slope", "contrast_slope_stderr"]
    table = Table("files", "Every file", shown, [*header, "most_frequent_flags", "path", "bytes", "content"])
    table.extend(_file_rows(files, tally))
    return table


def _file_rows(files: Sequence[File], tally: Tally) -> Iterator[list[Any]]:
    flags = [str(flag.name).lower() for flag in FLAGS]
    telling = [k for k, word in enumerate(FLAGS.values()) if word.weight != Weight.NOTE]
    for at, file in enumerate(files):
        contrast = tally.contrast.get(at)
        numbers = [contrast.median, contrast.slope, contrast.error] if contrast else [None, None, None]
        order = sorted(telling, key=tally.flags[at].__getitem__, reverse=True)[:3]
        most = " ".join(flags[k] for k in order if tally.flags[at, k])
        yield [
            file.name, int(tally.verdicts[at].sum()), *tally.verdicts[at].tolist(), float(tally.median_chi2[at]),
            *numbers, most, file.path, file.size, file.content,
        ]  # fmt: skip


def relaxation_table(found: Sequence[Relaxation], files: Sequence[File], law: str) -> Table:
    """One row for each tau(q)."""
    dims = list(dict.fromkeys(name for one in found for name in one.labels))
    several = len({one.parameter for one in found}) > 1
    names = [*(name for name in law_of(law).parameters if name not in ("D", "exponent")), "exponent"]
    units = dict(zip(law_of(law).parameters, law_of(law).units, strict=True))
    titles = {"D_um2": "D (µm²/s)"}
    shown = [Column("file", "file", "name"), *(Column(name, name, "number") for name in dims)]
    shown += [Column("parameter", "parameter")] if several else []
    shown += [
        Column(name, titles.get(name, name), "measured", f"{name}_stderr", f"unit {units.get(name, '1')}")
        for name in names
    ]
    shown += [
        Column("exponent_p", "p for 2", "number", hint="probability of an exponent as far from 2, if it is 2"),
        Column("bins_used", "bins used", "number"),
        Column("bins", "of", "number"),
        Column("remarks", "remarks"),
    ]
    all_names = list(dict.fromkeys([*law_of(law).parameters, "exponent"]))
    header = ["file", *dims, "parameter"]
    for name in all_names:
        header += [name, f"{name}_stderr", f"{name}_lower", f"{name}_upper"]
    table = Table(
        "relaxation", f"Law {law} of every file", shown, [*header, "exponent_p", "bins_used", "bins", "remarks"]
    )
    table.extend(_relaxation_rows(found, files, dims, all_names))
    return table


def _relaxation_rows(
    found: Sequence[Relaxation], files: Sequence[File], dims: list[str], names: list[str]
) -> Iterator[list[Any]]:
    for one in found:
        numbers: list[float] = []
        for name in names:
            told = one.exponent_said if name == "exponent" else one.said
            quantity = one.numbers[name] if told else Quantity()
            numbers += [quantity.value, quantity.error, quantity.low, quantity.high]
        yield [
            files[one.file].name, *(one.labels.get(name) for name in dims), one.parameter, *numbers,
            one.p if one.exponent_said else None, one.used, one.bins, "; ".join(one.in_words()),
        ]  # fmt: skip


def rejected_table(rejected: Sequence[Mapping[str, str]]) -> Table:
    """Files that could not be used."""
    shown = [Column("file", "file"), Column("reason", "why it could not be used")]
    table = Table("rejected", "Rejected files", shown, ["file", "reason"])
    table.extend([item["file"], item["reason"]] for item in rejected)
    return table


def _labels(source: Source) -> list[str]:
    """Dimensions other than the file, q and phi; what is the same everywhere, as phi mostly is, is left out."""
    found: list[str] = []
    for group in source.groups.values():
        found += [str(dim) for dim in group["status"].dims if dim != "file"]
        for name in ("q", "phi"):
            if name in group.coords and (name == "q" or np.ptp(np.nan_to_num(group[name].values)) > 0):
                found.append(name)
    return list(dict.fromkeys(found))


@cache
def _flags(value: int) -> str:
    return " ".join(flag_names(value))


@cache
def _verdict(value: int) -> str:
    return str(Verdict(value).name).lower()


@cache
def _status(value: int) -> str:
    return str(Status(value).name).lower()


@cache
def _rung(value: int) -> str:
    return str(Rung(value).name).lower()


@cache
def _origin(value: int) -> str:
    return str(ErrorsFrom(value).name).lower()
