"""`fit_curves`: shapes, settings and refusals, and the same numbers as lmfit and scipy."""

from __future__ import annotations

import lmfit
import numpy as np
import pytest
from scipy.optimize import curve_fit

from xpcs_dask.errors import ConfigError, UnknownParameterError
from xpcs_dask.fitting.curves import fit_curves
from xpcs_dask.fitting.layout import Flag, Status
from xpcs_dask.fitting.models import SINGLE, Model

DELAY = np.geomspace(1e-3, 10, 50)
TRUTH = [0.2, 0.1, 0.9, 1.0]
SIGMA = 2e-3 * np.linspace(0.5, 2.0, 50)


def g2(*lead, seed=0):
    return SINGLE.evaluate(DELAY, *TRUTH) + SIGMA * np.random.default_rng(seed).normal(size=(*lead, 50))


def user_single(t, contrast, tau, stretch, baseline):
    return baseline + contrast * np.exp(-2 * (t / tau) ** stretch)


def line(x, slope, offset):
    return slope * x + offset


def two_predictors(x, a, b):
    return a * np.exp(-x[0]) + b * x[1]


@pytest.mark.parametrize("model", ["single", user_single], ids=["by name", "callable"])
@pytest.mark.parametrize("absolute", [True, False])
def test_agrees_with_lmfit(model, absolute):
    y = g2()
    parameters = lmfit.create_params(contrast=0.1, tau=0.3, stretch=1.0, baseline=1.0)
    reference = lmfit.Model(user_single).fit(
        y,
        parameters,
        t=DELAY,
        weights=1 / SIGMA,
        scale_covar=not absolute,
        fit_kws={"xtol": 1e-14, "ftol": 1e-14, "gtol": 1e-14},
    )
    fit = fit_curves(DELAY, y, SIGMA, model, start=[0.1, 0.3, 1.0, 1.0], absolute_sigma=absolute)
    np.testing.assert_allclose(fit.value, [p.value for p in reference.params.values()], rtol=1e-7)
    np.testing.assert_allclose(fit.stderr, [p.stderr for p in reference.params.values()], rtol=1e-3)
    assert fit.chi2 == pytest.approx(reference.chisqr, rel=1e-9)
    assert fit.dof == reference.nfree
    correlation = fit.covariance[0, 1] / fit.stderr[0] / fit.stderr[1]
    assert correlation == pytest.approx(reference.params["contrast"].correl["tau"], rel=1e-3)


def test_agrees_with_scipy_without_errors():
    y = g2()
    best, covariance = curve_fit(user_single, DELAY, y, TRUTH, xtol=1e-14, ftol=1e-14, gtol=1e-14)
    fit = fit_curves(DELAY, y, model=user_single, start=TRUTH)
    np.testing.assert_allclose(fit.value, best, rtol=1e-7)
    np.testing.assert_allclose(fit.covariance, covariance, rtol=1e-4, atol=1e-14)


def test_explicit_covariance_wins_over_auto():
    wald = fit_curves(DELAY, g2(), SIGMA, user_single, start=TRUTH, covariance="wald", absolute_sigma=False)
    scaled = fit_curves(DELAY, g2(), SIGMA, user_single, start=TRUTH, covariance="scaled")
    np.testing.assert_allclose(scaled.stderr, wald.stderr * np.sqrt(wald.chi2 / wald.dof), rtol=1e-9)


@pytest.mark.parametrize("lead", [(), (1,), (3,), (2, 3), (0,)])
def test_leading_shape_is_kept(lead):
    fit = fit_curves(DELAY, g2(*lead), SIGMA, "single")
    assert fit.value.shape == fit.stderr.shape == (*lead, 4)
    assert fit.covariance.shape == (*lead, 4, 4)
    for name in ("chi2", "dof", "n_used", "status", "rung", "flags", "evaluations"):
        assert getattr(fit, name).shape == lead
    assert fit.parameters == ("contrast", "tau", "stretch", "baseline")
    if fit.value.size:
        diagonal = np.diagonal(fit.covariance, axis1=-2, axis2=-1)
        np.testing.assert_allclose(np.sqrt(diagonal), fit.stderr)
        np.testing.assert_allclose(fit.covariance, np.swapaxes(fit.covariance, -1, -2))


def test_two_predictors():
    x = np.stack([np.linspace(0, 3, 30), np.cos(np.arange(30))])
    y = two_predictors(x, 2.0, -0.5) + 0.01 * np.sin(7 * x[0])
    fit = fit_curves(x, y, model=two_predictors)
    design = np.stack([np.exp(-x[0]), x[1]], axis=-1)
    np.testing.assert_allclose(fit.value, np.linalg.lstsq(design, y, rcond=None)[0], rtol=1e-9)


def test_any_x():
    """x may be what no array holds; only the model has to understand it."""
    x = {"time": np.linspace(0, 3, 30)}
    fit = fit_curves(x, 2 * x["time"] + 1, model=lambda x, a, b: a * x["time"] + b)
    np.testing.assert_allclose(fit.value, [2.0, 1.0])


def test_star_arguments_are_named_by_the_start():
    fit = fit_curves(DELAY, 2 * DELAY + 1, model=lambda x, *p: p[0] * x + p[1], start=[1.0, 0.0])
    assert fit.parameters == ("p0", "p1")
    np.testing.assert_allclose(fit.value, [2.0, 1.0])
    with pytest.raises(ConfigError, match="pass parameters="):
        fit_curves(DELAY, DELAY, model=lambda x, *p: p[0] * x)


def test_jac_is_used():
    calls = []

    def jac(x, slope, offset):
        calls.append(1)
        return np.stack([x, np.ones_like(x)], axis=-1)

    fit = fit_curves(DELAY, 2 * DELAY + np.sin(9 * DELAY), model=line, jac=jac)
    assert calls
    np.testing.assert_allclose(fit.value, np.polyfit(DELAY, 2 * DELAY + np.sin(9 * DELAY), 1), rtol=1e-10)


def test_bounds_and_fixed_by_name():
    y = 2 * DELAY + np.sin(9 * DELAY)
    fit = fit_curves(DELAY, y, model=line, bounds={"slope": (0.0, 1.5)}, fixed={"offset": 0.25})
    assert fit.value.tolist() == [1.5, 0.25]
    assert np.isnan(fit.stderr[0])
    assert fit.stderr[1] == 0
    assert Flag(int(fit.flags)) & Flag.AT_BOUND
    assert fit.dof == 49


@pytest.mark.parametrize("bad", [0.0, -1e-3, np.nan, np.inf])
def test_point_with_impossible_error_is_not_used(bad):
    sigma, y = SIGMA.copy(), g2()
    sigma[7] = bad
    fit = fit_curves(DELAY, y, sigma, user_single, start=TRUTH)
    keep = np.arange(50) != 7
    expected = fit_curves(DELAY[keep], y[keep], SIGMA[keep], user_single, start=TRUTH)
    assert fit.n_used == 49
    np.testing.assert_allclose(fit.value, expected.value, rtol=1e-9)
    np.testing.assert_allclose(fit.stderr, expected.stderr, rtol=1e-7)
    assert Flag.POINTS_EXCLUDED in Flag(int(fit.flags))


@pytest.mark.parametrize("model", ["single", user_single], ids=["by name", "callable"])
def test_hopeless_curves_are_rows_and_leave_their_neighbours_alone(model):
    y, sigma = g2(4), np.broadcast_to(SIGMA, (4, 50)).copy()
    y[1] = np.nan
    sigma[2] = np.inf
    fit = fit_curves(DELAY, y, sigma, model, start=TRUTH)
    assert fit.status.tolist() == [Status.CONVERGED, Status.NO_DATA, Status.NO_DATA, Status.CONVERGED]
    assert np.isnan(fit.value[1:3]).all()
    assert np.isnan(fit.covariance[1:3]).all()
    alone = fit_curves(DELAY, y[3], sigma[3], model, start=TRUTH)
    np.testing.assert_array_equal(fit.value[3], alone.value)


def test_sigma_is_broadcast():
    y = g2(3)
    shared = fit_curves(DELAY, y, SIGMA, user_single, start=TRUTH)
    spelled = fit_curves(DELAY, y, np.tile(SIGMA, (3, 1)), user_single, start=TRUTH)
    np.testing.assert_array_equal(shared.value, spelled.value)
    assert fit_curves(DELAY, y, 2e-3, user_single, start=TRUTH).n_used.tolist() == [50, 50, 50]


def test_inputs_are_left_alone():
    y, sigma, start = g2(2).astype(np.float32), SIGMA.astype(np.float32), np.array(TRUTH)
    y[0, 3] = np.nan
    sigma[4] = np.inf
    before = [a.copy() for a in (y, sigma, start)]
    for array in (y, sigma, start):
        array.flags.writeable = False
    fit_curves(DELAY, y, sigma, user_single, start=start)
    for array, copy in zip((y, sigma, start), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def raises(x, a):
    raise ZeroDivisionError("in the user's function")


def test_model_that_raises_is_a_status():
    fit = fit_curves(DELAY, g2(2), SIGMA, raises)
    assert fit.status.tolist() == [Status.MODEL_FAILED] * 2
    assert np.isnan(fit.value).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bounds": {"tau": (2.0, 1.0)}}, r"bounds of 'tau' are crossed or empty: \(2, 1\)"),
        ({"bounds": {"beta": (0.0, 1.0)}}, "model 'single' has no parameter 'beta'; it has contrast, tau"),
        ({"fixed": {"beta": 1.0}}, "has no parameter 'beta'"),
        ({"fixed": {"tau": np.nan}}, "'tau' is fixed at nan"),
        ({"model": "tripel"}, "unknown model 'tripel'; known models are"),
        ({"loss": "l1"}, "loss: Input should be 'linear'"),
        ({"loss_scale": 0.0}, "loss_scale: Input should be greater than 0"),
        ({"loss_scale": np.inf}, "loss_scale: Input should be a finite number"),
        ({"sigma": None, "covariance": "wald"}, "covariance: 'wald' needs errors; without sigma="),
        ({"bounds": {"tau": (1.0, 2.0)}, "fixed": {"tau": 3.0}}, r"fixed at 3, outside its bounds \(1, 2\)"),
        ({"y": np.full((3, 50), "1.0")}, "y holds <U3 values; give real numbers"),
        ({"y": np.full((3, 50), 1j)}, "y holds complex numbers"),
        ({"y": [["a", None]]}, "y cannot be read as real numbers"),
        ({"sigma": np.full(50, "1.0")}, "sigma holds <U3 values"),
        ({"x": np.where(np.arange(50) == 7, np.nan, DELAY)}, "x is nan at position 7"),
        ({"x": np.ma.masked_less(DELAY, 2e-3)}, "x is nan at position 0"),
        ({"x": np.where(np.arange(50) == 7, -0.5, DELAY)}, "x is -0.5 at position 7; model 'single' takes finite"),
        ({"x": np.where(np.arange(50) == 7, np.inf, DELAY)}, "x is inf at position 7"),
        ({"x": np.where(np.arange(50) == 7, np.nan, DELAY), "model": line}, "x is nan at position 7; give numbers"),
        ({"x": np.full((2, 50), np.nan), "model": two_predictors}, r"x is nan at position \(0, 0\)"),
        ({"search": "deep"}, "search: Input should be 'fast'"),
        ({"covariance": "hc9"}, "covariance: Input should be"),
        ({"sigma": np.ones(49)}, r"sigma of shape \(49,\) does not fit y of shape \(3, 50\)"),
        ({"x": DELAY[:-1]}, r"x has shape \(49,\) but the curves have 50 points"),
        ({"x": np.ones((2, 50))}, r"x has shape \(2, 50\)"),
        ({"y": 1.0}, "y is a single number"),
        ({"start": [1.0, 2.0]}, r"start has shape \(2,\); give \(4,\) or \(3, 4\)"),
        ({"start": [np.nan] * 4}, "start holds NaN"),
        ({"curve_id": [1, 2]}, r"curve_id has shape \(2,\)"),
        ({"jac": SINGLE.jacobian}, "jac= belongs to a callable model"),
        ({"model": lambda x, a: a * x[:3]}, r"returned shape \(3,\) for x of shape \(50,\); curves are \(50,\)"),
        ({"model": lambda x, a: 1.0}, r"returned shape \(\)"),
    ],
)
def test_nonsense_is_refused_with_its_numbers(change, message):
    settings = {"x": DELAY, "y": g2(3), "sigma": SIGMA, "model": "single"} | change
    with pytest.raises(ConfigError, match=message):
        fit_curves(settings.pop("x"), settings.pop("y"), settings.pop("sigma"), **settings)


@pytest.mark.parametrize("model", ["single", user_single], ids=["by name", "callable"])
def test_masked_points_are_not_used(model):
    y, sigma = np.ma.array(g2(2)), np.ma.array(np.tile(SIGMA, (2, 1)))
    y[0, 7] = sigma[1, 9] = 1e6
    y[0, 7] = sigma[1, 9] = np.ma.masked
    fit = fit_curves(DELAY, y, sigma, model, start=TRUTH)
    expected = fit_curves(DELAY, y.filled(np.nan), sigma.filled(np.nan), model, start=TRUTH)
    assert fit.n_used.tolist() == [49, 49]
    np.testing.assert_array_equal(fit.value, expected.value)
    np.testing.assert_array_equal(fit.stderr, expected.stderr)
    whole = np.ma.masked_array(np.arange(50), mask=np.arange(50) == 3)
    assert fit_curves(DELAY, whole, model=line).n_used == 49


@pytest.mark.parametrize("lead", [(), (3,), (0,)])
@pytest.mark.parametrize("model", ["single", line], ids=["by name", "callable"])
def test_no_delays_is_no_data(lead, model):
    fit = fit_curves(DELAY[:0], np.ones((*lead, 0)), model=model)
    assert fit.status.shape == lead
    assert (fit.status == Status.NO_DATA).all()


def test_negative_and_infinite_x_are_the_users_business():
    x = np.append(np.linspace(-1.0, 3.0, 30), np.inf)
    fit = fit_curves(x, 2 * np.exp(-np.abs(x)) + 1, model=lambda x, a, b: a * np.exp(-np.abs(x)) + b)
    np.testing.assert_allclose(fit.value, [2.0, 1.0])


def test_zero_delay_is_allowed():
    delay = np.append(0.0, DELAY)
    fit = fit_curves(delay, SINGLE.evaluate(delay, *TRUTH) + 1e-3 * np.sin(9 * np.arange(51)), 1e-3)
    assert fit.status == Status.CONVERGED
    assert fit.n_used == 51


def test_curve_that_goes_up_has_errors():
    """Negative contrast: the stretch has a derivative there too."""
    y = SINGLE.evaluate(DELAY, -0.2, 0.1, 0.9, 1.0) + g2(seed=4) - SINGLE.evaluate(DELAY, *TRUTH)
    fit = fit_curves(DELAY, y, SIGMA, start=[-0.1, 0.1, 1.0, 1.0], bounds={"contrast": (-1.0, -0.01)})
    free = fit_curves(DELAY, y, SIGMA, user_single, start=[-0.1, 0.1, 1.0, 1.0])
    np.testing.assert_allclose(fit.value, free.value, rtol=1e-6)
    np.testing.assert_allclose(fit.stderr, free.stderr, rtol=1e-4)


def test_unknown_parameter_has_its_own_class():
    with pytest.raises(UnknownParameterError):
        fit_curves(DELAY, g2(), SIGMA, fixed={"beta": 1.0})


def test_record_with_its_own_start():
    model = Model.from_function(line, start=lambda x, y, w: np.array([y[-1] / x[-1], 0.0]))
    np.testing.assert_allclose(fit_curves(DELAY, 3 * DELAY + 1, model=model).value, [3.0, 1.0], rtol=1e-9)


def test_warnings_inside_the_model_are_silent():
    """Trial steps may leave the domain of the function; that is nobody's business (warnings are errors here)."""
    x = np.linspace(0.0, 5, 40)
    y = 2 * np.sqrt(x + 0.01) + 0.01 * np.sin(9 * x)
    fit = fit_curves(x, y, model=lambda x, a, b: a * np.sqrt(x + b), start=[1.0, 5.0])
    assert fit.status == Status.CONVERGED
    assert fit.value == pytest.approx([2.0, 0.01], abs=0.02)


def test_compiled_user_function():
    numba = pytest.importorskip("numba")
    compiled = numba.njit(lambda x, a, b: a * np.exp(-b * x))
    y = 2 * np.exp(-0.7 * DELAY) + 0.01 * np.sin(9 * DELAY)
    plain = fit_curves(DELAY, y, model=lambda x, a, b: a * np.exp(-b * x))
    np.testing.assert_allclose(fit_curves(DELAY, y, model=compiled).value, plain.value, rtol=1e-10)


def test_example_in_the_docstring():
    import doctest

    import xpcs_dask.fitting.curves as module

    found = doctest.testmod(module, extraglobs={"np": np})
    assert found.attempted >= 3
    assert found.failed == 0
