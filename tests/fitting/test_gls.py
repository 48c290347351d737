"""Generalised least squares: scipy on whitened residuals, what it gains, and where it is not possible."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import least_squares

import xpcs_dask as xd
from tests.benchmarks.errors import experiments
from xpcs_dask.config import FitConfig
from xpcs_dask.fitting.gls import fit_gls
from xpcs_dask.fitting.kernel import gls, sandwich
from xpcs_dask.fitting.layout import ErrorsFrom, Flag, Status
from xpcs_dask.fitting.models import MODELS, Model
from xpcs_dask.fitting.sandwich import Noise, robust_errors
from xpcs_dask.fitting.strategy import fit_stack
from xpcs_dask.fitting.theory import lags, workspace

SHRINK = 0.02


class Case:
    """Curves of a data set with their errors, and the fits with diagonal weights."""

    def __init__(self, data, model="simple", config=None, bounds=None, fixed=None):
        self.x, self.model, self.config = data["delay"].values, MODELS[model], config or FitConfig()
        self.y = data["g2"].values[:, 0].astype(float)
        sigma = xd.quality(data)["sigma"].values[:, 0]
        self.weight = np.where(np.isfinite(sigma), 1 / sigma, 0.0)
        n = len(self.y)
        rate = np.broadcast_to(data["rate"].values[..., 0], n).astype(float)
        products = np.broadcast_to(data["n_products"].values, self.y.shape).astype(float)
        counts = np.sqrt(rate / float(data["n_pixels"].values.flat[0]))
        self.noise = Noise(
            lags(self.x, data["level"].values.astype(float)), counts, np.full(n, float(data["frames"].values.flat[0])),
            products, rate,
        )  # fmt: skip
        self.lower, self.upper = self.model.box(self.x, bounds, fixed)
        self.box = self.model, self.config, self.lower, self.upper
        self.rows = fit_stack(self.x, self.y, self.weight, *self.box)
        robust_errors(self.rows, self.x, self.y, self.weight, self.model, self.lower, self.upper, self.noise)

    def gls(self, noise="own", which=slice(None), config=None):
        rows = self.rows[which].copy()
        noise = self.noise.take(np.arange(len(self.y))[which]) if noise == "own" else noise
        model, _, lower, upper = self.box
        fit_gls(rows, self.x, self.y[which], self.weight[which], model, config or self.config, lower, upper, noise)
        return rows


@pytest.fixture(scope="module")
def bright():
    return experiments(64, 2.0, 40, seed=3)


@pytest.fixture(scope="module")
def case(bright):
    return Case(bright)


def correlation(case, k):
    """Shrunk correlation of the used points and the factor for short records, both from the fit of curve k."""
    found, noise = case.noise.lags, case.noise
    value = dict(zip(case.model.names, case.rows["value"][k], strict=True))
    if case.model.family == "double":
        names = ("contrast", "tau1", "stretch1", "baseline", "tau2", "stretch2", "fraction")
    else:
        names, value = ("contrast", "tau", "stretch", "baseline"), {"stretch": 1.0, **value}
    z = np.array([np.log(value[name]) if name.startswith("tau") else value[name] for name in names])
    space = workspace(found)
    integral = sandwich.overlaps(z, found.table, space)
    e, s, at_zero, _ = space
    a, mu = z[0], noise.counts[k]
    length = noise.products[k] * found.width
    own_e, own_s = e[found.near].copy(), s[found.near].copy()
    np.fill_diagonal(own_e, 1.0)
    np.fill_diagonal(own_s, at_zero[0])
    matrix = a**2 * (own_s + s[found.apart]) + 2 * a / mu * (own_e + e[found.apart])
    matrix = matrix / np.maximum.outer(length, length)
    matrix[np.diag_indices_from(matrix)] += 1 / (mu**2 * length * found.width)
    used = case.weight[k] > 0
    matrix = matrix[np.ix_(used, used)]
    size = np.sqrt(np.diag(matrix))
    matrix = (1 - SHRINK) * matrix / np.outer(size, size) + SHRINK * np.eye(size.size)
    share = noise.share(case.weight)[k]
    return matrix, 1 + 32 * a * 2 * integral / noise.frames[k] * (1 - share)


def oracle(case, k):
    """Parameters, covariance and objective from scipy on whitened residuals."""
    matrix, factor = correlation(case, k)
    root = np.linalg.cholesky(matrix)
    used = case.weight[k] > 0
    x, y, w = case.x[used], case.y[k][used], case.weight[k][used]
    free = np.flatnonzero(case.lower < case.upper)
    theta = case.rows["value"][k].copy()
    times = np.array([p.relaxation_time for p in case.model.parameters])

    def model(v):
        theta[free] = np.where(times[free], np.exp(v), v)
        return case.model.evaluate(x, *theta)

    def inner(values):
        return np.where(times, np.log(values), values)[free]

    edges = [np.where(times, np.log(np.maximum(b, 1e-300)), b)[free] for b in (case.lower, case.upper)]
    start = np.clip(inner(case.rows["value"][k]), edges[0] + 1e-12, edges[1] - 1e-12)
    found = least_squares(
        lambda v: solve_triangular(root, (model(v) - y) * w, lower=True), start, jac="3-point", bounds=edges,
        x_scale="jac", ftol=1e-15, xtol=1e-15, gtol=1e-15, max_nfev=2000,
    )  # fmt: skip
    J = np.stack([(model(found.x + h) - model(found.x - h)) / (2 * h.sum()) for h in 1e-6 * np.eye(free.size)], axis=1)
    J = J * w[:, None]
    covariance = np.linalg.inv(J.T @ cho_solve(cho_factor(matrix), J)) * factor
    unit = np.where(times[free], np.exp(found.x), 1.0)
    return np.where(times[free], np.exp(found.x), found.x), covariance * np.outer(unit, unit), 2 * found.cost


def steepness(case, k, value):
    """Length of the last step that is left to the minimum, in standard errors; whitened residuals, exact derivative."""
    root = np.linalg.cholesky(correlation(case, k)[0])
    used = case.weight[k] > 0
    x, y, w = case.x[used], case.y[k][used], case.weight[k][used]
    h = 1e-30
    J = [case.model.evaluate(x, *(value + 1j * h * unit)).imag / h for unit in np.eye(value.size)]
    J = solve_triangular(root, (np.array(J) * w).T, lower=True)
    r = solve_triangular(root, (y - case.model.evaluate(x, *value)) * w, lower=True)
    return np.linalg.norm(np.linalg.qr(J)[0].T @ r)


def full(rows, p):
    """Covariances as matrices."""
    row, column = np.indices((p, p))
    low, high = np.minimum(row, column), np.maximum(row, column)
    return rows["covariance"][:, high * (high + 1) // 2 + low]


@pytest.mark.parametrize("model", ["simple", "single"])
@pytest.mark.parametrize("counts", [2.0, 0.15])
def test_it_is_least_squares_on_whitened_residuals(bright, counts, model):
    case = Case(bright if counts == 2.0 else experiments(64, counts, 6, seed=3), model)
    rows = case.gls()
    assert (rows["flags"] & Flag.GLS_NOT_POSSIBLE == 0).all()
    assert (rows["errors_from"] == ErrorsFrom.GLS).all()
    for k in range(6):
        value, covariance, cost = oracle(case, k)
        error = np.sqrt(np.diag(covariance))
        np.testing.assert_allclose((rows["value"][k] - value) / error, 0.0, atol=1e-6)
        assert steepness(case, k, rows["value"][k]) < 1e-7
        np.testing.assert_allclose(rows["chi2"][k], cost, rtol=1e-9)
        np.testing.assert_allclose(rows["stderr"][k], error, rtol=1e-5)
        np.testing.assert_allclose(full(rows, error.size)[k] / np.outer(error, error),
                                   covariance / np.outer(error, error), atol=1e-5)  # fmt: skip
        assert rows["reduced_chi2"][k] == pytest.approx(cost / rows["dof"][k])
        assert rows["aicc"][k] - rows["chi2"][k] == pytest.approx(case.rows["aicc"][k] - case.rows["chi2"][k])
        assert rows["bic"][k] - rows["chi2"][k] == pytest.approx(case.rows["bic"][k] - case.rows["chi2"][k])


def test_double_decays_too():
    data = xd.simulate.curves(
        4, q=[0.01], model="double", diffusion=1e6, contrast=0.3, ratio=60.0, frames=20_000, frame_time=1e-4,
        counts=0.5, pixels=500, seed=2,
    )  # fmt: skip
    case = Case(data, "double")
    rows = case.gls()
    assert (rows["flags"] & Flag.GLS_NOT_POSSIBLE == 0).all()
    for k in range(4):
        value, covariance, cost = oracle(case, k)
        error = np.sqrt(np.diag(covariance))
        assert rows["chi2"][k] <= cost * (1 + 1e-9)
        if (rows["flags"][k] & Flag.AT_BOUND) == 0:
            assert rows["chi2"][k] == pytest.approx(cost, rel=1e-8)
            np.testing.assert_allclose(rows["value"][k], value, atol=1e-3 * error.min(), rtol=1e-5)
            np.testing.assert_allclose(rows["stderr"][k], error, rtol=1e-3)


def test_the_factor_is_choleskys(case):
    noise, found = case.noise, case.noise.lags
    m = case.x.size
    value = case.rows["value"][0]
    z = np.array([value[0], np.log(value[1]), 1.0, value[2]])
    space = workspace(found)
    sandwich.overlaps(z, found.table, space)
    length = noise.products[0] * found.width

    def factor(mean):
        R = np.zeros((m, m))
        n = gls.factor_correlation(
            case.weight[0], z, noise.counts[0], length, found.width, found.near, found.apart, found.level, space[0],
            space[1], space[2][0], mean, np.zeros(m), np.zeros(m), R,
        )  # fmt: skip
        return n, R

    n, R = factor(np.ones(m))
    assert n == (case.weight[0] > 0).sum()
    root = np.tril(R[:n, :n])
    root[np.diag_indices(n)] = 1 / np.diag(root)
    np.testing.assert_allclose(root @ root.T, correlation(case, 0)[0], atol=1e-12)
    assert factor(space[3])[0] == 0  # variances averaged over channels, covariances not: no correlation matrix


def off(rows):
    return np.log(rows["value"][:, 1] / 0.041)


def test_it_is_better_than_diagonal_weights_on_bright_speckle(case):
    rows = case.gls()
    rmse = [np.sqrt(np.mean(off(r) ** 2)) for r in (case.rows, rows)]
    assert rmse[1] < 0.92 * rmse[0]
    assert np.mean(np.abs(off(rows)) < 1.96 * rows["stderr"][:, 1] / rows["value"][:, 1]) > 0.85
    assert 0.6 < np.median(rows["reduced_chi2"]) < 1.2
    assert (rows["evaluations"] > case.rows["evaluations"]).all()


def test_one_curve_alone_is_the_same_as_in_a_stack(case):
    rows = case.gls()
    for k in (0, 11, 39):
        assert case.gls(which=slice(k, k + 1))[0].tobytes() == rows[k].tobytes()


def assert_not_possible(before, after):
    for name in before.dtype.names:
        expected = before["flags"] | np.uint32(Flag.GLS_NOT_POSSIBLE) if name == "flags" else before[name]
        np.testing.assert_array_equal(after[name], expected)


@pytest.mark.parametrize("why", ["no noise", "relative", "no errors", "robust", "counts"])
def test_a_fit_that_cannot_be_done_keeps_its_weights_and_says_so(case, why):
    settings = {"relative": {"absolute_sigma": False}, "no errors": {"errors": "none"}, "robust": {"loss": "cauchy"}}
    noise = {"no noise": None, "counts": replace(case.noise, counts=np.full(40, np.nan))}.get(why, "own")
    assert_not_possible(case.rows, case.gls(noise, config=FitConfig(**settings.get(why, {}))))


def test_only_curves_with_counts_are_changed(case):
    counts = case.noise.counts.copy()
    counts[[1, 5]] = np.nan, 0.0
    rows = case.gls(replace(case.noise, counts=counts))
    assert_not_possible(case.rows[[1, 5]], rows[[1, 5]])
    others = np.delete(np.arange(40), [1, 5])
    np.testing.assert_array_equal(rows[others], case.gls()[others])


def test_a_users_model_has_no_kernel(case):
    model = Model.from_function(lambda x, a, tau, b: b + a * np.exp(-2 * x / tau))
    rows = case.rows[:3].copy()
    fit_gls(rows, case.x, case.y[:3], case.weight[:3], model, case.config, *model.box(), case.noise)
    assert_not_possible(case.rows[:3], rows)


def test_points_that_are_not_used_change_nothing(bright):
    """A point without weight, whatever stands there; and a curve without a fit is left alone."""
    case = Case(bright.isel(file=slice(0, 3)))
    case.weight[0, 5] = case.weight[1] = 0.0
    case.y[0, 5] = np.nan
    case.rows = fit_stack(case.x, case.y, case.weight, *case.box)
    rows = case.gls()
    value, covariance, _ = oracle(case, 0)
    np.testing.assert_allclose(rows["value"][0], value, rtol=1e-8)
    np.testing.assert_allclose(rows["stderr"][0], np.sqrt(np.diag(covariance)), rtol=1e-5)
    assert rows["status"][1] == Status.NO_DATA
    assert rows[1].tobytes() == case.rows[1].tobytes()


def test_bounds_and_held_parameters(bright):
    few = bright.isel(file=slice(0, 4))
    held = Case(few, "single", fixed={"baseline": 1.0, "stretch": 1.0})
    rows = held.gls()
    assert (rows["value"][:, 2:] == 1).all()
    assert (rows["stderr"][:, 2:] == 0).all()
    for k in range(2):
        value, covariance, _ = oracle(held, k)
        np.testing.assert_allclose(rows["value"][k, :2], value, rtol=1e-8)
        np.testing.assert_allclose(rows["stderr"][k, :2], np.sqrt(np.diag(covariance)), rtol=1e-5)
    for name in ("aicc", "bic"):
        np.testing.assert_allclose(rows[name] - rows["chi2"], held.rows[name] - held.rows["chi2"])
    fast = Case(few, "simple", bounds={"tau": (1e-4, 0.0301)}).gls()
    assert (fast["value"][:, 1] == 0.0301).all()
    assert (fast["flags"] & Flag.AT_BOUND > 0).all()
    stuck = Case(few, "simple", bounds={"contrast": (0.0, 0.05)})
    rows = stuck.gls()
    assert (rows["value"][:, 0] == 0.05).all()
    assert np.isnan(rows["stderr"][:, 0]).all()
    assert (rows["stderr"][:, 1] > 0).all()
    assert (rows["flags"] & Flag.AT_BOUND > 0).all()


def test_flags_are_those_of_the_new_fit(bright):
    """A bound that only the fit with diagonal weights met is not reported."""
    tau = Case(bright).rows["value"][:, 1]
    new = Case(bright).gls()["value"][:, 1]
    k = int(np.argmax(tau / new))
    edge = float(np.sqrt(tau[k] * new[k]))
    case = Case(bright.isel(file=[k]), bounds={"tau": (1e-4, edge)})
    assert case.rows["value"][0, 1] == edge
    assert case.rows["flags"][0] & Flag.AT_BOUND
    rows = case.gls()
    assert rows["value"][0, 1] < edge
    assert rows["flags"][0] & Flag.AT_BOUND == 0
    assert rows["stderr"][0, 1] > 0


def test_fit_takes_it_as_weights(bright, case):
    few = bright.isel(file=slice(0, 5))
    fits = xd.fit(few, "simple", weights="gls")
    rows = case.gls()
    np.testing.assert_allclose(fits["value"][:, 0], rows["value"][:5], rtol=1e-10)
    np.testing.assert_allclose(fits["stderr"][:, 0], rows["stderr"][:5], rtol=1e-9)
    assert (fits["errors_from"] == ErrorsFrom.GLS).all()
    unknown = xd.fit(few.drop_vars("rate"), "simple", weights="gls")
    assert (unknown["flags"] & int(Flag.GLS_NOT_POSSIBLE) > 0).all()
    np.testing.assert_array_equal(unknown["value"], xd.fit(few.drop_vars("rate"), "simple")["value"])


def test_without_contrast_there_is_no_correlation_to_weigh_with(bright):
    case = Case(bright.isel(file=slice(0, 2)), fixed={"contrast": 0.0})
    assert (case.rows["status"] == Status.CONVERGED).all()
    assert_not_possible(case.rows, case.gls())
