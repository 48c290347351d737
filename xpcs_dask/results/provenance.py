"""Where a result comes from: everything needed to make it again, as attributes that every store can hold."""

from __future__ import annotations

import json
import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import xarray as xr

from xpcs_dask.config import FitConfig
from xpcs_dask.fitting.layout import SCHEMA_VERSION
from xpcs_dask.fitting.models import Floats, Model
from xpcs_dask.fitting.uncertainty import covariance_kind

PACKAGES = ("xpcs-dask", "numpy", "scipy", "numba", "xarray", "dask")
DECIDING = ("xpcs-dask", "numpy", "scipy", "numba")
"""Packages of which another version may give another number; the others only move data."""
CARRIED = ("source_format", "rejected")
"""Attributes of an opened Dataset that belong to its inputs."""


def provenance(data: xr.Dataset, model: Model, config: FitConfig, lower: Floats, upper: Floats) -> dict[str, Any]:
    """Attributes of a result: numbers and texts, records as JSON; the same for the same call, whatever the chunking.

    Name, path, size and content hash of each input file are coordinates along ``file``, the identity of each curve is
    ``curve_id``: they travel with the curves. Unbounded sides of ``bounds`` are null.
    """
    box = {name: [_finite(low), _finite(high)] for name, low, high in zip(model.names, lower, upper, strict=True)}
    found: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "model": model.name,
        "formula": model.formula,
        "config": config.model_dump_json(),
        "bounds": json.dumps(box),
        "covariance_kind": covariance_kind(config),
        "versions": json.dumps(versions()),
        "cpu": cpu_target(),
    }
    return found | {name: str(data.attrs[name]) for name in CARRIED if name in data.attrs}


def fingerprint() -> dict[str, Any]:
    """Return what bits depend on beside settings and inputs: versions that decide (None: not installed), and cpu."""
    found = versions()
    return {"versions": {package: found.get(package) for package in DECIDING}, "cpu": cpu_target()}


@cache
def versions() -> dict[str, str]:
    """Versions of what decides the numbers; packages that are not installed are left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@cache
def cpu_target() -> str:
    """Processor that kernels are compiled for: results have the same bits for the same target only."""
    chosen = os.environ.get("NUMBA_CPU_NAME")
    if chosen:
        return chosen
    try:
        from llvmlite.binding import get_host_cpu_name
    except ImportError:
        return platform.processor() or platform.machine()
    return str(get_host_cpu_name())


def _finite(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None
