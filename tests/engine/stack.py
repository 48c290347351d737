"""Datasets of noisy stretched exponentials with known truth, made with NumPy alone."""

from __future__ import annotations

import numpy as np
import xarray as xr


def stack(files: int = 3, bins: int = 4, delays: int = 32, *, seed: int = 1, dtype: str = "float32") -> xr.Dataset:
    """As `open_g2` returns it: g2 and g2_err (file, qbin, delay), what weights need, and names for every curve."""
    rng = np.random.default_rng(seed)
    delay = np.geomspace(1e-4, 10.0, delays)
    q = np.geomspace(0.003, 0.03, bins)
    contrast = rng.uniform(0.1, 0.3, (files, bins, 1))
    tau = 1e-6 / q[:, None] ** 2 * rng.uniform(0.8, 1.25, (files, bins, 1))
    clean = 1.0 + contrast * np.exp(-2.0 * (delay / tau) ** 0.9)
    error = 1e-3 * np.sqrt(1e-2 + delay[0] / delay) * np.ones_like(clean)
    g2 = clean + error * rng.standard_normal(clean.shape)
    products = np.tile(np.maximum(np.rint(10.0 / delay), 1.0), (files, 1))
    truth = np.concatenate([contrast, tau, np.full_like(tau, 0.9), np.ones_like(tau)], axis=-1)
    return xr.Dataset(
        {
            "g2": (("file", "qbin", "delay"), g2.astype(dtype)),
            "g2_err": (("file", "qbin", "delay"), error.astype(dtype)),
        },
        {
            "delay": ("delay", delay, {"units": "s"}),
            "q": ("qbin", q, {"units": "1/angstrom", "long_name": "wavevector"}),
            "phi": ("qbin", np.zeros(bins), {"units": "degree"}),
            "qbin": np.arange(1, bins + 1),
            "file": np.array([f"run{k:03d}.hdf" for k in range(files)]),
            "content_hash": ("file", rng.integers(0, 2**64, files, dtype=np.uint64)),
            "curve_id": (("file", "qbin"), rng.integers(0, 2**64, (files, bins), dtype=np.uint64)),
            "n_products": (("file", "delay"), products),
            "truth": (("file", "qbin", "parameter"), truth),
        },
    )
