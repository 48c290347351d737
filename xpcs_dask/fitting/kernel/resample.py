"""Compiled resampling: what one replicate of one curve looks like.

`fitting.resample.Recipe` says what the arrays of a recipe are, and draws the same with NumPy.
"""

from __future__ import annotations

import numpy as np

from xpcs_dask.fitting.kernel.compiled import compiled
from xpcs_dask.fitting.kernel.random import fill_words, index_below, normal_from

CLUSTER, RESIDUAL, WILD, PARAMETRIC, PAIRS, BLOCKS = range(6)
SIGN = np.uint64(31)


@compiled
def word(words, t):
    """Word number t of those filled."""
    return words[t & 3, t >> 2]


@compiled
def count_draws(words, number, count):
    """Count how often each of `number` things is among as many draws."""
    for k in range(number):
        count[k] = 0.0
    for t in range(number):
        count[index_below(word(words, t), number)] += 1.0


@compiled
def add_clusters(recipe, j, count, total, y):
    """Fill y with the curve moved to the mean of the drawn clusters, delay by delay over those with a value."""
    base, deviation, present, complete, members = recipe[0], recipe[5], recipe[6], recipe[7], recipe[8]
    number = members[j]
    for i in range(y.size):
        y[i] = 0.0
        total[i] = 0.0
    for c in range(number):
        times = count[c]
        if times > 0.0:
            own = deviation[j, c]
            for i in range(y.size):
                y[i] += times * own[i]
    if not complete[j]:
        for c in range(number):
            times = count[c]
            held = present[j, c]
            for i in range(y.size):
                total[i] += times * held[i]
        for i in range(y.size):
            y[i] = base[j, i] + y[i] / max(total[i], 1.0)
    else:
        share = 1.0 / number
        for i in range(y.size):
            y[i] = base[j, i] + share * y[i]


@compiled
def draw(scheme, recipe, j, seed, curve, replicate, space, y, times):
    """Fill one resample: y (m,), and in `times` how often each point is in it (1 but for pairs)."""
    base, pool, size, slot, used, _, _, _, members, length = recipe
    words, count, total = space
    number = members[j] if scheme == CLUSTER else used[j]
    fill_words(seed, curve, replicate, 2 * number if scheme == PARAMETRIC else number, words)
    if scheme == CLUSTER:
        count_draws(words, number, count)
        add_clusters(recipe, j, count, total, y)
        return
    for i in range(y.size):
        y[i] = base[j, i]
    if scheme == PAIRS:
        count_draws(words, number, count)
        for i in range(y.size):
            times[i] = 0.0
        for t in range(number):
            times[slot[j, t]] = count[t]
    elif scheme == BLOCKS:
        starts = number - length[j] + 1
        for t in range(number):
            block = t // length[j]
            source = index_below(word(words, block), starts) + t - block * length[j]
            i = slot[j, t]
            y[i] += size[j, i] * pool[j, source]
    else:
        for t in range(number):
            i = slot[j, t]
            if scheme == RESIDUAL:
                noise = pool[j, index_below(word(words, t), number)]
            elif scheme == WILD:
                noise = pool[j, t] * (1.0 - 2.0 * float(np.int64(word(words, t) >> SIGN)))
            else:
                noise = normal_from(word(words, 2 * t), word(words, 2 * t + 1))
            y[i] += size[j, i] * noise


@compiled
def fill_resamples(scheme, recipe, rows, curves, replicates, seed, space, y, times):
    """Fill resamples y, times (N, m) of N curves ``rows`` of the recipe, named `curves`, and their `replicates`."""
    for k in range(rows.size):
        for i in range(y.shape[1]):
            times[k, i] = 1.0
        draw(scheme, recipe, rows[k], seed, curves[k], replicates[k], space, y[k], times[k])
