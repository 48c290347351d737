"""Packed stacks of any size, made at the speed of writing: a few thousand simulated curves, repeated with fresh noise.

A relative change of the fourth digit makes every block differ, and leaves nothing for a cache of contents or for the
compressor to find twice.
"""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xpcs_dask.io.stack import write_stack
from xpcs_dask.simulate import curves

BINS, SOURCE = 2500, 4
"""Bins of a file (50 q and 50 phi), and files that are simulated."""
NOISE = 1e-4
FILE = BINS * 61 * 2 * 4
"""Bytes of a file: g2 and its errors in float32."""
BLOCK = 6
"""Files of a stored piece: not quite 8 MiB of g2 in float64."""


def make(path: Path, gigabytes: float) -> Path:
    """Write a stack of about so many gigabytes of g2 and errors, unless it is there."""
    if path.exists():
        return path
    number = max(2 * BLOCK, round(gigabytes * 1e9 / FILE / BLOCK) * BLOCK)
    like = simulated()
    sizes = (*([BLOCK] * (number // BLOCK)),)
    data = like.isel(file=np.arange(number) % SOURCE)
    for name in ("g2", "g2_err"):
        shape = like[name].shape[1:]
        blocks = da.map_blocks(
            partial(_block, name),
            chunks=(sizes, *((n,) for n in shape)),
            dtype=np.float32,
            meta=np.empty((0, 0, 0), "f4"),
        )
        data[name] = (like[name].dims, blocks)
    ids = data["curve_id"].to_numpy() + np.arange(number, dtype=np.uint64)[:, None] // np.uint64(SOURCE)
    data = data.assign_coords(curve_id=(data["curve_id"].dims, ids))
    with dask.config.set(scheduler="threads", num_workers=2):
        return write_stack(data, path)


@lru_cache(maxsize=1)
def simulated() -> xr.Dataset:
    """Curves of `SOURCE` files with their errors."""
    found: xr.Dataset = curves(SOURCE, q=np.geomspace(0.003, 0.03, BINS), seed=1)[["g2", "g2_err"]]
    return found


def _block(name: str, block_info: Any = None) -> NDArray[np.float32]:
    """One stored piece: simulated curves times noise of its own."""
    where = block_info[None]["chunk-location"][0]
    values = simulated()[name].to_numpy()
    rng = np.random.default_rng((where, name == "g2_err"))
    found = values[np.arange(where * BLOCK, (where + 1) * BLOCK) % SOURCE].astype(np.float32)
    found *= 1.0 + np.float32(NOISE) * rng.standard_normal(found.shape, dtype=np.float32)
    return found


def size_of(path: Path) -> int:
    """Bytes on disk."""
    return sum(item.stat().st_size for item in path.rglob("*") if item.is_file())
