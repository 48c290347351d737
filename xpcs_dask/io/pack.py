"""`pack`: result files, or data opened from them, into one stack that is read several times faster."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import xarray as xr

from xpcs_dask.errors import ConfigError
from xpcs_dask.io.open import open_g2
from xpcs_dask.io.sources import Source
from xpcs_dask.io.stack import check_place, write_stack
from xpcs_dask.io.stack_mark import Data


def pack(source: Data | Source, path: str | os.PathLike[str], *, overwrite: bool = False, **opening: Any) -> Path:
    """Write the curves of many files as one Zarr stack, which `open_g2` opens like the files themselves.

    The stack holds g2 and its errors as stored, every coordinate (so each curve keeps its ``curve_id``), provenance
    and the list of rejected files. Fits of the stack equal fits of the files bit for bit.

    Parameters
    ----------
    source : xarray.Dataset, xarray.DataTree, or path, glob, folder, or a list of these
        Data as `open_g2` returns them, or what `open_g2` shall open.
    path : path
        Of the stack; ends in ``.zarr``. It is complete or not there.
    overwrite : bool
        Replace a stack that is already there; anything else is never replaced.
    **opening
        Arguments of `open_g2`, if files are named.

    Returns
    -------
    pathlib.Path
        Of the stack.

    Raises
    ------
    OutputExistsError
        If something is at `path` and `overwrite` is False, or what is there is no stack.
    ConfigError
        For another ending, or arguments of `open_g2` beside opened data.
    FileRejected, MismatchError, NoUsableInputError
        As `open_g2` raises them.

    Notes
    -----
    Files are read block by block by the Dask scheduler in use; HDF5 reads one file at a time in a process, so many
    files go faster with processes.
    """
    path = check_place(path, overwrite)
    if isinstance(source, xr.DataArray):
        raise ConfigError("pack takes a Dataset with the variables g2 and g2_err, not a DataArray")
    if not isinstance(source, xr.Dataset | xr.DataTree):
        source = open_g2(source, **opening)
    elif opening:
        raise ConfigError(f"{', '.join(opening)}: goes with files to open; the data are open already")
    return write_stack(source, path, overwrite=overwrite)
