"""The xarray backend: ``xr.open_dataset(path, engine="xpcs")``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray, BackendEntrypoint
from xarray.core import indexing

from xpcs_dask.errors import FileRejected
from xpcs_dask.io.formats import identify, suffixes
from xpcs_dask.io.lazy import files_per_block, read_block, stored_curves
from xpcs_dask.io.open import OnError, check_arguments, one_series, read_all
from xpcs_dask.io.reader import Curves, Told
from xpcs_dask.io.schema import SCALARS
from xpcs_dask.io.series import Series, to_dataset
from xpcs_dask.io.sources import Source


class XpcsBackend(BackendEntrypoint):
    """Result files of XPCS as the Dataset that `xpcs_dask.open_g2` gives.

    g2 is read when it is used; with ``chunks={}`` it is a Dask array whose blocks hold many files.
    """

    description = "g2 curves of XPCS result files (APS 8-ID-I NeXus and others)"
    open_dataset_parameters = (
        "filename_or_obj",
        "drop_variables",
        "format",
        "include",
        "on_error",
        "entry",
        "delay_unit",
        "q_unit",
    )

    def open_dataset(  # type: ignore[override]  # its own arguments are those of open_g2
        self,
        filename_or_obj: Source,
        *,
        drop_variables: str | Iterable[str] | None = None,
        format: str | None = None,
        include: Sequence[str] = (),
        on_error: OnError = "raise",
        entry: str = "",
        delay_unit: str = "",
        q_unit: str = "",
    ) -> xr.Dataset:
        """Open what `open_g2` opens, as one series; the arguments mean what they mean there."""
        told = Told(entry, delay_unit, q_unit)
        check_arguments(include=include, on_error=on_error, told=told, included=SCALARS)
        infos, notes = read_all(filename_or_obj, format, include, on_error, told)
        series = one_series(infos)
        nq, nt = series.longest.shape
        chunks = {"file": min(files_per_block((nq, nt)), len(infos)), "qbin": nq, "delay": nt}
        g2, g2_err = (indexing.LazilyIndexedArray(StoredArray(series, part)) for part in (0, 1))
        data = to_dataset(series, g2, g2_err, include, {"preferred_chunks": chunks}).assign_attrs(notes)
        dropped = [drop_variables] if isinstance(drop_variables, str) else list(drop_variables or ())
        return data.drop_vars(dropped, errors="ignore")

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether a file is of a format known here, from its content."""
        if not isinstance(filename_or_obj, str | os.PathLike):
            return False
        path = os.fspath(filename_or_obj)
        if not path.lower().endswith(suffixes()):
            return False
        try:
            return bool(identify(path))
        except FileRejected:
            return False


class StoredArray(BackendArray):
    """g2 or its error of a series, (file, qbin, delay); indexing reads the files that are asked for and no others."""

    def __init__(self, series: Series, part: int) -> None:
        self._stored = stored_curves(series.infos)
        self._curves = series.longest.shape
        self._part = part
        self.shape = (len(series.infos), *self._curves)
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._read)

    def _read(self, key: tuple[int | slice, ...]) -> Curves:
        files = np.atleast_1d(self._stored[key[0]])
        curves = read_block(files, self._curves)[:, self._part]
        return curves[(0 if isinstance(key[0], int | np.integer) else slice(None), *key[1:])]
