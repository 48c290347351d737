"""Result files in the layout of APS 8-ID-I (what boost-corr writes), from simulated curves, with the truth beside.

Every path, shape and dtype follows what the producer writes: delays in correlated frames, g2 with the delay first, a
q-map group that places column j in a (q, phi) grid by ``dynamic_index_mapping``, no units on ``/xpcs/multitau``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.models import MODELS
from xpcs_dask.simulate.curves import curves
from xpcs_dask.simulate.draws import normal, uniforms
from xpcs_dask.simulate.qmap import QMap

Floats: TypeAlias = NDArray[np.float64]

INTENSITY_STREAM = 2
"""Stream of the random numbers of ``intensity_vs_time``."""
SEGMENTS = 16
"""Rows of ``scattering_1d_segments``; each is divided by all frames, as the producer does."""
STATIC_PER_BIN = 5
"""Static (finer) bins inside each dynamic bin unless told otherwise."""
LAYOUT = ("q_rings", "static_per_bin", "temperature", "averaged")
"""Settings of `write_series` that go to `write_aps`; the others go to `curves`."""


def write_aps(
    path: str | os.PathLike[str],
    data: xr.Dataset,
    *,
    q_rings: ArrayLike | None = None,
    static_per_bin: int = STATIC_PER_BIN,
    temperature: float = 25.0,
    averaged: Sequence[str] = (),
) -> Path:
    """Write one simulated run as an APS 8-ID-I NeXus result; an existing file is replaced.

    Parameters
    ----------
    path
        Of the new file; its folder must exist.
    data
        What `xpcs_dask.simulate.curves` returns for one run, or a selection of its bins.
    q_rings
        Wavevectors (1/angstrom) of the rings of the q-map, among them all of ``data.q``. Rings, and with several
        azimuths (ring, sector) places, that have no column are empty bins, as beam stops make them.
    static_per_bin
        Static (finer) bins inside each dynamic bin; each needs at least one pixel.
    temperature
        Of the sample, degree Celsius.
    averaged
        Names of runs that the file pretends to be the average of; such files keep ``frame_time`` as (1, 1) float32.

    Returns
    -------
    pathlib.Path
        `path`.

    Raises
    ------
    ConfigError
        If `data` holds several runs, or a q that is not in `q_rings`.
    """
    target = Path(path)
    if data.sizes["file"] != 1:
        raise ConfigError(
            f"{target}: one file holds one run, the data hold {data.sizes['file']}; write data.isel(file=[k])"
        )
    run = next(_runs(data))
    qmap = QMap(data, q_rings, static_per_bin)
    with h5py.File(target, "w") as file:
        _write_entry(file, run, temperature, bool(averaged))
        _write_config(file.create_group("xpcs/multitau/config"), run)
        qmap.write(file.create_group("xpcs/qmap"))
        for name, value in _of_the_run(run, qmap, target.stem).items():
            packed = {"compression": "lzf", "chunks": np.shape(value)} if name == PICTURE else {}
            file.create_dataset(name, data=value, **packed)
        if averaged:
            file["xpcs/average/file_list"] = np.array(list(averaged), dtype=h5py.string_dtype())
    return target


def write_series(
    folder: str | os.PathLike[str], n_files: int, seed: int = 0, *, first_file: int = 0, **settings: Any
) -> list[Path]:
    """Write `n_files` simulated runs and ``truth.json`` into `folder` (made if missing).

    Parameters
    ----------
    folder
        Where to.
    n_files
        Runs; the file of run k is the same in any series with the same seed and settings.
    seed, first_file
        As in `xpcs_dask.simulate.curves`.
    **settings
        Of `xpcs_dask.simulate.curves` and `write_aps`; what varies from run to run is ``(n_files, 1)``.

    Returns
    -------
    list of pathlib.Path
        The result files, in order of the runs. ``truth.json`` has one record for each, by name.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    layout = {name: settings.pop(name) for name in LAYOUT if name in settings}
    data = curves(n_files, seed=seed, first_file=first_file, **settings)
    runs = list(_runs(data))
    paths = [target / f"X{run.number:05d}_simulated_f{run.raw_frames:06d}_r00001_results.hdf" for run in runs]
    write_aps(paths[0], data.isel(file=[0]), **layout)
    _copies(paths, runs, QMap(data, layout.get("q_rings"), layout.get("static_per_bin", STATIC_PER_BIN)))
    records = zip(paths, runs, strict=True)
    lines = [f"{json.dumps(path.name)}: {json.dumps(_truth_record(data, run))}" for path, run in records]
    (target / "truth.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return paths


def _copies(paths: list[Path], runs: list[_Run], qmap: QMap) -> None:
    """Write all files after the first as copies of it in which only what differs is replaced (far faster)."""
    image = paths[0].read_bytes()
    old = _of_the_run(runs[0], qmap, paths[0].stem)
    for path, run in zip(paths[1:], runs[1:], strict=True):
        path.write_bytes(image)
        with h5py.File(path, "r+") as file:
            for name, value in _of_the_run(run, qmap, path.stem).items():
                if not np.array_equal(value, old[name]):
                    file[name][...] = value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One run of a simulated Dataset as plain arrays, ``(qbin,)`` or ``(qbin, delay)``."""

    number: int
    g2: NDArray[np.float32]
    g2_err: NDArray[np.float32]
    delay: Floats
    """s."""
    counts: Floats
    truth: Floats
    diffusion: Floats
    frames: int
    stride: int
    average: int
    frame_time: float
    seed: int

    @property
    def raw_frames(self) -> int:
        """Frames before stride and averaging (those used)."""
        return self.frames * self.stride * self.average


def _runs(data: xr.Dataset) -> Iterator[_Run]:
    curve = {name: data[name].values for name in ("g2", "g2_err", "counts", "true_value", "true_diffusion")}
    taken = {name: data[name].values.tolist() for name in ("frames", "stride", "average", "frame_time")}
    delay = data.delay.values
    for k, name in enumerate(data.file.values):
        yield _Run(
            number=int(str(name).removeprefix("run")),
            g2=curve["g2"][k],
            g2_err=curve["g2_err"][k],
            delay=delay,
            counts=curve["counts"][k],
            truth=curve["true_value"][k],
            diffusion=curve["true_diffusion"][k],
            frames=int(taken["frames"][k]),
            stride=int(taken["stride"][k]),
            average=int(taken["average"][k]),
            frame_time=taken["frame_time"][k],
            seed=int(data.attrs["seed"]),
        )


def _truth_record(data: xr.Dataset, run: _Run) -> dict[str, Any]:
    model = MODELS[data.attrs["model"]]
    return {
        "model": model.name,
        "formula": model.formula,
        "parameters": list(model.names),
        "units": list(model.units),
        "q": data.q.values.tolist(),
        "true_value": run.truth.tolist(),
        "diffusion": run.diffusion.tolist(),
        "counts": run.counts.tolist(),
        "frame_time": run.frame_time,
        "stride_frame": run.stride,
        "avg_frame": run.average,
        "seed": run.seed,
    }


def _write_entry(file: h5py.File, run: _Run, temperature: float, averaged: bool) -> None:
    entry: dict[str, Any] = {
        "beamline": "APS-8-ID-I",
        "start_time": "2026-01-02 03:04:05.678901",
        "end_time": "2026-01-02 03:04:15.000000",
        "scan_number": np.int64(1),
        "user/name": "nobody",
        "sample/qnw1_temperature": float(temperature),
        "instrument/incident_beam/incident_energy": 10.9,
        "instrument/bluesky/bluesky_version": "1.0.0",
        "instrument/bluesky/scan_id": np.int64(1),
        "instrument/bluesky/metadata/sample": "simulated",
        "instrument/detector_1/detector_name": "simulated",
        "instrument/detector_1/frame_time": np.full((1, 1), run.frame_time, np.float32) if averaged else run.frame_time,
        "instrument/detector_1/count_time": 0.9 * run.frame_time,
        "instrument/detector_1/beam_center_x": 1.0,
        "instrument/detector_1/beam_center_y": 1.0,
        "instrument/detector_1/distance": 7.8,
        "instrument/detector_1/x_pixel_size": 7.6e-5,
        "instrument/detector_1/y_pixel_size": 7.6e-5,
    }
    for name, value in entry.items():
        file[f"entry/{name}"] = value
    file.create_group("entry/definition")
    file.create_group("entry/schema_version")


def _write_config(group: h5py.Group, run: _Run) -> None:
    config: dict[str, Any] = {
        "analysis_type": "multitau",
        "avg_frame": np.int64(run.average),
        "begin_frame": np.int64(0),
        "crop_ratio_threshold": 1.1,
        "end_frame": np.int64(-1),
        "gpu_id": np.int64(-1),
        "max_memory": 1.0,
        "normalize_frame": np.bool_(True),
        "num_loaders": np.int64(1),
        "num_partial_g2": np.int64(0),
        "output": "simulated",
        "overwrite": np.bool_(True),
        "qmap": "simulated/qmap.hdf",
        "save_G2": np.bool_(False),
        "smooth": "sqmap",
        "stride_frame": np.int64(run.stride),
        "verbose": np.bool_(False),
    }
    for name, value in config.items():
        group[name] = value


PICTURE = "xpcs/temporal_mean/scattering_2d"


def _of_the_run(run: _Run, qmap: QMap, stem: str) -> dict[str, Any]:
    """Return every dataset that can differ between runs of one series, by its path.

    Intensities are per static bin and raw frame, and per correlated frame over all pixels that are not masked.
    """
    fine = np.repeat(run.counts, qmap.per_bin)[qmap.order].astype(np.float32)[None]
    name = stem.removesuffix("_results")
    step = run.frame_time * run.stride * run.average
    return {
        "entry/entry_identifier": name,
        "xpcs/rawdata_path": f"simulated/{name}.h5",
        "xpcs/multitau/config/raw": f"simulated/{name}.h5",
        "xpcs/multitau/delay_list": np.rint(run.delay / step).astype(np.int64),
        "xpcs/multitau/normalized_g2": np.ascontiguousarray(run.g2.T),
        "xpcs/multitau/normalized_g2_err": np.ascontiguousarray(run.g2_err.T),
        "xpcs/temporal_mean/scattering_1d": fine,
        "xpcs/temporal_mean/scattering_1d_segments": np.repeat(fine / SEGMENTS, SEGMENTS, axis=0),
        PICTURE: np.concatenate([[0.0], run.counts]).astype(np.float32)[qmap.dynamic_map][None],
        "xpcs/spatial_mean/intensity_vs_time": _intensity(run, qmap),
    }


def _intensity(run: _Run, qmap: QMap) -> NDArray[np.float32]:
    """Return (2, frames): the number of each correlated frame and its mean counts per pixel, with shot noise."""
    pixels = int(qmap.pixels.sum())
    mean = float(run.counts @ qmap.pixels) / pixels
    shot = normal(uniforms(run.seed, INTENSITY_STREAM, run.number, 0, run.frames))
    shot *= np.sqrt(mean / (pixels * run.average))
    return np.stack([np.arange(run.frames), np.maximum(mean + shot, 0.0)]).astype(np.float32)
