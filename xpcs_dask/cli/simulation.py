"""What ``xpcs-dask simulate`` puts into its folder: the data, and the truth beside."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import xarray as xr


class Made(NamedTuple):
    """What lies in the folder now."""

    names: list[str]
    report: dict[str, Any]


def write_stack_of(simulation: str) -> Callable[..., Made]:
    """Return what writes a simulated Dataset as ``NAME.zarr``, with the truth beside."""

    def make(folder: Path, runs: int, seed: int, chosen: dict[str, Any]) -> Made:
        from xpcs_dask import simulate as simulations
        from xpcs_dask.io.stack import write_stack

        data = getattr(simulations, simulation)(runs, seed=seed, **chosen)
        write_stack(data, folder / f"{simulation}.zarr")
        (folder / "truth.json").write_text(json.dumps(truth(data), indent=1) + "\n")
        counted = {"kind": simulation, "runs": runs, "curves": data["g2"].isel(delay=0).size}
        return Made([f"{simulation}.zarr", "truth.json"], counted)

    return make


def truth(data: xr.Dataset) -> dict[str, Any]:
    """One record a run, as ``truth.json`` of simulated files has."""
    return {
        str(name): {
            "model": data.attrs["model"],
            "formula": data.attrs["formula"],
            "parameters": data["parameter"].to_numpy().tolist(),
            "units": data["unit"].to_numpy().tolist(),
            "q": data["q"].to_numpy().tolist(),
            "true_value": data["true_value"].isel(file=k).to_numpy().tolist(),
            "diffusion": data["true_diffusion"].isel(file=k).to_numpy().tolist(),
            "counts": data["counts"].isel(file=k).to_numpy().tolist(),
            "frame_time": float(data["frame_time"].to_numpy()[k]),
            "seed": int(data.attrs["seed"]),
        }
        for k, name in enumerate(data["file"].to_numpy())
    }


def write_files(folder: Path, runs: int, seed: int, chosen: dict[str, Any]) -> Made:
    """Write APS result files with ``truth.json``."""
    from xpcs_dask.simulate import write_series

    paths = write_series(folder, runs, seed, **chosen)
    records = json.loads((folder / "truth.json").read_text())
    counted = {"kind": "files", "runs": runs, "curves": sum(len(record["q"]) for record in records.values())}
    return Made([*(path.name for path in paths), "truth.json"], counted)


MAKERS: dict[str, Callable[..., Made]] = {
    "curves": write_stack_of("curves"),
    "files": write_files,
    "speckle": write_stack_of("speckle"),
}
"""By the kind of simulation; each takes the folder, runs, seed and further settings."""
