"""Random numbers of the bootstrap: published answers of the generator, and the distributions that are made of them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtri

from xpcs_dask.fitting.resample import indices, normals, philox, signs, words

FULL = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((FULL,) * 4, (FULL,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_known_answers_of_random123(counter, key, answer):
    assert philox(np.array(counter, np.uint64), np.array(key, np.uint64)).tolist() == list(answer)


def test_words_are_those_of_the_counter():
    seed, curve, replicate = 0x299F31D0A4093822, 0x0370734413198A2E, 0x85A308D3
    drawn = words(seed, curve, replicate, 40)
    for block in (0, 5, 11):
        counter = np.array([block, replicate, 0x13198A2E, 0x03707344], np.uint64)
        made = philox(counter, np.array([0xA4093822, 0x299F31D0], np.uint64))
        for place in range(4):
            if place * 12 + block < 40:
                assert drawn[place * 12 + block] == made[place]


def test_every_bit_of_seed_and_curve_and_replicate_counts():
    first = words(0, 0, 0, 8)
    seen = {first.tobytes()}
    for bit in range(64):
        seen |= {words(1 << bit, 0, 0, 8).tobytes(), words(0, 1 << bit, 0, 8).tobytes()}
    for bit in range(32):
        seen.add(words(0, 0, 1 << bit, 8).tobytes())
    assert len(seen) == 1 + 64 + 64 + 32


def test_words_of_different_replicates_are_unlike():
    many = np.concatenate([words(1, 2, k, 64) for k in range(200)])
    assert np.unique(many).size >= many.size - 5


def test_indices_are_uniform_and_below_the_bound():
    drawn = indices(np.concatenate([words(3, k, 0, 4000) for k in range(10)]), 37)
    assert drawn.min() == 0
    assert drawn.max() == 36
    assert stats.chisquare(np.bincount(drawn, minlength=37)).pvalue > 1e-3
    assert indices(np.array([0, FULL], np.uint64), 37).tolist() == [0, 36]


def test_signs_are_the_highest_bit():
    assert signs(np.array([0, 0x7FFFFFFF, 0x80000000, FULL], np.uint64)).tolist() == [1, 1, -1, -1]


def test_normals_are_the_inverse_of_the_distribution():
    rng = np.random.default_rng(0)
    tails = [0, 0, 1, FULL, FULL - 1, 1 << 31, 40, FULL - 300]
    high = np.concatenate([rng.integers(0, 2**32, 20_000), tails]).astype(np.uint64)
    low = np.concatenate([rng.integers(0, 2**32, 20_000), [0, 9999, 5, FULL, 3, 9, 7, 8]]).astype(np.uint64)
    p = ((high >> np.uint64(6)) * np.uint64(2**26) + (low >> np.uint64(6))).astype(np.float64)
    expected = ndtri((p + 0.5) / 2**52)
    assert np.abs(expected).max() > 8
    expected = np.where(p > 2**51, -ndtri((2**52 - p - 0.5) / 2**52), expected)  # near 1 p is known less well
    np.testing.assert_allclose(normals(np.concatenate([high, low])), expected, rtol=1e-13, atol=1e-15)


def test_normals_are_normal():
    drawn = normals(np.concatenate([words(5, 6, k, 2000) for k in range(20)]))
    assert stats.kstest(drawn, "norm").pvalue > 1e-3
