"""Compiled random numbers against those of NumPy: the same bits."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from xpcs_dask.fitting import resample
from xpcs_dask.fitting.kernel.random import fill_words, normal_from


@njit
def normals(words, out):
    for k in range(out.size):
        out[k] = normal_from(words[k], words[out.size + k])


@pytest.mark.parametrize("number", [1, 16, 17, 36, 200])
def test_words_are_those_of_numpy(number):
    drawn = np.zeros(256, np.uint64)
    seed, curve, replicate = 2**64 - 3, 0x123456789ABCDEF0, 2**31 + 7
    fill_words(np.uint64(seed), np.uint64(curve), np.uint64(replicate), number, drawn)
    assert drawn[:number].tolist() == resample.words(seed, curve, replicate, number).tolist()


def test_normals_are_those_of_numpy():
    rng = np.random.default_rng(0)
    words = rng.integers(0, 2**32, 40_000).astype(np.uint64)
    words[:100] = rng.integers(0, 3000, 100)
    words[100:200] = 2**32 - 1 - words[:100]
    out = np.empty(words.size // 2)
    normals(words, out)
    assert out.tobytes() == resample.normals(words).tobytes()
