"""Compiled resampling: what one replicate of one curve looks like.

`fitting.recipe.Recipe` says what the arrays of a recipe are, and draws the same with NumPy.
"""

from __future__ import annotations

import numpy as np

from xpcs_dask.fitting.kernel.compiled import compiled
from xpcs_dask.fitting.kernel.random import fill_words, normal_from
from xpcs_dask.fitting.kernel.random_tables import HALF

CLUSTER, RESIDUAL, WILD, PARAMETRIC, PAIRS, BLOCKS = range(6)
SIGN = np.uint64(31)


@compiled
def fill_indices(words, number, bound):
    """Turn words into whole numbers below `bound`, by multiplication: the bias is bound / 2^32."""
    factor = np.uint64(bound)
    for t in range(number):
        words[t] = (words[t] * factor) >> HALF


@compiled
def count_draws(drawn, number, count):
    """Count how often each of `number` things is among as many draws."""
    for k in range(number):
        count[k] = 0.0
    for t in range(number):
        count[drawn[t]] += 1.0


@compiled
def list_drawn(drawn, count, number):
    """Put what was drawn at the head of both arrays, filled up with zeros to a multiple of four; returns how many."""
    some = 0
    for c in range(number):
        times = count[c]
        drawn[some] = np.uint64(c)
        count[some] = times
        some += 1 if times > 0.0 else 0
    while some % 4:
        drawn[some] = np.uint64(0)
        count[some] = 0.0
        some += 1
    return some


@compiled
def add_clusters(base, deviation, present, complete, number, drawn, count, total, y):
    """Fill y with the curve moved to the mean of the drawn clusters, delay by delay over those with a value."""
    count_draws(drawn, number, count)
    some = list_drawn(drawn, count, number)
    for i in range(y.size):
        y[i] = 0.0
    for k in range(0, some, 4):
        c0, c1, c2, c3 = count[k], count[k + 1], count[k + 2], count[k + 3]
        d0, d1 = deviation[drawn[k]], deviation[drawn[k + 1]]
        d2, d3 = deviation[drawn[k + 2]], deviation[drawn[k + 3]]
        for i in range(y.size):
            y[i] += c0 * d0[i] + c1 * d1[i] + c2 * d2[i] + c3 * d3[i]
    if complete:
        share = 1.0 / number
        for i in range(y.size):
            y[i] = base[i] + share * y[i]
        return
    for i in range(y.size):
        total[i] = 0.0
    for k in range(some):
        held = present[drawn[k]]
        for i in range(y.size):
            total[i] += count[k] * held[i]
    for i in range(y.size):
        y[i] = base[i] + y[i] / max(total[i], 1.0)


@compiled
def add_blocks(pool, size, words, number, length, y):
    """Add runs of neighbouring noise."""
    fill_indices(words, (number + length - 1) // length, number - length + 1)
    for begin in range(0, number, length):
        source = np.int64(words[begin // length]) - begin
        for t in range(begin, min(begin + length, number)):
            y[t] += size[t] * pool[source + t]


@compiled
def draw(scheme, recipe, j, seed, curve, replicate, space, y, times):
    """Fill one resample: y (M,), and for pairs `times`, how often each point is in it."""
    base, pool, size, used, deviation, present, members, complete, length = recipe
    words, count, total = space
    number = members[j] if scheme == CLUSTER else used[j]
    fill_words(seed, curve, replicate, 2 * number if scheme == PARAMETRIC else number, words)
    if scheme == CLUSTER:
        fill_indices(words, number, number)
        add_clusters(base[j], deviation[j], present[j], complete[j], number, words, count, total, y)
        return
    own, sigma, noise = base[j], size[j], pool[j]
    for i in range(y.size):
        y[i] = own[i]
    if scheme == PAIRS:
        fill_indices(words, number, number)
        for i in range(y.size):
            times[i] = 0.0
        count_draws(words, number, times)
    elif scheme == RESIDUAL:
        fill_indices(words, number, number)
        for t in range(number):
            y[t] += sigma[t] * noise[words[t]]
    elif scheme == WILD:
        for t in range(number):
            y[t] += sigma[t] * noise[t] * (1.0 - 2.0 * float(np.int64(words[t] >> SIGN)))
    elif scheme == PARAMETRIC:
        for t in range(number):
            y[t] += sigma[t] * normal_from(words[t], words[number + t])
    else:
        add_blocks(noise, sigma, words, number, length[j], y)


@compiled
def fill_resamples(scheme, recipe, rows, curves, replicates, seed, space, y, times):
    """Fill resamples y, times (N, M) of N curves ``rows`` of the recipe, named `curves`, and their `replicates`."""
    for k in range(rows.size):
        for i in range(y.shape[1]):
            times[k, i] = 1.0
        draw(scheme, recipe, rows[k], seed, curves[k], replicates[k], space, y[k], times[k])
