from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from xpcs_dask.config import FitConfig
from xpcs_dask.fitting.criteria import aic, aicc, bic, hqic, scale_known


def line(n=30, seed=0):
    rng = np.random.default_rng(seed)
    x, sigma = np.linspace(0, 1, n), rng.uniform(0.5, 2, n)
    return x, 1 + 2 * x + sigma * rng.standard_normal(n), sigma


def left(x, y, sigma, degree):
    """Residuals of a polynomial over sigma."""
    return (y - np.polyval(np.polyfit(x, y, degree, w=1 / sigma), x)) / sigma


def test_known_errors_give_the_likelihood_of_the_normal_distribution():
    x, y, sigma = line()
    differences = []
    for degree in (1, 2):
        residual = left(x, y, sigma, degree)
        likelihood = stats.norm.logpdf(residual * sigma, scale=sigma).sum()
        k, n = degree + 1, x.size
        ours = np.array([criterion((residual**2).sum(), k, n) for criterion in (aic, aicc, bic, hqic)])
        price = [2 * k, 2 * k + 2 * k * (k + 1) / (n - k - 1), k * np.log(n), 2 * k * np.log(np.log(n))]
        theirs = -2 * likelihood + np.array(price)
        differences.append(ours - theirs)
    np.testing.assert_allclose(differences[0], differences[1], rtol=1e-12)


def test_errors_up_to_a_factor_count_the_factor():
    api = pytest.importorskip("statsmodels.api")
    measures = pytest.importorskip("statsmodels.tools.eval_measures")
    x, y, sigma = line()
    n, constant = x.size, x.size * (1 + np.log(2 * np.pi))
    for degree in (1, 2, 4):
        residual = left(x, y, sigma, degree)
        design = np.vander(x, degree + 1) / sigma[:, None]
        oracle = api.OLS(y / sigma, design).fit()
        chi2, k = (residual**2).sum(), degree + 1
        assert bic(chi2, k, n, False) == pytest.approx(oracle.bic + np.log(n) - constant, rel=1e-9)
        small = 2 * (k + 1) * (k + 2) / (n - k - 2)
        assert aicc(chi2, k, n, False) == pytest.approx(oracle.aic + 2 + small - constant, rel=1e-9)
        assert aic(chi2, k, n, False) == pytest.approx(oracle.aic + 2 - constant, rel=1e-9)
        hannan = measures.hqic(oracle.llf, n, k + 1)
        assert hqic(chi2, k, n, False) == pytest.approx(hannan - constant, rel=1e-9)


def test_a_common_factor_of_the_errors_changes_no_difference():
    chi2 = np.array([40.0, 31.0])
    for criterion in (aic, aicc, bic, hqic):
        one, other = (criterion(chi2 * factor, [3, 4], 30, False) for factor in (1.0, 9.0))
        assert np.diff(one) == pytest.approx(np.diff(other), rel=1e-12)


@pytest.mark.parametrize("known", [True, False])
def test_too_few_points_have_no_criterion(known):
    enough = 6 if known else 7
    found = aicc(5.0, 4, np.arange(3, 9), known)
    assert np.isfinite(found).tolist() == [n >= enough for n in range(3, 9)]
    assert np.isnan(bic(np.nan, 4, 10, known))
    assert np.isnan(bic(0.0, 4, 0, known))
    assert np.isfinite(bic(0.0, 4, 10, known))
    assert np.isnan(aic(5.0, 4, 0, known))
    assert np.isfinite(hqic(5.0, 4, [2, 3], known)).tolist() == [False, True]


def test_which_settings_leave_the_factor_open():
    assert scale_known(FitConfig())
    assert scale_known(FitConfig(errors="quoted", covariance="hc3"))
    assert not scale_known(FitConfig(errors="none"))
    assert not scale_known(FitConfig(absolute_sigma=False))
    assert not scale_known(FitConfig(covariance="scaled"))
