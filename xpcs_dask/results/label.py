"""Names, units and codes for the columns of packed fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum, IntFlag
from typing import Any

import numpy as np
import xarray as xr

from xpcs_dask.fitting import diagnostics
from xpcs_dask.fitting.layout import ErrorsFrom, Flag, Rung, Status, pairs
from xpcs_dask.fitting.models import Model
from xpcs_dask.fitting.quality import PointFlag

BY_PARAMETER = "see unit(parameter)"
BY_PAIR = "see unit_pair(pair)"

LONG_NAMES: Mapping[str, tuple[str, str]] = {
    "value": ("fitted value of the parameter", BY_PARAMETER),
    "stderr": ("standard error of the parameter", BY_PARAMETER),
    "chi2": ("sum of squared weighted residuals at the minimum", "1"),
    "dof": ("degrees of freedom: points used less free parameters", "1"),
    "n_used": ("points used", "1"),
    "evaluations": ("evaluations of the model", "1"),
    "status": ("how the fit ended", "1"),
    "rung": ("which attempt won", "1"),
    "flags": ("what to distrust", "1"),
    "errors_from": ("what the standard errors rest on", "1"),
    "errors_dof": ("degrees of freedom of the standard errors, infinite where theirs are known", "1"),
    "interval": ("ends of the interval of the parameter", BY_PARAMETER),
    "covariance": ("covariance of the parameters, packed lower triangle", BY_PAIR),
    "reduced_chi2": ("chi2 per degree of freedom", "1"),
    "aicc": ("Akaike information criterion, corrected for few points", "1"),
    "bic": ("Bayesian information criterion", "1"),
    "resamples": ("refits of resampled data", "1"),
    "failed": ("refits that found no minimum and are left out", "1"),
    "clusters": ("clusters that were resampled, 0 if delays were", "1"),
    "monte_carlo_error": ("largest Monte-Carlo standard error of an end of an interval, in half widths", "1"),
    "replicate": ("parameter of the refit", BY_PARAMETER),
    **diagnostics.LONG_NAMES,
    "quality": ("what is wrong with the point", "1"),
    "sigma": ("error of g2 that weighs the point in the fit", "1"),
}
"""Long name and unit of every variable of a result."""

CODES: Mapping[str, type[IntEnum | IntFlag]] = {
    "status": Status,
    "rung": Rung,
    "flags": Flag,
    "errors_from": ErrorsFrom,
    "quality": PointFlag,
}
LAST: Mapping[str, tuple[str, ...]] = {
    "value": ("parameter",),
    "stderr": ("parameter",),
    "covariance": ("pair",),
    "interval": ("parameter", "bound"),
    "replicate": ("resample", "parameter"),
    **{name: (dim,) for name, dim in diagnostics.LAST.items()},
}
"""Dimensions that a column has beyond those of the curves."""


def label(
    columns: Mapping[str, Any],
    dims: Sequence[str],
    coords: Mapping[Any, Any],
    model: Model,
    attrs: Mapping[str, Any],
) -> xr.Dataset:
    """Dataset of fitted curves from the columns of `layout.fit_dtype`.

    Parameters
    ----------
    columns : mapping of array
        By field name, shape (...) or (..., k); NumPy or Dask, never computed here.
    dims : sequence of str
        Names of the leading dimensions.
    coords : mapping
        Coordinates of the curves, carried over.
    model : Model
        Names and units of the parameters.
    attrs : mapping
        Provenance.
    """
    variables = {
        name: xr.Variable((*dims, *LAST.get(name, ())), column, attributes(name, column.dtype))
        for name, column in columns.items()
    }
    own = {
        "parameter": ("parameter", list(model.names), {"long_name": "parameter of the model", "units": "1"}),
        "unit": ("parameter", list(model.units), {"long_name": "unit of the parameter", "units": "1"}),
    }
    if "interval" in columns:
        own["bound"] = ("bound", ["lower", "upper"], {"long_name": "end of the interval", "units": "1"})
    if "covariance" in columns or "correlation" in columns:
        first, second = lower_triangle(len(model.names))
        names = [f"{model.names[i]}:{model.names[j]}" for i, j in zip(first, second, strict=True)]
        units = [_product(model.units[i], model.units[j]) for i, j in zip(first, second, strict=True)]
        own["pair"] = ("pair", names, {"long_name": "pair of parameters", "units": "1"})
        own["unit_pair"] = ("pair", units, {"long_name": "unit of the covariance of the pair", "units": "1"})
    return xr.Dataset(variables, {**_plain_text(coords), **own}, dict(attrs))


def label_points(columns: Mapping[str, Any], dims: Sequence[str], coords: Mapping[Any, Any]) -> xr.Dataset:
    """Errors and flags of points (..., delay) from the columns of `fitting.points.POINT`; NaN for infinite errors."""
    found = {name: xr.Variable(tuple(dims), column, attributes(name, column.dtype)) for name, column in columns.items()}
    points = xr.Dataset(found, _plain_text(coords))
    return points.assign(sigma=points["sigma"].where(np.isfinite(points["sigma"])))


def attributes(name: str, dtype: Any) -> dict[str, Any]:
    """Return what a variable of a result is: long_name, units, and for codes what each number or bit means (CF)."""
    long_name, unit = LONG_NAMES[name]
    found: dict[str, Any] = {"long_name": long_name, "units": unit}
    if name in CODES:
        members: list[Any] = list(CODES[name])
        kind = "flag_masks" if issubclass(CODES[name], IntFlag) else "flag_values"
        found[kind] = np.array([int(member) for member in members], dtype=dtype)
        found["flag_meanings"] = " ".join(str(member.name).lower() for member in members)
    return found


def covariance_matrix(results: xr.Dataset) -> xr.DataArray:
    """Covariance of the parameters as full symmetric matrices.

    Parameters
    ----------
    results : xarray.Dataset
        From `fit` with ``detail="full"``.

    Returns
    -------
    xarray.DataArray
        Shape ``(..., parameter, other)``, the unit of an entry being the product of those of its parameters; lazy if
        `results` is.
    """
    count = results.sizes["parameter"]
    index = np.empty((count, count), dtype=np.intp)
    first, second = lower_triangle(count)
    index[first, second] = index[second, first] = np.arange(pairs(count))
    matrix = (
        results["covariance"].isel(pair=xr.Variable(("parameter", "other"), index)).drop_vars(["pair", "unit_pair"])
    )
    names = results["parameter"].values
    matrix = matrix.assign_coords(parameter=names, other=("other", names))
    return matrix.assign_attrs(long_name="covariance of the parameters", units="unit(parameter) * unit(other)")


def lower_triangle(count: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Row and column of each packed entry: the order of `layout`, row by row."""
    return np.tril_indices(count)


def _plain_text(coords: Mapping[Any, Any]) -> dict[Any, Any]:
    """Coordinates, text as fixed-length text: what `open_results` returns too, whatever the store made of it."""
    return {name: plain_text(coordinate) for name, coordinate in coords.items()}


def plain_text(coordinate: xr.DataArray) -> xr.DataArray:
    """Text of any kind (objects, variable length) as the shortest fixed-length text; lazy text and all else as is."""
    if coordinate.dtype.kind not in "OTU" or coordinate.chunks is not None:
        return coordinate
    values = coordinate.values.tolist()
    if not all(isinstance(value, str) for value in np.ravel(np.array(values, dtype=object))):
        return coordinate
    return xr.DataArray(np.array(values, dtype=np.str_), dims=coordinate.dims, attrs=coordinate.attrs)


def _product(first: str, second: str) -> str:
    if first == second:
        return first if first == "1" else f"{first}^2"
    return " ".join(unit for unit in (first, second) if unit != "1")
