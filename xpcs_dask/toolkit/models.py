"""The functions that the Toolkit fits, as functions of their own; delays and relaxation times in s."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from xpcs_dask.fitting.models import DOUBLE, SIMPLE, SINGLE

__all__ = ["double_exp", "double_exp_all", "power_law", "single_exp", "single_exp_all"]


def single_exp(x: ArrayLike, tau: Any, bkg: Any, cts: Any) -> Any:
    """Evaluate ``cts * exp(-2 x / tau) + bkg``; `tau` is a time, not a rate."""
    return SIMPLE.evaluate(np.asarray(x), cts, tau, bkg)


def double_exp(x: ArrayLike, tau1: Any, bkg: Any, cts1: Any, tau2: Any, cts2: Any) -> Any:
    """Evaluate ``cts1 * exp(-2 x / tau1) + cts2 * exp(-2 x / tau2) + bkg``.

    A sum of intensities: unlike `double_exp_all` it does not obey the Siegert relation.
    """
    return SIMPLE.evaluate(np.asarray(x), cts1, tau1, 0.0) + SIMPLE.evaluate(np.asarray(x), cts2, tau2, bkg)


def single_exp_all(x: ArrayLike, a: Any, b: Any, c: Any, d: Any) -> Any:
    """Evaluate ``a * exp(-2 (x / b)**c) + d``: contrast, relaxation time, stretch, baseline."""
    return SINGLE.evaluate(np.asarray(x), a, b, c, d)


def double_exp_all(x: ArrayLike, a: Any, b1: Any, c1: Any, d: Any, b2: Any, c2: Any, f: Any) -> Any:
    """Evaluate ``a * (f * exp(-(x / b1)**c1) + (1 - f) * exp(-(x / b2)**c2))**2 + d``.

    The field is a sum of two decays, `f` the share of the first; the intensity is its square.
    """
    return DOUBLE.evaluate(np.asarray(x), a, b1, c1, d, b2, c2, f)


def power_law(x: ArrayLike, a: Any, b: Any) -> Any:
    """Evaluate ``a * x**b``, as for a relaxation time over q."""
    return a * np.asarray(x) ** b
