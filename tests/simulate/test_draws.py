"""Random numbers against scipy's distributions and against pinned values."""

import numpy as np
import pytest
from scipy import stats

from xpcs_dask.errors import ConfigError
from xpcs_dask.simulate.draws import LARGE, normal, poisson, uniforms


def test_pinned():
    words = np.random.Philox(key=[7, 1], counter=[0, 0, 2, 3]).random_raw(5)
    expected = [((int(w) >> 11) + 0.5) / 2**53 for w in words]
    np.testing.assert_array_equal(uniforms(7, 1, 3, 2, 5), expected)
    assert uniforms(7, 1, 3, 2, 1)[0] == 0.9168230084950217


def test_every_key_matters_and_the_length_does_not():
    one = uniforms(1, 2, 3, 4, 10)
    for other in [(2, 2, 3, 4), (1, 3, 3, 4), (1, 2, 4, 4), (1, 2, 3, 5), (1, 2, 4, 3)]:
        assert np.intersect1d(one, uniforms(*other, 10)).size == 0
    np.testing.assert_array_equal(uniforms(1, 2, 3, 4, 1000)[:10], one)


@pytest.mark.parametrize("keys", [(-1, 0, 0, 0), (2**64, 0, 0, 0), (0, 0, -1, 0), (0, 0, 0, -1)])
def test_refused_keys(keys):
    with pytest.raises(ConfigError, match="must not be negative"):
        uniforms(*keys, 3)


def test_distributions():
    u = uniforms(5, 1, 0, 0, 100_000)
    assert 0 < u.min() < u.max() < 1
    assert stats.kstest(u, "uniform").pvalue > 1e-4
    assert stats.kstest(normal(u), "norm").pvalue > 1e-4


@pytest.mark.parametrize("mean", [0.0, 1e-6, 0.01, 0.7, 3.0, 30.0, 1e3, 1e5])
def test_poisson_is_the_quantile(mean):
    u = np.concatenate([uniforms(9, 1, 0, 0, 3000), [1e-12, 1 - 1e-12]])
    np.testing.assert_array_equal(poisson(u, np.full(u.size, mean)), stats.poisson(mean).ppf(u) if mean else 0)


def test_poisson_at_the_steps_of_the_distribution():
    count = np.arange(25)
    np.testing.assert_array_equal(poisson(stats.poisson(7.3).cdf(count), np.array(7.3)), count)


def test_poisson_of_large_means():
    u = uniforms(9, 2, 0, 0, 20_000)
    z = (poisson(u, np.array(LARGE * 3)) - LARGE * 3) / np.sqrt(LARGE * 3)
    assert stats.kstest(z, "norm").pvalue > 1e-4
