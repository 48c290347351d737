"""Compiled influence of every cluster (pixel, segment, repeat) of a bin on the fit of the bin's curve."""

from __future__ import annotations

import numpy as np

from xpcs_dask.fitting.kernel.columns import weighted_columns
from xpcs_dask.fitting.kernel.compiled import careful, compiled
from xpcs_dask.fitting.kernel.covariance import invert_free


@careful
def centre(clusters, w, mean, count):
    """Fill mean and number of the finite values at every used delay; returns how many clusters have any."""
    number = 0
    for k in range(mean.size):
        mean[k] = 0.0
        count[k] = 0.0
    for c in range(clusters.shape[0]):
        held = 0
        for k in range(mean.size):
            value = np.float64(clusters[c, k])
            if w[k] > 0.0 and abs(value) < np.inf:
                mean[k] += value
                count[k] += 1.0
                held = 1
        number += held
    for k in range(mean.size):
        mean[k] /= max(count[k], 1.0)
    return number


@careful
def weighted_deviation(cluster, w, mean, count, out):
    """Fill what one cluster adds to the weighted mean curve: zero where it has no value."""
    for k in range(out.size):
        value = np.float64(cluster[k])
        out[k] = w[k] * (value - mean[k]) / count[k] if w[k] > 0.0 and abs(value) < np.inf else 0.0


@compiled
def project(J, deviation, pull):
    """Fill J times the deviation."""
    for a in range(pull.size):
        total = 0.0
        for k in range(deviation.size):
            total += J[a, k] * deviation[k]
        pull[a] = total


@careful
def cluster_influences(u, y, weight, lower, upper, z, clusters, fit_space, influence, number):
    """Fill the first-order change of z (n, p) that each cluster makes, (n, P, p), and the clusters of each curve.

    Parameters of which the normal matrix knows nothing (on a bound, singular) have NaN, held ones 0. `clusters`
    (n, P, m) may be float32; NaN where a cluster has no value. Their sum over clusters is zero.
    """
    n, p = z.shape
    J, r, mean, count, _, H, _, V, L, _, _, root, _, _, _, _, _, _, kept = fit_space
    deviation = np.empty(u.size)
    pull = np.empty(p)
    for i in range(n):
        w = weight[i]
        number[i] = centre(clusters[i], w, mean, count)
        weighted_columns(u, y[i], w, z[i], p, J, r)
        for a in range(p):
            for b in range(p):
                total = 0.0
                for k in range(u.size):
                    total += J[a, k] * J[b, k]
                H[a, b] = total
        invert_free(H, z[i], lower, upper, p, kept, root, L, V)
        for c in range(clusters.shape[1]):
            weighted_deviation(clusters[i, c], w, mean, count, deviation)
            project(J, deviation, pull)
            for a in range(p):
                moved = V[a, a] * pull[a]
                for b in range(p):
                    if b != a and V[a, b] == V[a, b]:
                        moved += V[a, b] * pull[b]
                influence[i, c, a] = moved
