"""Results of fits in formats that other programs read: NetCDF, CSV, Parquet and NeXus."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import xarray as xr

from xpcs_dask.errors import ConfigError, FileRejected, NoUsableInputError, OutputExistsError
from xpcs_dask.io.export import csv_file, netcdf, nexus, parquet
from xpcs_dask.io.export.pieces import Results, groups_of
from xpcs_dask.io.formats import identify, reader
from xpcs_dask.results import open_results
from xpcs_dask.results.atomic import whole

__all__ = ["FORMATS", "export", "format_of"]


class Format(NamedTuple):
    """One format: endings it is known by, what writes it, and what tells whether a file was written by that."""

    suffixes: tuple[str, ...]
    write: Callable[[Mapping[str, xr.Dataset], Path], None]
    is_ours: Callable[[Path], bool]


FORMATS: dict[str, Format] = {
    "netcdf": Format((".nc",), netcdf.write_netcdf, netcdf.is_ours),
    "csv": Format((".csv",), csv_file.write_csv, csv_file.is_ours),
    "parquet": Format((".parquet",), parquet.write_parquet, parquet.is_ours),
    "nexus": Format((".nxs", ".h5", ".hdf5", ".hdf"), nexus.write_nexus, nexus.is_ours),
}


def export(
    results: Results | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    into: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write results of a fit for other programs.

    Parameters
    ----------
    results : xarray.Dataset, xarray.DataTree or path
        From `fit`, `open_results`, or the path of a store. Lazy results are computed and written in pieces of some
        200,000 curves, so that they need not fit in memory.
    path : path
        Of the new file, which is complete or not there.
    format : str, optional
        A key of `FORMATS`; told by the ending of `path` if not given:

        - ``netcdf`` (``.nc``): all of the results without loss; `open_results` reads it.
        - ``csv`` (``.csv``) and ``parquet`` (``.parquet``): one row a curve: which curve it is, each parameter and
          its standard error, chi2 and what else says how good the fit is, status, rung and flags in words. Units stand
          in the header, in Parquet in the metadata of each column.
        - ``nexus`` (``.nxs``, ``.h5``, ``.hdf5``, ``.hdf``): an NXprocess with one NXdata a parameter.
    into : path, optional
        A result file that was fitted. The new file is then a copy of it with the fits of its curves added (NeXus
        only); the file itself is never changed.
    overwrite : bool
        Replace a file that `export` wrote before; anything else is never replaced.

    Returns
    -------
    pathlib.Path
        Of the new file.

    Raises
    ------
    ConfigError
        For an unknown ending or format, `into` that cannot be used, or if pyarrow is missing.
    OutputExistsError
        If `path` exists and `overwrite` is False, or something else wrote it.
    NoUsableInputError
        If there are no fits, or none of the curves of `into`.
    FileRejected
        If `results` is the path of no results.
    """
    path = Path(path)
    chosen = FORMATS[format_of(path, format)]
    if into is not None and chosen.write is not nexus.write_nexus:
        raise ConfigError(f"{path}: into= copies an HDF5 file, so the output must be NeXus; end it in .nxs or .hdf")
    check_place(path, chosen, overwrite)
    if isinstance(results, str | os.PathLike):
        results = open_results(results)
    groups = groups_of(results)
    if into is not None:
        into = _copied(into, path)
        groups = fits_of(groups, into)
    with whole(path) as unfinished:
        if into is not None:
            shutil.copyfile(into, unfinished)
        if chosen.write is netcdf.write_netcdf:
            netcdf.write_netcdf(groups, unfinished, results.attrs if isinstance(results, xr.DataTree) else None)
        else:
            chosen.write(groups, unfinished)
    return path


def format_of(path: Path, format: str | None = None) -> str:
    """Key of `FORMATS` that is asked for, or that the ending tells."""
    if format is not None:
        if format not in FORMATS:
            raise ConfigError(f"format: '{format}' is not known; known are {', '.join(FORMATS)}")
        return format
    for name, known in FORMATS.items():
        if path.suffix.lower() in known.suffixes:
            return name
    endings = ", ".join(suffix for known in FORMATS.values() for suffix in known.suffixes)
    raise ConfigError(f"{path}: the ending '{path.suffix}' tells no format; known are {endings}")


def check_place(path: Path, chosen: Format, overwrite: bool) -> None:
    """Refuse a place where the file cannot be written, before anything is computed."""
    if not os.path.lexists(path):
        return
    if not (path.is_file() and chosen.is_ours(path)):
        raise OutputExistsError(str(path), "something else: it is no export of fits in this format", False)
    if not overwrite:
        raise OutputExistsError(str(path), "an earlier call")


def _copied(into: str | os.PathLike[str], path: Path) -> Path:
    """Path of the file to copy, if it can be."""
    source = Path(into)
    if not source.is_file():
        raise ConfigError(f"into: {source} is no file")
    if not h5py.is_hdf5(source):
        raise ConfigError(f"into: {source} is not HDF5, so nothing can be added to a copy of it; write a new file")
    if path.exists() and source.samefile(path):
        raise ConfigError(f"into: {source} is the output too; inputs are never changed, so choose another output")
    return source


def fits_of(groups: Mapping[str, xr.Dataset], source: Path) -> dict[str, xr.Dataset]:
    """Fits of the curves of one file, found by the content of its g2; those of plain arrays as they are."""
    if not any("content_hash" in results.coords for results in groups.values()):
        return dict(groups)
    try:
        content = reader(identify(str(source))).read_meta(str(source)).content_hash
    except FileRejected as error:
        raise ConfigError(f"into: {error}") from error
    found: dict[str, Any] = {}
    for name, results in groups.items():
        if "content_hash" in results.coords:
            same = (results["content_hash"] == content).to_numpy().nonzero()[0]
            if same.size:
                found[name] = results.isel(file=int(same[0])) if "file" in results.dims else results
    if not found:
        known = [str(name) for results in groups.values() for name in results["file"].to_numpy().ravel()[:3]]
        raise NoUsableInputError(f"into: {source} was not fitted here; among those fitted are {', '.join(known[:3])}")
    return {"/": next(iter(found.values()))} if len(found) == 1 else found
