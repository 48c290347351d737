"""The line of ln tau over ln q is that of statsmodels' weighted least squares."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import statsmodels.api as sm

from xpcs_dask.errors import ConfigError
from xpcs_dask.toolkit.tau_line import fit_tau

Q = np.geomspace(1e-3, 2e-2, 15)
ERROR = np.linspace(0.02, 0.4, 15)
RNG = np.random.default_rng(11)
TAU = 3e-6 * Q**-1.9 * np.exp(ERROR * RNG.standard_normal(15))
TAU_ERR = TAU * ERROR


def known(q, tau, tau_err):
    fit = sm.WLS(np.log(tau), sm.add_constant(np.log(q)), weights=(tau / tau_err) ** 2).fit(cov_type="fixed scale")
    return fit.params, fit.bse, fit.cov_params()


def test_it_is_weighted_by_the_square_of_the_relative_error():
    found = fit_tau(Q, TAU, TAU_ERR)
    (height, slope), (height_err, slope_err), covariance = known(Q, TAU, TAU_ERR)
    assert found["coef_"].shape == (1, 1)
    np.testing.assert_allclose([found["coef_"][0, 0], found["intercept_"][0]], [slope, height], rtol=1e-10)
    np.testing.assert_allclose([found["coef_err"], found["intercept_err"]], [slope_err, height_err], rtol=1e-8)
    np.testing.assert_allclose(found["covariance"], np.asarray(covariance)[::-1, ::-1], rtol=1e-8)
    rest = (np.log(TAU) - height - slope * np.log(Q)) / ERROR
    np.testing.assert_allclose(found["chi_squared"], rest @ rest, rtol=1e-10)


def test_it_unpacks_as_the_toolkit_does():
    slope, height, q, tau = fit_tau(Q, TAU, TAU_ERR)
    assert q.shape == tau.shape == (128,)
    np.testing.assert_allclose(np.log(tau), slope[0, 0] * np.log(q) + height[0])
    np.testing.assert_allclose(np.log(q[[0, -1]]), [np.log(Q[0]) - 0.1, np.log(Q[-1]) + 0.1])


def test_points_that_say_nothing_are_left_out():
    tau, error = TAU.copy(), TAU_ERR.copy()
    tau[1], error[2], error[3], tau[4] = -1.0, 0.0, -1.0, np.nan
    found = fit_tau(Q, tau, error)
    used = np.r_[0, 5:15]
    np.testing.assert_allclose(found["coef_"][0, 0], known(Q[used], TAU[used], TAU_ERR[used])[0][1], rtol=1e-10)
    assert found["n_used"] == 11


def test_errors_grow_with_those_of_the_times():
    np.testing.assert_allclose(
        fit_tau(Q, TAU, 3 * TAU_ERR)["coef_err"], 3 * fit_tau(Q, TAU, TAU_ERR)["coef_err"], rtol=1e-10
    )


def test_errors_cover_the_truth():
    """68 % of slopes within one error: weights of 1/sigma make neither the slope nor the error right."""
    rng = np.random.default_rng(59)
    inside = [
        abs(found["coef_"][0, 0] + 1.9) < found["coef_err"]
        for tau in (3e-6 * Q**-1.9 * np.exp(ERROR * rng.standard_normal((400, 15))))
        for found in [fit_tau(Q, tau, tau * ERROR)]
    ]
    assert 0.60 < np.mean(inside) < 0.76


def test_it_is_stored_whole():
    found = fit_tau(Q, TAU, TAU_ERR)
    again = pickle.loads(pickle.dumps(found))
    assert again.keys() == found.keys()
    for key in found.keys():  # noqa: SIM118 - a tuple with keys
        np.testing.assert_array_equal(again[key], found[key])
    assert json.loads(json.dumps({"slope": found["coef_"].item(), "error": found["coef_err"]}))


@pytest.mark.parametrize("n", [0, 1])
def test_one_point_makes_no_line(n):
    with pytest.raises(ConfigError, match="a slope needs two"):
        fit_tau(Q[:n], TAU[:n], TAU_ERR[:n])
    with pytest.raises(ConfigError, match="as many each"):
        fit_tau(Q, TAU[1:], TAU_ERR)
