"""`open_g2`: result files in, one lazy Dataset out."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from typing import Any, Literal, TypeAlias

import xarray as xr

from xpcs_dask.errors import ConfigError, FileRejected, MismatchError, NoUsableInputError
from xpcs_dask.io.extras import ARRAYS, extras
from xpcs_dask.io.formats import suffixes
from xpcs_dask.io.index import Progress, Question, ask
from xpcs_dask.io.lazy import curves
from xpcs_dask.io.reader import NOTHING, FileInfo, Told
from xpcs_dask.io.schema import SCALARS
from xpcs_dask.io.series import Series, common, group, provenance, to_dataset
from xpcs_dask.io.sources import Source, list_files
from xpcs_dask.io.stack import open_stack, stack_of
from xpcs_dask.io.units import OPTIONS, SHOWN, factor

OnError: TypeAlias = Literal["raise", "skip"]
OnMismatch: TypeAlias = Literal["raise", "split"]


def open_g2(
    source: Source,
    *,
    format: str | None = None,
    chunks: int | Literal["auto"] | None = "auto",
    include: Sequence[str] = (),
    on_mismatch: OnMismatch = "raise",
    on_error: OnError = "raise",
    entry: str = "",
    delay_unit: str = "",
    q_unit: str = "",
    progress: Progress | None = None,
) -> xr.Dataset | xr.DataTree:
    """Open result files as one Dataset of g2 curves over (file, qbin, delay).

    Each file is opened once, briefly, for everything but g2; g2 and its errors are read when they are computed, many
    files in one task. A single file gives a `file` dimension of length 1. Thousands of files are opened by several
    processes, and what they tell is kept for the next time, in a folder that ``XPCS_DASK_CACHE`` names (``off``: not
    kept; default: ``xpcs_dask/index`` in the user's cache).

    Parameters
    ----------
    source : path, glob or folder, or a list of these
        Files are put in natural order of their paths. Of a folder, the files that end like result files are taken. Or
        one stack that `pack` or `average` wrote.
    format : str, optional
        Name of the format; found from the content of each file if not given.
    chunks : int, "auto" or None
        Files per block; "auto" makes blocks of about 8 MB in float64; None reads now, into NumPy arrays.
    include : sequence of str
        Further numbers per file to read as coordinates (names in `io.schema.SCALARS`), NaN where a file lacks one, and
        further arrays (names in `io.extras.ARRAYS`) as lazy variables; arrays that no file has are left out.
    on_mismatch : "raise" or "split"
        What to do if files differ in q-map, frame time or delay grid. Grids of which one is the start of the other are
        the same: the shorter is padded with NaN. "split" returns a DataTree with one group a q-map and delay grid.
    on_error : "raise" or "skip"
        What to do with a file that cannot be used. "skip" lists it in the attribute `rejected`, a JSON list of
        ``{"file", "reason"}``.
    entry : str
        Which result to read from files that hold several, such as a key of ESRF ID02. Without it the first is read, and
        the attribute `notes` says so: a JSON list of ``{"file", "note"}``.
    delay_unit, q_unit : str
        Units of tables that do not state them, such as "ms" and "1/nm"; the Dataset has s and 1/angstrom. A file that
        states its units, or whose format does, is refused if it is told others.
    progress : callable, optional
        Called with the numbers of files that are opened and of all, some times a second.

    Returns
    -------
    xarray.Dataset or xarray.DataTree
        `g2`, `g2_err` float32 as stored; coordinates and units in `io.schema.VARIABLES`. A DataTree if and only if
        `on_mismatch` is "split", with children group_0, group_1, ...

    Raises
    ------
    FileRejected
        The first file that cannot be used, with the reason, if `on_error` is "raise".
    MismatchError
        Files do not make one series and `on_mismatch` is "raise".
    NoUsableInputError
        Nothing is left to read.
    ConfigError
        An argument has an unknown value.

    Examples
    --------
    >>> data = open_g2("results/*_results.hdf", on_error="skip")  # doctest: +SKIP
    >>> data.g2.sel(qbin=3).isel(file=0).compute()  # doctest: +SKIP
    """
    told = Told(entry, delay_unit, q_unit)
    check_arguments(chunks, include, on_mismatch, on_error, told)
    if (stack := stack_of(source)) is not None:
        return open_stack(stack, chunks, on_mismatch, include)
    numbers, arrays = ([name for name in include if name in known] for known in (SCALARS, ARRAYS))
    infos, notes = read_all(source, format, numbers, on_error, told, progress)

    def dataset(series: Series) -> xr.Dataset:
        found = to_dataset(series, *curves(series.infos, series.longest.shape, chunks), numbers)
        return found.assign(extras(series.infos, arrays, chunks)) if arrays else found

    if on_mismatch == "split":
        groups = {f"group_{i}": dataset(series).assign_attrs(common(series)) for i, series in enumerate(group(infos))}
        return xr.DataTree.from_dict({"/": xr.Dataset(attrs=notes), **groups})
    return dataset(one_series(infos)).assign_attrs(notes)


def read_all(
    source: Source,
    format: str | None,
    include: Sequence[str],
    on_error: OnError,
    told: Told = NOTHING,
    progress: Progress | None = None,
) -> tuple[list[FileInfo], dict[str, str]]:
    """Ask the files of `source`, in natural order; return what they tell, and attributes that list the rejected."""
    sources = [os.fspath(item) for item in ([source] if isinstance(source, str | os.PathLike) else source)]
    files, rejected = list_files(sources, suffixes(format))
    if rejected and files and on_error == "raise":
        raise rejected[0]
    question = Question(format, Question.include | {*include}, told)
    answers = ask(files, question, stop=on_error == "raise", progress=progress)
    infos = [answer for answer in answers if isinstance(answer, FileInfo)]
    rejected += [answer for answer in answers if isinstance(answer, FileRejected)]
    if not infos:
        raise NoUsableInputError(_nothing(sources, rejected), rejected)
    listed = json.dumps([{"file": error.path, "reason": error.reason} for error in rejected], ensure_ascii=False)
    noted = json.dumps([{"file": info.path, "note": note} for info in infos for note in info.notes], ensure_ascii=False)
    return infos, provenance(infos) | {"rejected": listed, "notes": noted}


def one_series(infos: Sequence[FileInfo]) -> Series:
    """All files as one series, or `MismatchError` that names those that do not belong."""
    first, *others = group(infos)
    if others:
        strangers = [info for series in others for info in series.infos]
        what = first.difference(strangers[0])
        named = [info.path for info in strangers if first.difference(info) == what]
        raise MismatchError(what, first.infos[0].path, named)
    return first


def check_arguments(
    chunks: Any = None,
    include: Sequence[str] = (),
    on_mismatch: str = "raise",
    on_error: str = "raise",
    told: Told = NOTHING,
    included: Collection[str] = (*SCALARS, *ARRAYS),
) -> None:
    """Raise `ConfigError` that names the argument and what it may be."""
    if not (chunks is None or chunks == "auto" or (isinstance(chunks, int) and chunks >= 1)):
        raise ConfigError(f"chunks: {chunks!r} is none of a number of files from 1, 'auto' and None")
    if isinstance(include, str) or (strange := [name for name in include if name not in included]):
        named = repr(include) if isinstance(include, str) else ", ".join(map(repr, strange))
        raise ConfigError(f"include: {named} cannot be read; give a list of {', '.join(included)}")
    for name, value, known in (
        ("on_mismatch", on_mismatch, ("raise", "split")),
        ("on_error", on_error, ("raise", "skip")),
    ):
        if value not in known:
            raise ConfigError(f"{name}: {value!r} is neither '{known[0]}' nor '{known[1]}'")
    for option, units in OPTIONS.items():
        unit = getattr(told, option)
        if unit and factor(unit, units) is None:
            raise ConfigError(f"{option}: {unit!r} is not known; known are {SHOWN[option]}")


def _nothing(sources: Sequence[str], rejected: Sequence[FileRejected]) -> str:
    """Say in one line what was searched, and why nothing of it can be used."""
    shown = "; ".join(str(error) for error in rejected[:3])
    more = f"; and {len(rejected) - 3} more" if len(rejected) > 3 else ""
    searched = ", ".join(sources[:3]) + (f" and {len(sources) - 3} more" if len(sources) > 3 else "")
    return f"no usable file in {searched}: {shown}{more}"
