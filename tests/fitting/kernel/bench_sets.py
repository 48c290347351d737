"""Seeded sets of synthetic multi-tau g2 curves with known truth, for quality tests and benchmarks.

64 delays from 10 us to 10 s, 50 q per sample. A sample has one diffusion coefficient, contrast and stretch; the noise
falls with the width of the multi-tau bins to a floor and rises slightly at the last delays, where few products are
left. The two rates of a double curve are 10 to 300 apart. The same seed gives the same numbers, whatever the machine.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.models import DOUBLE, SINGLE, Model

Floats = NDArray[np.float64]

N_Q = 50
SINGLE_BOX = np.array([0.0, 1e-6, 0.2, 0.9]), np.array([1.0, 1e2, 3.0, 1.1])
"""Bounds of contrast, tau, stretch, baseline."""
DOUBLE_BOX = np.array([0.0, 1e-6, 0.2, 0.9, 1e-6, 0.2, 0.0]), np.array([1.0, 1e2, 3.0, 1.1, 1e2, 3.0, 1.0])
"""Bounds of contrast, tau1, stretch1, baseline, tau2, stretch2, fraction."""


class BenchSet(NamedTuple):
    """Curves of one model, their errors and their truth."""

    model: Model
    x: Floats
    """Delays ``(m,)`` in s."""
    y: Floats
    sigma: Floats
    truth: Floats
    """Parameters ``(n, p)``."""
    lower: Floats
    upper: Floats

    @property
    def weight(self) -> Floats:
        """1 / sigma."""
        return 1.0 / self.sigma

    def chi2(self, parameters: Floats) -> Floats:
        """Weighted sum of squares ``(n,)`` of parameters ``(n, p)``."""
        fit = self.model.evaluate(self.x, *parameters.T[..., None])
        return np.sum(((self.y - fit) / self.sigma) ** 2, axis=1)


def single_set(n: int, seed: int = 0, m: int = 64) -> BenchSet:
    """Curves of one stretched exponential."""
    rng = np.random.default_rng(seed)
    x = np.logspace(-5, 1, m)
    contrast, tau, stretch, baseline = _samples(rng, n)
    return _measure(rng, SINGLE, x, np.stack([contrast, tau, stretch, baseline], axis=1), *SINGLE_BOX)


def double_set(n: int, seed: int = 0, m: int = 64) -> BenchSet:
    """Curves of two stretched exponentials, the second one with the relaxation time of the single set."""
    rng = np.random.default_rng(seed)
    x = np.logspace(-5, 1, m)
    contrast, slow, stretch1, baseline = _samples(rng, n)
    separation = 10 ** rng.uniform(1.0, 2.5, n)
    fraction = rng.uniform(0.25, 0.75, n)
    stretch2 = rng.uniform(0.6, 1.6, n)
    truth = np.stack([contrast, slow / separation, stretch1, baseline, slow, stretch2, fraction], axis=1)
    return _measure(rng, DOUBLE, x, truth, *DOUBLE_BOX)


def with_outliers(data: BenchSet) -> BenchSet:
    """Put five percent of the points 5 to 20 sigma off."""
    rng = np.random.default_rng(1)
    hit = rng.random(data.y.shape) < 0.05
    jump = data.sigma * rng.uniform(5, 20, data.y.shape) * rng.choice([-1, 1], data.y.shape)
    return data._replace(y=data.y + hit * jump)


def _samples(rng: np.random.Generator, n: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Contrast, relaxation time, stretch and baseline of n curves, `N_Q` of each sample."""
    n_samples = -(-n // N_Q)

    def each_curve(per_sample: Floats) -> Floats:
        return np.repeat(per_sample, N_Q)[:n]

    diffusion = each_curve(10 ** rng.uniform(4, 6.5, n_samples))  # angstrom^2 / s
    q = np.tile(np.geomspace(0.003, 0.1, N_Q), n_samples)[:n]  # 1 / angstrom
    tau = 1.0 / (diffusion * q**2) * np.exp(rng.normal(0, 0.05, n))
    contrast = each_curve(rng.uniform(0.05, 0.4, n_samples)) * rng.uniform(0.9, 1.1, n)
    stretch = np.clip(each_curve(rng.uniform(0.6, 1.6, n_samples)) + rng.normal(0, 0.03, n), 0.6, 1.6)
    return contrast, tau, stretch, 1 + rng.normal(0, 0.005, n)


def _measure(
    rng: np.random.Generator, model: Model, x: Floats, truth: Floats, lower: Floats, upper: Floats
) -> BenchSet:
    """Add noise to the true curves; the errors are those the noise is drawn with."""
    n = len(truth)
    level = 10 ** rng.uniform(-3.0, -1.7, n)  # sigma at the first delay
    shape = np.sqrt((x[0] / x) ** 0.8 + 1e-3 + 2e-4 * (x / x[-1]))
    sigma = level[:, None] * shape * np.exp(rng.normal(0, 0.1, (n, x.size)))
    y = model.evaluate(x, *truth.T[..., None]) + sigma * rng.standard_normal((n, x.size))
    return BenchSet(model, x, y, sigma, truth, lower, upper)
