"""Files with the sums of every pixel, from simulated speckle or from plain random numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from xpcs_dask.simulate.correlator import correlate
from xpcs_dask.simulate.frames import photon_counts
from xpcs_dask.simulate.multitau import schedule

FRAME_TIME = 1e-3
DIFFUSION = 2e5
"""angstrom^2/s"""
MODES = 4


@dataclass
class PixelFile:
    """A file, and what was written into it."""

    path: Path
    sums: np.ndarray
    """(delay, 3, row, column) float32; 0 where masked."""
    dynamic: np.ndarray
    static: np.ndarray
    q: np.ndarray
    mean: np.ndarray
    """(row, column) mean counts per frame."""

    def pooled(self, inside: np.ndarray, parts: np.ndarray | None = None) -> np.ndarray:
        """(delay,) g2 of the pixels `inside`, by hand: mean over `parts` of ratios of means."""
        parts = np.zeros(inside.shape, int) if parts is None else parts
        sums, names = self.sums.astype(np.float64), np.unique(parts[inside])
        means = [sums[:, :, inside & (parts == name)].mean(axis=-1) for name in names]
        return np.mean([m[:, 0] / (m[:, 1] * m[:, 2]) for m in means], axis=0)


def rings(shape: tuple[int, int], number: int) -> np.ndarray:
    """Rings about a corner, from 1; the corner itself and some rows are masked."""
    row, column = np.indices(shape)
    radius = np.hypot(row, column)
    labels = 1 + ((radius - 3) * number // (radius.max() - 3 + 1e-9)).astype(int)
    return np.where((radius < 3) | (row == shape[0] // 2), 0, np.clip(labels, 1, number))


def speckle_file(
    path: Path,
    *,
    shape: tuple[int, int] = (16, 20),
    bins: int = 3,
    frames: int = 128,
    seed: int = 0,
    chunks: Any = "frame",
    changed: dict[str, Any] | None = None,
) -> PixelFile:
    """Correlate simulated speckle pixel by pixel and store the sums as boost-corr does."""
    dynamic = rings(shape, bins)
    static = np.where(dynamic > 0, rings(shape, 3 * bins), 0)
    static = np.unique(static, return_inverse=True)[1].reshape(shape)  # without gaps
    q = 0.004 * np.arange(1, bins + 1)
    plan = schedule(frames)
    sums = np.zeros((plan.delay.size, 3, *shape), np.float32)
    mean = np.zeros(shape)
    for k in range(bins):
        tau = 1 / (DIFFUSION * q[k] ** 2) / FRAME_TIME
        inside = dynamic == k + 1
        blocks = photon_counts(
            int(inside.sum()), np.full(frames, 2.0 / (k + 1)), MODES, tau, seed=seed, file=0, repeat=0, qbin=k + 1
        )
        counts = np.concatenate(list(blocks))
        sums[:, :, inside] = correlate(counts, plan).transpose(2, 0, 1)
        mean[inside] = counts.mean(axis=1)
    truth = PixelFile(path, sums, dynamic, static, q, mean)
    write(truth, plan.delay, frames, chunks, changed or {})
    return truth


def write(made: PixelFile, delay: np.ndarray, frames: int, chunks: Any, changed: dict[str, Any]) -> None:
    """Write what a reader asks for."""
    bins, statics = made.q.size, int(made.static.max())
    g2 = np.stack([made.pooled(made.dynamic == k + 1, made.static) for k in range(bins)], axis=1).astype("f4")
    fine = [made.mean[made.static == k + 1].mean() for k in range(statics)]
    contents = {
        "xpcs/multitau/delay_list": delay,
        "xpcs/multitau/normalized_g2": g2,
        "xpcs/multitau/normalized_g2_err": np.full_like(g2, 0.01),
        "xpcs/multitau/unnormalized_G2": made.sums,
        "xpcs/qmap/map_names": [b"q", b"phi"],
        "xpcs/qmap/map_units": ["Å⁻¹".encode(), b"deg"],
        "xpcs/qmap/dynamic_num_pts": np.array([bins, 1]),
        "xpcs/qmap/dynamic_index_mapping": np.arange(bins, dtype="u1"),
        "xpcs/qmap/dynamic_v_list_dim0": made.q,
        "xpcs/qmap/dynamic_v_list_dim1": np.array([0.5]),
        "xpcs/qmap/dynamic_roi_map": made.dynamic.astype("u1"),
        "xpcs/qmap/static_roi_map": made.static.astype("u2"),
        "xpcs/temporal_mean/scattering_1d": np.array(fine, "f4")[None],
        "xpcs/temporal_mean/scattering_2d": made.mean.astype("f4")[None],
        "xpcs/spatial_mean/intensity_vs_time": np.ones((2, frames), "f4"),
        "entry/instrument/detector_1/frame_time": FRAME_TIME,
        "entry/start_time": b"2026-01-02 03:04:05.5",
        **changed,
    }
    whole = (1, 1, *made.sums.shape[2:]) if chunks == "frame" else chunks
    with h5py.File(made.path, "w") as file:
        for name, value in contents.items():
            packed = {"chunks": whole, "compression": "lzf"} if "unnormalized" in name and whole else {}
            if value is not None:
                file.create_dataset(name, data=value, **packed)


def large_file(path: Path, shape: tuple[int, int], delays: int, bins: int = 36, seed: int = 0) -> Path:
    """Write sums of random numbers, the same at each delay: 12 bytes x delays x pixels, unpacked."""
    dynamic = rings(shape, bins)
    static = np.where(dynamic > 0, rings(shape, 5 * bins), 0)
    static = np.unique(static, return_inverse=True)[1].reshape(shape)
    rng = np.random.default_rng(seed)
    base = np.where(dynamic > 0, 1 + 0.1 * rng.random(shape), 0).astype("f4")
    frames, delay = 2 * delays, np.arange(1, delays + 1)
    small = PixelFile(path, np.ones((delays, 3, 1, 1), "f4"), dynamic, static, 1e-3 * np.arange(1, bins + 1), base)
    small.pooled = lambda *_: np.ones(delays)  # type: ignore[method-assign]
    write(small, delay, frames, None, {"xpcs/multitau/unnormalized_G2": None})
    with h5py.File(path, "r+") as file:
        sums = file.create_dataset(
            "xpcs/multitau/unnormalized_G2", (delays, 3, *shape), "f4", chunks=(1, 1, *shape), compression="lzf"
        )
        for part in range(3):
            sums[0, part] = np.where(dynamic > 0, np.roll(base, part), 0)
            mask, packed = sums.id.read_direct_chunk((0, part, 0, 0))
            for k in range(1, delays):
                sums.id.write_direct_chunk((k, part, 0, 0), packed, mask)
    return path
