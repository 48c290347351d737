"""What the rows and columns of further arrays stand for: frames, times, static bins, products of partial g2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xpcs_dask.errors import FileRejected, MismatchError
from xpcs_dask.io.hdf5 import ResultFile, open_hdf5
from xpcs_dask.io.places import Place
from xpcs_dask.io.reader import Floats
from xpcs_dask.io.schema import APS, DEGREES, PER_ANGSTROM
from xpcs_dask.io.units import factor

G2_PARTS = ("G2", "IP", "IF")


class Described(Protocol):
    """What is needed of a file, such as a `FileInfo`."""

    @property
    def path(self) -> str:
        """Where it is."""

    @property
    def format(self) -> str:
        """Name of its format."""

    @property
    def entry(self) -> str:
        """Which of several results."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """(qbin,) labels; empty if not known."""

    @property
    def delay(self) -> Floats:
        """(delay,) in s; empty if not known."""


def coordinates(
    name: str,
    infos: Sequence[Described],
    found: Sequence[Place | None],
    sizes: dict[str, int],
    rows: NDArray[np.int64],
) -> dict[str, xr.Variable]:
    """Coordinates of array `name` of some files, where the files tell them; sizes are those of its dimensions."""
    if name == "intensity_vs_time":
        return {"frame": _variable("frame", np.arange(sizes["frame"]), "1", "correlated frame, from 0")}
    if name == "unnormalized_G2":
        return {"part": _variable("part", np.array(G2_PARTS), "1", "product, past and future intensity")}
    if name == "g2_partial":
        return _partial(infos, found, sizes["segment"])
    if name == "c2":
        return _times(infos, found, sizes["t1"]) | {"c2_bin": _variable("c2_bin", rows, "1", "label of the q bin")}
    if name == "scattering_1d":
        return _static_bins(infos, found, sizes["static_bin"])
    return {}


def _variable(dims: Any, values: Any, units: str, long_name: str) -> xr.Variable:
    return xr.Variable(dims, values, {"units": units, "long_name": long_name})


def _partial(infos: Sequence[Described], found: Sequence[Place | None], segments: int) -> dict[str, xr.Variable]:
    """Products at the first delay that each partial g2 had seen; 0 where there was none."""
    products = np.full((len(infos), segments), np.nan)
    for row, place in zip(products, found, strict=True):
        if place is None:
            continue
        with open_hdf5(place.path) as file:
            labels = file.array(f"{APS.g2}_partial_labels")
        if labels is not None and labels.size == place.shape[0]:
            row[: labels.size] = labels.ravel()
    text = "products averaged at the first delay so far"
    return {"partial_products": _variable(("file", "segment"), products, "1", text)}


def _times(infos: Sequence[Described], found: Sequence[Place | None], frames: int) -> dict[str, xr.Variable]:
    """Give the times of the frames of two-time maps, the same in all files; none if the format does not tell them."""
    steps: dict[float, str] = {}
    for info, place in zip(infos, found, strict=True):
        if place is not None and info.format == "aps_nexus":
            with open_hdf5(place.path) as file:
                steps.setdefault(_step(file), place.path)
    if len(steps) > 1:
        first, *others = steps.values()
        raise MismatchError("the time between frames of two-time maps", first, others)
    if not steps or np.isnan(next(iter(steps))):
        return {}
    times = np.arange(frames) * next(iter(steps))
    return {dim: _variable(dim, times, "s", "time since the first frame") for dim in ("t1", "t2")}


def _step(file: ResultFile) -> float:
    frame_time = file.scalar(APS.frame_time)
    stride, average = (file.scalar(f"{APS.twotime}/config/{name}_frame") or 1.0 for name in ("stride", "avg"))
    return np.nan if frame_time is None else frame_time * stride * average


def _static_bins(infos: Sequence[Described], found: Sequence[Place | None], bins: int) -> dict[str, xr.Variable]:
    """Labels, q and azimuth of static bins, from the first file that has as many of them."""
    coords = {"static_bin": _variable("static_bin", np.arange(1, bins + 1), "1", "label of the static bin")}
    for info, place in zip(infos, found, strict=True):
        if place is not None and info.format == "aps_nexus" and place.shape == (bins,):
            with open_hdf5(info.path) as file:
                q, phi = _static_axes(file, bins)
            coords["static_q"] = _variable("static_bin", q, "1/angstrom", "momentum transfer of the static bin")
            coords["static_phi"] = _variable("static_bin", phi, "degree", "azimuth of the static bin")
            break
    return coords


def _static_axes(file: ResultFile, bins: int) -> tuple[Floats, Floats]:
    """Give q (1/angstrom) and phi (degree) of each static bin through its place in the (dim0, dim1) grid."""
    place, grid = (file.array(f"{APS.qmap}/static_{name}") for name in ("index_mapping", "num_pts"))
    names, units = file.texts(APS.map_names), file.texts(APS.map_units)
    known = {"q": np.full(bins, np.nan), "phi": np.full(bins, np.nan)}
    if place is None or grid is None or grid.size != 2 or place.size != bins or len(names) != 2 or len(units) != 2:
        return known["q"], known["phi"]
    at = np.divmod(place.ravel().astype(np.int64), int(grid.ravel()[1]))
    for axis, (name, unit) in enumerate(zip(names, units, strict=True)):
        centres = file.array(f"{APS.qmap}/static_v_list_dim{axis}")
        scale = factor(unit, PER_ANGSTROM if name == "q" else DEGREES)
        if name not in known or centres is None or scale is None:
            continue
        if at[axis].max() >= centres.size:
            raise FileRejected(file.path, f"the q-map sends a static bin to {at[axis].max()} of {centres.size} centres")
        known[name] = centres.ravel()[at[axis]].astype(np.float64) * scale
    return known["q"], known["phi"]
