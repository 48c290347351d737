"""Simulated experiments from the frames up: speckle, photons, multi-tau correlation, q bins, with the truth beside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from xpcs_dask.errors import ConfigError
from xpcs_dask.simulate.correlator import Normalization, bin_g2, correlate, pixel_g2
from xpcs_dask.simulate.curves import acquisition, bins_of, spread
from xpcs_dask.simulate.dataset import Truth, dataset
from xpcs_dask.simulate.frames import Beam, photon_counts
from xpcs_dask.simulate.multitau import Schedule, schedule

Floats: TypeAlias = NDArray[np.float64]


def speckle(
    n_files: int = 1,
    q: ArrayLike | None = None,
    phi: ArrayLike | None = None,
    *,
    modes: int = 4,
    frames: int = 4096,
    frame_time: float = 1e-3,
    diffusion: ArrayLike = 4e5,
    pixels: ArrayLike = 64,
    counts: ArrayLike = 0.5,
    jitter: float = 0.0,
    jitter_frames: float = 20.0,
    drift: float = 0.0,
    normalization: Normalization = "pooled",
    repeats: int = 1,
    segments: int = 1,
    clusters: bool = False,
    first_file: int = 0,
    qbin: Sequence[int] | None = None,
    seed: int = 0,
) -> xr.Dataset:
    r"""Simulate experiments on partially coherent speckle of diffusing particles, frame by frame.

    The truth is ``simple``: g2 = 1 + exp(-2 t / tau) / modes with :math:`\tau = 1/(D q^2)`; intensities are those at
    the time of each frame (no exposure blur). Noise, its correlation between delays, the bias of finite runs and the
    errors that a producer quotes all follow from the frames. One experiment of 64 pixels and 4,096 frames takes about
    0.07 s.

    Parameters
    ----------
    n_files
        Experiments; number k of many equals number 0 of ``first_file=k``.
    q, phi
        Wavevector (1/angstrom) and azimuth (degree) of each bin, ``(qbin,)``. Default: one bin at 0.01.
    modes
        Coherent modes; the contrast is ``1 / modes``.
    frames, frame_time
        Frames of a run and s between them.
    diffusion, pixels, counts
        Diffusion coefficient (angstrom^2/s), pixels of a bin, mean counts per pixel and frame; they broadcast to
        ``(file, qbin)``, `pixels` to ``(qbin,)``.
    jitter, jitter_frames, drift
        Of the beam: relative rms of fluctuations common to all pixels, their correlation time in frames, and the
        relative change over the run.
    normalization
        ``"pooled"``: boost-corr's mean(G2) / (mean(IP) mean(IF)); ``"pixel"``: mean of the pixels' own g2.
    repeats
        Independent runs of the same experiment; more than one adds the dimension ``repeat``.
    segments
        Equal parts in time that are correlated alone too: ``g2_segment``, ``g2_segment_err (…, segment, qbin, delay)``,
        NaN at delays that a part does not reach.
    clusters
        Keep the g2 of each pixel: ``g2_cluster (…, qbin, cluster, delay)``, NaN for missing and dark pixels.
    first_file, qbin, seed
        Identity of the first experiment and of the bins (default 1, 2, ...): what random numbers are keyed by. The bits
        depend on nothing else, except on NumPy's samplers.

    Returns
    -------
    xarray.Dataset
        As `xpcs_dask.simulate.curves` gives it, with the variables named above. In memory, eager.

    Raises
    ------
    ConfigError
        For shapes that do not broadcast or values that mean nothing.
    """
    bins = bins_of(0.01 if q is None else q, phi, qbin)
    shape = (n_files, bins.q.size)
    values = {"diffusion": diffusion, "pixels": pixels, "counts": counts}
    table = {name: spread(name, value, shape) for name, value in values.items()}
    beam = Beam(jitter=jitter, jitter_frames=jitter_frames, drift=drift)
    _check(modes, repeats, segments, normalization, beam)
    taken = acquisition(frames, frame_time, 1, 1)
    tau = 1.0 / (table["diffusion"] * bins.q**2)
    value = np.stack([np.full(shape, 1.0 / modes), tau, np.ones(shape)], axis=-1)
    truth = Truth(model="simple", value=value, **(table | {"pixels": np.rint(table["pixels"])}))
    plan = schedule(frames)
    lab = _Lab(
        beam=beam, frames=frames, modes=modes, normalization=normalization, clusters=clusters, seed=seed,
        plan=plan, segments=segments, part=schedule(frames // segments),
    )  # fmt: skip
    runs = []
    for repeat in range(repeats):
        found = lab.run(truth, tau / frame_time, bins.label, first_file, repeat)
        g2, err = found.pop("g2"), found.pop("g2_err")
        run = dataset(g2, err, plan=plan, taken=taken, truth=truth, bins=bins, first_file=first_file, seed=seed)
        runs.append(run.assign({name: _variable(name, array) for name, array in found.items()}))
    return runs[0] if repeats == 1 else _joined(runs)


EXTRA = {
    "g2_cluster": (("file", "qbin", "cluster", "delay"), "intensity correlation of each pixel"),
    "g2_segment": (("file", "segment", "qbin", "delay"), "intensity correlation of equal parts of the run"),
    "g2_segment_err": (("file", "segment", "qbin", "delay"), "quoted standard error of g2_segment"),
}
"""Dimensions and long names of what is returned when asked for."""


def _variable(name: str, values: Floats) -> xr.Variable:
    dims, text = EXTRA[name]
    return xr.Variable(dims, values.astype(np.float32), {"long_name": text, "units": "1"})


def _joined(runs: list[xr.Dataset]) -> xr.Dataset:
    """Put repeats side by side: what was measured gets the dimension, what they share does not."""
    measured = [name for name in ("g2", "g2_err", *EXTRA) if name in runs[0]]
    together = xr.concat(runs, "repeat", data_vars=measured, coords=["curve_id"], compat="equals", join="exact")
    return together.transpose("file", "repeat", ...)


def _check(modes: int, repeats: int, segments: int, normalization: str, beam: Beam) -> None:
    for name, number in (("modes", modes), ("repeats", repeats), ("segments", segments)):
        if number < 1:
            raise ConfigError(f"{name} is {number}; it must be at least 1")
    if normalization not in ("pooled", "pixel"):
        raise ConfigError(f"unknown normalization '{normalization}'; known are pooled, pixel")
    if not (beam.jitter >= 0 and beam.jitter_frames > 0):
        raise ConfigError(f"jitter {beam.jitter:g} must not be negative, jitter_frames {beam.jitter_frames:g} above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lab:
    """How every run of one simulation is made and correlated."""

    beam: Beam
    frames: int
    modes: int
    normalization: Normalization
    clusters: bool
    seed: int
    plan: Schedule
    segments: int
    part: Schedule
    """Delays of one segment."""

    def run(
        self, truth: Truth, tau: Floats, labels: NDArray[np.int64], first_file: int, repeat: int
    ) -> dict[str, Floats]:
        """Return g2 and what else is asked for, ``(file, …, qbin, …, delay)``; tau in frames."""
        shape, size = tau.shape, self.plan.delay.size
        out = {"g2": np.empty((*shape, size)), "g2_err": np.empty((*shape, size))}
        if self.clusters:
            out["g2_cluster"] = np.full((*shape, int(truth.pixels.max()), size), np.nan)
        if self.segments > 1:
            for name in ("g2_segment", "g2_segment_err"):
                out[name] = np.full((shape[0], self.segments, shape[1], size), np.nan)
        for k in range(shape[0]):
            light = self.beam.intensity(self.frames, self.seed, first_file + k, repeat)
            for j, label in enumerate(labels):
                number = int(truth.pixels[k, j])
                key = {"seed": self.seed, "file": first_file + k, "repeat": repeat, "qbin": int(label)}
                blocks = photon_counts(number, truth.counts[k, j] * light, self.modes, float(tau[k, j]), **key)
                whole, parts = self._correlate(blocks)
                out["g2"][k, j], out["g2_err"][k, j] = bin_g2(whole, self.normalization)
                if self.clusters:
                    out["g2_cluster"][k, j, :number] = pixel_g2(whole)
                for s, sums in enumerate(parts):
                    reached = slice(0, self.part.delay.size)
                    found = bin_g2(sums, self.normalization)
                    out["g2_segment"][k, s, j, reached], out["g2_segment_err"][k, s, j, reached] = found
        return out

    def _correlate(self, blocks: Iterable[Floats]) -> tuple[Floats, list[Floats]]:
        """Return the sums of the whole run and of its segments, each ``(3, pixel, delay)``."""
        length = self.frames // self.segments
        whole: list[Floats] = []
        parts: list[list[Floats]] = [[] for _ in range(self.segments)] if self.segments > 1 else []
        for counts in blocks:
            whole.append(correlate(counts, self.plan))
            for s, part in enumerate(parts):
                part.append(correlate(counts[:, s * length : (s + 1) * length], self.part))
        return np.concatenate(whole, axis=1), [np.concatenate(part, axis=1) for part in parts]
