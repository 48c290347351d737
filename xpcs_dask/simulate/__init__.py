"""Data with known truth: curves, result files and speckle, seeded so that any part can be made alone."""

from __future__ import annotations

from xpcs_dask.simulate.curves import curves
from xpcs_dask.simulate.files import write_aps, write_series
from xpcs_dask.simulate.multitau import schedule
from xpcs_dask.simulate.speckle import speckle

__all__ = ["curves", "schedule", "speckle", "write_aps", "write_series"]
