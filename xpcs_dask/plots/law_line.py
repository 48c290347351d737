"""The law through relaxation times: its line, its band, and its main parameter in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xpcs_dask.fitting.models import Floats
from xpcs_dask.physics.laws import LAWS
from xpcs_dask.prepare import known
from xpcs_dask.spoken import measured

TOLD = {
    "diffusion": ("D_um2", "$D$", " µm² s⁻¹"),
    "ballistic": ("velocity", "$v$", " Å s⁻¹"),
    "power": ("exponent", "exponent", ""),
    "diffusion+constant": ("D_um2", "$D$", " µm² s⁻¹"),
    "diffusion+flow": ("D_um2", "$D$", " µm² s⁻¹"),
}
"""Parameter of each law that the legend tells, its sign and unit."""


def law_band(found: xr.Dataset, settings: dict[str, Any], q: Floats) -> tuple[Floats, Floats, Floats]:
    """Relaxation times of one law at q (1/angstrom), and the ends of their interval, s.

    To first order in ln tau, with the quantile that the intervals of the parameters have.
    """
    law = settings["law"]
    names = [str(name) for name in known(found["parameter"])]
    value = dict(zip(names, found["value"].values, strict=True))
    error = dict(zip(names, found["stderr"].values, strict=True))
    upper = found["interval"].values[-1, 1] if law != "power" else found["interval"].values[0, 1]
    correlation = float(found["correlation"])
    if (exponent := LAWS[law].exponent) is not None:
        coefficient, last = names[0], names[-1]
        relative = error[coefficient] / value[coefficient]
        middle, spread_ = 1.0 / (value[coefficient] * q**exponent), np.full(q.shape, relative)
        wide = np.log(upper / value[last]) / relative
    elif law == "power":
        relative, slope = error["amplitude"] / value["amplitude"], -np.log(q)
        middle = value["amplitude"] * q ** -value["exponent"]
        spread_ = _root(relative, slope * error["exponent"], correlation)
        wide = np.log(upper / value["amplitude"]) / relative
    else:
        second = names[-1]
        power = q if second == "velocity" else np.ones_like(q)
        rate = value["D"] * q**2 + value[second] * power
        middle = 1.0 / np.where(rate > 0, rate, np.nan)
        spread_ = _root(q**2 * error["D"], power * error[second], correlation) * middle
        wide = (upper - value[second]) / error[second]
    with np.errstate(over="ignore"):
        factor = np.exp(wide * spread_)
    return middle, middle / factor, middle * factor


def _root(first: Any, second: Any, correlation: float) -> Any:
    """Return the standard error of a sum."""
    return np.sqrt(np.maximum(first**2 + second**2 + 2.0 * correlation * first * second, 0.0))


def told(found: xr.Dataset, law: str) -> str:
    """Say the main parameter of a law with its standard error."""
    names = [str(name) for name in known(found["parameter"])]
    name, sign, unit = TOLD[law]
    k = names.index(name)
    value, error = float(found["value"].values[k]), float(found["stderr"].values[k])
    if not np.isfinite(value):
        return "no law: too few bins"
    return f"{sign} = {measured(value, error)}{unit}"
