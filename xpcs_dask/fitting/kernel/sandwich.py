"""Compiled covariances of a least-squares fit that do not believe in independent errors of stated size.

Both are sandwiches ``V M V`` around the inverse normal matrix V. HC3 takes M from the residuals, delay by delay. Theory
takes it from what the fitted decay says of the noise: speckle that is correlated between delays, and photon counting.
"""

from __future__ import annotations

import math

from xpcs_dask.fitting.kernel.columns import SINGLE_SIZE, weighted_columns
from xpcs_dask.fitting.kernel.compiled import careful, compiled
from xpcs_dask.fitting.kernel.covariance import invert_free, multiply_sandwich
from xpcs_dask.fitting.kernel.exp import near_exp

HC3, THEORY, FAILED = 1, 2, 0
"""What a covariance came to be."""


@compiled
def decay(log_time, z, out):
    """Fill the squared field correlation at times whose logarithms are given, of a fit z of either family."""
    if z.size == SINGLE_SIZE:
        for i in range(out.size):
            out[i] = near_exp(-2.0 * near_exp(z[2] * (log_time[i] - z[1])))
        return
    f = z[6]
    for i in range(out.size):
        g1 = f * near_exp(-near_exp(z[2] * (log_time[i] - z[1])))
        g1 += (1.0 - f) * near_exp(-near_exp(z[5] * (log_time[i] - z[4])))
        out[i] = g1 * g1


@compiled
def _dot(a, b):
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@careful
def overlaps(z, table, space):
    """Fill decay and overlap integral at every lag, and the mean decay over one channel; returns the integral of it.

    `table` and `space` are those of `fitting.theory`: one array of times, cut where the sizes say.
    """
    log_time, sizes, node_weight, half_weight, place, share, inside_weight = table
    e, s_lag, s_time, mean_inside = space
    decay(log_time, z, e)
    lags, nodes, times, halves, inside = sizes
    first = lags + nodes
    e_node = e[lags:first]
    for i in range(nodes):
        e_node[i] *= node_weight[i]
    far, back = first, first + times * nodes
    ahead = back + times * halves
    for i in range(times):
        tail = _dot(e_node, e[far + i * nodes : far + (i + 1) * nodes])
        nearer, further = (
            e[back + i * halves : back + (i + 1) * halves],
            e[ahead + i * halves : ahead + (i + 1) * halves],
        )
        s_time[i] = 2.0 * (tail + _dot3(half_weight[i], nearer, further))
    for i in range(lags):
        k = place[i]
        s_lag[i] = s_time[k] + share[i] * (s_time[k + 1] - s_time[k])
    within = ahead + times * halves
    for i in range(mean_inside.size):
        mean_inside[i] = _dot(inside_weight, e[within + i * inside : within + (i + 1) * inside])
    total = 0.0
    for i in range(nodes):
        total += e_node[i]
    return total


@compiled
def _dot3(a, b, c):
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i] * c[i]
    return total


@compiled
def covariance_row(j, use, near, apart, length, e_lag, s_lag, speckle, mixed, row):
    """Fill the covariance of delay j with all used ones, but for what only the diagonal has.

    `speckle` is the squared contrast, `mixed` twice the contrast over the counts; `use` scales the columns.
    """
    for k in range(row.size):
        both = speckle * (s_lag[near[j, k]] + s_lag[apart[j, k]]) + mixed * (e_lag[near[j, k]] + e_lag[apart[j, k]])
        row[k] = use[k] * both / max(length[j], length[k])


@careful
def inverse_deviations(
    w, speckle, mixed, counts, length, width, apart, level, e_lag, s_lag, s_zero, mean, use
):  # fmt: skip
    """Fill `use` with one over the standard deviation of every used point, 0 at others. False if there is none."""
    for k in range(w.size):
        use[k] = 0.0
        if w[k] > 0.0:
            at = level[k]
            own = speckle * (s_zero * mean[at] + s_lag[apart[k, k]]) + mixed * (mean[at] + e_lag[apart[k, k]])
            own = own / length[k] + 1.0 / (counts * counts * length[k] * width[k])
            if not own > 0.0:
                return False
            use[k] = 1.0 / math.sqrt(own)
    return True


@careful
def _theory_meat(J, w, contrast, counts, length, width, near, apart, level, e_lag, s_lag, s_zero, mean, p, row, use, M):
    """Fill M = J' R J with the correlation of the noise from theory; J is in units of sigma. False if it fails."""
    speckle, mixed = contrast * contrast, 2.0 * contrast / counts
    if not inverse_deviations(w, speckle, mixed, counts, length, width, apart, level, e_lag, s_lag, s_zero, mean, use):
        return False
    m = w.size
    for a in range(p):
        for b in range(p):
            M[a, b] = 0.0
    for j in range(m):
        if use[j] == 0.0:
            continue
        covariance_row(j, use, near, apart, length, e_lag, s_lag, speckle, mixed, row)
        row[j] = 1.0 / use[j]
        for a in range(p):
            pull = _dot(row, J[a]) * use[j]
            for b in range(p):
                M[a, b] += pull * J[b, j]
    return True


@compiled
def slow_factor(contrast, integral, frames, share):
    """Return what a short record adds to the variance of the parameters; `integral` of the decay in frames."""
    wander = min(contrast, 2.0) * min(2.0 * integral / frames, 1.0)
    return 1.0 + 32.0 * wander * (1.0 - share)


@careful
def robust_covariances(u, y, weight, lower, upper, z, counts, frames, share, length, width, level, near, apart, table,
                       space, fit_space, covariance, kind):  # fmt: skip
    """Fill the covariance (n, p, p) in z of every fitted curve: from theory where counts are known, else HC3.

    Parameters
    ----------
    counts, frames, share : (n,)
        Counts per pixel and frame, frames of the run, and the share of the variance that is counting; NaN if unknown.
    length, width : (n, m), (m,)
        Frames that the products of each delay span, and of its channel.
    level, near, apart, table
        `fitting.theory.Lags`.
    space, fit_space
        Of `fitting.theory.workspace` and `refine.workspace`.
    """
    n, p = z.shape
    J, r, use, row, _, H, M, V, L, T, _, root, _, _, _, _, _, _, kept = fit_space
    for i in range(n):
        w = weight[i]
        weighted_columns(u, y[i], w, z[i], p, J, r)
        for a in range(p):
            for b in range(p):
                H[a, b] = _dot(J[a], J[b])
        invert_free(H, z[i], lower, upper, p, kept, root, L, V)
        kind[i] = FAILED
        factor = 1.0
        if counts[i] > 0.0 and z[i, 0] > 0.0:
            integral = overlaps(z[i], table, space)
            e_lag, s_lag, mean = space[0], space[1], space[3]
            s_zero = space[2][0]
            if _theory_meat(
                J, w, z[i, 0], counts[i], length[i], width, near, apart, level, e_lag, s_lag, s_zero, mean, p, row,
                use, M,
            ):  # fmt: skip
                kind[i] = THEORY
                factor = slow_factor(z[i, 0], integral, frames[i], share[i])
        if kind[i] == FAILED:
            _hc3_meat(J, r, V, p, M)
            kind[i] = HC3
        multiply_sandwich(V, M, p, 1, 0, T)
        for a in range(p):
            for b in range(p):
                covariance[i, a, b] = V[a, b] * factor


@careful
def _hc3_meat(J, r, V, p, M):
    """Fill M = sum J J' (r / (1 - h))^2 with the leverage h of each point (MacKinnon and White 1985)."""
    for a in range(p):
        for b in range(p):
            M[a, b] = 0.0
    for k in range(r.size):
        h = 0.0
        for a in range(p):
            for b in range(p):
                if V[a, b] == V[a, b]:
                    h += J[a, k] * V[a, b] * J[b, k]
        pull = (r[k] / max(1.0 - h, 1e-3)) ** 2
        for a in range(p):
            for b in range(p):
                M[a, b] += J[a, k] * J[b, k] * pull
