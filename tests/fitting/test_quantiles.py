"""Order statistics against NumPy's, and their Monte-Carlo errors against repeats."""

from __future__ import annotations

import numpy as np
import pytest

from xpcs_dask.fitting.quantiles import quantile, sparsity

FRACTIONS = [0.0, 0.001, 0.025, 0.05, 0.3, 0.5, 0.77, 0.975, 0.999, 1.0]


@pytest.mark.parametrize("size", [2, 3, 19, 250, 999])
@pytest.mark.parametrize("fraction", FRACTIONS)
def test_quantiles_are_numpys_weibull(size, fraction):
    sample = np.random.default_rng(size).normal(size=(4, size))
    found = quantile(np.sort(sample), np.full(4, size), fraction)
    np.testing.assert_allclose(found, np.quantile(sample, fraction, axis=1, method="weibull"), rtol=1e-13)


def test_missing_replicates_do_not_count():
    sample = np.random.default_rng(0).normal(size=(3, 50))
    sample[1, ::7] = np.nan
    sample[2] = np.nan
    count = np.isfinite(sample).sum(axis=1)
    found = quantile(np.sort(sample), count, np.full(3, 0.1))
    assert found[0] == pytest.approx(np.quantile(sample[0], 0.1, method="weibull"), rel=1e-13)
    assert found[1] == pytest.approx(np.nanquantile(sample[1], 0.1, method="weibull"), rel=1e-13)
    assert np.isnan(found[2])


def test_an_exact_rank_takes_that_replicate():
    """The last of 39 is a rank that has no neighbour above."""
    ordered = np.concatenate([np.arange(39.0), [np.nan]])
    assert quantile(ordered, np.asarray(39), 0.025) == 0.0
    assert quantile(ordered, np.asarray(39), 0.975) == 38.0
    assert quantile(ordered, np.asarray(39), 0.05) == 1.0


@pytest.mark.parametrize(("size", "excess"), [(250, 0.7), (1000, 0.25), (20_000, 0.05)])
@pytest.mark.parametrize("fraction", [0.025, 0.975, 0.5])
def test_the_error_of_a_quantile_is_its_scatter_between_repeats(size, excess, fraction):
    """Never much too small, and too large by no more than a tail bends between the two order statistics."""
    rng = np.random.default_rng(1)
    sample = np.sort(rng.normal(size=(400, size)), axis=1)
    count = np.full(400, size)
    scatter = quantile(sample, count, fraction).std(ddof=1)
    stated = np.sqrt(fraction * (1 - fraction) / size) * sparsity(sample, count, np.full(400, fraction))
    assert 0.9 < np.sqrt(np.mean(stated**2)) / scatter < 1.1 + excess


def test_equal_replicates_have_no_error_and_a_single_one_no_known_one():
    assert sparsity(np.full((1, 300), 2.0), np.array([300]), np.array([0.025]))[0] == 0.0
    assert np.isnan(sparsity(np.array([[1.0, np.nan]]), np.array([1]), np.array([0.025]))[0])
