r"""What the models of g2 have in common: contrast, baseline, relaxation times, and the Siegert relation.

Conventions (they differ between tools, so they are part of each record's ``formula``): :math:`g_2 = \text{baseline} +
\text{contrast}\,h(t)` with :math:`h = |g_1|^2` and :math:`h(0) = 1`; relaxation times are those of :math:`g_1`, hence
the factor 2 in :math:`h = \exp[-2 (t/\tau)^p]`. Delays and relaxation times are in s, rates :math:`q v` in 1/s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from xpcs_dask.fitting.model_record import Floats, Parameter

CONTRAST = Parameter(name="contrast", lower=0.0, upper=1.0, description="amplitude of the decay (speckle contrast)")
BASELINE = Parameter(name="baseline", lower=0.5, upper=1.5, description="g2 at infinite delay")
HELD_BASELINE = Parameter(
    name="baseline", lower=1.0, upper=1.0, description="g2 at infinite delay were the sample ergodic"
)
"""A plateau, the baseline and the contrast cannot all be told from one curve."""

TIMES = 24
"""Relaxation times of a grid of starts."""


def tau(name: str = "tau", what: str = "relaxation time of g1") -> Parameter:
    """Relaxation time, s."""
    return Parameter(name=name, unit="s", lower=0.1, upper=10.0, relaxation_time=True, description=what)


def stretch(name: str = "stretch", what: str = "Kohlrausch exponent of g1", **changes: Any) -> Parameter:
    """Exponent of the delay."""
    return Parameter(**{"name": name, "lower": 0.1, "upper": 3.0, "description": what, **changes})


@dataclass(frozen=True, slots=True)
class Siegert:
    """``baseline + contrast * decay(x, *shape)``; parameters are contrast, those of the shape, baseline."""

    decay: Callable[..., Any]

    def __call__(self, x: Any, contrast: Any, *others: Any) -> Any:
        """Evaluate at delays."""
        *shape, baseline = others
        return baseline + contrast * self.decay(x, *shape)


@dataclass(frozen=True, slots=True)
class SiegertSlopes:
    """Derivatives ``(..., m, p)`` of a `Siegert`, where `slopes` returns the decay and its derivatives by the shape."""

    slopes: Callable[..., tuple[Any, ...]]

    def __call__(self, x: Any, contrast: Any, *others: Any) -> Floats:
        """Evaluate at delays."""
        decay, *by_shape = self.slopes(x, *others[:-1])
        columns = [decay, *(contrast * column for column in by_shape), np.ones_like(x)]
        return np.stack(np.broadcast_arrays(*columns), axis=-1).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Grid:
    """Shapes of a decay from which contrast and baseline are solved: relaxation times over the delays, and `choices`.

    A choice is the values of one more parameter, in the order of the model.
    """

    choices: tuple[tuple[float, ...], ...] = ()
    times: int = TIMES

    def __call__(self, x: Floats) -> Floats:
        """Return shapes (k, p) for delays."""
        rows = [(1.0, *shape, 0.0) for shape in product(times_over(x, self.times), *self.choices)]
        return np.array(rows, dtype=np.float64)


def times_over(x: Any, count: int) -> Floats:
    """Relaxation times that cover the delays evenly in logarithm."""
    delays = np.asarray(x, dtype=np.float64)
    positive = delays[np.isfinite(delays) & (delays > 0)]
    if not positive.size:
        return np.ones(1)
    return np.geomspace(positive.min(), positive.max(), count if positive.max() > positive.min() else 1)
