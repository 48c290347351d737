"""Frames of partially coherent speckle that decays: what a detector counts, pixel by pixel.

A pixel sees the sum of M independent coherent modes. The field of each is a stationary complex Gaussian process with
correlation exp(-t / tau) (Ornstein-Uhlenbeck, sampled exactly), so that g1 is exponential and the contrast is 1/M
(J. W. Goodman, Speckle Phenomena in Optics, 2007, chapters 3 and 4). Counts are Poisson at the intensity of the frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

Floats: TypeAlias = NDArray[np.float64]

FRAME_STREAM, BEAM_STREAM = 3, 4
"""Streams of the random numbers of speckle and of the beam (curves have others)."""
BLOCK = 64
"""Pixels that are simulated at a time: memory stays small whatever the size of a bin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beam:
    """How steady the incident beam is; common to all pixels and bins of a run."""

    jitter: float = 0.0
    """Relative rms of its fluctuations."""
    jitter_frames: float = 20.0
    """Their correlation time in frames."""
    drift: float = 0.0
    """Relative change from the first frame to the last, about the mean."""

    def intensity(self, frames: int, seed: int, file: int, repeat: int) -> Floats:
        """Return the intensity of each frame relative to the mean, ``(frame,)``."""
        relative = 1.0 + self.drift * np.linspace(-0.5, 0.5, frames)
        if self.jitter:
            noise = _generator(seed, BEAM_STREAM, file, repeat, 0).standard_normal((1, frames))
            relative += self.jitter * _wander(noise, self.jitter_frames)[0]
        return np.maximum(relative, 0.0)


def photon_counts(
    pixels: int, mean: Floats, modes: int, tau: float, *, seed: int, file: int, repeat: int, qbin: int
) -> Iterator[Floats]:
    """Yield blocks of counts ``(pixel, frame)`` of one bin of one run, in float64.

    Parameters
    ----------
    pixels
        Of the bin.
    mean
        Expected counts per pixel in each frame, ``(frame,)``.
    modes
        Coherent modes; the contrast is ``1 / modes``.
    tau
        Relaxation time of g1 in frames.
    seed, file, repeat, qbin
        What the random numbers are keyed by: bins and runs can be made in any order or process.
    """
    random = _generator(seed, FRAME_STREAM, file, repeat, qbin)
    for start in range(0, pixels, BLOCK):
        shape = (min(BLOCK, pixels - start), mean.size)
        intensity = np.zeros(shape, np.float32)
        for _ in range(2 * modes):  # real and imaginary part of each field
            field = _wander(random.standard_normal(shape, np.float32), tau)
            intensity += np.square(field, out=field)
        yield random.poisson(intensity * (mean / (2.0 * modes))).astype(np.float64)


def _wander(noise: NDArray[np.floating], tau: float) -> NDArray[np.floating]:
    """Turn white normals ``(row, frame)`` into Ornstein-Uhlenbeck processes of variance 1, started in equilibrium."""
    memory = np.exp(-1.0 / tau)
    noise[:, 1:] *= noise.dtype.type(np.sqrt(-np.expm1(-2.0 / tau)))
    one = noise.dtype.type(1.0)
    return np.asarray(lfilter([one], np.array([one, -memory], noise.dtype), noise, axis=1))


def _generator(seed: int, stream: int, file: int, repeat: int, qbin: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, stream], counter=[0, repeat, qbin, file]))
