"""Speckle frames against the statistics of Gaussian fields and photon counts."""

import numpy as np
import pytest
from scipy import stats

from xpcs_dask.simulate.frames import Beam, photon_counts

KEY = {"seed": 5, "file": 2, "repeat": 1, "qbin": 3}


def frames(pixels, mean, modes, tau, **key):
    return np.concatenate(list(photon_counts(pixels, mean, modes, tau, **{**KEY, **key})))


@pytest.mark.parametrize("modes", [1, 3])
def test_counts_of_one_frame_are_negative_binomial(modes):
    """M modes of thermal light, J. W. Goodman, Statistical Optics (1985), section 9.3."""
    seen = frames(4000, np.full(2, 1.5), modes, 1.0)[:, 1]
    expected = stats.nbinom(modes, modes / (modes + 1.5)).pmf(np.arange(8)) * seen.size
    observed = np.bincount(seen.astype(int), minlength=8)[:8]
    tail = [seen.size - observed.sum(), seen.size - expected.sum()]
    found = np.append(observed, tail[0])
    assert stats.chisquare(found, np.append(expected, tail[1])).pvalue > 1e-4


@pytest.mark.parametrize(("modes", "tau"), [(1, 10.0), (4, 3.0)])
def test_contrast_and_decay(modes, tau):
    counts = frames(3000, np.full(120, 5.0), modes, tau)
    for lag in (1, 3, 10):
        per_pixel = (counts[:, :-lag] * counts[:, lag:]).mean(axis=1) / 25
        expected = 1 + np.exp(-2 * lag / tau) / modes
        assert abs(per_pixel.mean() - expected) < 4 * per_pixel.std() / np.sqrt(3000)


def test_equilibrium_from_the_first_frame():
    counts = frames(4000, np.full(30, 20.0), 1, 15.0)
    relative = counts.var(axis=0) - counts.mean(axis=0)
    np.testing.assert_allclose(relative / 400, 1.0, atol=0.25)
    np.testing.assert_allclose(counts.mean(axis=0), 20.0, rtol=0.08)


def test_keys_decide_and_the_size_of_a_bin_only_cuts():
    mean = np.full(50, 1.0)
    one = frames(100, mean, 2, 5.0)
    np.testing.assert_array_equal(one, frames(100, mean, 2, 5.0))
    np.testing.assert_array_equal(one[:64], frames(64, mean, 2, 5.0))
    for name in KEY:
        assert not np.array_equal(one, frames(100, mean, 2, 5.0, **{name: 9})), name
    assert one.shape == (100, 50)


def test_counts_follow_the_beam():
    mean = np.linspace(0.0, 4.0, 40)
    counts = frames(4000, mean, 50, 1.0)
    assert (counts[:, 0] == 0).all()
    np.testing.assert_allclose(counts.mean(axis=0), mean, atol=0.2)


def test_beam():
    assert (Beam().intensity(5, 0, 0, 0) == 1).all()
    drift = Beam(drift=0.2).intensity(101, 0, 0, 0)
    np.testing.assert_allclose(drift[[0, 50, 100]], [0.9, 1.0, 1.1])
    jitter = Beam(jitter=0.05, jitter_frames=20).intensity(400_000, 0, 0, 0) - 1
    np.testing.assert_allclose(jitter.std(), 0.05, rtol=0.05)
    np.testing.assert_allclose(np.corrcoef(jitter[:-20], jitter[20:])[0, 1], np.exp(-1), atol=0.05)
    assert abs(jitter.mean()) < 4 * 0.05 * np.sqrt(40 / 400_000)
    assert Beam(jitter=3.0).intensity(1000, 0, 0, 0).min() == 0
    same, other = (Beam(jitter=0.1).intensity(9, 1, 2, k) for k in (3, 4))
    np.testing.assert_array_equal(same, Beam(jitter=0.1).intensity(9, 1, 2, 3))
    assert not np.array_equal(same, other)
