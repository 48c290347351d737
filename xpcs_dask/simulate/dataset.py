"""Names, dimensions and units of simulated data: the project's one Dataset shape, with the truth beside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xpcs_dask.fitting.models import MODELS
from xpcs_dask.io.reader import curve_ids, hash_curves
from xpcs_dask.io.schema import VARIABLES
from xpcs_dask.simulate.multitau import Schedule

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

CURVE = ("file", "qbin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """How the frames of a run were taken and correlated."""

    raw_frames: int
    frame_time: float
    """s between raw frames."""
    stride: int = 1
    average: int = 1

    @property
    def frames(self) -> int:
        """Correlated frames."""
        return self.raw_frames // self.stride // self.average

    @property
    def step(self) -> float:
        """Time between correlated frames, s."""
        return self.frame_time * self.stride * self.average


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What a simulation was made of; arrays ``(file, qbin)`` or ``(file, qbin, parameter)``."""

    model: str
    value: Floats
    diffusion: Floats
    """Angstrom^2/s."""
    pixels: Floats
    counts: Floats
    """Mean per pixel and raw frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bins:
    """Which bins: ``(qbin,)`` each."""

    q: Floats
    """1/angstrom."""
    phi: Floats
    """Degree."""
    label: Integers


def dataset(
    g2: Floats, err: Floats, *, plan: Schedule, taken: Acquisition, truth: Truth, bins: Bins, first_file: int, seed: int
) -> xr.Dataset:
    """Return g2 and its quoted error ``(file, qbin, delay)`` as an eager Dataset with units, identity and truth."""
    stored = g2.astype(np.float32)
    n_files = len(stored)
    model = MODELS[truth.model]
    delay = plan.delay * taken.step
    counts = truth.counts * taken.average
    measured = {"g2": stored, "g2_err": err.astype(np.float32)}
    known = {
        "file": np.array([f"run{k:05d}" for k in range(first_file, first_file + n_files)]),
        "frames": np.full(n_files, float(taken.frames)),
        "stride": np.full(n_files, taken.stride),
        "average": np.full(n_files, taken.average),
        "frame_time": np.full(n_files, taken.frame_time),
        "runs": np.ones(n_files, np.int64),
        "qbin": bins.label,
        "q": bins.q,
        "phi": bins.phi,
        "delay": delay,
        "level": plan.level.astype(np.float64),
        "n_products": np.tile(plan.n_products.astype(np.float64), (n_files, 1)),
        "n_pixels": truth.pixels,
        "rate": truth.pixels * counts**2,
        "curve_id": np.stack([curve_ids(hash_curves(one), bins.label) for one in stored]),
    }
    variables = {name: xr.Variable(VARIABLES[name].dims, a, VARIABLES[name].attrs) for name, a in measured.items()}
    coordinates = {name: xr.Variable(VARIABLES[name].dims, a, VARIABLES[name].attrs) for name, a in known.items()}
    coordinates["parameter"] = xr.Variable("parameter", np.array(model.names))
    coordinates["unit"] = xr.Variable("parameter", np.array(model.units), {"long_name": "unit of the parameter"})
    clean = model.evaluate(delay, *np.moveaxis(truth.value, -1, 0)[..., None])
    for name, dims, values, text, unit in (
        ("true_g2", VARIABLES["g2"].dims, clean, "true g2", "1"),
        ("true_value", (*CURVE, "parameter"), truth.value, "true parameters", "see coordinate unit"),
        ("true_diffusion", CURVE, truth.diffusion, "true diffusion coefficient", "angstrom^2/s"),
        ("counts", CURVE, truth.counts, "mean counts per pixel and raw frame", "1"),
    ):
        variables[name] = xr.Variable(dims, values, {"long_name": text, "units": unit})
    return xr.Dataset(variables, coordinates, {"model": model.name, "formula": model.formula, "seed": seed})
