"""Reading the curves of a figure: those that are asked for, with the errors that weighed them and their fits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from xpcs_dask.api import quality
from xpcs_dask.config import FitConfig
from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.layout import Status
from xpcs_dask.fitting.models import MODELS, Evaluate, Model, by_name, resolve
from xpcs_dask.fitting.quality import PointFlag
from xpcs_dask.plots.chosen import alone, choose, dataset, heading, read, same, spoken, spread
from xpcs_dask.plots.points import BARS, OUTSIDE, Curve, Fit
from xpcs_dask.prepare import known
from xpcs_dask.results.label import covariance_matrix


class Drawn(NamedTuple):
    """Curves of a figure."""

    curves: list[Curve]
    heading: str
    """What their names are."""
    bars: str
    """What their error bars are; nothing where there are none."""


def curves(
    data: xr.Dataset | xr.DataArray,
    fits: xr.Dataset | None,
    at: Mapping[str, Any],
    *,
    sigma: Any = None,
    model: str | Model | Evaluate | None = None,
    config: FitConfig | None = None,
) -> Drawn:
    """Read the curves that `at` names, and their fits.

    Blocks of other curves are not read. Of a dimension ``qbin`` that `at` does not name a few entries are taken.
    """
    curve_of, settings = _of_array(data, sigma) if isinstance(data, xr.DataArray) else (data, FitConfig())
    curve_of, settings = dataset(curve_of, "the data", ["g2"]), config or settings
    if fits is not None:
        fits = dataset(fits, "the results", ["value", "status"])
        settings = FitConfig.make(**json.loads(fits.attrs["config"])) if "config" in fits.attrs else settings
        if settings.robust == "clip" and "quality" not in fits:
            raise ConfigError(
                "the results have no quality: which points robust='clip' left out, only a fit with detail='full' tells"
            )
        curve_of, fits = _numbered(curve_of, fits)
        fits = alone(spread(choose(fits, at, "the results"), "qbin", at), "status", ("qbin",), "the results")
    else:
        curve_of = spread(choose(curve_of, at, "the data"), "qbin", at)
    dims = [str(dim) for dim in curve_of["g2"].dims if dim != "delay"]
    if fits is not None:
        curve_of = same(curve_of, fits, dims, "the data")
    curve_of = alone(curve_of, "g2", ("qbin", "delay"), "the data")
    points = quality(curve_of, config=FitConfig.make(settings, q_range=None, robust=None, covariance="auto"))
    assert isinstance(points, xr.Dataset)
    drawn = curve_of[[name for name in ("g2", "g2_err") if name in curve_of]]
    wanted = [] if fits is None else [name for name in NEEDED if name in fits]
    drawn, points, *fitted = read(drawn, points, *([] if fits is None else [fits[wanted]]))
    record = None if fits is None else _model(fits, model)
    found = [
        _curve(drawn, points, fitted[0] if fitted else None, dict(zip(dims, index, strict=True)), record, settings)
        for index in np.ndindex(*(drawn.sizes[dim] for dim in dims))
    ]
    return Drawn(found, heading(drawn, "qbin"), _said(settings, fits is not None))


def _numbered(data: xr.Dataset, fits: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """Give numbers to the entries of dimensions without labels, the same to the data and to their fits."""
    for dim in fits["status"].dims:
        if dim in data["g2"].dims and dim not in data.coords and dim not in fits.coords:
            if data.sizes[dim] != fits.sizes[dim]:
                raise ConfigError(
                    f"the data have {data.sizes[dim]} entries along {dim}, the results {fits.sizes[dim]}, "
                    "and no labels say which belong together"
                )
            numbers = np.arange(data.sizes[dim])
            data, fits = data.assign_coords({dim: numbers}), fits.assign_coords({dim: numbers})
    return data, fits


def _of_array(g2: xr.DataArray, sigma: Any) -> tuple[xr.Dataset, FitConfig]:
    """Return a Dataset of plain curves, and what `fit` makes of their errors."""
    made = g2.to_dataset(name="g2")
    if sigma is None:
        return made, FitConfig(errors="none")
    if not isinstance(sigma, xr.DataArray):
        sigma = xr.DataArray(sigma, dims=g2.dims[g2.ndim - np.ndim(sigma) :])
    return made.assign(g2_err=sigma.broadcast_like(g2)), FitConfig(errors="quoted")


def _said(config: FitConfig, fitted: bool) -> str:
    """Say what error bars are; nothing where there are none."""
    if config.errors == "none":
        return BARS["none"] if fitted else ""
    return BARS[config.errors] + ("" if config.absolute_sigma or not fitted else ", scaled")


NEEDED = ("value", "status", "chi2", "dof", "errors_dof", "covariance", "quality", "replicate")
"""Variables of results that a figure of a curve takes, if they are there."""


def _model(fits: xr.Dataset, model: str | Model | Evaluate | None) -> Model:
    name = str(fits.attrs.get("model", ""))
    if model is None and by_name(name) is None:
        raise ConfigError(f"the results are of the model {name!r}, which is none of {', '.join(MODELS)}: give model=")
    record = resolve(name if model is None else model)
    names = [str(one) for one in known(fits["parameter"])]
    if list(record.names) != names:
        raise ConfigError(f"model: {record.name} has {', '.join(record.names)}, the results have {', '.join(names)}")
    return record


def _curve(
    data: xr.Dataset, points: xr.Dataset, fits: xr.Dataset | None, at: dict[str, int], record: Model | None,
    config: FitConfig,
) -> Curve:  # fmt: skip
    one, weights = data.isel(at), points.isel(at)
    delay = one["delay"].values.astype(np.float64)
    g2 = one["g2"].values.astype(np.float64)
    inside = np.isin(delay, weights["delay"].values)
    sigma, bits = np.full(delay.size, np.nan), np.full(delay.size, OUTSIDE | int(PointFlag.NOT_USED), np.int64)
    sigma[inside], bits[inside] = weights["sigma"].values, weights["quality"].values
    fit, failed = None, ""
    if fits is not None and record is not None:
        own = fits.isel({dim: number for dim, number in at.items() if dim in fits.dims})
        if "quality" in own:  # outliers, which only the fit can tell
            bits[inside] = own["quality"].values
            sigma[(bits & int(PointFlag.NOT_USED)) != 0] = np.nan
        fit, failed = _fit(own, record)
        if config.errors == "none" or not config.absolute_sigma:
            dof = float(own["dof"])
            sigma *= np.sqrt(float(own["chi2"]) / dof) if fit and dof > 0 else np.nan
    elif config.errors == "none":
        sigma[np.isfinite(sigma)] = 0.0
    quoted = one["g2_err"].values.astype(np.float64) if "g2_err" in one else np.full(delay.size, np.nan)
    name = spoken(data, "qbin", at["qbin"]) if "qbin" in at else ""
    return Curve(name=name, delay=delay, g2=g2, sigma=sigma, quoted=quoted, bits=bits, fit=fit, failed=failed)


def _fit(own: xr.Dataset, record: Model) -> tuple[Fit | None, str]:
    status = Status(int(own["status"]))
    if status != Status.CONVERGED:
        return None, status.name.lower().replace("_", " ")
    return Fit(
        model=record,
        value=own["value"].values.astype(np.float64),
        covariance=covariance_matrix(own).values if "covariance" in own else None,
        dof=float(own["errors_dof"]) if "errors_dof" in own else np.inf,
        replicates=own["replicate"].values if "replicate" in own else None,
    ), ""
