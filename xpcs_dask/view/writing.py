"""Refits written beside the store that is shown, under names that are free."""

from __future__ import annotations

import json
import re
from pathlib import Path

import xarray as xr

from xpcs_dask.errors import OutputExistsError
from xpcs_dask.io.export import export
from xpcs_dask.prepare import known
from xpcs_dask.results import save
from xpcs_dask.view.refit import BY_HAND, Excluded, Refit

__all__ = ["write"]

MOST = 1000
"""Refits of one file in one folder."""


def write(found: Refit, curves: xr.Dataset, kind: str, folder: Path, stem: str) -> Path:
    """Write the results of a refit.

    Parameters
    ----------
    found : Refit
    curves : xarray.Dataset
        What was fitted, for the labels of points that were left out.
    kind : str
        ``zarr`` (a store that `open_results` and `view` read) or ``csv`` (a table).
    folder : Path
    stem : str
        What the name begins with; a number is put after it.

    Returns
    -------
    Path
        Of the new file: nothing is ever replaced.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    results = found.results.assign_attrs({BY_HAND: listed(found.excluded, curves)})
    if "file" in results.coords and "file" not in results.dims:
        results = results.expand_dims("file")
    clean = re.sub(r"[^\w.-]+", "_", stem).strip(".") or "curves"
    for number in range(1, MOST):
        path = folder / f"{clean}-refit-{number}.{kind}"
        try:
            return save(results, path) if kind == "zarr" else export(results, path)
        except OutputExistsError:  # both write to nothing that is there
            continue
    raise OutputExistsError(str(folder / f"{clean}-refit-{MOST}.{kind}"), "an earlier refit", False)


def listed(excluded: Excluded, curves: xr.Dataset) -> str:
    """Points that were left out, as JSON: pairs of the label of a q bin and a list of delays in s."""
    labels = known(curves["qbin"]).tolist() if "qbin" in curves.coords else list(range(curves.sizes["qbin"]))
    delay = known(curves["delay"]).tolist()
    by_bin: dict[int, list[float]] = {}
    for bin_, number in sorted(excluded):
        by_bin.setdefault(labels[bin_], []).append(delay[number])
    return json.dumps(list(by_bin.items()))
