"""Compiled covariances: the inverse of the normal matrix, and the sandwich of a robust loss."""

from __future__ import annotations

import math

import numpy as np

from xpcs_dask.fitting.kernel.compiled import careful, compiled
from xpcs_dask.fitting.kernel.table import SINGULAR


@careful
def invert_free(H, z, lower, upper, p, kept, root, L, V):
    """Inverse of H over the parameters that are free and not on a bound; NaN for the others, 0 for held ones.

    Works on the matrix scaled to unit diagonal. A parameter without effect is NaN; where the rest is singular, all are.
    """
    for k in range(p):
        on_bound = z[k] <= lower[k] or z[k] >= upper[k]
        kept[k] = 1 if (upper[k] > lower[k] and not on_bound and H[k, k] > 0.0) else 0
    for k in range(p):
        root[k] = 1.0 / math.sqrt(H[k, k]) if kept[k] else 0.0
    singular = False
    for i in range(p):
        for j in range(i + 1):
            t = H[i, j] * root[i] * root[j] if i != j else float(kept[i])
            for k in range(j):
                t -= L[i, k] * L[j, k]
            if i != j:
                L[i, j] = t * L[j, j]
            elif kept[i]:
                singular = singular or t < SINGULAR
                L[i, i] = 1.0 / math.sqrt(max(t, SINGULAR))
            else:
                L[i, i] = 0.0
    for j in range(p):  # the inverse factor, in place: columns of the unknown times the reciprocal diagonal
        for i in range(j + 1, p):
            t = L[i, j] * L[j, j]
            for k in range(j + 1, i):
                t += L[i, k] * L[k, j]
            L[i, j] = -t * L[i, i]
    for i in range(p):
        for j in range(i + 1):
            t = 0.0
            for k in range(i, p):
                t += L[k, i] * L[k, j]
            t *= root[i] * root[j]
            if singular or not (kept[i] and kept[j]):
                t = 0.0 if lower[i] >= upper[i] or lower[j] >= upper[j] else np.nan
            V[i, j] = t
            V[j, i] = t
    return singular


@compiled
def sandwich_middle(J, r, first, second, p, H, B):
    """Fill ``H = sum h J J'``, curvatures negative where they are, and ``B = sum (rho' r)^2 J J'``."""
    for k in range(p):
        for j in range(p):
            h = 0.0
            b = 0.0
            for i in range(r.size):
                c = J[k, i] * J[j, i]
                pull = first[i] * r[i]
                h += second[i] * c
                b += pull * pull * c
            H[k, j] = h
            B[k, j] = b


@careful
def multiply_sandwich(V, B, p, used, fitted, T):
    """Replace V by ``V B V * used / (used - fitted)``; rows that are NaN or held stay as they are."""
    for i in range(p):
        for j in range(p):
            total = 0.0
            for k in range(p):
                if V[i, k] == V[i, k]:
                    total += V[i, k] * B[k, j]
            T[i, j] = total
    share = used / (used - fitted) if used > fitted else np.nan
    for i in range(p):
        for j in range(i + 1):
            total = 0.0
            for k in range(p):
                if V[k, j] == V[k, j]:
                    total += T[i, k] * V[k, j]
            if V[i, j] == V[i, j]:
                B[i, j] = total * share
            else:
                B[i, j] = np.nan
    for i in range(p):
        for j in range(i + 1):
            V[i, j] = B[i, j]
            V[j, i] = B[i, j]
