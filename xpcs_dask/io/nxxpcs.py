"""Reader of NeXus NXxpcs: groups found by their NX_class, units by attributes, order by ``storage_mode``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import h5py
import numpy as np

from xpcs_dask.io import stored
from xpcs_dask.io.hdf5 import ResultFile, is_hdf5, open_hdf5
from xpcs_dask.io.reader import NOTHING, Curves, FileInfo, Floats, Told, unknown
from xpcs_dask.io.result import Result
from xpcs_dask.io.schema import DEGREES, KEV, SECONDS
from xpcs_dask.io.units import factor, to_per_angstrom, to_seconds

NAME = "nxxpcs"
SUFFIXES: tuple[str, ...] = (".nxs", ".h5", ".hdf", ".hdf5")
OPTIONS: tuple[str, ...] = ("entry", "delay_unit", "q_unit")

TWO_TIME = ("two_time_corr_func", "g2_from_two_time_corr_func")


def sniff(path: str) -> bool:
    """Whether an NXentry of the file is defined as NXxpcs; a damaged HDF5 file raises."""
    if not is_hdf5(path):
        return False
    with open_hdf5(path) as file:
        return bool(_entries(file))


def read_meta(path: str, include: Collection[str] = (), told: Told = NOTHING) -> FileInfo:
    """All but g2; see `io.reader.Reader`. An entry is an NXentry."""
    with open_hdf5(path) as file:
        entries = _entries(file)
        if not entries:
            raise file.rejected("it has no NXentry whose definition is NXxpcs")
        entry, notes = stored.choose(file, entries, told.entry)
        result = _result(file, entry)
        detector, frame_time = _frame_time(file, entry, told)
        result.delay = result.delay * _step(file, _data(file, entry), frame_time)
        masks = _masks(file, entry)
        name = f"{masks}/dynamic_q_list"
        result.q = result.q * to_per_angstrom(path, f"/{name}", stored.attribute(file, name, "units"), told.q_unit)
        return result.info(
            path,
            NAME,
            notes,
            entry=entry,
            n_pixels=stored.pixels(file, f"{masks}/dynamic_roi_map", len(result.g2)),
            frame_time=np.nan if frame_time is None else frame_time,
            scalars=_scalars(file, entry, detector, include),
        )


def read_g2(path: str, entry: str = "") -> tuple[Curves, Curves]:
    """g2 and its error, each (qbin, delay) float32 as stored; see `io.reader.Reader`."""
    with open_hdf5(path) as file:
        return _result(file, entry).curves()


def _of_class(file: ResultFile, above: str, nx_class: str) -> list[str]:
    """Paths of the groups of this class right below `above`."""
    paths = [f"{above}/{name}".strip("/") for name in stored.children(file, above)]
    return [path for path in paths if stored.attribute(file, path, "NX_class") == nx_class]


def _entries(file: ResultFile) -> list[str]:
    return [path for path in _of_class(file, "", "NXentry") if "NXxpcs" in file.texts(f"{path}/definition")]


def _data(file: ResultFile, entry: str) -> str:
    """Path of the NXdata with g2."""
    for path in _of_class(file, entry, "NXdata"):
        if file.find(f"{path}/g2") is not None:
            return path
    everywhere = [entry, *(f"{entry}/{name}" for name in stored.children(file, entry))]
    if any(file.find(f"{path}/{name}") is not None for path in everywhere for name in TWO_TIME):
        raise file.rejected("it has two-time results only and no multi-tau g2; run multi-tau on it too")
    raise file.rejected(f"/{entry} has no NXdata with g2: the file is not complete; write or copy it again")


def _masks(file: ResultFile, entry: str) -> str:
    """Path of the group with the list of q, wherever it is in the instrument."""
    for instrument in _of_class(file, entry, "NXinstrument"):
        for name in stored.children(file, instrument):
            if file.find(f"{instrument}/{name}/dynamic_q_list") is not None:
                return f"{instrument}/{name}"
    raise file.rejected(f"/{entry} has no instrument with masks/dynamic_q_list: q of the curves is not known")


def _result(file: ResultFile, entry: str) -> Result:
    """Curves, with q and delay in the units of the file."""
    data, masks = _data(file, entry), _masks(file, entry)
    delay = _delays(file, f"{data}/delay_difference")
    q = stored.needed(file, f"{masks}/dynamic_q_list")
    g2 = _curves(file, f"{data}/g2", q.size, delay.size)
    held = next((f"{data}/{name}" for name in ("g2_derr", "g2_errors") if file.find(f"{data}/{name}")), None)
    err = None if held is None else _curves(file, held, q.size, delay.size)
    return Result(delay, q, g2, err, _phi(file, f"{masks}/dynamic_phi_list"))


def _curves(file: ResultFile, name: str, bins: int, delays: int) -> Curves:
    """(qbin, delay) from one array over (delay, q), or from a group with one item for each q."""
    group = isinstance(file.find(name), h5py.Group)
    mode = stored.attribute(file, name, "storage_mode") or ("data_exchange_keys" if group else "one_array")
    if mode == "one_array" and not group:
        return stored.curves(file, name, bins, delays, delay_first=True)
    if mode != "data_exchange_keys" or not group:
        raise file.rejected(f"/{name} has storage_mode {mode!r}, which tells no order of delay and q")
    items = [stored.needed(file, f"{name}/{key}") for key in stored.children(file, name)]
    if len(items) != bins or any(item.size != delays for item in items):
        sizes = ", ".join(str(size) for size in sorted({item.size for item in items}))
        raise file.rejected(f"/{name} has {len(items)} items of {sizes} values for {bins} q bins of {delays} delays")
    return stored.as_curves(np.stack(items), delay_first=False)


def _delays(file: ResultFile, name: str) -> Floats:
    """Delays as they are stored; of a group with one item for each q, those that all share."""
    if not isinstance(file.find(name), h5py.Group):
        return stored.needed(file, name)
    items = [stored.needed(file, f"{name}/{key}") for key in stored.children(file, name)]
    if not items or any(not np.array_equal(item, items[0]) for item in items):
        raise file.rejected(f"/{name} has other delays for some q; one list for all is needed")
    return items[0]


def _step(file: ResultFile, data: str, frame_time: float | None) -> float:
    """Seconds of one unit of the delays: a frame, unless they state a unit of time."""
    name = f"{data}/delay_difference"
    unit = stored.attribute(file, name, "units")
    stated = factor(unit, SECONDS)
    if stated is not None:
        return stated
    delay = _delays(file, name)
    if (delay != np.round(delay)).any():
        strange = delay[delay != np.round(delay)][0]
        raise file.rejected(f"/{name} must be whole numbers of frames or state a unit of time, found {strange:g}")
    if frame_time is None:
        raise file.rejected("no detector of it has frame_time: the time between frames is not known")
    return frame_time


def _frame_time(file: ResultFile, entry: str, told: Told) -> tuple[str, float | None]:
    """Path of the detector with a frame time, and that time in s."""
    for instrument in _of_class(file, entry, "NXinstrument"):
        for detector in _of_class(file, instrument, "NXdetector"):
            name = f"{detector}/frame_time"
            value = file.scalar(name)
            if value is not None:
                if not (np.isfinite(value) and value > 0):
                    raise file.rejected(f"/{name} must be a positive time, found {value:g}")
                unit = stored.attribute(file, name, "units")
                return detector, value * to_seconds(file.path, f"/{name}", unit, told.delay_unit)
    return "", None


def _phi(file: ResultFile, name: str) -> Floats:
    """(qbin,) degrees; unknown without a list of them or without its unit."""
    values = file.array(name)
    known = factor(stored.attribute(file, name, "units"), DEGREES)
    return unknown() if values is None or known is None else values.ravel().astype(np.float64) * known


def _scalars(file: ResultFile, entry: str, detector: str, include: Collection[str]) -> dict[str, float]:
    """Return numbers that are there and state a unit that is known."""
    places: dict[str, tuple[str, Mapping[str, float]]] = {"count_time": (f"{detector}/count_time", SECONDS)}
    for instrument in _of_class(file, entry, "NXinstrument"):
        for name in stored.children(file, instrument):
            if file.find(f"{instrument}/{name}/incident_energy") is not None:
                places["photon_energy"] = (f"{instrument}/{name}/incident_energy", KEV)
    found: dict[str, Any] = {}
    for name in include:
        where, known = places.get(name, ("", {}))
        value, scale = (
            (file.scalar(where), factor(stored.attribute(file, where, "units"), known)) if where else (0, None)
        )
        if value is not None and scale is not None:
            found[name] = value * scale
    return found
