"""Compiled fits with one parameter held, many at a time: the points of profile likelihoods."""

from __future__ import annotations

import numpy as np

from xpcs_dask.fitting.kernel.apart import empty_apart
from xpcs_dask.fitting.kernel.compiled import compiled
from xpcs_dask.fitting.kernel.losses import LINEAR
from xpcs_dask.fitting.kernel.newton import confirm
from xpcs_dask.fitting.kernel.single import load_curve


@compiled
def fit_held(u, y, weight, lower, upper, curve, held, value, z, chi2, space):
    """Minimise chi2 of y[curve[i]] from z[i] (changed in place) with parameter held[i] at value[i]; writes chi2[i].

    The start is near the minimum: the solution of a neighbouring value.
    """
    p = z.shape[1]
    shifted = empty_apart(u.size)
    w = empty_apart(u.size)
    low = np.empty(p)
    high = np.empty(p)
    for i in range(curve.size):
        _, scale, mean, _ = load_curve(y[curve[i]], weight[curve[i]], shifted, w)
        zi = z[i]
        zi[held[i]] = value[i]
        zi[3] -= mean
        for k in range(p):
            shift = mean if k == 3 else 0.0
            low[k] = lower[k] - shift
            high[k] = upper[k] - shift
            if k == held[i]:
                low[k] = zi[k]
                high[k] = zi[k]
        cost, _, _ = confirm(u, shifted, w, mean, zi, p, low, high, LINEAR, 1.0, space)
        chi2[i] = cost * scale
        zi[3] += mean
