"""Where the fit of a vibration starts: a periodogram of g2, for each shape that the decay may have."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.model_record import Floats, Model

TRIED = 1500
"""Frequencies that are tried."""
KEPT = 4
"""Starts that are kept."""
SHAPES = 12
"""Shapes of the grid with which they are tried."""
APART = 0.05
"""Relative difference of the frequencies of two starts."""
INDEPENDENT = 1e-6
"""Share of an oscillation that must be left when the decay and a constant have taken theirs."""


@dataclass(frozen=True, slots=True)
class VibrationStart:
    """Starts ``(k, p + 2)`` of a model with a vibration.

    A constant, the decay and the oscillating decay are fitted by linear least squares for all frequencies, with the
    shape of the model fitted alone (an oscillation that is weak) and with those of its grid (one that is not).
    """

    model: Model

    def __call__(self, x: Floats, y: Floats, weight: Floats) -> Floats:
        """Return starts from points that count."""
        model = self.model
        assert model.grid is not None
        grid = np.unique(np.clip(model.grid(x), *model.box(x)), axis=0)
        alone = self._alone(x, y, weight)
        found = [] if alone is None else self._best(alone[None], x, y, weight, KEPT // 2)
        return np.array(found + self._best(grid, x, y, weight, KEPT - len(found)))

    def _best(self, shapes: Floats, x: Floats, y: Floats, weight: Floats, count: int) -> list[Floats]:
        """Return the `count` best of these shapes with a vibration, whose frequencies differ."""
        a, b = self.model.index("contrast"), self.model.index("baseline")
        shapes = shapes.copy()
        shapes[:, a], shapes[:, b] = 1.0, 0.0
        decay = np.asarray(self.model.evaluate(x, *shapes.T[..., None]))
        near = _nearest(decay, y, weight**2)
        constant, contrast, wave, cost = _separated(decay[near], y, weight**2, *waves(x.tobytes()))
        tried = frequencies(x)
        found: list[Floats] = []
        order = np.argsort(cost, axis=None, kind="stable")
        for k in order[np.isfinite(cost.flat[order])]:
            i, j = np.unravel_index(k, cost.shape)
            if all(abs(tried[j] - other[-1]) > APART * other[-1] for other in found):
                theta = shapes[near[i]].copy()
                theta[a], theta[b] = contrast[i, j], constant[i, j]
                found.append(np.append(theta, [wave[i, j] / contrast[i, j], tried[j]]))
            if len(found) == count:
                break
        return found

    def _alone(self, x: Floats, y: Floats, weight: Floats) -> Floats | None:
        """Fit of the model without vibration."""
        from xpcs_dask.config import FitConfig
        from xpcs_dask.fitting.layout import Status
        from xpcs_dask.fitting.strategy import fit_stack

        row = fit_stack(x, y[None], weight[None], self.model, FitConfig(), *self.model.box(x))[0]
        return np.asarray(row["value"]) if row["status"] == Status.CONVERGED else None


def _nearest(decay: Floats, y: Floats, w2: Floats) -> NDArray[np.intp]:
    """Which shapes come nearest to the data without a vibration, `SHAPES` of them."""
    centred = decay - (decay @ w2 / w2.sum())[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = (centred @ (w2 * (y - (w2 @ y) / w2.sum()))) ** 2 / ((centred**2) @ w2)
    return np.argsort(-np.nan_to_num(gain), kind="stable")[:SHAPES]


def _separated(decay: Floats, y: Floats, w2: Floats, cosine: Floats, square: Floats) -> tuple[Floats, ...]:
    """Constant, contrast and oscillation ``(shapes, frequencies)`` by least squares, and the sum of squares left.

    The sum is infinite where the oscillation cannot be told from the rest, or is no share of the decay.
    """
    total = w2.sum()
    level = (w2 @ y) / total
    left = y - level
    mean = (decay @ w2 / total)[:, None]
    centred = decay - mean
    size = ((centred**2) @ w2)[:, None]
    alone = ((centred * left) @ w2)[:, None]
    weighted = decay * w2
    middle = weighted @ cosine.T / total
    norm = (weighted * decay) @ square.T - total * middle**2
    shared = ((centred * weighted) @ cosine.T) / size
    data = (weighted * left) @ cosine.T
    rest = norm - shared**2 * size
    with np.errstate(divide="ignore", invalid="ignore"):
        wave = np.where(rest > INDEPENDENT * norm, (data - shared * alone) / rest, np.nan)
        contrast = alone / size - wave * shared
        cost = (w2 @ left**2) - alone**2 / size - wave**2 * rest
        good = (contrast > 0) & (wave > 0) & (wave <= contrast)
    constant = level - contrast * mean - wave * middle
    return constant, contrast, wave, np.where(good & np.isfinite(cost), cost, np.inf)


@lru_cache(maxsize=2)
def waves(x: bytes) -> tuple[Floats, Floats]:
    """Cosines of all frequencies over the delays ``(frequencies, m)``, and their squares."""
    delays = np.frombuffer(x)
    cosine = np.cos(2.0 * np.pi * frequencies(delays)[:, None] * delays)
    return cosine, cosine**2


def frequencies(x: Any) -> Floats:
    """Frequencies, Hz, from a quarter of a period over the delays to the Nyquist frequency of the first of them."""
    delays = np.asarray(x, dtype=np.float64)
    delays = delays[delays > 0]
    return np.geomspace(0.25 / delays.max(), 0.5 / delays.min(), TRIED)
